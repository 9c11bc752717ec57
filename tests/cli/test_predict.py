"""`actrec predict`"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys

import cv2
import numpy as np
import pytest
import torch

from actrec.data.video.encode import VideoWriter
from actrec.inference import protocols
from actrec.known_nets import Published


def write_video(path, *, size=(32, 24), frames=6):
    with VideoWriter(path, width=size[0], height=size[1], rate=25) as video:
        for _ in range(frames):
            video.write(np.full((size[1], size[0], 3), 200, np.uint8))


def test_files_folders_lists_and_broken_files(run, here):
    write_video(here / "a.mp4")
    (here / "videos/deep").mkdir(parents=True)
    write_video(here / "videos/deep/b.mp4", frames=1)  # shorter than a clip
    (here / "videos/bad.mp4").write_bytes(b"not a video")
    (here / "videos/link.mp4").symlink_to("gone")
    inputs = ("a.mp4", "frames/train1", "videos", "val.txt", "gone.mp4", "a.mp4")
    code, out, err = run("predict", *inputs, "--json", "out.json", "--csv", "out.csv")
    assert code == 1
    assert out[-1] == "3 videos of 10 cannot be used"
    assert out[0] == "a.mp4"
    assert [line.split()[0] for line in out[1:3]] in (["dark", "bright"], ["bright", "dark"])
    named = [line for line in err if line.startswith("not predicted: ")]
    assert len(named) == 3
    assert "videos/bad.mp4: not a video" in named[0]
    assert "videos/link.mp4: no such file" in named[1]
    assert "gone.mp4: no such file" in named[2]
    written = json.loads((here / "out.json").read_text())
    assert [one["video"] for one in written["videos"]] == [
        "a.mp4", "frames/train1", "videos/deep/b.mp4", *(f"frames/val{i}" for i in range(4)),
    ]  # fmt: skip
    assert set(written["missing"]) == {"videos/bad.mp4", "videos/link.mp4", "gone.mp4"}
    for one in written["videos"]:
        assert sum(found["probability"] for found in one["classes"]) == pytest.approx(1)
    rows = list(csv.DictReader((here / "out.csv").read_text().splitlines()))
    assert [row["video"] for row in rows[::2]] == [one["video"] for one in written["videos"]]


def test_predictions_equal_evaluate(run, here):
    assert run("evaluate", "--clips", 2, "--crops", 3)[0] == 0
    stored = np.load(here / "runs/tiny/scores/val_2x3.npz")
    assert run("predict", "val.txt", "--clips", 2, "--crops", 3, "--json", "out.json")[0] == 0
    videos = json.loads((here / "out.json").read_text())["videos"]
    assert [one["video"] for one in videos] == stored["ids"].tolist()
    for one, scores in zip(videos, stored["scores"].astype(np.float64)):
        probability = np.exp(scores) / np.exp(scores).sum()
        found = {each["class"]: each["probability"] for each in one["classes"]}
        assert np.allclose([found["dark"], found["bright"]], probability, rtol=1e-12)


def test_mistakes_end_in_one_line(run, here, tmp_path):
    (here / "empty").mkdir()
    (here / "hub").mkdir()
    (here / "hub/model.safetensors").touch()
    for arguments, expected in (
        (["empty"], "empty: contains no video: expected video files, or images"),
        (["a.mp4", "--run", "nope"], "nope"),
        (["a.mp4", "--data", "empty"], "pass a run with --run, or the folder of the dataset with --data"),
        (["a.mp4", "--checkpoint", "runs/tiny"], "--checkpoint runs/tiny is a folder: expected a file; pass a run f"),
        (["a.mp4", "--weights", "hub", "--backbone", "s3d"], "expected a file, such as hub/model.safetensors; pass a"),
        (["a.mp4", "--weights", "runs/tiny/best.pt"], "--weights runs/tiny/best.pt without --backbone: expected the"),
        (["rtsp://u:secret@cam/1"], "a live source: expected a video; for a live source, use `actrec predict"),
        (["a.mp4", "--timeline", "--topk", "2"], "--topk 2 with --timeline: it only sets the number of classes that"),
        (["a.mp4", "--weights", "runs/tiny/best.pt", "--backbone", "s3d"], "does not fit net 's3d'"),
        (["a.mp4", "--labels", "gone.txt"], "gone.txt: no such file"),
        (["a.mp4", "--csv", "no/x.csv"], "there is no folder no"),
        (["a.mp4", "--backbone", "i3d"], "--backbone without --weights"),
        (["a.mp4", "--frames", "0"], "--frames"),
    ):
        code, out, err = run("predict", *arguments)
        assert code in (1, 2), arguments
        assert not out
        assert expected in err[-1], err
        assert "secret" not in err[-1]


def test_a_text_file_that_is_no_list(run, here):
    (here / "my").mkdir()
    (here / "my/notes.txt").write_text("Remember the milk\n")
    code, out, _ = run("predict", "my/notes.txt", "val.txt")
    assert code == 1
    assert out[-1] == "my/notes.txt was read as a list of videos, and none of them can be used"
    assert run("predict", "my/notes.txt", "--timeline")[1][-1] == out[-1]
    (here / "my/notes.txt").write_text("a.mp4 1 2 dog\n")
    assert run("predict", "my/notes.txt")[2][1] == "Error: my/notes.txt, which was read as a list, is malformed:"


def test_the_net_is_named(run, here):
    def said(*arguments):
        code, _, err = run("predict", "frames/val0", *arguments)
        assert code == 0, said
        return [line for line in err if line.startswith("net: ")]

    name, epochs = "resnet3d_10", len((here / "runs/tiny/log.jsonl").read_text().splitlines())
    assert said("--checkpoint", "runs/tiny/last.pt") == [
        f"net: runs/tiny/last.pt ({name}, epoch {epochs} of {epochs}, run finished)"
    ]
    (here / "runs/tiny/log.jsonl").write_text("")
    assert said()[0].endswith(f" of {epochs}, run not finished)")
    shutil.copy(here / "runs/tiny/last.pt", here / "copy.pt")
    assert said("--checkpoint", "copy.pt") == [f"net: copy.pt ({name}, epoch {epochs} of {epochs})"]
    weights = ("--weights", "copy.pt", "--backbone", name, "--widen", "0.125")
    assert said(*weights) == [f"net: copy.pt ({name}, weights)"]


def test_help_shows_the_options_of_nets_last(run):
    _, out, _ = run("predict", "--help")
    headings = [line for line in out if line.endswith(":") and not line.startswith(" ")]
    assert headings[-2:] == ["Net (only with --weights):", "Examples:"]
    text = " ".join(" ".join(out).split())
    assert "s3d]" not in text
    assert "the net's own" not in text


def test_weights_without_a_run(run, here):
    (here / "names.txt").write_text("night\nday\n")
    code, out, _ = run(
        "predict", "frames/val0", "--weights", "runs/tiny/best.pt", "--backbone", "resnet3d_10", "--widen", "0.125",
        "--frames", "5", "--size", "32", "--labels", "names.txt", "--topk", "1",
    )  # fmt: skip
    assert code == 0
    assert out[0] == "frames/val0"
    assert out[1].split()[0] in ("night", "day")
    assert len(out) == 2


@pytest.fixture
def published(here, monkeypatch) -> tuple[object, ...]:
    """The options that name weights which were published with a protocol."""
    saved = torch.load(here / "runs/tiny/best.pt", weights_only=True)
    torch.save(saved["state_dict"], here / "published.pt")
    row = Published("Kinetics-400", 63.2, None, 16, "5x1", 112, "a test", protocol="torchvision_r3d_18")
    monkeypatch.setattr(protocols, "published_rows", lambda *_: [row])
    (here / "names.txt").write_text("night\nday\n")
    return "--weights", "published.pt", "--backbone", "resnet3d_10", "--widen", 0.125, "--labels", "names.txt"


def test_published_weights_predict_with_their_protocol(run, here, published):
    write_video(here / "long.mp4", frames=40)
    (here / "long.txt").write_text("long.mp4 1\n")
    (here / "labels.txt").write_text("night\nday\n")
    assert run("evaluate", *published, "--list", "long.txt", "--out", "s.npz")[0] == 0
    stored = np.load(here / "s.npz")["scores"][0].astype(np.float64)
    write_video(here / "short.mp4", frames=6)
    code, out, err = run("predict", "long.mp4", "short.mp4", *published, "--json", "out.json")
    assert code == 1
    assert "protocol: torchvision_r3d_18, with which such weights were published" in err
    (left_out,) = (line for line in err if line.startswith("not predicted: "))
    assert left_out.endswith("6 frames at 25 frames per second: too short for a clip of torchvision_r3d_18")
    assert err[-1] == "--protocol none predicts videos that a protocol leaves out"
    assert out[-1] == "1 video of 2 cannot be used"
    said = json.loads((here / "out.json").read_text())
    assert (said["protocol"], list(said["missing"])) == ("torchvision_r3d_18", ["short.mp4"])
    (video,) = said["videos"]
    found = {each["class"]: each["probability"] for each in video["classes"]}
    expected = np.exp(stored) / np.exp(stored).sum()
    assert np.allclose([found["night"], found["day"]], expected, rtol=1e-12)
    code, _, err = run("predict", "long.mp4", "short.mp4", *published, "--protocol", "none")
    assert code == 0
    assert "clip: dense sampling with stride 2, as in protocol torchvision_r3d_18" in err


def test_windows_and_streams_follow_no_protocol(run, here, published):
    write_video(here / "long.mp4", frames=60)
    code, _, err = run("predict", "long.mp4", *published, "--timeline", "--size", 32)
    assert code == 0
    assert "clip: dense sampling with stride 2, as in protocol torchvision_r3d_18" in err
    for flag, source in (("--timeline", "long.mp4"), ("--stream", "http://127.0.0.1:9/a")):
        arguments = [source, flag] if flag == "--timeline" else [flag, source]
        code, _, err = run("predict", *arguments, *published, "--protocol", "ibm_k400")
        assert (code, err[-1]) == (
            2,
            f"Error: --protocol with {flag}, which follows no protocol: leave one of the two out",
        )


def test_names_that_break_lines_or_are_not_utf_8(run, here, monkeypatch):
    odd = [b"videos/a\nb.mp4", b"videos/c\xff.mp4", b"videos/d\x1b[31m.mp4"]
    (here / "videos").mkdir()
    for name in odd:
        write_video(here / os.fsdecode(name))
    (here / "videos/bad\n.mp4").write_bytes(b"not a video")
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    code, _, err = run("predict", "videos", "--topk", 1, "--json", "out.json")
    assert code == 1
    out = stream.buffer.getvalue().decode().splitlines()
    assert [line.split("  ")[0].rstrip() for line in out[:3]] == [
        "videos/a\\nb.mp4",
        "videos/c\\udcff.mp4",
        "videos/d\\x1b[31m.mp4",
    ]
    assert len([line for line in err if line.startswith("not predicted: videos/bad\\n.mp4: ")]) == 1
    written = json.loads((here / "out.json").read_text())["videos"]
    assert [os.fsencode(one["video"]) for one in written] == odd


def test_messages_name_flags(run, here, trained):
    saved = torch.load(trained / "best.pt", weights_only=True)
    del saved["classes"]
    torch.save(saved, "bare.pt")
    _, _, err = run("predict", "val.txt", "--checkpoint", "bare.pt")
    assert err[-1] == "Error: bare.pt: contains no class names: pass --labels, such as the file labels.txt"
    _, _, err = run("predict", "--stream", "val.txt")
    assert err[-1] == "Error: --stream val.txt: for a file, leave out --stream"


def test_one_class_of_several_videos_is_one_line_each(run, here):
    code, out, _ = run("predict", "val.txt", "--topk", 1)
    assert (code, len(out)) == (0, 4)
    for n, line in enumerate(out):
        video, name, probability = line.split()
        assert (video, name in ("dark", "bright"), probability[-1]) == (f"frames/val{n}", True, "%")


def test_an_output_never_replaces_a_video(run, here):
    (here / "videos").mkdir()
    write_video(here / "videos/a.mp4")
    (here / "own.txt").write_text("videos/a.mp4 0\n")
    image = next((here / "frames/train1").iterdir())
    before = [path.read_bytes() for path in (here / "videos/a.mp4", image)]
    for inputs, out in (
        (["predict", "videos"], "videos/a.mp4"),
        (["predict", "own.txt"], "videos/a.mp4"),
        (["predict", "train.txt"], image),
        (["embed", "own.txt", "--out", "x.npz"], "videos/a.mp4"),
        (["evaluate", "--list", "own.txt", "--out", "x.npz"], "videos/a.mp4"),
        (["view", "own.txt", "--out", "x.png"], "videos/a.mp4"),
        (["explain", "own.txt", "--out", "x.png"], "videos/a.mp4"),
    ):
        code, _, err = run(*inputs, "--json", out)
        assert (code, err[-1].count("it would replace a part of the input")) == (2, 1), (inputs, err)
    assert [path.read_bytes() for path in (here / "videos/a.mp4", image)] == before


def test_a_net_that_gives_nan(run, here):
    saved = torch.load("runs/tiny/best.pt", weights_only=True)
    for tensor in saved["state_dict"].values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    torch.save(saved, "nan.pt")
    code, out, err = run("predict", "frames/train1", "--checkpoint", "nan.pt", "--json", "out.json")
    assert (code, out[-1]) == (1, "1 video of 1 cannot be used")
    assert err[-1].startswith("not predicted: frames/train1: the output of the net is NaN")
    assert json.loads((here / "out.json").read_text())["videos"] == []
    code, _, err = run("embed", "train.txt", "--checkpoint", "nan.pt", "--out", "x.npz")
    assert (code, "no video could be embedded" in err[-1]) == (1, True)
    assert not list(here.glob("x.npz*"))


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("predict", ()),
        ("predict", ("--timeline", "--every", "0.2")),
        ("embed", ("--out", "features.npz")),
        ("embed", ("--out", "windows.npz", "--every", "0.2")),
        ("explain", ("--out", "map.png")),
    ],
)
def test_how_samples_are_scaled_is_said_once(run, here, command, more):
    folder = here / "deep"
    folder.mkdir()
    (folder / "fps").write_text("25")
    for n in range(1, 13):
        picture = np.random.default_rng(n).integers(0, 4000, (24, 32), np.uint16)
        (folder / f"{n}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    force = ("--force",) if command == "embed" else ()
    for options, scaled in {
        (): "the full range of the files is scaled to 0 to 255; --image-range LOW,HIGH scales another range",
        ("--image-range", "0,4000", *force): "0 to 4000 is scaled to 0 to 255",
    }.items():
        code, _, said = run(command, "deep", *more, *options)
        assert code == 0, said
        assert [line for line in said if "more than 8 bits" in line] == [
            f"1 video with more than 8 bits per value: {scaled}"
        ]


def test_a_video_that_lacks_its_end_is_said(run, here):
    path = here / "short.mkv"
    with VideoWriter(path, width=160, height=120, rate=25) as video:
        for picture in np.random.default_rng(0).integers(0, 256, (20, 120, 160, 3), np.uint8):
            video.write(picture)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\x1c\x53\xbb\x6b") - 30])
    code, _, said = run("predict", "short.mkv")
    assert code == 0
    (line,) = [line for line in said if "cut off" in line]
    first = "short.mkv: the file is cut off: its header promises "
    assert line.startswith(f"1 video cut off at the end, and used up to there; the first: {first}")
