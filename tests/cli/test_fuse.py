from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from actrec.data import score_file
from actrec.data.score_file import ScoreFile

P = {"a": [[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]], "b": [[0.2, 0.8], [0.4, 0.6], [0.8, 0.2]]}
LABELS = [1, 1, 0]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """a.npz and b.npz score v0, v1, v2; a_fit.npz and b_fit.npz score other videos, on which only b is right."""
    monkeypatch.chdir(tmp_path)
    for name, p in P.items():
        scores = np.log(np.array(p, np.float32))
        write(f"{name}.npz", ["v0", "v1", "v2"], scores)
        sure = np.log([[0.01, 0.99], [0.01, 0.99], [0.99, 0.01]])
        write(f"{name}_fit.npz", ["w0", "w1", "w2"], sure if name == "b" else -sure)
    return tmp_path


def write(path, ids, scores, labels=LABELS, **changes):
    content = {"classes": ["no", "yes"], "made_from": {"command": "evaluate"}} | changes
    score_file.write(path, ScoreFile(ids, np.array(scores, np.float32), np.array(labels), **content))


def test_fusion_and_its_score_file(run, files):
    code, out, err = run("fuse", "a.npz", "b.npz", "--out", "f.npz", "--json", "f.json")
    assert (code, err) == (0, [])
    assert out == [
        "a.npz  weight 0.500  top-1 66.67  mean-class 75.00  (3 videos, 0 missing)",
        "b.npz  weight 0.500  top-1 100.00  mean-class 100.00  (3 videos, 0 missing)",
        "scores -> f.npz",
        "fusion: top-1 100.00  mean-class 100.00  (3 videos, 0 missing)",
    ]
    found = score_file.read("f.npz")
    assert (found.ids, found.classes, found.labels.tolist()) == (["v0", "v1", "v2"], ["no", "yes"], LABELS)
    assert np.allclose(np.exp(found.scores), (np.array(P["a"]) + P["b"]) / 2, atol=1e-6)
    said = json.loads((files / "f.json").read_text())
    assert [one["weight"] for one in said["inputs"]] == [0.5, 0.5]
    assert said["inputs"][0]["top1"] == pytest.approx(200 / 3)
    assert said["fusion"]["top1"] == 100
    assert run("fuse", "a.npz", "f.npz", "--fusion-weights", "1,0.5")[0] == 0  # what was fused can be fused again


def test_given_weights(run, files):
    assert run("fuse", "a.npz", "b.npz", "--out", "f.npz", "--fusion-weights", "3,1")[0] == 0
    assert np.allclose(np.exp(score_file.read("f.npz").scores), (3 * np.array(P["a"]) + P["b"]) / 4, atol=1e-6)
    assert run("fuse", "a.npz", "b.npz", "--out", "l.npz", "--fusion-weights", "3 1", "--average", "logits")[0] == 0
    expected = (3 * np.log(P["a"]) + np.log(P["b"])) / 4
    assert np.allclose(score_file.read("l.npz").scores, expected, atol=1e-6)


def test_weights_are_fitted_on_other_videos(run, files):
    arguments = ["fuse", "a.npz", "b.npz", "--fit", "a_fit.npz", "--fit", "b_fit.npz"]
    code, out, _ = run(*arguments, "--json", "f.json")
    assert code == 0
    assert out[0].startswith("a.npz  weight 0.000  ")
    assert out[1].startswith("b.npz  weight 1.000  ")
    assert out[2] == "weights fitted on the 3 videos of --fit, none of which is scored here"
    assert json.loads((files / "f.json").read_text())["fit"] == ["a_fit.npz", "b_fit.npz"]
    write("b_fit.npz", ["w0", "w1", "v2"], np.zeros((3, 2)))
    write("a_fit.npz", ["w0", "w1", "v2"], np.zeros((3, 2)))
    code, _, err = run(*arguments)
    assert code == 1
    assert err[-1].startswith("Error: 1 video, such as v2, are in SCORES and in --fit: expected other videos in --fit")


def test_cross_validation(run, files):
    code, out, _ = run("fuse", "a.npz", "b.npz", "--cross-validate", "3", "--json", "f.json")
    assert code == 0
    assert out[0].startswith("a.npz  weight 0.")
    assert " to " in out[0]
    assert out[2] == "weights fitted 3 times; each video is scored with weights fitted on other videos"
    said = json.loads((files / "f.json").read_text())
    assert np.shape(said["weights_of_parts"]) == (3, 2)
    assert np.mean(said["weights_of_parts"], axis=0) == pytest.approx([one["weight"] for one in said["inputs"]])


