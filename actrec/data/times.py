"""When the frames of a file or frame folder are shown. All code that uses seconds uses `FrameTimes`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from actrec.words import decimal

# Seconds within which two times are equal. Matroska, FLV and many lists round times to milliseconds.
TOLERANCE = 5e-4
LARGEST = 1e9  # seconds, or frames per second, that can be meant
UNSTAMPED = "without timestamps: times are computed from the frame rate in the header"  # of some videos


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """When each frame is shown. Frame i is shown from its own start to the start of frame i + 1.

    Time 0 is the start of the file, as players show it: the first frame starts at 0, or later if the sound starts
    before it.

    Args:
        num_frames: At least 1.
        rate: Average number of frames per second, above 0.
        begins: The start of the first frame in seconds.
        borders: (num_frames + 1,) float64, ascending: the start of each frame, and the end of the last one. None if
            all frames are shown equally long.
    """

    num_frames: int
    rate: float
    begins: float = 0.0
    borders: np.ndarray | None = None

    @property
    def end(self) -> float:
        """The end of the last frame in seconds."""
        return float(self.at(self.num_frames))

    def at(self, frames: np.ndarray | int) -> np.ndarray:
        """The start of frames in seconds, float64. Frame `num_frames` is the end of the last frame."""
        if self.borders is None:
            return self.begins + np.asarray(frames) / self.rate
        return np.asarray(self.borders[frames])

    def why_empty(self, start: float, stop: float) -> str | None:
        """Why no frame is shown in [start, stop) seconds; None if one is."""
        if start >= self.end - TOLERANCE:
            return f"{start:g} to {stop:g} seconds, but the last frame ends at {decimal(self.end)}"
        if stop <= self.begins:
            return f"{start:g} to {stop:g} seconds, but the first frame starts at {decimal(self.begins)}"
        return None

    def between(self, start: float, stop: float) -> tuple[int, int]:
        """The half-open range of the frames that start in [start, stop) seconds.

        If none does, the frame that is shown at `start`. The range is never empty, and within the video.
        """
        begin, end = self._first_from(start), self._first_from(stop)
        if end <= begin:
            begin = max(begin - 1, 0)
        begin = min(begin, self.num_frames - 1)
        return begin, min(max(end, begin + 1), self.num_frames)

    def _first_from(self, seconds: float) -> int:
        """The first frame that starts at this time or later."""
        earliest = seconds - min(TOLERANCE, 0.25 / self.rate)
        if self.borders is None:
            return max(math.ceil((earliest - self.begins) * self.rate), 0)
        return int(np.searchsorted(self.borders[:-1], earliest))

    def nearest(self, seconds: np.ndarray) -> np.ndarray:
        """For each time, the frame that is shown, or the next one if its start is nearer by; `num_frames` at the end.

        The next one starts at most half of an average frame later: a still is shown for long.
        """
        if self.borders is None:
            found = np.round((seconds - self.begins) * self.rate).astype(np.int64)
            return np.clip(found, 0, self.num_frames)
        shown = np.clip(np.searchsorted(self.borders, seconds, side="right") - 1, 0, self.num_frames)
        ahead = self.borders[np.minimum(shown + 1, self.num_frames)] - seconds
        is_next = (ahead < seconds - self.borders[shown]) & (ahead <= 0.5 / self.rate)
        return np.minimum(shown + is_next, self.num_frames).astype(np.int64)

    def part(self, start: int, stop: int) -> FrameTimes:
        """The times of a half-open range of the frames, counted from the start of its first frame."""
        if self.borders is None:
            return FrameTimes(stop - start, self.rate)
        borders = self.borders[start : stop + 1] - self.borders[start]
        return FrameTimes(stop - start, self.rate, 0.0, borders)

    def resized(self, num_frames: int) -> FrameTimes:
        """The same for another number of frames. Further frames follow at the average rate."""
        borders = self.borders
        if borders is not None and num_frames != self.num_frames:
            more = borders[-1] + np.arange(1, num_frames - self.num_frames + 1) / self.rate
            borders = np.concatenate([borders[: num_frames + 1], more])
        return FrameTimes(num_frames, self.rate, self.begins, borders)


@dataclass(frozen=True, eq=False)
class Stamps:
    """The timestamps of a file, for programs that choose frames by them.

    Args:
        ticks: (num_frames,) timestamps of the frames. The first one need not be 0. They ascend, except those that
            FFmpeg invents for an AVI with B-frames.
        base: Seconds per tick.
        duration: Of the stream in ticks, as the file states it; 0 if it does not, as in Matroska.
        rate: FFmpeg's guess of the frame rate (`r_frame_rate`), above 0.
    """

    ticks: np.ndarray
    base: Fraction
    duration: float
    rate: float

    def part(self, start: int, stop: int) -> Stamps:
        """The timestamps of the frames from start to stop (exclusive), less that of the first one.

        The timestamps of a whole file are not changed. Frames that are not in the file are left out.
        """
        if start == 0 and stop >= len(self.ticks):
            return self
        ends = np.append(self.ticks, self.ticks[-1] + 1 / (self.rate * self.base))
        start, stop = min(start, len(self.ticks)), min(stop, len(self.ticks))
        return Stamps(ends[start:stop] - ends[start], self.base, float(ends[stop] - ends[start]), self.rate)


def rounded_rate(rate: float) -> float:
    """A rate that was stored in few digits or measured, such as 29.97: exactly 30000 / 1001."""
    return float(Fraction(rate).limit_denominator(1001))
