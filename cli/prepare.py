"""`actrec prepare`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import finish, name_first, resumable, tell
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
from actrec.config import PrepareOptions, SplitOptions
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.tools.make.jobs import Workers
    from actrec.tools.make.prepare import PreparedSet


@click.command(
    cls=Command,
    examples=[
        "actrec prepare videos/ small/ --dry-run",
        "actrec prepare --list train.txt --list val.txt small/",
    ],
)
@click.argument("src", type=SOURCE, required=False)
@click.argument("dst", type=FOLDER, required=False)
@click.option("--list", "lists", multiple=True, type=FILE, metavar="FILE",
              help="Prepare the videos of this list, instead of SRC. Repeatable.")  # fmt: skip
@click.option("--sample", type=click.IntRange(0), default=3, show_default=True,
              help="Number of videos in the table that is shown first.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show the table.")
@config_options(PrepareOptions, SplitOptions)
@worker_options
@limit_options
@storage_options
def command(
    src: Path | str | None,
    dst: Path | None,
    lists: tuple[Path, ...],
    sample: int,
    dry_run: bool,
    prepareoptions: PrepareOptions,
    splitoptions: SplitOptions,
    workers: Workers,
) -> int:
    """Re-encode the videos in SRC as small ones that decode fast, in DST/prepared/<class>/<video>.mp4.

    SRC (default: videos) is a folder, a tar archive, or the URL of one, as for `actrec extract-frames`. DST (default:
    .) also gets labels.txt, train.txt and val.txt. With --list, pass only DST; it gets a list of the same name.

    First, a table shows how size, decoding time and quality of some videos change. Each new video is decoded again, to
    prove that it contains exactly the frames of its original. Each list gets its index.

    If you interrupt the command, run it again to continue. Videos that cannot be decoded, or that differ from
    their originals, are listed in failed.csv, and the exit code is 1.
    """
    from actrec.cli.progress import Bar
    from actrec.tools.make.prepare import prepare

    source, target = source_and_target(src, dst, lists, "videos")
    with resumable(), Bar("videos") as bar:
        made = prepare(
            source,
            target,
            prepareoptions,
            split=splitoptions,
            sample=sample,
            dry_run=dry_run,
            workers=workers,
            progress=bar.to,
            log=tell,
        )
    if made is None:
        return 0
    name_first(made.failed)
    return finish(*made.table, _summary(made, target), failed=bool(made.failed))


def _summary(made: PreparedSet, dst: Path) -> str:
    lists = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    why = f"; why: {dst / 'failed.csv'}" if made.failed else ""
    frames = f"{counted(made.frames, 'frame')}, " if made.frames else ""
    what = f"{frames}{made.before / 1e6:,.1f} MB -> {made.after / 1e6:,.1f} MB, {len(made.failed)} failed{why}"
    folder = f"{counted(made.shards, 'shard')} in {dst / 'shards'}/" if made.shards else f"{dst / 'prepared'}/"
    return f"{counted(made.done + made.skipped, 'video')} -> {folder} ({what}); {lists}"
