"""`actrec extract-frames`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import finish, name_first, note, resumable, tell
from actrec.cli.options import (
    FILE,
    FOLDER,
    SOURCE,
    Command,
    config_options,
    limit_options,
    source_and_target,
    storage_options,
    worker_options,
)
from actrec.config import ExtractOptions, SplitOptions
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.tools.make.jobs import Workers


@click.command(
    cls=Command,
    examples=[
        "actrec extract-frames",
        "actrec extract-frames videos/ data/ --short-side 128",
    ],
)
@click.argument("src", type=SOURCE, required=False)
@click.argument("dst", type=FOLDER, required=False)
@click.option("--list", "lists", multiple=True, type=FILE, metavar="FILE",
              help="Extract the videos of this list, instead of SRC. Repeatable.")  # fmt: skip
@config_options(ExtractOptions, SplitOptions)
@worker_options
@limit_options
@storage_options
def command(
    src: Path | str | None,
    dst: Path | None,
    lists: tuple[Path, ...],
    extractoptions: ExtractOptions,
    splitoptions: SplitOptions,
    workers: Workers,
) -> int:
    """Extract the frames of the videos in SRC to DST/frames/<class>/<video>/, and write lists to DST.

    SRC (default: videos) is a folder, a tar archive, or the URL of one. It contains <class>/<video>, or
    <part>/<class>/<video> with parts such as train and val. DST (default: .) also gets labels.txt, train.txt and
    val.txt. With --list, pass only DST; it gets a list of the same name.

    The split comes from lists in DST, SRC or the parent of SRC (train.txt and val.txt, or videos_train.txt and
    videos_val.txt). Without such lists, it comes from the folders of the parts. Without such folders, videos of
    each class are drawn at random for validation.

    If you interrupt the command, run it again to continue. Videos that cannot be decoded are listed in failed.csv, and
    the exit code is 1.
    """
    from actrec.cli.progress import Bar
    from actrec.tools.make.extract_frames import extract_frames

    source, target = source_and_target(src, dst, lists, "frames")

    def begin(videos: int, classes: int, existing: int) -> None:
        note(f"videos  {counted(videos, 'video')} of {counted(classes, 'class')}"
             + (f", {existing:,} of them extracted before" if existing else ""))  # fmt: skip
        note(f"frames  {target / 'frames'}/<class>/<video>/{_first_name(extractoptions)}, {_described(extractoptions)}")

    with resumable(), Bar("videos") as bar:
        made = extract_frames(
            source, target, extractoptions, split=splitoptions, workers=workers, progress=bar.to, log=tell, begin=begin
        )
    written = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    why = f"; why: {target / 'failed.csv'}" if made.failed else ""
    frames = f"{counted(made.frames, 'frame')}, {len(made.failed)} failed{why}"
    name_first(made.failed)
    code = finish(
        *made.table,
        f"{counted(made.done + made.skipped, 'video')} -> {target / 'frames'}/ ({frames}); {written}",
        failed=bool(made.failed),
    )
    data = f" --data {shlex.quote(str(target))}" if target != Path() else ""
    if made.lists.get("train.txt") and made.lists.get("val.txt"):
        note(f"next: actrec view{data}")
        note(f"      actrec train{data}")
    return code


def _first_name(options: ExtractOptions) -> str:
    return options.template.format(1)


def _described(options: ExtractOptions) -> str:
    """How the frames are made: `short side 256 pixels, every frame, JPEG quality 90`."""
    if options.resize is not None:
        size = "{}x{} pixels".format(*options.resize)
    else:
        size = f"short side {options.short_side} pixels" + ("" if options.upscale else " at most")
    rate = f"{options.fps:g} frames per second" if options.fps else "every frame"
    quality = "" if options.template.endswith(".png") else f", JPEG quality {options.quality}"
    return f"{size}, {rate}{quality}"
