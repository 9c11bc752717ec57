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


def index_of(*paths: Path):
    return build_index([Video.of(path) for path in paths])


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    return [write_folder(tmp_path / name, 5, rng, bright=True) for name in ("a", "b", "c")]


def test_copies_of_frame_folders(folders, tmp_path):
    a, b, c = folders
    copy, other, partly = (Path(shutil.copytree(a, tmp_path / name)) for name in ("copy", "other", "partly"))
    (other / "00003.jpg").write_bytes((b / "00003.jpg").read_bytes())  # the middle one
    (partly / "00005.jpg").unlink()
    found = copies.find_copies(index_of(a, b), index_of(c, copy, other, partly))
    assert found == [(str(copy), str(a))]
    assert copies.find_copies(index_of(a), index_of(b, c)) == []


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
    train, val = index_of(one, two), index_of(copy, same_size, link)
    assert copies.find_copies(train, val) == [(str(copy), str(one))]
    monkeypatch.setattr(copies, "_WHOLE", 100)  # all files are large
    monkeypatch.setattr(copies, "_BLOCK", 64)
    assert copies.find_copies(train, val) == [(str(copy), str(one))]  # the last bytes are compared


def test_the_number_of_files_that_are_read_is_limited(folders, tmp_path, monkeypatch):
    a, b, c = folders
    pairs = [Path(shutil.copytree(one, tmp_path / f"{one.name}_copy")) for one in (a, b, c)]
    train, val = index_of(a, b, c), index_of(*pairs)
    assert len(copies.find_copies(train, val)) == 3
    monkeypatch.setattr(copies, "_MOST", 4)
    assert len(copies.find_copies(train, val)) == 2


def test_only_files_of_equal_size_are_read(folders, monkeypatch):
    read = []
    monkeypatch.setattr(copies, "_content", lambda path: read.append(path) or b"")
    assert copies.find_copies(index_of(folders[0]), index_of(*folders[1:])) == []
    assert read == []
