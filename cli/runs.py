"""`actrec runs` and `actrec runs compare`"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from actrec.cli.main import Group

_DATA = click.option("--data", type=click.Path(path_type=Path), default=".", help="Dataset folder.", show_default=True)
_JSON = click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed as JSON, without rounding."
)
_LONGEST = 40  # characters of an option's value


@click.group(cls=Group, invoke_without_command=True)
@_DATA
@_JSON
@click.pass_context
def command(ctx: click.Context, data: Path, json_path: Path | None) -> int:
    """Show the runs of a dataset folder, or compare two.

    Without a command: a line for each of DATA/runs, the one that was written to last at the end.
    """
    from actrec.report import runs

    ctx.obj = data
    if ctx.invoked_subcommand is not None:
        if json_path is not None:
            raise click.UsageError(f"--json before {ctx.invoked_subcommand}: it belongs behind it")
        return 0
    if not data.is_dir():
        raise FileNotFoundError(f"{data}: no such folder; --data takes the folder that holds the lists and runs")
    found = [runs.summary(runs.read(path)) for path in runs.find(data / "runs")]
    if not found:
        click.echo(f"{data / 'runs'} holds no runs; `actrec train` makes one")
    else:
        header = ("run", "net", "epochs", "measure", "best", "last", "loss", "clips/s", "state")
        _table(header, [_line(one) for one in found], left=(0, 1, 3, 8))
    if json_path is not None:
        _write(json_path, [asdict(one) for one in found])
    return 0


@command.command()
@click.argument("a")
@click.argument("b")
@click.option("--data", type=click.Path(path_type=Path), help="Dataset folder.  [default: .]")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the curves of both: .png, .pdf or .svg.")
@_JSON
@click.pass_obj
def compare(folder: Path, a: str, b: str, data: Path | None, picture: Path | None, json_path: Path | None) -> int:
    """Show what differs between the runs A and B, and their curves side by side.

    A and B are run folders, or names in DATA/runs.
    """
    from actrec.files import atomic_file, writing
    from actrec.report import runs

    if picture is not None:
        runs.check_picture(picture)
    places = [runs.locate(name, (data or folder) / "runs") for name in (a, b)]
    one, other = (runs.read(place) for place in places)
    for run in (one, other):
        if run.broken:
            click.echo(f"{run.path}: missing or unreadable: {', '.join(run.broken)}", err=True)
    different, curves = runs.differences(one, other), runs.curves(one, other)
    click.echo(f"A  {one.path}\nB  {other.path}\n")
    _say_differences(different)
    click.echo()
    _say_curves(curves, runs.shown_epochs(curves))
    if picture is not None:
        with writing(picture), atomic_file(picture) as file:
            runs.plot(file, picture.suffix[1:].lower(), (f"A  {one.path.name}", f"B  {other.path.name}"), curves)
        click.echo(f"curves -> {picture}")
    if json_path is not None:
        said = [{"name": name, "a": left, "b": right} for name, left, right in different]
        _write(json_path, {"a": str(one.path), "b": str(other.path), "different": said,
                           "curves": [asdict(curve) for curve in curves]})  # fmt: skip
    return 0


def _line(run) -> list[str]:
    figures = [_number(value, 2) for value in (run.best, run.last)]
    epochs = f"{run.epochs}/{'?' if run.planned is None else run.planned}"
    speed = _number(run.clips_per_second, 1)
    return [run.name, run.net or "-", epochs, run.measure, *figures, _number(run.loss, 4), speed, run.state]


def _say_differences(different: Sequence[tuple[str, Any, Any]]) -> None:
    if different:
        _table(("", "A", "B"), [[name, _value(left), _value(right)] for name, left, right in different], left=(0, 1, 2))
    else:
        click.echo("made with the same options, data and versions")


def _say_curves(curves, epochs: Sequence[int]) -> None:
    if not epochs:
        click.echo("no epoch of either run has ended yet")
        return
    shown = [curve for curve in curves if curve.a or curve.b]
    header = ["epoch", *(text for curve in shown for text in (f"{curve.name} A", "B", "B - A"))]
    rows = []
    for epoch in epochs:
        cells = [_number(value, 4 if "loss" in curve.name else 2) for curve in shown for value in curve.at(epoch)]
        rows.append([str(epoch + 1), *cells])
    _table(header, rows, left=())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> None:
    """Prints columns as wide as their widest cell: numbers to the right, those of `left` to the left."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [c.ljust(width) if i in left else c.rjust(width) for i, (c, width) in enumerate(zip(row, widths))]
        click.echo("  ".join(cells).rstrip())


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _write(path: Path, content: Any) -> None:
    from actrec.files import write_json, writing

    with writing(path):
        write_json(path, content)
