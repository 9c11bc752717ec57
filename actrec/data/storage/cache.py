"""A bounded cache of remote objects on the disk, for any number of processes and threads.

An object is a URL in one version. It may have two files in a folder of the cache:

- `r-<name>`: ranges of its bytes. A header is followed by segments (offset, size, checksums, bytes), which are appended
  under a lock. A reader uses only complete segments. It ignores an incomplete end, and the next writer removes it.
- `w-<name>.mp4`: the whole object, with its size and checksum in `s-<name>`. It is written under a temporary name.

The modification time of a file is the time of its last use. All processes append to the file `written`: one byte for
each thousandth of the largest size that they write to the cache. The process that makes this file 1000 bytes long
removes the least recently used objects. It then shortens the file by the bytes that may be written until the next time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import os
import random
import re
import struct
import tempfile
import threading
import time
import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import BinaryIO, NamedTuple

from actrec.leftovers import remove_leftovers, temporary_path
from actrec.system import lock_file, lock_folder, read_at, write_all

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_HEADER = b"actrec ranges 1\n"
_SEGMENT = struct.Struct("<4sQIII")  # mark, offset, size, checksum of the bytes, checksum of the fields before
_MARK = b"seg\n"
_BLOCK = 1 << 16  # largest segment in bytes; a whole segment is read to check a part of it
_TOUCHED = 60.0  # seconds by which the stored time of the last use may be wrong
_KEPT = 0.9  # fraction of the largest size that stays when room is made
_LARGEST = 0.9  # fraction of the largest size; a larger object is not kept, but fetched whenever it is needed
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_MOST_SEGMENTS = 300_000  # of all objects, of which this process remembers where they are located
_MOST_NAMES = 100_000  # files of which this process remembers that it has checked or used them
_PAUSE = 10.0  # seconds after a failed write in which no other write is tried
_WAIT = 2.0  # seconds to wait for others that make room; the bytes of this process may have come too late for them
_COPY = 1 << 20
_AT_ONCE, _WIDER = 32 << 20, 2.0  # bytes that are read at once, and how many times more than needed
_WRITTEN, _STEPS = "written", 1000
_UNFINISHED = "unfinished"  # folder of temporary files

_told: set[Path] = set()  # folders of which this process has said that they cannot be written
logger = logging.getLogger(__name__)


class Cache:
    """The cache in a folder.

    Args:
        folder: is created when something is stored first.
        size: the largest number of bytes of all files.
    """

    def __init__(self, folder: Path, size: int):
        self.folder, self.size = Path(folder), size
        self._lock = threading.Lock()
        self._step = max(1, size // _STEPS)
        self._written = random.randrange(self._step)  # not noted yet; also many short commands are counted so
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._num_segments = 0
        self._checked: dict[str, tuple[int, int]] = {}  # whole files whose checksum was right: inode, size
        self._used: dict[str, float] = {}
        self._over = False  # objects in use left the cache larger than its size when room was made
        self._broken_until = 0.0  # nothing is written before this time, because the disk is full or read-only

    # ---- ranges ----

    def read(self, name: str, ranges: Sequence[tuple[int, int]], *, check: bool = True) -> list[bytes | None]:
        """The bytes of these (offset, size) ranges; None for each that is not in the cache, or damaged.

        Args:
            check: whether checksums are verified. A caller with its own checksums passes False.
        """
        found: list[bytes | None] = [None] * len(ranges)
        path = self._path(name, "r")
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            table = self._table(name, file)
            found = table.read(file, ranges, check)
            if any(data is not None for data in found):
                self._touch(path)
        return found

    def add(self, name: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Stores bytes of an object, as (offset, bytes). Does nothing if they cannot be stored."""
        if fcntl is None or time.monotonic() < self._broken_until:
            return
        segments = list(_segments(pieces))
        size = sum(len(fields) + len(data) for fields, data in segments)
        if size > self.size // 2:
            return
        try:
            self._append(name, segments)
        except OSError as error:
            self._failed(error, size)
            return
        self._count(size)

    def _append(self, name: str, segments: list[tuple[bytes, bytes]]) -> None:
        path = self._path(name, "r")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b", buffering=0) as file:
            if not _locked(file) or os.fstat(file.fileno()).st_nlink == 0:  # it was removed while this waited
                return  # the bytes are just not kept
            table = self._table(name, file)
            end = table.end
            file.truncate(end)  # a torn end
            head = [_HEADER] if end == 0 else []
            try:
                write_all(file, b"".join([*head, *(part for segment in segments for part in segment)]))
            except OSError:
                file.truncate(end)
                raise
            self._note_added(name, table, table.appended(end, segments))

    def _table(self, name: str, file: BinaryIO) -> _Table:
        """The segments of an open file, including those that were added since the last call."""
        with self._lock:
            table = self._tables.setdefault(name, _Table())
            self._tables.move_to_end(name)
        self._note_added(name, table, table.update(file))
        return table

    def _note_added(self, name: str, table: _Table, added: int) -> None:
        with self._lock:
            if self._tables.get(name) is table:
                self._num_segments += added
            while self._num_segments > _MOST_SEGMENTS and len(self._tables) > 1:
                self._num_segments -= len(self._tables.popitem(last=False)[1])

    # ---- whole objects ----

    @contextlib.contextmanager
    def whole(self, name: str, suffix: str, *, check: bool = True) -> Iterator[Path | None]:
        """The file with a whole object, or None. It is not removed before the block ends.

        Args:
            check: whether its checksum is verified, once per process.
        """
        path = self._path(name, "w", suffix)
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError:
            yield None
            return
        try:
            with file:
                yield path if self._is_whole(path, name, file, check) else None
        finally:
            if self._over:
                self.make_room()

    def _is_whole(self, path: Path, name: str, file: BinaryIO, check: bool) -> bool:
        """Locks an open file against removal. Returns whether it has the size and checksum that were stored."""
        lock_file(file, shared=True)
        try:
            found, now = os.fstat(file.fileno()), os.stat(path)
            if not os.path.samestat(found, now):
                return False
            key = (found.st_ino, found.st_size)
            if check and self._checked.get(path.name) != key:
                size, checksum = map(int, self._path(name, "s").read_text(encoding="ascii").split())
                if found.st_size != size or _checksum(file) != checksum:
                    raise ValueError
                self._remember(path, key)
        except OSError:
            return False
        except ValueError:  # damaged
            with contextlib.suppress(OSError):
                path.unlink()
            return False
        self._touch(path)
        return True

    def check_again(self, name: str, suffix: str) -> None:
        """Removes the file with a whole object if it is damaged."""
        self._checked.pop(self._path(name, "w", suffix).name, None)
        with self.whole(name, suffix):
            pass

    @contextlib.contextmanager
    def fetching(self, name: str) -> Iterator[None]:
        """Makes other threads and processes wait if they are about to fetch the same whole object."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # where nothing can be locked, several may fetch it
                stack.enter_context(lock_folder(self.folder / "fetching" / name, wait=float("inf")))
            yield

    @contextlib.contextmanager
    def store(self, name: str, suffix: str, fill: Callable[[BinaryIO], int], size: int | None) -> Iterator[Path]:
        """Creates a file with `fill`. It exists until the block ends, and stays in the cache if there is room.

        Args:
            fill: writes to an unbuffered file, and returns the checksum of all that it has written.
            size: number of bytes, if it is known.

        Raises:
            OSError: There is no room for it anywhere.
        """
        keep = time.monotonic() >= self._broken_until and (size or 0) <= _LARGEST * self.size
        if keep and size:
            self._count(size, expected=size)
        file, path, checksum = self._filled(name, suffix, fill, size)
        temporary, stored = path, 0
        try:
            lock_file(file, shared=True)
            found = os.fstat(file.fileno())
            if keep and temporary.parent.name == _UNFINISHED and found.st_size <= _LARGEST * self.size:
                with contextlib.suppress(OSError):
                    path = self._publish(name, suffix, found, temporary, checksum)
                    stored = found.st_size
            yield path
        finally:
            file.close()
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if stored:  # again, because room was made before the objects of other threads existed
                self._count(stored, wait=_WAIT)

    def _filled(
        self, name: str, suffix: str, fill: Callable[[BinaryIO], int], size: int | None
    ) -> tuple[BinaryIO, Path, int]:
        """Fills a temporary file: (open file, path, checksum).

        If the disk is full, makes room and tries again. If the folder was deleted meanwhile, tries again, too.
        """
        for attempt in range(3):
            try:
                file, path = self._temporary(name, suffix, anywhere=attempt == 2)
            except OSError as error:
                self._failed(error, size or 0)
                continue
            try:
                checksum = fill(file)
                if attempt == 2 or path.exists():
                    return file, path, checksum
                file.close()
            except BaseException as error:
                file.close()
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                if attempt == 2 or not isinstance(error, OSError) or error.errno not in _FULL:
                    raise
                self._failed(error, size or 0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def _temporary(self, name: str, suffix: str, *, anywhere: bool) -> tuple[BinaryIO, Path]:
        if anywhere:
            file, text = tempfile.mkstemp(prefix="actrec-", suffix=suffix)
            return open(file, "wb", buffering=0), Path(text)
        folder = self.folder / _UNFINISHED
        folder.mkdir(parents=True, exist_ok=True)
        path = temporary_path(folder / name)
        return open(path, "xb", buffering=0), path

    def _publish(self, name: str, suffix: str, found: os.stat_result, temporary: Path, checksum: int) -> Path:
        path = self._path(name, "w", suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = temporary_path(self.folder / _UNFINISHED / name)
        facts.write_text(f"{found.st_size} {checksum}\n", encoding="ascii")
        os.replace(facts, self._path(name, "s"))
        os.replace(temporary, path)
        self._remember(path, (found.st_ino, found.st_size))
        with contextlib.suppress(OSError):
            self._path(name, "r").unlink()  # the ranges are not needed any more
        return path

    def _remember(self, path: Path, key: tuple[int, int]) -> None:
        if len(self._checked) > _MOST_NAMES:
            self._checked.clear()
        self._checked[path.name] = key

    # ---- the size ----

    def make_room(self, expected: int = 0, *, wait: float = 0) -> None:
        """Removes the least recently used files, if all files together are larger than the largest size.

        Args:
            expected: bytes that are about to be written.
            wait: seconds to wait for another thread or process that is making room. Then nothing is done.
        """
        with contextlib.suppress(OSError), lock_folder(self.folder / "cleaning", wait=wait):
            remove_leftovers([self.folder / _UNFINISHED])
            for entry in _entries(self.folder / "fetching"):  # of processes that were killed
                with contextlib.suppress(OSError), lock_folder(Path(entry.path)):
                    pass
            total = expected + sum(size for _, size, _ in _files(self.folder / _UNFINISHED))
            total += self._remove_until(total, 0.95 * self.size, _KEPT * self.size)
            self._over = total > self.size
            due = max(_STEPS // 200, (self.size - total) // self._step // 2)
            os.truncate(self.folder / _WRITTEN, max(1, _STEPS - due))

    def _remove_until(self, others: int, most: float, kept: float) -> int:
        """Removes the least recently used files.

        Args:
            others: bytes that cannot be removed.
            most: up to so many bytes, nothing is removed.
            kept: bytes that stay if something is removed.

        Returns:
            The bytes of the files that are left.
        """
        files = sorted(_objects(self.folder))
        total = sum(size for _, size, _ in files)
        if total + others > most:
            for _, size, path in files:
                if total + others <= kept:
                    break
                if _remove(path):
                    total -= size
        return total

    def _count(self, size: int, expected: int = 0, *, wait: float = 0) -> None:
        with self._lock:
            steps, self._written = divmod(self._written + size, self._step)
        if (steps and self._is_due(min(steps, _STEPS))) or self._over:
            self.make_room(expected, wait=wait)

    def _is_due(self, steps: int) -> bool:
        """Notes what was written. Whether all processes have written so much that room has to be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / _WRITTEN, "ab", buffering=0) as file:
                file.write(bytes(steps))
                size = os.fstat(file.fileno()).st_size
        except OSError:
            return True
        return size >= _STEPS or size == steps  # it is new

    def _failed(self, error: OSError, size: int) -> None:
        """After a failed write: makes room on a full disk, and stops writing for a while."""
        if error.errno in _FULL:
            with contextlib.suppress(OSError), lock_folder(self.folder / "cleaning"):
                total = sum(one for _, one, _ in _objects(self.folder))
                self._remove_until(0, 0, total - max(2 * size, total // 20))
        self._broken_until = time.monotonic() + _PAUSE
        with self._lock:
            is_new = self.folder not in _told
            _told.add(self.folder)
        if is_new:
            what = error.strerror or type(error).__name__
            logger.warning(f"the cache {self.folder.parent} cannot be written ({what}): the work continues without it")

    def _touch(self, path: Path) -> None:
        now = time.time()
        if now - self._used.get(path.name, 0) < _TOUCHED:
            return
        if len(self._used) > _MOST_NAMES:
            self._used.clear()
        self._used[path.name] = now
        with contextlib.suppress(OSError):
            os.utime(path)

    def _path(self, name: str, kind: str, suffix: str = "") -> Path:
        return self.folder / "objects" / name[:2] / f"{kind}-{name}{suffix}"


def name_of(path: str, version: int) -> str:
    """The name of an object in the cache."""
    return hashlib.sha256(f"{version:x} {path}".encode("utf-8", "surrogateescape")).hexdigest()[:40]


def suffix_of(path: str) -> str:
    """The suffix of a path, if it is an ordinary one. FFmpeg recognizes some formats by their suffix."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", path)
    return found[0].lower() if found else ""


class _Part(NamedTuple):
    """A part of a range: bytes to skip in a segment, bytes to take, and the segment."""

    skip: int
    taken: int
    position: int
    length: int
    checksum: int


class _Table:
    """Where the bytes of an object are in its file of ranges. Of overlapping segments, the last stored one is used."""

    def __init__(self) -> None:
        self.end = 0  # of the complete segments
        self._file = (0, 0)
        self._lock = threading.Lock()
        self._starts: list[int] = []
        self._segments: list[tuple[int, int, int, int]] = []  # offset, size, position, checksum; by offset

    def __len__(self) -> int:
        return len(self._segments)

    def update(self, file: BinaryIO) -> int:
        """Reads the headers of the segments that were added to an open file. Returns how many were added."""
        found = os.fstat(file.fileno())
        with self._lock:
            before = len(self._segments)
            if self._file != (found.st_dev, found.st_ino) or found.st_size < self.end:
                self._file, self.end = (found.st_dev, found.st_ino), 0
                self._starts, self._segments = [], []
            if self.end == 0 and found.st_size >= len(_HEADER) and read_at(file, 0, len(_HEADER)) == _HEADER:
                self.end = len(_HEADER)
            while self.end and self.end + _SEGMENT.size <= found.st_size:
                fields = read_at(file, self.end, _SEGMENT.size)
                if len(fields) < _SEGMENT.size:
                    break
                mark, offset, size, checksum, own = _SEGMENT.unpack(fields)
                position = self.end + _SEGMENT.size
                if mark != _MARK or own != zlib.crc32(fields[:-4]) or position + size > found.st_size:
                    break
                self._insert(offset, size, position, checksum)
                self.end = position + size
            return len(self._segments) - before

    def appended(self, end: int, segments: Sequence[tuple[bytes, bytes]]) -> int:
        """Notes segments that were appended where the table has ended. Returns how many were added."""
        with self._lock:
            if self.end != end:  # another thread has read their headers already
                return 0
            before, self.end = len(self._segments), end or len(_HEADER)
            for fields, _data in segments:
                _, offset, size, checksum, _ = _SEGMENT.unpack(fields)
                self._insert(offset, size, self.end + _SEGMENT.size, checksum)
                self.end += len(fields) + size
            return len(self._segments) - before

    def _insert(self, offset: int, size: int, position: int, checksum: int) -> None:
        i = bisect_left(self._starts, offset)
        if i < len(self._starts) and self._starts[i] == offset:
            self._segments[i] = (offset, size, position, checksum)
            return
        self._starts.insert(i, offset)
        self._segments.insert(i, (offset, size, position, checksum))

    def read(self, file: BinaryIO, ranges: Sequence[tuple[int, int]], check: bool) -> list[bytes | None]:
        """The bytes of ranges; None for each of which not all bytes are here, or a checksum is wrong."""
        with self._lock:
            found = [self._segments_of(offset, size) for offset, size in ranges]
        places = {(part.position, part.length) for parts in found for part in parts or ()}
        read = _reader(file, places)
        return [None if parts is None else _together(read, parts, check) for parts in found]

    def _segments_of(self, offset: int, size: int) -> list[_Part] | None:
        """The parts of a range; None if not all of them are here."""
        parts = []
        while size > 0:
            i = bisect_right(self._starts, offset) - 1
            if i < 0:
                return None
            start, length, position, checksum = self._segments[i]
            skip = offset - start
            if skip >= length:
                return None
            taken = min(size, length - skip)
            parts.append(_Part(skip, taken, position, length, checksum))
            offset, size = offset + taken, size - taken
        return parts


def _reader(file: BinaryIO, places: Set[tuple[int, int]]) -> Callable[[int, int], bytes]:
    """A function that reads (position, size) from a file. Places that are close to each other are read at once."""
    begin = min((position for position, _ in places), default=0)
    span = max((position + size for position, size in places), default=0) - begin
    if span > min(_AT_ONCE, _WIDER * sum(size for _, size in places)):
        return functools.partial(read_at, file)
    data = read_at(file, begin, span)
    return lambda position, size: data[position - begin : position - begin + size]


def _together(read: Callable[[int, int], bytes], parts: Sequence[_Part], check: bool) -> bytes | None:
    found = []
    for skip, taken, position, length, checksum in parts:
        if check:
            data = read(position, length)
            if len(data) != length or zlib.crc32(data) != checksum:
                return None
            part = data[skip : skip + taken]
        else:
            part = read(position + skip, taken)
            if len(part) != taken:
                return None
        found.append(part)
    return found[0] if len(found) == 1 else b"".join(found)


def _segments(pieces: Sequence[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """(header, bytes) of each segment."""
    for offset, data in pieces:
        for begin in range(0, len(data), _BLOCK):
            part = data[begin : begin + _BLOCK]
            fields = _SEGMENT.pack(_MARK, offset + begin, len(part), zlib.crc32(part), 0)[:-4]
            yield fields + zlib.crc32(fields).to_bytes(4, "little"), part


def _locked(file: BinaryIO) -> bool:
    """Locks an open file for a write of this thread. Returns whether it is locked."""
    end = time.monotonic() + 2
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:  # its owner is stopped, or on another machine that is gone
                return False
        except OSError:  # the file system has no locks
            return False
        time.sleep(0.002)


def _checksum(file: BinaryIO) -> int:
    checksum = 0
    while data := file.read(_COPY):
        checksum = zlib.crc32(data, checksum)
    return checksum


def _objects(folder: Path) -> Iterator[tuple[float, int, str]]:
    """(last use, bytes on the disk, path) of all files that may be removed."""
    for place in _entries(folder / "objects"):
        found = list(_files(place.path))
        whole = {_hash_of(path): i for i, (_, _, path) in enumerate(found) if os.path.basename(path)[0] == "w"}
        for used, size, path in found:
            if os.path.basename(path)[0] != "s" or _hash_of(path) not in whole:  # it is removed with its object
                yield used, size, path


def _files(folder: Path | str) -> Iterator[tuple[float, int, str]]:
    """(last change, bytes on the disk, path) of the files of a folder."""
    for entry in _entries(folder):
        with contextlib.suppress(OSError):
            found = entry.stat(follow_symlinks=False)
            yield found.st_mtime, max(found.st_size, 512 * getattr(found, "st_blocks", 0)), entry.path


def _hash_of(path: str) -> str:
    return os.path.basename(path)[2:].partition(".")[0]


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: str) -> bool:
    """Removes a file, unless a thread or process uses it."""
    try:
        if fcntl is not None and os.path.basename(path).startswith("w-"):
            with open(path, "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(os.path.dirname(path), f"s-{_hash_of(path)}"))
        else:
            os.unlink(path)
    except OSError:
        return False
    return True
