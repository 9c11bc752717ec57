"""Reads source paths: local files, members of tar archives, and URLs through the cache."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from actrec.arguments import checked
from actrec.config import OptionError, Storage
from actrec.data.errors import ChangedError
from actrec.data.recent import Recent
from actrec.data.storage import remote, tar
from actrec.data.storage.cache import Cache, name_of, suffix_of
from actrec.data.storage.faults import NoRangesError, ObjectChangedError
from actrec.data.storage.paths import is_url, split_member
from actrec.data.storage.ranges import Pieces
from actrec.data.storage.remote import Facts, counters
from actrec.opening import open_regular
from actrec.system import ExhaustedError, read_at, write_all

_MOST_FACTS = 1_000_000  # objects whose size and version this process remembers: 320 MB
_MOST_MEMBERS = 2_000_000  # members, of all archives whose tables this process remembers
_MOST_HANDED = 64 << 20  # bytes that `prefetch` keeps in memory, for at least one file
_MOST_PLACES = 1_000_000  # members of which this process knows from an index where they are: 200 MB
_MANY = 1000  # a local archive with so many members has its table in the cache
_HEADERS = 4096  # bytes of a remote archive that are read at once: the small members next to a video fit into them
_MOST_CHANGES = 3  # how often an object is fetched again because it was replaced while it was fetched

_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Status:
    """What `stat` says.

    Args:
        size: in bytes.
        version: changes with the content: the time of the last change in ns, or 63 bits of a hash.
    """

    size: int
    version: int


@dataclass(frozen=True)
class LocalFile:
    """A part of a local file.

    Args:
        path: of the file.
        offset: where the part begins, in bytes.
        size: of the part; None for all of the file.
    """

    path: str
    offset: int
    size: int | None


class _State:
    """What this process knows of sources."""

    def __init__(self, cache: Cache):
        self.cache = cache
        self.facts: Recent[int, Facts] = Recent(_MOST_FACTS)  # by the hash of the URL
        self.tables: Recent[tuple[str, int], tar.Table] = Recent(_MOST_MEMBERS, lambda one: len(one.members) + 1)
        # By path and version: bytes that were prefetched, by range of the object.
        self.handed: Recent[tuple[str, int], dict[tuple[int, int], bytes]] = Recent(
            _MOST_HANDED, lambda one: sum(map(len, one.values()))
        )
        # By the hash of the path of a member: offset, size, and the version of the member that is there.
        self.places: Recent[int, tuple[int, int, int]] = Recent(_MOST_PLACES)


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "actrec"


_state: _State | None = None
_settings: tuple[Path | None, int] = (None, Storage().cache_bytes)
_state_lock = threading.Lock()


def _get() -> _State:
    global _state
    with _state_lock:
        if _state is None:
            _state = _State(Cache(_default_cache() / "storage", Storage().cache_bytes))
        return _state


def configure(cache: Path | None, size: int) -> None:
    """Where this process caches what it reads from URLs.

    Args:
        cache: A folder; None for the folder `actrec` in $XDG_CACHE_HOME, or in ~/.cache.
        size: Largest number of bytes of all its files.

    Raises:
        OptionError: `cache` is no folder, or cannot be created. A folder that cannot be written is only read.
    """
    global _state, _settings
    folder = _default_cache() if cache is None else Path(cache)
    if cache is not None:
        place = folder
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise OptionError(f"`cache` {folder}: {place} is not a folder")
        if place != folder and not os.access(place, os.W_OK | os.X_OK):
            raise OptionError(f"`cache` {folder}: cannot be created, because {place} is read-only")
    with _state_lock:
        _state = _State(Cache(folder / "storage", size))
        _settings = (None if cache is None else Path(os.path.abspath(cache)), size)


def settings() -> tuple[Path | None, int]:
    """The arguments of the last call of `configure`, for a process in another folder."""
    return _settings


@checked
def configure_storage(*, cache: _Path | None = None, cache_size: str = Storage.cache_size) -> None:
    """Sets where this process keeps what it reads from URLs, as `--cache` and `--cache-size` do for the commands.

        actrec.configure_storage(cache="/scratch/actrec", cache_size="200G")

    Args:
        cache: A folder, which several processes may share. Default: `actrec` in $XDG_CACHE_HOME, or in ~/.cache.
        cache_size: Largest size of the folder. The least recently used files are removed first.

    Raises:
        ValueError: The size is malformed, or the folder cannot be created.
    """
    options = Storage(None if cache is None else Path(cache), cache_size)
    configure(options.cache, options.cache_bytes)


def _forget() -> None:
    """Starts anew in a forked process, because its parent may have held a lock."""
    global _state, _state_lock
    _state_lock = threading.Lock()
    if _state is not None:
        _state = _State(Cache(_state.cache.folder, _state.cache.size))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# ---- what is known of an object ----


def _facts(url: str, *, anew: bool = False) -> Facts:
    """What the server says about an object, with its size. The server is asked once per process."""
    known = _get().facts
    facts = None if anew else known.get(hash(url))
    if facts is None:
        facts = remote.facts_of(url)
        known.put(hash(url), facts)
    if facts.size is None:  # only fetching it tells
        with _whole_object(url, facts) as (path, complete):
            facts = replace(complete, size=os.path.getsize(path))
        known.put(hash(url), facts)
    return facts


def stat(path: _Path, place: tuple[int, int] | None = None) -> Status:
    """Size and version of a source. A server is asked once per object and process.

    Args:
        place: (offset, size) of a member, where it was in some version of its archive. The archive is then not scanned.
            If it is another archive now, the version is another one too.

    Raises:
        OSError: As `os.stat` does: FileNotFoundError, PermissionError, ...
        MediaError: The server cannot be reached (RemoteError), or the archive of a member cannot be used.
    """
    path = os.fspath(path)
    archive, member = split_member(path)
    if member is not None:
        return _status_of_member(archive, *(place or _find(path, archive, member)))
    if is_url(path):
        facts = _facts(path)
        assert facts.size is not None
        return Status(facts.size, facts.version)
    found = os.stat(path)
    return Status(found.st_size, found.st_mtime_ns)


def _status_of_member(archive: str, offset: int, size: int) -> Status:
    return Status(size, remote.version_of(f"{stat(archive).version} {offset}", size))


def refresh(path: _Path) -> None:
    """Forgets what this process knows of an object, so that the server is asked again."""
    _get().facts.drop(hash(split_member(os.fspath(path))[0]))


# ---- members ----


def place_of(path: _Path) -> tuple[int, int] | None:
    """(offset, size) of a member in its archive; None if the path is not that of a member.

    Raises:
        OSError, MediaError: as `stat`.
    """
    path = os.fspath(path)
    archive, member = split_member(path)
    return None if member is None else _find(path, archive, member)


def remember_place(path: _Path, place: tuple[int, int], version: int) -> None:
    """Uses (offset, size) of a member as long as its archive does not change, so that this is not scanned.

    Args:
        version: what `stat` says of the member at this place.
    """
    _get().places.put(hash(os.fspath(path)), (*place, version))


def knows_place(path: _Path) -> bool:
    """Whether `remember_place` was called for a member. This asks neither a server nor the file system."""
    return _get().places.get(hash(os.fspath(path))) is not None


def _find(path: str, archive: str, member: str) -> tuple[int, int]:
    """(offset, size) of a member."""
    if (known := _get().places.get(hash(path))) is not None:
        offset, size, version = known
        if _status_of_member(archive, offset, size).version == version:
            return offset, size
    return _table(archive).find(archive, member)


def list_archive(archive: _Path) -> tar.Table:
    """The members of a local or remote tar archive, and what is wrong with it.

    Raises:
        OSError: It is missing or cannot be read.
        MediaError: It is not a plain tar archive.
    """
    return _table(os.fspath(archive))


def _table(archive: str) -> tar.Table:
    """The members of an archive: from the memory of this process, from the cache, or from a scan."""
    state = _get()
    status = stat(archive)
    key = archive if is_url(archive) else os.path.abspath(archive)
    if (table := state.tables.get((key, status.version ^ status.size))) is not None:
        return table
    name = name_of(f"members of {key}", status.version ^ status.size)
    table = _stored_table(state.cache, name)
    if table is None:
        with state.cache.fetching(name) if is_url(archive) else contextlib.nullcontext():
            table = _stored_table(state.cache, name)
            if table is None:
                table = _scanned(archive, status.size)
                if is_url(archive) or len(table.members) >= _MANY:  # others are scanned at once
                    state.cache.add(name, _numbered(tar.to_bytes(table)))
    state.tables.put((key, status.version ^ status.size), table)
    return table


def _numbered(data: bytes) -> list[tuple[int, bytes]]:
    """Data with its length before it, for the cache."""
    return [(0, len(data).to_bytes(8, "little") + data)]


def _stored_table(cache: Cache, name: str) -> tar.Table | None:
    (length,) = cache.read(name, [(0, 8)])
    if length is None:
        return None
    (data,) = cache.read(name, [(8, int.from_bytes(length, "little"))])
    try:
        return None if data is None else tar.from_bytes(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _scanned(archive: str, size: int) -> tar.Table:
    if not is_url(archive):
        with open_regular(archive, buffering=1024) as file:
            return tar.scan(archive, cast(io.BufferedReader, file), size)

    def read(offset: int, length: int) -> bytes:
        return read_ranges(archive, [(offset, length)])[0]

    table = tar.scan(archive, io.BufferedReader(_Part(read, size), _HEADERS), size)
    before = _facts(archive)
    if _facts(archive, anew=True).version != before.version:
        raise ChangedError(archive, "the archive was replaced while it was read")
    return table


# ---- whole files ----


@contextlib.contextmanager
def local_file(path: _Path) -> Iterator[LocalFile]:
    """The whole content of a source, as a part of a local file that exists until the block ends.

    A local file is returned as it is, without reading it. A remote file is fetched into the cache if it is not there.

    Raises:
        OSError: It is missing or cannot be read.
        MediaError: It cannot be read after all retries (RemoteError), it was replaced several times while it was
            fetched (ChangedError), or its archive cannot be used.
        ExhaustedError: There is no room for it on the disk.
    """
    path = os.fspath(path)
    archive, member = split_member(path)
    if not is_url(archive):
        if member is None:
            yield LocalFile(path, 0, None)
        else:
            yield LocalFile(archive, *_find(path, archive, member))
        return
    facts = _facts(archive)
    if member is None:
        with _whole_object(archive, facts) as (local, _):
            yield LocalFile(local, 0, None)
        return
    part = _find(path, archive, member)
    with _get().cache.whole(name_of(archive, facts.version), suffix_of(archive)) as whole:
        if whole is not None:
            yield LocalFile(str(whole), *part)
            return
    with _whole_object(path, facts, archive, part) as (local, _):
        yield LocalFile(local, 0, None)


@contextlib.contextmanager
def _whole_object(
    path: str, facts: Facts, url: str = "", part: tuple[int, int] | None = None
) -> Iterator[tuple[str, Facts]]:
    """A local file with an object, or with a part of it, and the facts of the object that was fetched.

    Args:
        path: the source.
        url: of the object, if the source is a part of it.
    """
    cache, url, suffix = _get().cache, url or path, suffix_of(path)
    for _ in range(_MOST_CHANGES):
        name = name_of(path, facts.version)
        with contextlib.ExitStack() as stack:
            local = stack.enter_context(cache.whole(name, suffix))
            if local is None:
                with cache.fetching(name):
                    local = stack.enter_context(cache.whole(name, suffix))
                    if local is None:
                        try:
                            local = stack.enter_context(_fetched(cache, name, suffix, url, facts, part))
                        except NoRangesError:
                            facts = replace(facts, ranges=False)
                            _get().facts.put(hash(url), facts)
                            continue
                        except ObjectChangedError:
                            refresh(url)
                            if part is not None:
                                raise ChangedError(path, "the archive was replaced while it was read") from None
                            facts = remote.facts_of(url)
                            _get().facts.put(hash(url), facts)
                            continue
                        except OSError as error:
                            if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
                                raise
                            what = f"there is no room for {path}: {error.strerror}"
                            raise ExhaustedError(cache.folder, what) from None
            yield str(local), facts
            return
    raise ChangedError(path, "the object was replaced several times while it was read")


def _fetched(
    cache: Cache, name: str, suffix: str, url: str, facts: Facts, part: tuple[int, int] | None
) -> AbstractContextManager[Path]:
    offset, size = part or (0, facts.size)

    def fill(file: BinaryIO) -> int:
        checksum = 0

        def write(data: bytes) -> None:
            nonlocal checksum
            checksum = zlib.crc32(data, checksum)
            write_all(file, data)

        remote.download(url, facts, offset, size, write)
        return checksum

    if size is not None:
        counters.add(needed=size)
    return cache.store(name, suffix, fill, size)


def open_bytes(path: _Path, *, buffering: int = -1) -> BinaryIO:
    """Opens a source as a seekable binary file. A remote source is fetched into the cache first.

    Args:
        buffering: as for `open`: 0 opens without a buffer.

    Raises:
        OSError, MediaError, ExhaustedError: as `local_file`, and `open_regular` for a local file.
    """
    with local_file(path) as found:
        file = open_regular(found.path, buffering=0 if found.size is not None else buffering)
    if found.size is None:
        return file
    part = _Part(lambda offset, size: read_at(file, found.offset + offset, size), found.size, file)
    return cast(BinaryIO, part if buffering == 0 else io.BufferedReader(part))


class _Part(io.RawIOBase):
    """A part of a source as a file of its own.

    Args:
        read: gives the bytes of (offset, size) in the part.
        size: of the part.
        file: is closed with it.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, file: BinaryIO | None = None):
        self._read, self._size, self._file, self._position = read, size, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        room = max(0, min(len(buffer), self._size - self._position))
        data = self._read(self._position, room) if room else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


