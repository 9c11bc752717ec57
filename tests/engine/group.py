"""Runs commands in groups of processes as `torchrun` starts them, but without its start-up time.

This program imports everything once. For each line of JSON on stdin it forks the processes of one group, which join
each other and run the command. It prints one line with the exit code of each process.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 240  # seconds for one command
OPTIMIZERS = "torch._dynamo"  # torch's optimizers import it when the first one is made, which takes a second


@dataclass(frozen=True)
class Ended:
    """How one process ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Groups:
    """Starts groups of processes; close it after use."""

    def __init__(self, folder: Path):
        self._folder, self._count = folder, 0
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, processes: int, *command: object, stop_after: int | None = None) -> list[Ended]:
        """Runs `actrec COMMAND`, or a Python file, in each process of a group.

        Args:
            stop_after: Sends SIGTERM to the first process after so many training steps.
        """
        self._count += 1
        outputs = [str(self._folder / f"{self._count}_{rank}") for rank in range(processes)]
        order = {"command": [str(part) for part in command], "outputs": outputs, "stop_after": stop_after}
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        codes = json.loads(self._server.stdout.readline())  # the server ends what takes longer than TIMEOUT
        return [
            Ended(code, Path(f"{output}.out").read_text(), Path(f"{output}.err").read_text())
            for code, output in zip(codes, outputs)
        ]

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=TIMEOUT)
        self._server.stdout.close()


def serve() -> None:
    for module in ("actrec.cli.main", "actrec.cli.train", "actrec.cli.evaluate", "actrec.engine.train", OPTIMIZERS):
        __import__(module)
    for line in sys.stdin:
        order = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = []
        for rank, output in enumerate(order["outputs"]):
            pid = os.fork()
            if not pid:
                _be_a_process(rank, len(order["outputs"]), port, output, order["command"], order["stop_after"])
            pids.append(pid)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)


def _be_a_process(
    rank: int, world: int, port: int, output: str, command: Sequence[str], stop_after: int | None
) -> None:
    """Runs the command and ends this process."""
    signal.alarm(TIMEOUT)  # SIGALRM ends a process that hangs
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "group", "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_USE_AGENT_STORE": "False",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world),
    }  # fmt: skip
    if stop_after is not None and not rank:
        _stop_after(stop_after)
    code = 0
    try:
        if command[0].endswith(".py"):
            sys.argv = list(command)
            runpy.run_path(command[0], run_name="__main__")
        else:
            from actrec.cli.main import main

            main(list(command))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _stop_after(steps: int) -> None:
    from actrec.cli.progress import TrainReporter

    shown = TrainReporter.step
    count = 0

    def step(self, **values):
        nonlocal count
        shown(self, **values)
        count += 1
        if count == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    TrainReporter.step = step


if __name__ == "__main__":
    serve()
