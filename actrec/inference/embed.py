"""Features of videos: the input of the net's last layer, or the output of any other module.

    model = actrec.load("runs/2026-11-28_s3d")
    model.embed(["a.mp4", "b.mp4"]).features        # (2, C) float32

The net computes its views in groups of a fixed size. The features of a video therefore do not depend on the batch size
or on the other videos.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pickle
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from actrec.config import Windows
from actrec.data.index import Media
from actrec.data.lists import Video
from actrec.data.storage import resolved
from actrec.data.video.container import MediaError
from actrec.engine import dist
from actrec.engine.devices import autocast
from actrec.engine.evaluate import NAN, evaluating, logits_of_views, outputs_of
from actrec.engine.failures import with_name
from actrec.files import atomic_write, read_json, sha256, write_json, writing
from actrec.inference.embeddings import Embeddings, labels_of
from actrec.nets.outside import last_layer, layer_of
from actrec.nets.transformer import Tokens
from actrec.opening import open_npz
from actrec.system import lock_folder

if TYPE_CHECKING:
    from actrec.inference.model import Model

_SAVE_EVERY = 10  # seconds of work that a power cut may lose
_FINGERPRINT = "embed.json"
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, Tokens)  # modules whose last dimension is the channels

# What is known of each feature: the row of its list, its number among the windows of the video, how many there are, its
# frames, and their times in seconds (NaN if unknown).
ROW = np.dtype(
    [(name, "i8") for name in ("row", "window", "windows", "start", "stop")] + [("begin", "f8"), ("end", "f8")]
)

Run = Callable[[torch.Tensor], torch.Tensor]  # (N, C, T, H, W) to (N, C)
Progress = Callable[[int, int, int], None]  # (done, total, failed): videos, or windows
# Computes the features of a task, except those of earlier `Part.rows`, and passes them to the last argument. The dict
# gets the id of each video that cannot be used, with the reason.
Work = Callable[["Task", Sequence[np.ndarray], dict[str, str], Callable[["Part"], None]], None]


@dataclass(frozen=True)
class Part:
    """Some finished features.

    Args:
        rows: (n,) of `ROW`.
        features: (n, C) float32.
    """

    rows: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Task:
    """The videos to embed, and the options that change the features.

    Args:
        videos: Rows of a list. Their ids must differ.
        layer: Name of a module, as `net.named_modules()` gives it. None: the input of the last layer.
        windows: None: one feature for each video.
    """

    videos: Sequence[Video]
    layer: str | None = None
    windows: Windows | None = None


def embed(
    model: Model, task: Task, *, folder: Path | None = None, progress: Progress | None = None, work: Work | None = None
) -> Embeddings | None:
    """Computes the features of all videos of a task. In several processes, each computes its part.

    Args:
        folder: Unfinished work is stored there, and the work of an earlier call is continued. The caller removes it.
        progress: Called in the first process.
        work: Computes the features in place of this process.

    Returns:
        The features. With a folder, all processes but the first get None.

    Raises:
        ValueError: There is no such layer, the net fails, or no video can be used.
        OSError: The folder cannot be written, or contains the work of another task.
    """
    find_layer(model.net, task.layer)
    store = Store(folder)
    if folder is not None:
        dist.by_first(lambda: prepare(folder, fingerprint(model, task)))
    before = dist.by_first(store.read)
    told = Told(progress if not dist.rank() else None, task)
    told.begin(before)
    missing: dict[str, str] = {}

    def receive(part: Part) -> None:
        if len(part.rows):
            store.add(part)
        told.add(len(part.rows), failed=len(missing))

    try:
        if work is not None:
            work(task, before, missing, receive)
        else:
            for part in compute(model, task, before, missing, told):
                receive(part)
    finally:
        store.flush()
        store.remove_if_empty()
    parts = [part for found in dist.gather(store.in_memory) for part in found] if folder is None else []
    reasons = {id_: reason for found in dist.gather(missing) for id_, reason in found.items()}
    if folder is None:
        return _put_together(model, task, parts, reasons)
    return _put_together(model, task, store.parts(), reasons) if not dist.rank() else None


def find_layer(net: Any, name: str | None) -> tuple[str, nn.Module]:
    """A module of a net and its name; the last layer if `name` is None.

    Raises:
        ValueError: There is none.
    """
    return last_layer(net) if name is None else (name, layer_of(net, name))


# ---- computing ----


def compute(
    model: Model, task: Task, before: Sequence[np.ndarray], missing: dict[str, str], told: Told
) -> Iterator[Part]:
    """The features that this process has to compute.

    Args:
        before: `Part.rows` of earlier work.
        missing: Gets the id of each video that cannot be used, with the reason.
    """
    run = functools.partial(_features, model.net, task.layer)
    with evaluating(model.net), torch.inference_mode(), autocast(model.device.type, model.precision):
        if task.windows is None:
            yield from _of_videos(model, task, run, before, missing)
        else:
            yield from _of_windows(model, task, run, before, missing, told)


def _of_videos(
    model: Model, task: Task, run: Run, before: Sequence[np.ndarray], missing: dict[str, str]
) -> Iterator[Part]:
    rows = remaining(task, before)
    if not rows:
        return
    place = {task.videos[row].id: number for number, row in enumerate(rows)}
    # Labels do not matter here, and may be those of other classes.
    loader = model.make_loader([task.videos[row]._replace(labels=()) for row in rows])
    for batch, features in outputs_of(run, loader, model.device):
        numbers = [place[id_] for id_ in batch.videos]
        about = np.zeros(len(numbers), ROW)
        for one, number in zip(about, numbers):
            media: Media = loader.index[number]
            one["row"], one["windows"] = rows[number], 1
            one["start"], one["stop"] = media.start, media.start + media.frames
            one["begin"], one["end"] = _seconds(media, one["start"], one["stop"])
        missing.update(loader.skipped)
        yield _part(task, about, _mean_of_views(features), missing)
    missing.update(loader.skipped)


def _of_windows(
    model: Model, task: Task, run: Run, before: Sequence[np.ndarray], missing: dict[str, str], told: Told
) -> Iterator[Part]:
    assert task.windows is not None
    done = dict(_complete_windows(before))
    rows = remaining(task, before)[dist.rank() :: dist.world()]
    for number, row in enumerate(rows):
        video = task.videos[row]._replace(labels=())
        try:
            sweep = model.make_sweep(video, task.windows)
        except (MediaError, OSError) as error:
            missing[video.id] = str(error)
            continue
        total, media = len(sweep.ranges), sweep.media
        told.opened(number, len(rows), total)
        place = {one.id: window for window, one in enumerate(sweep.videos)}
        step = done.get(row, 0) // model.batch_size
        sweep.load_state_dict({"epoch": 0, "step": step})
        for batch, features in outputs_of(run, sweep, model.device):
            found = [place[id_] for id_ in batch.videos]
            about = np.zeros(len(found), ROW)
            about["row"], about["window"], about["windows"] = row, found, total
            about["start"], about["stop"] = (sweep.ranges[found] + media.start).T
            about["begin"], about["end"] = _seconds(media, about["start"], about["stop"])
            yield _part(task, about, _mean_of_views(features), missing)
        if sweep.skipped:
            (window, reason), count = next(iter(sweep.skipped.items())), len(sweep.skipped)
            missing[video.id] = f"{count} of {total} windows cannot be used; the first: {with_name(window, reason)}"


def _seconds(media: Media, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The times of frames of a file, NaN if they are not known."""
    if not media.rate:
        return np.full_like(start, np.nan, float), np.full_like(stop, np.nan, float)
    times = media.file_times
    return times.at(start), times.at(stop)


