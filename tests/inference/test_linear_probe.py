"""Simple classifiers on features."""

from __future__ import annotations

import builtins
import math

import numpy as np
import pytest

from actrec.config import Probe
from actrec.inference import embeddings
from actrec.inference.embeddings import Embeddings
from actrec.inference.linear_probe import probe_files

CLASSES = 4


def write(path, features, labels, ids=None, classes=None):
    count = len(features)
    frames = np.zeros((count, 2), np.int64)
    ids = ids if ids is not None else [f"{path.stem}{n}" for n in range(count)]
    features, labels = np.asarray(features, np.float32), np.asarray(labels)
    embeddings.save(path, Embeddings(ids, frames / 1.0, frames, features, labels, classes=classes))
    return path


def drawn(path, count, *, apart, seed, channels=16):
    """Features of classes whose centers are `apart` standard deviations from 0, in a direction of their own."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    return write(path, rng.standard_normal((count, channels)) + apart * np.eye(CLASSES, channels)[labels], labels)


def test_separable_classes(tmp_path):
    train, val = drawn(tmp_path / "a.npz", 80, apart=20, seed=0), drawn(tmp_path / "b.npz", 40, apart=20, seed=1)
    result = probe_files(train, val)
    assert [row.accuracy for row in result.rows] == [100] * 5
    assert [row.deviation for row in result.rows] == [None, None, 0, 0, 0]
    assert (result.train, result.val, result.classes, result.notes) == (80, 40, CLASSES, [])
    assert "chosen by 5-fold cross-validation" in result.rows[0].note


def test_noise_is_chance(tmp_path):
    train, val = drawn(tmp_path / "a.npz", 200, apart=0, seed=0), drawn(tmp_path / "b.npz", 400, apart=0, seed=1)
    result = probe_files(train, val, Probe(seeds=3, shots=(1, 5)))
    bound = 4 * 100 * math.sqrt(0.25 * 0.75 / 400)  # four standard deviations
    for row in result.rows:
        assert abs(row.accuracy - 25) < bound
    assert result.rows[2].deviation > 0
    again = probe_files(train, val, Probe(seeds=3, shots=(1, 5)))
    assert again == result


def test_few_shot_rows_are_means_over_seeds(tmp_path):
    train, val = drawn(tmp_path / "a.npz", 80, apart=2, seed=0), drawn(tmp_path / "b.npz", 400, apart=2, seed=1)
    (one,) = (row for row in probe_files(train, val, Probe(seeds=1, shots=(2,))).rows if row.name == "2 per class")
    (many,) = (row for row in probe_files(train, val, Probe(seeds=5, shots=(2,))).rows if row.name == "2 per class")
    assert one.deviation is None
    assert 0 < many.deviation < 30
    assert one.accuracy != many.accuracy


def test_windows_of_a_video_are_averaged(tmp_path):
    ids = [f"v{n // 2}" for n in range(16)]
    labels = np.arange(16) // 2 % 2
    noise = np.where(np.arange(16) % 2, 100.0, -100.0)  # cancels within each video
    features = np.stack([labels + noise, noise * 0 + 1], axis=1)
    train = write(tmp_path / "a.npz", features, labels, ids)
    val = write(tmp_path / "b.npz", features, labels, [f"w{id_}" for id_ in ids])
    result = probe_files(train, val, Probe(neighbors=1, shots=(1,)))
    assert result.train == 8
    assert [row.accuracy for row in result.rows] == [100, 100, 100]


def test_rows_say_why_they_have_no_result(tmp_path):
    train = write(tmp_path / "a.npz", [[1, 0], [0, 1], [0, 2]], [0, 1, 1])
    val = write(tmp_path / "b.npz", [[3, 0], [0, 0]], [0, 1])
    rows = {row.name: row for row in probe_files(train, val).rows}
    assert rows["linear probe"].note == "C 1, without cross-validation: a class has a single training video"
    assert rows["5 nearest neighbors"].note == "no result: 3 training videos"
    assert rows["5 per class"].note == "no result: class 0 has 1 training video"
    assert rows["1 per class"].accuracy is not None
    rows = {row.name: row for row in probe_files(train, val, Probe(neighbors=1)).rows}
    assert rows["1 nearest neighbor"].note == "no result: all features of 1 video are 0"


@pytest.mark.parametrize("suffix", embeddings.SUFFIXES)
def test_classes_are_called_by_their_names(tmp_path, suffix):
    names = ["jump", "run", "walk"]
    train = write(tmp_path / f"a{suffix}", np.eye(4), [0, 2, 2, 2], classes=names)
    val = write(tmp_path / f"b{suffix}", np.eye(4), [0, 2, 0, 2], classes=names)
    rows = {row.name: row for row in probe_files(train, val, Probe(neighbors=1, shots=(2,))).rows}
    assert rows["2 per class"].note == "no result: class jump has 1 training video"
    with pytest.raises(ValueError, match="all videos have the label walk: expected two or more classes"):
        probe_files(write(tmp_path / f"c{suffix}", np.eye(2, 4), [2, 2], classes=names), val)
    other = write(tmp_path / f"d{suffix}", np.eye(4), [0, 1, 0, 1], classes=["jump", "walk", "run"])
    with pytest.raises(ValueError, match="label 1 is 'run' in .*a.*, and 'walk' in .*d.*: expected the same"):
        probe_files(train, other)
    nameless = write(tmp_path / f"e{suffix}", np.eye(4), [0, 2, 0, 2])
    assert probe_files(train, nameless, Probe(neighbors=1, shots=(2,))).rows[2].note == rows["2 per class"].note


def test_notes(tmp_path):
    train = write(tmp_path / "a.npz", np.eye(6), [0, 1, 0, 1, 0, -1], list("abcdef"))
    val = write(tmp_path / "b.npz", np.eye(6)[:3], [0, 1, 7], ["a", "x", "y"])
    result = probe_files(train, val)
    assert result.train == 5
    assert result.notes == [
        f"1 row of {train} without a label are not used",
        f"1 video of {val} have the same name as videos of {train}",
        f"1 video of {val} with labels that do not occur in {train} count as errors",
    ]


def test_files_that_cannot_be_used(tmp_path, monkeypatch):
    good = write(tmp_path / "good.npz", np.eye(4), [0, 1, 0, 1])
    nan = np.eye(4)
    nan[2, 1] = np.nan
    for features, labels, message in (
        (np.eye(4), [-1] * 4, "no video has a label"),
        (np.eye(4, 3), [0, 1, 0, 1], "3 features per video, but .* has 4"),
        (nan, [0, 1, 0, 1], "NaN or infinity in 1 row, first in that of other2"),
        (np.eye(4), np.eye(4, dtype=bool), "several labels"),
    ):
        with pytest.raises(ValueError, match=message):
            probe_files(good, write(tmp_path / "other.npz", features, labels))
    with pytest.raises(ValueError, match="all videos have the label 3: expected two or more classes"):
        probe_files(write(tmp_path / "other.npz", np.eye(4), [3] * 4), good)
    with pytest.raises(FileNotFoundError):
        probe_files(good, tmp_path / "gone.npz")

    def without(name, *others):
        if name.startswith("sklearn"):
            raise ImportError
        return real(name, *others)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"pip install 'actrec\[probe\]'"):
        probe_files(good, good)
