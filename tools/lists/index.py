"""The index of a list: looked at or verified by threads or a cluster, and what it says of the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from actrec.data.index import Index, Media, quarantine_path
from actrec.tools.make.jobs import Progress, Workers, each
from actrec.tools.make.output import whole_file, write_failed, writing


def look_at_all(index: Index, workers: Workers, progress: Progress | None = None) -> None:
    """Looks at every file and folder of a list that is not known, or has changed. An interrupt keeps what was found.

    Raises:
        ClusterError: the cluster cannot be used.
    """
    index.probe_all(partial(each, workers=workers, progress=progress), workers=workers.count)


def verify_all(index: Index, workers: Workers, progress: Progress | None = None) -> None:
    """Decodes all of every file and folder that was not found whole as it is now. An interrupt keeps what was found.

    Every command leaves the broken ones out until they change.

    Raises:
        ClusterError: the cluster cannot be used.
    """
    before = index.num_rejected
    report = progress and (lambda done, total, failed: progress(done, total, index.num_rejected - before))
    index.verify_all(partial(each, workers=workers, progress=report))


def write_quarantine(index: Index, list_path: Path) -> None:
    """`<list>.quarantine.csv`: what cannot be used, with the reasons.

    Raises:
        OutputError: it cannot be written.
    """
    reasons = {index.name(index.path(i)): reason for i, reason in index.broken.items()}
    write_failed(quarantine_path(list_path), sorted(reasons.items()))


@dataclass(frozen=True)
class Summary:
    """What the usable videos of a list are like: (smallest, median, largest), and counts with the commonest first."""

    videos: int
    broken: int
    frames: int
    length: tuple[float, float, float] | None
    seconds: tuple[float, float, float] | None
    gop: tuple[float, float, float] | None
    short_side: tuple[float, float, float] | None
    sizes: dict[str, int]
    rates: dict[str, int]
    codecs: dict[str, int]
    colors: dict[str, int]
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
        colors=_counts(m.color for m in found if m.color),
        rotations=_counts(str(m.rotation) for m in found if m.rotation),
    )


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    return (float(min(values)), float(np.median(values)), float(max(values))) if values else None


def _counts(values) -> dict[str, int]:
    return dict(Counter(values).most_common())


def draw(path: Path, name: str, index: Index) -> None:
    """A picture of histograms: displayed sizes, lengths, frame rates and GOPs of the usable videos.

    Args:
        path: ends in one of `output.PICTURES`.
        name: of the list.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

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
    with whole_file(path) as part, writing(path):
        figure.savefig(part, dpi=120, format=path.suffix[1:].lower())
