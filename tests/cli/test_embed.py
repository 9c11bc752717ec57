"""`actrec embed` and `actrec linear-probe`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from actrec.data.video.encode import VideoWriter


def write_video(path, *, frames=6):
    with VideoWriter(path, width=32, height=24, rate=25) as video:
        for n in range(frames):
            video.write(np.full((24, 32, 3), 10 * n, np.uint8))


def test_features_of_a_list_and_their_probe(run, here):
    (here / "labels.txt").write_text("jump\nrun\n")
    for part in ("train", "val"):
        code, out, _ = run("embed", f"{part}.txt", "--run", "tiny", "--device", "cpu", "--batch-size", 3,
                           "--out", f"{part}.npz", "--json", "said.json")  # fmt: skip
        assert code == 0
    assert out == ["wrote val.npz", "4 videos, 64 features each"]
    said = json.loads((here / "said.json").read_text())
    assert (said["rows"], said["features"], said["layer"], said["missing"]) == (4, 64, "fc", {})
    assert not list(here.glob("*.parts"))
    with np.load("train.npz") as found:
        assert found["ids"].tolist() == [f"frames/train{i}" for i in range(12)]
        assert found["labels"].tolist() == [0, 1] * 6
        assert found["features"].shape == (12, 64)
        assert found["features"].dtype == np.float32
    code, out, _ = run("linear-probe", "train.npz", "val.npz", "--json", "probe.json", "--shots", "1,5,10")
    assert code == 0
    assert out[0] == "top-1 accuracy on 4 videos, trained on 12 videos of 2 classes"
    assert out[1].startswith("linear probe         100.00")
    assert out[5].split(maxsplit=4)[3:] == ["-", "no result: class jump has 6 training videos"]
    rows = json.loads((here / "probe.json").read_text())["rows"]
    assert [row["accuracy"] for row in rows[:4]] == [100] * 4
    assert rows[4]["accuracy"] is None


def test_windows_formats_and_layouts(run, here):
    write_video("a.mp4", frames=12)
    write_video("b.mp4", frames=3)
    every = ("--every", 0.08, "--window", 0.2)
    code, out, _ = run("embed", "a.mp4", "b.mp4", *every, "--out", "w.npy", "--dtype", "float16")
    assert code == 0
    assert out == ["wrote w.npy", "wrote w.json", "6 windows of 2 videos, 64 features each"]
    assert np.load("w.npy").dtype == np.float16
    assert json.loads((here / "w.json").read_text())["ids"] == ["a.mp4"] * 5 + ["b.mp4"]
    code, out, _ = run("embed", "a.mp4", "b.mp4", *every, "--layout", "opentad", "--out", "features")
    assert code == 0
    assert {path.name for path in (here / "features").iterdir()} == {"a.npy", "b.npy", "features.json"}
    code, out, _ = run("embed", "a.mp4", "--layer", "layer1", "--out", "l.safetensors")
    assert code == 0
    assert not list(here.glob("*.parts"))


def test_broken_videos_are_named_and_counted(run, here):
    (here / "bad.mp4").write_bytes(b"not a video")
    code, out, err = run("embed", "val.txt", "bad.mp4", "gone.mp4", "--out", "f.npz")
    assert code == 1
    assert out[-2:] == ["2 videos of 6 cannot be used", "4 videos, 64 features each"]
    assert [line.split(": ")[:2] for line in err if line.startswith("not embedded")] == [
        ["not embedded", "bad.mp4"], ["not embedded", "gone.mp4"],
    ]  # fmt: skip
    with np.load("f.npz") as found:
        assert len(found["ids"]) == 4


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_features_of_something_else_are_replaced_only_with_force(run, here, suffix):
    out = here / f"f{suffix}"
    assert run("embed", "val.txt", "--out", out)[0] == 0
    shutil.copy("val.txt", "copy.txt")
    assert run("embed", "copy.txt", "--out", out, "--batch-size", 3)[0] == 0  # the same features
    before = out.read_bytes()
    for arguments, change in (
        (["train.txt"], "inputs copy.txt, now train.txt"),
        (["val.txt", "--layer", "layer1"], "layer the input of the last layer, now layer1"),
        (["val.txt", "--dtype", "float16"], "dtype float32, now float16"),
    ):
        code, _, err = run("embed", *arguments, "--out", out)
        assert code == 1
        assert f"{out} exists and contains other features ({change}" in err[-1]
        assert err[-1].endswith("pass another name with --out, or --force to replace it")
        assert out.read_bytes() == before
    assert run("embed", "train.txt", "--out", out, "--force")[0] == 0
    assert out.read_bytes() != before
    out.write_text("thesis")
    assert run("embed", "train.txt", "--out", out)[0] == (0 if suffix == ".npy" else 1)  # its JSON file says the same
    assert not (here / f"f{suffix}.parts").exists()


def test_a_file_next_to_npy_is_not_replaced(run, here):
    (here / "f.json").write_text("{}")
    code, _, err = run("embed", "val.txt", "--out", "f.npy")
    assert code == 1
    assert "f.npy exists and does not say what its features were made from" in err[-1]


def test_mistakes_end_in_one_line(run, here):
    (here / "full").mkdir()
    (here / "full/x").touch()
    write_video("a.mp4")
    for arguments, expected in (
        (["val.txt"], "Missing option '--out'"),
        (["val.txt", "--out", "f.txt"], "expected a name that ends in .npz, .npy, .safetensors"),
        (["val.txt", "--out", "no/f.npz"], "there is no folder no"),
        (["val.txt", "--out", "full"], "full is a folder"),
        (
            ["val.txt", "--out", "f.npz", "--layer", "fcc"],
            "layer 'fcc': net 'resnet3d_10' has no such layer: did you mean fc",
        ),
        (["val.txt", "--out", "f.npz", "--window", "1"], "--window without --every"),
        (["val.txt", "--out", "f", "--layout", "opentad"], "--layout without --every"),
        (["a.mp4", "--out", "full", "--layout", "opentad", "--every", "1"], "full: exists already"),
        (["a.mp4", "--out", "no/full", "--layout", "opentad", "--every", "1"], "there is no folder no"),
        (["val.txt", "--out", "f.npy", "--json", "f.json"], "is the same file"),
        (["val.txt", "--out", "f.npz", "--every", "0"], "--every 0"),
        (["val.txt", "--out", "f.npz", "--every", "1"], "no video could be embedded; frames/val0"),
        (["gone.mp4", "--out", "f.npz", "--run", "nope"], "nope"),
        (["val.txt", "--out", "f.npz", "--cluster", "no address"], "no Dask scheduler answers"),
    ):
        code, out, err = run("embed", *arguments)
        assert code in (1, 2), arguments
        assert expected in " ".join(err), (arguments, err)
        assert out == []
        assert not list(here.glob("f*.npz*"))


def test_an_interrupted_command_continues(run, here):
    for n in range(40):
        shutil.copytree("frames/val0", f"many/v{n:02}")
    assert run("embed", "many", "--out", "whole.npz", "--batch-size", 2)[0] == 0
    slow = (
        "import time, actrec.inference.embed as e, actrec.cli.main as m\n"
        "run = e._features\n"
        "e._features = lambda *a: (time.sleep(0.5), run(*a))[1]\n"
        "e._SAVE_EVERY = 0\n"
        "m.main(['embed', 'many', '--out', 'f.npz', '--batch-size', '2'])"
    )
    with subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, text=True) as process:
        try:
            while not list(here.glob("f.npz.parts/*.npz")):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted: run the same command again to continue"
    assert not (here / "f.npz").exists()
    code, _, err = run("embed", "many", "--out", "f.npz", "--layer", "layer1")
    assert code == 1
    assert "unfinished work with another layer" in err[-1]
    assert run("embed", "many", "--out", "f.npz", "--batch-size", 3)[0] == 0
    with np.load("whole.npz") as expected, np.load("f.npz") as found:
        for name in ("ids", "frames", "features", "labels"):
            assert np.array_equal(found[name], expected[name])
    assert not (here / "f.npz.parts").exists()


def test_several_processes(run, here, groups):
    (here / "bad.mp4").write_bytes(b"not a video")
    assert run("embed", "train.txt", "bad.mp4", "--out", "one.npz")[0] == 1
    arguments = ("embed", here / "train.txt", here / "bad.mp4", "--data", here, "--device", "cpu")
    ended = groups.run(2, *arguments, "--out", here / "two.npz")
    assert [one.returncode for one in ended] == [1, 0], ended
    assert "1 video of 13 cannot be used" in ended[0].stdout
    assert ended[1].stdout == ""
    with np.load("one.npz") as expected, np.load("two.npz") as found:
        for name in ("ids", "frames", "features", "labels"):
            assert np.array_equal(found[name], expected[name])


def test_a_cluster(run, here, cluster):
    (here / "bad.mp4").write_bytes(b"not a video")
    assert run("embed", "train.txt", "bad.mp4", "--out", "one.npz")[0] == 1
    code, out, err = run("embed", "train.txt", "bad.mp4", "--out", "two.npz", "--cluster", cluster[0])
    assert code == 1
    assert out[-2:] == ["1 video of 13 cannot be used", "12 videos, 64 features each"]
    with np.load("one.npz") as expected, np.load("two.npz") as found:
        for name in ("ids", "frames", "features", "labels"):
            assert np.array_equal(found[name], expected[name])


def test_probing_needs_no_torch(here):
    code = (
        "import sys, numpy as np, actrec.cli.main as m\n"
        "x = np.eye(4, 3); a = dict(ids=list('abcd'), times=np.zeros((4, 2)), frames=np.zeros((4, 2), int))\n"
        "np.savez('t.npz', features=x, labels=np.array([0, 1, 0, 1]), **a)\n"
        "try: m.main(['linear-probe', 't.npz', 't.npz', '--neighbors', '1', '--shots', '1'])\n"
        "except SystemExit as stop: print(stop.code)\n"
        "print([x for x in ('torch', 'nvidia.dali', 'cv2', 'av') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-2:] == ["0", "[]"]
