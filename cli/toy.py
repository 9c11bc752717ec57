"""`actrec toy`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.ending import finish
from actrec.cli.options import FOLDER, Command, config_options
from actrec.config import ToyOptions


@click.command(
    cls=Command,
    examples=[
        "actrec toy toy/",
        "actrec toy toy/ --train-per-class 10 --val-per-class 5",
    ],
)
@click.argument("folder", metavar="DIR", type=FOLDER)
@config_options(ToyOptions)
def command(folder: Path, toyoptions: ToyOptions) -> int:
    """Render a small action dataset into DIR: eight classes in time-reversed pairs, as H.264 videos.

    No single frame tells the two classes of a pair apart. Writes videos/<class>/*.mp4, videos_train.txt,
    videos_val.txt, labels.txt and flips.txt (which classes are mirror images of each other).
    """
    from actrec.cli.progress import watched
    from actrec.tools.make.toy import make_toy

    with watched() as progress:
        toy = make_toy(folder, toyoptions, progress=progress)
    return finish(
        f"{toy.num_train} training and {toy.num_val} validation videos of {len(toy.classes)} classes -> {toy.root}"
    )
