"""The records of the files of a list: those in the cache, and those that this process has changed since.

The cache of a long list is neither read nor written as a whole. A record is read when it is needed. So the start, a
step and the end of an epoch take as long for ten million files as for ten thousand.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from actrec.data.column import Column
from actrec.data.index.probe import RECORD, Facts, facts_of
from actrec.opening import open_regular

BLOCK = 1 << 14  # records that are read at once
IN_MEMORY = 64 << 20  # a larger cache stays on the disk


class Stored(Protocol):
    """Records in the order of a cache. A slice is a copy, or a view of an array that nobody changes."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class RecordFile(Column):
    """Records that stay on disk. A record that can no longer be read is returned as unknown: all zeros."""

    def __getitem__(self, part: slice) -> np.ndarray:
        try:
            return super().__getitem__(part)
        except OSError:
            return np.zeros(len(range(len(self))[part]), self.dtype)


def open_records(path: Path) -> np.ndarray | RecordFile:
    """The records of an .npy file: as an array if they fit into memory, or are of another type.

    Raises:
        Exception: The file cannot be read, or it is not an .npy file. numpy parses the header as Python code, so any
            exception is possible.
    """
    with open_regular(path, buffering=0) as file:
        shape, dtype = read_header(file)
        if dtype != RECORD or shape[0] * dtype.itemsize <= IN_MEMORY:
            return np.fromfile(file, dtype, shape[0])
        return RecordFile(file, file.tell(), dtype, shape[0])


def read_header(file: BinaryIO) -> tuple[tuple[int], np.dtype]:
    """The shape and the type of an array with one axis. The file is read up to the values.

    Raises:
        Exception: It is not such a file, or it is cut off.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or len(shape) != 1 or shape[0] < 0:
        raise ValueError("not an array of records")
    if os.fstat(file.fileno()).st_size < file.tell() + shape[0] * dtype.itemsize:
        raise ValueError("cut off")
    return shape, dtype


class Records:
    """A record for each file of a list.

    Args:
        count: Number of files.
        stored: The records of the cache; None if there is no cache.
        place: (count,) where the record of each file is in the cache, -1 if it has none; None if the cache has the
            records of the same files in the same order.
        sum_of: Returns the checksum of the name of a file, by its number. Only records that are saved need it.
    """

    def __init__(self, count: int, stored: Stored | None, place: np.ndarray | None, sum_of: Callable[[int], int]):
        self._count, self.stored, self.place, self.sum_of = count, stored, place, sum_of
        self._changed: dict[int, np.void] = {}
        self._unsaved: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[np.void]:
        return map(self.__getitem__, range(self._count))

    def __getitem__(self, file: int) -> np.void:
        """A copy of the record of a file; all zeros if there is none."""
        return self._find(file).copy()

    def facts(self, file: int) -> Facts:
        """`facts_of` the record of a file. To copy the record would take several times as long."""
        return facts_of(self._find(file))

    def _find(self, file: int) -> np.void:
        """The record of a file, which nobody may change."""
        if (changed := self._changed.get(file)) is not None:
            return changed
        if self.stored is None or (place := file if self.place is None else int(self.place[file])) < 0:
            return np.zeros(1, RECORD)[0]
        return self.stored[place : place + 1][0]

    def __setitem__(self, file: int, record: np.void) -> None:
        with self._lock:
            self._changed[file] = record.copy()
            self._unsaved.add(file)

    def change(self, file: int, **values: Any) -> None:
        """Sets some fields of the record of a file."""
        with self._lock:
            record = self[file]
            for name, value in values.items():
                record[name] = value
            self._changed[file] = record
            self._unsaved.add(file)

    @property
    def num_unsaved(self) -> int:
        """The number of records that changed since they were last saved."""
        return len(self._unsaved)

    def unsaved(self) -> dict[int, np.void]:
        """The records that changed since they were last saved, by the number of their file."""
        with self._lock:
            return {file: self._changed[file] for file in sorted(self._unsaved)}

    def mark_saved(self, saved: dict[int, np.void], stored: Iterable[int] = ()) -> None:
        """Marks changed records as saved.

        Args:
            saved: What `unsaved` returned.
            stored: Those of these files whose records are now in `stored`, so that they need not be kept in memory.
        """
        with self._lock:
            self._unsaved.difference_update(file for file in saved if self._changed[file] is saved[file])
            for file in stored:
                if file not in self._unsaved:
                    del self._changed[file]

    def reopen(self, stored: Stored) -> None:
        """Reads all saved records from the cache from now on, instead of keeping them in memory.

        No other thread may use the records meanwhile.

        Args:
            stored: The records of a cache that was written from these, for the same files in the same order.
        """
        with self._lock:
            self.stored, self.place = stored, None
            self._changed = {file: self._changed[file] for file in self._unsaved}

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All records in order, (n,) of `RECORD` at a time. An array may be changed."""
        for begin in range(0, self._count, BLOCK):
            part = slice(begin, min(begin + BLOCK, self._count))
            yield part, self.take(np.arange(part.start, part.stop))

    def take(self, files: np.ndarray) -> np.ndarray:
        """The records of some files, (n,) of `RECORD`. The numbers of the files are in ascending order."""
        found = np.zeros(len(files), RECORD)
        if self.stored is not None:
            copy_records(self.stored, files if self.place is None else self.place[files], found)
        for i, file in enumerate(files.tolist()) if self._changed else ():
            if (changed := self._changed.get(file)) is not None:
                found[i] = changed
        return found


def copy_records(stored: Stored, places: np.ndarray, out: np.ndarray) -> None:
    """Copies the records at some places, (n,), to an array, (n,). Negative places are left out."""
    order = np.argsort(places, kind="stable")
    order = order[np.searchsorted(places[order], 0) :]
    of_block = places[order] // BLOCK
    for chosen in np.split(order, np.flatnonzero(np.diff(of_block)) + 1) if len(order) else ():
        here = places[chosen]
        begin = int(here[0])
        out[chosen] = stored[begin : int(here[-1]) + 1][here - begin]
