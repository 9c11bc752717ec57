"""docs/troubleshooting.md quotes messages as they are: each of its commands is executed."""

from __future__ import annotations

import importlib.util
import pickle
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import actrec
from actrec.cli.main import main

PAGE = Path(__file__).resolve().parents[1] / "docs/troubleshooting.md"
TRAIN = "train --backbone resnet3d_10 --frames 8 --size 32 --batch-size 8 --optimizer sgd --lr 0.01 --epochs 1"


def quoted() -> list[tuple[str, list[str]]]:
    """(command without the word `actrec`, the lines that the page shows of its output)."""
    found: list[tuple[str, list[str]]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("    $ actrec "):
            found.append((line.removeprefix("    $ actrec "), []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line.strip())
    return found


def call(arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(arguments))
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset folder with everything that the commands of the page complain about."""
    root = tmp_path_factory.mktemp("troubleshooting") / "data"
    with pytest.MonkeyPatch.context() as patch:
        assert call(f"toy {root} --train-per-class 2 --val-per-class 1") == 0
        patch.chdir(root)
        assert call("extract-frames videos .") == 0
        assert call(f"{TRAIN} --run runs/first") == 0
        assert call("evaluate --run runs/first") == 0
        assert call(f"{TRAIN} --seed 1 --run runs/second") == 0
        shutil.copy("runs/second/best.pt", "runs/first/best.pt")  # other weights: the scores do not belong to them
        rows = [line.rsplit(" ", 1) for line in Path("train.txt").read_text().splitlines()]
        names = Path("labels.txt").read_text().split()
        video = next(Path("videos").rglob("*.mp4"))
        texts = {
            "from_one.txt": [f"{row} {int(label) + 1}" for row, label in rows],
            "renamed.txt": [f"{row} {names[int(label)].replace('closes', 'close')}" for row, label in rows],
            "mmaction2.txt": [f"{row.split()[0]} {row.split()[2]} {label}" for row, label in rows],
            "missing.txt": [*Path("videos_train.txt").read_text().splitlines(), "videos/opens/gone.mp4 3"],
            "page.mp4": ["<!DOCTYPE html>", "<html>"],
            "two_classes/train.txt": [f"{root}/{row} {i % 2}" for i, (row, _) in enumerate(rows)],
            "two_classes/labels.txt": ["no", "yes"],
        }
        for name in ("empty", "two_classes", "two", "loose/videos/walk", "loose/videos/run"):
            Path(name).mkdir(parents=True)
        for name, lines in texts.items():
            Path(name).write_text("\n".join(lines) + "\n")
        Path("SLOWFAST_8x8_R50.pkl").write_bytes(pickle.dumps({"blobs": {}}, protocol=2))
        weights = actrec.net("tiny3d", num_classes=2).state_dict()
        torch.save({"student": weights, "teacher": dict(weights)}, "distilled.pth")
        Path("cut.mp4").write_bytes(video.read_bytes()[:3000])
        for i in range(1, 10):
            for kind in ("img", "mask"):
                shutil.copy("frames/closes/train_000/00001.jpg", f"two/{kind}_{i:05d}.jpg")
        for name in ("a.mp4", "walk/b.mp4", "run/c.mp4"):
            shutil.copy(video, f"loose/videos/{name}")
    return root


def test_the_page_has_at_least_twenty_errors():
    assert len(quoted()) >= 20
    assert all(lines for _, lines in quoted())


@pytest.mark.parametrize(("command", "lines"), quoted(), ids=[command for command, _ in quoted()])
def test_a_message_is_as_quoted(command, lines, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    if "--device cuda" in command:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if command.startswith("export"):
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    if command == "extract-frames":
        monkeypatch.chdir(folder / "empty")
    call(command)
    shown = capsys.readouterr()
    printed = (shown.err + shown.out).replace(str(folder), "/home/you/data").splitlines()
    for line in lines:
        assert [found for found in map(_without_numbers, printed) if found.startswith(_without_numbers(line))], printed


def _without_numbers(line: str) -> str:
    """A message for machines with other memory, and for videos of another build of the encoder."""
    return re.sub(r"[\d,.]+", "N", line)
