"""How a stored picture is turned and mirrored for display."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways in which a display matrix or an SEI message may turn a picture by whole quarter turns.

    Args:
        quarter_turns: counter-clockwise, from the stored to the displayed picture: 0 to 3.
        mirrored: left and right are exchanged before that.
    """

    quarter_turns: int = 0
    mirrored: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """What FFmpeg's `autorotate` does to a picture. Turns by other angles are ignored.

        A picture may have two display matrices, of its container and of an SEI message: the first one counts.
        """
        turns = round(picture.rotation / 90)
        if abs(picture.rotation - 90 * turns) > 1:  # FFmpeg's tolerance, too
            return cls()
        turns %= 4
        matrix = next((data for data in _side_data_of(picture) if data.type.name == "DISPLAYMATRIX"), None)
        if matrix is None:
            return cls(turns)
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        mirrored = a * d - b * c < 0
        return cls((turns + 2) % 4 if mirrored else turns, mirrored)  # FFmpeg's angle is that of a vertical flip

    def __bool__(self) -> bool:
        """Whether the displayed picture differs from the stored one."""
        return bool(self.quarter_turns) or self.mirrored

    @property
    def degrees(self) -> int:
        """Counter-clockwise: 0, 90, 180 or 270."""
        return 90 * self.quarter_turns

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The displayed size of a stored one, and the other way round."""
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, C) as displayed, as a view."""
        return np.rot90(image[:, ::-1] if self.mirrored else image, self.quarter_turns)


def _side_data_of(picture: av.VideoFrame) -> Iterator[Any]:
    """Everything in order. Iterating gives values with PyAV 18, and the different types with PyAV 19."""
    by_place: Any = picture.side_data
    with contextlib.suppress(IndexError):
        for place in itertools.count():
            yield by_place[place]
