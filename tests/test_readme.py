"""Every command of README.md and docs/quickstart.md, executed in the order of the page on a few small videos."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from actrec.cli.main import main

ROOT = Path(__file__).resolve().parents[1]

# Options that make a command fast. They change no option that a page names, except numbers of videos.
FASTER = {
    "toy": "--train-per-class 2 --val-per-class 1",
    "view": "--videos 1 --frames 4 --size 32",
    "train": "--backbone tiny3d --frames 6 --size 32 --epochs 1 --batch-size 4 --workers 2",
    "extract-flow": "--preset ultrafast",
    "bench": "--frames 6 --size 32 --seconds 0.5 --videos 4",
}


def commands(page: str) -> list[str]:
    """The commands in the code blocks and tables of a page, without the word `actrec` and without those that need the
    weights file of another project."""
    found = []
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("    actrec "):
            found.append(line.split(" #")[0].strip())
        elif line.startswith("|"):
            found += [span for span in re.findall(r"`([^`]+)`", line) if span.startswith("actrec ")]
    return [line.removeprefix("actrec ") for line in found if " FILE" not in line]


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """`videos` with three videos in each of eight class folders, and two videos beside it."""
    folder = tmp_path_factory.mktemp("toy") / "toy"
    call(f"toy {folder} --train-per-class 2 --val-per-class 1")
    for name, made in (("new.mp4", "opens/val_000.mp4"), ("match.mp4", "closes/val_000.mp4")):
        shutil.copy(folder / "videos" / made, folder / name)
    for path in (*folder.glob("*.txt"), *folder.glob("*.npy")):
        path.unlink()
    return folder


def call(arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(arguments))
    assert not stop.value.code, arguments


def test_all_commands_run_in_this_order(toy, tmp_path, monkeypatch, capsys):
    """A command of both pages runs once, because it takes seconds."""
    monkeypatch.chdir(shutil.copytree(toy, tmp_path / "data"))
    first, second = commands("docs/quickstart.md"), commands("README.md")
    assert len(first) >= 10
    assert len(second) >= 20
    for line in dict.fromkeys([*first, *second]):
        call(faster(line))
    for name in ("view.png", "report.html", "explain.png", "exported/model.onnx"):
        assert Path(name).stat().st_size


def faster(line: str) -> str:
    """The command with the options that it lacks of those in `FASTER`."""
    name, *given = shlex.split(re.sub(r"-per-class \d+", "-per-class 2", line))
    options = shlex.split(FASTER.get(name, "")) if "--resume" not in given else []
    added = [word for pair in zip(options[::2], options[1::2]) if pair[0] not in given for word in pair]
    return shlex.join([name, *given, *added])
