"""The index of a list: looked at or verified by threads or a cluster, and what it says of the dataset."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actrec.data.index import Index, Media, look, quarantine_path, verify
from actrec.tools.jobs import Progress, Stop, Workers, each
from actrec.tools.output import write_failed, writing

_SAVE = 30  # seconds of work that a power cut may cost


def look_at_all(index: Index, workers: Workers, progress: Progress | None = None) -> None:
    """Looks at every file and folder of a list that is not known, or has changed. An interrupt keeps what was found.

    Raises:
        ClusterError: the cluster cannot be used.
    """
    with _Keeper(index) as keep:
        each(_look, index.stale_rows(workers.count), keep.put, workers, progress=progress)


def verify_all(index: Index, list_path: Path, workers: Workers, progress: Progress | None = None) -> None:
    """Decodes all of every file and folder that was not verified as it is now. An interrupt keeps what was found.

    Every command leaves the broken ones out until they change; `<list>.quarantine.csv` has the reasons.

    Raises:
        OutputError: that file cannot be written.
        ClusterError: the cluster cannot be used.
        ValueError: all are broken.
    """
    with _Keeper(index, for_good=True) as keep:
        each(_verify, index.unverified(), keep.put, workers, progress=progress)
    try:
        index.check()
    finally:
        reasons = {index.path(i): reason for i, reason in index.broken.items()}
        write_failed(quarantine_path(list_path), sorted(reasons.items()))


def _look(r: int, path: str, *, stop: Stop) -> np.void:
    return look(path)


def _verify(r: int, path: str, row: np.void, *, stop: Stop) -> np.void:
    return verify(path, row)


class _Keeper:
    """Puts what comes back into the index, and saves it now and then and in the end."""

    def __init__(self, index: Index, *, for_good: bool = False):
        self._index, self._for_good, self._saved = index, for_good, time.monotonic()

    def __enter__(self) -> _Keeper:
        return self

    def __exit__(self, *error: object) -> None:
        self._index.save()

    def put(self, job: tuple, row: np.void | None, reason: str | None) -> None:
        if reason is None:
            self._index.put(job[0], row)
        else:
            self._index.give_up(job[0], reason, for_good=self._for_good)
        if time.monotonic() - self._saved > _SAVE:
            self._index.save()
            self._saved = time.monotonic()


@dataclass(frozen=True)
class Summary:
    """What the usable videos of a list are like: (smallest, median, largest), and counts with the commonest first."""

    videos: int
    broken: int
    frames: int
    length: tuple[float, float, float]
    seconds: tuple[float, float, float] | None
    gop: tuple[float, float, float] | None
    short_side: tuple[float, float, float]
    sizes: dict[str, int]
    rates: dict[str, int]
    codecs: dict[str, int]
    colours: dict[str, int]
    rotations: dict[str, int]


def usable(index: Index) -> list[Media]:
    """The media of all rows that are not broken."""
    return [index[i] for i in range(len(index)) if i not in index.broken]


def summary(index: Index) -> Summary:
    """Of a list that has been looked at."""
    found = usable(index)
    return Summary(
        videos=len(index),
        broken=len(index.broken),
        frames=sum(m.frames for m in found),
        length=_spread([m.frames for m in found]),
        seconds=_spread([m.frames / m.rate for m in found if m.rate]),
        gop=_spread([m.gop for m in found if m.gop]),
        short_side=_spread([min(m.width, m.height) for m in found]),
        sizes=_counts(f"{m.width}x{m.height}" for m in found),
        rates=_counts(f"{m.rate:.4g}" for m in found if m.rate),
        codecs=_counts(m.codec for m in found),
        colours=_counts(m.colour for m in found if m.colour),
        rotations=_counts(str(m.rotation) for m in found if m.rotation),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    return (float(min(values)), float(np.median(values)), float(max(values))) if values else None


def _counts(values) -> dict[str, int]:
    return dict(Counter(values).most_common())


def draw(path: Path, name: str, index: Index) -> None:
    """A picture of histograms: displayed sizes, lengths, frame rates and GOPs of the usable videos.

    Args:
        path: ends in .png, .pdf or .svg.
        name: of the list.

    Raises:
        ValueError: another ending.
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    if path.suffix not in (".png", ".pdf", ".svg"):
        raise ValueError(f"picture {path}: expected a name that ends in .png, .pdf or .svg")
    found = usable(index)
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(f"{name}: {len(found)} videos", fontsize=11)
    axes = figure.subplots(2, 2)
    places, counts = np.unique([(m.width, m.height) for m in found], axis=0, return_counts=True)
    axes[0, 0].scatter(*places.T, s=20 + 180 * counts / counts.max(), alpha=0.5, linewidths=0)
    axes[0, 0].set(title="size", xlabel="width in pixels", ylabel="height in pixels", xlim=0, ylim=0)
    seconds = [m.frames / m.rate for m in found if m.rate]
    for axis, title, unit, values in (
        (axes[0, 1], "length", "frames", [m.frames for m in found]),
        (axes[1, 0], "duration", "seconds", seconds),
        (axes[1, 1], "GOP", "frames for each keyframe", [m.gop for m in found if m.gop]),
    ):
        axis.set(title=title, xlabel=unit, ylabel="videos")
        if values:
            axis.hist(values, bins=min(40, max(5, len(values) // 4)))
        else:
            axis.text(0.5, 0.5, "not known", ha="center", va="center", transform=axis.transAxes)
    with writing(path):
        figure.savefig(path, dpi=120)
