"""Files of URLs that cannot be fetched at the moment, which says nothing about the files."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

from actrec.data.storage.paths import host_of, scheme_of

GIVEN_UP = 32  # files in a row that could not be fetched from a host, after which no other one is tried


@dataclass(frozen=True)
class Unreachable:
    """The result of a job for a file that could not be fetched. The next use of the file tries again."""

    reason: str


class Hosts:
    """Counts the files of each host (or bucket) that could not be fetched since the last one that could."""

    def __init__(self) -> None:
        self._lock, self._failed = threading.Lock(), Counter[str]()

    def reached(self, path: str) -> None:
        """Notes that the host of a file has answered."""
        with self._lock:
            self._failed.pop(_place_of(path), None)

    def failed(self, path: str, reason: str) -> None:
        """Notes that a file could not be fetched.

        Raises:
            ValueError: So many files in a row could not be fetched that others would fail too.
        """
        host = _place_of(path)
        with self._lock:
            self._failed[host] += 1
            count = self._failed[host]
        if count >= GIVEN_UP:
            raise ValueError(f"{host}: {GIVEN_UP} files in a row could not be fetched; the last: {path}: {reason}")


def _place_of(url: str) -> str:
    return f"{scheme_of(url)}://{host_of(url)}"