def _part(task: Task, about: np.ndarray, features: np.ndarray, missing: dict[str, str]) -> Part:
    """The features that are finite numbers. The videos of the others are added to `missing`."""
    finite = np.isfinite(features).all(axis=1)
    missing.update({task.videos[row].id: NAN for row in about["row"][~finite].tolist()})
    return Part(about[finite], features[finite])


def _mean_of_views(features: torch.Tensor) -> np.ndarray:
    """(n, views, C) to (n, C) float32. Each video is averaged by itself, so that no other one changes its rounding."""
    return np.stack([np.asarray(views.mean(0).float().cpu()) for views in features.double()])


def _features(net: Any, layer: str | None, clips: torch.Tensor) -> torch.Tensor:
    """(N, C): the layer's output, or the last layer's input, averaged over all dimensions but the channels."""
    name, module = find_layer(net, layer)
    seen: list[Any] = []
    if layer is None:
        handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0] if inputs else None))
    else:
        handle = module.register_forward_hook(lambda _, inputs, output: seen.append(output))
    try:
        logits_of_views(net, clips)
    finally:
        handle.remove()
    if not seen:
        raise ValueError(f"layer {name!r}: net {net.name!r} does not call it: choose another one")
    found = seen[-1]  # of a module that is called several times, the last call
    if not isinstance(found, torch.Tensor) or found.ndim < 2 or len(found) % len(clips):
        shown = f"a tensor {tuple(found.shape)}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
        raise ValueError(
            f"layer {name!r} gives {shown} for {len(clips)} clips: expected a tensor (N, C, ...), or (N * frames, C, "
            "...), whose dimensions can be averaged"
        )
    channels = found.ndim - 1 if isinstance(module, _CHANNELS_LAST) else 1
    # A net for images sees the frames of a clip one after the other.
    each = found.movedim(channels, -1).reshape(len(clips), -1, found.shape[channels])
    return each.mean(1, dtype=torch.float64)


