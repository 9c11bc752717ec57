"""The cache of a long list gives what reading the list gives, or it is not used."""

from __future__ import annotations

import ast
import io
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import actrec
from actrec.data.index import build_index
from actrec.data.lists import cache, check_labels, digest, label_columns, number_files, read_list
from actrec.data.lists.cache import rows_path
from actrec.data.lists.labeling import refuse_contradictions
from actrec.files import ListError

LISTS = {
    "labels": "a.mp4 0\nb/c d.mp4 1\na.mp4 0\n\n# note\ne.mp4 2\n",
    "ranges": "a.mp4 1 30 0\nb.mp4 31 60 1\na.mp4 1 30 0\na.mp4 31 60 2\na.mp4 1 30 0\n",
    "seconds": "a.mp4 0s 1.25s 0\nb.mp4 1.5s 3s 1\n",
    "several labels": "a.mp4 1 30 0 1\nb.mp4 31 60 -\nc.mp4 1 2 2\n",
    "paths": "/x/a.mp4\n/x/b.mp4\n/x/a.mp4\n",
    "urls": "s3://bucket/a.mp4 0\ns3://bucket/b.mp4 1\n",
    "members": "s.tar::a.mp4 0\ns.tar::b.mp4 1\ns3://bucket/s.tar::a.mp4 1\n/x/a.mp4 0\n",
    "mixed roots": "{folder}/a.mp4 0\na.mp4 0\nb.mp4 1\n",
    "accents": "é.mp4 0\n中/文.mp4 1\nplain.mp4 2\n",
    "windows": "b\\c d.mp4 0\nb.mp4 1\r\n",
    "comments": "# note 1\n# odd 1\na.mp4 0\n",
}


@pytest.fixture(autouse=True)
def every_list_is_long(monkeypatch):
    monkeypatch.setattr(cache, "LONG", 1)
    monkeypatch.setattr(cache, "_ROWS", 2)


@pytest.fixture
def listed(tmp_path):
    def write(text, name="list.txt"):
        path = tmp_path / name
        path.write_bytes(text.replace("{folder}", str(tmp_path)).encode())
        return path

    return write


def forbid_reading(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the list is read")

    monkeypatch.setattr("actrec.data.lists.read.read_rows", fail)


def columns(videos):
    return [column.tolist() for column in (*label_columns(videos), *number_files(videos))]


@pytest.mark.parametrize("name", LISTS)
def test_the_cache_gives_what_the_list_gives(listed, tmp_path, monkeypatch, name):
    (tmp_path / "# odd").touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c d.mp4").touch()
    path = listed(LISTS[name])
    expected = read_list(path)
    assert not rows_path(path).exists()
    assert read_list(path, cache=True) == expected
    forbid_reading(monkeypatch)
    found = read_list(path)
    assert found == expected
    assert [found[i] for i in range(len(found))] == list(expected)
    assert list(reversed(found)) == list(reversed(list(expected)))
    assert found[::2] == list(expected)[::2]
    assert (found.notices, found.num_comments, found.respelled) == (
        expected.notices,
        expected.num_comments,
        expected.respelled,
    )
    assert columns(found) == columns(expected)
    assert columns(found[1:]) == columns(expected[1:])
    assert digest(found) == digest(expected) == digest(list(expected))
    assert pickle.loads(pickle.dumps(found)) == expected
    for classes in (1, 3):
        assert outcome(check_labels, found, classes) == outcome(check_labels, expected, classes)
    assert outcome(refuse_contradictions, found) == outcome(refuse_contradictions, expected)


def outcome(check, *arguments):
    try:
        return check(*arguments)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    "rows", ["a.mp4 0\nb.mp4 1\na.mp4 1\n", "a.mp4 1 5 0\na.mp4 6 9 1\nb.mp4 1 5 0\nb.mp4 1 5 1\n"]
)
def test_contradictions_are_found_with_a_cache(listed, rows):
    path = listed(rows)
    with pytest.raises(ValueError, match="two rows with the same frames") as expected:
        refuse_contradictions(read_list(path, cache=True))
    for limit in (0, 10):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("actrec.data.lists.labeling._COMPARED_FILES", limit)
            with pytest.raises(ValueError, match="two rows with the same frames") as found:
                refuse_contradictions(read_list(path))
            assert str(found.value) == str(expected.value)


