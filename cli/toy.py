"""`actrec toy`"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same pixels.")
@click.option("--train-per-class", type=click.IntRange(min=1), default=40, show_default=True)
@click.option("--val-per-class", type=click.IntRange(min=1), default=10, show_default=True)
def command(folder: Path, seed: int, train_per_class: int, val_per_class: int) -> int:
    """Render a small action dataset into DIR: eight classes in time-reversed pairs, as H.264 videos.

    No single frame tells the two classes of a pair apart. Writes videos/<class>/*.mp4, videos_train.txt,
    videos_val.txt, labels.txt and flips.txt (which classes are each other's mirror image).
    """
    from actrec.cli.progress import index_progress
    from actrec.tools.make.toy import make_toy

    bar, progress = index_progress("videos")
    with bar:
        toy = make_toy(
            folder, seed=seed, train_per_class=train_per_class, val_per_class=val_per_class, progress=progress
        )
    click.echo(
        f"{toy.num_train} training and {toy.num_val} validation videos of {len(toy.classes)} classes -> {toy.root}"
    )
    return 0
