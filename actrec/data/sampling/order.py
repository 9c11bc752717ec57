"""Which videos an epoch draws, and in which order. The order is the same on every rank.

It depends on (seed, epoch), on the number of videos and of repeats, on the rows that are left out and, with class
balance, on the labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from actrec.data.lists import Video, label_columns
from actrec.data.sampling import streams


class EpochDraws:
    """The clips of an epoch in order: (num_videos - number of rows left out) * repeats.

    A slice is (n, 2) int64: the row of the list, and how often that row was drawn before in this epoch. This takes 4
    bytes per video, or 16 with class balance.

    Args:
        repeats: clips of each drawn video. They follow each other (repeated augmentation, Hoffer et al. 2020).
        labels: (num_videos,) int, the label of each video: every class is then drawn equally often, in an order that is
            random over the epoch. None: every video is drawn once.
        left_out: the rows that are not drawn, without repetition. Without class balance, the order of the other rows
            does not depend on them.
    """

    def __init__(
        self,
        num_videos: int,
        *,
        seed: int,
        epoch: int,
        repeats: int = 1,
        labels: np.ndarray | None = None,
        left_out: Collection[int] = (),
    ):
        usable = np.ones(num_videos, bool)
        usable[list(left_out)] = False
        self._times: np.ndarray | None = None
        if labels is None:
            order = epoch_order(num_videos, seed=seed, epoch=epoch)
            order = order[usable[order]] if len(left_out) else order
        else:
            order = np.flatnonzero(usable)[balanced_rows(labels[usable], seed, epoch)]
            order = order[epoch_order(len(order), seed=seed, epoch=epoch)]
            self._times = _times_before(order.repeat(repeats))
        self._order, self._repeats = order.astype(np.int32) if num_videos < 2**31 else order, repeats

    def __len__(self) -> int:
        return len(self._order) * self._repeats

    def __getitem__(self, part: slice) -> np.ndarray:
        places = np.arange(*part.indices(len(self)))
        rows = self._order[places // self._repeats].astype(np.int64)
        return np.stack([rows, places % self._repeats if self._times is None else self._times[places]], axis=1)


def epoch_order(num_videos: int, *, seed: int, epoch: int) -> np.ndarray:
    """The permutation of an epoch, (num_videos,) int64."""
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=streams.ORDER)
    return np.random.Generator(np.random.PCG64(sequence)).permutation(num_videos)


def batch_slice(step: int, *, batch_size: int, num_draws: int, rank: int = 0, world: int = 1) -> slice:
    """The part of an epoch's draws that a rank takes in a step.

    The parts of all ranks together are the global batch, without gaps. If the last batch is incomplete, some ranks get
    fewer samples, or none.

    Args:
        batch_size: of the global batch.
        num_draws: of the epoch, over all ranks.
    """
    begin = step * batch_size
    end = min(begin + batch_size, num_draws)
    cuts = [begin + batch_size * r // world for r in (rank, rank + 1)]
    return slice(min(cuts[0], end), min(cuts[1], end))


def single_labels(videos: Sequence[Video]) -> np.ndarray:
    """The label of each video, (videos,) int64.

    Raises:
        ValueError: a video has no label, or several.
    """
    labels, counts = label_columns(videos)
    for row in np.flatnonzero(counts != 1)[:1]:
        raise ValueError(f"balanced with {videos[row].id}, which has {counts[row]} labels: expected one of each")
    return labels


def balanced_rows(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The rows that an epoch draws with class balance, as many as there are videos, class by class.

    The classes take turns, and the turns continue from epoch to epoch: no class is ever more than one draw ahead.
    """
    class_of = np.unique(labels, return_inverse=True)[1]
    sizes = np.bincount(class_of)
    members = np.split(np.argsort(class_of, kind="stable"), np.cumsum(sizes)[:-1])
    turns = epoch * len(labels), (epoch + 1) * len(labels)
    drawn = []
    for number, rows in enumerate(members):
        begin, end = (-((number - turn) // len(sizes)) for turn in turns)  # turns of this class before and after
        drawn.append(_rows_in_turn(rows, begin, end, seed, number))
    return np.concatenate(drawn)


def _rows_in_turn(rows: np.ndarray, begin: int, end: int, seed: int, number: int) -> np.ndarray:
    """Draws [begin, end) of class `number`. Its rows are permuted again after each pass through all of them."""
    first = begin // len(rows)
    bits = np.random.PCG64(np.random.SeedSequence([seed, number], spawn_key=streams.BALANCE))
    bits.advance(first * len(rows))  # skip the variates of the passes before
    keys = np.random.Generator(bits).random((-(-end // len(rows)) - first, len(rows)))
    passes = rows[np.argsort(keys, axis=1, kind="stable")].ravel()
    return passes[begin - first * len(rows) : end - first * len(rows)]


def _times_before(rows: np.ndarray) -> np.ndarray:
    """For each place, how often its row occurs at an earlier place."""
    by_row = np.argsort(rows, kind="stable")
    counts = np.bincount(rows)
    times = np.empty(len(rows), np.int64)
    times[by_row] = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows[by_row]]
    return times
