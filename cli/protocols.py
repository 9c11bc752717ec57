"""`actrec protocols`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec.cli.completion import protocol_names
from actrec.cli.ending import finish, json_option
from actrec.cli.options import Command
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.data.sampling.protocols import Protocol
    from actrec.report.reproduce import Checkpoint


_NO_NETS = "-"
_UNKNOWN = "actrec knows no weights file that it can read and that was published with an accuracy of this protocol"


@click.command(
    cls=Command,
    examples=[
        "actrec protocols",
        "actrec protocols ibm_k400",
    ],
)
@click.argument("name", required=False, shell_complete=protocol_names)
@click.option("--markdown", is_flag=True, help="Print the page docs/reproduce.md.")
@json_option
def command(name: str | None, markdown: bool, json_path: Path | None) -> int:
    """List the evaluation protocols of published accuracies, or show the frames, crops, average and weights of one."""
    from actrec.report import reproduce

    if markdown:
        if name or json_path:
            raise click.UsageError("--markdown with other arguments: expected none, it prints the whole page")
        click.echo(reproduce.markdown(), nl=False)
        return 0
    lines, result = _one(name) if name else _all()
    return finish(*lines, json_path=json_path, result=result)


def _all() -> tuple[list[str], list[dict[str, Any]]]:
    from actrec.data.sampling.protocols import PROTOCOLS
    from actrec.report.reproduce import checkpoints_of, clips_text, size_text, views_text

    rows = [
        (row.name, clips_text(row), views_text(row), size_text(row), row.reduction, _nets(checkpoints_of(row)))
        for row in PROTOCOLS.values()
    ]
    head = ("protocol", "frames", "clips x crops", "size", "average of", "weights of")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in (head, *rows)]
    lines.append(f"{_NO_NETS}: {_UNKNOWN}")
    return lines, [_as_json(row) for row in PROTOCOLS.values()]


def _one(name: str) -> tuple[list[str], dict[str, Any]]:
    from actrec.data.sampling.protocols import protocol
    from actrec.report.reproduce import checkpoints_of, views_text

    row = protocol(name)
    lines = [f"{row.name}  {row.dataset}", f"source: {row.source}", *_frames(row), *_pixels(row)]
    lines.append(f"views: {views_text(row)} (clips x crops)")
    lines.append(
        f"average: {row.reduction}{' of the crops; the net gets all clips at once' if row.joins_clips else ''}"
    )
    lines.append(f"precision: {row.precision}")
    if row.note:
        lines.append(f"note: {row.note}")
    if row.window_average is not None:
        lines.append(f"windows of the net's pool: average of {row.window_average}")
    found = checkpoints_of(row)
    lines.append("weights, and the command that measures their accuracy:" if found else f"weights: none, {_UNKNOWN}")
    for each in found:
        lines += [f"  {each.net}  {each.accuracy} ({each.published.source})", f"    {each.command}"]
    return lines, _as_json(row)


def _frames(row: Protocol) -> list[str]:
    from actrec.report.reproduce import clips_text, frames_text, slow_path_text

    shape = (
        f"{row.clip_frames} frames with stride {row.stride}" if row.stride > 1 else counted(row.clip_frames, "frame")
    )
    lines = [f"frames: {clips_text(row)}, clips of {shape}. {frames_text(row)}"]
    if row.target_fps is not None:
        origin = "FFmpeg's guess (r_frame_rate)" if row.fps_from == "guessed" else "its average"
        lines.append(
            f"frame rate: clips are taken at {row.target_fps:g} frames per second; the rate of a file is {origin}"
        )
    if row.slow_path is not None:
        lines.append(f"SlowFast nets: {slow_path_text(row)}")
    return lines


def _pixels(row: Protocol) -> list[str]:
    from actrec.report.reproduce import crops_text, kernel_text, long_side_text, resize_text, size_text

    resize = f"short side {row.resize}, {long_side_text(row)}" if isinstance(row.resize, int) else resize_text(row)
    mirrored = " Each is followed by its mirror image." if row.mirrored else ""
    return [
        f"resize: {resize}; {kernel_text(row)}",
        f"crops: {row.crops} of {size_text(row)}. {crops_text(row)}{mirrored}",
        f"normalization: mean {_numbers(row.mean)}, std {_numbers(row.std)} (red, green, blue; values from 0 to 1)",
    ]


def _nets(found: list[Checkpoint]) -> str:
    return ", ".join(dict.fromkeys(each.net for each in found)) or _NO_NETS


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _as_json(row: Protocol) -> dict[str, Any]:
    from actrec.report.reproduce import checkpoints_of

    found = [{"net": each.net, **asdict(each.published)} for each in checkpoints_of(row)]
    return {**asdict(row), "crops": row.crops, "checkpoints": found}
