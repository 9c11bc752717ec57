"""Hosts from which nothing can be fetched at the moment. Their files may be intact.

After `GIVEN_UP` files in a row that could not be fetched from a host (or bucket), its other files fail at once. So a
command ends soon, and keeps the results for the files that it has read. All parts of a process share the counts.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from actrec.data.errors import MediaError
from actrec.data.storage import RemoteError, is_remote
from actrec.data.storage.paths import host_of, scheme_of

GIVEN_UP = 32  # files in a row that could not be fetched from a host; after them, no other file is tried
_PAUSE = 30.0  # seconds after which a host that was given up is tried again, in programs that run for long

_lock = threading.Lock()
_failed: Counter[str] = Counter()  # by host, the files since the last one that could be fetched
_given_up: dict[str, tuple[float, str]] = {}  # when, and why


@dataclass(frozen=True)
class Unreachable:
    """The result of a job for a file that could not be fetched. The next use of the file tries again."""

    reason: str


def why_given_up(path: str) -> str | None:
    """Why no file of the host of a URL is tried; None if it is not given up."""
    if not is_remote(path):
        return None
    host = _place_of(path)
    with _lock:
        since, reason = _given_up.get(host, (0.0, ""))
        if not reason or time.monotonic() - since > _PAUSE:
            return None
    return f"not tried, because {GIVEN_UP} files in a row could not be fetched from {host} ({reason})"


def failed(path: str, reason: str) -> None:
    """Records that a file at a URL could not be fetched."""
    host = _place_of(path)
    with _lock:
        _failed[host] += 1
        if _failed[host] >= GIVEN_UP:
            _given_up[host] = (time.monotonic(), reason)


def reached(path: str) -> None:
    """Records that a file at a URL could be fetched, or that its host has answered that there is no such file."""
    host = _place_of(path)
    with _lock:
        _failed.pop(host, None)
        _given_up.pop(host, None)


def try_again() -> None:
    """Lets the next files of given-up hosts be tried, as at the start of a pass. The first failure gives them up."""
    with _lock:
        _given_up.clear()


@contextlib.contextmanager
def fetching(path: str | os.PathLike[str]) -> Iterator[None]:
    """A block that fetches a file, if the path is a URL. Its outcome is recorded.

    Raises:
        RemoteError: The host of the file is given up.
    """
    path = os.fspath(path)
    if not is_remote(path):
        yield
        return
    if reason := why_given_up(path):
        raise RemoteError(path, reason)
    try:
        yield
    except RemoteError as error:
        failed(path, error.reason)
        raise
    except PermissionError as error:
        failed(path, error.strerror or "access is refused")
        raise
    except (MediaError, OSError):
        reached(path)
        raise
    reached(path)


def _place_of(url: str) -> str:
    return f"{scheme_of(url)}://{host_of(url)}"
