from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actrec.data import score_file
from actrec.data.score_file import ScoreFile
from actrec.files import write_json


@pytest.fixture
def data(tmp_path) -> Path:
    """A dataset folder with two runs, the second one newer and with scores of videos that do not exist."""
    for age, name in enumerate(("first", "second")):
        run = tmp_path / "data/runs" / name
        run.mkdir(parents=True)
        write_json(run / "config.json", {"net": {"backbone": "s3d"}, "optim": {"epochs": 1}})
        write_json(run / "data.json", {"classes": ["a", "b"]})
        write_json(run / "environment.json", {"python": "3.13"})
        write_json(run / "log.jsonl", {"epoch": 0, "train_loss": 1.0, "val_top1": 40.0})
        for path in run.iterdir():
            os.utime(path, (1000 + age, 1000 + age))
    scores(run / "scores/val_1x1.npz")
    return tmp_path / "data"


def scores(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    score_file.write(path, ScoreFile(["x.mp4"], np.eye(1, 2, dtype=np.float32), np.array([1]), ["a", "b"]))
    return path


def test_a_page_of_the_newest_run(run, data, tmp_path):
    code, out, err = run("report", "--data", data, "--out", tmp_path / "page.html", "--json", tmp_path / "said.json")
    assert (code, err) == (0, [])
    file = data / "runs/second/scores/val_1x1.npz"
    assert out == [
        f"scores of second: {file} (model unknown, list unknown, views unknown)",
        "frames are missing for 1 video; the first: x.mp4: no list with this video was found",
        f"report -> {tmp_path / 'page.html'}",
    ]
    assert "<title>second – actrec report</title>" in (tmp_path / "page.html").read_text("utf-8")
    assert json.loads((tmp_path / "said.json").read_text()) == {
        "out": str(tmp_path / "page.html"),
        "runs": [str(data / "runs/second")],
        "scores": [str(file)],
        "different": None,
        "failures": {},
        "gone": ["x.mp4: no list with this video was found"],
    }


def test_by_default_the_page_is_in_the_folder_of_the_run(run, data):
    assert run("report", "first", "--data", data)[1] == [f"report -> {data / 'runs/first/report.html'}"]


def test_a_run_that_is_none_is_named_and_the_others_are_shown(run, data, tmp_path):
    (data / "runs/first/config.json").write_text("{")
    code, out, err = run("report", "first", "secnd", "second", "--data", data, "--out", tmp_path / "p.html")
    assert code == 1
    assert err == [
        f"{data / 'runs/first'}: missing or unreadable: config.json",
        "no run 'secnd': did you mean second?",
    ]
    assert out[-1] == f"report -> {tmp_path / 'p.html'}"
    assert "<title>2 runs – actrec report</title>" in (tmp_path / "p.html").read_text("utf-8")


def test_run_is_also_an_option(run, data, tmp_path):
    out = tmp_path / "p.html"
    code, _, _ = run("report", "--data", data, "--run", "first", "--out", out, "--json", tmp_path / "said.json")
    assert code == 0
    assert json.loads((tmp_path / "said.json").read_text())["runs"] == [str(data / "runs/first")]
    assert "<title>first – actrec report</title>" in out.read_text("utf-8")


def test_scores_that_cannot_be_compared_are_named(run, data, tmp_path):
    scores(data / "runs/first/scores/val_1x1.npz")
    code, out, err = run("report", "first", "second", "--data", data, "--out", tmp_path / "p.html")
    text = "the score file of first does not say what its scores were made from"
    assert (code, err) == (0, [f"the scores of the runs cannot be compared: {text}"])
    assert [line.split(" (")[0] for line in out[:2]] == [
        f"scores of {name}: {data}/runs/{name}/scores/val_1x1.npz" for name in ("first", "second")
    ]


def test_without_any_run_there_is_no_page(run, data, tmp_path):
    code, out, err = run("report", tmp_path, "--data", data, "--out", tmp_path / "p.html")
    assert (code, out) == (1, ["no page was written"])
    assert err == [f"{tmp_path} is not a run: it contains none of config.json, log.jsonl, last.pt"]
    assert not (tmp_path / "p.html").exists()
    code, _, err = run("report", "--data", tmp_path / "other")
    assert (code, err) == (
        1,
        [f"Error: {tmp_path / 'other/runs'}: no run; `actrec train` creates one, or pass a run folder as RUN"],
    )


def test_score_files_belong_to_runs_in_order(run, data, tmp_path):
    mine = scores(tmp_path / "mine.npz")
    code, _, err = run("report", "first", "second", "--data", data, "--scores", mine)
    assert code == 2
    assert err[-1] == "Error: --scores given 1 times for 2 runs: expected one score file for each RUN"
    code, _, _ = run("report", "first", "--data", data, "--scores", mine, "--out", tmp_path / "p.html")
    assert code == 0
    assert str(mine) in (tmp_path / "p.html").read_text("utf-8")
    code, _, err = run("report", "first", "--data", data, "--scores", tmp_path / "no.npz")
    assert (code, err) == (1, [f"Error: {tmp_path / 'no.npz'}: no such file"])


def test_a_damaged_score_file(run, data, tmp_path):
    (data / "runs/second/scores/val_1x1.npz").write_bytes(b"PK")
    code, out, err = run("report", "second", "--data", data, "--out", tmp_path / "p.html")
    assert (code, out) == (1, [f"report -> {tmp_path / 'p.html'}"])
    assert len(err) == 1
    assert str(data / "runs/second/scores/val_1x1.npz") in err[0]


def test_a_list_that_cannot_be_read(run, data, tmp_path):
    code, _, err = run("report", "second", "--data", data, "--list", tmp_path / "no.txt")
    assert (code, err) == (1, [f"Error: {tmp_path / 'no.txt'}: no such file"])
    (tmp_path / "bad.txt").write_text("x.mp4 -5\n")
    code, _, err = run("report", "second", "--data", data, "--list", tmp_path / "bad.txt", "--out", tmp_path / "p.html")
    assert code == 1
    assert "bad.txt:1" in err[0]


def test_an_output_that_cannot_be_written(run, data, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = run("report", "first", "--data", data, "--out", tmp_path / "file/page.html")
    assert (code, out) == (2, [])
    assert "there is no folder" in err[-1]
    (data / "runs/first/report.html").mkdir()
    code, out, err = run("report", "first", "--data", data)
    assert (code, out, len(err)) == (1, [], 1)
    assert run("report", "first", "--data", data, "--out", tmp_path / "page.txt")[0] == 2
    code, _, err = run("report", "first", "--data", data, "--out", tmp_path / "p.html", "--list", tmp_path / "p.html")
    assert code == 2


def test_torch_is_not_loaded(data, tmp_path):
    code = (
        "import sys; from actrec.cli.main import main\n"
        f"try: main(['report', 'second', '--data', {str(data)!r}, '--out', {str(tmp_path / 'p.html')!r}])\n"
        "except SystemExit as stop: print(stop.code)\n"
        "print([x for x in ('torch', 'nvidia.dali', 'matplotlib') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-2:] == ["0", "[]"]
