"""Writing whole files or nothing; text, JSON and csv."""

from __future__ import annotations

import errno
import gzip
import io
import json
import math
import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from actrec.files import (
    ListError,
    OutputError,
    atomic_file,
    atomic_folder,
    atomic_link,
    atomic_write,
    check_writable,
    read_json,
    read_lines,
    scratch_folder,
    write_csv,
    write_json,
    writing,
)

# ---- atomic_write ----


@pytest.mark.parametrize(("mode", "old", "new"), [("w", "old é", "new é\n"), ("wb", b"old", b"new\r\n")])
def test_atomic_write(tmp_path, mode, old, new):
    for content in (old, new):
        with atomic_write(tmp_path / "f", mode) as file:
            file.write(content)
    assert (tmp_path / "f").read_bytes() == (new if mode == "wb" else new.encode())
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("has_links", [True, False])
def test_atomic_write_asks_before_it_replaces_a_file_that_has_just_appeared(tmp_path, monkeypatch, has_links):
    path, asked = tmp_path / "f", []

    def refuse():
        asked.append(path.read_text())
        raise ValueError("not mine")

    if not has_links:
        monkeypatch.setattr(os, "link", lambda *names: os.stat(tmp_path / "absent"))  # raises an OSError
    with atomic_write(path, may_replace=refuse) as file:
        file.write("first")
    assert (path.read_text(), asked) == ("first", [])
    path.unlink()
    with pytest.raises(ValueError, match="not mine"), atomic_write(path, may_replace=refuse):
        path.write_text("of another process")
    assert (path.read_text(), asked) == ("of another process", ["of another process"])
    with atomic_write(path, may_replace=lambda: None) as file:
        file.write("third")
    assert path.read_text() == "third"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_interrupted(tmp_path, error):
    def write_half():
        with atomic_write(tmp_path / "f") as file:
            file.write("half")
            raise error

    (tmp_path / "f").write_text("old")
    with pytest.raises(error):
        write_half()
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_atomic_write_on_a_full_disk(tmp_path, monkeypatch, function):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "f").write_text("old")
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"), atomic_write(tmp_path / "f") as file:
        file.write("new")
    assert (tmp_path / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux device")
def test_atomic_write_when_closing_fails_too(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "actrec.files.open", lambda *_, **__: os.fdopen(os.open("/dev/full", os.O_WRONLY), "w"), raising=False
    )
    with pytest.raises(OSError, match="No space left"), atomic_write(tmp_path / "f") as file:
        file.write("new")
    assert os.listdir(tmp_path) == []


def test_atomic_write_syncs_before_it_renames(tmp_path, monkeypatch):
    done, replace, fsync = [], os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *args: (done.append("replace"), replace(*args)))
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(stat.S_ISDIR(os.fstat(fd).st_mode)), fsync(fd)))
    with atomic_write(tmp_path / "f") as file:
        file.write("new")
    assert done == [False, "replace", True]


def test_atomic_write_places(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "f"):
        pass
    with pytest.raises(OSError, match="not a regular file"), atomic_write(tmp_path):
        pass
    with pytest.raises(OSError, match="not a regular file"), atomic_write("/dev/null"):
        pass
    with pytest.raises(ValueError, match="mode 'a'"), atomic_write(tmp_path / "f", "a"):
        pass
    assert os.listdir(tmp_path) == []


def test_what_can_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "f").write_text("old")
    for name in ("f", "new", "none/at/all"):
        check_writable(tmp_path / name)
    assert (tmp_path / "f").read_text() == "old"
    for path, number in (
        (tmp_path, errno.EINVAL),
        ("/dev/null", errno.EINVAL),
        (tmp_path / "f/g", errno.ENOTDIR),
        (tmp_path / ("x" * 300), errno.ENAMETOOLONG),
    ):
        with pytest.raises(OSError) as error:
            check_writable(path)
        assert (error.value.errno, error.value.filename) == (number, str(path))
    opened = open

    def full(path, mode):
        opened(path, mode).close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left") as error:
        check_writable(tmp_path / "new")
    assert error.value.filename == str(tmp_path / "new")
    assert os.listdir(tmp_path) == ["f"]


def test_atomic_write_keeps_links_and_permissions(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640
    mask = os.umask(0o022)
    try:
        with atomic_write(tmp_path / "fresh") as file:
            file.write("new")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o644


# ---- files, folders, links ----


def test_a_file_by_name(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o440)
    (tmp_path / "link").symlink_to("real")
    with atomic_file(tmp_path / "link") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "real").read_text() == "old"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o440
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


@pytest.mark.parametrize("whole", [atomic_file, atomic_folder, scratch_folder])
@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path, whole, error):
    def write_half():
        with whole(tmp_path / "b") as temporary:
            (temporary if whole is atomic_file else temporary / "1").write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert os.listdir(tmp_path) == []


