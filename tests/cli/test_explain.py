"""`actrec explain`"""

from __future__ import annotations

import json

import cv2
import pytest

import actrec
from actrec.data.video.read import iter_frames


@pytest.fixture
def chosen(trained):
    return ["--run", trained, "--device", "cpu"]


def test_a_picture_and_its_numbers(run, inside, chosen, trained):
    code, out, _ = run("explain", "frames/val1", *chosen, "--clips", "2", "--json", "e.json")
    assert code == 0
    told = json.loads((inside / "e.json").read_text())
    best, probability = actrec.load(trained, views={"clips": 2}, device="cpu").predict("frames/val1", topk=1)[0]
    assert (told["class"], told["probability"]) == (best, probability)
    assert out[-1] == f"{best} {probability:.1%} -> explain.png"
    assert [len(clip["frames"]) for clip in told["clips"]] == [5, 5]
    assert told["map"] == [2, 4, 4]
    assert out[-2] == f"layer {told['layer']}, map of 2x4x4: the last one with several time steps and 4x4 places"
    assert cv2.imread("explain.png").shape[1] <= 2000
    code, _, _ = run("explain", "frames/val1", *chosen, "--class", "dark", "--layer", "layer1", "--json", "d.json")
    told = json.loads((inside / "d.json").read_text())
    assert (code, told["class"], told["label"], told["layer"]) == (0, "dark", 0, "layer1")
    assert told["map"][0] > 1
    code, out, _ = run("explain", "frames/val1", *chosen, "--layer", "layer4")
    assert "the heat map has a single time step; layers with more, for --layer: " in out[-2]


def test_a_video(run, inside, chosen):
    (inside / "one.txt").write_text("frames/val1 2 7 1\n")
    code, out, _ = run("explain", "one.txt", *chosen, "--out", "e.mp4", "--class", "1")
    assert (code, out[-1].endswith("-> e.mp4")) == (0, True)
    assert sum(1 for _ in iter_frames("e.mp4")) == 6


def test_what_a_user_can_get_wrong(run, inside, chosen):
    (inside / "bad.mp4").write_bytes(b"no video")
    for flags, expected, told in (
        (["frames/val1", "--class", "darl"], 1, "Error: class 'darl': the net has no such class: did you mean dark?"),
        (["frames/val1", "--class", "2"], 1, "Error: class 2: expected a number from 0 to 1, or the name of a class"),
        (["frames/val1", "--layer", "layer9"], 1, "layer 'layer9': net 'resnet3d_10' has no such layer: did you mean"),
        (["frames/val1", "--layer", "fc"], 1, "has no axes for space and time"),
        (["bad.mp4"], 1, "Error: bad.mp4: "),
        (["nothing.mp4"], 1, "Error: nothing.mp4: "),
        (["frames"], 2, "frames stands for 16 videos: expected one video"),
        (["frames/val1", "--out", "none/e.png"], 2, "none/e.png: there is no folder none"),
        (["frames/val1", "--out", "e.gif"], 2, "e.gif: expected a name that ends in .png"),
        (["one.mp4", "--out", "one.mp4"], 2, "is the same file"),
    ):
        code, out, err = run("explain", *flags, *chosen)
        assert (code, out) == (expected, [])
        assert told in err[-1]
    assert not list(inside.glob("e*"))
