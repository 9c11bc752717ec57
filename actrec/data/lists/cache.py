"""The parsed rows of a long list: `<list>.rows` next to it.

Parsing ten million lines takes half a minute, and reading this cache takes two seconds. The cache is used only for a
list with exactly the same bytes and class names, and only by the version of actrec that wrote it. All questions that
the file system was asked while the list was parsed are asked again. A cache that is damaged, or that cannot be written,
is ignored.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from actrec.data.column import Column
from actrec.data.lists.labels import Classes
from actrec.data.lists.videos import FRAMES, ROW, SECONDS, WHOLE, Facts, Videos, _Table
from actrec.files import atomic_write, sha256
from actrec.opening import open_regular

LONG = 100_000  # rows: shorter lists are read quickly
_MAGIC = b"actrec rows 1\n"
_MOST_ASKED = 10_000  # questions about the file system; lists with more have no cache
_MOST_COPIES = 1_000_000  # of rows with the same path and range; lists with more have no cache
_LARGEST_HEADER = 1 << 24
_ALIGNED = 64
_BLOCK = 1 << 22  # bytes
_ROWS = 1 << 16
_COLUMNS: dict[str, np.dtype] = {
    "text": np.dtype("u1"),
    "rows": ROW,
    "labels": np.dtype("i8"),
    "numbers": np.dtype("i4"),  # empty if no path occurs twice
    "first": np.dtype("i4"),  # likewise
    "copies": np.dtype("i4"),
    "copy_numbers": np.dtype("i4"),
}
_SOURCES = (
    *("cache", "dialect", "labels", "line", "read", "row", "spelling", "videos"),
    *("../storage/paths", "../../files", "../../words"),
)


class Questions:
    """Asks whether files exist, and remembers the answers: reading a list depends on them."""

    def __init__(self, exists: Callable[[str], bool]):
        self._exists, self.answers = exists, dict[str, bool]()

    def __call__(self, path: str) -> bool:
        answer = self._exists(path)
        if len(self.answers) <= _MOST_ASKED:
            self.answers[path] = answer
        return answer


def rows_path(list_path: str | os.PathLike[str]) -> Path:
    """Path of the cache of a list."""
    return Path(f"{os.fspath(list_path)}.rows")


def load_rows(
    list_path: str | os.PathLike[str], classes: Classes, prefix: str, exists: Callable[[str], bool]
) -> Videos | None:
    """The rows of a list from its cache; None if there is no usable cache.

    Args:
        prefix: As for `Builder.finish`.
        exists: As for `read_rows`.
    """
    try:
        with open_regular(rows_path(list_path), buffering=0) as file:
            header, columns = _open(file)
            if header["of"] != _identity(classes) or header["list"] != sha256(list_path):
                return None
            if any(exists(path) != answer for path, answer in header["asked"]):
                return None
            return _videos(header, columns, classes, prefix)
    except Exception:  # the file may be manipulated, so any error is possible
        return None


def store_rows(
    list_path: str | os.PathLike[str], digest: str | None, videos: Videos, classes: Classes, questions: Questions
) -> bool:
    """Stores the rows of a long list. Removes the cache of a list that is short now.

    Args:
        digest: SHA-256 of the list before it was read. If the list has changed since then, nothing is stored.

    Returns:
        Whether they were stored.
    """
    path = rows_path(list_path)
    with contextlib.suppress(OSError):  # a read-only dataset has no cache
        if len(videos) <= LONG:
            if _is_ours(path):
                path.unlink()
            return False
        if digest is None or len(questions.answers) > _MOST_ASKED or (path.exists() and not _is_ours(path)):
            return False
        facts = videos._table.find_facts()
        if facts is None or len(facts.copies[0]) > _MOST_COPIES or sha256(list_path) != digest:
            return False
        videos._table.facts = facts
        return _write(path, digest, videos, classes, questions, facts)
    return False


def list_digest(list_path: str | os.PathLike[str]) -> str | None:
    """SHA-256 of a list file; None if it is not a file, such as a pipe."""
    try:
        return sha256(list_path)
    except OSError:
        return None


def _write(path: Path, digest: str, videos: Videos, classes: Classes, questions: Questions, facts: Facts) -> bool:
    table = videos._table
    is_distinct = len(facts.first) == len(videos)
    none = np.empty(0, np.int32)
    columns: dict[str, Any] = {
        "text": table.text,
        "rows": table.rows,
        "labels": table.labels,
        "numbers": none if is_distinct else facts.numbers,
        "first": none if is_distinct else facts.first,
        "copies": facts.copies[0],
        "copy_numbers": facts.copies[1],
    }
    header = {
        "of": _identity(classes),
        "list": digest,
        "asked": list(questions.answers.items()),
        "num_comments": videos.num_comments,
        "respelled": videos.respelled,
        "is_uniform": facts.is_uniform,
        "digest": facts.digest,
        "sizes": {name: len(columns[name]) for name in _COLUMNS},
    }
    data = json.dumps(header).encode()
    if len(data) > _LARGEST_HEADER:
        return False
    with atomic_write(path, "wb") as file:
        sealed = _Sealed(file)
        sealed.write(_MAGIC + b"%d\n" % len(data) + data)
        for name in _COLUMNS:
            sealed.write(bytes(-sealed.size % _ALIGNED))
            values = columns[name]
            raw: Any = values if isinstance(values, bytearray) else np.ascontiguousarray(values).view(np.uint8)
            raw = memoryview(raw)
            for begin in range(0, len(raw), _BLOCK):
                sealed.write(raw[begin : begin + _BLOCK])
        file.write(sealed.crc.to_bytes(4, "little"))
    return True


class _Sealed:
    """Writes to a file, and computes the checksum of what was written."""

    def __init__(self, file: IO[bytes]):
        self._file, self.crc, self.size = file, 0, 0

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.crc, self.size = zlib.crc32(data, self.crc), self.size + len(data)


def _is_ours(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


@functools.cache
def _version() -> str:
    """Changes whenever the way in which lists are read could change."""
    found = hashlib.sha256(sys.version.encode())
    for name in _SOURCES:
        found.update(Path(__file__).parent.joinpath(f"{name}.py").read_bytes())
    return found.hexdigest()


def _identity(classes: Classes) -> str:
    """Identifies everything that the rows depend on, except the list and the file system."""
    return hashlib.sha256(json.dumps([_version(), sys.byteorder, classes.names]).encode()).hexdigest()


def _open(file: BinaryIO) -> tuple[dict[str, Any], dict[str, Column]]:
    """The header and the columns of a cache, after its checksum was compared.

    Raises:
        Exception: It is damaged, or it is not a cache of rows.
    """
    size = os.fstat(file.fileno()).st_size
    header, begin = _read_header(file)
    places, offset = _places(header["sizes"], begin)
    if offset + 4 != size:
        raise ValueError("cut off")
    columns = {name: Column(file, begin, _COLUMNS[name], count) for name, (begin, count) in places.items()}
    file.seek(0)
    crc, left = 0, offset
    while left:
        data = file.read(min(left, _BLOCK))
        if not data:
            raise ValueError("cut off")
        crc, left = zlib.crc32(data, crc), left - len(data)
    if file.read(4) != crc.to_bytes(4, "little"):
        raise ValueError("damaged")
    return header, columns


def _read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes it has."""
    start = file.read(len(_MAGIC) + 20)
    length, _, _ = start.removeprefix(_MAGIC).partition(b"\n")
    if not start.startswith(_MAGIC) or not 0 < int(length) <= _LARGEST_HEADER:
        raise ValueError("not a cache of this version")
    begin = len(_MAGIC) + len(length) + 1
    file.seek(begin)
    return json.loads(file.read(int(length))), begin + int(length)


