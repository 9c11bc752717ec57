"""Files that commands read are regular files. What is none is named at once, and nothing waits for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from actrec.data import score_file
from actrec.data.index.cache import find_records, read_quarantine
from actrec.data.lists.formats.hara import _value_file
from actrec.engine import checkpoint, runlog
from actrec.files import read_json, read_lines, read_text, sha256
from actrec.inference import embeddings
from actrec.opening import kind_of_file, open_npz, open_regular, read_regular

READERS = {
    "bytes": open_regular,
    "small": lambda path: read_regular(path, max_bytes=1000),
    "list": read_lines,
    "text": read_text,
    "json": lambda path: read_json(path, dict),
    "hash": sha256,
    "scores.npz": score_file.read,
    "last.pt": checkpoint.load,
    "features.npz": embeddings.read,
    "features.npy": embeddings.read,
    "features.safetensors": embeddings.read,
    "log.jsonl": lambda path: runlog.read(path.parent, path.name),
}


def make(what: str, path: Path) -> Path:
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    return path


@pytest.mark.parametrize("what", ["pipe", "device", "socket"])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_named(tmp_path, name, what):
    path = make(what, tmp_path / name)
    with pytest.raises((OSError, ValueError)) as caught:
        READERS[name](path)
    assert f"a {what}, not a file" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("what", ["pipe", "device", "socket"])
def test_what_commands_can_do_without_counts_as_missing(tmp_path, what):
    assert kind_of_file(make(what, tmp_path / "a")) is None
    make(what, tmp_path / "list.txt.index.npy")
    make(what, tmp_path / "list.txt.quarantine.csv")
    make(what, tmp_path / "fps")
    assert not find_records(1, "a".format, tmp_path / "list.txt.index.npy")[0]["kind"]
    assert read_quarantine(tmp_path / "list.txt.index.npy") == {}
    assert _value_file(str(tmp_path), "fps") is None


def test_a_small_file_is_read_at_once(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(content := bytes(range(256)) * 3)
    assert read_regular(path, max_bytes=768) == content
    assert read_regular(path, max_bytes=767) == 768
    whole = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: whole(descriptor, min(size, 100)))
    assert read_regular(path, max_bytes=768) == content
    (tmp_path / "empty").touch()
    assert read_regular(tmp_path / "empty", max_bytes=768) == b""
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", max_bytes=768)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, max_bytes=768)


def test_a_small_archive_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, scores=np.zeros((1 << 21, 1), np.float32))
    with open_npz(path) as found:
        assert found["scores"].shape == (1 << 21, 1)
    monkeypatch.setattr("actrec.opening._MOST_EXPANDED", 1 << 20)
    with pytest.raises(ValueError, match=r"its 8,\d{3} bytes would expand to 0\.0 GiB"), open_npz(path):
        pass
    with pytest.raises(ValueError, match=r"a\.npz: the file is damaged, or not a score file"):
        score_file.read(path)
