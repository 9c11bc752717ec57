"""Commands that write, and how to tell whether two of their results are equal: for kills and faults."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torture import media
from torture.launch import Ended, Launcher

NET = ("--backbone", "resnet3d_10", "--widen", 0.125, "--frames", 4, "--size", 32)
EPOCHS = 4
TRAIN = ("train", *NET, "--list", "train.txt", "--val-list", "val.txt", "--batch-size", 4, "--run", "new/run",
         "--epochs", EPOCHS, "--checkpoint-every", 1, "--log-every", 1,
         "--no-tensorboard", "--ema", 0.9, "--dropout", 0.3)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """A command that writes.

    Args:
        arguments: of the command, in a copy of the folder of `write_dataset`. Results go to `new`, or beside the lists.
        resume: further arguments that continue it once `resumable` exists.
        resumable: files, of which one must exist for that.
        shared: two processes at once may both succeed; otherwise one of them may be refused.
    """

    arguments: tuple[object, ...]
    resume: tuple[object, ...] = ()
    resumable: tuple[str, ...] = ()

    def command(self, folder: Path) -> tuple[object, ...]:
        """Its arguments, as they are right for the state of the folder."""
        is_begun = any((folder / name).exists() for name in self.resumable)
        return self.arguments + (self.resume if is_begun else ())


_RUN = ("--run", "runs/tiny")
SCENARIOS = {
    "extract-frames": Scenario(("extract-frames", "videos", "new")),
    "prepare": Scenario(("prepare", "videos", "new", "--sample", 0, "--preset", "ultrafast")),
    "extract-flow": Scenario(("extract-flow", "train.txt", "frames.txt")),
    "lists folders": Scenario(("lists", "folders", "videos", "--out", "new", "--force")),
    "lists convert": Scenario(("lists", "convert", "train.txt", "new/train.csv", "--force")),
    "index": Scenario(("index", "train.txt", "val.txt", "frames.txt", "--json", "new/index.json")),
    "index --verify": Scenario(("index", "train.txt", "val.txt", "frames.txt", "--verify")),
    "train": Scenario(TRAIN, ("--resume",), ("new/run/last.pt", "new/run/previous.pt")),
    "evaluate": Scenario(("evaluate", *_RUN, "--list", "train.txt", "--clips", 5, "--out", "new/scores.npz",
                          "--json", "new/result.json", "--confusion", "new/confusion.csv")),
    "predict": Scenario(("predict", "videos", "frames.txt", *_RUN,
                         "--json", "new/predicted.json", "--csv", "new/predicted.csv")),
    "timeline": Scenario(("predict", "videos/run/run0.mp4", *_RUN, "--timeline", "--every", 0.2, "--window", 0.4,
                          "--json", "new/timeline.json", "--csv", "new/timeline.csv", "--render", "new/rendered.mp4")),
    "embed": Scenario(("embed", "videos", *_RUN, "--clips", 5, "--out", "new/features.npz")),
    "view": Scenario(("view", "train.txt", "--videos", 8, *NET[:2], *NET[4:], "--out", "new/view.png")),
    "explain": Scenario(("explain", "videos/run/run0.mp4", *_RUN, "--out", "new/explained.mp4")),
    "report": Scenario(("report", "runs/tiny", "--out", "new/report.html")),
}  # fmt: skip


def write_dataset(folder: Path, launcher: Launcher) -> Path:
    """A dataset folder: 12 videos of two classes, 4 frame folders, lists, and a trained run."""
    rows = []
    for name in ("run", "walk"):
        (folder / "videos" / name).mkdir(parents=True)
        for i in range(6):
            media.video(folder / f"videos/{name}/{name}{i}.mp4", options={"g": "8"}, numbers=range(16 * i, 16 * i + 20))
            rows.append(f"videos/{name}/{name}{i}.mp4 {int(name == 'walk')}\n")
    (folder / "frames").mkdir()
    for i in range(4):
        media.folder(folder / f"frames/f{i}", numbers=range(10 * i, 10 * i + 12))
    (folder / "train.txt").write_text("".join(row for i, row in enumerate(rows) if i % 6))
    (folder / "val.txt").write_text("".join(rows[::6]))
    (folder / "frames.txt").write_text("".join(f"frames/f{i} {i % 2}\n" for i in range(4)))
    (folder / "labels.txt").write_text("run\nwalk\n")
    (folder / "new").mkdir()
    arguments = [argument if argument != "new/run" else "runs/tiny" for argument in TRAIN]
    ended = launcher.run(arguments, folder)
    assert ended.code == 0, ended.said
    for path in folder.glob("*.index.npy"):
        path.unlink()
    return folder


def copy(template: Path, folder: Path) -> Path:
    """A fresh copy, with the times of the files."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return folder


def snapshot(folder: Path) -> dict[str, str]:
    """A digest of the content of every file, without what differs between two runs: times and speeds."""
    return {name: digest for name, digest in _digests(folder)}


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        is_ours = path.name != "environment.json" and not path.name.startswith("events.out")
        # Certificates that a killed process has left may be in the file, so others have another place in it.
        if path.is_file() and is_ours and path.suffix != ".packets":
            digest = hashlib.sha256()
            _feed(digest, _content(path))
            yield str(path.relative_to(folder)), digest.hexdigest()


_VOLATILE = ("clips_per_second", "waiting", "seconds", "time", "date", "started", "made", "created")


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    if path.suffix in (".json", ".jsonl"):
        return (
            [json.loads(line) for line in path.read_text().splitlines()]
            if path.suffix == ".jsonl"
            else json.loads(path.read_text())
        )
    if path.name.endswith(".index.npy"):
        records = np.load(path)
        records["packets"] = records["seal"] = 0
        records["key"] = 0  # of the times of prepared videos
        return records
    return path.read_bytes()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in _VOLATILE:
                digest.update(str(key).encode())
                _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for one in value:
            _feed(digest, one)
    elif isinstance(value, (torch.Tensor, np.ndarray)):
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(value if isinstance(value, bytes) else repr(value).encode())


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """What differs: names of files."""
    return [
        f"{name} {'is missing' if name not in found else 'is not expected' if name not in expected else 'differs'}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]


def is_one_line(ended: Ended) -> bool:
    """Whether a command was refused as it should: exit code 1 or 2, and an error that is no traceback."""
    return ended.code in (1, 2) and "Traceback" not in ended.said and bool(ended.err.strip())
