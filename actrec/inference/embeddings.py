"""Features of videos, and the files that contain them. This module does not need torch."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from actrec.config import Clip, Windows
from actrec.data import score_file
from actrec.data.lists import Video
from actrec.files import atomic_file, atomic_folder, atomic_write, read_json, write_json
from actrec.opening import check_regular, kind_of_file, open_npz, open_regular
from actrec.system import is_systems_fault
from actrec.words import counted, some_of

SUFFIXES = (".npz", ".npy", ".safetensors")
_ARRAYS = ("times", "frames", "features", "labels")
FEATURES_JSON = "features.json"  # in the folder of a layout
Layout = Literal["opentad", "actionformer"]
Dtype = Literal["float32", "float16"]


@dataclass(frozen=True, repr=False)
class Embeddings:
    """Features of videos, or of windows of videos, in the order of the list and of time.

        found = model.embed(["a.mp4", "b.mp4"])
        for id_, feature in zip(found.ids, found.features):
            print(id_, feature.shape)  # (channels,)

    Args:
        ids: (N,) the video of each row. The windows of a video share its id.
        times: (N, 2) float64, start and end in seconds from the start of the file or frame folder, from the timestamps
            of the file. NaN if the frame rate is unknown.
        frames: (N, 2) int64, the same in frames: half-open, counted from 0. In a frame folder, frame p is the image
            numbered p + 1.
        features: (N, C) float32.
        labels: (N,) int64, -1 for a row without a label; for several labels (N, classes) bool.
        missing: For each video that could not be used, its id and the reason.
        classes: The name of each label; None if the names are unknown.
    """

    ids: Sequence[str]
    times: np.ndarray
    frames: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    missing: dict[str, str] = field(default_factory=dict)
    classes: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        videos = list(dict.fromkeys(self.ids))
        missing = f"; {len(self.missing)} cannot be used" if self.missing else ""
        return "\n".join(
            (
                f"{counted(len(self), 'row')} of {self.features.shape[1]} features",
                f"  videos   {len(videos)}: {some_of(videos, 3)}{missing}",
                "  see      .features, .ids, .times, .frames, .labels, .missing",
            )
        )


def labels_of(videos: Sequence[Video], num_classes: int | None = None) -> np.ndarray:
    """The labels of rows of a list, as in `Embeddings`.

    Args:
        num_classes: Of a list whose videos may have several labels. None: as many as the list needs, if a video has
            several.
    """
    largest = max((label for video in videos for label in video.labels), default=-1)
    if num_classes is None and all(len(video.labels) < 2 for video in videos):
        return np.array([video.label for video in videos], np.int64)
    shown = np.zeros((len(videos), max(num_classes or 0, largest + 1)), bool)
    for row, video in zip(shown, videos):
        row[list(video.labels)] = True
    return shown


# ---- one file ----


def beside(path: Path) -> Path | None:
    """The second file that `save` writes: ids and times of a `.npy` file."""
    return path.with_suffix(".json") if path.suffix.lower() == ".npy" else None


def save(
    path: Path, embeddings: Embeddings, *, dtype: Dtype = "float32", made_from: Mapping[str, Any] | None = None
) -> list[Path]:
    """Writes embeddings, in the format that the suffix names. Returns the files.

    `.npz` and `.safetensors` have the arrays of `Embeddings`; safetensors has no texts, so ids and class names are JSON
    in its metadata. `.npy` has the features only, and the rest is in a JSON file of the same name.

    Args:
        made_from: What the features depend on, as `ScoreFile.made_from`.

    Raises:
        OSError: A file cannot be written.
        ValueError: A feature is too large for float16.
    """
    arrays: dict[str, Any] = {
        "times": embeddings.times,
        "frames": embeddings.frames,
        "features": _converted(embeddings.features, dtype),
        "labels": embeddings.labels,
    }
    origin = json.dumps(made_from or {})
    texts = {"ids": list(embeddings.ids)}
    if embeddings.classes is not None:
        texts["classes"] = list(embeddings.classes)
    if path.suffix.lower() == ".npy":
        others = {name: array.tolist() for name, array in arrays.items() if name != "features"}
        extra = path.with_suffix(".json")
        write_json(extra, {**texts, **others, "made_from": origin})
        with atomic_write(path, "wb") as file:
            np.save(file, arrays["features"])
        return [path, extra]
    if path.suffix.lower() == ".safetensors":
        from safetensors.numpy import save_file

        with atomic_file(path) as temporary:
            contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            metadata = {name: json.dumps(values) for name, values in texts.items()}
            save_file(contiguous, temporary, metadata={**metadata, "made_from": origin})
        return [path]
    with atomic_write(path, "wb") as file:
        strings: dict[str, Any] = {name: np.array(values, str) for name, values in texts.items()}
        np.savez(file, **strings, **arrays, made_from=np.array(origin))
    return [path]


def refuse_other(path: Path, made_from: Mapping[str, Any]) -> None:
    """Raises ValueError if `save` would replace files whose features were made from something else."""
    if path.exists() or ((extra := beside(path)) is not None and extra.exists()):
        score_file.refuse_change(path, _origin(path), made_from, "features")


def _origin(path: Path) -> dict[str, Any]:
    """What the features of a file were made from. Empty if it is not a file of `save`, or does not say so."""
    try:
        check_regular(path)
        if path.suffix.lower() == ".npy":
            text = read_json(path.with_suffix(".json"), dict)["made_from"]
        elif path.suffix.lower() == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="numpy") as file:
                text = file.metadata()["made_from"]
        else:
            with open_npz(path) as found:
                text = str(found["made_from"])
        return dict(json.loads(text))
    except PermissionError:
        raise
    except Exception:  # of three libraries: another kind of file
        return {}


def _converted(features: np.ndarray, dtype: Dtype) -> np.ndarray:
    largest, limit = np.abs(features).max(initial=0), np.finfo(dtype).max
    if np.isfinite(largest) and largest > limit:
        raise ValueError(f"a feature is {largest:.4g}, but the largest float16 is {limit:.5g}: expected dtype float32")
    return features.astype(dtype)


def read(path: Path) -> Embeddings:
    """Reads what `save` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: The file cannot be read.
        ValueError: It is another kind of file.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: expected a file of `actrec embed`, which ends in {', '.join(SUFFIXES)}")
    try:
        found = reader(path)
        ids = np.asarray(found["ids"]).astype(str)
        times, frames, features, labels = (np.asarray(found[name]) for name in _ARRAYS)
        classes = found.get("classes")
        embeddings = Embeddings(
            ids.tolist(),
            times.astype(np.float64),
            frames,
            features.astype(np.float32),
            labels,
            classes=None if classes is None else [str(name) for name in classes],
        )
    except FileNotFoundError as error:
        absent = beside(path) if path.exists() else path
        raise FileNotFoundError(f"{absent or error}: no such file: expected a file of `actrec embed`") from None
    except Exception as error:  # of three libraries
        if is_systems_fault(error):
            raise
        kind = kind_of_file(path)
        usual = {".npz": ("an archive of numpy", "an archive"), ".npy": ("an array of numpy",)}
        if kind not in (None, "a binary file", *usual.get(path.suffix.lower(), ("a checkpoint or a weights file",))):
            raise ValueError(f"{path}: this is {kind}, not a file of `actrec embed`") from None
        why = "it has no ids" if isinstance(error, TypeError) else " ".join(str(error).split())[:200].strip("'\"")
        raise ValueError(f"{path}: not a file of `actrec embed`, or damaged ({why})") from None
    arrays = {"ids": ids, "times": times, "frames": frames, "features": features, "labels": labels}
    rows = {array.shape[:1] for array in arrays.values()}
    if features.ndim != 2 or ids.ndim != 1 or times.ndim != 2 or frames.ndim != 2 or len(rows) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{path}: its arrays have the shapes {shapes}: expected one row of each for every video")
    for name, kinds in zip(_ARRAYS, ("f", "iu", "f", "iub")):
        if arrays[name].dtype.kind not in kinds:
            raise ValueError(f"{path}: {name} of type {arrays[name].dtype}: expected a file of `actrec embed`")
    return embeddings


