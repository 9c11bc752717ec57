"""What a run logs."""

from __future__ import annotations

import itertools
import math
import os
import re
import signal
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from engine.helpers import Notes, run, tiny

from actrec.engine import runlog
from actrec.engine.state import TimeLeft


def test_the_time_left_is_said(tmp_path, data):
    _, reporter = run(tmp_path, data)
    said = [line for line in reporter.lines if line.startswith("epoch ")]
    assert len(reporter.rates) == 9
    assert min(reporter.rates) > 0
    assert [bool(re.search(r", waiting \d+ %, 0:\d\d:\d\d left$", line)) for line in said] == [True, True, False]
    assert said[2].endswith(" %")
    time_left = TimeLeft(1.5)
    assert time_left.after(1.0, 4) is None
    time_left._started -= 100
    assert time_left.after(2.0, 4) == timedelta(seconds=400)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux device")
def test_a_full_disk_is_said_with_the_name_of_the_log(tmp_path):
    for name in (runlog.NAME, runlog.STEPS):
        (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        runlog.append(tmp_path, {"epoch": 0})
    assert caught.value.filename == str(tmp_path / runlog.NAME)
    log = runlog.RunLog(tmp_path, tensorboard=False)
    with pytest.raises(OSError, match="No space left") as caught:
        log.step({"step": 1})
    assert caught.value.filename == str(tmp_path / runlog.STEPS)
    with pytest.raises(OSError, match="No space left") as caught:
        log.close()
    assert caught.value.filename == str(tmp_path / runlog.STEPS)


def test_a_torn_log_row_is_left_out(tmp_path):
    runlog.append(tmp_path, {"epoch": 0})
    with open(tmp_path / runlog.NAME, "a") as file:
        file.write('{"epoch": 1, "lo')
    assert runlog.read(tmp_path) == [{"epoch": 0}]
    runlog.cut(tmp_path, epoch=0, step=0)
    assert runlog.read(tmp_path) == []


def test_tensorboard_keeps_every_point_of_a_resumed_run(tmp_path, data, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer import event_file_writer

    # TensorBoard reads its files in the order of their names, which begin with the second.
    clock = itertools.count(1_700_000_000)
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=lambda: next(clock)))

    made = tiny(epochs=2)
    made = replace(made, run=replace(made.run, tensorboard=True, log_every=1))
    run(
        tmp_path / "run",
        data,
        made,
        reporter=Notes(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 1 else None),
    )
    run(tmp_path / "run", data, made, resume=True)
    found = EventAccumulator(str(tmp_path / "run/tensorboard"))
    found.Reload()
    assert [point.step for point in found.Scalars("step/loss")] == [1, 2, 3, 4, 5, 6]
    assert [point.step for point in found.Scalars("epoch/val_loss")] == [3, 6]


def test_logs_know_no_nan(tmp_path):
    runlog.append(tmp_path, {"epoch": 0, "val_loss": math.nan, "lr": math.inf})
    assert runlog.read(tmp_path) == [{"epoch": 0, "val_loss": None, "lr": None}]
