"""A run that is killed at any instant and continued is the run that was never killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from actrec.engine import checkpoint, runlog

SCRIPT = Path(__file__).with_name("killable.py")


TIMEOUT = 120  # seconds for one run on a busy machine


class Runs:
    """Starts the run of `killable.py` any number of times. Each of its runs ends itself after TIMEOUT."""

    def __init__(self, dataset: Path, run: Path):
        command = [sys.executable, str(SCRIPT), str(dataset), str(run), str(TIMEOUT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self) -> int:
        """Returns the process id."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def exit_code(self) -> int:
        """Waits for the run. Negative is the signal that ended it."""
        return int(self._process.stdout.readline())

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=TIMEOUT)


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_instants(tmp_path, dataset, kills):
    with Runs(dataset, tmp_path / "whole") as runs:
        runs.start()
        started = time.monotonic()
        while not runlog.read(tmp_path / "whole", runlog.STEPS):
            assert time.monotonic() < started + TIMEOUT
            time.sleep(0.01)
        to_start = time.monotonic() - started
        assert runs.exit_code() == 0
        to_train = time.monotonic() - started - to_start
    instants, reached = random.Random(kills), []
    with Runs(dataset, tmp_path / "killed") as runs:
        for _ in range(5 * kills):
            if len(reached) == kills:
                break
            child = runs.start()
            if len(reached) % 2:  # at the start or in training
                time.sleep(instants.uniform(0.8 * to_start, to_start + 3 * to_train / kills))
            else:  # in training, however slow this machine is at the moment
                _wait_for_a_step(tmp_path / "killed", child)
                time.sleep(instants.uniform(0, to_train / kills))
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            if runs.exit_code() == 0:  # it had finished before: start again
                for path in (tmp_path / "killed").glob("*.pt"):
                    path.unlink()
                continue
            reached.append(len(runlog.read(tmp_path / "killed", runlog.STEPS)))
        runs.start()
        assert runs.exit_code() == 0
    assert len(reached) == kills
    assert any(0 < step < 36 for step in reached), reached  # at least one was killed while it trained
    whole, killed = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "killed"))
    assert same(whole, killed)
    logs = [[{k: v for k, v in row.items() if k not in ("clips_per_second", "waiting")} for row in rows]
            for rows in (runlog.read(tmp_path / "whole"), runlog.read(tmp_path / "killed"))]  # fmt: skip
    assert logs[0] == logs[1]
    steps = [runlog.read(tmp_path / name, runlog.STEPS) for name in ("whole", "killed")]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 36
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".actrec")]


def _wait_for_a_step(run, child) -> None:
    before, deadline = runlog.read(run, runlog.STEPS), time.monotonic() + TIMEOUT
    with suppress(ProcessLookupError):
        while runlog.read(run, runlog.STEPS) in ([], before) and time.monotonic() < deadline:
            os.kill(child, 0)  # it is still running
            time.sleep(0.01)


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
