"""What a user must know of videos that were used: said once for all videos of a command."""

from __future__ import annotations

from collections.abc import Iterable

from actrec.data.index.index import Index
from actrec.data.times import UNSTAMPED
from actrec.data.video.promise import torn_line, what_is_missing
from actrec.words import counted


def notices(indexes: Iterable[Index], image_range: tuple[float, float] | None) -> list[str]:
    """How many of the videos that were probed lack their end, lack timestamps, or have samples that are scaled.

    Args:
        image_range: As the loaders of these videos get it.
    """
    indexes, lines = list(indexes), []
    if torn := list(dict.fromkeys(path for index in indexes for path in index.torn_files())):
        lines.append(torn_line(len(torn), torn[0], what_is_missing(torn[0])))
    if num_unstamped := sum(index.num_unstamped for index in indexes):
        lines.append(f"{counted(num_unstamped, 'video')} {UNSTAMPED}")
    if num_deep := sum(index.num_deep for index in indexes):
        if image_range is None:
            scaled = "all values that the files can hold are scaled to 0 to 255; --image-range LOW,HIGH changes this"
        else:
            scaled = "{:g} to {:g} is scaled to 0 to 255".format(*image_range)
        lines.append(f"{counted(num_deep, 'video')} of more than 8 bits: {scaled}")
    return lines
