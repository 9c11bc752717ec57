"""The certificates of a list's files on disk: `<list>.index.packets`, next to the index whose records point into it.

Certificates are only appended. The record of a file has the checksum of its certificate. If this file is damaged, a
certificate with another checksum is treated as missing, and is made again from the video.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from actrec.files import atomic_write
from actrec.opening import check_regular, open_regular
from actrec.system import lock_file, read_at, write_all

_MAGIC = b"actrecP1"
_HEADER = 16  # bytes: the magic number, and the position of the first byte of the file
_SMALLEST = 1 << 20  # bytes; a smaller file is not compacted


class Place(NamedTuple):
    """Where a certificate is stored.

    Args:
        position: The position in the file, plus the lengths of all earlier versions of the file that were replaced by
            compact ones. Positions in earlier versions are therefore recognized as gone.
        size: In bytes; 0 if it is not stored.
        crc: CRC-32 of its bytes.
    """

    position: int = 0
    size: int = 0
    crc: int = 0


class CertificateStore:
    """The file with the certificates of an index. Any number of processes can read it and add to it.

    Places are given one by one, or as a structured array with the fields of `Place`.

    Args:
        cache: The file of the index.

    Attributes:
        why_unsaved: The reason why certificates could not be added; None if they could. There is no second attempt.
    """

    def __init__(self, cache: Path):
        self.path = cache.with_name(cache.name.removesuffix(".npy") + ".packets")
        self.why_unsaved: str | None = None
        self._is_useful = cache.is_file() or not cache.exists()
        self._moves: list[tuple[np.ndarray, np.ndarray]] = []  # ascending old positions, and the new ones

    def read(self, place: Place) -> bytes | None:
        """The bytes of a certificate; None if they are not there, or damaged."""
        if not place.size:
            return None
        places = np.array([place], [("position", "u8"), ("size", "u4"), ("crc", "u4")])
        self.translate(places)
        position = int(places["position"][0])
        try:
            with open_regular(self.path, buffering=0) as file:
                first = _first(file)
                if first is None or position < first + _HEADER:
                    return None
                data = read_at(file, position - first, place.size)
        except (OSError, OverflowError):
            return None
        return data if len(data) == place.size and zlib.crc32(data) == place.crc else None

    def may_have(self, places: np.ndarray) -> np.ndarray:
        """Which of some places are in the file, as a boolean array. What is stored there may be damaged."""
        try:
            with open_regular(self.path, buffering=0) as file:
                first, length = _first(file), os.fstat(file.fileno()).st_size
        except OSError:
            first, length = None, 0
        if first is None:
            return np.zeros(len(places), bool)
        begins, sizes = places["position"] - np.uint64(first), places["size"].astype(np.uint64)  # modulo 2**64
        return (sizes > 0) & (begins >= _HEADER) & (begins < length) & (begins + sizes <= length)

    def append(self, packed: Sequence[bytes]) -> list[Place] | None:
        """Adds certificates. None if that is impossible.

        Several processes can do so at the same time. Incomplete bytes of a killed process are never read.
        """
        if not self._is_useful or self.why_unsaved:
            return None
        try:
            with _locked(self.path) as (file, first):
                length = os.fstat(file.fileno()).st_size
                _write(file, b"".join(packed), length)
        except OSError as error:  # a read-only folder, or a full disk
            self.why_unsaved = f"{self.path}: cannot be written ({error.strerror or error})"
            return None
        ends = itertools.accumulate(map(len, packed), initial=first + length)
        return [Place(position, len(data), zlib.crc32(data)) for position, data in zip(ends, packed)]

    def compact(self, places: Iterable[np.ndarray]) -> None:
        """Writes the file anew if more than half of it is not in use. If that fails, it stays as it was.

        Args:
            places: The places in the records of the index, in parts. Afterwards, `translate` returns the new places.
        """
        with contextlib.suppress(OSError):
            if os.path.getsize(self.path) < _SMALLEST:
                return
            used = np.concatenate([part[part["size"] > 0] for part in places])
            if os.path.getsize(self.path) < 2 * int(used["size"].sum(dtype=np.int64)):
                return
            self.translate(used)
            with _locked(self.path) as (file, first):
                used = used[self.may_have(used)]
                used = used[np.argsort(used["position"], kind="stable")]
                self._moves.append((used["position"].copy(), self._copy(file, first, used)))

    def translate(self, places: np.ndarray) -> None:
        """Replaces places by those to which `compact` has moved the certificates."""
        for old, new in self._moves:
            if len(old):
                found = np.minimum(np.searchsorted(old, places["position"]), len(old) - 1)
                is_moved = (places["size"] > 0) & (old[found] == places["position"])
                places["position"][is_moved] = new[found[is_moved]]

    def _copy(self, file: BinaryIO, first: int, used: np.ndarray) -> np.ndarray:
        """Writes a file with some certificates only, and returns their new positions."""
        anew = first + os.fstat(file.fileno()).st_size
        with atomic_write(self.path, "wb") as copy:
            copy.write(_MAGIC + anew.to_bytes(8, "little"))
            for position, size, _ in used.tolist():
                copy.write(read_at(file, position - first, size))
        sizes = used["size"].astype(np.uint64)
        return np.uint64(anew + _HEADER) + np.cumsum(sizes) - sizes


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Opens and locks the file: (the file, its first position). Creates it if it is missing or not such a file."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            check_regular(path)
        with open(path, "a+b", buffering=0) as file:
            lock_file(file)
            try:
                if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    continue  # another process has written it anew
            except FileNotFoundError:
                continue
            first = _first(file)
            if first is None:
                first = 0
                file.truncate(0)
                _write(file, _MAGIC + bytes(8), 0)
            yield file, first
            return


def _first(file: BinaryIO) -> int | None:
    head = read_at(file, 0, _HEADER)
    return int.from_bytes(head[8:], "little") if len(head) == _HEADER and head.startswith(_MAGIC) else None


def _write(file: BinaryIO, data: bytes, length: int) -> None:
    """Appends to a file that was opened for that. If not all of it can be written, the file stays as it was."""
    try:
        write_all(file, data)
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(length)
        raise
