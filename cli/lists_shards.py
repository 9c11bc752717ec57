"""`actrec lists shards`"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import OutputFile, finish, json_option, note
from actrec.cli.options import Command, config_options, storage_options
from actrec.config import ShardOptions
from actrec.data.lists.labels import FILES
from actrec.words import counted, printable

if TYPE_CHECKING:
    from actrec.tools.lists.shards import Made

_SHOWN = 5  # problems of each kind


@click.command(
    name="shards",
    cls=Command,
    short_help="List of the videos in tar shards.",
    examples=[
        "actrec lists shards 'train-{000..127}.tar'",
        "actrec lists shards 's3://bucket/k400/val-{0..9}.tar' -o val.txt",
    ],
)
@click.argument("shards", metavar="SHARD...", nargs=-1, required=True)
@click.option("-o", "--out", type=OutputFile((".txt",), make_folder=True), default="train.txt", show_default=True,
              help="The list.")  # fmt: skip
@config_options(ShardOptions)
@click.option("--force", is_flag=True, help="Replace an existing list.")
@click.option("--workers", type=click.IntRange(1), help="Number of shards read at a time.  [default: one per core]")
@json_option
@storage_options
def command(
    shards: tuple[str, ...],
    out: Path,
    shardoptions: ShardOptions,
    force: bool,
    workers: int | None,
    json_path: Path | None,
) -> int:
    """Write the list of the videos in tar shards in WebDataset format.

    The shards are used as they are: a row of the list is `train-000.tar::a.mp4 3`. SHARD is a file or a URL. It can
    have braces ('part-{a,b}/{0..9}.tar'). The name of a local file can also be a pattern ('train-*.tar').

    The members of a sample have the same name up to the first dot: a.mp4, a.cls, a.json. Labels are numbers, or names
    of classes. The names are sorted and written to labels.txt, unless the folder of the list already has such a file.
    The command reads only headers and labels, no videos.

    Shards and samples that cannot be used are named and listed in OUT.missing.csv, and the exit code is 1.
    """
    from actrec.cli.progress import Bar
    from actrec.tools.lists.shards import make_shard_list, missing_path

    if out.name in FILES:
        raise click.UsageError(f"--out {out}: this is the name of a file of class names; expected another name")
    with Bar("shards") as bar:
        made = make_shard_list(shards, out, shardoptions, force=force, workers=workers, progress=bar.to)
    for text in (*_problems(made), *made.notes):
        note(text)
    result = {
        "list": str(out),
        "rows": made.rows,
        "shards": made.shards,
        "classes": list(made.classes),
        "problems": [dict(zip(("kind", "path", "reason"), problem)) for problem in made.problems],
    }
    why = f"; {counted(len(made.problems), 'problem')}: {missing_path(out)}" if made.problems else ""
    classes = f" of {counted(len(made.classes), 'class')} ({made.labels})" if made.labels else ""
    line = f"{counted(made.rows, 'video')}{classes} in {counted(made.shards, 'shard')} -> {out}{why}"
    return finish(line, json_path=json_path, result=result, failed=bool(made.problems))


def _problems(made: Made) -> list[str]:
    """The first problems of each kind, and how many there are."""
    lines = []
    for kind, problems in groupby(sorted(made.problems, key=lambda problem: problem[0]), lambda problem: problem[0]):
        found = list(problems)
        lines += [printable(f"{path}: {reason}") for _, path, reason in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"… {kind}: {len(found):,} in all")
    return lines
