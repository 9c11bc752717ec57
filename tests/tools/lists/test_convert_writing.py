"""Errors, and writing the converted lists completely or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from list_conversion import convert, put

from actrec.config import ConvertOptions
from actrec.data.lists.formats import FORMATS
from actrec.files import ListError
from actrec.tools.lists import convert as tool
from actrec.tools.lists.convert import convert_lists


def test_bad_rows_are_reported_together(tmp_path):
    put(tmp_path / "train.txt", "a 1 5 0\nb 9 3 0\nc 1 5 0\nd 1 5 -1\n")
    with pytest.raises(ListError) as caught:
        convert(tmp_path / "train.txt", tmp_path / "b.json", source="ibm")
    assert len(str(caught.value).splitlines()) == 2


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")
    with pytest.raises(ValueError, match="the list would replace itself"):
        convert(src, tmp_path / "x/../train.txt")
    with pytest.raises(ValueError, match="not a regular file"):
        convert(src, Path(os.devnull))
    before = put(tmp_path / "out.csv", "what was there")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot be written .No space left on device.") as caught:
        convert(src, before, force=True)
    assert caught.value.filename == str(before)
    assert before.read_text() == "what was there"
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "train.txt"]


def test_existing_lists_are_replaced_only_with_force(tmp_path):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")
    precious = put(tmp_path / "out/train.txt", "what was there")
    with pytest.raises(ValueError) as caught:
        convert(src, tmp_path / "out")
    fault = f"{precious} already exists: expected another name for B, or --force to replace it"
    assert str(caught.value) == fault
    assert precious.read_text() == "what was there"
    convert(src, tmp_path / "out", force=True)
    assert precious.read_text() == f"{tmp_path}/a 1 5 0\n"


def test_a_read_only_file_system(tmp_path, monkeypatch):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", "inner")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="cannot be written .Read-only file system.") as caught:
        convert(src, tmp_path / "out.csv")
    assert caught.value.filename == str(tmp_path / "out.csv")


def test_nothing_is_replaced_if_one_of_the_files_fails(tmp_path):
    put(tmp_path / "all.csv", 'path,label,split\na,0,train\n"new\nline",0,val\n')
    put(tmp_path / "out/train.txt", "what was there")
    with pytest.raises(ValueError, match="val.txt: actrec cannot represent these rows"):
        convert(tmp_path / "all.csv", tmp_path / "out", force=True)
    assert (tmp_path / "out/train.txt").read_text() == "what was there"
    assert os.listdir(tmp_path / "out") == ["train.txt"]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    put(tmp_path / "v/train.txt", "a 1 5 0\n")
    put(tmp_path / "v/val.txt", "b 1 5 0\n")

    def stop(path, annotations, options):
        if "val" in annotations.parts:
            raise KeyboardInterrupt
        FORMATS.get("csv").write(path, annotations, options)

    monkeypatch.setitem(FORMATS._entries, "ibm", tool.replace(FORMATS.get("csv"), write=stop))
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "v", tmp_path / "out", target="ibm")
    assert not os.listdir(tmp_path / "out")


def test_a_row_that_reads_back_differently_is_refused(tmp_path, monkeypatch):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")
    broken = tool.replace(FORMATS.get("ibm"), write=lambda path, *_: path.write_text("a 1 6 0\n"))
    monkeypatch.setitem(FORMATS._entries, "ibm", broken)
    with pytest.raises(ValueError, match="0 to 5, labels .0. would read back as .*0 to 6, labels .0."):
        convert(src, tmp_path / "b.txt", target="ibm")


def test_options_are_checked():
    with pytest.raises(ValueError, match="source 'hra': did you mean hara"):
        convert_lists(Path("a.txt"), Path("b.csv"), ConvertOptions(source="hra"))
    with pytest.raises(ValueError, match="part 'tset': expected one of train, val, test"):
        ConvertOptions(part="tset")
    with pytest.raises(ValueError, match="separator ';': expected one of space, comma, semicolon, tab"):
        ConvertOptions(separator=";")
