"""`actrec extract-frames`"""

from __future__ import annotations

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
    with resumable(), Bar("videos") as bar:
        made = extract_frames(
            source, target, extractoptions, split=splitoptions, workers=workers, progress=bar.to, log=tell
        )
    written = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    why = f"; why: {target / 'failed.csv'}" if made.failed else ""
    frames = f"{counted(made.frames, 'frame')}, {len(made.failed)} failed{why}"
    code = finish(
        *made.table,
        f"{counted(made.done + made.skipped, 'video')} -> {target / 'frames'}/ ({frames}); {written}",
        failed=bool(made.failed),
    )
    if made.lists.get("train.txt") and made.lists.get("val.txt"):
        note(f"next: actrec train --data {target}")
    return code
