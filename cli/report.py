"""`actrec report`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec import config
from actrec.cli.completion import run_names
from actrec.cli.ending import OutputFile, finish, json_option, note
from actrec.cli.options import FILE, Command, config_options, data_option, limit_options, storage_options
from actrec.words import counted


@click.command(
    cls=Command,
    examples=[
        "actrec report",
        "actrec report runs/2026-11-28_s3d runs/2026-11-29_tiny3d --out compared.html",
    ],
)
@click.argument("names", metavar="[RUN]...", nargs=-1, shell_complete=run_names)
@click.option("--run", "more_names", metavar="RUN", multiple=True, shell_complete=run_names,
              help="The same as the argument RUN. Repeatable.")  # fmt: skip
@click.option("--out", type=OutputFile((".html", ".htm")),
              help="File for the page.  [default: report.html in the folder of the first run]")  # fmt: skip
@click.option("--scores", "score_files", type=FILE, multiple=True,
              help="Score file of `actrec evaluate`. Pass one for each RUN, in the same order.  "
              "[default: the most suitable file in RUN/scores, with the same options for all runs if "
              "possible]")  # fmt: skip
@click.option("--list", "list_path", type=FILE,
              help="List of the scored videos. Their frames are shown.  "
              "[default: a list in DATA that contains them]")  # fmt: skip
@data_option
@json_option
@config_options(config.Report)
@limit_options
@storage_options
def command(
    names: tuple[str, ...],
    more_names: tuple[str, ...],
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
    from actrec.report import origins, page, runs

    chosen = names + more_names or tuple(str(path) for path in runs.find(data / "runs")[-1:])
    if not chosen:
        raise FileNotFoundError(f"{data / 'runs'}: no run; `actrec train` creates one, or pass a run folder as RUN")
    if score_files and len(score_files) != len(chosen):
        raise click.UsageError(
            f"--scores given {len(score_files)} times for {len(chosen)} runs: expected one score file for each RUN"
        )
    for file in [*score_files, *([list_path] if list_path else [])]:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: {'a folder: expected a file' if file.is_dir() else 'no such file'}")
    failures: dict[str, str] = {}
    read: list[tuple[str, runs.Run]] = []
    given: list[Path | None] = []
    for number, name in enumerate(chosen):
        try:
            run = runs.read(runs.locate(name, data / "runs"))
        except ValueError as error:
            failures[name] = str(error)
            continue
        if run.broken:
            failures[name] = f"{run.path}: missing or unreadable: {', '.join(run.broken)}"
        read.append((name, run))
        given += score_files[number : number + 1]
    found = []
    for (name, run), path in zip(read, given or origins.choose([run for _, run in read])):
        entry = page.entry(run, data=data, scores_path=path, list_path=list_path)
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
    made = []
    for one in found:
        if one.scores:
            origin = one.scores.content.made_from
            model, scored = (origins.file_name(origin, name) for name in ("model", "list"))
            text = f"model {model}, list {scored}, views {origins.views(one.run, origin)}"
            made.append(f"scores of {one.run.path.name}: {one.scores.path} ({text})")
    if different := page.differences(found):
        note(f"the scores of the runs cannot be compared: {different}")
    lines = [f"frames are missing for {counted(len(gone), 'video')}; the first: {gone[0]}"] if gone else []
    result = {
        "out": str(out),
        "runs": [str(one.run.path) for one in found],
        "scores": [str(one.scores.path) if one.scores else None for one in found],
        "different": different,
        "failures": failures,
        "gone": gone,
    }
    return finish(*made, *lines, f"report -> {out}", json_path=json_path, result=result, failed=bool(failures))
