from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
from torch import distributed

import actrec
from actrec import config
from actrec.config import Input, Recipe
from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.engine import checkpoint, devices, dist, runfolder, runlog
from actrec.engine import train as engine
from actrec.engine.preview import contact_sheet
from actrec.engine.runfolder import Data
from actrec.engine.state import TimeLeft

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=5, size=32)


class Notes:
    """A reporter that remembers what it was told, and may do something at a step."""

    def __init__(self, at_step=None):
        self.lines, self.rates, self.steps, self._at_step = [], [], 0, at_step

    def line(self, text):
        self.lines.append(text)

    def epoch(self, epoch, epochs, steps, done):
        pass

    def validation(self, videos, done):
        assert 0 <= done <= videos

    def step(self, **shown):
        self.steps += 1
        assert 0 <= shown["waiting"] <= 1
        self.rates.append(shown["clips_per_second"])
        if self._at_step:
            self._at_step(self.steps)

    def close(self):
        pass


def recipe(**optim) -> Recipe:
    return Recipe(
        config.Net(backbone="resnet3d_10", widen=0.125, dropout=0.2),
        config.Clip(frames=5),
        actrec.Augment(),
        config.Loader(batch_size=4),
        config.Optim(**{"epochs": 3, "lr": 0.01, **optim}),
        config.Loss(),
        config.Run(device="cpu"),
    )


@pytest.fixture
def data(dataset) -> Data:
    train, val = read_list(dataset / "train.txt"), read_list(dataset / "val.txt")
    return Data(train, build_index(train), val, build_index(val), ["dark", "bright"])


def run(path, data, made=None, **options):
    reporter = options.pop("reporter", Notes())
    trained = engine.train(made or recipe(), data, path, reporter=reporter, net_input=INPUT, **options)
    return trained, reporter


def weights(path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)["state_dict"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_and_its_folder(tmp_path, data):
    trained, reporter = run(tmp_path / "run", data)
    assert (trained.epochs, trained.interrupted, trained.skipped) == (3, False, {})
    assert reporter.steps == 9
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.json", "environment.json", "data.json", "log.jsonl", "steps.jsonl", "tensorboard", "last.pt",
        "previous.pt", "best.pt",
    }  # fmt: skip
    rows = runlog.read(tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert trained.best == max(row["val_top1"] for row in rows)
    assert json.loads((tmp_path / "run/config.json").read_text())["net"]["backbone"] == "resnet3d_10"
    assert json.loads((tmp_path / "run/data.json").read_text())["train"]["videos"] == 12
    saved = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert saved["classes"] == ["dark", "bright"]
    assert saved["loader"] == {"epoch": 3, "step": 0}


def test_it_learns_and_the_checkpoint_scores_alike(tmp_path, data):
    made = replace(recipe(epochs=12, optimizer="adamw", lr=0.001), run=config.Run(device="cpu", precision="float32"))
    trained, _ = run(tmp_path / "run", data, made)
    assert trained.best == 100
    net = checkpoint.build_net(checkpoint.load(tmp_path / "run/best.pt"))
    assert net.input == INPUT
    result = actrec.evaluate(net, actrec.eval_loader(data.val, actrec.Clip(), net.input, index=data.val_index))
    assert result.top1 == 100


def test_the_same_seed_gives_the_same_weights(tmp_path, data):
    for name in ("a", "b"):
        run(tmp_path / name, data)
    assert same(weights(tmp_path / "a/last.pt"), weights(tmp_path / "b/last.pt"))
    made = replace(recipe(), run=config.Run(device="cpu", seed=1))
    run(tmp_path / "c", data, made)
    assert not same(weights(tmp_path / "a/last.pt"), weights(tmp_path / "c/last.pt"))


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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, dataset):
    train, val = read_list(dataset / "train.txt"), read_list(dataset / "val.txt")
    path = tmp_path_factory.mktemp("whole") / "run"
    run(path, Data(train, build_index(train), val, build_index(val), ["dark", "bright"]))
    return path


