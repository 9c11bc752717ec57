"""Commands that use a trained net: two at once, killed ones, and folders with odd entries."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest
from forked import Forks

from actrec.data import score_file
from actrec.engine import checkpoint

TRAIN = ("--backbone", "resnet3d_10", "--widen", 0.125, "--frames", 5, "--size", 32, "--batch-size", 4, "--epochs", 1)


@pytest.fixture(scope="module")
def forks():
    with Forks(
        "actrec.inference.model", "actrec.inference.embed", "actrec.engine.train", "actrec.pipelines.loader"
    ) as it:
        yield it


def killed_at_random(forks, call, kills, seconds):
    chance = random.Random(0)
    for _ in range(kills):
        wait = chance.uniform(0, seconds)

        def kill(pids, wait=wait):
            time.sleep(wait)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)

        (ended,) = forks.run(call, meanwhile=kill)
        assert ended.code in (0, -signal.SIGKILL), ended


def test_two_trainings_of_one_run(forks, here):
    for i in range(2):
        run_dir = here / "runs" / str(i)
        call = ("train", "--data", here, "--run", run_dir, "--device", "cpu", *TRAIN)
        ended = forks.run(call, call)
        assert sorted(one.code for one in ended) == [0, 1], ended
        (loser,) = (one for one in ended if one.code)
        reasons = ("is in use: another process is training in it", "contains a run already")  # it may start that late
        assert any(reason in loser.output.splitlines()[-1] for reason in reasons), loser
        checkpoint.load(run_dir / "last.pt")
        (winner,) = (one for one in ended if not one.code)
        assert "1 epoch, best top-1" in winner.output
        assert not list(run_dir.glob(".actrec-*"))


def test_two_evaluations_of_one_run(forks, here):
    out = here / "scores.npz"
    call = ("evaluate", "--data", here, "--run", here / "runs" / "tiny", "--device", "cpu", "--out", out)
    forks.run(call)
    right = score_file.read(out)
    for _ in range(2):
        out.unlink()
        ended = forks.run(call, call)
        assert [one.code for one in ended] == [0, 0], ended
        found = score_file.read(out)
        assert np.array_equal(found.scores, right.scores)
        assert found.ids == right.ids
        assert not list(here.rglob(".actrec-*"))


def test_two_evaluations_with_other_options_and_one_file(forks, here):
    out = here / "scores.npz"
    call = ("evaluate", "--data", here, "--run", here / "runs" / "tiny", "--device", "cpu", "--out", out)
    for _ in range(2):
        ended = forks.run(call, (*call, "--clips", 2))
        assert sorted(one.code for one in ended) == [0, 1], ended
        (loser,) = (one for one in ended if one.code)
        assert "exists and contains other scores (clips " in loser.output.splitlines()[-1]
        assert score_file.read(out).made_from["clips"] == (1 if ended[0].code == 0 else 2)
        assert not list(here.rglob(".actrec-*"))
        out.unlink()


def test_two_embeddings_to_one_file(forks, here):
    options = ("--run", here / "runs" / "tiny", "--device", "cpu")
    forks.run(("embed", here / "train.txt", "--out", here / "right.npz", *options))
    for i in range(2):
        call = ("embed", here / "train.txt", "--out", here / f"{i}.npz", *options)
        ended = forks.run(call, call)
        assert any(one.code == 0 for one in ended), ended
        for one in ended:
            assert one.code == 0 or "is in use: another `actrec embed` is writing to it" in one.output.splitlines()[-1]
        assert_equal(here / f"{i}.npz", here / "right.npz")
        assert not list(here.glob("*.parts"))
        assert not list(here.glob(".actrec-*"))


def assert_equal(one, other):
    with np.load(one) as found, np.load(other) as expected:
        for name in ("ids", "frames", "features", "labels"):
            assert np.array_equal(found[name], expected[name])


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", ["embed", "evaluate", pytest.param("export", marks=pytest.mark.slow)])
def test_the_same_command_continues_after_kills(forks, here, command, kills):
    options = ("--run", here / "runs" / "tiny", "--device", "cpu")
    arguments = {
        "embed": ("embed", here / "train.txt", *options, "--out"),
        "evaluate": ("evaluate", "--data", here, *options, "--out"),
        "export": ("export", "--run", here / "runs" / "tiny", "--out"),
    }[command]
    if command == "export":
        pytest.importorskip("onnx")
    suffix = ".onnx" if command == "export" else ".npz"
    begun = time.monotonic()
    (ended,) = forks.run((*arguments, here / f"right{suffix}"))
    assert ended.code == 0, ended
    killed_at_random(forks, (*arguments, here / f"out{suffix}"), kills, time.monotonic() - begun)
    (ended,) = forks.run((*arguments, here / f"out{suffix}"))
    if command == "export" and ended.code:
        (ended,) = forks.run((*arguments, here / f"out{suffix}", "--force"))
    assert ended.code == 0, ended
    assert not list(here.rglob(".actrec-*"))
    assert not list(here.glob("*.parts"))
    if command == "embed":
        assert_equal(here / "out.npz", here / "right.npz")
    elif command == "evaluate":
        assert np.array_equal(score_file.read(here / "out.npz").scores, score_file.read(here / "right.npz").scores)


def test_too_few_descriptors_end_the_run_and_no_video_counts_as_unusable(forks, here):
    options = ("--run", here / "runs" / "tiny", "--device", "cpu", "--workers", 8)
    modules = ("actrec.inference.model", "actrec.engine.train", "actrec.pipelines.loader")
    codes = set()
    for limit in (7, 11):
        with Forks(*modules, limits={"RLIMIT_NOFILE": limit}) as few:
            for number, call in enumerate(
                [
                    ("predict", here / "frames", *options),
                    ("evaluate", "--data", here, *options, "--out", here / f"{limit}.npz"),
                    ("index", here / "train.txt", "--verify"),
                ]
            ):
                (here / "train.txt.index.npy").unlink(missing_ok=True)
                (ended,) = few.run(call)
                codes.add((number, ended.code))
                if ended.code:
                    assert "Error: " in ended.output.splitlines()[-1], ended
                    assert "Too many open files" in ended.output.splitlines()[-1]
                    assert not any(word in ended.output for word in ("not predicted", "missing:", "broken"))
    assert codes >= {(0, 1), (1, 1), (2, 1)}


def test_folders_with_links_that_lead_nowhere_or_in_circles(run, here):
    folder = here / "many"
    for n in range(3):
        shutil.copytree(here / "frames" / f"val{n}", folder / "a" / str(n))
    shutil.copytree(here / "frames" / "val3", here / "outside" / "3")
    os.symlink("..", folder / "a" / "parent")
    os.symlink(here / "outside", folder / "a" / "outside")
    os.symlink("nowhere", folder / "a" / "dangling.mp4")
    os.symlink("loop.mp4", folder / "a" / "loop.mp4")
    os.symlink("loop", folder / "loop")
    names = {"a/0", "a/1", "a/2", "a/outside/3"}
    broken = {"a/dangling.mp4", "a/loop.mp4", "loop"}
    code, _, err = run("embed", folder, "--out", "f.npz")
    assert code == 1
    with np.load("f.npz") as found:
        assert {os.path.relpath(name, folder) for name in found["ids"]} == names
    assert all(any(name in line for line in err) for name in broken)
    code, _, err = run("predict", folder, "--json", "p.json")
    assert code == 1
    said = json.loads((here / "p.json").read_text())
    assert all(name in json.dumps(said) for name in names)
    assert all(any(name in line for line in err) for name in broken)
