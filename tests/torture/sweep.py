"""Runs every command on all media files of `media` at once, and judges what it makes of each file."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torture import media, reader
from torture.launch import Ended, Launcher
from torture.ledger import Ledger
from torture.media import Case

import actrec

NET = ("--backbone", "torture.reader:reader")
FED = ("--frames", reader.FRAMES, "--size", reader.SIZE)
_NORMAL = ("--mean", "0,0,0", "--std", "1,1,1")
_TOLERANCE = 20  # mean absolute difference of pictures, of 255: JPEG and H.264 lose that much of these small pictures
_LIMIT = 60.0  # seconds; a third where files that end a command are searched
_MOST_RUNS = 40  # of one command, to find the files that end it
_LEFTOVER = (".actrec-", ".part-")


@dataclass(frozen=True)
class Source:
    """A case that was written, and what a plain decode of it gives."""

    case: Case
    path: Path

    @cached_property
    def decoded(self) -> media.Decoded:
        return media.plain_decode(self.path)

    @property
    def name(self) -> str:
        return self.case.name

    @property
    def usable(self) -> bool | None:
        """Whether it must be used; None if it may be used or named."""
        if not isinstance(self.case.frames, str):
            return self.case.frames is not None
        count = len(self.decoded.frames)
        cut = self.case.promised is not None and count < 0.9 * self.case.promised - 1
        return False if not count or cut else None

    @property
    def count(self) -> int:
        frames = self.case.frames
        if frames is None:
            return media.NUM_FRAMES
        return (
            len(self.decoded.frames) if isinstance(frames, str) else frames if isinstance(frames, int) else len(frames)
        )

    @cached_property
    def numbers(self) -> list[int] | None:
        """What the frames show; None if they are too small to show a number."""
        frames = self.case.frames
        if isinstance(frames, str):
            return [media.number_of(rgb) for rgb in self.decoded.frames]
        return list(range(media.NUM_FRAMES)) if frames is None else None if isinstance(frames, int) else list(frames)

    def shows(self, pictures: Sequence[np.ndarray]) -> bool:
        """Whether these pictures, RGB (H, W, 3), are its frames."""
        if len(pictures) != self.count:
            return False
        if isinstance(self.case.frames, str):  # FFmpeg leaves parts of a damaged picture undefined
            return sum(map(_alike, pictures, self.decoded.frames)) >= self.count / 2
        return self.numbers is None or [media.number_of(rgb) for rgb in pictures] == self.numbers

    def seen(self, scores: np.ndarray) -> bool:
        """Whether the scores of the net `reader` are those of the frames that evaluation takes from this video.

        Before `index --verify`, the packets of a damaged file count as its frames, and the last one stands in for those
        that do not decode.
        """
        if not np.isfinite(scores).all():
            return False
        if self.numbers is None:
            return True
        found = reader.numbers_of(torch.from_numpy(np.asarray(scores, np.float32)))
        counts = {self.count, self.decoded.packets} if isinstance(self.case.frames, str) else {self.count}
        return any(self._agree(found, self._planned(count)) for count in counts)

    def _planned(self, count: int) -> list[int]:
        """The numbers of the frames that a clip has if the index knows `count` frames."""
        assert self.numbers is not None
        wanted = [(2 * x + 1) * count // (2 * reader.FRAMES) for x in range(reader.FRAMES)]
        return [self.numbers[min(i, self.count - 1)] for i in wanted]

    def _agree(self, found: list[int], expected: list[int]) -> bool:
        """What is read from a damaged picture depends on how it is resized."""
        equal = sum(map(int.__eq__, found, expected))
        return equal == len(found) or (self.usable is None and equal >= len(found) / 2)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        one = cv2.resize(one, other.shape[1::-1])
    return float(np.abs(one.astype(int) - other).mean()) < _TOLERANCE


class Batch:
    """A folder in which a command meets some of the sources: videos/a/, frames/ and the list all.txt."""

    def __init__(self, folder: Path, sources: Sequence[Source]):
        self.folder, self.sources = folder, sources
        (folder / "videos/a").mkdir(parents=True)
        (folder / "frames").mkdir()
        for source in sources:
            _link(source.path, folder / self.place(source))
        rows = [f"{self.place(source)}\t0\n" for source in sources]
        (folder / "all.txt").write_text("".join(rows), encoding="utf-8")
        (folder / "names.txt").write_text("".join(f"{number}\n" for number in range(reader.CLASSES)))
        self._before = self._inputs()

    def place(self, source: Source) -> str:
        return f"frames/{source.name}" if source.name in media.FOLDERS else f"videos/a/{source.name}"

    def json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return {}

    def faults(self) -> list[str]:
        """Temporary files, and inputs that a command has changed."""
        found = [str(path.relative_to(self.folder)) for path in leftovers(self.folder)]
        now = self._inputs()
        return found + [f"changed: {name}" for name, state in self._before.items() if now.get(name) != state]

    def _inputs(self) -> dict[str, tuple[int, int]]:
        paths = itertools.chain((self.folder / "videos").rglob("*"), (self.folder / "frames").rglob("*"))
        states = {str(path): path.lstat() for path in paths}
        return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items() if not os.path.isdir(name)}


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(_LEFTOVER)]


def _link(source: Path, path: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        path.mkdir()
        for entry in source.iterdir():
            os.link(entry, path / entry.name, follow_symlinks=False)
    else:
        os.link(source, path, follow_symlinks=False)


# ---- what the commands make ----

Judgment = tuple[
    bool | None, bool
]  # whether the result is right, None if there is no result; whether the file is named
Check = Callable[[Batch, Ended, Source], Judgment]


def _is_said(batch: Batch, ended: Ended, source: Source) -> bool:
    return f"/{source.name}: " in ended.said


def _failed(batch: Batch, name: str, source: Source, ended: Ended) -> bool:
    """Whether a table of failures, or the count of ignored files, has the file."""
    kind = f" {source.path.suffix}" if source.path.is_file() else "(pipe, socket or device)"
    if any(kind in line for line in ended.out.splitlines() if line.startswith("ignored files")):
        return True
    path = batch.folder / name
    if not path.exists() or ended.code != 1:
        return False
    with open(path, encoding="utf-8", newline="") as file:
        return any(Path(row[0]).name == source.name for row in csv.reader(file))


def _check_extracted(batch: Batch, ended: Ended, source: Source) -> Judgment:
    folder = batch.folder / "out/frames/a" / source.case.stem
    named = _failed(batch, "out/failed.csv", source, ended)
    if not folder.is_dir():
        return None, named
    images = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]
    return source.shows([image[..., ::-1] for image in images]), named


def _check_prepared(batch: Batch, ended: Ended, source: Source) -> Judgment:
    path = batch.folder / "out/prepared/a" / f"{source.case.stem}.mp4"
    named = _failed(batch, "out/failed.csv", source, ended)
    return (source.shows(media.plain_decode(path).frames) if path.exists() else None), named


def _check_flow(batch: Batch, ended: Ended, source: Source) -> Judgment:
    place = batch.folder / batch.place(source)
    folder = place if source.name in media.FOLDERS else batch.folder / "flow" / batch.place(source)
    if source.count == 1 and _failed(batch, "failed_flow.csv", source, ended):
        return True, True  # there is no motion
    counts = {len(list(folder.glob(f"*_{axis}.jpg"))) for axis in "xy"}
    named = _failed(batch, "failed_flow.csv", source, ended)
    return (counts == {source.count - 1} if counts != {0} else None), named


def _check_lists(batch: Batch, ended: Ended, source: Source) -> Judgment:
    rows = [row for path in (batch.folder / "out").glob("*.txt") for row in path.read_text().splitlines()]
    is_listed = any(
        f"/{source.name} " in row or f"/{source.name}\t" in row or f"/{source.name};" in row for row in rows
    )
    is_counted = _failed(batch, "out/missing.csv", source, ended) or "lead to no file" in ended.said
    return (True if is_listed else None), is_counted


def _check_index(batch: Batch, ended: Ended, source: Source) -> Judgment:
    """The summary must count what was named."""
    found = batch.json("found.json").get("all.txt", {})
    lines = [line for line in ended.err.splitlines() if f"/{source.name}: " in line]
    if not found or found["videos"] != len(batch.sources) or ended.code != bool(found["broken"]):
        return None, False
    is_damaged = any("of its frames" in line or "frames decode with errors" in line for line in lines)
    return (None if lines and not is_damaged else True), bool(lines)


def _check_verified(batch: Batch, ended: Ended, source: Source) -> Judgment:
    """The same, and damage that FFmpeg reports must be named."""
    right, named = _check_index(batch, ended, source)
    is_silent = isinstance(source.case.frames, str) and source.decoded.is_damaged and not named
    return (False if is_silent and right else right), named


def _check_trained(batch: Batch, ended: Ended, source: Source) -> Judgment:
    skipped = batch.json("found.json").get("skipped")
    if skipped is None or ended.code:
        return None, False
    place = batch.place(source)
    return (None if place in skipped else True), place in skipped and "Traceback" not in ended.err


def _check_scores(batch: Batch, ended: Ended, source: Source) -> Judgment:
    path = batch.folder / "scores.npz"
    if not path.exists():
        return None, False
    with np.load(path) as arrays:
        rows = dict(zip(arrays["ids"].tolist(), arrays["scores"]))
    scores = rows.get(batch.place(source))
    return (None if scores is None else source.seen(scores)), _is_said(batch, ended, source)


def _check_predicted(batch: Batch, ended: Ended, source: Source) -> Judgment:
    """Probabilities tell logits up to a constant: the brightest strip of a picture is white."""
    found = batch.json("found.json")
    videos = {video["video"]: video["classes"] for video in found.get("videos", ())}
    classes = videos.get(batch.place(source))
    named = batch.place(source) in found.get("missing", ()) and ended.code == 1
    if classes is None:
        return None, named
    scores = np.zeros(reader.CLASSES)
    for entry in classes:
        scores[int(entry["class"])] = math.log(max(entry["probability"], 1e-30))
    return source.seen(scores - scores.max() + 0.88), named


def _check_embedded(batch: Batch, ended: Ended, source: Source) -> Judgment:
    path = batch.folder / "features.npz"
    named = batch.place(source) in batch.json("found.json").get("missing", ()) and ended.code == 1
    if not path.exists():
        return None, named
    with np.load(path) as arrays:
        rows = dict(zip(arrays["ids"].tolist(), arrays["features"]))
    features = rows.get(batch.place(source))
    return (None if features is None else source.seen(features)), named


def _check_listed(key: str) -> Check:
    """A command that lists what it used under `key` of its JSON file. It names the others, or counts them all."""

    def check(batch: Batch, ended: Ended, source: Source) -> Judgment:
        found = batch.json("found.json")
        place = batch.place(source)
        unused = len(batch.sources) - len({entry["video"] for entry in found.get(key, ())})
        if f"{len(batch.sources)} videos, {unused} skipped" in ended.said:
            return any(entry["video"] == place for entry in found.get(key, ())) or None, True
        used = any(entry["video"] == place for entry in found.get(key, ()))
        return (True if used else None), place in found.get("missing", ()) and _is_said(batch, ended, source)

    return check


def _check_explained(batch: Batch, ended: Ended, source: Source) -> Judgment:
    return batch.json("found.json").get("video") == batch.place(source) or None, False


@dataclass(frozen=True)
class Sweep:
    """A command that takes many files.

    Args:
        arguments: of the command. WEIGHTS and TRAINABLE stand for files of weights.
        check: judges one file.
        output: a file that the command writes even if some of its inputs are broken.
        folders: it takes frame folders too.
        thorough: it reads every frame.
        opens: it opens the files.
        most: number of files that it takes at most.
        step: it meets only every n-th file.
    """

    arguments: tuple[object, ...]
    check: Check
    output: str = "found.json"
    folders: bool = True
    thorough: bool = False
    opens: bool = True
    most: int = 1000
    step: int = 1


WEIGHTS, TRAINABLE = object(), object()  # of `reader`, and of a small 3D ResNet
_SMALL = ("--backbone", "resnet3d_10", "--widen", 0.125)
_EVALUATED = (*NET, *FED, *_NORMAL, "--weights", WEIGHTS, "--labels", "names.txt", "--json", "found.json")

SWEEPS = {
    "extract-frames": Sweep(
        ("extract-frames", "videos", "out"), _check_extracted, "out/train.txt", folders=False, thorough=True
    ),
    "prepare": Sweep(
        ("prepare", "videos", "out", "--sample", 2, "--crf", 10, "--preset", "ultrafast"),
        _check_prepared,
        "out/train.txt",
        folders=False,
        thorough=True,
    ),
    "lists": Sweep(
        ("lists", "folders", "videos", "--out", "out"), _check_lists, "out/train.txt", folders=False, opens=False
    ),
    "index": Sweep(("index", "all.txt", "--json", "found.json"), _check_index),
    "index --verify": Sweep(("index", "all.txt", "--verify", "--json", "found.json"), _check_verified, thorough=True),
    "extract-flow": Sweep(("extract-flow", "all.txt"), _check_flow, "all.txt", thorough=True),
    "train": Sweep(
        ("train", *_SMALL, *FED,
         "--list", "all.txt", "--run", "run", "--epochs", 2, "--batch-size", 8,
         "--keep-last", "--json", "found.json"),
        _check_trained,
    ),
    "evaluate": Sweep(("evaluate", "--list", "all.txt", "--out", "scores.npz", *_EVALUATED), _check_scores),
    "predict": Sweep(("predict", "all.txt", "--topk", 0, *_EVALUATED), _check_predicted),
    "timeline": Sweep(("predict", "all.txt", "--timeline", "--every", 0.3, *_EVALUATED), _check_listed("videos")),
    "embed": Sweep(("embed", "all.txt", "--out", "features.npz", *_EVALUATED), _check_embedded),
    "view": Sweep(
        ("view", "all.txt", "--eval", "--videos", 100, "--out", "view.png", *NET, *FED, "--json", "found.json"),
        _check_listed("clips"),
        most=100,
    ),
    "explain": Sweep(
        ("explain", "all.txt", *_SMALL, *FED, "--weights", TRAINABLE, "--out", "explained.png", "--json", "found.json"),
        _check_explained,
        most=1,
        step=23,
    ),
}  # fmt: skip

_FOLDERS = (*media.FOLDERS, "empty_folder.mp4")
_HIDDEN = ("damaged", "emptied", "page_in_it", "other_size", "with_bomb", "with_pipe", "with_loop")  # in one image


def column_of(source: Source, judgment: Judgment, command: Sweep) -> str:
    """The column of the ledger for what a command made of a file."""
    right, named = judgment
    must = source.usable
    if not command.opens or (source.name in _HIDDEN and not command.thorough):  # it cannot see that it is broken
        must = must or None
    if right:
        return "wrong silently" if must is False else "right"
    if right is False:
        return "wrong silently"
    return ("refused" if must else "named") if named else "wrong silently"


class Sweeper:
    """Writes the cases and runs the sweeps.

    Args:
        folder: to work in.
        cases: videos and frame folders.
    """

    def __init__(self, folder: Path, cases: Sequence[Case], ledger: Ledger):
        self._folder, self._ledger, self._numbers = folder, ledger, itertools.count()
        (folder / "sources").mkdir(parents=True)
        self.sources = []
        for case in cases:
            case.write(folder / "sources" / case.name)
            self.sources.append(Source(case, folder / "sources" / case.name))
        self._weights = {WEIGHTS: folder / "reader.pt", TRAINABLE: folder / "small.pt"}
        torch.save(reader.reader(reader.CLASSES).state_dict(), self._weights[WEIGHTS])
        torch.save(actrec.net("resnet3d_10", num_classes=2, widen=0.125).state_dict(), self._weights[TRAINABLE])

    def sweep(self, launcher: Launcher, name: str, *, fresh: bool = False) -> None:
        """Runs one command on all sources that it takes."""
        command = SWEEPS[name]
        sources = [source for source in self.sources if command.folders or source.name not in _FOLDERS]
        sources = sources[:: command.step]
        for first in range(0, len(sources), command.most):
            self._runs_left = _MOST_RUNS
            self._run(launcher, name, sources[first : first + command.most], fresh)

    def _run(self, launcher: Launcher, name: str, sources: Sequence[Source], fresh: bool) -> None:
        command, folder = SWEEPS[name], self._folder / f"{next(self._numbers)}_{name.replace(' ', '')}"
        batch = Batch(folder, sources)
        arguments = [self._weights.get(argument, argument) for argument in command.arguments]
        ended = launcher.run(
            arguments, folder, limit=_LIMIT if self._runs_left == _MOST_RUNS else _LIMIT / 3, fresh=fresh
        )
        disaster = self._ledger.disaster(ended)
        if not (folder / command.output).exists() and len(sources) > 1:
            disaster = disaster or "lost work"  # one file ended the command for all
        self._runs_left -= 1
        if disaster and len(sources) > 1 and self._runs_left > 0:  # which files are to blame?
            middle = len(sources) // 2
            for part in (sources[:middle], sources[middle:]):
                self._run(launcher, name, part, fresh)
        elif disaster:
            what = f"{len(sources)} files such as {sources[0].name}: {ended.last_line}"
            self._ledger.add(name, disaster, what, len(sources))
        else:
            for source, column, why in self._judged(batch, ended, command):
                self._ledger.add(name, column, f"{source.name}: {why}")
            for fault in batch.faults():
                self._ledger.add(name, "lost work" if fault.startswith("changed") else "leftover", fault)
            if ended.orphans:
                self._ledger.add(name, "leftover", f"{ended.orphans} processes")
        shutil.rmtree(folder)

    def _judged(self, batch: Batch, ended: Ended, command: Sweep) -> Iterator[tuple[Source, str, str]]:
        for source in batch.sources:
            if (batch.folder / command.output).exists():
                right, named = command.check(batch, ended, source)
            else:  # it was the only one
                right, named = None, ended.code == 1 and (source.name in ended.said or "no video" in ended.said)
            column = column_of(source, (right, named), command)
            lines = [line for line in ended.said.splitlines() if source.name in line]
            said = lines[0][:300] if lines else f"not named; exit code {ended.code}: {ended.last_line}"
            yield source, column, f"{source.count} frames expected; {said}" if source.usable is not False else said