def test_two_names_of_a_file_contradict_with_a_cache(listed, tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    path = listed("a.mp4 0\nb.mp4 1\n")
    read_list(path, cache=True)
    with pytest.raises(ValueError, match="two rows with the same frames"):
        refuse_contradictions(read_list(path))


def test_a_list_that_was_edited_within_the_same_second(listed):
    path = listed("a.mp4 0\nb.mp4 1\n")
    read_list(path, cache=True)
    times = path.stat()
    path.write_text("a.mp4 1\nb.mp4 0\n")  # of the same size
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [video.label for video in read_list(path)] == [1, 0]
    assert [video.label for video in read_list(path, cache=True)] == [1, 0]
    assert [video.label for video in read_list(path)] == [1, 0]


def test_a_list_that_changes_while_it_is_read_has_no_cache(listed, monkeypatch):
    path = listed("a.mp4 0\nb.mp4 1\n")
    compute = cache.sha256

    def change(found):
        value = compute(found)
        path.write_text("a.mp4 1\nb.mp4 0\n")
        return value

    monkeypatch.setattr(cache, "sha256", change)
    read_list(path, cache=True)
    assert not rows_path(path).exists()


def test_a_list_that_became_short_has_no_cache(listed):
    path = listed("a.mp4 0\nb.mp4 1\n")
    read_list(path, cache=True)
    path.write_text("a.mp4 0\n")
    assert len(read_list(path)) == 1
    assert rows_path(path).exists()
    read_list(path, cache=True)
    assert not rows_path(path).exists()


def test_a_copied_list_takes_its_cache_with_it(listed, tmp_path, monkeypatch):
    path = listed("a.mp4 0\nb.mp4 1\n")
    read_list(path, cache=True)
    (tmp_path / "other").mkdir()
    for name in (path, rows_path(path)):
        os.rename(name, tmp_path / "other" / name.name)
    forbid_reading(monkeypatch)
    found = read_list(tmp_path / "other" / "list.txt")
    assert found[1].path == str(tmp_path / "other" / "b.mp4")
    assert read_list(tmp_path / "other" / "list.txt", root="/x")[0].path == "/x/a.mp4"


def test_other_class_names(listed, tmp_path):
    path = listed("a.mp4 run\nb.mp4 walk\n")
    (tmp_path / "labels.txt").write_text("run\nwalk\n")
    assert [video.label for video in read_list(path, cache=True)] == [0, 1]
    (tmp_path / "labels.txt").write_text("walk\nrun\n")
    assert [video.label for video in read_list(path)] == [1, 0]
    assert [video.label for video in read_list(path, labels=["run", "walk"])] == [0, 1]
    (tmp_path / "labels.txt").write_text("run\n")
    with pytest.raises(ListError, match="unknown class 'walk'"):
        read_list(path)


def test_what_the_file_system_was_asked_is_asked_again(listed, tmp_path):
    path = listed("# odd 1\na.mp4 0\nb\\c.mp4 0\n")
    first = read_list(path, cache=True)
    assert (first.num_comments, first[1].id) == (1, "b\\c.mp4")
    (tmp_path / "# odd").touch()
    assert read_list(path).num_comments == 0
    (tmp_path / "# odd").unlink()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.mp4").touch()
    assert read_list(path)[1].id == "b/c.mp4"
    assert read_list(path).respelled == (1, "b\\c.mp4", "b/c.mp4")


def test_many_questions_are_not_kept(listed, monkeypatch):
    monkeypatch.setattr(cache, "_MOST_ASKED", 2)
    path = listed("".join(f"é{i}.mp4 0\n" for i in range(4)))
    read_list(path, cache=True)
    assert not rows_path(path).exists()


def test_an_id_of_another_row(listed):
    """Such ids depend on all rows. The list has no cache."""
    path = listed("a 1 5 0\na 6 9 0\na 1-5 1 5 0\n")
    expected = list(read_list(path, cache=True))
    assert not rows_path(path).exists()
    assert list(read_list(path)) == expected


def test_another_version_reads_the_list_again(listed, monkeypatch):
    path = listed("a.mp4 0\nb.mp4 1\n")
    read_list(path, cache=True)
    before = rows_path(path).read_bytes()
    monkeypatch.setattr(cache, "_version", lambda: "other")
    assert len(read_list(path)) == 2
    assert rows_path(path).read_bytes() == before
    read_list(path, cache=True)
    assert rows_path(path).read_bytes() != before


def test_everything_that_reads_lists_is_part_of_the_version():
    """A list that an older version has read may be read in another way now."""
    program = "import sys, actrec.data.lists.read; print([getattr(m, '__file__', '') for m in sys.modules.values()])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    files, package = (Path(name) for name in ast.literal_eval(output) if name), Path(actrec.__file__).parent
    used = {path.relative_to(package).as_posix() for path in files if path.is_relative_to(package)}
    named = {os.path.normpath(f"data/lists/{name}.py") for name in cache._SOURCES}
    assert named < used
    lists = {name for name in used if name.startswith("data/lists/")}
    others = {"__init__", "find", "foreign", "labeling", "splits", "write"}  # read no row, or use `read`
    assert lists - named <= {f"data/lists/{name}.py" for name in others}


def test_a_damaged_cache_is_ignored(listed):
    path = listed(LISTS["ranges"])
    expected = list(read_list(path, cache=True))
    intact, rng = rows_path(path).read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(intact)
        bit = int(rng.integers(len(data) * 8))
        data[bit // 8] ^= 1 << bit % 8
        rows_path(path).write_bytes(data)
        assert list(read_list(path)) == expected
    for data in (b"", intact[:20], intact[:-1], intact + b"x", *crafted()):
        rows_path(path).write_bytes(data)
        assert list(read_list(path)) == expected


def crafted():
    yield from (b"actrec rows 1\n", b"actrec rows 1\nx\n{}")
    for header in (b"[" * 100_000, b"[]", b'{"sizes": {"text": Infinity}}', b"\xff"):
        yield b"actrec rows 1\n%d\n" % len(header) + header


def sealed(data):
    return data + zlib.crc32(data).to_bytes(4, "little")


@pytest.mark.parametrize(
    "field",
    ["offset", "length", "unit", "start", "stop", "first_label", "num_labels", "text", "labels", "numbers", "copies"],
)
def test_a_crafted_cache_is_ignored(listed, monkeypatch, field):
    """Somebody who knows how to seal a file gives values that are not possible."""
    path = listed(LISTS["ranges"])
    expected = list(read_list(path, cache=True))
    intact = rows_path(path).read_bytes()
    header, begin = cache._read_header(io.BytesIO(intact))
    places, _ = cache._places(header["sizes"], begin)
    noticed = 0
    for value in (-1, 2**31 - 1, 255, 10):
        data = bytearray(intact[:-4])
        name = "rows" if field in cache.ROW.names else field
        begin, count = places[name]
        column = np.frombuffer(data, cache._COLUMNS[name], count, begin)
        column = column[field] if name == "rows" else column
        with np.errstate(over="ignore"):
            column[1] = np.array(value).astype(column.dtype)
        rows_path(path).write_bytes(sealed(bytes(data)))
        found = read_list(path)
        noticed += isinstance(found._table.text, bytearray)
        if isinstance(found._table.text, bytearray):
            assert list(found) == expected
        else:
            list(found), label_columns(found), number_files(found)  # nothing is read that is not there
    assert noticed >= 1


def test_a_folder_that_cannot_be_written(listed, monkeypatch):
    path = listed("a.mp4 0\nb.mp4 1\n")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "atomic_write", refuse)
    assert len(read_list(path, cache=True)) == 2
    assert not rows_path(path).exists()


def test_a_file_of_somebody_else_stays(listed):
    path = listed("a.mp4 0\nb.mp4 1\n")
    rows_path(path).write_text("mine")
    read_list(path, cache=True)
    path.write_text("a.mp4 0\n")
    read_list(path, cache=True)
    assert rows_path(path).read_text() == "mine"


def test_a_cache_that_is_replaced_or_cut_off_while_it_is_used(listed):
    path = listed("a.mp4 0\nb.mp4 1\n")
    read_list(path, cache=True)
    found = read_list(path)
    path.write_text("c.mp4 0\nd.mp4 1\n")
    read_list(path, cache=True)
    assert [video.id for video in found] == ["a.mp4", "b.mp4"]
    found = read_list(path)
    os.truncate(rows_path(path), 100)
    with pytest.raises(OSError, match=r"list\.txt\.rows: the file was cut off while it was used"):
        list(found)


def test_an_index_of_a_cached_list(dataset, tmp_path):
    path = tmp_path / "val.txt"
    path.write_text("".join(f"{dataset}/frames/val{i} 1 9 {i % 2}\n" for i in range(4)))
    expected = build_index(read_list(path, cache=True))
    found = build_index(read_list(path))
    assert list(found) == list(expected)
    assert found.fingerprint() == expected.fingerprint()
