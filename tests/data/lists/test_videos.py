import pickle
import random

import numpy as np
import pytest

import actrec
from actrec.data.lists import Video, Videos, check_labels, label_columns, number_files, read_list, videos
from actrec.data.lists.row import bounds
from actrec.data.lists.videos import Builder

ROWS = [
    Video("a", "/r/a", 0, 30, (3,)),
    Video("é 中", "/r/é 中", -1, 2**31 - 1, ()),
    Video("/x/b", "/x/b", 12.5, 30.0, (1, 2)),
    Video("\udce9", "/r/\udce9", None, None, (10**17,)),
]


def build(rows, prefix="/r/"):
    builder = Builder()
    for part in (rows[:1], rows[1:]):
        if part:
            _, paths, starts, stops, labels = zip(*part)
            builder.add([path.removeprefix(prefix) for path in paths], starts, stops, labels)
    return builder.finish(prefix)


def named(paths):
    return [video.id for video in build([Video("", path, None, None, ()) for path in paths], prefix="")]


def test_rows_come_back_as_they_were():
    found = build(ROWS)
    assert isinstance(found, actrec.Videos)
    assert len(found) == 4
    assert list(found) == ROWS
    assert [found[i] for i in range(-4, 4)] == ROWS + ROWS
    assert [type(bound) for video in found for bound in video[2:4]] == [int] * 4 + [float] * 2 + [type(None)] * 2
    assert all(isinstance(label, int) for video in found for label in video.labels)
    assert found[np.int64(2)] == ROWS[2]
    for wrong in (4, -5):
        with pytest.raises(IndexError):
            found[wrong]


def test_a_list_is_a_sequence():
    found = build(ROWS)
    assert found == ROWS
    assert found == ROWS
    assert found == build(ROWS)
    assert found != ROWS[:3]
    assert found != [*ROWS[:3], ROWS[0]]
    assert found != tuple(ROWS)
    assert ROWS[1] in found
    assert found.index(ROWS[2]) == 2
    assert list(reversed(found)) == ROWS[::-1]
    assert repr(found) == "<Videos: 4 rows>"
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)
    assert build([]) == []
    assert not build([])


@pytest.mark.parametrize("key", [slice(1, 3), slice(None, None, -1), slice(3, 0, -2), slice(1, 1), slice(-2, None)])
def test_slices_share_the_columns(key):
    found = build(ROWS)[key]
    assert isinstance(found, Videos)
    assert list(found) == ROWS[key]
    assert [found[i] for i in range(len(found))] == ROWS[key]
    assert found[1:] == ROWS[key][1:]
    labels, counts = label_columns(found)
    assert (labels.tolist(), counts.tolist()) == tuple(part.tolist() for part in label_columns(ROWS[key]))
    assert [part.tolist() for part in number_files(found)] == [part.tolist() for part in number_files(ROWS[key])]


@pytest.mark.parametrize("used", [False, True])
def test_pickling(used):
    found = build(ROWS)
    assert not used or found[0] == ROWS[0]
    assert pickle.loads(pickle.dumps(found)) == ROWS
    assert pickle.loads(pickle.dumps(found[2:])) == ROWS[2:]


def test_rows_of_several_blocks():
    rows = [Video(f"v{i}", f"/r/v{i}", i, i + 1, (i % 7,) * (i % 3)) for i in range(3 * videos._BLOCK + 5)]
    found = build(rows)
    assert found == rows
    assert found[::-1] == rows[::-1]


def test_ids_of_a_slice_are_those_of_the_list():
    found = build([Video("", "/r/a", 0, 5, ())] * 3)
    assert [video.id for video in found[1:]] == ["a 1-5#2", "a 1-5#3"]


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "b", "a"], ["a", "a#2", "b", "a#3"]),
        (["a#2", "a", "a"], ["a#2", "a", "a#3"]),
        (["a", "a", "a#2"], ["a", "a#3", "a#2"]),
        (["a#2", "b 1-2", "/c"], ["a#2", "b 1-2", "/c"]),
    ],
)
def test_ids_of_paths(paths, ids):
    assert named(paths) == ids


@pytest.mark.parametrize("seed", range(10))
def test_both_ways_to_make_ids_agree(seed):
    rng = random.Random(seed)
    spans = [(None, None), (0, 1), (0, 2), (0.0, 1.0), (0.5, 1.0)]
    rows = [
        Video("", rng.choice("abcd") + rng.choice(["", "x"]), *rng.choice(spans) or (None, None), ()) for _ in range(30)
    ]
    wanted = videos._all_ids(video[1:4] for video in rows)
    assert [video.id for video in build(rows, prefix="")] == wanted
    assert len(set(wanted)) == 30


def test_files_are_numbered_by_what_is_opened():
    found = build([Video("", path, None, None, ()) for path in ("b", "/r/b", "/b", "/r//b", "a", "b", "/b")], prefix="")
    found._table.prefix = "/r/"
    numbers, first = number_files(found)
    assert numbers.tolist() == [0, 0, 1, 2, 3, 0, 1]
    assert first.tolist() == [0, 2, 3, 4]
    assert [part.tolist() for part in number_files(list(found))] == [numbers.tolist(), first.tolist()]


def test_texts_of_the_same_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(videos, "hash", lambda text: hash(text) if text.endswith(b"\n") else len(text), raising=False)
    assert named(["ab", "cd", "ab"]) == ["ab", "cd", "ab#2"]


def test_label_columns_of_lists_and_of_columns():
    for rows in (ROWS, build(ROWS)):
        labels, counts = label_columns(rows)
        assert labels.tolist() == [3, 1, 2, 10**17]
        assert counts.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("make", [list, build])
def test_check_labels(make):
    rows = make([Video("a", "/r/a", None, None, (1,)), Video("b", "/r/b", None, None, (0, 7))])
    check_labels(rows, 8, multi_label=True)
    with pytest.raises(ValueError, match="b has 2 labels: expected one, or a net that is trained with --multi-label"):
        check_labels(rows, 8)
    with pytest.raises(ValueError, match="b has label 7: expected at most 6 for 7 classes"):
        check_labels(rows, 7, multi_label=True)
    with pytest.raises(ValueError, match="a has label 1: expected at most 0 for 1 class"):
        check_labels(rows, 1)


def test_a_long_list_takes_little_memory(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"a/v_{i} 1 {i + 1} {i % 7}\n" for i in range(25_000)))
    found = read_list(tmp_path / "list.txt", root="", labels=())
    table = found._table
    assert found[24_999] == ("a/v_24999", "a/v_24999", 0, 25_000, (24_999 % 7,))
    assert (len(table.text) + table.rows.nbytes + table.labels.nbytes) / len(found) < 60


@pytest.mark.parametrize(
    ("start", "stop", "text"), [(0, 30, ("1", "30")), (-1, 3, ("0", "3")), (0.5, 1e6, ("0.5s", "1000000s"))]
)
def test_bounds(start, stop, text):
    assert bounds(start, stop) == text
