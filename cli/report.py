"""`actrec report`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option, note
from actrec.cli.options import FILE, Command, config_options, data_option
from actrec.words import counted


@click.command(cls=Command)
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--out", type=OutputFile((".html", ".htm"), make_folder=True),
              help="File for the page.  [default: report.html in the folder of the first run]")  # fmt: skip
@click.option("--scores", "score_files", type=FILE, multiple=True,
              help="Score file of `actrec evaluate`. Pass one for each RUN, in the same order.  "
              "[default: the newest one of the validation list in RUN/scores]")  # fmt: skip
@click.option("--list", "list_path", type=FILE,
              help="List of the scored videos. Their frames are shown.  "
              "[default: a list in DATA that contains them]")  # fmt: skip
@data_option
@json_option
@config_options(config.Report)
def command(
    names: tuple[str, ...],
    out: Path | None,
    score_files: tuple[Path, ...],
    list_path: Path | None,
    data: Path,
    json_path: Path | None,
    report: config.Report,
) -> int:
    """Write an HTML page about one or several runs. It opens without a network connection.

    RUN is a run folder, or a name in DATA/runs. The default is the newest run. The page shows final accuracies and
    losses, curves, classes, the confusion matrix, frames of videos, options, environment and data. With several runs,
    the page compares them.
    """
    from actrec.cli.progress import Bar
    from actrec.files import check_writable
    from actrec.report import page, runs

    chosen = names or tuple(str(path) for path in runs.find(data / "runs")[-1:])
    if not chosen:
        raise FileNotFoundError(f"{data / 'runs'}: no run; `actrec train` creates one, or pass a run folder as RUN")
    if score_files and len(score_files) != len(chosen):
        raise click.UsageError(
            f"--scores given {len(score_files)} times for {len(chosen)} runs: expected one score file for each RUN"
        )
    for path in [*score_files, *([list_path] if list_path else [])]:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
    failures: dict[str, str] = {}
    found = []
    for number, name in enumerate(chosen):
        try:
            run = runs.read(runs.locate(name, data / "runs"))
        except ValueError as error:
            failures[name] = str(error)
            continue
        if run.broken:
            failures[name] = f"{run.path}: missing or unreadable: {', '.join(run.broken)}"
        entry = page.entry(
            run, data=data, scores_path=score_files[number] if score_files else None, list_path=list_path
        )
        if entry.problem:
            failures[name] = entry.problem
        found.append(entry)
    for text in failures.values():
        note(text)
    if not found:
        return finish("no page was written", failed=True)
    out = out or found[0].run.path / "report.html"
    check_writable(out)
    with Bar("videos") as bar:
        gone = page.write(out, found, report, progress=bar.to)
    lines = [f"frames are missing for {counted(len(gone), 'video')}; the first: {gone[0]}"] if gone else []
    result = {"out": str(out), "runs": [str(one.run.path) for one in found], "failures": failures, "gone": gone}
    return finish(*lines, f"report -> {out}", json_path=json_path, result=result, failed=bool(failures))
