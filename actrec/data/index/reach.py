"""Files at URLs that cannot be fetched at the moment. The files themselves may be intact."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from actrec.data.storage.paths import host_of, scheme_of

GIVEN_UP = 32  # files in a row that could not be fetched from a host; after them, no other file is tried


@dataclass(frozen=True)
class Unreachable:
    """The result of a job for a file that could not be fetched. The next use of the file tries again."""

    reason: str


class Hosts:
    """Counts the files of each host (or bucket) that could not be fetched since the last one that could."""

    def __init__(self) -> None:
        self._lock, self._failed = threading.Lock(), Counter[str]()

    def reached(self, path: str) -> None:
        """Records that a file of this host could be fetched."""
        with self._lock:
            self._failed.pop(_place_of(path), None)

    def failed(self, path: str, reason: str) -> None:
        """Records that a file could not be fetched.

        Raises:
            ValueError: `GIVEN_UP` files in a row could not be fetched, so other files would fail too.
        """
        host = _place_of(path)
        with self._lock:
            self._failed[host] += 1
            count = self._failed[host]
        if count >= GIVEN_UP:
            raise ValueError(f"{host}: {GIVEN_UP} files in a row could not be fetched; the last: {path}: {reason}")


def _place_of(url: str) -> str:
    return f"{scheme_of(url)}://{host_of(url)}"
