"""The parts of a dataset, and how to split rows into training and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

PARTS = ("train", "val", "test")
# the names that published files give them
PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_WORK = 200_000  # (group, class) pairs in all attempts together: about a second


def stratified_split(
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    val_fraction: float,
    seed: int,
    known: Sequence[bool | None] | None = None,
) -> np.ndarray:
    """Chooses the rows for validation.

    All rows of a group (for example, the clips of one video) stay on one side. The groups of a class are ranked by a
    hash of their names and the seed, and the first ones validate: as many as have max(1, round(val_fraction x rows))
    rows, as closely as the groups permit. So a row that is added or removed moves at most a few others. A class with
    two or more groups has at least one on each side; a class with one group stays in training.

    If groups hold several classes, the split that fits all classes best is searched instead. It may be impossible to
    satisfy all of them; then as many as possible are satisfied.

    The result depends on the rows and the seed, not on the order of the rows.

    Args:
        labels, groups: The label and the group of each row.
        val_fraction: Above 0 and below 1.
        known: For each row the side on which it stays, True for validation; None for a row that can be on either side.
            A group follows its rows that stay.

    Returns:
        (rows,) bool, True for validation.

    Raises:
        ValueError: The fraction is not in (0, 1), there is no row, or the numbers of labels and groups differ.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction {val_fraction}: expected a number above 0 and below 1")
    if len(labels) != len(groups) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(groups)} groups: expected as many, and at least one")
    names = sorted(set(groups))
    number = {name: i for i, name in enumerate(names)}
    group_of_row = np.array([number[name] for name in groups])
    _, class_of_row = np.unique(np.asarray(labels, dtype=np.int64), return_inverse=True)
    num_classes = int(class_of_row.max()) + 1
    fixed = np.full(len(names), -1)  # 1 for validation, 0 for training
    for row, side in enumerate(known or ()):
        if side is not None:
            fixed[group_of_row[row]] = max(fixed[group_of_row[row]], side)
    pairs, counts = np.unique(group_of_row * num_classes + class_of_row, return_counts=True)
    group, label = pairs // num_classes, pairs % num_classes
    if len(group) == len(names):
        chosen = _rank(names, label, counts, fixed, val_fraction, seed)
    else:
        table = _Table(group, label, counts, val_fraction, fixed)
        rng = np.random.default_rng(seed)
        tries = max(1, min(20, _WORK // len(pairs)))
        chosen = min((table.improve(table.random_split(rng)) for _ in range(tries)), key=table.cost)
    in_validation: np.ndarray = chosen[group_of_row]
    for row, side in enumerate(known or ()):
        if side is not None:
            in_validation[row] = side
    return in_validation


def _rank(
    names: Sequence[str], label: np.ndarray, rows: np.ndarray, fixed: np.ndarray, fraction: float, seed: int
) -> np.ndarray:
    """The groups for validation if each group is of one class, (groups,) bool. All arguments are by group."""
    digests = [hashlib.sha256(f"{seed} {name}".encode("utf-8", "surrogateescape")).digest() for name in names]
    order = np.array(sorted(range(len(names)), key=digests.__getitem__))
    chosen: np.ndarray = fixed == 1
    for c in range(int(label.max()) + 1):
        ranked = order[label[order] == c]
        if len(ranked) < 2:
            continue
        target = max(1, round(fraction * int(rows[ranked].sum())))
        have, training = int(rows[ranked[chosen[ranked]]].sum()), int((~chosen[ranked]).sum())
        for group in ranked[fixed[ranked] < 0].tolist():
            nearer = abs(have + rows[group] - target) < abs(have - target)
            if training > 1 and (nearer or (not have and target)):
                chosen[group] = True
                have, training = have + int(rows[group]), training - 1
    return chosen


class _Table:
    """The number of rows of each class in each group: one entry per (group, class) pair, sorted by group.

    Groups with a `fixed` side (1 for validation, 0 for training, -1 for none) stay there. The cost of a split is the
    squared distance to the desired number of validation rows, summed over the classes and the whole. Each class that is
    missing on one side costs more than all of these together.
    """

    def __init__(self, group: np.ndarray, label: np.ndarray, rows: np.ndarray, fraction: float, fixed: np.ndarray):
        self.group, self.label, self.rows, self.fixed = group, label, rows, fixed
        self.num_groups = int(group[-1]) + 1
        self.begin = np.searchsorted(group, np.arange(self.num_groups + 1))  # the first entry of each group
        self.size = np.bincount(group, rows)
        self.target = np.bincount(label, rows) * fraction
        self.groups_of_class = np.bincount(label)
        self.missing = 4.0 * float(rows.sum()) ** 2 + 1

    def random_split(self, rng: np.random.Generator) -> np.ndarray:
        """A split: visits the groups in random order, and takes those that bring their classes nearer the target."""
        chosen: np.ndarray = self.fixed == 1
        missing_rows = (self.target - np.bincount(self.label, self.rows * chosen[self.group])).tolist()
        label, rows, begin = self.label.tolist(), self.rows.tolist(), self.begin.tolist()
        for group in rng.permutation(self.num_groups).tolist():
            entries = range(begin[group], begin[group + 1])
            if (
                self.fixed[group] < 0
                and sum(abs(missing_rows[label[e]] - rows[e]) - abs(missing_rows[label[e]]) for e in entries) < 0
            ):
                chosen[group] = True
                for e in entries:
                    missing_rows[label[e]] -= rows[e]
        return chosen

    def improve(self, chosen: np.ndarray) -> np.ndarray:
        """Moves one group at a time to the other side, always the one that helps most, until none helps."""
        chosen = chosen.copy()
        while True:
            gain = np.where(self.fixed < 0, self._gain(chosen), -np.inf)
            best = int(gain.argmax())
            if gain[best] <= 1e-6:
                return chosen
            chosen[best] = not chosen[best]

    def cost(self, chosen: np.ndarray) -> float:
        """The cost of a split, given as (groups,) bool."""
        rows, groups = self._sums(chosen)
        over = rows - self.target
        return float(
            (over**2).sum() + over.sum() ** 2 + self.missing * self._misses(groups, self.groups_of_class).sum()
        )

    def _gain(self, chosen: np.ndarray) -> np.ndarray:
        """The decrease of the cost if a group moves to the other side, for each group."""
        rows, groups = self._sums(chosen)
        over = rows - self.target
        sign = np.where(chosen, -1, 1)
        step, label = sign[self.group] * self.rows, self.label
        after = groups[label] + sign[self.group]
        num = self.groups_of_class
        missed = self._misses(after, num[label]) - self._misses(groups, num)[label]
        more = (over[label] + step) ** 2 - over[label] ** 2 + self.missing * missed
        total = (over.sum() + sign * self.size) ** 2 - over.sum() ** 2
        gain: np.ndarray = -(np.bincount(self.group, more) + total)
        return gain

    def _sums(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The number of rows and of groups of each class on the validation side."""
        taken = chosen[self.group]
        rows = np.bincount(self.label, self.rows * taken)
        return rows, np.bincount(self.label, taken).astype(np.int64)

    @staticmethod
    def _misses(groups: np.ndarray, num: np.ndarray) -> np.ndarray:
        """1 for a class without training groups, or without validation groups although it has two or more groups."""
        missing: np.ndarray = (groups == num) | ((groups == 0) & (num > 1))
        return missing.astype(np.int64)
