"""A bounded cache of remote objects on the disk, for any number of processes and threads.

An object is a URL in one version. It may have two files in a folder of the cache:

- `r-<name>`: ranges of its bytes. A header is followed by segments (offset, size, checksums, bytes), which are appended
  under a lock. A reader takes the segments that are whole, so a torn end is ignored, and the next writer removes it.
- `w-<name>.mp4`: the whole object, with its size and checksum in `s-<name>`. It is written under a temporary name.

The time of the last change of a file is that of its last use. Whoever has written a hundredth of the largest size
removes the files that were not used for the longest time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from actrec.leftovers import remove_leftovers, temporary_path
from actrec.system import lock_folder

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_HEADER = b"actrec ranges 1\n"
_SEGMENT = struct.Struct("<4sQIII")  # mark, offset, size, checksum of the bytes, checksum of the fields before
_MARK = b"seg\n"
_BLOCK = 1 << 16  # bytes of a segment, because all of a segment is read to check a part of it
_TOUCHED = 60.0  # seconds for which the time of the last use need not be exact
_KEPT = 0.9  # of the largest size, when room is made
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_MOST_TABLES = 20_000  # objects of which the segments are remembered
_COPY = 1 << 20


class Cache:
    """The cache in a folder.

    Args:
        folder: is created when something is stored first.
        size: the largest number of bytes of all files.
    """

    def __init__(self, folder: Path, size: int):
        self.folder, self.size = Path(folder), size
        self._lock = threading.Lock()
        self._written = int(random.uniform(0, size / 100))  # since the last time that room was made
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._checked: dict[str, tuple[int, int, int]] = {}  # whole files whose checksum was right
        self._used: dict[str, float] = {}
        self._broken_until = 0.0  # nothing is written before, because the disk is full or cannot be written

    # ---- ranges ----

    def read(self, name: str, ranges: Sequence[tuple[int, int]], *, check: bool = True) -> list[bytes | None]:
        """The bytes of these (offset, size) ranges; None for each that is not in the cache, or damaged.

        Args:
            check: whether checksums are verified. A caller that has checksums of its own need not.
        """
        found: list[bytes | None] = [None] * len(ranges)
        try:
            file = os.open(self._path(name, "r"), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return found
        try:
            table = self._table(name, file)
            for i, (offset, size) in enumerate(ranges):
                found[i] = table.read(file, offset, size, check)
        except OSError:
            return found
        finally:
            os.close(file)
        if any(data is not None for data in found):
            self._touch(self._path(name, "r"))
        return found

    def add(self, name: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Stores bytes of an object, as (offset, bytes). Does nothing where that is impossible."""
        if fcntl is None or time.monotonic() < self._broken_until:
            return
        data = b"".join(_segments(pieces))
        if len(data) > self.size // 2:
            return
        try:
            self._append(name, data)
        except OSError as error:
            self._failed(error, len(data))
            return
        self._count(len(data))

    def _append(self, name: str, data: bytes) -> None:
        path = self._path(name, "r")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # held for the time of one write
            if os.fstat(file).st_nlink == 0:  # it was removed while this waited: the bytes are just not kept
                return
            end = self._table(name, file).end
            if end == 0:
                data = _HEADER + data
            os.ftruncate(file, end)
            try:
                _write_at(file, data, end)
            except OSError:
                os.ftruncate(file, end)
                raise
        finally:
            os.close(file)

    def _table(self, name: str, file: int) -> _Table:
        """The segments of an open file, with those that were added since the last time."""
        with self._lock:
            table = self._tables.setdefault(name, _Table())
            self._tables.move_to_end(name)
            if len(self._tables) > _MOST_TABLES:
                self._tables.popitem(last=False)
        table.update(file)
        return table

    # ---- whole objects ----

    @contextlib.contextmanager
    def whole(self, name: str, suffix: str) -> Iterator[Path | None]:
        """The file with a whole object, or None. It is not removed before the block ends."""
        path = self._path(name, "w", suffix)
        try:
            file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            yield None
            return
        try:
            yield path if self._is_whole(path, name, file) else None
        finally:
            os.close(file)

    def _is_whole(self, path: Path, name: str, file: int) -> bool:
        """Locks an open file against its removal. Whether it has the size and checksum that were stored."""
        if fcntl is not None:
            with contextlib.suppress(OSError):  # the file system may have no locks
                fcntl.flock(file, fcntl.LOCK_SH)
        try:
            found, now = os.fstat(file), os.stat(path)
            if not os.path.samestat(found, now):
                return False
            key = (found.st_ino, found.st_size, 0)
            if self._checked.get(path.name) != key:
                size, checksum = map(int, self._path(name, "s").read_text(encoding="ascii").split())
                if found.st_size != size or _checksum(file) != checksum:
                    raise ValueError
                self._checked[path.name] = key
        except OSError:
            return False
        except ValueError:  # damaged
            with contextlib.suppress(OSError):
                path.unlink()
            return False
        self._touch(path)
        return True

    @contextlib.contextmanager
    def fetching(self, name: str) -> Iterator[None]:
        """Makes other threads and processes wait that fetch the same whole object."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # where nothing can be locked, several may fetch it
                stack.enter_context(lock_folder(self.folder / "fetching" / name, wait=float("inf")))
            yield

    @contextlib.contextmanager
    def store(self, name: str, suffix: str, fill: Callable[[int], int], size: int | None) -> Iterator[Path]:
        """A file that `fill` has filled. It is kept in the cache if there is room, and exists until the block ends.

        Args:
            fill: writes to an open file, and returns the checksum of all that it has written.
            size: number of bytes, if it is known.

        Raises:
            OSError: There is no room for it anywhere.
        """
        folder, keep = self.folder / "unfinished", True
        if time.monotonic() < self._broken_until or (size or 0) > self.size // 2:
            keep = False
        elif size:
            self._count(size)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = temporary_path(folder / name)
            file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            self._failed(error, size or 0)
            keep = False
            file, text = tempfile.mkstemp(prefix="actrec-", suffix=suffix)
            temporary = Path(text)
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, file)
                checksum = fill(file)
                if not size:
                    self._count(os.fstat(file).st_size)
                if fcntl is not None:
                    with contextlib.suppress(OSError):
                        fcntl.flock(file, fcntl.LOCK_SH)
                path = temporary
                if keep:
                    with contextlib.suppress(OSError):
                        path = self._publish(name, suffix, file, temporary, checksum)
                yield path
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _publish(self, name: str, suffix: str, file: int, temporary: Path, checksum: int) -> Path:
        path, found = self._path(name, "w", suffix), os.fstat(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = temporary_path(self.folder / "unfinished" / name)
        facts.write_text(f"{found.st_size} {checksum}\n", encoding="ascii")
        os.replace(facts, self._path(name, "s"))
        os.replace(temporary, path)
        self._checked[path.name] = (found.st_ino, found.st_size, 0)
        with contextlib.suppress(OSError):
            self._path(name, "r").unlink()  # the ranges are not needed any more
        return path

    # ---- the size ----

    def make_room(self) -> None:
        """Removes what was not used for the longest time, if the files are larger than the largest size."""
        with contextlib.suppress(OSError), lock_folder(self.folder / "cleaning"):
            remove_leftovers([self.folder / "unfinished"])
            files = sorted(_files(self.folder))
            total = sum(size for _, size, _ in files)
            if total <= 0.95 * self.size:
                return
            for _, size, path in files:
                if total <= _KEPT * self.size:
                    break
                if _remove(path):
                    total -= size

    def _count(self, size: int) -> None:
        with self._lock:
            self._written += size
            if is_due := self._written > self.size / 200:
                self._written = 0
        if is_due:
            self.make_room()

    def _failed(self, error: OSError, size: int) -> None:
        """After a failed write: makes room on a full disk, and stops writing for a while if that does not help."""
        if error.errno in _FULL:
            self._shrink(size)
        self._broken_until = time.monotonic() + 10

    def _shrink(self, size: int) -> None:
        with contextlib.suppress(OSError), lock_folder(self.folder / "cleaning"):
            files = sorted(_files(self.folder))
            wanted = max(4 * size, sum(one for _, one, _ in files) // 10)
            for _, one, path in files:
                if wanted <= 0:
                    break
                if _remove(path):
                    wanted -= one

    def _touch(self, path: Path) -> None:
        now = time.time()
        if now - self._used.get(path.name, 0) < _TOUCHED:
            return
        if len(self._used) > _MOST_TABLES:
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
    """The suffix of a path, if it is an ordinary one: FFmpeg knows some formats by it."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", path)
    return found[0].lower() if found else ""


