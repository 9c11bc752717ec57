"""Limits on the size of media, so that a broken or hostile file cannot fill the memory or the disk.

They hold for the whole process, as `PIL.Image.MAX_IMAGE_PIXELS` does, because every function that opens media obeys
them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from actrec.config import Limits

_current = Limits()


def limits() -> Limits:
    """The limits of this process."""
    return _current


def set_limits(limits: Limits) -> None:
    """Changes the limits of this process."""
    global _current
    _current = limits


@contextlib.contextmanager
def limited(limits: Limits) -> Iterator[None]:
    """Changes the limits of this process for the time of a block."""
    before = _current
    set_limits(limits)
    try:
        yield
    finally:
        set_limits(before)


def why_too_large(width: int, height: int) -> str | None:
    """Why a picture of this size is not decoded; None if it may be."""
    if width * height <= _current.max_pixels:
        return None
    return (
        f"{width}x{height} are {width * height:,} pixels: expected at most {_current.max_pixels:,}; "
        "--max-pixels allows more"
    )


def why_too_long(num_frames: int) -> str | None:
    """Why a video of so many frames is not used; None if it may be."""
    if num_frames <= _current.max_frames:
        return None
    return f"it has more than {_current.max_frames:,} frames: --max-frames allows more"
