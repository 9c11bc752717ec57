"""A timeline as a picture: the probabilities of classes over time, and the segments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actrec import figures
from actrec.inference.segments import Segment
from actrec.inference.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_MOST = 10  # classes that are shown: as many as there are colors
_LONGEST = 30  # characters of a class name


def save(
    timeline: Timeline,
    segments: Sequence[Segment],
    path: Path,
    truth: Sequence[Segment] = (),
    *,
    threshold: float | None = None,
) -> None:
    """Writes the figure of `draw` to a file with one of `figures.SUFFIXES`.

    Raises:
        OutputError: The file cannot be written.
    """
    figures.save(path, draw(timeline, segments, truth, threshold=threshold))


def draw(
    timeline: Timeline,
    segments: Sequence[Segment],
    truth: Sequence[Segment] = (),
    *,
    threshold: float | None = None,
) -> Figure:
    """A figure with the ten classes that matter most: those of the longest segments, then the most likely ones.

    Args:
        threshold: The smallest probability of a segment, shown as a line.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter

    moments, mean = timeline.moments
    shown = classes_shown(mean, moments, [*segments, *truth])
    names = [figures.class_name(timeline.classes[label], _LONGEST) for label in shown]
    colors = {label: f"C{number}" for label, number in color_numbers(shown).items()}
    rows = {label: row for row, label in enumerate(reversed(shown))}
    figure = Figure(figsize=(11, 4.2 + 0.28 * len(shown)), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 0.4 + 0.28 * len(shown)))
    # A step for each moment, with a gap where no window covers the time.
    times, values = _steps(moments, mean[:, shown])
    for label, curve in zip(shown, values.T):
        above.plot(times, curve, color=colors[label], linewidth=1.4)
    above.set_title(figures.class_name(os.path.basename(timeline.video.id), 2 * _LONGEST), loc="left")
    kinds: list[Artist] = []
    if threshold is not None:
        text = f"threshold {threshold:g}"
        kinds += [above.axhline(threshold, color="0.4", linewidth=1, linestyle="--", label=text)]
    above.set_ylim(-0.02, 1.02)
    above.set_ylabel("probability")
    above.grid(alpha=0.25)
    for found, height, alpha in ((truth, 0.9, 0.25), (segments, 0.5, 1.0)):
        for segment in found:
            if segment.label in rows:
                place = (rows[segment.label] - height / 2, height)
                span = [(segment.start, segment.end - segment.start)]
                below.broken_barh(span, place, facecolors=colors[segment.label], alpha=alpha)
    below.set_yticks(list(rows.values()), list(reversed(names)), fontsize=9)
    for label, text in zip(rows, below.get_yticklabels()):
        text.set_color(colors[label])
    below.set_ylim(-0.6, len(shown) - 0.4)
    below.set_xlim(0, timeline.frame_times.end)
    below.set_xlabel("time (min:s)")
    if truth:
        kinds += [Patch(color="0.3", label="predicted"), Patch(color="0.3", alpha=0.25, label="truth")]
    if kinds:
        above.legend(
            handles=kinds,
            ncols=len(kinds),
            loc="lower right",
            bbox_to_anchor=(1, 1),  # above the curves
            frameon=False,
            fontsize=9,
        )
    below.grid(axis="x", alpha=0.25)
    below.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds)))
    return figure


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss, with a tenth where there is one."""
    tenths = round(seconds * 10)
    whole, tenth = divmod(tenths, 10)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
    return f"{text}.{tenth}" if tenth else text


def classes_shown(mean: np.ndarray, moments: np.ndarray, segments: Sequence[Segment]) -> list[int]:
    lengths = np.zeros(mean.shape[1])
    for segment in segments:
        lengths[segment.label] += segment.end - segment.start
    order = np.lexsort((-mean.mean(axis=0), -lengths))
    return [int(label) for label in order[:_MOST]]


def color_numbers(labels: Sequence[int]) -> dict[int, int]:
    """The number of each class's color, which is its label, or the next one if an earlier class has it already."""
    found: dict[int, int] = {}
    for label in labels:
        found[label] = next(n for i in range(_MOST) if (n := (label + i) % _MOST) not in found.values())
    return found


def _steps(moments: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times = moments.ravel()
    steps = values.repeat(2, axis=0)
    gaps = np.flatnonzero(moments[1:, 0] > moments[:-1, 1]) + 1
    return np.insert(times, 2 * gaps, np.nan), np.insert(steps, 2 * gaps, np.nan, axis=0)
