"""Converts the pictures of a video to a constant frame rate, using their timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from actrec.data.video.container import MediaError
from actrec.data.video.read import Picture

MAX_STILL = 600.0  # seconds; longest time that one picture is shown. A wrong timestamp must not fill the disk.


def resampled(pictures: Iterable[Picture], *, path: Path | str, fps: float | None) -> Iterator[tuple[Picture, int]]:
    """Yields (picture, number of frames that show it).

    Frame k shows the picture that is displayed k/fps seconds after the first picture. A picture without a timestamp
    follows the previous picture at the average rate. A timestamp that goes back is replaced by the previous one.

    Args:
        path: The file, for messages.
        fps: Frames per second; None for one frame per picture.

    Raises:
        MediaError: The file has neither timestamps nor a frame rate, or a timestamp jumps by more than `MAX_STILL`.
    """
    if fps is None:
        yield from ((picture, 1) for picture in pictures)
        return
    shown, start, now, made = None, 0.0, 0.0, 0
    for picture in pictures:
        if picture.time is None and not picture.seconds:
            raise MediaError(path, "the file has neither timestamps nor a frame rate: --fps needs one of them")
        if shown is None:
            start = now = picture.time or 0.0
        else:
            before, now = now, max(now, now + shown.seconds if picture.time is None else picture.time)
            if now - before > MAX_STILL:
                raise MediaError(
                    path, f"a timestamp jumps by {now - before:.0f} s: --fps allows at most {MAX_STILL:.0f} s"
                )
            if copies := _due(now - start, fps) - made:
                yield shown, copies
                made += copies
        shown = picture
    if shown is not None:
        copies = max(_due(now + min(shown.seconds, MAX_STILL) - start, fps), 1) - made
        if copies > 0:
            yield shown, copies


def _due(seconds: float, fps: float) -> int:
    """Number of frames before this time."""
    return max(math.ceil(seconds * fps - 1e-4), 0)
