"""`actrec index`"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click


@click.command()
@click.argument("lists", metavar="LIST...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), help="Threads.  [default: one per core]")
def command(lists: tuple[Path, ...], workers: int | None) -> int:
    """Look at every video of a LIST and keep what is found beside it, as LIST.index.npy.

    Every command does this by itself where the index is missing or a file has changed. Exit code 1 if some videos
    cannot be used; each is named with the reason.
    """
    from actrec.cli.dataset import load_list

    broken = 0
    for path in lists:
        found = load_list(path, workers=workers, lazy=False)
        for row, reason in found.index.broken.items():
            click.echo(f"{found.videos[row].path}: {reason}", err=True)
        broken += len(found.index.broken)
        usable = [found.index[i] for i in range(len(found.index)) if i not in found.index.broken]
        sizes = Counter(f"{m.width}x{m.height}" for m in usable).most_common(3)
        codecs = Counter(m.codec for m in usable).most_common(3)
        click.echo(
            f"{path}: {len(found.videos)} videos, {len(found.index.broken)} broken, "
            f"{sum(m.frames for m in usable):,} frames ({min(m.frames for m in usable)} to "
            f"{max(m.frames for m in usable)} each); mostly {', '.join(name for name, _ in sizes)}; "
            f"{', '.join(name for name, _ in codecs)}"
        )
    return 1 if broken else 0
