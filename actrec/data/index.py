"""What is known of every video of a list before a frame of it is wanted: kind, frames, displayed size.

One row per file or folder, in one numpy record array, cached beside the list as `<list>.index.npy` and reused by every
command while the file's size and time of change are the same. Nothing is kept open.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from actrec.data import media
from actrec.data.files import atomic_write
from actrec.data.lists import Video

_BROKEN, _VIDEO, _FOLDER = 0, 1, 2
_ROW = np.dtype(
    [
        ("key", "u8", 2),  # of path, size and time of change
        ("kind", "u1"),
        ("frames", "i8"),
        ("first", "i8"),  # number of a folder's first image
        ("width", "i4"),
        ("height", "i4"),
        ("rotation", "i2"),
        ("rate", "f4"),
        ("codec", "S16"),
        ("pix_fmt", "S16"),
        ("colour", "S16"),
        ("template", "S64"),
        ("reason", "S240"),
    ]
)
_IMAGE = re.compile(r"(.*?)(\d{1,18})(\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE | re.DOTALL)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Media:
    """One video of a list, ready to be planned and read.

    Args:
        start: position of its first frame in the file or folder, 0-based; image files are numbered from 1.
        frames: how many frames it has (M).
        width, height: as displayed.
        template: of a folder's image names, None for a video file.
        rotation: counter-clockwise degrees from stored to displayed.
    """

    path: str
    start: int
    frames: int
    width: int
    height: int
    codec: str = ""
    pix_fmt: str = ""
    colour: str = ""
    rotation: int = 0
    rate: float = 0.0
    template: str | None = None

    def image(self, position: int) -> str:
        """Path of a folder's image at `position`."""
        return os.path.join(self.path, self.template.format(position + 1))


class Index(Sequence[Media]):
    """The media of a list, row by row.

    Args:
        broken: reason by row number, for rows that cannot be used. Asking for such a row raises its MediaError.
        certificates: by path, of the files decoded to their end so far; None for those that did not earn one.
    """

    def __init__(self, videos: Sequence[Video], rows: np.ndarray):
        self._videos = videos
        self._rows = rows
        self.broken: dict[int, str] = {}
        self.certificates: dict[str, media.Certificate | None] = {}
        self._spans = np.zeros((len(videos), 2), np.int64)
        for i, video in enumerate(videos):
            self._spans[i] = self._span(i, video)

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, i: int) -> Media:
        if i in self.broken:
            raise media.MediaError(self._videos[i].path, self.broken[i])
        row = self._rows[i]
        start, frames = self._spans[i].tolist()
        return Media(
            path=self._videos[i].path,
            start=start,
            frames=frames,
            width=int(row["width"]),
            height=int(row["height"]),
            codec=row["codec"].decode(),
            pix_fmt=row["pix_fmt"].decode(),
            colour=row["colour"].decode(),
            rotation=int(row["rotation"]),
            rate=float(row["rate"]),
            template=row["template"].decode("utf-8", "surrogateescape") if row["kind"] == _FOLDER else None,
        )

    def _span(self, i: int, video: Video) -> tuple[int, int]:
        """(first position, frames) of a row; (0, 0) and a reason where there is none."""
        row = self._rows[i]
        if row["kind"] == _BROKEN:
            self.broken[i] = row["reason"].decode("utf-8", "replace")
            return 0, 0
        first = int(row["first"]) - 1
        end = first + int(row["frames"])
        start = first if video.start is None else video.start
        stop = end if video.stop is None else video.stop
        if row["kind"] == _VIDEO:
            stop = min(stop, end)  # containers overstate and lists follow them; the decoder's last frame is repeated
        if start < first or start >= end or stop > end or stop <= start:
            self.broken[i] = f"the list says frames {start + 1} to {stop}, but there are {first + 1} to {end}"
            return 0, 0
        return start, stop - start