# ---- on the workers of a cluster ----


def embed_job(choice: bytes, rows: Sequence[int], task: Task, *, stop: object) -> tuple[list[Part], dict[str, str]]:
    """The features of some videos, in a worker of a cluster.

    Args:
        choice: The pickled arguments of `actrec.load`: path and keywords. A worker loads the model once.
        rows: Of the list, for each video of the task.

    Returns:
        The features, and the reason for each video that could not be used.
    """
    missing: dict[str, str] = {}
    with _ONE_JOB:  # a job uses all cores, and hooks of two jobs would see each other's clips
        parts = list(compute(_model_of(choice), task, [], missing, Told(None, task)))
    numbers = np.array(rows)
    for part in parts:
        part.rows["row"] = numbers[part.rows["row"]]
    return parts, missing


_ONE_JOB = threading.Lock()


@functools.lru_cache(maxsize=1)
def _model_of(choice: bytes) -> Model:
    from actrec.inference.model import load

    path, options = pickle.loads(choice)
    return load(path, **options)


# ---- what is done, and what remains ----


def _complete_windows(before: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """(row, number of its first windows that are done), of each row that was begun."""
    done = _unique(np.concatenate([*before, np.zeros(0, ROW)]))
    starts = np.flatnonzero(np.diff(done["row"], prepend=-1))
    for windows in np.split(done, starts[1:]) if len(done) else ():
        present = windows["window"] == np.arange(len(windows))
        yield int(windows["row"][0]), int(len(windows) if present.all() else present.argmin())


def _unique(rows: np.ndarray) -> np.ndarray:
    """Ascending, each window once."""
    return rows[np.unique(rows[["row", "window"]], return_index=True)[1]]


def remaining(task: Task, before: Sequence[np.ndarray]) -> list[int]:
    """The rows of the list that are not complete."""
    totals = {int(row): int(windows) for rows in before for row, windows in zip(rows["row"], rows["windows"])}
    done = {row for row, count in _complete_windows(before) if count == totals[row]}
    return [row for row in range(len(task.videos)) if row not in done]


def _put_together(model: Model, task: Task, parts: Sequence[Part], missing: dict[str, str]) -> Embeddings:
    """In the order of the list and of time.

    Raises:
        ValueError: There is no feature.
    """
    if not any(len(part.rows) for part in parts):
        first = next(iter(missing.items()), None)
        raise ValueError(f"no video could be embedded; {with_name(*first) if first else 'the list is empty'}")
    rows = np.concatenate([part.rows for part in parts])
    features = np.concatenate([part.features for part in parts])
    order = np.unique(rows[["row", "window"]], return_index=True)[1]
    rows, features = rows[order], features[order]
    frames = np.stack([rows["start"], rows["stop"]], axis=1)
    videos = [task.videos[row] for row in rows["row"].tolist()]
    return Embeddings(
        ids=[video.id for video in videos],
        times=np.stack([rows["begin"], rows["end"]], axis=1),
        frames=frames,
        features=features,
        labels=labels_of(videos, model.num_classes if model.multi_label else None),
        missing={video.id: missing[video.id] for video in task.videos if video.id in missing},
    )


class Told:
    """Reports the progress. With several processes, the first one multiplies its own by their number."""

    def __init__(self, progress: Progress | None, task: Task):
        self._progress, self._windows = progress, task.windows is not None
        self._done, self._total, self._failed = 0, len(task.videos), 0
        self._before = self._opened = 0  # windows of earlier work, and of the videos that were opened

    def begin(self, before: Sequence[np.ndarray]) -> None:
        self._done = self._before = len(_unique(np.concatenate([*before, np.zeros(0, ROW)])))
        if not self._windows:
            self._tell()

    def opened(self, number: int, videos: int, windows: int) -> None:
        """Counts the windows of a video. Videos that are not counted yet are assumed to have the average number."""
        self._opened += windows
        self._total = self._before + round(self._opened / (number + 1) * videos)
        self._tell()

    def add(self, count: int, *, failed: int) -> None:
        self._done += count * dist.world()
        self._failed = failed
        self._tell()

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._done, max(self._done, self._total), self._failed)


# ---- unfinished work ----