class _Table:
    """Where the bytes of an object are in its file of ranges. What was stored last counts."""

    def __init__(self) -> None:
        self.end = 0  # of the segments that are whole
        self._file = (0, 0)
        self._lock = threading.Lock()
        self._starts: list[int] = []
        self._segments: list[tuple[int, int, int, int]] = []  # offset, size, position, checksum; by offset

    def update(self, file: int) -> None:
        """Reads the headers of the segments that were added to an open file."""
        found = os.fstat(file)
        with self._lock:
            if self._file != (found.st_dev, found.st_ino) or found.st_size < self.end:
                self._file, self.end = (found.st_dev, found.st_ino), 0
                self._starts, self._segments = [], []
            if self.end == 0 and found.st_size >= len(_HEADER) and os.pread(file, len(_HEADER), 0) == _HEADER:
                self.end = len(_HEADER)
            while self.end and self.end + _SEGMENT.size <= found.st_size:
                fields = os.pread(file, _SEGMENT.size, self.end)
                if len(fields) < _SEGMENT.size:
                    break
                mark, offset, size, checksum, own = _SEGMENT.unpack(fields)
                position = self.end + _SEGMENT.size
                if mark != _MARK or own != zlib.crc32(fields[:-4]) or position + size > found.st_size:
                    break
                self._insert(offset, size, position, checksum)
                self.end = position + size

    def _insert(self, offset: int, size: int, position: int, checksum: int) -> None:
        i = bisect_left(self._starts, offset)
        if i < len(self._starts) and self._starts[i] == offset:
            self._segments[i] = (offset, size, position, checksum)
            return
        self._starts.insert(i, offset)
        self._segments.insert(i, (offset, size, position, checksum))

    def read(self, file: int, offset: int, size: int, check: bool) -> bytes | None:
        """The bytes of a range; None if not all of them are here, or a checksum is wrong."""
        parts = []
        while size > 0:
            with self._lock:
                i = bisect_right(self._starts, offset) - 1
                if i < 0:
                    return None
                start, length, position, checksum = self._segments[i]
            skip = offset - start
            if skip >= length:
                return None
            if check:
                data = os.pread(file, length, position)
                if len(data) != length or zlib.crc32(data) != checksum:
                    return None
                part = data[skip : skip + size]
            else:
                part = os.pread(file, min(size, length - skip), position + skip)
                if len(part) != min(size, length - skip):
                    return None
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _segments(pieces: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
    for offset, data in pieces:
        for begin in range(0, len(data), _BLOCK):
            part = data[begin : begin + _BLOCK]
            fields = _SEGMENT.pack(_MARK, offset + begin, len(part), zlib.crc32(part), 0)[:-4]
            yield fields + zlib.crc32(fields).to_bytes(4, "little")
            yield part


def _write_at(file: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, position)
        view, position = view[done:], position + done


def _checksum(file: int) -> int:
    checksum, position = 0, 0
    while data := os.pread(file, _COPY, position):
        checksum, position = zlib.crc32(data, checksum), position + len(data)
    return checksum


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """(last use, bytes on the disk, path) of all files that may be removed."""
    for place in _entries(folder / "objects"):
        entries = _entries(place.path)
        whole = {_hash_of(entry.name) for entry in entries if entry.name.startswith("w-")}
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.startswith("s-") and _hash_of(entry.name) in whole:
                    continue  # is removed with its object
                found = entry.stat(follow_symlinks=False)
                yield found.st_mtime, found.st_size, entry.path


def _hash_of(name: str) -> str:
    return name[2:].partition(".")[0]


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: str) -> bool:
    """Removes a file, unless somebody has it in use."""
    try:
        if fcntl is not None and os.path.basename(path).startswith("w-"):
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(file)
            folder, name = os.path.split(path)
            os.unlink(os.path.join(folder, f"s-{_hash_of(name)}"))
        else:
            os.unlink(path)
    except OSError:
        return False
    return True
