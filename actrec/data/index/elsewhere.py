"""Probe files in child processes, because most of the work is Python code, which runs in one thread at a time."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from actrec.data.index.probe import Found, probe_path
from actrec.data.limits import limits
from actrec.data.storage import is_local
from actrec.data.video.container import MediaError

_CHILD = Path(__file__).with_name("elsewhere_child.py")
_local = threading.local()


def probe_elsewhere(path: str, name: str, *, flow: bool, template: str | None) -> Found:
    """The same as `probe_path`, in a child process, of which each thread has one. It ends with the thread.

    What is not local is probed in this process, which knows the servers. So is everything if no child can be started.

    Raises:
        MediaError: The file cannot be used, or the child process crashed.
    """
    if not is_local(path) or (child := _child()) is None:
        return probe_path(path, name, flow=flow, template=template)
    try:
        found, error = child.ask((path, name, flow, template))
    except (OSError, EOFError, pickle.UnpicklingError):
        del _local.child
        raise MediaError(path, "the process that reads it crashed") from None
    try:
        if error is not None:
            raise error
        return found
    finally:
        del error, child  # the traceback of the error would keep the child process alive


def _child() -> _Child | None:
    if not hasattr(_local, "child"):
        _local.child = None
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            _local.child = _Child()
    return _local.child


class _Child:
    """A child process. It ends when its input does."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1
        )
        self._send([path for path in sys.path if isinstance(path, str)])
        self.ask(limits())  # it has imported everything when it answers

    def ask(self, question: object) -> Any:
        self._send(question)
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def _send(self, question: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(question, self._process.stdin)
        self._process.stdin.flush()

    def __del__(self) -> None:
        if process := getattr(self, "_process", None):
            with contextlib.suppress(OSError):
                process.communicate()
