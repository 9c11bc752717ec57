"""Writes a copy of a video with its timeline drawn into each frame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from actrec.data.video.encode import VideoWriter
from actrec.inference.drawing import font, frames_of
from actrec.inference.plot import classes_shown, color_numbers
from actrec.inference.segments import Segment
from actrec.inference.timeline import Timeline

_TIME_BASE = Fraction(1, 90000)
# RGB; those of matplotlib's tab10
PALETTE = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


def render(
    timeline: Timeline,
    segments: Sequence[Segment],
    path: Path,
    *,
    topk: int = 5,
    progress: Callable[[int], None] | None = None,
) -> str:
    """Writes a copy of the video: upright, with all frames, their times and their sound, the probabilities of the most
    likely classes of each moment, and the segments on a time axis.

    Args:
        segments: Those of the timeline.
        path: A file with the suffix .mp4, .mkv or .mov. It is encoded as H.264.
        topk: Number of classes whose probabilities are drawn.
        progress: Called with 1 after each frame.

    Returns:
        What happened to the sound: see `VideoWriter.sound`.

    Raises:
        ValueError: The video is optical flow, or cannot be decoded.
        OSError: The file cannot be written.
    """
    media, times = timeline.media, timeline.frame_times
    if media.flow:
        raise ValueError(
            f"{media.path}: optical flow cannot be rendered as a video: expected a video file or a frame folder"
        )
    pictures = frames_of(media)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"{media.path}: no frame can be decoded")
    height, width = (side + side % 2 for side in first[0].shape[:2])
    overlay = Overlay(timeline, segments, width, height, topk)
    with VideoWriter(
        path,
        width=width,
        height=height,
        rate=Fraction(media.rate).limit_denominator(1001),
        time_base=_TIME_BASE,
        sound_of=media.path if media.template is None else None,
        sound_span=_span(timeline, first[1] or 0.0),
    ) as video:
        pts = -1
        for number, (rgb, _) in enumerate(itertools.chain([first], pictures)):
            if rgb.shape[:2] != first[0].shape[:2]:  # an image of another size
                rgb = cv2.resize(rgb, first[0].shape[1::-1], interpolation=cv2.INTER_AREA)
            frame = cv2.copyMakeBorder(
                rgb, 0, height - rgb.shape[0], 0, width - rgb.shape[1], cv2.BORDER_REPLICATE
            )  # also a copy
            seconds = float(times.at(number))
            overlay.draw(frame, seconds)
            pts = max(pts + 1, round((seconds - times.begins) / _TIME_BASE))
            video.write(frame, pts)
            if progress:
                progress(1)
    return video.sound


def _span(timeline: Timeline, start: float) -> tuple[float, float]:
    """The seconds of the file that are rendered: from the first frame to the end of the file or of the row's range."""
    is_part, times = timeline.video.start is not None, timeline.frame_times
    return start, start + times.end - times.begins if is_part else math.inf


class Overlay:
    """Draws a timeline into frames. Everything scales with their size.

    Args:
        width, height: Of the frames.
        topk: Number of classes whose probabilities are drawn, at most as many as there is room for.
    """

    def __init__(self, timeline: Timeline, segments: Sequence[Segment], width: int, height: int, topk: int):
        self._moments, self._mean = timeline.moments
        self._segments = segments
        self._names = timeline.classes
        self._width, self._height = width, height
        self._unit = max(6, round(min(width, height) / 20))  # height of a row
        shown = color_numbers(classes_shown(self._mean, self._moments, segments))  # the colors of the plot
        self._colors = [PALETTE[shown.get(label, label % len(PALETTE))] for label in range(len(self._names))]
        room = (height // 3 - self._unit // 4) // self._unit
        self._count = max(0, min(topk or len(self._names), len(self._names), room))
        self._duration = timeline.frame_times.end
        self._axis = self._draw_axis()

    def draw(self, frame: np.ndarray, seconds: float) -> None:
        """Draws the probabilities and segments of a moment into an RGB frame, in place."""
        unit, height = self._unit, self._height
        axis_top = height - len(self._axis)
        frame[axis_top:] = self._axis
        x = min(self._width - 1, int(seconds / self._duration * self._width))
        cv2.rectangle(frame, (x, axis_top), (x + max(0, unit // 8 - 1), height), (255, 255, 255), -1)
        shown = [segment for segment in self._segments if segment.start <= seconds < segment.end]
        title = ", ".join(self._names[segment.label] for segment in shown)
        if title:
            self._shade(frame, 0, 0, self._width, round(1.5 * unit))
            self._text(frame, title, unit // 2, unit // 4, unit, self._width - unit)
        probabilities = self._at(seconds)
        if probabilities is None or not self._count:
            return
        best = np.argsort(-probabilities, kind="stable")[: self._count].tolist()
        panel = min(self._width, max(self._width // 3, 9 * unit))
        top = axis_top - self._count * unit - unit // 4
        self._shade(frame, 0, top, panel, axis_top)
        for row, label in enumerate(best):
            y, value = top + unit // 8 + row * unit, float(probabilities[label])
            room, bottom = panel - round(2.2 * unit), y + round(0.85 * unit)
            frame[y:bottom, unit // 4 : unit // 4 + round(value * (room - unit // 4))] = self._colors[label]
            self._text(frame, self._names[label], unit // 2, y, bottom - y, room - unit // 2)
            self._text(frame, f"{value:.0%}", room + unit // 4, y, bottom - y, 2 * unit)

    def _at(self, seconds: float) -> np.ndarray | None:
        """The probabilities of a moment; None between windows."""
        place = int(np.searchsorted(self._moments[:, 0], seconds + 1e-9, side="right")) - 1
        if place < 0 or seconds >= self._moments[place, 1] + 1e-9:
            return None
        return np.asarray(self._mean[place])

    def _draw_axis(self) -> np.ndarray:
        axis = np.full((min(self._height, max(4, round(0.6 * self._unit))), self._width, 3), 40, np.uint8)
        for segment in self._segments:
            first, last = (round(at / self._duration * self._width) for at in (segment.start, segment.end))
            axis[:, first : max(last, first + 1)] = self._colors[segment.label]
        return axis

    @staticmethod
    def _shade(frame: np.ndarray, x: int, y: int, right: int, bottom: int) -> None:
        part = frame[max(y, 0) : bottom, x:right]
        part[...] = part // 2

    @staticmethod
    def _text(frame: np.ndarray, text: str, x: int, y: int, height: int, room: int) -> None:
        """White text of a height in pixels with its top left corner at (x, y), cut off where it has no room.

        Its black shadow makes it legible on every color.
        """
        part = frame[y : y + height, x : x + room]
        if part.size:
            picture = Image.fromarray(part)
            style = font(max(4, round(0.8 * height)))
            for shift, color in ((1, (0, 0, 0)), (0, (255, 255, 255))):
                ImageDraw.Draw(picture).text((shift, height / 2 + shift), text, font=style, fill=color, anchor="lm")
            part[...] = np.asarray(picture)
