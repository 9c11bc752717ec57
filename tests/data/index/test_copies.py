"""Copies of videos under other names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import write_folder
from numbered_videos import numbered, write

from actrec.data.index import build_index, copies
from actrec.data.lists import Video


def find(train: list[Video], val: list[Video] | None = None) -> copies.Copies:
    return copies.find_copies(train, build_index(train).sizes(), build_index(val).sizes() if val else None)


def rows(*paths: Path) -> list[Video]:
    return [Video.of(path) for path in paths]


def labeled(**labels: tuple[Path, int]) -> list[Video]:
    return [Video(id, str(path), None, None, (label,)) for id, (path, label) in labels.items()]


def ids(pairs: list[tuple[Video, Video]]) -> list[tuple[str, str]]:
    return [(one.id, other.id) for one, other in pairs]


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    return [write_folder(tmp_path / name, 5, rng, bright=True) for name in ("a", "b", "c")]


def test_copies_of_frame_folders(folders, tmp_path):
    a, b, c = folders
    copy, other, partly = (Path(shutil.copytree(a, tmp_path / name)) for name in ("copy", "other", "partly"))
    (other / "00003.jpg").write_bytes((b / "00003.jpg").read_bytes())  # the middle one
    (partly / "00005.jpg").unlink()
    found = find(rows(a, b), rows(c, copy, other, partly))
    assert found == copies.Copies([(str(copy), str(a))], [], [])
    assert find(rows(a), rows(b, c)) == copies.Copies([], [], [])
    assert find(rows(b), rows(a, copy)) == copies.Copies([], [], [])  # both in the validation list


def test_copies_of_files(tmp_path, monkeypatch):
    one, two, same_size = (tmp_path / f"{name}.mp4" for name in ("one", "two", "same_size"))
    write(one, [numbered(i) for i in range(12)])
    write(two, [numbered(i) for i in range(9)])
    content = one.read_bytes()
    one.write_bytes(content + b"\0\0\0\x08free")  # boxes without content
    same_size.write_bytes(content + b"\0\0\0\x08skip")
    copy = Path(shutil.copy(one, tmp_path / "copy.mp4"))
    link = tmp_path / "link.mp4"
    os.link(one, link)  # the same file is no copy
    train, val = rows(one, two), rows(copy, same_size, link)
    assert find(train, val).across == [(str(copy), str(one))]
    monkeypatch.setattr(copies, "_WHOLE", 100)  # all files are large
    monkeypatch.setattr(copies, "_BLOCK", 64)
    assert find(train, val).across == [(str(copy), str(one))]  # the last bytes are compared


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_copies_in_one_list(kind, folders, tmp_path):
    a, b, _ = folders
    if kind == "files":
        a, b = (write(tmp_path / f"{n}.mp4", [numbered(i) for i in range(n)]) for n in (9, 12))
    one, two, three = (tmp_path / name for name in ("one.mp4", "two.mp4", "three.mp4"))
    for path in (one, two, three):
        (shutil.copy if kind == "files" else shutil.copytree)(a, path)
    assert find(labeled(a=(a, 0), b=(b, 1))) == copies.Copies([], [], [])
    train = labeled(a=(a, 0), one=(one, 0), b=(b, 1), two=(two, 1), three=(three, 0), again=(a, 0))
    found = find(train)
    assert found.across == []
    assert ids(found.differ) == [("a", "two"), ("two", "three"), ("two", "again")]
    assert ids(found.same) == [("a", "one")]
    ranges = [train[0]._replace(start=0, stop=4), train[3]._replace(start=4, stop=5)]
    assert find(ranges) == copies.Copies([], [], [])  # different parts of a video may have different labels
    found = find(labeled(a=(a, 0), two=(two, 0)), labeled(one=(one, 0)))
    assert (found.across, ids(found.same)) == ([(str(one), str(a))], [("a", "two")])


def test_other_names_of_a_file_are_no_copies(tmp_path):
    one = write(tmp_path / "one.mp4", [numbered(i) for i in range(9)])
    link = tmp_path / "link.mp4"
    os.link(one, link)
    assert find(labeled(one=(one, 0), link=(link, 0))) == copies.Copies([], [], [])


def test_the_number_of_files_that_are_read_is_limited(folders, tmp_path, monkeypatch):
    a, b, c = folders
    pairs = [Path(shutil.copytree(one, tmp_path / f"{one.name}_copy")) for one in (a, b, c)]
    train, val = rows(a, b, c), rows(*pairs)
    assert len(find(train, val).across) == 3
    monkeypatch.setattr(copies, "_MOST", 4)
    assert len(find(train, val).across) == 2


def test_only_files_of_equal_size_are_read(folders, monkeypatch):
    read = []
    monkeypatch.setattr(copies, "_content", lambda path: read.append(path) or b"")
    assert find(rows(*folders)) == find(rows(folders[0]), rows(*folders[1:])) == copies.Copies([], [], [])
    assert read == []
