from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actrec.report import runs


def epoch_row(epoch: int, **values) -> dict:
    row = {"epoch": epoch, "lr": 0.01, "train_loss": 2.0 - epoch / 10, "clips_per_second": 10.0 + epoch}
    return {**row, "val_loss": 1.0, "val_top1": 50.0 + epoch, **values}


def write_run(path: Path, rows=(), *, epochs=4, steps=(), net="s3d", lr=0.01, classes=("a", "b"), changed=1000) -> Path:
    path.mkdir(parents=True)
    config = {"net": {"backbone": net, "dropout": None}, "optim": {"epochs": epochs, "lr": lr, "lr_steps": [15, 30]}}
    (path / "config.json").write_text(json.dumps(config))
    data = {"classes": list(classes), "flip_map": None, "train": {"list": "aa", "contents": "bb"}, "val": None}
    (path / "data.json").write_text(json.dumps(data))
    (path / "environment.json").write_text(json.dumps({"python": "3.13", "packages": {"torch": "2.13"}}))
    (path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if steps:
        (path / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    for file in path.iterdir():
        os.utime(file, (changed, changed))
    return path


def test_a_finished_run_in_a_line(tmp_path):
    run = write_run(tmp_path / "r", [epoch_row(0, val_top1=60.0), epoch_row(1), epoch_row(2), epoch_row(3)])
    assert runs.summary(runs.read(run)) == runs.Summary(
        name="r", net="s3d", epochs=4, planned=4, measure="top-1", best=60.0, last=53.0, loss=1.7,
        clips_per_second=13.0, state="finished",
    )  # fmt: skip


def test_a_run_that_was_stopped_within_an_epoch(tmp_path):
    steps = [{"step": 3, "epoch": 0, "loss": 9.0}, {"step": 20, "epoch": 2, "loss": 0.5, "top1": 1.0, "lr": 0.1}]
    found = runs.summary(runs.read(write_run(tmp_path / "r", [epoch_row(0), epoch_row(1)], steps=steps)))
    assert (found.epochs, found.state, found.loss) == (2, "in epoch 3", 0.5)
    found = runs.summary(runs.read(write_run(tmp_path / "s", [epoch_row(0)], steps=steps[:1])))
    assert (found.state, found.loss) == ("in epoch 2", 2.0)  # of the epoch that ended, not of a step within it


def test_a_run_that_has_just_begun(tmp_path):
    found = runs.summary(runs.read(write_run(tmp_path / "r")))
    assert (found.epochs, found.state, found.best, found.last, found.loss) == (0, "just started", None, None, None)
    steps = [{"step": 3, "epoch": 0, "loss": 9.0}]
    assert runs.read(write_run(tmp_path / "s", steps=steps)).state == "in epoch 1"


def test_torn_and_repeated_rows(tmp_path):
    run = write_run(tmp_path / "r", [epoch_row(0), epoch_row(1), epoch_row(1, val_top1=99.0)])
    with open(run / "log.jsonl", "a") as file:
        file.write('7\n{"lr": 1}\n{"epoch": 2, "train_lo')
    (run / "steps.jsonl").write_text(
        '{"epoch": null, "loss": 5}\n[3]\n{"step": 9, "epoch": 2, "loss": 0.25}\n{"step": 1'
    )
    found = runs.summary(runs.read(run))
    assert (found.epochs, found.best, found.state, found.loss) == (2, 99.0, "in epoch 3", 0.25)


def test_figures_that_are_no_numbers_or_were_not_measured(tmp_path):
    rows = [epoch_row(0, val_top1=float("nan")), epoch_row(1), {"epoch": 2, "train_loss": float("inf")}]
    found = runs.summary(runs.read(write_run(tmp_path / "r", rows)))
    assert (found.best, found.last, found.loss, found.epochs) == (51.0, 51.0, 1.9, 3)


def test_multi_label_runs_are_measured_by_map(tmp_path):
    rows = [epoch_row(0, val_map=12.0), epoch_row(1, val_map=11.0)]
    found = runs.summary(runs.read(write_run(tmp_path / "r", rows)))
    assert (found.measure, found.best, found.last) == ("mAP", 12.0, 11.0)


@pytest.mark.parametrize("text", [None, "{", "[1]", '{"net": "s3d", "optim": {"epochs": 3}}', '{"net": {}}', b"\xff"])
def test_broken_configs(tmp_path, text):
    run = write_run(tmp_path / "r", [epoch_row(0)])
    (run / "config.json").unlink()
    if text is not None:
        (run / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = runs.summary(runs.read(run))
    assert (found.state, found.net, found.planned, found.epochs) == ("broken: config.json", "", None, 1)


def test_every_other_file_that_is_missing_or_unreadable_is_named(tmp_path):
    run = write_run(tmp_path / "r", [epoch_row(0)])
    (run / "data.json").unlink()
    (run / "environment.json").write_text("")
    (run / "log.jsonl").write_bytes(b"\xff\xfe")
    assert runs.read(run).state == "broken: data.json, environment.json, log.jsonl"


def test_runs_are_found_oldest_first_and_other_folders_are_not(tmp_path):
    write_run(tmp_path / "b", changed=2000)
    write_run(tmp_path / "a", changed=3000)
    write_run(tmp_path / "c", changed=1000)
    (tmp_path / "scores").mkdir()
    (tmp_path / "note.txt").write_text("x")
    assert [path.name for path in runs.find(tmp_path)] == ["c", "b", "a"]
    assert runs.find(tmp_path / "none") == []


def test_runs_are_located_by_path_and_by_name(tmp_path):
    run = write_run(tmp_path / "runs" / "first")
    assert runs.locate(str(run), tmp_path) == run
    assert runs.locate("first", tmp_path / "runs") == run
    with pytest.raises(ValueError, match=r"^no run 'frist': did you mean first\?$"):
        runs.locate("frist", tmp_path / "runs")
    with pytest.raises(ValueError, match="none contains no runs$"):
        runs.locate("frist", tmp_path / "none")
    with pytest.raises(ValueError, match="is not a run: it contains none of config.json"):
        runs.locate(str(tmp_path), tmp_path / "runs")


def test_differences_of_options_data_and_versions(tmp_path):
    a = write_run(tmp_path / "a", classes=("walk", "run"))
    b = write_run(tmp_path / "b", net="i3d", lr=0.1, classes=("walk", "jump"))
    (b / "environment.json").write_text(json.dumps({"python": "3.13", "packages": {"torch": "2.14"}, "git": "f00"}))
    data = json.loads((b / "data.json").read_text())
    (b / "data.json").write_text(json.dumps({**data, "train": {"list": "cc", "contents": "bb"}}))
    assert runs.differences(runs.read(a), runs.read(b)) == [
        ("net.backbone", "s3d", "i3d"),
        ("optim.lr", 0.01, 0.1),
        ("train.list", "aa", "cc"),
        ("packages.torch", "2.13", "2.14"),
        ("git", "-", "f00"),
        ("class 1", "run", "jump"),
    ]
    assert runs.differences(runs.read(a), runs.read(a)) == []


def test_curves_of_runs_of_different_lengths(tmp_path):
    a = runs.read(write_run(tmp_path / "a", [epoch_row(0), epoch_row(1, val_top1=70.0)]))
    b = runs.read(write_run(tmp_path / "b", [epoch_row(i) for i in range(3)]))
    train_loss, _, top1 = runs.curves(a, b)
    assert [curve.name for curve in runs.curves(a, b)] == ["train loss", "val loss", "top-1"]
    assert top1.at(1) == (70.0, 51.0, -19.0)
    assert train_loss.at(2) == (None, 1.8, None)
    assert runs.shown_epochs([train_loss, top1]) == [0, 1, 2]


def test_map_is_compared_where_both_have_it(tmp_path):
    a = runs.read(write_run(tmp_path / "a", [epoch_row(0, val_map=1.0)]))
    b = runs.read(write_run(tmp_path / "b", [epoch_row(0)]))
    assert runs.curves(a, a)[2] == runs.Curve("mAP", {0: 1.0}, {0: 1.0})
    assert runs.curves(a, b)[2] == runs.Curve("top-1", {0: 50.0}, {0: 50.0})


@pytest.mark.parametrize("epochs", [21, 39, 50, 1000])
def test_a_long_run_is_shown_by_evenly_chosen_epochs(epochs):
    shown = runs.shown_epochs([runs.Curve("top-1", dict.fromkeys(range(epochs), 1.0), {})])
    assert len(set(shown)) == 20
    assert (shown[0], shown[-1]) == (0, epochs - 1)
    steps = [after - before for before, after in zip(shown, shown[1:])]
    assert max(steps) - min(steps) <= 1


def test_curves_are_drawn_even_where_a_run_has_none(tmp_path):
    a = runs.read(write_run(tmp_path / "a", [epoch_row(0), {"epoch": 1, "train_loss": 1.5}]))
    b = runs.read(write_run(tmp_path / "b"))
    for form in ("png", "svg"):
        runs.save_picture(tmp_path / f"x.{form}", ("a", "b"), runs.curves(a, b))
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "x.svg").read_text()


def test_reading_runs_loads_neither_torch_nor_matplotlib():
    code = "import sys, actrec.report.runs; print([x for x in ('torch', 'matplotlib', 'av') if x in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