def test_resume_without_a_checkpoint_begins(tmp_path, data):
    _, reporter = run(tmp_path / "run", data, recipe(epochs=1), resume=True)
    assert reporter.lines[0].endswith("has no checkpoint to continue from: beginning a new run")


def test_a_folder_with_a_run_is_not_overwritten(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    before = (tmp_path / "run/last.pt").read_bytes()
    with pytest.raises(ValueError, match="holds a run already: --resume continues it"):
        run(tmp_path / "run", data, recipe(epochs=1))
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_resume_refuses_other_options(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    with pytest.raises(ValueError, match=r"was begun with lr 0.01 \(now 0.02\): expected the same options"):
        run(tmp_path / "run", data, recipe(epochs=1, lr=0.02), resume=True)


def test_resume_refuses_other_data(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    fewer = replace(data, train=data.train[:8], train_index=build_index(data.train[:8]))
    with pytest.raises(ValueError, match=r"was begun with other data \(train\): expected the same lists"):
        run(tmp_path / "run", fewer, recipe(epochs=1), resume=True)
    with pytest.raises(ValueError, match=r"was begun with other data \(flip_map\)"):
        run(tmp_path / "run", replace(data, flip_map=(1, 0)), recipe(epochs=1), resume=True)


def test_a_finished_run_says_so(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    before = (tmp_path / "run/last.pt").read_bytes()
    trained, reporter = run(tmp_path / "run", data, recipe(epochs=1), resume=True)
    assert reporter.lines == [f"{tmp_path / 'run'} is finished: 1 epochs are done"]
    assert (trained.epochs, trained.interrupted) == (1, False)
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_a_torn_checkpoint_is_told_and_the_one_before_taken(tmp_path, data, uninterrupted):
    run(tmp_path / "run", data)
    whole = (tmp_path / "run/last.pt").read_bytes()
    (tmp_path / "run/last.pt").write_bytes(whole[: len(whole) // 2])
    _, reporter = run(tmp_path / "run", data, resume=True)
    torn = "last.pt: not a checkpoint that torch can read, or a torn one"
    assert reporter.lines[0].endswith(f"{torn}; going on from previous.pt")
    assert reporter.lines[0].startswith("WARNING")
    assert reporter.lines[1].endswith("at epoch 3, its validation")
    assert same(weights(tmp_path / "run/last.pt"), weights(uninterrupted / "last.pt"))
    shutil.copy(tmp_path / "run/previous.pt", tmp_path / "run/best.pt")  # unfinished, whichever epoch was the best
    for name in ("last.pt", "previous.pt"):
        (tmp_path / "run" / name).write_bytes(whole[:1000])
    _, reporter = run(tmp_path / "run", data, resume=True)
    assert reporter.lines[0].endswith(f"{torn}; going on from best.pt")
    assert same(weights(tmp_path / "run/last.pt"), weights(uninterrupted / "last.pt"))
    for name in ("last.pt", "previous.pt", "best.pt"):
        (tmp_path / "run" / name).write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=torn):
        run(tmp_path / "run", data, resume=True)


def test_a_checkpoint_that_cannot_be_read_is_not_torn(tmp_path, data, monkeypatch):
    run(tmp_path, data, recipe(epochs=1))

    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error", str(tmp_path / "last.pt"))

    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(OSError, match="Input/output error"):
        run(tmp_path, data, recipe(epochs=1), resume=True)
    assert (tmp_path / "last.pt").exists()
    assert not (tmp_path / "last.pt.torn").exists()


def test_a_checkpoint_of_another_form(tmp_path, data):
    torch.save({"format": 2}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match="last.pt: a checkpoint in form 2, this actrec reads form 3; its weights"):
        run(tmp_path, data, resume=True)


def test_a_run_without_validation_that_ended_before_its_first_last_checkpoint(tmp_path, data, monkeypatch):
    alone, save = replace(data, val=None, val_index=None), runfolder.save

    def full(run_dir, name, snapshot):
        if name == "last.pt":
            raise OSError("the disk is full")
        save(run_dir, name, snapshot)

    monkeypatch.setattr(runfolder, "save", full)
    with pytest.raises(OSError, match="full"):
        run(tmp_path / "run", alone)
    monkeypatch.undo()
    _, reporter = run(tmp_path / "run", alone, resume=True)
    assert reporter.lines[0].endswith("last.pt: it is gone; going on from best.pt")
    run(tmp_path / "whole", alone)
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_the_next_attempt_of_torchrun_continues_only_what_one_before_began(tmp_path, data, monkeypatch):
    run(tmp_path, data, recipe(epochs=1))
    monkeypatch.setattr(dist, "_torchruns", distributed.HashStore())
    for attempt in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        with pytest.raises(ValueError, match="holds a run already"):
            run(tmp_path, data, recipe(epochs=1))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    run(tmp_path, data, recipe(epochs=1), resume=True)
    with pytest.raises(ValueError, match="holds a run already"):
        run(tmp_path, data, recipe(epochs=1))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "is finished" in run(tmp_path, data, recipe(epochs=1))[1].lines[0]


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, data, monkeypatch):
    run(tmp_path / "run", data, recipe(epochs=1))
    before = (tmp_path / "run/last.pt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path / "run/last.pt", {"state_dict": {}})
    assert (tmp_path / "run/last.pt").read_bytes() == before
    assert not [path for path in (tmp_path / "run").iterdir() if "tmp" in path.name]


def test_plateau_run(tmp_path, data):
    run(tmp_path / "run", data, recipe(schedule="plateau", patience=0, epochs=2))
    run(tmp_path / "stopped", data, recipe(schedule="plateau", patience=0, epochs=2), reporter=Notes(
        lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 3 else None))  # fmt: skip
    run(tmp_path / "stopped", data, recipe(schedule="plateau", patience=0, epochs=2), resume=True)
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "stopped/last.pt"))


def test_clipping_and_nesterov_change_the_run(tmp_path, data):
    run(tmp_path / "plain", data, recipe(epochs=1))
    run(tmp_path / "clipped", data, recipe(epochs=1, clip_gradient=0.01))
    run(tmp_path / "nesterov", data, recipe(epochs=1, nesterov=True))
    found = [weights(tmp_path / name / "last.pt") for name in ("plain", "clipped", "nesterov")]
    assert not any(same(found[i], found[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_validation_takes_the_crop_that_is_asked_for(tmp_path, data):
    made = replace(recipe(epochs=1), run=config.Run(device="cpu", precision="float32", crop_ratio=0.5))
    run(tmp_path, data, made)
    (row,) = runlog.read(tmp_path)
    saved = checkpoint.load(tmp_path / "best.pt")
    assert saved["crop_ratio"] == 0.5
    net, losses = checkpoint.build_net(saved), {}
    for ratio in (0.5, 0.875):
        views = actrec.Views(crop_ratio=ratio)
        loader = actrec.eval_loader(data.val, actrec.Clip(), net.input, views=views, index=data.val_index)
        losses[ratio] = actrec.evaluate(net, loader).loss
    assert row["val_loss"] == pytest.approx(losses[0.5], rel=1e-5)
    assert row["val_loss"] != pytest.approx(losses[0.875], rel=1e-5)
    with pytest.raises(ValueError, match="crop_ratio 1.5: expected a number above 0 and up to 1"):
        config.Run(crop_ratio=1.5)


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


def test_without_validation_the_last_is_the_best(tmp_path, data):
    trained, _ = run(tmp_path / "run", replace(data, val=None, val_index=None), recipe(epochs=2))
    assert np.isnan(trained.best)
    assert same(weights(tmp_path / "run/best.pt"), weights(tmp_path / "run/last.pt"))


def test_starting_from_weights(tmp_path, data):
    run(tmp_path / "first", data, recipe(epochs=1))
    first = tmp_path / "first/best.pt"
    run(tmp_path / "second", data, recipe(epochs=1, lr=1e-9), weights=str(first))
    parts = [weights(path)["conv1.weight"] for path in (first, tmp_path / "second/last.pt")]
    assert torch.allclose(*parts, atol=1e-5)
    three = replace(data, classes=["dark", "bright", "other"])
    with pytest.raises(ValueError, match="new-head"):
        run(tmp_path / "third", three, recipe(epochs=1), weights=str(first))
    run(tmp_path / "third", three, recipe(epochs=1), weights=str(first), new_head=True)
    assert weights(tmp_path / "third/last.pt")["fc.weight"].shape == (3, 64)


def test_an_undecodable_video_is_skipped_and_counted(tmp_path, data, dataset):
    missing = actrec.Video("gone", str(tmp_path / "gone"), None, None, (0,))
    train = [*data.train, missing]
    made = replace(recipe(epochs=1), loader=config.Loader(batch_size=13))
    trained, _ = run(tmp_path / "run", replace(data, train=train, train_index=build_index(train)), made)
    assert trained.skipped == {"gone": f"{tmp_path / 'gone'}: no such file or folder"}
    assert runlog.read(tmp_path / "run")[0]["skipped"] == 1


def test_bad_labels(tmp_path, data):
    unlabeled = [data.train[0]._replace(labels=()), *data.train[1:]]
    with pytest.raises(ValueError, match="frames/train0 has no label: training needs one per video"):
        run(tmp_path / "run", replace(data, train=unlabeled))
    high = [data.train[0]._replace(labels=(2,)), *data.train[1:]]
    with pytest.raises(ValueError, match="has label 2: expected at most 1 for 2 classes"):
        run(tmp_path / "run", replace(data, train=high))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_explodes_stops_the_run(tmp_path, data):
    with pytest.raises(ValueError, match="the loss became (nan|inf) in step .*a lower --lr"):
        run(tmp_path / "run", data, recipe(lr=1e30))
    told = json.loads((tmp_path / "run/nan.json").read_text())
    assert len(told["videos"]) == 4
    assert set(told["videos"]) <= {video.id for video in data.train}


def test_precision_and_device():
    able = torch.cpu.get_capabilities()
    fast = able.get("avx512_bf16") or able.get("amx_bf16")
    assert devices.choose_precision("auto", torch.device("cpu")) == ("bfloat16" if fast else "float32")
    assert devices.choose_precision("bfloat16", torch.device("cpu")) == "bfloat16"
    if not torch.cuda.is_available():
        assert devices.choose_device("auto") == "cpu"
        with pytest.raises(ValueError, match="device cuda: torch finds no GPU"):
            devices.choose_device("cuda")


def test_bfloat16_and_contiguous_train(tmp_path, data):
    made = replace(recipe(epochs=1), run=config.Run(device="cpu", precision="bfloat16", channels_last=False))
    run(tmp_path / "run", data, made)
    assert runlog.read(tmp_path / "run")[0]["train_loss"] > 0


@pytest.mark.gpu
def test_a_run_on_a_gpu(tmp_path, data):
    made = replace(recipe(epochs=2), run=config.Run(device="cuda"))
    trained, _ = run(tmp_path / "run", data, made)
    assert trained.epochs == 2


def test_contact_sheet(dataset, data):
    loader = actrec.eval_loader(data.val, actrec.Clip(), INPUT, index=data.val_index, batch_size=4)
    sheet = contact_sheet(next(iter(loader)), INPUT)
    assert sheet.shape == (4 * 32, 5 * 32, 3)
    rows = sheet.reshape(4, 32, -1).mean((1, 2))
    assert rows[0] < 80 < 170 < rows[1]


def test_a_torn_log_row_is_left_out(tmp_path):
    runlog.append(tmp_path, {"epoch": 0})
    with open(tmp_path / runlog.NAME, "a") as file:
        file.write('{"epoch": 1, "lo')
    assert runlog.read(tmp_path) == [{"epoch": 0}]
    runlog.cut(tmp_path, epoch=0, step=0)
    assert runlog.read(tmp_path) == []


TINY = config.Net(backbone="resnet3d_10", widen=0.125, dropout=0.0)


def tiny(*, precision="float64", batch_size=4, augment=None, loss=None, run_options=None, **optim) -> Recipe:
    """A small net without chance, in float64."""
    return Recipe(
        TINY,
        config.Clip(frames=5),
        augment or actrec.Augment(),
        config.Loader(batch_size=batch_size),
        config.Optim(**{"epochs": 1, "lr": 0.01, **optim}),
        loss or config.Loss(),
        config.Run(device="cpu", precision=precision, tensorboard=False, **(run_options or {})),
    )


def test_accumulated_batches_are_one(tmp_path, data):
    """With norms that keep their statistics, two batches of two are one of four."""
    run(tmp_path / "four", data, tiny(freeze_norm="all", epochs=2))
    _, reporter = run(tmp_path / "two", data, tiny(freeze_norm="all", epochs=2, batch_size=2, accumulate=2))
    assert reporter.steps == 6
    one, other = weights(tmp_path / "four/last.pt"), weights(tmp_path / "two/last.pt")
    assert all(torch.allclose(one[k].double(), other[k].double(), atol=1e-12) for k in one)
    run(tmp_path / "five", data, tiny(freeze_norm="all", epochs=1, batch_size=2, accumulate=4))
    assert checkpoint.load(tmp_path / "five/last.pt")["progress"]["steps"] == 2  # six batches: four, and two


def test_a_clip_that_is_missing_weighs_nothing(tmp_path, data):
    """Steps with three clips of four are steps of three."""
    gone = actrec.Video("gone", str(tmp_path / "gone"), None, None, (0,))
    made = replace(
        tiny(freeze_norm="all"), augment=actrec.Augment(geometry="center", flip=False, clip_position="center")
    )
    run(tmp_path / "three", replace(data, train=data.train[:3], train_index=build_index(data.train[:3])),
        replace(made, loader=config.Loader(batch_size=3)))  # fmt: skip
    four = [*data.train[:3], gone]
    trained, _ = run(tmp_path / "four", replace(data, train=four, train_index=build_index(four)), made)
    assert list(trained.skipped) == ["gone"]
    one, other = weights(tmp_path / "three/last.pt"), weights(tmp_path / "four/last.pt")
    assert all(torch.allclose(one[k].double(), other[k].double(), atol=1e-12) for k in one)


def test_an_average_is_what_is_evaluated(tmp_path, data):
    run(tmp_path / "run", data, tiny(ema=0.5, epochs=2))
    run(tmp_path / "plain", data, tiny(epochs=2))
    saved = checkpoint.load(tmp_path / "run/last.pt")
    plain = weights(tmp_path / "plain/last.pt")
    assert same(saved["trained"], plain)
    assert not same(saved["state_dict"], plain)
    net = checkpoint.build_net(checkpoint.load(tmp_path / "run/last.pt"))
    loader = actrec.eval_loader(data.val, actrec.Clip(), net.input, index=data.val_index)
    assert actrec.evaluate(net, loader).loss == pytest.approx(runlog.read(tmp_path / "run")[-1]["val_loss"], abs=1e-5)


def test_float16_scales_its_gradients(tmp_path, data):
    for name, precision in (("run", "float16"), ("exact", "float64")):
        run(tmp_path / name, data, tiny(precision=precision, epochs=2, run_options={"log_every": 1}))
    assert 1 < checkpoint.load(tmp_path / "run/last.pt")["scaler"]["scale"] <= 2**16
    rows, exact = (runlog.read(tmp_path / name, runlog.STEPS) for name in ("run", "exact"))
    assert rows[0]["loss"] == pytest.approx(exact[0]["loss"], rel=0.01)
    assert not same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "exact/last.pt"))


def test_frozen_layers_stay(tmp_path, data):
    run(tmp_path / "run", data, tiny(freeze_until="layer3", epochs=1))
    torch.manual_seed(0)
    begun = actrec.net("resnet3d_10", num_classes=2, widen=0.125, dropout=0.0).state_dict()
    ended = weights(tmp_path / "run/last.pt")
    kept = {name for name, value in begun.items() if torch.equal(value.double(), ended[name].double())}
    assert {name for name in begun if name.startswith(("conv1", "bn1", "layer1", "layer2"))} <= kept
    assert (
        not {name for name in begun if name.endswith("conv1.weight") and name.startswith(("layer3", "layer4"))} & kept
    )


def test_several_labels(tmp_path, data):
    both = [
        video._replace(labels=(0, 1) if i % 3 == 0 else video.labels if i % 3 else ())
        for i, video in enumerate(data.train)
    ]
    several = replace(data, train=both, train_index=build_index(both))
    with pytest.raises(ValueError, match="has 2 labels"):
        run(tmp_path / "run", several, tiny())
    made = tiny(loss=config.Loss(multi_label=True), epochs=2, augment=actrec.Augment(mixup=0.2))
    trained, reporter = run(tmp_path / "run", several, made)
    assert trained.metric == "mAP"
    assert "mAP" in reporter.lines[-1]
    row = runlog.read(tmp_path / "run")[-1]
    assert trained.best >= row["val_map"] > 0
    assert checkpoint.load(tmp_path / "run/best.pt")["multi_label"] is True


def test_mixing_changes_a_run_and_refuses_repeats(tmp_path, data):
    losses = []
    for name, augment in (("plain", {}), ("mixup", {"mixup": 0.4}), ("cutmix", {"cutmix": 1.0})):
        run(tmp_path / name, data, tiny(augment=actrec.Augment(**augment)))
        losses.append(runlog.read(tmp_path / name)[0]["train_loss"])
    assert len(set(losses)) == 3
    made = replace(tiny(augment=actrec.Augment(mixup=0.4)), loader=config.Loader(batch_size=4, repeats=2))
    with pytest.raises(ValueError, match="mixup with repeats 2"):
        run(tmp_path / "both", data, made)


def test_kept_checkpoints_and_rare_validation(tmp_path, data):
    run(tmp_path / "run", data, tiny(epochs=5, run_options={"keep_every": 2, "val_every": 2}))
    assert sorted(path.name for path in (tmp_path / "run").glob("epoch_*.pt")) == ["epoch_002.pt", "epoch_004.pt"]
    assert checkpoint.load(tmp_path / "run/epoch_002.pt")["progress"]["epoch"] == 2
    assert ["val_loss" in row for row in runlog.read(tmp_path / "run")] == [False, True, False, True, True]


def test_saving_within_an_epoch(tmp_path, data):
    seen = []

    def look(done):
        path = tmp_path / "run/last.pt"
        seen.append(checkpoint.load(path)["progress"]["steps"] if path.exists() else 0)

    run(tmp_path / "run", data, tiny(batch_size=2, run_options={"checkpoint_every": "2"}), reporter=Notes(look))
    assert seen == [0, 2, 2, 4, 4, 4]  # the last step's is saved after validation


def test_a_disk_that_is_full_keeps_the_checkpoint_before(tmp_path, data, monkeypatch):
    real = checkpoint.save

    def full(path, content):
        if content["progress"]["epoch"] == 2:
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match=r"best.pt: No space left on device; .* whole: make room, and --resume goes on"):
        run(tmp_path / "run", replace(data, val=None, val_index=None), tiny(epochs=3))
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run/last.pt")["progress"]["epoch"] == 1
    run(tmp_path / "run", replace(data, val=None, val_index=None), tiny(epochs=3), resume=True)
    run(tmp_path / "whole", replace(data, val=None, val_index=None), tiny(epochs=3))
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_a_run_begun_before_an_option_existed_goes_on(tmp_path, data):
    run(tmp_path / "run", data, tiny(epochs=1))
    saved = torch.load(tmp_path / "run/last.pt", weights_only=True)
    del saved["config"]["loss"], saved["config"]["optim"]["warmup"]
    torch.save(saved, tmp_path / "run/last.pt")
    _, reporter = run(tmp_path / "run", data, tiny(epochs=1), resume=True)
    assert "is finished" in reporter.lines[0]
    with pytest.raises(ValueError, match=r"label_smoothing 0.0 \(now 0.1\)"):
        run(tmp_path / "run", data, tiny(epochs=1, loss=config.Loss(label_smoothing=0.1)), resume=True)


def test_a_torn_checkpoint_never_takes_the_place_of_the_one_before(tmp_path, data, monkeypatch):
    """It is put aside: should the next save fail, the one before is still there."""
    run(
        tmp_path / "run",
        data,
        tiny(epochs=2, run_options={"checkpoint_every": "1"}),
        reporter=Notes(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 1 else None),
    )
    (tmp_path / "run/last.pt").write_bytes(b"torn")
    monkeypatch.setattr(checkpoint, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device"):
        run(tmp_path / "run", data, tiny(epochs=2), resume=True)
    monkeypatch.undo()
    run(tmp_path / "run", data, tiny(epochs=2), resume=True)
    run(tmp_path / "whole", data, tiny(epochs=2))
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))
    assert (tmp_path / "run/last.pt.torn").read_bytes() == b"torn"


def test_a_file_that_may_not_grow_is_one_clear_line(tmp_path):
    """torch makes a RuntimeError of what the system said."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="last.pt: File too large$"):
            runfolder.save(tmp_path, "last.pt", {"state_dict": {"a": torch.rand(1_000_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_stop_between_epochs(tmp_path, data):
    """Where an epoch is one step and nothing is validated."""
    alone = replace(data, val=None, val_index=None)
    stop = Notes(lambda done: os.kill(os.getpid(), signal.SIGTERM) if done == 1 else None)
    trained, _ = run(tmp_path / "run", alone, tiny(batch_size=12, epochs=3), reporter=stop)
    assert (trained.epochs, trained.interrupted) == (1, True)
    run(tmp_path / "run", alone, tiny(batch_size=12, epochs=3), resume=True)
    run(tmp_path / "whole", alone, tiny(batch_size=12, epochs=3))
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_one_process_has_a_run_folder(tmp_path, data):
    with runfolder.held(tmp_path / "run"), pytest.raises(ValueError, match="run is in use: another process trains"):
        run(tmp_path / "run", data, tiny())
    assert not (tmp_path / "run").exists()
    run(tmp_path / "run", data, tiny())


def test_plateau_watches_validation_only(tmp_path, data):
    """Not the training losses of the epochs between."""
    made = tiny(schedule="plateau", patience=0, gamma=0.5, epochs=6, run_options={"val_every": 3})
    run(tmp_path / "run", data, made)
    assert [row["lr"] for row in runlog.read(tmp_path / "run")][:3] == [0.01] * 3
    assert checkpoint.load(tmp_path / "run/last.pt")["schedule"]["best"] >= 0


def test_synchronized_norms_outlive_a_batch_of_nothing(tmp_path, data):
    gone = [actrec.Video(f"gone{i}", str(tmp_path / f"gone{i}"), None, None, (0,)) for i in range(8)]
    train = [*data.train[:4], *gone]
    made = replace(tiny(run_options={"sync_bn": True}), loader=config.Loader(batch_size=1))
    trained, _ = run(tmp_path / "run", replace(data, train=train, train_index=build_index(train)), made)
    assert len(trained.skipped) == 8
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run/last.pt").values())


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


def test_tensorboard_keeps_every_point_of_a_resumed_run(tmp_path, data):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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


def test_logs_know_no_nan(tmp_path, data):
    unlabeled = [video._replace(labels=()) for video in data.val]
    run(tmp_path / "run", replace(data, val=unlabeled), tiny(epochs=2))
    text = (tmp_path / "run/log.jsonl").read_text()
    assert "NaN" not in text
    assert runlog.read(tmp_path / "run")[0]["val_loss"] is None
    assert checkpoint.load(tmp_path / "run/best.pt")["progress"]["epoch"] == 2