def _places(sizes: dict[str, int], offset: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Where each column begins, and how many values it has; and where the last one ends."""
    places = {}
    for name, dtype in _COLUMNS.items():
        if not 0 <= (count := int(sizes[name])) < 2**40:
            raise ValueError("not a cache")
        offset += -offset % _ALIGNED
        places[name] = offset, count
        offset += count * dtype.itemsize
    return places, offset


def _videos(header: dict[str, Any], columns: dict[str, Column], classes: Classes, prefix: str) -> Videos:
    """The list, after all values were checked.

    Raises:
        Exception: A value is not possible.
    """
    count, labels = len(columns["rows"]), columns["labels"][:]
    most = len(classes.names) or 10**18
    _check(len(labels) == 0 or (labels.min() >= 0 and labels.max() < most))
    _check(count > 0)
    has_single_labels = _check_rows(columns["rows"], columns["text"], len(labels))
    first, numbers = columns["first"][:], columns["numbers"][:]
    if not len(numbers):
        first = numbers = np.arange(count, dtype=np.int32)
    _check(len(numbers) == count and 0 < len(first) <= count)
    _check(numbers.min() >= 0 and numbers.max() == len(first) - 1 and first.min() >= 0 and first.max() < count)
    _check(bool((numbers[first] == np.arange(len(first))).all()))
    copies = columns["copies"][:], columns["copy_numbers"][:]
    _check(len(copies[0]) == len(copies[1]) <= _MOST_COPIES)
    _check(not len(copies[0]) or (copies[0].min() >= 0 and copies[0].max() < count and copies[1].min() > 1))
    number, written, read = header["respelled"]
    for value, kind in (
        (number, int), (written, str), (read, str), (header["num_comments"], int), (header["is_uniform"], bool),
        (header["digest"], str),
    ):  # fmt: skip
        _check(type(value) is kind)
    facts = Facts(numbers, first, copies, header["is_uniform"], header["digest"])
    table = _Table(prefix, columns["text"], labels, columns["rows"], facts, has_single_labels=has_single_labels)
    return Videos(table, range(count), header["num_comments"], (number, written, read))


def _check_rows(rows: Column, text: Column, num_labels: int) -> bool:
    """Whether every row has one label.

    Raises:
        ValueError: The texts and the labels of the rows do not follow each other, or a value is not possible.
    """
    offset = first_label = 0
    has_single_labels = True
    for block in (rows[i : i + _ROWS] for i in range(0, len(rows), _ROWS)):
        lengths, counts = block["length"].astype(np.int64), block["num_labels"].astype(np.int64)
        ends, last_labels = offset + np.cumsum(lengths), first_label + np.cumsum(counts)
        _check(lengths.min() > 0 and counts.min() >= 0)
        has_single_labels = has_single_labels and bool((counts == 1).all())
        _check(np.array_equal(block["offset"], ends - lengths))
        _check(np.array_equal(block["first_label"], last_labels - counts))
        unit, bounds = block["unit"], (block["start"], block["stop"])
        _check(unit.max() <= SECONDS)
        _check(all(bool(np.isfinite(bound).all()) and np.abs(bound).max() <= 2**53 for bound in bounds))
        frames = unit == FRAMES
        _check(all(bool((bound[frames] == np.floor(bound[frames])).all()) for bound in bounds))
        _check(bool((bounds[0][unit != WHOLE] < bounds[1][unit != WHOLE]).all()))
        begin, end = int(offset), int(ends[-1])
        _check(end <= len(text))
        _check_text(text[begin:end], ends - lengths - begin)
        offset, first_label = end, int(last_labels[-1])
    _check(offset == len(text) and first_label == num_labels)
    return has_single_labels


def _check_text(text: np.ndarray, begins: np.ndarray) -> None:
    """Raises ValueError unless every path is UTF-8, without line breaks and zero bytes."""
    data = text.tobytes()
    _check(b"\n" not in data and b"\0" not in data)
    if not data.isascii():
        data.decode()
        _check(bool(((text[begins] & 0xC0) != 0x80).all()))  # each path begins with a whole character


def _check(possible: bool | np.bool_) -> None:
    if not possible:
        raise ValueError("a value is not possible")
