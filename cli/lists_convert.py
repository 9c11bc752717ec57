"""`actrec lists convert`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.ending import finish, note
from actrec.cli.options import FILE, Command, config_options, storage_options
from actrec.config import ConvertOptions
from actrec.data.lists.formats import FORMATS
from actrec.words import counted

HELP = f"""Convert the lists A into B.

\b
A and B are files, or stand for one file per part:
    a folder (train.txt, val.txt, test.txt), or a path that contains {{part}}.

\b
Formats (B.json is hara, B.csv csv, all others actrec):
{"".join(f"    {name:18}{FORMATS.get(name).title}{chr(10)}" for name in FORMATS)}
Every row is kept, and what B cannot express is printed. Nothing is written if a row could not be read back. Videos are
opened only if B needs frames or times that A does not contain.
"""


@click.command(
    name="convert",
    cls=Command,
    help=HELP,
    examples=[
        "actrec lists convert kinetics/ lists/ --from kinetics",
        "actrec lists convert train.txt train.csv",
    ],
)
@click.argument("src", metavar="A", type=FILE)
@click.argument("dst", metavar="B", type=FILE)
@config_options(ConvertOptions)
@click.option("--force", is_flag=True, help="Replace existing lists B.")
@click.option("--workers", type=click.IntRange(1), help="Number of videos opened at a time.  [default: one per core]")
@storage_options
def command(src: Path, dst: Path, convertoptions: ConvertOptions, force: bool, workers: int | None) -> int:
    from actrec.cli.progress import watched
    from actrec.tools.lists.convert import convert_lists

    if (root := convertoptions.root) is not None and not root.is_dir():
        raise click.UsageError(f"--root {root}: no such folder; expected the folder in which the paths of A start")
    with watched() as progress:
        made = convert_lists(src, dst, convertoptions, force=force, workers=workers, progress=progress)
    for text in made.notes:
        note(text)
    named = [f"{part} {count:,}" for part, count in made.rows.items() if part]
    files = ", ".join(map(str, made.files))
    rows = counted(sum(made.rows.values()), "row") + (f" ({', '.join(named)})" if named else "")
    return finish(f"{rows} from {made.source} to {made.target}: {files}")
