from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from actrec.engine.evaluate import Result
from actrec.engine.reporting import EpochReport, shown_seconds

REPORT = EpochReport(
    epoch=1, num_epochs=3, lr=0.01, train_loss=0.5, train_top1=75.0, clips_per_second=12.345, waiting=0.12345,
    skipped=1, clamped=2, validation=None, time_left=timedelta(seconds=61),
)  # fmt: skip


def test_the_row_and_the_line_of_an_epoch():
    assert REPORT.row() == {
        "epoch": 1, "lr": 0.01, "train_loss": 0.5, "train_top1": 75.0, "clips_per_second": 12.35, "waiting": 0.1235,
        "skipped": 1, "clamped": 2,
    }  # fmt: skip
    line = "epoch 2/3  lr 0.01  train loss 0.5000 top-1 75.00  12.3 clips/s, waiting 12 %, 0:01:01 left"
    assert str(REPORT) == line
    exploded = str(replace(REPORT, train_loss=9.61948e28))
    assert exploded.startswith("epoch 2/3  lr 0.01  train loss 9.619e+28 top-1 75.00")


def test_validation():
    result = Result(["a", "b"], np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), {"c": "gone"})
    report = EpochReport(
        epoch=2, num_epochs=3, lr=0.01, train_loss=0.5, train_top1=75.0, clips_per_second=None, waiting=None, skipped=0,
        clamped=0, validation=result, time_left=None,
    )  # fmt: skip
    row = report.row()
    assert (row["val_top1"], row["val_videos"], row["val_missing"]) == (50.0, 2, 1)
    assert "val_top5" not in row  # of two classes
    assert row["clips_per_second"] is None
    assert str(report).endswith(f"val loss {result.loss:.4f} top-1 50.00")


def test_seconds_have_two_digits_or_are_whole():
    assert [shown_seconds(s) for s in (0.0123, 4.26, 12.4, 348.7)] == ["0.012 s", "4.3 s", "12 s", "349 s"]
