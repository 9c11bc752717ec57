"""A run that is killed at any instant and continued is the run that was never killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from actrec.engine import checkpoint, runlog

SCRIPT = Path(__file__).with_name("killable.py")


class Runs:
    """Starts the run of `killable.py`, again and again."""

    def __init__(self, dataset: Path, run: Path):
        command = [sys.executable, str(SCRIPT), str(dataset), str(run)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def go(self, *, kill_after: float | None = None) -> tuple[int, float]:
        """(how it ended, seconds that it took)."""
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        child, begun = int(self._process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)  # not reaped yet, so nobody else's number
        ended = int(self._process.stdout.readline())
        return ended, time.monotonic() - begun

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_instants(tmp_path, dataset, kills):
    with Runs(dataset, tmp_path / "whole") as runs:
        ended, seconds = runs.go()
        assert ended == 0
    instants = random.Random(kills)
    died = 0
    with Runs(dataset, tmp_path / "killed") as runs:
        while died < kills:
            # short enough that so many fit into the run, as long as now and then it gets nowhere at all
            ended, _ = runs.go(kill_after=instants.uniform(0, 2 * seconds / kills))
            assert ended in (0, -signal.SIGKILL)
            died += ended != 0
            if ended == 0:  # over too soon: once more from the start
                for path in (tmp_path / "killed").glob("*.pt"):
                    path.unlink()
        assert runs.go()[0] == 0
    whole, killed = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "killed"))
    assert same(whole, killed)
    logs = [[{k: v for k, v in row.items() if k not in ("clips_per_second", "waiting")} for row in rows]
            for rows in (runlog.read(tmp_path / "whole"), runlog.read(tmp_path / "killed"))]  # fmt: skip
    assert logs[0] == logs[1]
    steps = [runlog.read(tmp_path / name, runlog.STEPS) for name in ("whole", "killed")]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 18
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".actrec")]


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other
