"""`actrec runs` and `actrec runs compare`"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec.cli.completion import run_names
from actrec.cli.ending import OutputFile, finish, json_option, note
from actrec.cli.main import Group
from actrec.cli.options import FOLDER, Command, data_option
from actrec.figures import SUFFIXES
from actrec.words import display_width, padded

if TYPE_CHECKING:
    from actrec.report.runs import Curve, Summary

_LONGEST = 40  # characters of an option's value


@click.group(
    cls=Group,
    invoke_without_command=True,
    examples=["actrec runs", "actrec runs compare 2026-11-28_s3d 2026-11-29_tiny3d"],
)
@data_option
@json_option
@click.pass_context
def command(ctx: click.Context, data: Path, json_path: Path | None) -> int:
    """Show the runs of a dataset folder, or compare two.

    Without a command, it prints one line for each run in DATA/runs, the most recently changed run last.
    """
    from actrec.report import runs

    ctx.obj = data
    if ctx.invoked_subcommand is not None:
        if json_path is not None:
            raise click.UsageError(
                f"--json before {ctx.invoked_subcommand}: expected it after {ctx.invoked_subcommand}"
            )
        return 0
    if not data.is_dir():
        raise FileNotFoundError(f"{data}: no such folder; --data expects the folder that contains the lists and runs")
    found = [runs.summary(runs.read(path)) for path in runs.find(data / "runs")]
    header = ("run", "net", "epochs", "measure", "best", "last", "loss", "clips/s", "state")
    lines = _table(header, [_line(one) for one in found], left=(0, 1, 3, 8))
    if not found:
        lines = iter([f"{data / 'runs'} contains no runs; `actrec train` creates one"])
    return finish(*lines, json_path=json_path, result=[asdict(one) for one in found])


@command.command(
    cls=Command,
    short_help="Show what differs between two runs.",
    examples=[
        "actrec runs compare 2026-11-28_s3d 2026-11-29_tiny3d",
        "actrec runs compare runs/a runs/b --picture curves.png",
    ],
)
@click.argument("a", shell_complete=run_names)
@click.argument("b", shell_complete=run_names)
@click.option("--data", type=FOLDER, help="Dataset folder.  [default: .]")
@click.option("--picture", type=OutputFile(SUFFIXES), help="Draw the curves of both runs.")
@json_option
@click.pass_obj
def compare(folder: Path, a: str, b: str, data: Path | None, picture: Path | None, json_path: Path | None) -> int:
    """Show what differs between the runs A and B, and their curves side by side.

    A and B are run folders, or names in DATA/runs.
    """
    from actrec.report import runs

    one, other = (runs.read(runs.locate(name, (data or folder) / "runs")) for name in (a, b))
    for run in (one, other):
        if run.broken:
            note(f"{run.path}: missing or unreadable: {', '.join(run.broken)}")
    different, curves = runs.differences(one, other), runs.curves(one, other)
    lines = [f"A  {one.path}", f"B  {other.path}", "", *_differences(different), ""]
    lines += _curves(curves, runs.shown_epochs(curves))
    if picture is not None:
        click.echo("\n".join(lines))  # before the picture, in case that it cannot be written
        runs.save_picture(picture, (f"A  {one.path.name}", f"B  {other.path.name}"), curves)
        lines = [f"curves -> {picture}"]
    result = {
        "a": str(one.path),
        "b": str(other.path),
        "different": [{"name": name, "a": left, "b": right} for name, left, right in different],
        "curves": [asdict(curve) for curve in curves],
    }
    return finish(*lines, json_path=json_path, result=result)


def run_folder(run: Path, data: Path) -> Path:
    """The folder that --run names: a path, or the name of a run in DATA/runs.

    Raises:
        ValueError: There is no such folder.
    """
    from actrec.report import runs

    return run if run.is_dir() else runs.locate(str(run), data / "runs")


def _line(run: Summary) -> list[str]:
    figures = [_number(value, 2) for value in (run.best, run.last)]
    epochs = f"{run.epochs}/{'?' if run.planned is None else run.planned}"
    speed = _number(run.clips_per_second, 1)
    return [run.name, run.net or "-", epochs, run.measure, *figures, _number(run.loss, 4), speed, run.state]


def _differences(different: Sequence[tuple[str, Any, Any]]) -> Iterator[str]:
    if not different:
        return iter(["made with the same options, data and versions"])
    return _table(
        ("", "A", "B"), [[name, _value(left), _value(right)] for name, left, right in different], left=(0, 1, 2)
    )


def _curves(curves: Sequence[Curve], epochs: Sequence[int]) -> Iterator[str]:
    if not epochs:
        return iter(["no epoch of either run has ended yet"])
    shown = [curve for curve in curves if curve.a or curve.b]
    header = ["epoch", *(text for curve in shown for text in (f"{curve.name} A", "B", "B - A"))]
    rows = []
    for epoch in epochs:
        cells = [_number(value, 4 if "loss" in curve.name else 2) for curve in shown for value in curve.at(epoch)]
        rows.append([str(epoch + 1), *cells])
    return _table(header, rows, left=())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int]) -> Iterator[str]:
    """Lines with columns as wide as their widest cell, right-aligned except for the columns in `left`."""
    widths = [max(display_width(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [padded(c, width) if i in left else c.rjust(width) for i, (c, width) in enumerate(zip(row, widths))]
        yield "  ".join(cells).rstrip()


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
