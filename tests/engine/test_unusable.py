"""Videos that cannot be used leave the draw, the same in a run that is stopped and continued."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine.data_of import data_of
from engine.helpers import Notes, break_images, recipe, run, same, tiny, weights

import actrec
from actrec import config
from actrec.data.index import build_index
from actrec.engine import checkpoint, runfolder, runlog
from actrec.engine.failures import skipped_lines
from actrec.engine.optim import Schedule


@pytest.fixture
def broken(dataset, tmp_path) -> Path:
    """The dataset folder with one training video that is missing, and two with images that cannot be decoded."""
    shutil.copytree(dataset, tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken/frames/train3")
    for name in ("train6", "train7"):
        break_images(tmp_path / f"broken/frames/{name}")
    return tmp_path / "broken"


class _Killed(Exception):
    pass


def kill_at(step):
    def kill(done):
        if done == step:
            raise _Killed

    return Notes(kill)


def stop_at(step):
    import os
    import signal

    return Notes(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == step else None)


OPTIONS = {
    "plain": config.Loader(batch_size=2),
    "repeats": config.Loader(batch_size=4, repeats=2, keep_last=True),
    "balanced": config.Loader(batch_size=2, balanced=True),
}


def made(name: str, workers: int = 2, **run_options) -> config.Recipe:
    whole = recipe(epochs=3, per_step=True, freeze_norm="all")  # the rate depends on the place in the epoch
    loader = replace(OPTIONS[name], workers=workers)
    return replace(whole, loader=loader, run=config.Run(device="cpu", tensorboard=False, log_every=1, **run_options))


@pytest.mark.parametrize("name", OPTIONS)
def test_stopped_or_killed_and_continued_is_the_same_run(tmp_path, broken, name):
    """12 rows: 11 are drawn in the first epoch and 2 of them fail, 9 in the others."""
    trained, reporter = run(tmp_path / "whole", data_of(broken), made(name))
    assert (trained.num_videos, trained.num_skipped) == (12, 3)
    assert sorted(trained.skipped) == ["frames/train3", "frames/train6", "frames/train7"]
    assert reporter.lines.count("training list after epoch 1: 12 videos, 3 skipped, 2 of them new:") == 1
    for video, reason in runfolder.read_skipped(tmp_path / "whole").items():
        assert not reason.startswith(str(broken / video) + ": ")
    saved = checkpoint.load(tmp_path / "whole/last.pt")
    assert saved["loader"] == {"epoch": 3, "step": 0, "left_out": [3, 6, 7]}
    steps = {"plain": [5, 4, 4], "repeats": [6, 5, 5], "balanced": [5, 4, 4]}[name]
    rows = runlog.read(tmp_path / "whole", runlog.STEPS)
    assert [sum(row["epoch"] == epoch for row in rows) for epoch in range(3)] == steps
    skipped = [row["skipped"] for row in runlog.read(tmp_path / "whole")]
    assert skipped[1:] == [0, 0]
    assert skipped[0] in {"plain": {1, 2}, "repeats": {4}, "balanced": {1, 2, 3, 4}}[name]  # the last batch is dropped
    others = [(stop_at, steps[0], 3), (kill_at, 4, 1)] if name == "plain" else []
    for how, step, number in ((stop_at, 2, 1), (kill_at, steps[0] + 2, 3), *others):  # other workers
        path = tmp_path / f"{how.__name__}_{step}"
        options = made(name, workers=number, checkpoint_every="1")
        if how is stop_at:
            run(path, data_of(broken), options, reporter=stop_at(step))
        else:
            with pytest.raises(_Killed):
                run(path, data_of(broken), options, reporter=kill_at(step))
        trained, _ = run(path, data_of(broken), options, resume=True)
        assert (trained.num_videos, trained.num_skipped) == (12, 3)
        other = checkpoint.load(path / "last.pt")
        assert same(other["state_dict"], saved["state_dict"])
        assert {**other, "config": 0, "state_dict": 0, "optimizer": 0} == {
            **saved, "config": 0, "state_dict": 0, "optimizer": 0}  # fmt: skip
        assert runlog.read(path, runlog.STEPS) == rows
        assert runfolder.read_skipped(path) == runfolder.read_skipped(tmp_path / "whole")


def test_a_list_that_is_probed_when_its_rows_are_drawn(tmp_path, broken):
    """Nothing is known at the start; after the first epoch the same rows are left out."""
    data = data_of(broken)
    lazy = replace(data, train_index=build_index(data.train, lazy=True))
    trained, _ = run(tmp_path / "run", lazy, replace(made("plain"), loader=config.Loader(batch_size=2, keep_last=True)))
    assert trained.num_skipped == 3
    assert [row["skipped"] for row in runlog.read(tmp_path / "run")] == [3, 0, 0]
    assert checkpoint.load(tmp_path / "run/last.pt")["loader"]["left_out"] == [3, 6, 7]


def test_a_file_that_is_back_or_lost_when_the_run_continues(tmp_path, broken, dataset):
    """The run continues with the rows that it knows; files that are back are not drawn again."""
    run(tmp_path / "whole", data_of(broken), made("plain"))
    run(tmp_path / "run", data_of(broken), made("plain"), reporter=stop_at(7))
    shutil.copytree(dataset / "frames/train3", broken / "frames/train3")  # back
    _, reporter = run(tmp_path / "run", data_of(broken), made("plain"), resume=True)
    assert "leaves out 3 videos that could not be used before: skipped.csv has the reasons" in reporter.lines[0]
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))
    run(tmp_path / "lost", data_of(broken), made("plain"), reporter=stop_at(1))
    shutil.rmtree(broken / "frames/train9")  # lost
    trained, _ = run(tmp_path / "lost", data_of(broken), made("plain"), resume=True)
    assert sorted(trained.skipped) == ["frames/train6", "frames/train7", "frames/train9"]


def test_too_little_is_left(tmp_path, dataset):
    """Errors name what is lost, leave no run folder, and come before what a save would make permanent."""
    folder = shutil.copytree(dataset, tmp_path / "data")
    for number in range(1, 12, 2):
        break_images(folder / f"frames/train{number}")
    lost = r"none of the 6 training videos of the class 'bright' can be used; the first: .*train1/.*not an image"
    with pytest.raises(ValueError, match=lost):
        run(tmp_path / "run", data_of(folder), made("plain"))
    assert not runfolder.has_checkpoint(tmp_path / "run")
    for number in range(1, 12, 2):
        shutil.rmtree(folder / f"frames/train{number}")
    with pytest.raises(
        ValueError, match="none of the 6 training videos of the class 'bright' can be used; the first: "
    ):
        run(tmp_path / "other", data_of(folder), made("plain"))
    assert not (tmp_path / "other").exists()
    shutil.copytree(dataset / "frames/train1", folder / "frames/train1")
    with pytest.raises(ValueError, match="batch_size 8 with 7 usable of 12 videos: expected at most 7; set batch_size"):
        run(tmp_path / "other", data_of(folder), replace(made("plain"), loader=config.Loader(batch_size=8)))
    assert not (tmp_path / "other").exists()


def test_an_outage_can_be_repaired(tmp_path, dataset):
    """All videos of a class fail within an epoch: the run ends without a save, and continues when they are back."""
    folder = shutil.copytree(dataset, tmp_path / "data")
    run(tmp_path / "whole", data_of(folder), made("plain"))

    bright = [folder / f"frames/train{number}" for number in range(1, 12, 2)]

    class Unplug(Notes):
        def epoch(self, epoch, epochs, steps, done):
            for path in bright if epoch == 1 else ():
                path.rename(tmp_path / path.name)

    with pytest.raises(ValueError, match="none of the 6 training videos of the class 'bright' can be used"):
        run(tmp_path / "run", data_of(folder), made("plain"), reporter=Unplug())
    for path in bright:
        (tmp_path / path.name).rename(path)
    trained, _ = run(tmp_path / "run", data_of(folder), made("plain"), resume=True)
    assert trained.num_skipped == 0
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_a_checkpoint_of_an_earlier_version_continues_in_its_order(tmp_path, broken):
    """It drew all rows: the rest of its epoch does, and the next epochs leave out what failed."""
    run(tmp_path / "run", data_of(broken), made("plain"), reporter=stop_at(2))
    saved = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert saved["loader"]["left_out"] == [3]
    saved["loader"] = {"epoch": 0, "step": 3}
    del saved["schedule"]["done"], saved["progress"]["planned"]
    torch.save(saved, tmp_path / "run/last.pt")
    described = json.loads((tmp_path / "run/data.json").read_text())
    del described["train"]["unusable"]
    (tmp_path / "run/data.json").write_text(json.dumps(described))
    trained, _ = run(tmp_path / "run", data_of(broken), made("plain"), resume=True)
    assert 2 <= trained.num_skipped <= 3
    rows = runlog.read(tmp_path / "run", runlog.STEPS)
    assert [sum(row["epoch"] == epoch for row in rows) for epoch in range(3)] == [6, 5, 5]


def test_the_rate_follows_the_fraction_of_an_epoch():
    """Epochs of 4, 2 and 2 steps: each epoch ends at the same rate as if all had 4 steps."""

    def rates(steps):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = Schedule(optimizer, config.Optim(epochs=3, lr=1.0, per_step=True, warmup=1.5), steps[0])
        found = []
        for number in steps:
            schedule.begin_epoch(number)
            for _ in range(number):
                found.append(optimizer.param_groups[0]["lr"])
                schedule.step()
            schedule.end_epoch(None)
        return found

    whole, shorter = rates([4, 4, 4]), rates([4, 2, 2])
    assert shorter == [*whole[:4], whole[4], whole[6], whole[8], whole[10]]


def test_ten_are_named():
    missing = [(f"gone{i}", "no such file") for i in range(30)]
    lines = skipped_lines("train.txt", 34, missing)
    assert lines[0] == "train.txt: 34 videos, 30 skipped:"
    assert lines[1:11] == [f"  gone{i}: no such file" for i in range(10)]
    assert lines[11:] == ["  and 20 more"]
    assert skipped_lines("x", 34, missing, named=0) == ["x: 34 videos, 30 skipped"]
    assert skipped_lines("x", 4, missing[:1] * 3) == ["x: 4 videos, 3 skipped:", "  gone0: no such file"]


def test_full_batches_of_what_is_there(tmp_path, dataset):
    """28 of 32 rows are missing: the batches of 2 are full, in every epoch."""
    there = actrec.read_list(dataset / "train.txt")[:4]
    gone = [actrec.Video(f"gone{i}", str(tmp_path / f"gone{i}"), None, None, (i % 2,)) for i in range(28)]
    videos = [*gone[:10], *there[:2], *gone[10:], *there[2:]]
    loader = actrec.train_loader(
        videos, actrec.Clip(frames=2), config.Input((0.5,) * 3, (0.5,) * 3, 2, 16), batch_size=2
    )
    assert len(loader) == 2
    for _ in range(3):
        batches = [batch.videos for batch in loader]
        assert [len(batch) for batch in batches] == [2, 2]
        assert sorted(sum(batches, [])) == [f"frames/train{i}" for i in range(4)]
    assert len(loader.skipped) == 28


def test_one_process_tells_the_other(tmp_path, dataset, groups):
    """Each process decodes half of every batch. In the next epoch both leave out what either has found."""
    folder = shutil.copytree(dataset, tmp_path / "data")
    for number in (2, 5, 8):
        break_images(folder / f"frames/train{number}")
    shutil.rmtree(folder / "frames/train4")
    arguments = [
        *("train", "--data", folder, "--backbone", "resnet3d_10", "--widen", "0.0625", "--dropout", "0", "--sync-bn"),
        *("--frames", "8", "--size", "48", "--stem-stride-t", "2", "--precision", "float64", "--lr", "0.001"),
        *("--batch-size", "2", "--keep-last", "--epochs", "3", "--log-every", "1", "--no-tensorboard"),
    ]  # fmt: skip
    for n in (1, 2):
        ended = groups.run(n, *arguments, "--run", tmp_path / f"{n}")
        assert [process.returncode for process in ended] == [0] * n, ended
        assert "training list: 12 videos, 4 skipped" in ended[0].stderr
    saved = [checkpoint.load(tmp_path / f"{n}/last.pt") for n in (1, 2)]
    assert [each["loader"]["left_out"] for each in saved] == [[2, 4, 5, 8]] * 2
    assert [checkpoint.epochs_of(each) for each in saved] == [(3, 3)] * 2
    losses = [[row["loss"] for row in runlog.read(tmp_path / f"{n}", runlog.STEPS)] for n in (1, 2)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-8)
    ended = groups.run(2, *arguments, "--run", tmp_path / "stopped", stop_after=3)
    assert [process.returncode for process in ended] == [130, 130]
    ended = groups.run(2, "train", "--resume", "--run", tmp_path / "stopped")  # the run knows the other options
    assert [process.returncode for process in ended] == [0, 0], ended
    assert [row["loss"] for row in runlog.read(tmp_path / "stopped", runlog.STEPS)] == losses[1]
    assert same(weights(tmp_path / "stopped/last.pt"), saved[1]["state_dict"])


def test_an_epoch_of_several_steps_per_update_and_nothing_broken_is_as_before(tmp_path, data):
    """Without unusable rows, the state of the loader has no rows, and nothing is listed."""
    trained, _ = run(tmp_path / "run", data, tiny(epochs=1, accumulate=2))
    assert trained.num_skipped == 0
    assert checkpoint.load(tmp_path / "run/last.pt")["loader"] == {"epoch": 1, "step": 0}
    assert not (tmp_path / "run/skipped.csv").exists()


def test_surprises_are_told_once(tmp_path, dataset):
    data, seen = data_of(dataset), []

    def surprise(step):
        if step in (1, 4):
            seen.append(f"{step}.mp4")
            data.train_index.surprises[seen[-1]] = "the picture with the timestamp 512 is damaged"

    _, reporter = run(tmp_path / "run", data, recipe(epochs=3), reporter=Notes(surprise))
    told = [line for line in reporter.lines if "will be decoded from the start" in line]
    assert [line.partition("; the first: ")[2].partition(":")[0] for line in told] == ["1.mp4", "4.mp4"]
    assert all(line.startswith("1 video will be decoded from the start") for line in told)