# ---- ranges ----


def read_ranges(path: _Path, ranges: Sequence[tuple[int, int]], crcs: Sequence[int] | None = None) -> list[bytes]:
    """The bytes of some (offset, size) ranges of a source, in the order of `ranges`.

    A range that reaches past the end gives the bytes up to the end. Bytes of remote sources come from the cache.
    Missing ones are fetched in few requests and are then kept in the cache.

    Args:
        crcs: The `zlib.crc32` of each range. A range that differs is fetched once more.

    Raises:
        OSError: It is missing or cannot be read.
        ChangedError: The bytes do not have these checksums: the object was changed.
        MediaError: It cannot be read after all retries (RemoteError), or its archive cannot be used.
    """
    return _read_ranges(os.fspath(path), ranges, crcs)


def _read_ranges(
    path: str, ranges: Sequence[tuple[int, int]], crcs: Sequence[int] | None, *, is_prefetch: bool = False
) -> list[bytes]:
    archive, member = split_member(path)
    size: int | None = None
    base = 0
    if member is not None:
        base, size = _find(path, archive, member)
    if not is_url(archive):
        found = _read_local(archive, _within(ranges, base, size))
        if crcs is not None and (bad := _different(found, crcs)):
            raise ChangedError(path, _changed(ranges[bad[0]]))
        return found
    facts = _facts(archive)
    wanted = _within(ranges, base, facts.size if size is None else size)
    counters.add(needed=sum(length for _, length in wanted))
    handed = None if is_prefetch else _handed(path, facts, wanted)
    found = handed or _read_remote(archive, facts, wanted, trusted=crcs is not None)
    if is_prefetch:
        _get().handed.put((path, facts.version), dict(zip(wanted, found)))
    if crcs is not None and (bad := _different(found, crcs)):
        _get().cache.check_again(name_of(archive, facts.version), suffix_of(archive))
        again = _fetched_ranges(archive, facts, [wanted[i] for i in bad])
        for i, data in zip(bad, again):
            found[i] = data
        if bad := _different(found, crcs):
            refresh(archive)
            raise ChangedError(path, _changed(ranges[bad[0]]))
    return found


