"""`actrec extract-frames`"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import finish, note, resumable, tell
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


@click.command(cls=Command)
@click.argument("src", type=SOURCE, required=False)
@click.argument("dst", type=FOLDER, required=False)
@click.option("--list", "lists", multiple=True, type=FILE, metavar="FILE",
              help="Extract the videos of this list, instead of SRC. May be repeated.")  # fmt: skip
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
    """Extract the videos in SRC to frames in DST/frames/<class>/<video>/; labels.txt, train.txt and val.txt go to DST.

    \b
    SRC (default: videos) contains <class>/<video>, or <part>/<class>/<video> with
    parts such as train and val, or any files that split lists name. It can also be
    a tar archive, or the URL of a tar archive or of a folder (s3://bucket/videos).
    DST (default: .) is the dataset folder.
    With --list, pass only DST. A list with the same name, ranges and labels is
    written there.

    The split comes from lists in DST, SRC or SRC's parent: videos_train.txt and videos_val.txt, or train.txt, val.txt
    (`path label` or `path start end label`). Without lists, it comes from folders called train, val or test. Otherwise,
    the validation videos of each class are drawn at random. Videos that are added later do not change the split of the
    others.

    If you interrupt it, run the same command again to continue. Videos that cannot be decoded are listed in failed.csv,
    and the exit code is 1.
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
    code = finish(
        *made.table,
        f"{counted(made.done + made.skipped, 'video')} -> {target / 'frames'}/ ({frames}); {written}",
        failed=bool(made.failed),
    )
    shown = shlex.quote(str(target))
    if made.lists.get("train.txt") and made.lists.get("val.txt"):
        note(f"next: actrec train --data {shown}")
        note(f"      actrec view --data {shown}")
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
