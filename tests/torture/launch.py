"""Runs commands of actrec as processes of their own, and tells how each of them ended.

A `Launcher` is a process that has imported everything once and forks for each command: a command then starts in
milliseconds, and still has an exit code, signals, limits and a traceback of its own. Run as a script, this file is that
process: each line of its input is a job, and it answers with the process id and, later, with the exit code.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actrec.system import set_up_math_threads

TESTS = Path(__file__).resolve().parents[1]
_ORPHANED = 5.0  # seconds within which the children of a command must end after it


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: exit code; negative is the signal that ended it.
        out, err: what it printed.
        seconds: how long it ran.
        hung: it reached its time limit and was killed.
        orphans: its child processes that were still alive seconds after its end.
    """

    code: int
    out: str
    err: str
    seconds: float
    hung: bool
    orphans: int

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def last_line(self) -> str:
        """The last line of standard error, or of standard output."""
        return ([""] + (self.err or self.out).strip().splitlines())[-1][:300]


class Running:
    """A command that was started. `end` must be called once."""

    def __init__(self, pid: int, answer: Any, folder: tempfile.TemporaryDirectory, limit: float):
        self.pid, self._answer, self._folder, self._limit = pid, answer, folder, limit
        self._start = time.monotonic()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> Ended:
        hung = not select.select([self._answer], [], [], max(0.0, self._start + self._limit - time.monotonic()))[0]
        if hung:
            self.kill()
        code = int(self._answer.readline())
        seconds = time.monotonic() - self._start
        orphans = self._orphans()
        texts = [Path(self._folder.name, name).read_text(errors="replace") for name in ("out", "err")]
        self._folder.cleanup()
        return Ended(code, texts[0], texts[1], seconds, hung, orphans)

    def _orphans(self) -> int:
        end = time.monotonic() + _ORPHANED
        while (found := _session(self.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)


class Launcher:
    """A process that forks for each command, one command at a time. A context manager."""

    def __enter__(self) -> Launcher:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(
        self,
        arguments: Sequence[object],
        folder: Path,
        *,
        limit: float = 60.0,
        limits: Mapping[str, int] | None = None,
        fresh: bool = False,
        stdout: str | None = None,
    ) -> Running:
        """Starts `actrec ARGUMENTS` in a folder.

        Args:
            limit: seconds after which it counts as hung and is killed.
            limits: resource limits by the names of the module `resource`; RLIMIT_AS is added to what is in use.
            fresh: start a new interpreter instead of forking.
            stdout: a file in place of the captured standard output.
        """
        outputs = tempfile.TemporaryDirectory()
        job = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(folder),
            "out": stdout or str(Path(outputs.name, "out")),
            "err": str(Path(outputs.name, "err")),
            "limits": dict(limits or {}),
            "fresh": fresh,
        }
        for name in ("out", "err"):  # it may be killed before it opens them
            Path(outputs.name, name).touch()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        return Running(int(self._process.stdout.readline()), self._process.stdout, outputs, limit)

    def run(self, arguments: Sequence[object], folder: Path, **options: Any) -> Ended:
        """As `start`, and waits for its end."""
        return self.start(arguments, folder, **options).end()


def sample(pid: int) -> tuple[int, int, int] | None:
    """(resident bytes, threads, open descriptors) of a process; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmRSS"].split()[0]) * 1024, int(fields["Threads"]), len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, KeyError):
        return None


def _session(leader: int) -> list[int]:
    """The living processes of a session, without zombies."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == leader and state != "Z":
                    found.append(int(path.name))
    return found


def _serve() -> None:
    _import_everything()
    gc.collect()
    gc.freeze()  # so that the children do not copy all of these pages
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(job)
            return
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(job: dict[str, Any]) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with its launcher
    os.chdir(job["cwd"])
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["out"], os.O_WRONLY | os.O_CREAT),
        (2, job["err"], os.O_WRONLY | os.O_CREAT),
    ):
        os.dup2(os.open(path, flags, 0o600), number)
    for name, value in job["limits"].items():
        if name == "RLIMIT_AS":
            value += int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(getattr(resource, name), (value, value))
    if job["fresh"]:
        os.execv(sys.executable, [sys.executable, "-m", "actrec", *job["arguments"]])
    from actrec.cli.main import main

    main(job["arguments"])


def _import_everything() -> None:
    """What the commands import when they run. No thread may be started here."""
    import importlib
    import pkgutil

    import matplotlib.figure  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    packages = ["cli", "tools", "data", "engine", "inference", "nets", "report"]
    for package in (importlib.import_module(f"actrec.{name}") for name in packages):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith(("_child", "dali")):
                importlib.import_module(found.name)
    assert threading.active_count() == 1


if __name__ == "__main__":
    set_up_math_threads()
    _serve()