def _read_npz(path: Path) -> dict[str, Any]:
    with open_npz(path) as found:
        return {name: found[name] for name in ("ids", *_ARRAYS, *({"classes"} & set(found.files)))}


def _read_npy(path: Path) -> dict[str, Any]:
    with open_regular(path) as file:
        features = np.load(file, allow_pickle=False)
    others = read_json(path.with_suffix(".json"), dict)
    return {"features": features, **others, "times": np.array(others["times"], np.float64).reshape(-1, 2)}


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    check_regular(path)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        texts = {name: json.loads(text) for name, text in file.metadata().items() if name in ("ids", "classes")}
        return {**arrays, **texts}


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
}


# ---- a folder for programs that localize actions ----


def save_layout(
    folder: Path,
    embeddings: Embeddings,
    layout: Layout,
    windows: Windows,
    clip: Clip,
    *,
    dtype: Dtype = "float32",
) -> dict[str, Any]:
    """Writes a folder with one `<name>.npy` (T, C) for each video, and `features.json`, which describes them.

    Both programs place feature t at `t * stride + window / 2` frames: the windows start at frame 0 and are equally
    spaced. A last window that ends at the last frame of the video and is not on this grid is left out. If a window is
    missing, the features of its video end before it.

    Args:
        embeddings: Of windows whose rate is known.
        clip: With `frames` set.

    Returns:
        The content of `features.json`.

    Raises:
        OSError: The folder cannot be written, or exists and is not empty.
    """
    rows: dict[str, list[int]] = {}
    for row, id_ in enumerate(embeddings.ids):
        rows.setdefault(id_, []).append(row)
    names = dict(zip(rows, file_names(list(rows))))
    videos = {names[id_]: _video_entry(id_, embeddings, found, windows, clip) for id_, found in rows.items()}
    described = _described(layout, embeddings, list(videos.values()), windows, clip)
    with atomic_folder(folder) as temporary:
        for id_, found in rows.items():
            first = found[: videos[names[id_]]["num_features"]]
            np.save(temporary / f"{names[id_]}.npy", _converted(embeddings.features[first], dtype))
        write_json(temporary / FEATURES_JSON, described | {"videos": videos}, indent=1)
    return described | {"videos": videos}


