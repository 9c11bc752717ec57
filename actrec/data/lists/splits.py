"""The parts of a dataset, and how one is cut in two: training and validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PARTS = ("train", "val", "test")
# what published files call them
PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_WORK = 200_000  # (group, class) pairs looked at in all tries: about a second


def stratified_split(labels: Sequence[int], groups: Sequence[str], *, val_fraction: float, seed: int) -> np.ndarray:
    """Which rows are for validation.

    All rows of a group (clips of one video, say) stay on one side. Each class gives the validation side about
    `val_fraction` of its rows, as closely as its groups permit, and so does the whole. A class of two or more groups
    has one on each side; a class of one group stays in training. (Where groups hold several classes, three classes can
    contradict each other so that no split does that for all of them: then as many as were found.)

    The result depends on the rows and the seed, not on the order of the rows.

    Args:
        labels, groups: of each row.
        val_fraction: above 0, below 1.

    Returns:
        bool array: True for validation.

    Raises:
        ValueError: a fraction outside (0, 1), no row, or not one group for each label.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction {val_fraction}: expected a number above 0 and below 1")
    if len(labels) != len(groups) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(groups)} groups: expected as many, and at least one")
    number = {name: i for i, name in enumerate(sorted(set(groups)))}
    group_of_row = np.array([number[name] for name in groups])
    _, class_of_row = np.unique(np.asarray(labels, dtype=np.int64), return_inverse=True)
    num_classes = int(class_of_row.max()) + 1
    pairs, counts = np.unique(group_of_row * num_classes + class_of_row, return_counts=True)
    table = _Table(pairs // num_classes, pairs % num_classes, counts, val_fraction)
    rng = np.random.default_rng(seed)
    tries = max(1, min(20, _WORK // len(pairs)))
    chosen = min((table.improve(table.draw(rng)) for _ in range(tries)), key=table.cost)
    return chosen[group_of_row]


class _Table:
    """How many rows of which class each group has: one entry per (group, class) pair, sorted by group.

    The cost of a split is the sum over classes of the squared distance to the wanted number of validation rows, the
    same for the whole, and more than all of that for every class that misses a side.
    """

    def __init__(self, group: np.ndarray, label: np.ndarray, rows: np.ndarray, fraction: float):
        self.group, self.label, self.rows = group, label, rows
        self.num_groups = int(group[-1]) + 1
        self.begin = np.searchsorted(group, np.arange(self.num_groups + 1))  # a group's entries
        self.size = np.bincount(group, rows)
        self.wanted = np.bincount(label, rows) * fraction
        self.groups_of_class = np.bincount(label)
        self.missing = 4.0 * float(rows.sum()) ** 2 + 1

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Groups in random order; each is taken if its classes come closer to what they want."""
        chosen = np.zeros(self.num_groups, bool)
        lack = self.wanted.tolist()
        label, rows, begin = self.label.tolist(), self.rows.tolist(), self.begin.tolist()
        for group in rng.permutation(self.num_groups).tolist():
            entries = range(begin[group], begin[group + 1])
            if sum(abs(lack[label[e]] - rows[e]) - abs(lack[label[e]]) for e in entries) < 0:
                chosen[group] = True
                for e in entries:
                    lack[label[e]] -= rows[e]
        return chosen

    def improve(self, chosen: np.ndarray) -> np.ndarray:
        """Moves one group at a time to the other side, always the one that helps most, while one helps."""
        chosen = chosen.copy()
        while True:
            gain = self._gain(chosen)
            best = int(gain.argmax())
            if gain[best] <= 1e-6:
                return chosen
            chosen[best] = not chosen[best]

    def cost(self, chosen: np.ndarray) -> float:
        rows, groups = self._sums(chosen)
        over = rows - self.wanted
        return float(
            (over**2).sum() + over.sum() ** 2 + self.missing * self._misses(groups, self.groups_of_class).sum()
        )

    def _gain(self, chosen: np.ndarray) -> np.ndarray:
        """What moving each group to the other side takes off the cost."""
        rows, groups = self._sums(chosen)
        over = rows - self.wanted
        sign = np.where(chosen, -1, 1)
        step, label = sign[self.group] * self.rows, self.label
        after = groups[label] + sign[self.group]
        num = self.groups_of_class
        missed = self._misses(after, num[label]) - self._misses(groups, num)[label]
        more = (over[label] + step) ** 2 - over[label] ** 2 + self.missing * missed
        total = (over.sum() + sign * self.size) ** 2 - over.sum() ** 2
        return -(np.bincount(self.group, more) + total)

    def _sums(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and groups of each class on the validation side."""
        taken = chosen[self.group]
        rows = np.bincount(self.label, self.rows * taken)
        return rows, np.bincount(self.label, taken).astype(np.int64)

    @staticmethod
    def _misses(groups: np.ndarray, num: np.ndarray) -> np.ndarray:
        """1 for a class without training groups, or without validation groups though it has two or more."""
        return ((groups == num) | ((groups == 0) & (num > 1))).astype(np.int64)
