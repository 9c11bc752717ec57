"""Checks whether a decoder returns pictures in the order of their timestamps."""

from __future__ import annotations

from bisect import bisect_left

from actrec.data.video.structure.bits import DoubtError

_KEPT = 64  # pictures that are compared with a new one; decoders hold at most 16


def order_count(low: int, before: int, num_bits: int) -> int:
    """The picture order count with these low bits that is nearest to the one before (H.264 8.2.1.1, H.265 8.3.1)."""
    half = 1 << num_bits - 1
    return before + (low - before + half - 1) % (2 * half) - half + 1


class OutputOrder:
    """Compares the order in which pictures are shown with their timestamps, while the packets come in decoding order.

    A *period* begins with each picture that resets the decoder. The pictures of a period are shown before those of the
    next one, in ascending order of their picture order counts.

    Attributes:
        delay: the largest number of pictures that precede a picture in decoding order and follow it in output order.
            A decoder that holds back at least as many pictures returns all of them in order.
    """

    def __init__(self) -> None:
        self.delay = 0
        self._orders: list[int] = []  # of the latest pictures of the period, ascending
        self._times: list[int] = []  # their timestamps
        self._last: int | None = None  # the largest timestamp of the earlier periods

    def reset(self) -> None:
        """A period begins."""
        if self._times:
            self._last = self._times[-1]
        self._orders, self._times = [], []

    def add(self, order: int, time: int) -> None:
        """Takes the next picture of the period in decoding order.

        Raises:
            DoubtError: it is not shown in the order of the timestamps.
        """
        orders, times = self._orders, self._times
        place = bisect_left(orders, order)
        later = len(orders) - place
        if later:
            if orders[place] == order:
                raise DoubtError("two pictures have the same place in the order of output")
            if times[place] <= time:
                raise DoubtError("the order of output is not the order of the timestamps")
            if later > self.delay:
                self.delay = later
        if place:
            if times[place - 1] >= time:
                raise DoubtError("the order of output is not the order of the timestamps")
        elif self._last is not None and time <= self._last:
            raise DoubtError("the timestamps go back at a keyframe")
        orders.insert(place, order)
        times.insert(place, time)
        if len(orders) > _KEPT:
            if not place:
                raise DoubtError("a picture is shown much earlier than it is decoded")
            del orders[0], times[0]