def test_videos_that_are_not_in_every_file(run, files):
    write("b.npz", ["v2", "x", "v0"], [[3, 0], [1, 0], [0, 1]], [0, 0, 1])
    code, _, err = run("fuse", "a.npz", "b.npz")
    assert (code, err[-1]) == (
        1,
        "Error: 2 videos of 4 are not in every file (v1 is not in b.npz): pass --common to leave them out",
    )
    code, out, err = run("fuse", "a.npz", "b.npz", "--common", "--out", "f.npz", "--json", "f.json")
    assert code == 0
    assert err == [
        "left out: v1 is not in every file", "left out: x is not in every file", "2 videos left out",
    ]  # fmt: skip
    assert out[-1].endswith("(2 videos, 0 missing)")
    assert score_file.read("f.npz").ids == ["v0", "v2"]
    assert json.loads((files / "f.json").read_text())["left_out"] == ["v1", "x"]


def test_without_labels(run, files):
    for name in "ab":
        write(f"{name}.npz", ["v0", "v1", "v2"], np.log(P[name]), [-1] * 3)
    code, out, _ = run("fuse", "a.npz", "b.npz", "--out", "f.npz")
    assert (code, out[-1]) == (0, "fusion: no labels to compare with (3 videos, 0 missing)")
    code, _, err = run("fuse", "a.npz", "b.npz", "--cross-validate", "2")
    assert (code, err[-1]) == (1, "Error: 0 labeled videos for 2 parts: expected one in each")


def test_other_scores_are_not_replaced(run, files):
    assert run("fuse", "a.npz", "b.npz", "--out", "f.npz")[0] == 0
    assert run("fuse", "a.npz", "b.npz", "--out", "f.npz")[0] == 0
    before = (files / "f.npz").read_bytes()
    code, _, err = run("fuse", "a.npz", "b.npz", "--out", "f.npz", "--average", "logits")
    assert (code, err[-1][:83]) == (
        1, "Error: f.npz exists and contains other scores (average probabilities, now logits): ",
    )  # fmt: skip
    code, _, err = run("fuse", "a.npz", "a_fit.npz", "--out", "b.npz")
    assert (code, "command evaluate, now fuse" in err[-1]) == (1, True)
    assert (files / "f.npz").read_bytes() == before
    assert run("fuse", "a.npz", "b.npz", "--out", "f.npz", "--average", "logits", "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a.npz"], 2, "Error: one SCORES file: expected at least two"),
        (["a.npz", "a.npz"], 2, "Error: a.npz is given twice: expected every file once"),
        (["a.npz", "none.npz"], 1, "Error: none.npz: no such file"),
        (["a.npz", "text.npz"], 1, "Error: text.npz: the file is damaged, or not a score file of `actrec evaluate`"),
        (["a.npz", "a_fit.npz"], 1, "Error: a.npz and a_fit.npz have no video in common: expected scores of the same"),
        (["a.npz", "b.npz", "--fusion-weights", "1"], 1, "Error: 1 fusion weight for 2 files: expected one for each"),
        (["a.npz", "b.npz", "--fusion-weights", "1,-1"], 2, "Error: --fusion-weights 1,-1"),
        (["a.npz", "b.npz", "--fit", "a_fit.npz"], 2, "Error: 1 --fit file for 2 SCORES files: expected one for each"),
        (
            ["a.npz", "b.npz", "--fusion-weights", "1,1", "--cross-validate", "2"],
            2,
            "Error: --fusion-weights together with --cross-validate: expected one of them",
        ),
        (["a.npz", "b.npz", "--cross-validate", "1"], 2, "Error: --cross-validate 1: expected at least 2"),
        (["a.npz", "b.npz", "--out", "b.npz"], 2, "Error: --out b.npz: SCORES b.npz is the same file"),
        (["a.npz", "b.npz", "--out", "none/f.npz"], 2, "Error: Invalid value for '--out': none/f.npz: there is no"),
        (["a.npz", "other.npz"], 1, "Error: label 1 is 'yes' in a.npz, and 'maybe' in other.npz: expected the same"),
    ],
)
def test_mistakes(run, files, arguments, code, said):
    (files / "text.npz").write_text("text")
    write("other.npz", ["v0", "v1", "v2"], np.zeros((3, 2)), classes=["no", "maybe"])
    found, _, err = run("fuse", *arguments)
    assert (found, err[-1][: len(said)]) == (code, said)


def test_fusion_loads_no_torch(files):
    code = (
        "import sys, actrec.cli.main as m\n"
        "try: m.main(['fuse', 'a.npz', 'b.npz', '--cross-validate', '2'])\n"
        "except SystemExit as stop: print(stop.code)\n"
        "print([x for x in ('torch', 'nvidia.dali', 'cv2', 'av') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().splitlines()[-2:] == ["0", "[]"]
