"""What `actrec evaluate` says and writes, with nets that were not trained."""

from __future__ import annotations

import csv
import errno
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.engine import checkpoint
from actrec.known_nets import Published
from actrec.report import reproduce


def save_net(path, seed: int = 0, *, classes=("dark", "bright"), **others) -> None:
    import torch

    torch.manual_seed(seed)
    net = actrec.net("resnet3d_10", num_classes=len(classes), widen=0.125)
    checkpoint.save(
        path,
        {
            "net": checkpoint.describe_net(net, actrec.Input(net.input.mean, net.input.std, frames=5, size=32)),
            "state_dict": net.state_dict(),
            "clip": {"frames": 5},
            "classes": list(classes),
            "channels_last": False,
            **others,
        },
    )


@pytest.fixture
def inside(inside):
    """The dataset folder with a run of an untrained net."""
    (inside / "runs/r").mkdir(parents=True)
    save_net(inside / "runs/r/best.pt")
    return inside


WEIGHTS = ["--backbone", "resnet3d_10", "--widen", "0.125", "--size", "32", "--frames", "5"]


def made(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_classes_in_every_form(run, inside):
    code, out, _ = run(
        "evaluate", "--per-class", "--confusion", "c.csv", "--confusion", "c.png", "--json", "e.json",
        "--confusion-order", "labels",
    )  # fmt: skip
    assert code == 0
    said = json.loads((inside / "e.json").read_text())
    with np.load(inside / "runs/r/scores/val_1x1.npz", allow_pickle=False) as saved:
        scores, labels, names = saved["scores"], saved["labels"], saved["classes"].tolist()
    assert names == ["dark", "bright"]
    matrix = np.zeros((2, 2), int)
    np.add.at(matrix, (labels, scores.argmax(axis=1)), 1)
    assert said["confusion_matrix"] == matrix.tolist()
    assert [one["videos"] for one in said["classes"]] == [2, 2]
    assert [one["right"] for one in said["classes"]] == np.diag(matrix).tolist()
    assert 100 * np.trace(matrix) / 4 == said["top1"]
    rows = list(csv.reader((inside / "c.csv").read_text().splitlines()))
    assert rows[0] == ["label \\ prediction", "dark", "bright"]
    assert [row[0] for row in rows[1:]] == names
    assert [list(map(int, row[1:])) for row in rows[1:]] == matrix.tolist()
    assert min(cv2.imread("c.png").shape[:2]) > 300
    assert out[0] == "class   videos   right  accuracy  mistaken for"
    wrong = matrix.sum() - np.trace(matrix)
    assert ("most frequent confusions (label -> prediction: videos)" in out) == (wrong > 0)
    assert f"expected calibration error {said['calibration_error']:.2f} %" in out
    assert out[-4:-2] == ["wrote c.png", out[-3]]
    code, out, _ = run("evaluate")
    assert (code, out[0].partition(" ")[0]) == (0, "fingerprint:")


def test_what_differs_is_in_the_name(run, inside):
    scores = inside / "runs/r/scores"
    assert run("evaluate")[0] == 0
    assert run("evaluate", "--size", "40", "--average", "probabilities", "--crop-ratio", "1")[0] == 0
    assert run("evaluate", "--frames", "8", "--sampling", "dense", "--stride", "2", "--crops", "3")[0] == 0
    save_net(inside / "runs/r/last.pt", 1)
    assert run("evaluate", "--checkpoint", "runs/r/last.pt", "--mean", "0.5,0.5,0.5")[0] == 0
    assert made(scores) == {
        "val_1x1.npz",
        "val_1x1_size-40_crop-ratio-1_average-probabilities.npz",
        "val_1x3_frames-8_stride-2_sampling-dense.npz",
        "val_1x1_last_mean-0.5,0.5,0.5.npz",
    }
    save_net(inside / "a.pt")
    save_net(inside / "b.pt", 1)
    for name in ("a.pt", "b.pt"):
        assert run("evaluate", "--weights", name, *WEIGHTS)[0] == 0
    names = [f"val_1x1_{name}_widen-0.125_frames-5_size-32.npz" for name in "ab"]
    assert made(inside / "scores") == set(names)
    a, b = (np.load(inside / "scores" / name)["scores"] for name in names)
    assert not np.allclose(a, b)


def test_other_scores_are_refused_and_the_same_are_replaced(run, inside, monkeypatch):
    path = inside / "runs/r/scores/val_1x1.npz"
    assert run("evaluate")[0] == 0
    before = path.read_bytes()
    assert run("evaluate")[0] == 0
    assert path.read_bytes() == before

    def refused(said, *arguments):
        from actrec.inference.model import Model

        with monkeypatch.context() as patch:  # it is refused before any video is scored
            patch.setattr(Model, "score", lambda *_, **__: pytest.fail("scored"))
            code, _, err = run("evaluate", *arguments)
        assert code == 1
        assert said in err[-1]
        assert err[-1].endswith("pass another name with --out, or --force to replace it")
        assert path.read_bytes() == before

    refused("contains other scores (size 32, now 40)", "--size", "40", "--out", path)
    (inside / "other").mkdir()
    (inside / "other/val.txt").write_text((inside / "val.txt").read_text().replace("frames/", "../frames/", 2))
    refused("contains other scores (list ", "--list", "other/val.txt")
    save_net(inside / "runs/r/best.pt", 1)
    refused("best.pt has changed): pass")
    code, out, _ = run("evaluate", "--force")
    assert code == 0
    assert path.read_bytes() != before
    (inside / "mine.npz").write_bytes(b"mine")
    code, _, err = run("evaluate", "--out", "mine.npz")
    assert (code, err[-1]) == (
        1,
        "Error: mine.npz exists and is not a score file: pass another name with --out, or --force to replace it",
    )


@pytest.mark.parametrize("weights", [False, True])
def test_a_list_without_labels(run, inside, weights):
    (inside / "plain").mkdir()
    rows = "".join(f"{inside / 'frames'}/val{i} 1 9 -\n" for i in range(3))
    (inside / "plain/list.txt").write_text(rows)
    origin = ["--weights", "runs/r/best.pt", *WEIGHTS] if weights else []
    code, out, err = run(
        "evaluate", "--list", "plain/list.txt", *origin, "--per-class", "--confusion", "c.png", "--out", "s.npz",
        "--topk-json", "t.json", "--json", "e.json",
    )  # fmt: skip
    assert (code, [line.split()[0] for line in err]) == (0, ["net:"])
    assert out[:2] == ["no table of the classes: no video has a label", "no confusion matrix: no video has a label"]
    assert out[-1] == "no labels to compare with (3 videos, 0 missing)"
    assert not (inside / "c.png").exists()
    with np.load("s.npz", allow_pickle=False) as saved:
        assert saved["labels"].tolist() == [-1] * 3
        assert saved["classes"].tolist() == ["dark", "bright"]
    said = json.loads((inside / "e.json").read_text())
    assert (said["top1"], said["calibration_error"], said["confusions"]) == (None, None, [])
    (inside / "plain/labels.txt").write_text("a\nb\nc\n")  # names of other classes, to which nothing refers
    assert run("evaluate", "--list", "plain/list.txt", *origin, "--out", "s.npz")[0] == 0


def test_weights_have_as_many_classes_as_their_head(run, inside):
    save_net(inside / "five.pt", classes="abcde")
    torch.save({"state_dict": torch.load("five.pt", weights_only=True)["state_dict"]}, "five.pt")
    code, _, err = run("evaluate", "--weights", "five.pt", *WEIGHTS)
    assert (code, err[-1]) == (
        1,
        "Error: labels.txt: 2 class names, but the net of five.pt has 5 classes: expected a list with the classes "
        "of the net",
    )
    (inside / "labels.txt").unlink()
    assert run("evaluate", "--weights", "five.pt", *WEIGHTS, "--out", "s.npz")[0] == 0
    with np.load("s.npz") as saved:
        assert saved["scores"].shape == (4, 5)
        assert saved["classes"].tolist() == list("01234")
    (inside / "names.txt").write_text("v\nw\nx\ny\nz\n")
    assert run("evaluate", "--weights", "five.pt", *WEIGHTS, "--out", "t.npz", "--labels", "names.txt")[0] == 0
    assert np.load("t.npz")["classes"].tolist() == list("vwxyz")


def test_several_labels_have_no_confusion_matrix(run, inside):
    save_net(inside / "runs/r/best.pt", multi_label=True)
    code, out, _ = run("evaluate", "--per-class", "--confusion", "c.csv", "--json", "e.json")
    assert code == 0
    assert out[0] == "class   videos      AP"
    assert "no confusion matrix: the videos may have several labels" in out
    said = json.loads((inside / "e.json").read_text())
    assert np.mean([one["average_precision"] for one in said["classes"]]) == pytest.approx(said["map"])
    assert said["confusion_matrix"] is None
    assert not (inside / "c.csv").exists()


@pytest.mark.parametrize("flag", ["--out", "--json", "--topk-json", "--confusion"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(run, inside, monkeypatch, flag):
    name = f"{'x' * 300}.csv"
    code, out, err = run("evaluate", flag, name)
    assert (code, out) == (2, [])
    assert err[-1] == f"Error: Invalid value for '{flag}': {name} cannot be written (File name too long)"

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("actrec.cli.ending.check_writable", full)
        code, out, err = run("evaluate", flag, "s.csv")
    assert (code, out) == (2, [])
    assert err[-1].endswith("s.csv cannot be written (No space left on device)")


def test_the_default_place_is_checked_before_the_work(run, inside, monkeypatch):
    from actrec.inference.model import Model

    (inside / "runs/r/scores").write_text("a file in the place of the folder")
    monkeypatch.setattr(Model, "score", lambda *_, **__: pytest.fail("scored"))
    code, _, err = run("evaluate")
    assert (code, err[-1]) == (1, "Error: runs/r/scores/val_1x1.npz: Not a directory")


def test_a_protocol(run, inside):
    code, out, err = run("evaluate", "--protocol", "tsm_k400_8_uniform_1crop", "--json", "e.json")
    assert code == 0
    assert "protocol: tsm_k400_8_uniform_1crop" in err
    said = json.loads((inside / "e.json").read_text())
    assert (said["protocol"], said["left_out"]) == ("tsm_k400_8_uniform_1crop", {})
    with np.load(inside / "runs/r/scores/val_tsm_k400_8_uniform_1crop.npz") as saved:
        made_from = json.loads(str(saved["made_from"]))
    assert made_from["protocol"] == "tsm_k400_8_uniform_1crop"
    assert (made_from["frames"], made_from["size"], made_from["crops"]) == (8, 224, 1)
    code, _, err = run("evaluate", "--protocol", "tsm_k400_8_uniform_1crop", "--average", "probabilities")
    assert code == 0
    assert "protocol: tsm_k400_8_uniform_1crop, but with average of probabilities" in err
    assert (inside / "runs/r/scores/val_tsm_k400_8_uniform_1crop_average-probabilities.npz").exists()
    code, _, err = run("evaluate", "--protocol", "tsm_k400_8_uniform_1crop", "--clips", "10")
    assert (code, err[-1]) == (
        2,
        "Error: --clips 10 contradicts protocol tsm_k400_8_uniform_1crop, which has 1: leave one of the two out",
    )
    code, _, err = run("evaluate", "--protocol", "tsm")
    assert (code, err[-1].partition(":")[2].partition(":")[0]) == (2, " --protocol tsm is not known")


def test_the_published_accuracy_of_a_file_of_this_name(run, inside, monkeypatch):
    rows = [
        Published("a dataset", 70.5, None, 5, "1x1", 32, "a test", file="a.pt", protocol=protocol)
        for protocol in ("ibm_k400", "tsm_k400_8_uniform_1crop")
    ]
    found = [reproduce.Checkpoint("resnet3d_10", row) for row in rows]
    monkeypatch.setattr(reproduce, "checkpoints", lambda: found)
    save_net(inside / "a.pt")
    arguments = ("evaluate", "--weights", "a.pt", *WEIGHTS[:4], "--json", "e.json", "--protocol")
    code, out, _ = run(*arguments, "tsm_k400_8_uniform_1crop")
    one = "published for a.pt: a dataset top-1 70.50 (protocol {})"
    assert (code, out[-2]) == (0, one.format("tsm_k400_8_uniform_1crop"))
    assert out[-3].startswith("scores -> ")
    assert out[-1].startswith("top-1 ")
    (said,) = json.loads((inside / "e.json").read_text())["published"]
    assert (said["top1"], said["protocol"]) == (70.5, "tsm_k400_8_uniform_1crop")
    code, out, _ = run(*arguments, "none")
    assert out[-3:-1] == [one.format(row.protocol) for row in rows]
    found[:] = [reproduce.Checkpoint("resnet3d_10", replace(row, dataset="Kinetics-400")) for row in rows]
    # The file has two classes: it is another one.
    assert run(*arguments, "none")[1][-2].startswith("scores -> ")


def test_videos_that_a_protocol_leaves_out(run, inside):
    (inside / "runs/r/scores").mkdir(exist_ok=True)
    folder = inside / "frames" / "long"
    folder.mkdir()
    for i in range(40):
        cv2.imwrite(str(folder / f"{i + 1:05d}.jpg"), np.full((20, 30, 3), i, np.uint8))
    text = (inside / "val.txt").read_text()
    (inside / "more.txt").write_text(f"{text}frames/long 1 40 0\n")
    arguments = ("evaluate", "--list", "more.txt", "--protocol", "torchvision_r3d_18")
    code, _, err = run(*arguments)
    assert code == 1
    assert "protocol torchvision_r3d_18 needs the number of frames per second" in err[-1]
    assert err[-1].endswith("(--fps sets it)")
    code, out, err = run(*arguments, "--fps", "30", "--json", "e.json")
    assert code == 0
    assert out[-1].endswith("(1 video, 0 missing, 4 left out by the protocol)")
    assert sum(line.startswith("left out by torchvision_r3d_18: ") for line in err) == 4
    said = json.loads((inside / "e.json").read_text())
    assert (said["videos"], len(said["left_out"]), said["missing"]) == (1, 4, {})


def test_sensitivity(run, inside):
    code, out, _ = run("evaluate", "--sensitivity", "--json", "e.json")
    assert code == 0
    names = [line.partition("  ")[0] for line in out[:7]]
    assert names[:4] == ["variation", "as evaluated", "no antialiasing", "wrong color matrix"]
    said = json.loads((inside / "e.json").read_text())
    assert said["sensitivity"]["top1"] == said["top1"]
    assert [row["name"] for row in said["sensitivity"]["variations"]] == names[2:]
    assert run("evaluate")[0] == 0  # the scores are those of an evaluation without it
