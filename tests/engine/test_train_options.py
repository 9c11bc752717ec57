"""Options of training do what they say."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from engine.helpers import recipe, run, same, tiny, weights

import actrec
from actrec import config
from actrec.data.index import build_index
from actrec.engine import checkpoint, runlog
from actrec.engine.optim import BETTER


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


def test_bfloat16_and_contiguous_train(tmp_path, data):
    made = replace(recipe(epochs=1), run=config.Run(device="cpu", precision="bfloat16", channels_last=False))
    run(tmp_path / "run", data, made)
    assert runlog.read(tmp_path / "run")[0]["train_loss"] > 0


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
    """A step with three clips of four is a step of three."""
    shutil.copytree(data.train[3].path, tmp_path / "torn")
    for path in sorted((tmp_path / "torn").iterdir())[1:]:  # the index looks at the first image only
        path.write_bytes(path.read_bytes()[:-200])
    torn = actrec.Video("torn", str(tmp_path / "torn"), None, None, (0,))
    made = replace(
        tiny(freeze_norm="all"), augment=actrec.Augment(geometry="center", flip=False, clip_position="center")
    )
    run(tmp_path / "three", replace(data, train=data.train[:3], train_index=build_index(data.train[:3])),
        replace(made, loader=config.Loader(batch_size=3)))  # fmt: skip
    four = [*data.train[:3], torn]
    trained, _ = run(tmp_path / "four", replace(data, train=four, train_index=build_index(four)), made)
    assert list(trained.skipped) == ["torn"]
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
    started = actrec.net("resnet3d_10", num_classes=2, widen=0.125, dropout=0.0).state_dict()
    ended = weights(tmp_path / "run/last.pt")
    kept = {name for name, value in started.items() if torch.equal(value.double(), ended[name].double())}
    assert {name for name in started if name.startswith(("conv1", "bn1", "layer1", "layer2"))} <= kept
    assert (
        not {name for name in started if name.endswith("conv1.weight") and name.startswith(("layer3", "layer4"))} & kept
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


def test_mixing_changes_a_run(tmp_path, data):
    losses = []
    for name, augment in (("plain", {}), ("mixup", {"mixup": 0.4}), ("cutmix", {"cutmix": 1.0})):
        run(tmp_path / name, data, tiny(augment=actrec.Augment(**augment)))
        losses.append(runlog.read(tmp_path / name)[0]["train_loss"])
    assert len(set(losses)) == 3
    made = replace(tiny(augment=actrec.Augment(mixup=0.4)), loader=config.Loader(batch_size=6, repeats=2))
    with pytest.raises(ValueError, match="mixup with repeats 2 and batches of 6 clips: expected a multiple of 4"):
        run(tmp_path / "both", data, made)


def test_plateau_watches_validation_only(tmp_path, data):
    """Not the training losses of the epochs between."""
    made = tiny(schedule="plateau", patience=0, gamma=0.5, epochs=6, run_options={"val_every": 3})
    run(tmp_path / "run", data, made)
    rows = runlog.read(tmp_path / "run")
    val_losses = [row["val_loss"] for row in rows if "val_loss" in row]
    assert [row["lr"] for row in rows] == [0.01] * 6  # the second validation changes it after the last epoch at most
    schedule = checkpoint.load(tmp_path / "run/last.pt")["schedule"]
    improved = val_losses[1] < val_losses[0] * (1 - BETTER)
    assert schedule["best"] == pytest.approx(min(val_losses) if improved else val_losses[0])
    assert schedule["plateau"] == (1.0 if improved else 0.5)
    assert schedule["epochs"] == 6


def test_synchronized_norms_outlive_a_batch_of_nothing(tmp_path, data):
    gone = [actrec.Video(f"gone{i}", str(tmp_path / f"gone{i}"), None, None, (0,)) for i in range(8)]
    train = [*data.train[:4], *gone]
    made = replace(tiny(run_options={"sync_bn": True}), loader=config.Loader(batch_size=1))
    trained, _ = run(tmp_path / "run", replace(data, train=train, train_index=build_index(train)), made)
    assert len(trained.skipped) == 8
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run/last.pt").values())
