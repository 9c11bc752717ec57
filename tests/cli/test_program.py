"""The program as a whole, and its small commands."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import actrec
from actrec.cli.main import COMMANDS
from actrec.data.index import build_index
from actrec.data.lists import read_list


def test_index(run, inside):
    code, out, _ = run("index", "train.txt", "val.txt")
    assert code == 0
    assert out[:3] == [
        "train.txt: 12 videos, 0 broken, 108 frames",
        "  size      32x24; short side 24",
        "  length    9 frames",
    ]
    shutil.rmtree("frames/val1")
    code, out, err = run("index", "val.txt")
    assert code == 1
    assert err[-1].endswith("frames/val1: no such file or folder")


def test_toy(run, tmp_path):
    code, out, _ = run("toy", tmp_path / "toy", "--train-per-class", "1", "--val-per-class", "1")
    assert code == 0
    assert out == [f"8 training and 8 validation videos of 8 classes -> {tmp_path / 'toy'}"]
    assert len(actrec.read_list(tmp_path / "toy/videos_train.txt")) == 8


def test_a_deleted_folder_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = run("index", "a.txt")
    assert code == 1
    assert err == ["Error: the current folder was deleted: expected a folder that exists; change to another one"]


def test_every_command_has_help_and_stands_in_the_docs(run):
    docs = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    for name in COMMANDS:
        code, out, _ = run(name, "--help")
        assert code == 0
        assert len(out) > 3
        assert f"## actrec {name}" in docs


def test_python_dash_m(tmp_path):
    shown = subprocess.run([sys.executable, "-m", "actrec", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"actrec, version {actrec.__version__}\n"


def test_closed_standard_streams(inside):
    """Without streams, the next files would get their numbers, and lines of libraries would be written into them."""
    command = shlex.join([sys.executable, "-m", "actrec", "index", "train.txt", "--verify"])
    for closed in ("2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        Path("train.txt.index.npy").unlink(missing_ok=True)
        assert subprocess.run(["bash", "-c", f"{command} {closed}"]).returncode == 0
        index = build_index(read_list("train.txt"), cache=Path("train.txt.index.npy"), lazy=True)
        assert index.unverified_files() == []
        assert not Path("train.txt.quarantine.csv").exists()