class Store:
    """Finished features, in files of a folder, or in memory.

    Args:
        folder: None: in memory.
    """

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._saved = time.monotonic()
        self.in_memory: list[Part] = []

    def add(self, part: Part) -> None:
        self.in_memory.append(part)
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.flush()

    def flush(self) -> None:
        """Writes what is in memory to a new file. Raises OutputError if it cannot be written."""
        self._saved = time.monotonic()
        if self._folder is None or not self.in_memory:
            return
        path = self._folder / f"{secrets.token_hex(8)}.npz"
        rows = np.concatenate([part.rows for part in self.in_memory])
        features = np.concatenate([part.features for part in self.in_memory])
        with writing(path), atomic_write(path, "wb") as file:
            np.savez(file, rows=rows, features=features)
        self.in_memory = []

    def remove_if_empty(self) -> None:
        """Removes the folder if it contains no work, as after an error. Other processes may still write to it."""
        if self._folder is not None and dist.world() == 1 and not self._paths():
            shutil.rmtree(self._folder, ignore_errors=True)

    def read(self) -> list[np.ndarray]:
        """`Part.rows` of all files."""
        return [] if self._folder is None else [_read(path, "rows") for path in self._paths()]

    def parts(self) -> list[Part]:
        return [Part(_read(path, "rows"), _read(path, "features")) for path in self._paths()]

    def _paths(self) -> list[Path]:
        assert self._folder is not None
        return sorted(path for path in self._folder.glob("*.npz") if not path.name.startswith("."))


def _read(path: Path, name: str) -> np.ndarray:
    try:
        with open_npz(path) as found:
            return np.asarray(found[name])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: the file is damaged ({error}); remove it, and its features are computed again"
        ) from None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Creates the folder for unfinished work, and locks it for this process. Removes it at the end if it is empty.

    Raises:
        ValueError: Another process has locked it.
        OutputError: It cannot be created.
    """
    with contextlib.ExitStack() as lock:
        with writing(folder):
            try:
                lock.enter_context(lock_folder(folder))
            except BlockingIOError:
                raise ValueError(
                    f"{folder} is in use: another `actrec embed` is writing to it; run this command again after it ends"
                ) from None
        yield


def prepare(folder: Path, expected: dict[str, Any]) -> None:
    """Makes the folder for unfinished work, or checks that its work is of the same kind.

    Raises:
        OutputError: The folder cannot be made.
        ValueError: It contains the work of other options.
    """
    path, expected = folder / _FINGERPRINT, json.loads(json.dumps(expected))
    with writing(folder):
        folder.mkdir(exist_ok=True)
    if not path.exists() and any(not found.name.startswith(".") for found in folder.iterdir()):
        raise ValueError(f"{folder}: not a folder of unfinished work: remove it, or choose another --out")
    if not path.exists() or not any(folder.glob("*.npz")):
        with writing(folder):
            write_json(path, expected, indent=1)
        return
    stored = read_json(path, dict)
    differ = [name for name in expected if stored.get(name) != expected[name]]
    if differ:
        raise ValueError(
            f"{folder}: contains unfinished work with another {', '.join(differ)}: run that command again to continue "
            "it, remove the folder, or choose another --out"
        )


def made_from(model: Model, task: Task, inputs: Sequence[str], dtype: str) -> dict[str, Any]:
    """Everything that a file of features depends on, as it is stored in the file.

    Args:
        inputs: The paths that the user passed, for messages.
        dtype: Of the file.
    """
    found = fingerprint(model, task)
    del found["device"]
    return {
        "command": "embed",
        "model": os.path.abspath(model.source),
        "model_sha256": found.pop("weights"),
        "inputs": ", ".join(inputs),
        "inputs_sha256": found.pop("list"),
        **found,
        "layer": find_layer(model.net, task.layer)[0] if task.layer else "the input of the last layer",
        "windows": found["windows"] or "none",
        "dtype": dtype,
    }


def fingerprint(model: Model, task: Task) -> dict[str, Any]:
    """Everything that features depend on, for JSON."""
    rows = hashlib.sha256()
    for video in task.videos:
        rows.update(repr((video.id, resolved(video.path), video.start, video.stop)).encode("utf-8", "replace"))
    return {
        "weights": sha256(model.source),
        "net": f"{model.net.name} {model.net.options}",
        "clip": asdict(model.clip),
        "input": str(model.input),
        "views": asdict(model.views),
        "precision": model.precision,
        "device": model.device.type,
        "layer": task.layer,
        "windows": asdict(task.windows) if task.windows is not None else None,
        "columns": list(ROW.names or ()),  # older versions stored others
        "list": rows.hexdigest(),
    }
