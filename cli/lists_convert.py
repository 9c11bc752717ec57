"""`actrec lists convert`: lists of one format to another."""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.progress import index_progress
from actrec.data.lists.formats import FORMATS
from actrec.data.lists.splits import PARTS

HELP = f"""Convert the lists A into B.

\b
A and B are files, or stand for a file of each part:
    a folder (train.txt, val.txt, test.txt), or a path that holds {{part}}.

\b
Formats (B.json is hara, B.csv csv, all else actrec):
{"".join(f"    {name:18}{form.title}{chr(10)}" for name, form in FORMATS.items())}
Every row is kept; what B cannot hold is said. Nothing is written if a row would not read back. Videos are looked at
only where B wants frames or times that A does not say.
"""
SEPARATORS = {"space": " ", "comma": ",", "semicolon": ";", "tab": "\t"}
_FORMAT = click.Choice(FORMATS)
_PATH = click.Path(path_type=Path)


@click.command(name="convert", help=HELP)
@click.argument("src", metavar="A", type=_PATH)
@click.argument("dst", metavar="B", type=_PATH)
@click.option("--from", "source", type=_FORMAT, metavar="FORMAT", help="Format of A.  [default: by its content]")
@click.option("--to", "target", type=_FORMAT, metavar="FORMAT", help="Format of B.  [default: by its suffix]")
@click.option("--root", type=_PATH, metavar="DIR", help="Where A's paths start.  [default: A's folder]")
@click.option("--to-root", type=_PATH, metavar="DIR", help="Where B's do.  [default: --root, or B's folder]")
@click.option("--part", type=click.Choice(PARTS), help="Which part A is, or which one to take of it.")
@click.option("--labels", type=_PATH, metavar="FILE", help="Class names.  [default: labels.txt beside A]")
@click.option("--separator", type=click.Choice(SEPARATORS), help="Between the columns of B.")
@click.option("--force", is_flag=True, help="Replace the lists B.")
@click.option("--workers", type=click.IntRange(1), help="Videos looked at at a time.  [default: one per core]")
def command(src, dst, source, target, root, to_root, part, labels, separator, force, workers) -> None:
    from actrec.tools.lists.convert import ConvertOptions, convert_lists

    options = ConvertOptions(
        source=source,
        target=target,
        root=root,
        target_root=to_root,
        part=part,
        labels=labels,
        separator=SEPARATORS.get(separator),
    )
    bar, progress = index_progress("videos")
    with bar:
        made = convert_lists(src, dst, options, force=force, workers=workers, progress=progress)
    for note in made.notes:
        click.echo(note, err=True)
    parts = ", ".join(f"{part or 'one part'} {count:,}" for part, count in made.rows.items())
    files = ", ".join(map(str, made.files))
    click.echo(f"{sum(made.rows.values()):,} rows ({parts}) from {made.source} to {made.target}: {files}")