def prefetch(path: _Path, ranges: Sequence[tuple[int, int]]) -> None:
    """Fetches ranges of a source for a later `read_ranges`: into the cache, and into memory until they are read once.

    Raises the errors of `read_ranges`.
    """
    if is_url(os.fspath(path)):
        _read_ranges(os.fspath(path), ranges, None, is_prefetch=True)


def _handed(path: str, facts: Facts, wanted: Sequence[tuple[int, int]]) -> list[bytes] | None:
    """Bytes from the memory, if `prefetch` has read all of these ranges and nobody has taken them yet."""
    state, key = _get(), (path, facts.version)
    known = state.handed.get(key)
    if known is None or not known.keys() >= set(wanted):
        return None
    state.handed.drop(key)
    counters.add(cached=sum(length for _, length in wanted))
    return [known[one] for one in wanted]


def _changed(part: tuple[int, int]) -> str:
    return f"the file has changed: {part[1]:,} bytes at {part[0]:,} are not those of the index"


def _within(ranges: Sequence[tuple[int, int]], base: int, size: int | None) -> list[tuple[int, int]]:
    """Ranges of a part as ranges of the whole, cut off at the end of the part."""
    if size is None:
        return [(base + offset, length) for offset, length in ranges]
    return [(base + min(offset, size), max(0, min(length, size - offset))) for offset, length in ranges]


