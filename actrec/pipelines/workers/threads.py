"""OpenCV's own threads, which would compete with the decode workers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2

_lock = threading.Lock()
_users = 0
_before = 0


@contextlib.contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """OpenCV uses one thread inside. When the last of several users leaves, its former setting is restored."""
    global _users, _before
    with _lock:
        if not _users:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                cv2.setNumThreads(_before)
