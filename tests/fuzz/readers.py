"""Every reader of a file that a user or a stranger may have made, with a small valid file to start from."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

import actrec
from actrec.config import Clip
from actrec.data import score_file
from actrec.data.index.cache import find_records, is_intact, read_quarantine
from actrec.data.index.index import build_index
from actrec.data.lists import Video, read_flips, read_labels, read_list
from actrec.data.lists.formats import FORMATS, Options, guess_format
from actrec.engine import checkpoint, runlog
from actrec.inference import embeddings
from actrec.nets.weights_file import read_checkpoint
from actrec.report import runs

CORPUS = Path(__file__).with_name("corpus")
LONGEST = 600  # characters of a line of an error message


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Args:
        file: The name of the file.
        read: Reads it, and uses what it says as the commands do.
        valid: The content of a valid file.
    """

    file: str
    read: Callable[[Path], object]
    valid: bytes


def _saved(save: Callable) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def _tiny_checkpoint(**changes: object) -> dict:
    net = torch.nn.Linear(2, 2)
    described = {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 8, "frames": 4}
    return {
        "net": {"name": "s3d", "options": {"num_classes": 2}, "input": described},
        "state_dict": net.state_dict(),
        "clip": {"frames": 4},
        "channels_last": False,
        "classes": ["a", "b"],
        "multi_label": False,
        "crop_ratio": 1.0,
        "progress": {"epoch": 1},
        "loader": {"epoch": 1, "step": 0},
        "config": {"optim": {"epochs": 3}},
        **changes,
    }


def read_checkpoint_of_a_run(path: Path) -> None:
    saved = checkpoint.load(path)
    with checkpoint.contents_of(path):
        checkpoint.epochs_of(saved)
        Clip(**saved["clip"])
        checkpoint.input_from(saved["net"]["input"])
        actrec.Views(crop_ratio=saved.get("crop_ratio", 1.0))


def read_run(path: Path) -> None:
    """`actrec runs`, `actrec runs compare`, and what `actrec report` takes from a run."""
    (run,) = [runs.read(found) for found in runs.find(path.parent.parent)] or [runs.read(path.parent)]
    for _, left, right in runs.differences(run, run):
        raise AssertionError(f"{left} != {right}")
    summary = runs.summary(run)
    json.dumps([summary.__dict__, [curve.at(0) for curve in runs.curves(run, run)]])
    assert isinstance(summary.state, str)
    for number in (summary.best, summary.last, summary.loss, summary.clips_per_second):
        assert number is None or f"{number:.2f}"
    assert isinstance(f"{summary.epochs}/{summary.planned}", str)


def read_index(path: Path) -> None:
    """A cache of two files that do not exist: nothing in it may be believed."""
    names = ["a.mp4", "b.mp4"]
    for record in find_records(2, names.__getitem__, path):
        is_intact(record)
    try:
        build_index([Video.of(str(path.parent / name)) for name in names], cache=path, workers=1)
    except ValueError as error:
        assert str(error).startswith("none of the 2 videos can be used")  # noqa: PT017
    else:
        raise AssertionError("files that do not exist were believed")


def read_format(name: str, path: Path) -> None:
    FORMATS.get(name).read(path, Options(str(path.parent), (), "train"))


def read_scores(path: Path) -> None:
    content = score_file.read(path)
    assert len(content.ids) == len(content.scores) == len(content.labels)


def _index() -> bytes:
    from actrec.data.index.cache import seals
    from actrec.data.index.probe import RECORD, checksum

    records = np.zeros(2, RECORD)
    records["name"] = [checksum("a.mp4"), checksum("b.mp4")]
    records["frames"], records["width"], records["height"], records["kind"] = 10, 32, 24, 1
    records["seal"] = seals(records)
    return _saved(lambda file: np.save(file, records))


SCORES = {"ids": np.array(["a", "b"]), "scores": np.zeros((2, 3), np.float32), "labels": np.array([0, 2])}
EMBEDDINGS = {"ids": np.array(["a", "b"]), "times": np.zeros((2, 2)), "frames": np.zeros((2, 2), np.int64),
              "features": np.zeros((2, 4), np.float32), "labels": np.array([0, 2])}  # fmt: skip
HARA = {"labels": ["run", "wave hands"], "database": {
    "a": {"subset": "training", "annotations": {"label": "run", "segment": [1, 9]}},
    "b": {"subset": "validation", "annotations": {"label": "wave hands"}, "video_path": "x/b"},
}}  # fmt: skip
ACTIVITYNET = {"database": {
    "a": {"subset": "training", "annotations": [{"label": "run", "segment": [1.5, 9]}], "fps": 25},
    "b": {"subset": "testing", "annotations": []},
}, "taxonomy": [
    {"nodeId": 0, "nodeName": "Root", "parentId": None}, {"nodeId": 1, "nodeName": "run", "parentId": 0},
]}  # fmt: skip
TEXTS = {
    "actrec": b"a b.mp4 1 30 0\nc.mp4 2 9 1,3\nd 1.5s 3s -\n",
    "ibm": b"a 1 30 0\nb 1 20 1 2\n",
    "mmaction2-frames": b"a 30 0\nb 20 1\n",
    "mmaction2-clips": b"a 30 20 0\nb 0 20 1\n",
    "mmaction2-video": b"a.mp4 0\nb.mp4 1 2\n",
    "pyslowfast": b"a.mp4 0\nb.mp4 1\n",
    "csv": b'path,start,end,labels,split,fps\n"a, b.mp4",1,9,0;2,train,25\nb.mp4,1.5s,2s,1,val,\n',
    "kinetics": b"label,youtube_id,time_start,time_end,split\nrun,abc,5,15,train\nwave hands,--,1,11,test\n",
    "hara": json.dumps(HARA).encode(),
    "activitynet": json.dumps(ACTIVITYNET).encode(),
}
CONFIG = {"net": {"backbone": "s3d"}, "optim": {"epochs": 3, "lr": 0.1}, "clip": {"modality": "rgb"}}
LOG = b'{"epoch": 0, "train_loss": 1.5, "val_top1": 50.0, "clips_per_second": 3.5}\n{"epoch": 1, "val_top1": null}\n'