def _different(found: Sequence[bytes], crcs: Sequence[int]) -> list[int]:
    return [i for i, (data, crc) in enumerate(zip(found, crcs, strict=True)) if zlib.crc32(data) != crc]


def _read_local(path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    with open_regular(path, buffering=0) as file:
        found = []
        for offset, length in ranges:
            file.seek(offset)
            parts = []
            while length > 0 and (data := file.read(length)):
                parts.append(data)
                length -= len(data)
            found.append(parts[0] if len(parts) == 1 else b"".join(parts))
        return found


def _read_remote(url: str, facts: Facts, ranges: Sequence[tuple[int, int]], *, trusted: bool) -> list[bytes]:
    """The bytes of ranges of an object.

    Args:
        trusted: whether the caller has checksums, so that those of the cache need not be verified.
    """
    cache, name = _get().cache, name_of(url, facts.version)
    with cache.whole(name, suffix_of(url), check=not trusted) as whole:
        if whole is not None:
            counters.add(cached=sum(length for _, length in ranges))
            return _read_local(str(whole), ranges)
    found = cache.read(name, ranges, check=not trusted)
    missing = [i for i, data in enumerate(found) if data is None]
    counters.add(cached=sum(len(data) for data in found if data is not None))
    for i, data in zip(missing, _fetched_ranges(url, facts, [ranges[i] for i in missing])):
        found[i] = data
    return cast(list[bytes], found)


def _fetched_ranges(url: str, facts: Facts, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Fetches ranges and keeps them in the cache."""
    if not any(length for _, length in ranges):
        return [b""] * len(ranges)
    try:
        if not facts.ranges:
            raise NoRangesError
        pieces = remote.fetch(url, ranges, facts)
    except NoRangesError:
        _get().facts.put(hash(url), replace(facts, ranges=False))
        with _whole_object(url, replace(facts, ranges=False)) as (local, _):
            return _read_local(local, ranges)
    except ObjectChangedError:
        refresh(url)
        raise ChangedError(url, "the object was replaced, so it is not the one of the index") from None
    _get().cache.add(name_of(url, facts.version), pieces)
    known = Pieces(pieces)
    return [cast(bytes, known.read(offset, length)) if length else b"" for offset, length in ranges]


def statistics() -> dict[str, int]:
    """What this process has read from URLs: bytes `needed`, `cached` and `fetched`, `requests` and `retries`."""
    return counters.snapshot()