def build_index(
    videos: Sequence[Video],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Index:
    """Looks at every file and folder of a list, in parallel.

    Args:
        cache: file to read known rows from and to write all rows to; a cache that cannot be written is done without.
        workers: threads; one per core by default.
        progress: called with (done, total) while files are probed.

    Raises:
        ValueError: the list is empty, or nothing in it can be used.
    """
    if not videos:
        raise ValueError("the list holds no video")
    paths = list(dict.fromkeys(video.path for video in videos))
    keys = [_key(path) for path in paths]
    known = _load(cache)
    fresh = [(path, key) for path, key in zip(paths, keys) if key is None or key not in known]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for done, (key, row) in enumerate(pool.map(lambda pk: (pk[1], _probe(*pk)), fresh), 1):
            known[key or fresh[done - 1][0]] = row
            if progress:
                progress(done, len(fresh))
    by_path = {path: known[key or path] for path, key in zip(paths, keys)}
    if fresh and cache is not None:
        _save(cache, list(by_path.values()))
    index = Index(videos, np.stack([by_path[video.path] for video in videos]))
    if len(index.broken) == len(videos):
        raise ValueError(
            f"none of the {len(videos)} videos can be used; the first: {videos[0].path}: {index.broken[0]}"
        )
    return index


def cache_path(list_path: Path) -> Path:
    """Where the index of a list lies: `<list>.index.npy` beside it."""
    return list_path.with_name(list_path.name + ".index.npy")


def _key(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    digest = hashlib.blake2b(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    words = np.frombuffer(digest.digest()[:16], np.uint64)
    return int(words[0]), int(words[1])


def _load(cache: Path | None) -> dict:
    """Known rows by key. A cache of another version or a torn one is as good as none."""
    if cache is None or not cache.exists():
        return {}
    try:
        rows = np.lib.format.open_memmap(cache, mode="r")
    except (OSError, ValueError, EOFError):
        return {}
    if rows.dtype != _ROW or rows.ndim != 1:
        return {}
    return {tuple(row["key"].tolist()): row for row in rows}


def _save(cache: Path, rows: list) -> None:
    kept = [row for row in rows if row["kind"] != _BROKEN]  # what failed is looked at again
    try:
        with atomic_write(cache, "wb") as file:
            np.save(file, np.array(kept, _ROW))
    except OSError:
        return  # a read-only dataset: every command probes anew


def _probe(path: str, key: tuple[int, int] | None) -> np.void:
    row = np.zeros((), _ROW)
    row["key"] = key or (0, 0)
    try:
        if os.path.isdir(path):
            _probe_folder(path, row)
        else:
            _probe_video(path, row)
    except FileNotFoundError:
        row["reason"] = b"no such file or folder"
    except media.MediaError as error:
        row["reason"] = error.reason.encode("utf-8", "backslashreplace")[:240]
    except OSError as error:
        row["reason"] = (error.strerror or str(error)).encode()[:240]
    return row[()]


def _probe_video(path: str, row: np.ndarray) -> None:
    found = media.probe(path)
    row["kind"], row["first"] = _VIDEO, 1
    for name in ("frames", "width", "height", "rotation", "rate", "codec", "pix_fmt", "colour"):
        row[name] = getattr(found, name)


def _probe_folder(path: str, row: np.ndarray) -> None:
    """Naming template, first number, length of the unbroken sequence from there, size of the first image."""
    names = [match for name in os.listdir(path) if (match := _IMAGE.fullmatch(name))]
    if not names:
        raise media.MediaError(path, "the folder holds no numbered images such as 00001.jpg")
    (prefix, suffix), _ = Counter((m[1], m[3]) for m in names).most_common(1)[0]
    digits = [m[2] for m in names if (m[1], m[3]) == (prefix, suffix)]
    width = min(map(len, digits)) if any(d[0] == "0" and len(d) > 1 for d in digits) else 1
    numbers = sorted({int(d) for d in digits})
    gap = np.flatnonzero(np.diff(numbers) != 1)
    brace = str.maketrans({"{": "{{", "}": "}}"})
    template = f"{prefix.translate(brace)}{{:0{width}d}}{suffix.translate(brace)}"
    encoded = template.encode("utf-8", "surrogateescape")
    if len(encoded) > _ROW["template"].itemsize:
        raise media.MediaError(path, f"its image names are too long ({template})")
    image = read_image(os.path.join(path, template.format(numbers[0])))
    row["kind"], row["template"], row["codec"] = _FOLDER, encoded, suffix[1:].lower()
    row["first"], row["frames"] = numbers[0], (gap[0] + 1) if len(gap) else len(numbers)
    row["height"], row["width"] = image.shape[:2]


def read_image(path: str) -> np.ndarray:
    """An image file as RGB uint8 (H, W, 3), grey and CMYK converted, upright.

    Raises:
        MediaError: it is missing or not an image.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise media.MediaError(path, "the image is missing") from None
    except OSError as error:
        raise media.MediaError(path, error.strerror or str(error)) from None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
    except cv2.error:  # its header promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise media.MediaError(
            path, "not an image that OpenCV can decode" if len(data) else "the image is empty (0 bytes)"
        )
    return image
