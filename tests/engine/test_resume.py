"""A run that is stopped is continued exactly, and only with the same options and data."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import replace

import pytest
import torch
from engine.helpers import Notes, recipe, run, same, tiny, weights
from torch import distributed

import actrec
from actrec import config
from actrec.data.index import build_index
from actrec.engine import checkpoint, dist, runfolder, runlog


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("whole") / "run"
    run(path, data)
    return path


@pytest.mark.parametrize("step", [1, 3, 5, 9])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_continued_is_the_same_run(tmp_path, data, step, number, uninterrupted):
    stop = Notes(lambda done: os.kill(os.getpid(), number) if done == step else None)
    trained, _ = run(tmp_path / "run", data, reporter=stop)
    assert trained.interrupted
    saved, done = checkpoint.load(tmp_path / "run/last.pt"), step + (step % 3 != 0)  # the next step, or the validation
    assert saved["loader"] == {"epoch": done // 3, "step": done % 3}
    assert saved["progress"]["epoch"] == (done - 1) // 3  # not validated yet
    trained, reporter = run(tmp_path / "run", data, resume=True)
    assert not trained.interrupted
    assert ("its validation" if done % 3 == 0 else f"step {done % 3 + 1}") in reporter.lines[0]
    assert same(weights(tmp_path / "run/last.pt"), weights(uninterrupted / "last.pt"))
    logs = [[{k: v for k, v in row.items() if "loss" in k or "top" in k} for row in runlog.read(path)]
            for path in (tmp_path / "run", uninterrupted)]  # fmt: skip
    assert logs[0] == logs[1]


def test_resume_without_a_checkpoint_begins(tmp_path, data):
    _, reporter = run(tmp_path / "run", data, recipe(epochs=1), resume=True)
    assert reporter.lines[0].endswith("has no checkpoint to continue from: beginning a new run")


def test_a_folder_with_a_run_is_not_overwritten(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    before = (tmp_path / "run/last.pt").read_bytes()
    with pytest.raises(ValueError, match="contains a run already: pass --resume to continue it"):
        run(tmp_path / "run", data, recipe(epochs=1))
    assert (tmp_path / "run/last.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["best.pt", "last.pt", "config.json", "log.jsonl", "tensorboard"])
def test_files_of_the_user_are_not_replaced(tmp_path, data, name):
    path = tmp_path / "run" / name
    path.parent.mkdir()
    path.mkdir() if name == "tensorboard" else path.write_text('{"mine": 1}')
    with pytest.raises(ValueError, match=re.escape(f"{path} exists, and a run would replace it: pass another --run")):
        run(path.parent, data, recipe(epochs=1))
    assert list(path.parent.iterdir()) == [path]


def test_sigterm_during_the_set_up_leaves_nothing(tmp_path, data, monkeypatch):
    def terminated(self):
        assert (tmp_path / "runs/a/config.json").exists()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("actrec.engine.trainer.Trainer._open_log", terminated)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "runs/a", data, recipe(epochs=1))
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_resume_refuses_other_options(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    with pytest.raises(ValueError, match=r"was started with lr 0.01 \(now 0.02\): expected the same options"):
        run(tmp_path / "run", data, recipe(epochs=1, lr=0.02), resume=True)


def test_resume_refuses_other_data(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    fewer = replace(data, train=data.train[:8], train_index=build_index(data.train[:8]))
    with pytest.raises(ValueError, match=r"was started with other data \(train\): expected the same lists"):
        run(tmp_path / "run", fewer, recipe(epochs=1), resume=True)
    with pytest.raises(ValueError, match=r"was started with other data \(flip_map\)"):
        run(tmp_path / "run", replace(data, flip_map=(1, 0)), recipe(epochs=1), resume=True)


def test_a_finished_run_says_so(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    before = (tmp_path / "run/last.pt").read_bytes()
    trained, reporter = run(tmp_path / "run", data, recipe(epochs=1), resume=True)
    assert reporter.lines == [f"{tmp_path / 'run'} is finished: 1 epoch is done"]
    assert (trained.epochs, trained.interrupted) == (1, False)
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_the_next_attempt_of_torchrun_continues_only_what_one_before_began(tmp_path, data, monkeypatch):
    run(tmp_path, data, recipe(epochs=1))
    monkeypatch.setattr(dist, "_torchrun_store", distributed.HashStore())
    for attempt in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        with pytest.raises(ValueError, match="contains a run already"):
            run(tmp_path, data, recipe(epochs=1))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    run(tmp_path, data, recipe(epochs=1), resume=True)
    with pytest.raises(ValueError, match="contains a run already"):
        run(tmp_path, data, recipe(epochs=1))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "is finished" in run(tmp_path, data, recipe(epochs=1))[1].lines[0]


def test_plateau_run(tmp_path, data):
    run(tmp_path / "run", data, recipe(schedule="plateau", patience=0, epochs=2))
    run(tmp_path / "stopped", data, recipe(schedule="plateau", patience=0, epochs=2), reporter=Notes(
        lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 3 else None))  # fmt: skip
    run(tmp_path / "stopped", data, recipe(schedule="plateau", patience=0, epochs=2), resume=True)
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "stopped/last.pt"))


def test_a_run_begun_before_an_option_existed_goes_on(tmp_path, data):
    run(tmp_path / "run", data, tiny(epochs=1))
    saved = torch.load(tmp_path / "run/last.pt", weights_only=True)
    del saved["config"]["loss"], saved["config"]["optim"]["warmup"]
    torch.save(saved, tmp_path / "run/last.pt")
    _, reporter = run(tmp_path / "run", data, tiny(epochs=1), resume=True)
    assert "is finished" in reporter.lines[0]
    with pytest.raises(ValueError, match=r"label_smoothing 0.0 \(now 0.1\)"):
        run(tmp_path / "run", data, tiny(epochs=1, loss=config.Loss(label_smoothing=0.1)), resume=True)


def test_a_stop_between_epochs(tmp_path, data):
    """Where an epoch is one step and nothing is validated."""
    alone = replace(data, val=None, val_index=None)
    stop = Notes(lambda done: os.kill(os.getpid(), signal.SIGTERM) if done == 1 else None)
    trained, _ = run(tmp_path / "run", alone, tiny(batch_size=12, epochs=3), reporter=stop)
    assert (trained.epochs, trained.interrupted) == (1, True)
    run(tmp_path / "run", alone, tiny(batch_size=12, epochs=3), resume=True)
    run(tmp_path / "whole", alone, tiny(batch_size=12, epochs=3))
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_a_fine_tuning_as_of_transformers_continues_exactly(tmp_path, data):
    """Layer decay, mixing of repeated clips, and stochastic parts of the net."""
    made = tiny(epochs=2, optimizer="adamw", layer_decay=0.7, head_lr=3.0, lr_batch=4, warmup=1.0, per_step=True,
                augment=actrec.Augment(mixup=0.8, cutmix=1.0), loss=config.Loss(label_smoothing=0.1))  # fmt: skip
    made = replace(made, net=replace(made.net, dropout=0.3), loader=config.Loader(batch_size=4, repeats=2))
    run(tmp_path / "whole", data, made)
    stop = Notes(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 4 else None)
    assert run(tmp_path / "run", data, made, reporter=stop)[0].interrupted
    assert not run(tmp_path / "run", data, made, resume=True)[0].interrupted
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))
    first, second = (runlog.read(tmp_path / name) for name in ("run", "whole"))
    assert [row["train_loss"] for row in first] == [row["train_loss"] for row in second]


def test_one_process_has_a_run_folder(tmp_path, data):
    with (
        runfolder.held(tmp_path / "run"),
        pytest.raises(ValueError, match="run is in use: another process is training"),
    ):
        run(tmp_path / "run", data, tiny())
    assert not (tmp_path / "run").exists()
    run(tmp_path / "run", data, tiny())


def test_a_resumed_run_keeps_its_precision_and_needs_no_weights(tmp_path, data, monkeypatch):
    run(tmp_path / "first", data, tiny(precision="float32"))
    (tmp_path / "first/best.pt").rename(tmp_path / "start.pt")
    stop = Notes(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 1 else None)
    options = {"weights": str(tmp_path / "start.pt")}
    monkeypatch.setattr("actrec.engine.trainer.choose_precision", lambda *_: "float32")
    run(tmp_path / "run", data, tiny(precision="auto", epochs=2), reporter=stop, **options)
    (tmp_path / "start.pt").unlink()
    monkeypatch.setattr("actrec.engine.trainer.choose_precision", lambda *_: "bfloat16")
    run(tmp_path / "run", data, tiny(precision="auto", epochs=2), resume=True, **options)
    assert checkpoint.load(tmp_path / "run/last.pt")["precision"] == "float32"
    origin = json.loads((tmp_path / "run/environment.json").read_text())["weights"]
    assert origin["file"] == options["weights"]
    assert len(origin["sha256"]) == 64


def test_a_second_interrupt_ends_at_once(tmp_path, data):
    def interrupt_twice(done):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", data, tiny(), reporter=Notes(interrupt_twice))
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_run_of_an_earlier_version_says_that_its_color_changes_are_drawn_differently(tmp_path, data):
    """Format 3 is that of commit 23e24aa, in which augmentations shared one random stream."""
    for name, augment in (("gray", actrec.Augment(grayscale=0.5)), ("plain", actrec.Augment())):
        path = tmp_path / name
        run(path, data, tiny(augment=augment, epochs=1))
        saved = torch.load(path / "last.pt", weights_only=True)
        torch.save({**saved, "format": 3}, path / "last.pt")
        _, reporter = run(path, data, tiny(augment=augment, epochs=1), resume=True)
        warned = [line for line in reporter.lines if "drawn differently" in line]
        assert len(warned) == (name == "gray")
