from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from actrec.files import write_json

SMALL = ["--backbone", "resnet3d_10", "--widen", 0.125, "--frames", 5, "--size", 32, "--batch-size", 4, "--epochs", 1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Runs as `actrec train` logs them: two of two epochs, one of which says three."""
    from actrec.engine import runlog

    data = tmp_path_factory.mktemp("data")
    for name, epochs, lr in (("first", 2, 0.01), ("second", 3, 0.1)):
        run = data / "runs" / name
        run.mkdir(parents=True)
        write_json(run / "config.json", {"net": {"backbone": "s3d"}, "optim": {"epochs": epochs, "lr": lr}})
        write_json(run / "data.json", {"classes": ["a", "b"], "train": {"list": "0" * 64}})
        write_json(run / "environment.json", {"python": "3.13"})
        for epoch in range(2):
            runlog.append(run, {"epoch": epoch, "train_loss": 2 - lr - epoch, "val_loss": 1.5, "val_top1": 40.0 + epoch,
                                "clips_per_second": 12.34})  # fmt: skip
    return data


def test_a_table_of_runs(run, trained, tmp_path):
    code, out, err = run("runs", "--data", trained, "--json", tmp_path / "said.json")
    assert (code, err) == (0, [])
    assert [line.split() for line in out] == [
        ["run", "net", "epochs", "measure", "best", "last", "loss", "clips/s", "state"],
        ["first", "s3d", "2/2", "top-1", "41.00", "41.00", "0.9900", "12.3", "finished"],
        ["second", "s3d", "2/3", "top-1", "41.00", "41.00", "0.9000", "12.3", "in", "epoch", "3"],
    ]
    said = json.loads((tmp_path / "said.json").read_text())
    assert [(one["name"], one["planned"], one["state"]) for one in said] == [
        ("first", 2, "finished"), ("second", 3, "in epoch 3"),
    ]  # fmt: skip


def test_a_table_of_broken_runs(run, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "data")
    (tmp_path / "data/runs/first/config.json").write_text("{")
    (tmp_path / "data/runs/second/data.json").unlink()
    code, out, _ = run("runs", "--data", tmp_path / "data")
    assert code == 0
    assert {line.split()[2]: line.split("  ")[-1] for line in out[1:]} == {
        "2/?": "broken: config.json",
        "2/3": "broken: data.json",
    }


def test_what_train_leaves_is_read(run, dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "data")
    assert run("train", "--data", tmp_path / "data", *SMALL)[0] == 0
    _, out, _ = run("runs", "--data", tmp_path / "data")
    assert out[1].split()[1:4] == ["resnet3d_10", "1/1", "top-1"]
    assert out[1].endswith("finished")
    assert "-" not in out[1].split()


def test_compare(run, trained, tmp_path):
    code, out, err = run(
        "runs", "compare", "first", trained / "runs/second", "--data", trained, "--picture", tmp_path / "c.png",
        "--json", tmp_path / "said.json",
    )  # fmt: skip
    assert (code, err) == (0, [])
    assert out[:2] == [f"A  {trained}/runs/first", f"B  {trained}/runs/second"]
    assert [line.split() for line in out[3:6]] == [["A", "B"], ["optim.epochs", "2", "3"], ["optim.lr", "0.01", "0.1"]]
    assert [line.split() for line in out[-3:-1]] == [
        ["1", "1.9900", "1.9000", "-0.0900", "1.5000", "1.5000", "0.0000", "40.00", "40.00", "0.00"],
        ["2", "0.9900", "0.9000", "-0.0900", "1.5000", "1.5000", "0.0000", "41.00", "41.00", "0.00"],
    ]
    assert out[-1] == f"curves -> {tmp_path}/c.png"
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["different"][1] == {"name": "optim.lr", "a": 0.01, "b": 0.1}
    assert said["curves"][2] == {"name": "top-1", "a": {"0": 40.0, "1": 41.0}, "b": {"0": 40.0, "1": 41.0}}


def test_compare_takes_data_of_the_group_too(run, trained):
    code, out, _ = run("runs", "--data", trained, "compare", "first", "first")
    assert code == 0
    assert "made with the same options, data and versions" in out


def test_errors(run, trained, tmp_path):
    assert run("runs", "compare", "frist", "second", "--data", trained)[::2] == (
        1, ["Error: no run 'frist': did you mean first?"],
    )  # fmt: skip
    code, _, err = run("runs", "compare", "first", "second", "--data", trained, "--picture", "c.gif")
    assert code == 2
    assert err[-1] == "Error: Invalid value for '--picture': c.gif: expected a name that ends in .png, .pdf, .svg"
    assert run("runs", "--data", tmp_path / "none")[0] == 1
    assert run("runs", "--data", tmp_path)[1] == [f"{tmp_path}/runs contains no runs; `actrec train` creates one"]
    code, _, err = run("runs", "compere", "first", "second")
    assert code == 2
    assert err[-1] == "Error: no command 'compere': did you mean compare?"
    code, _, err = run("runs", "--json", tmp_path / "none/x.json", "--data", trained)
    assert code == 2
    assert "there is no folder" in err[-1]


BAD = {
    "deep": ("config.json", "[" * 100_000, "config.json"),
    "deep object": ("config.json", '{"a":' * 100_000, "config.json"),
    "nan": ("config.json", '{"net": {"backbone": "s3d"}, "optim": {"epochs": NaN}}', "config.json"),
    "huge": ("config.json", '{"net": {"backbone": "s3d"}, "optim": {"epochs": 1%s}}' % ("0" * 300), "config.json"),
    "types": ("config.json", '{"net": {"backbone": [1]}, "optim": {"epochs": 3}}', "config.json"),
    "twice": ("config.json", '{"net": {}, "net": {}}', "config.json"),
    "latin": ("config.json", "caf\xe9", "config.json"),
    "data": ("data.json", "[" * 100_000, "data.json"),
    "log": (
        "log.jsonl",
        '{"epoch": "x"}\n[1]\n3\n{"epoch": true}\n{"epoch": 0, "train_loss": 1%s}\n' % ("0" * 400),
        "",
    ),
    "deep log": ("log.jsonl", "[" * 100_000 + "\n", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_run_hides_no_other(tmp_path, name, run):
    good = {"config.json": '{"net": {"backbone": "s3d"}, "optim": {"epochs": 1}}', "data.json": "{}",
            "environment.json": "{}", "log.jsonl": '{"epoch": 0, "train_loss": 2.5, "val_top1": 50.0}\n'}  # fmt: skip
    for folder in ("bad", "good"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
        for file, text in good.items():
            (tmp_path / "runs" / folder / file).write_text(text)
    file, text, broken = BAD[name]
    (tmp_path / "runs/bad" / file).write_bytes(text.encode("latin1"))
    code, out, err = run("runs", "--data", tmp_path)
    assert (code, err) == (0, [])
    lines = {line.split()[0]: line for line in out}
    assert lines["good"].endswith("finished")
    assert lines["bad"].endswith(f"broken: {broken}") == bool(broken)
    code, out, err = run("report", "--data", tmp_path, "bad", "good", "--out", tmp_path / "r.html")
    assert out[-1].startswith("report -> ")
    assert any("bad" in line for line in err) == bool(broken)
    assert code == bool(broken)
    assert run("runs", "compare", "bad", "good", "--data", tmp_path)[0] == 0
