import numpy as np
import pytest

from actrec.data.lists.splits import stratified_split


def split(class_of_group, rows_of_group, fraction, seed=0):
    """Groups of one class each: (labels, groups, True for validation)."""
    labels = np.repeat(class_of_group, rows_of_group)
    groups = np.repeat([f"g{i}" for i in range(len(class_of_group))], rows_of_group)
    return labels, groups, stratified_split(labels.tolist(), groups.tolist(), val_fraction=fraction, seed=seed)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    ("num_classes", "num_groups", "most_rows"), [(1, 7, 1), (5, 40, 1), (5, 40, 6), (30, 70, 3), (3, 3, 4)]
)
@pytest.mark.parametrize("seed", range(3))
def test_split_invariants(fraction, num_classes, num_groups, most_rows, seed):
    rng = np.random.default_rng(seed)
    class_of_group = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num_groups - num_classes)])
    labels, groups, val = split(class_of_group, rng.integers(1, most_rows + 1, num_groups), fraction, seed)
    assert val.dtype == bool
    assert val.shape == labels.shape
    assert not set(groups[val]) & set(groups[~val])
    for c in range(num_classes):
        mine = labels == c
        num = len(set(groups[mine]))
        assert (~val[mine]).any()
        assert val[mine].any() == (num > 1)
        if num > 2:
            assert abs(val[mine].sum() - fraction * mine.sum()) <= max(1, most_rows)
    order = rng.permutation(len(labels))
    again = stratified_split(labels[order].tolist(), groups[order].tolist(), val_fraction=fraction, seed=seed)
    assert (again == val[order]).all()


def test_each_class_gives_its_rounded_fraction():
    labels, _, val = split(np.arange(100) % 10, np.ones(100, int), 0.28)
    assert np.bincount(labels[val]).tolist() == [3] * 10
    for num, expected in ((1, 0), (2, 1), (3, 1), (7, 1), (8, 2), (100, 20)):
        assert split(np.zeros(num, int), np.ones(num, int), 0.2)[2].sum() == expected
    assert split(np.zeros(4, int), np.ones(4, int), 0.95)[2].sum() == 3  # one is left for training


def names_in_validation(names, **options):
    labels = ["abc".index(name[0]) for name in names]
    return {n for n, v in zip(names, stratified_split(labels, names, val_fraction=0.2, seed=0, **options)) if v}


def test_adding_a_row_moves_at_most_one():
    names = [f"{c}{i}" for c in "ab" for i in range(30)]
    before = names_in_validation(names)
    assert len(before) == 12
    for added in range(20):
        after = names_in_validation([*names, f"a-new{added}"])
        assert len(before - after) <= 1
        assert {name for name in before if name[0] == "b"} <= after
    removed = names_in_validation(names[1:])
    assert len((before - {names[0]}) - removed) == 0


def test_known_rows_stay_on_their_side():
    names = [f"{c}{i}" for c in "ab" for i in range(30)]
    before = names_in_validation(names)
    more = [*names, *(f"{c}-{i}" for c in "abc" for i in range(20))]
    known = [name in before if name in names else None for name in more]
    after = names_in_validation(more, known=known)
    assert after & set(names) == before
    assert len([name for name in after if name[0] == "a"]) == 10  # 0.2 of 50
    everything = names_in_validation(names, known=[True] * 60)
    assert everything == set(names)
    assert names_in_validation(names, known=[False] * 60) == set()
    late = names_in_validation([*names, "a-new"], known=[*[False] * 60, None])
    assert late == {"a-new"}


def test_known_rows_stay_where_groups_hold_several_classes():
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 6, 200).tolist(), rng.integers(0, 25, 200).astype(str).tolist()
    first = stratified_split(labels, groups, val_fraction=0.2, seed=1)
    known = [bool(side) if i < 150 else None for i, side in enumerate(first)]
    again = stratified_split(labels, groups, val_fraction=0.4, seed=2, known=known)
    assert (again[:150] == first[:150]).all()
    assert {g for g, v in zip(groups, again) if v} & {g for g, v in zip(groups, again) if not v} == set()


def test_split_depends_on_the_seed():
    same = [split(np.arange(100) % 10, np.ones(100, int), 0.3, seed)[2].tobytes() for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_split_with_groups_of_several_classes():
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels, groups = rng.integers(0, 6, 200), rng.integers(0, 25, 200).astype(str)
        val = stratified_split(labels.tolist(), groups.tolist(), val_fraction=0.2, seed=1)
        assert not set(groups[val]) & set(groups[~val])
        assert all(val[labels == c].any() and not val[labels == c].all() for c in range(6))
        assert 0.15 < val.mean() < 0.25


def test_split_where_classes_contradict_each_other():
    groups, labels = ["1", "2", "2", "3", "3", "1"], [0, 0, 1, 1, 2, 2]
    assert stratified_split(labels, groups, val_fraction=0.3, seed=0).sum() in (2, 4)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_fraction(fraction):
    with pytest.raises(ValueError, match="val_fraction .*: expected a number above 0 and below 1"):
        stratified_split([0, 0], ["a", "b"], val_fraction=fraction, seed=0)


def test_split_lengths():
    with pytest.raises(ValueError, match="2 labels and 1 groups: expected as many"):
        stratified_split([0, 0], ["a"], val_fraction=0.5, seed=0)
    with pytest.raises(ValueError, match="at least one"):
        stratified_split([], [], val_fraction=0.5, seed=0)