def file_names(ids: Sequence[str]) -> list[str]:
    """A unique file name for each id, without suffix: its last part, with the folders of videos that share it."""
    last = [_stem(PurePosixPath(id_).name) for id_ in ids]
    times = Counter(map(str.casefold, last))
    common = (
        os.path.commonpath([os.path.dirname(id_) for id_ in ids]) if len({id_[:1] == "/" for id_ in ids}) == 1 else ""
    )
    taken: set[str] = set()
    names = []
    for id_, stem in zip(ids, last):
        name = stem if times[stem.casefold()] == 1 else _stem(id_.removeprefix(common))
        safe = re.sub(r"[^\w.-]+", "_", name).strip("_.")[:200] or "video"
        unique, number = safe, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{safe}_{number}"
        taken.add(unique.casefold())
        names.append(unique)
    return names


def _stem(name: str) -> str:
    """The name without the suffix of a file. An id may have a range after it: `a.mp4 1-50`."""
    return re.sub(r"\.(?=\w*[A-Za-z])\w{2,5}(?=$| )", "", name)


def _video_entry(id_: str, embeddings: Embeddings, rows: list[int], windows: Windows, clip: Clip) -> dict[str, Any]:
    frames, times = embeddings.frames[rows], embeddings.times[rows]
    rate = _rate(frames, times)
    shift = times[:, 0] - times[0, 0] - np.arange(len(rows)) * windows.every
    is_constant = np.allclose((frames - frames[0, 0]) / rate, times - times[0, 0], rtol=0, atol=1e-6)
    # Windows start at the nearest frame. In a variable rate, it may be a frame away on average.
    on_grid = np.abs(shift) * rate <= (0.5 if is_constant else 1.0) + 1e-6
    num_frames = int(frames[-1, 1] - frames[0, 0])
    return {
        "id": id_,
        "num_features": int(len(rows) if on_grid.all() else on_grid.argmin()),
        "fps": rate,
        "frame": num_frames,
        "duration": _rounded(num_frames / rate),
        "feature_stride": _whole(windows.every * rate),
        "num_frames": windows.length(clip, rate),
    }


def _rate(frames: np.ndarray, times: np.ndarray) -> float:
    """Frames per second on average, of rows of one video."""
    return _rounded((frames[-1, 1] - frames[0, 0]) / (times[-1, 1] - times[0, 0]))


def _rounded(number: float) -> float:
    """Without the rounding errors of a division."""
    return float(f"{number:.12g}")


def _described(
    layout: Layout, embeddings: Embeddings, videos: Sequence[dict[str, Any]], windows: Windows, clip: Clip
) -> dict[str, Any]:
    """Stride and window in frames and seconds, at the rate of the first video, and as the program's options.

    If the videos have different rates, those in seconds hold for all of them, and each video has its own in frames.
    """
    rate = videos[0]["fps"]
    stride, window, channels = windows.every * rate, windows.length(clip, rate), embeddings.features.shape[1]
    options: dict[str, Any]
    if layout == "opentad":
        options = {
            "feature_stride": _whole(stride),
            "sample_stride": 1,
            "offset_frames": _whole(window / 2),
            "fps": rate,
        }
    else:
        options = {
            "file_prefix": None,
            "file_ext": ".npy",
            "feat_stride": _whole(stride),
            "num_frames": window,
            "default_fps": rate,
            "downsample_rate": 1,
            "input_dim": channels,
        }
    return {
        "layout": layout,
        "feature_stride": _whole(stride),
        "num_frames": window,
        "fps": rate,
        "stride_seconds": windows.every,
        "window_seconds": _rounded(window / rate),
        "num_channels": channels,
        "same_fps": bool(np.allclose([video["fps"] for video in videos], rate, rtol=1e-4)),
        "options": options,
    }


def _whole(number: float) -> int | float:
    """A whole number as an integer."""
    return round(number) if abs(number - round(number)) < 1e-6 else _rounded(number)


def parts_folder(out: Path) -> Path:
    """The folder next to a result in which unfinished work is stored."""
    return Path(f"{os.path.normpath(out)}.parts")