READERS = {
    "list": Reader("train.txt", read_list, TEXTS["actrec"]),
    "labels": Reader("labels.txt", read_labels, b"run\nwave hands\n"),
    "flips": Reader("flips.txt", partial(read_flips, labels=["left hand", "right hand", "run"]),
                    b"left hand;right hand\nrun -\n"),
    "guess": Reader("guess.txt", guess_format, TEXTS["csv"]),
    **{f"format-{name}": Reader(f"l{FORMATS.get(name).suffix}", partial(read_format, name), text)
       for name, text in TEXTS.items()},
    "checkpoint": Reader("best.pt", read_checkpoint_of_a_run,
                         _saved(lambda file: torch.save({"format": 4, **_tiny_checkpoint()}, file))),
    "checkpoint-legacy": Reader("best.pt", read_checkpoint_of_a_run, _saved(
        lambda file: torch.save({"format": 4, **_tiny_checkpoint()}, file, _use_new_zipfile_serialization=False))),
    "weights": Reader("w.pth", read_checkpoint, _saved(lambda file: torch.save({"a.b": torch.zeros(3)}, file))),
    "weights-legacy": Reader("w.pth", read_checkpoint, _saved(
        lambda file: torch.save({"state_dict": {"a.b": torch.zeros(3)}, "best": np.float64(1)}, file,
                                _use_new_zipfile_serialization=False))),
    "safetensors": Reader("w.safetensors", read_checkpoint, safetensors.torch.save({"a.b": torch.zeros(3)})),
    "scores": Reader("s.npz", read_scores,
                     _saved(lambda file: np.savez(file, **SCORES, made_from=np.array('{"a": 1}')))),
    "scores-compressed": Reader("s.npz", read_scores, _saved(lambda file: np.savez_compressed(file, **SCORES))),
    "embeddings": Reader("e.npz", embeddings.read, _saved(lambda file: np.savez(file, **EMBEDDINGS))),
    "embeddings-safetensors": Reader("e.safetensors", embeddings.read, safetensors.numpy.save(
        {name: array for name, array in EMBEDDINGS.items() if name != "ids"}, {"ids": '["a", "b"]'})),
    "embeddings-json": Reader("e.json", lambda path: embeddings.read(path.with_suffix(".npy")), json.dumps(
        {name: array.tolist() for name, array in EMBEDDINGS.items() if name != "features"}).encode()),
    "index": Reader("l.txt.index.npy", read_index, _index()),
    "quarantine": Reader("l.txt.quarantine.csv",
                         lambda path: read_quarantine(path.with_name("l.txt.index.npy")), b"a.mp4,broken\n"),
    "config": Reader("config.json", read_run, json.dumps(CONFIG).encode()),
    "data": Reader("data.json", read_run, b'{"classes": ["a", "b"], "train": {"list": "x"}, "val": null}'),
    "environment": Reader("environment.json", read_run, b'{"torch": "2"}'),
    "log": Reader("log.jsonl", read_run, LOG),
    "steps": Reader("steps.jsonl", read_run, b'{"epoch": 2, "step": 3, "loss": 0.5}\n'),
    "run-config": Reader("config.json", lambda path: runlog.read_config(path.parent), json.dumps(CONFIG).encode()),
}  # fmt: skip


def check(name: str, content: bytes, folder: Path) -> None:
    """Reads a content. Either that works, or one error names the file in short lines. Otherwise the content is kept."""
    reader = READERS[name]
    folder = folder / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / reader.file
    for other in ("config.json", "log.jsonl", "steps.jsonl", "data.json", "environment.json"):
        text = {"config.json": READERS["config"].valid, "log.jsonl": LOG, "steps.jsonl": b""}.get(other, b"{}")
        if reader.read is read_run and other != reader.file:
            (folder / other).write_bytes(text)
    if name == "embeddings-json":
        np.save(path.with_suffix(".npy"), EMBEDDINGS["features"])
    path.write_bytes(content)
    try:
        _read(reader, path)
    except BaseException:
        if os.environ.get("ACTREC_FUZZ"):  # hypothesis tries the smallest failing content last
            (CORPUS / name).mkdir(parents=True, exist_ok=True)
            (CORPUS / name / "found").write_bytes(content)
        raise


def _read(reader: Reader, path: Path) -> None:
    text = None
    try:
        reader.read(path)
    except (ValueError, OSError) as error:
        text = str(error)
    if text is not None:
        lines = text.splitlines() or [""]
        assert path.stem in lines[0], f"does not name the file: {text}"
        assert len(lines) <= 22, f"{len(lines)} lines"
        assert max(map(len, lines)) <= LONGEST + len(str(path)), f"{max(map(len, lines))} characters"
        assert not any(ord(c) < 32 and c != "\t" for line in lines for c in line), f"control characters: {lines}"
