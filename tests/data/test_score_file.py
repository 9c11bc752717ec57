from __future__ import annotations

import numpy as np
import pytest

from actrec.data import score_file
from actrec.data.score_file import ScoreFile

ORIGIN = {
    "command": "evaluate", "model": "/r/best.pt", "model_sha256": "ab", "size": 112, "mean": [0.5], "contents": None
}  # fmt: skip


@pytest.fixture
def content() -> ScoreFile:
    scores = np.array([[1, 3, 2], [5, 0, 1]], np.float32)
    return ScoreFile(["a/x y", "b/ü\udcff"], scores, np.array([1, -1]), ["ä", "b", "c"], ORIGIN)


def test_what_is_written_is_read(content, tmp_path):
    path = tmp_path / "s.npz"
    score_file.write(path, content)
    with np.load(path, allow_pickle=False) as saved:
        assert set(saved.files) == {"ids", "scores", "labels", "classes", "made_from"}
        assert saved["ids"].dtype.kind == saved["classes"].dtype.kind == "U"
        assert saved["scores"].dtype == np.float32
    found = score_file.read(path)
    assert (found.ids, found.classes, found.made_from) == (content.ids, content.classes, ORIGIN)
    assert np.array_equal(found.scores, content.scores)
    assert found.labels.tolist() == [1, -1]
    assert found.has_names


def test_several_labels(content, tmp_path):
    labels = np.array([[1, 0, 1], [0, 0, 0]], bool)
    score_file.write(tmp_path / "s.npz", ScoreFile(content.ids, content.scores, labels, content.classes))
    found = score_file.read(tmp_path / "s.npz")
    assert found.multi_label
    assert np.array_equal(found.labels, labels)


def test_files_of_earlier_versions_have_numbers_as_names(content, tmp_path):
    np.savez(tmp_path / "s.npz", ids=np.array(content.ids), scores=content.scores, labels=content.labels)
    found = score_file.read(tmp_path / "s.npz")
    assert (found.classes, found.has_names, found.made_from) == (["0", "1", "2"], False, {})


def test_files_that_are_no_score_files(content, tmp_path):
    path = tmp_path / "s.npz"
    with pytest.raises(FileNotFoundError, match=r"s\.npz: no such file"):
        score_file.read(path)
    for data in (b"", b"text", b"PK\x03\x04torn"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"s\.npz: the file is damaged, or not a score file"):
            score_file.read(path)
    np.savez(path, ids=np.array(["a"]), scores=np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"s\.npz: contains no array 'labels'"):
        score_file.read(path)
    np.savez(path, ids=np.array([{}], object), scores=np.zeros((1, 2)), labels=np.zeros(1, int))
    with pytest.raises(ValueError, match="damaged, or not a score file"):
        score_file.read(path)
    good = {"ids": np.array(["a", "b"]), "scores": np.zeros((2, 3), np.float32), "labels": np.array([0, 2])}
    for change in (
        {"ids": np.array(["a"])},
        {"scores": np.zeros(2)},
        {"scores": np.zeros((2, 3), int)},
        {"labels": np.array([0, 3])},
        {"labels": np.array([0.0, 1])},
        {"labels": np.zeros((2, 2), bool)},
    ):
        np.savez(path, **(good | change))
        with pytest.raises(ValueError, match="do not fit together"):
            score_file.read(path)
    np.savez(path, **good, classes=np.array(["x"]))
    with pytest.raises(ValueError, match="expected a name per class"):
        score_file.read(path)
    np.savez(path, **(good | {"ids": np.array(["a", "a"])}))
    with pytest.raises(ValueError, match="video a occurs twice"):
        score_file.read(path)


def test_only_a_file_that_was_made_from_the_same_is_replaced(content, tmp_path):
    path = tmp_path / "s.npz"
    score_file.refuse_other(path, ORIGIN)  # there is no file
    score_file.write(path, content)
    score_file.refuse_other(path, ORIGIN)
    score_file.refuse_other(path, ORIGIN | {"model": "/elsewhere/best.pt"})  # the content counts
    score_file.refuse_other(path, ORIGIN | {"contents": "cd"})  # it was unknown
    for change, said in (
        ({"size": 224}, "size 112, now 224"),
        ({"model_sha256": "cd"}, "model /r/best.pt has changed"),
        ({"model_sha256": "cd", "model": "/x.pt"}, "model /r/best.pt, now /x.pt"),
        ({"command": "fuse"}, "command evaluate, now fuse"),
        ({"mean": [0.25]}, r"mean \[0.5\], now \[0.25\]"),
    ):
        with pytest.raises(ValueError, match=rf"s\.npz exists and contains other scores \({said}\): pass another name"):
            score_file.refuse_other(path, ORIGIN | change)
    np.savez(path, ids=np.array(content.ids), scores=content.scores, labels=content.labels)
    with pytest.raises(ValueError, match="exists and does not say what its scores were made from"):
        score_file.refuse_other(path, ORIGIN)
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"exists and is not a score file: .* --force to replace it"):
        score_file.refuse_other(path, ORIGIN)
