"""`actrec view`"""

from __future__ import annotations

import json

import cv2

from actrec.data.video.read import iter_frames

SMALL = ["--backbone", "resnet3d_10", "--frames", "5", "--size", "32", "--device", "cpu"]


def test_a_picture_and_what_it_shows(run, inside):
    code, out, _ = run("view", *SMALL, "--videos", "3", "--json", "v.json")
    assert code == 0
    assert out[-1] == "3 clips of train.txt -> view.png"
    told = json.loads((inside / "v.json").read_text())
    assert [clip["video"] in line for clip, line in zip(told["clips"], out)] == [True] * 3
    assert len(told["clips"][0]["frames"]) == 5
    assert cv2.imread("view.png").shape[1] <= 2000
    assert not (inside / "runs").exists()
    code, out, _ = run("view", *SMALL, "--videos", "3", "--json", "w.json", "--epoch", "2")
    assert told["clips"] != json.loads((inside / "w.json").read_text())["clips"]


def test_evaluation_takes_the_validation_list(run, inside):
    code, out, _ = run("view", *SMALL, "--eval", "--crops", "3", "--clips", "2", "--out", "e.jpg", "--videos", "2")
    assert (code, out[-1]) == (0, "4 clips of val.txt -> e.jpg")


def test_a_video_has_a_frame_for_each_frame_of_a_clip(run, inside):
    code, out, _ = run("view", "val.txt", *SMALL, "--out", "v.mp4", "--videos", "2")
    assert (code, out[-1]) == (0, "2 clips of val.txt -> v.mp4")
    assert sum(1 for _ in iter_frames("v.mp4")) == 10


def test_an_unlabeled_list_can_be_shown(run, inside):
    rows = [" ".join(line.split()[:3]) for line in (inside / "val.txt").read_text().splitlines()]
    (inside / "labels.txt").unlink()
    (inside / "some.txt").write_text("\n".join(rows) + "\n")
    code, out, _ = run("view", "some.txt", *SMALL)
    assert (code, out[-1]) == (0, "4 clips of some.txt -> view.png")
    assert out[0].startswith("- ")
    assert run("view", "some.txt", *SMALL, "--eval")[0] == 0
    code, _, err = run("view", "some.txt", *SMALL, "--mixup", "0.5", "--batch-size", "2")
    assert code == 1
    assert err[-1].endswith("has no label: training needs one per video")


def test_what_a_user_can_get_wrong(run, inside):
    for flags, told in (
        (["--eval", "--epoch", "2"], "--epoch with --eval: it affects training only"),
        (["--eval", "--mixup", "1"], "--mixup with --eval: it affects training only"),
        (["--eval", "--repeats", "2"], "--repeats with --eval: it affects training only"),
        (["--crops", "3"], "--crops without --eval: it affects evaluation only"),
        (["--crop-rule", "ibm"], "--crop-rule without --eval: it affects evaluation only"),
        (["--out", "train.txt"], "Invalid value for '--out': train.txt: expected a name that ends in .png"),
        (["--out", "none/v.png"], "Invalid value for '--out': none/v.png: there is no folder none"),
        (
            ["--mixup", "1", "--repeats", "2", "--batch-size", "6"],
            "--mixup with --repeats 2 and batches of 6 clips: expected a multiple of 4, because clips of different",
        ),
    ):
        code, _, err = run("view", *SMALL, *flags)
        assert code == 2
        assert told in err[-1]
    code, _, err = run("view", "nowhere.txt", *SMALL)
    assert (code, len(err)) == (1, 1)
    assert err[0].startswith("Error: nowhere.txt: no such file")
    (inside / "out.png").mkdir()
    assert run("view", *SMALL, "--out", "out.png")[0] == 2
    assert not (inside / "view.png").exists()