def test_folders(tmp_path):
    with atomic_folder(tmp_path / "a" / "b") as temporary:
        (temporary / "1").write_text("one")
        assert not (tmp_path / "a" / "b").exists()
    assert os.listdir(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b" / "1").read_text() == "one"
    with (
        pytest.raises(OutputError, match=r"cannot be written \(Directory not empty\)"),
        atomic_folder(tmp_path / "a" / "b"),
    ):
        pass
    with pytest.raises(OutputError, match="cannot be written"), atomic_folder(tmp_path / "a" / "b" / "1" / "c"):
        pass
    with scratch_folder(tmp_path / "a" / "c") as scratch:
        (scratch / "1").write_text("one")
        os.replace(scratch / "1", tmp_path / "a" / "c")
    assert sorted(os.listdir(tmp_path / "a")) == ["b", "c"]


def test_errors_name_the_file_that_the_user_knows(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "none" / "f"):
        pass
    assert caught.value.filename == str(tmp_path / "none" / "f")
    with pytest.raises(OutputError, match="cannot be written") as caught, writing("f"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "f")


@pytest.mark.parametrize("opened", [atomic_file, atomic_folder])
def test_errors_never_show_a_temporary_name(tmp_path, opened):
    def fail(name):
        with opened(tmp_path / "f") as temporary:
            raise OSError(errno.ENOSPC, "No space left on device", name(temporary))

    for name in (lambda temporary: None, lambda temporary: f"file:{temporary}", str):
        with pytest.raises(OSError, match="No space left") as caught:
            fail(name)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "f"))
    with pytest.raises(OSError, match="No space left") as caught:
        fail(lambda temporary: f"{temporary}/1.jpg")
    assert caught.value.filename == str(tmp_path / "f/1.jpg")
    with pytest.raises(OSError, match="No space left") as caught:
        fail(lambda temporary: "/another/file")
    assert caught.value.filename == "/another/file"
    assert os.listdir(tmp_path) == []


def _saved(save) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x20ftypisom" + b"\xff\n" * 99, "a video"),
        (b"\x1aE\xdf\xa3\x93\n", "a video"),
        ((b"G\x40\0" + b"a" * 185) * 3, "a video"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"PK\x03\x04\0", "an archive"),
        (_saved(lambda file: torch.save({"a": torch.zeros(2)}, file)), "a checkpoint or a weights file"),
        (
            _saved(lambda file: torch.save({"a": torch.zeros(2)}, file, _use_new_zipfile_serialization=False)),
            "a checkpoint or a weights file",
        ),
        (safetensors.torch.save({"a": torch.zeros(2)}), "a checkpoint or a weights file"),
        (_saved(lambda file: np.savez(file, ids=np.zeros(3))), "an archive of numpy"),
        (pickle.dumps({"a": [1, 2]}), "a pickle of Python"),
        (pickle.dumps([1, 2], 2), "a pickle of Python"),
        (gzip.compress(b"a", mtime=0), "an archive"),
        (b"\n <!DOCTYPE html>\n<html>", "a web page"),
        (b"%PDF-1.4\n", "a PDF document"),
        (b"a/b 1\n" + bytes(range(32)) * 3, "a binary file"),
        ("a.mp4 1\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\x93NUMPY\x01\0", "an array of numpy"),
    ],
)
def test_a_file_that_is_no_text_is_named_in_one_line(tmp_path, data, kind):
    (tmp_path / "f").write_bytes(data)
    with pytest.raises(ListError) as caught:
        read_lines(tmp_path / "f")
    assert str(caught.value) == f"{tmp_path}/f: this is {kind}, not a list: expected a text file"


@pytest.mark.parametrize(
    "text",
    ["Golf/" + "G" * 600, "aaaaftyp/1", "OggSound/1", "<html.mp4 1", "PK/1", "ID3/a 1", "%PDF/a", "II*/a 1", "B"],
)
def test_text_is_not_taken_for_another_kind_of_file(tmp_path, text):
    (tmp_path / "f").write_text(text)
    assert read_lines(tmp_path / "f")[0] == [text]


def test_the_first_error_is_raised_even_if_nothing_can_be_removed(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(KeyError), atomic_file(tmp_path / "a"):
        raise KeyError


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_for_a_file(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no hard links here")))
    for content in ("one", "two"):
        with atomic_write(tmp_path / "last") as file:
            file.write(content)
        for _ in range(2):  # the second time both are one file already
            atomic_link(tmp_path / "last", tmp_path / "previous")
        assert (tmp_path / "previous").read_text() == content
        assert (tmp_path / "previous").samefile(tmp_path / "last") == links
    assert sorted(os.listdir(tmp_path)) == ["last", "previous"]
    with pytest.raises(FileNotFoundError):
        atomic_link(tmp_path / "gone", tmp_path / "previous")
    assert (tmp_path / "previous").read_text() == "two"


# ---- JSON and csv ----


def test_json(tmp_path):
    value = {"b": "é", "a": [1, 2.5, math.nan, -math.inf, None, True], "c": (1, {"x": math.nan}), "\udcff": "a\udcff"}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == ('{"b": "é", "a": [1, 2.5, null, null, null, true], "c": [1, {"x": null}], "\\udcff": "a\\udcff"}\n')
    assert json.loads(text)["\udcff"] == "a\udcff"
    write_json(tmp_path / "a.json", {"a": [1]}, indent=2)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": [\n    1\n  ]\n}\n'
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1]}
    assert os.listdir(tmp_path) == ["a.json"]


def test_csv(tmp_path):
    write_csv(tmp_path / "a.csv", ("path", "reason"), [("a, b", 'it "is"'), ("x\udcff.mp4", "é")])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'path,reason\n"a, b","it ""is"""\nx\ufffd.mp4,é\n'


@pytest.mark.parametrize("depth", [99, 100, 101, 5000, 100_000])
def test_deeply_nested_json_is_refused_in_one_line(tmp_path, depth):
    (tmp_path / "f.json").write_text('{"a":' * depth + "1" + "}" * depth)
    if depth <= 100:
        assert "a" in read_json(tmp_path / "f.json", dict)
        return
    with pytest.raises(ListError) as caught:
        read_json(tmp_path / "f.json", dict)
    what = "values are nested more than 100 levels deep"
    assert str(caught.value) == f"{tmp_path}/f.json: the JSON cannot be read: {what}"
