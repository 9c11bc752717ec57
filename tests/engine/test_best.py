"""Which epoch becomes best.pt, and early stopping."""

from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace

import pytest
from engine.helpers import Notes, run, same, tiny, weights

from actrec.engine import checkpoint, runlog
from actrec.engine.state import TrainState
from actrec.settings import OptionError


def compared(*results: tuple[float, float]) -> tuple[list[str | None], TrainState]:
    """Why each epoch with this (score, loss) is the best one so far."""
    state, reasons = TrainState(), []
    for score, loss in results:
        reasons.append(state.compare(score, loss))
        state.next_epoch()
    return reasons, state


def test_ties_go_to_the_lower_loss_and_then_to_the_earlier_epoch():
    reasons, state = compared((50, 48.0), (50, 363.0), (50, 4.0), (50, 1.6), (50, 1.6), (40, 0.1))
    assert reasons == ["score", None, "loss", "loss", None, None]
    assert (state.best, state.best_loss, state.best_epoch, state.tied, state.validated) == (50, 1.6, 3, 4, 5)
    reasons, state = compared((50, math.nan), (50, 2.0), (50, math.nan), (75, 9.0))
    assert reasons == ["score", "loss", None, "score"]
    assert (state.best_epoch, state.tied) == (3, 0)


def test_patience():
    _, state = compared((50, 1.0), (50, 2.0), (40, 1.0))
    assert [state.is_stopped_early(patience) for patience in (0, 1, 2, 3)] == [False, True, True, False]
    state.patience_from = 1
    assert [state.is_stopped_early(patience) for patience in (1, 2)] == [True, False]


def stopping(patience, **options):
    """A run in which nothing improves: the weights hardly change, and the validation loss grows or stays."""
    options = {"epochs": 8, "lr": 1e-30, "weight_decay": 0.0, "freeze_norm": "all", "schedule": "step", **options}
    return tiny(run_options={"early_stopping": patience}, **options)


def test_a_run_stops_early_and_can_be_continued(data, tmp_path):
    trained, reporter = run(tmp_path / "run", data, stopping(2))
    assert (trained.epochs, trained.stopped_early, trained.interrupted) == (3, True, False)
    assert (trained.best_epoch, trained.tied) == (0, 2)
    assert "best.pt is from epoch 1: top-1" in trained.describe_best()
    assert trained.describe_best().endswith(", the lowest of the 3 epochs with this top-1")
    rows = runlog.read(tmp_path / "run")
    assert [row["best"] for row in rows] == ["score", None, None]
    assert reporter.lines[0].count("(best)") == 1

    again, reporter = run(tmp_path / "run", data, stopping(2), resume=True)
    assert (again.epochs, again.stopped_early) == (3, True)
    assert reporter.lines[-1].endswith("To continue it, pass a larger --early-stopping, or --early-stopping 0")
    assert reporter.shown_header is None
    longer, _ = run(tmp_path / "run", data, stopping(4), resume=True)
    assert longer.epochs == 5
    assert json.loads((tmp_path / "run/config.json").read_text())["run"]["early_stopping"] == 4
    more, _ = run(tmp_path / "run", data, stopping(4, epochs=20), resume=True)
    assert (more.epochs, more.stopped_early) == (9, True)  # four more epochs without a better result
    to_the_end, _ = run(tmp_path / "run", data, stopping(0, epochs=10), resume=True)
    assert (to_the_end.epochs, to_the_end.stopped_early) == (10, False)


def test_a_run_that_was_interrupted_stops_at_the_same_epoch(data, tmp_path):
    def stop(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    options = tiny(epochs=6, lr=0.05, run_options={"early_stopping": 1})
    whole, _ = run(tmp_path / "whole", data, options)
    first, _ = run(tmp_path / "run", data, options, reporter=Notes(stop))
    assert first.interrupted
    second, _ = run(tmp_path / "run", data, options, resume=True)
    assert replace(second, clips_per_second=0, waiting=0) == replace(whole, clips_per_second=0, waiting=0)
    for name in ("best.pt", "last.pt"):
        assert same(weights(tmp_path / "whole" / name), weights(tmp_path / "run" / name))


def test_early_stopping_counts_epochs_but_stops_after_a_validation(data, tmp_path):
    options = stopping(3)
    options = replace(options, run=replace(options.run, val_every=2))
    trained, _ = run(tmp_path / "run", data, options)
    assert (trained.best_epoch, trained.epochs) == (1, 6)


def test_early_stopping_needs_a_validation_list(data, tmp_path):
    alone = replace(data, val=None, val_index=None)
    with pytest.raises(OptionError, match="early_stopping 5 without a validation list"):
        run(tmp_path / "run", alone, tiny(run_options={"early_stopping": 5}))
    trained, _ = run(tmp_path / "run", alone, tiny())
    assert trained.describe_best() == "best.pt is from epoch 1, the last one, because there is no validation list"


def test_a_checkpoint_of_an_earlier_version(data, tmp_path):
    """It has the best score only: the log tells the epoch and the loss."""
    run(tmp_path / "run", data, stopping(0, epochs=2))
    path = tmp_path / "run/last.pt"
    saved = checkpoint.load(path)
    best = saved["progress"]["best_loss"]
    for name in ("best_loss", "best_epoch", "tied", "classes", "validated", "patience_from", "warned"):
        del saved["progress"][name]
    del saved["config"]["run"]["early_stopping"]
    checkpoint.save(path, saved)
    trained, _ = run(tmp_path / "run", data, stopping(0, epochs=3), resume=True)
    assert (trained.best_epoch, trained.best_loss, trained.tied) == (0, best, 2)


def test_the_classes_of_the_best_epoch(data, tmp_path):
    trained, reporter = run(tmp_path / "run", data, tiny(epochs=2))
    assert [(one.name, one.videos) for one in trained.classes] == [("dark", 2), ("bright", 2)]
    assert sum(one.right or 0 for one in trained.classes) == round(trained.best / 100 * 4)
    header = reporter.shown_header
    assert (header.net, header.classes, header.train_videos, header.val_videos) == ("resnet3d_10", 2, 12, 4)
    assert (header.chance, header.frequent, header.batches, header.batch_size) == (50.0, None, 3, 4)
    assert header.lines()[0].startswith(f"net     resnet3d_10, {header.parameters:,} parameters; clips of 5 frames, 32")
    assert header.lines()[-1] == f"run     {tmp_path / 'run'}"


def test_best_pt_was_removed(data, tmp_path):
    """It is written again if its epoch is the last one; otherwise, a later epoch replaces it."""
    last, best = tmp_path / "run/last.pt", tmp_path / "run/best.pt"
    run(tmp_path / "run", data, stopping(2, epochs=1))
    best.unlink()
    _, reporter = run(tmp_path / "run", data, stopping(2, epochs=1), resume=True)
    assert f"WARNING: {best}: the file is missing; it is written again from last.pt" in reporter.lines
    assert same(weights(best), weights(last))

    run(tmp_path / "run", data, stopping(3, epochs=2), resume=True)
    best.unlink()
    trained, reporter = run(tmp_path / "run", data, stopping(3, epochs=2), resume=True)
    assert reporter.lines[0].endswith("the file is missing; it was from epoch 1, and last.pt is from another epoch")
    trained, reporter = run(tmp_path / "run", data, stopping(3, epochs=4), resume=True)
    assert reporter.lines[1].endswith("the file is missing; the best one of the epochs from now on is written to it")
    assert (trained.best_epoch, best.exists()) == (2, True)
