"""A long array in a file. Parts of it are read when they are needed."""

from __future__ import annotations

import os
import weakref
from typing import Any, BinaryIO

import numpy as np

from actrec.system import read_at


class Column:
    """An array with one axis in a file, which stays open: the file can be replaced meanwhile.

    A memory map would be shorter. But the pages that were read count as memory of the process, and a process that reads
    from the map of a file that another machine has cut off or replaced is killed.

    Args:
        file: An unbuffered file. It may be closed afterwards.
        offset: Of the first value, in bytes.
        count: Number of values.
    """

    def __init__(self, file: BinaryIO, offset: int, dtype: np.dtype, count: int):
        self._file = open(os.dup(file.fileno()), "rb", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._name = file.name
        self._offset, self.dtype, self._count = offset, dtype, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> np.ndarray:
        """The values of a slice. The array may be read-only.

        Raises:
            OSError: They cannot be read.
        """
        places = range(self._count)[part]
        if not len(places):
            return np.empty(0, self.dtype)
        begin, end = min(places[0], places[-1]), max(places[0], places[-1]) + 1
        size = (end - begin) * self.dtype.itemsize
        data = read_at(self._file, self._offset + begin * self.dtype.itemsize, size)
        while len(data) < size:  # the system reads at most 2 GiB at once
            more = read_at(self._file, self._offset + begin * self.dtype.itemsize + len(data), size - len(data))
            if not more:
                raise OSError(f"{self._name}: the file was cut off while it was used")
            data += more
        return np.frombuffer(data, self.dtype)[places[0] - begin :: places.step][: len(places)]

    def __reduce__(self) -> Any:
        return np.array, (self[:],)  # another process gets the values

    def is_in(self, file: BinaryIO) -> bool:
        """Whether another handle is of the same file."""
        return os.path.samestat(os.fstat(self._file.fileno()), os.fstat(file.fileno()))
