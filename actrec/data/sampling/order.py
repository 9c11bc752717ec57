"""Which videos an epoch draws, and in which order: arithmetic on (seed, epoch) alone, the same on every rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actrec.data.lists import Video, label_columns
from actrec.data.sampling import streams
from actrec.data.sampling.plan import epoch_order


def epoch_draws(
    num_videos: int, *, seed: int, epoch: int, repeats: int = 1, labels: np.ndarray | None = None
) -> np.ndarray:
    """The clips of an epoch in order: (num_videos * repeats, 2) int64, of each its row and how often that came before.

    Args:
        repeats: clips of each drawn video, next to each other (repeated augmentation, Hoffer et al. 2020).
        labels: (num_videos,) int, one of each video: every class is drawn equally often then, in an order that is
            random over the epoch. None: every video is drawn once.
    """
    order = epoch_order(num_videos, seed=seed, epoch=epoch)
    if labels is not None:
        order = _balanced(labels, seed, epoch)[order]
    rows = order.repeat(repeats)
    return np.stack([rows, _times_before(rows)], axis=1)


def only_labels(videos: Sequence[Video]) -> np.ndarray:
    """The label of each video, (videos,) int64.

    Raises:
        ValueError: A video has no label, or several.
    """
    labels, counts = label_columns(videos)
    for row in np.flatnonzero(counts != 1)[:1]:
        raise ValueError(f"balanced with {videos[row].id}, which has {counts[row]} labels: expected one of each")
    return labels


def _balanced(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The rows that an epoch draws, as many as there are, class by class.

    The classes take turns, and the turns go on from epoch to epoch: no class is ever more than one draw ahead.
    """
    own = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(own)
    members = np.split(np.argsort(own, kind="stable"), np.cumsum(sizes)[:-1])
    turns = epoch * len(labels), (epoch + 1) * len(labels)
    drawn = []
    for number, rows in enumerate(members):
        begin, end = (-((number - turn) // len(sizes)) for turn in turns)  # how often it had its turn before
        drawn.append(_in_turn(rows, begin, end, seed, number))
    return np.concatenate(drawn)


def _in_turn(rows: np.ndarray, begin: int, end: int, seed: int, number: int) -> np.ndarray:
    """Draws [begin, end) of a class: permutations of its rows, one after the other."""
    first = begin // len(rows)
    bits = np.random.PCG64(np.random.SeedSequence([seed, number], spawn_key=streams.BALANCE))
    bits.advance(first * len(rows))  # one step for each variate of the passes before
    keys = np.random.Generator(bits).random((-(-end // len(rows)) - first, len(rows)))
    passes = rows[np.argsort(keys, axis=1, kind="stable")].ravel()
    return passes[begin - first * len(rows) : end - first * len(rows)]


def _times_before(rows: np.ndarray) -> np.ndarray:
    """How often each of the rows stands before its place."""
    by_row = np.argsort(rows, kind="stable")
    counts = np.bincount(rows)
    times = np.empty(len(rows), np.int64)
    times[by_row] = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows[by_row]]
    return times
