"""Runs commands in forked processes, several at once, so that tests can kill them or let them race.

Importing everything takes longer than a small run, so the program below does it once. `Forks` starts the program.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a process ended.

    Args:
        code: Exit code; -9 if it was killed.
        output: What it printed.
    """

    code: int
    output: str


class Forks:
    """A context manager.

    Args:
        modules: Are imported once, for all runs.
        path: Folders to find them in, besides those where Python finds modules.
        limits: {name of a limit in `resource`: its value}.
    """

    def __init__(self, *modules: str, path: Sequence[str] = (), limits: dict[str, int] | None = None):
        self._command = [sys.executable, __file__, json.dumps(limits or {}), json.dumps(path), *modules]

    def __enter__(self) -> Forks:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready"
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()

    def run(self, *calls: Sequence[Any], meanwhile: Callable[[list[int]], None] | None = None) -> list[Ended]:
        """Runs all calls at the same time.

        Args:
            calls: Either the arguments of a command, such as ("index", path), or ("module:function", its arguments).
            meanwhile: Called with the process ids while they run.
        """
        self._process.stdin.write(json.dumps([[str(one) for one in call] for call in calls]) + "\n")
        self._process.stdin.flush()
        pids = self._read()
        if meanwhile:
            meanwhile(pids)
        return [Ended(*found) for found in self._read()]

    def _read(self) -> Any:
        line = self._process.stdout.readline()
        assert line, "the program has ended"
        return json.loads(line)


def _call(call: Sequence[str]) -> int:
    name, *arguments = call
    if ":" not in name:
        from actrec.cli.main import main

        return main(list(call)) or 0
    module, function = name.split(":")
    print(getattr(importlib.import_module(module), function)(*arguments))
    return 0


def _child(call: Sequence[str], output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        code = _call(call)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    import resource

    limits, path, *modules = sys.argv[1:]
    sys.path += json.loads(path)
    for module in ("actrec.cli.main", *modules):
        importlib.import_module(module)
    for name, value in json.loads(limits).items():
        hard = resource.getrlimit(getattr(resource, name))[1]
        resource.setrlimit(getattr(resource, name), (value, hard))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            pids = []
            for number, call in enumerate(json.loads(line)):
                output = os.open(Path(folder, str(number)), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
                pids.append(os.fork())
                if not pids[-1]:
                    _child(call, output)
                os.close(output)
            print(json.dumps(pids), flush=True)
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
            outputs = [Path(folder, str(number)).read_text(errors="replace") for number in range(len(pids))]
            print(json.dumps(list(zip(codes, outputs))), flush=True)


if __name__ == "__main__":
    _serve()
