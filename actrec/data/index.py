"""What is known of every video of a list before a frame of it is wanted: kind, frames, displayed size.

One row per file or folder, in one numpy record array, cached beside the list as `<list>.index.npy`, memory-mapped, and
reused by every command while the file's size and time of change are the same. A long list is not looked through before
it is used: a row is checked, or probed, when it is first drawn. Nothing is kept open.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from actrec.config import FLOW_PAIRS
from actrec.data import media
from actrec.data.files import atomic_write
from actrec.data.flow import FLOW_IMAGE, UNFINISHED, y_of
from actrec.data.lists import Video

LAZY = 20_000  # longer lists are looked at row by row, as they are drawn
_SHARE = 32  # certificates may fill this part of the memory (9 KiB for 300 frames); others are made again each time

_UNKNOWN, _VIDEO, _FOLDER, _FLOW = 0, 1, 2, 3
_UNTRIED, _SOUND, _UNSOUND = 0, 1, 2  # what decoding a file to its end has shown
_ROW = np.dtype(
    [
        ("name", "u4"),  # checksum of the path, by which a row is found again
        ("key", "u8", 2),  # of path, size and time of change, by which it is believed
        ("kind", "u1"),
        ("proof", "u1"),
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
    ]
)
_IMAGE = re.compile(r"(.*?)(\d{1,18})(\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE | re.DOTALL)

_FLOW_MADE = "`actrec extract-flow` makes it"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Media:
    """One video of a list, ready to be planned and read.

    Args:
        start: position of its first frame in the file or folder, 0-based; image files are numbered from 1.
        frames: how many frames it has (M), or pairs of flow images.
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
    flow: bool = False

    @property
    def positions(self) -> int:
        """How many places a frame of a clip can be chosen from: a stack of flow begins where all of it follows."""
        return max(1, self.frames - FLOW_PAIRS + 1) if self.flow else self.frames

    def image(self, position: int) -> str:
        """Path of a folder's image at `position`."""
        return os.path.join(self.path, self.template.format(position + 1))

    def images(self, chosen: int) -> list[str]:
        """Paths of the images of a folder that make one frame of a clip: one, or x, y, x, y, … of a stack of flow.

        Args:
            chosen: of `positions`. Too short a video repeats its last flow.
        """
        if not self.flow:
            return [self.image(self.start + chosen)]
        pairs = (self.image(self.start + min(chosen + i, self.frames - 1)) for i in range(FLOW_PAIRS))
        return [path for x in pairs for path in (x, y_of(x))]


class Index(Sequence[Media]):
    """The media of a list, row by row.

    Args:
        broken: reason by row number, for rows that were looked at and cannot be used. Asking for such a row raises its
            MediaError.
        certificates: by path, of files decoded to their end; None for those that did not earn one.
        flow: the rows are folders of optical flow.
    """

    def __init__(
        self, videos: Sequence[Video], rows: np.ndarray, row_of: np.ndarray, cache: Path | None, *, flow: bool = False
    ):
        self._videos, self._rows, self._row_of, self._cache, self.flow = videos, rows, row_of, cache, flow
        self._seen = np.zeros(len(rows), bool)
        self._reasons: dict[int, str] = {}
        self._changed = False
        self._held, self._room = 0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _SHARE
        self.broken: dict[int, str] = {}
        self.certificates: dict[str, media.Certificate | None] = {}

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, i: int) -> Media:
        video, r = self._videos[i], int(self._row_of[i])
        if i in self.broken:
            raise media.MediaError(video.path, self.broken[i])
        if not self._seen[r]:
            self.look(r, video.path)
        row = self._rows[r]
        span = _span(row, video) if r not in self._reasons else self._reasons[r]
        if isinstance(span, str):
            self.broken[i] = span
            raise media.MediaError(video.path, span)
        return Media(
            path=video.path,
            start=span[0],
            frames=span[1],
            width=int(row["width"]),
            height=int(row["height"]),
            codec=row["codec"].decode(),
            pix_fmt=row["pix_fmt"].decode(),
            colour=row["colour"].decode(),
            rotation=int(row["rotation"]),
            rate=float(row["rate"]),
            template=row["template"].decode("utf-8", "surrogateescape") if row["kind"] != _VIDEO else None,
            flow=self.flow,
        )

    def stale(self, r: int, path: str) -> bool:
        """Whether a row is not known, or its file has changed. One `stat`."""
        row, key = self._rows[r], _key(path)
        self._seen[r] = known = row["kind"] != _UNKNOWN and key is not None and tuple(row["key"].tolist()) == key
        return not known

    def look(self, r: int, path: str) -> None:
        """Probes the file or folder of a row if need be."""
        if self.stale(r, path):
            row, reason = _probe(path, _key(path), flow=self.flow)
            self._rows[r] = row
            self._changed = True
            if reason is not None:
                self._reasons[r] = reason
            self._seen[r] = True

    def certificate(self, i: int) -> tuple[bool, media.Certificate | None]:
        """(whether it is known if the file of a row earns a certificate, that certificate)."""
        path, proof = self._videos[i].path, self._rows[self._row_of[i]]["proof"]
        if path in self.certificates:
            return True, self.certificates[path]
        if proof != _SOUND:
            return proof != _UNTRIED, None
        if self.stale(int(self._row_of[i]), path):
            self.forget(i)
            return False, None
        certificate = media.certificate(path)
        self._hold(path, certificate)
        return True, certificate

    def learn(self, i: int, certificate: media.Certificate | None) -> None:
        """Keeps what decoding the file of a row to its end has shown."""
        self._rows[self._row_of[i]]["proof"] = _UNSOUND if certificate is None else _SOUND
        self._changed = True
        self._hold(self._videos[i].path, certificate)

    def forget(self, i: int) -> None:
        """What was known of the file of a row is of another file."""
        certificate = self.certificates.pop(self._videos[i].path, None)
        self._held -= certificate.nbytes if certificate is not None else 0
        self._rows[self._row_of[i]]["proof"] = _UNTRIED
        self._changed = True

    def _hold(self, path: str, certificate: media.Certificate | None) -> None:
        size = certificate.nbytes if certificate is not None else 0
        if self._held + size <= self._room:
            self.certificates[path] = certificate
            self._held += size

    def save(self) -> None:
        """Writes the cache if anything was learned. One that cannot be written is done without."""
        if self._cache is None or not self._changed:
            return
        self._changed = False
        try:
            with atomic_write(self._cache, "wb") as file:
                np.save(file, self._rows)
        except OSError:
            return  # a read-only dataset: every command probes anew


def _span(row: np.void, video: Video) -> tuple[int, int] | str:
    """(first position, frames) of a list's row, or why it has none."""
    first, flow = int(row["first"]) - 1, row["kind"] == _FLOW
    end = first + int(row["frames"]) + flow  # lists count frames: one more than there is flow between them
    start = first if video.start is None else video.start
    stop = end if video.stop is None else video.stop
    if row["kind"] == _VIDEO or flow:
        stop = min(stop, end)  # containers overstate and lists follow them; the decoder's last frame is repeated
    if start < first or start >= end or stop > end or stop <= start:
        return f"the list says frames {start + 1} to {stop}, but there are {first + 1} to {end}"
    if stop - start <= flow:
        return f"the list says frames {start + 1} to {stop}: optical flow needs two"
    return start, stop - start - flow


def build_index(
    videos: Sequence[Video],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    lazy: bool | None = None,
    flow: bool = False,
) -> Index:
    """Looks at every file and folder of a list, in parallel.

    Args:
        cache: file to read known rows from and to write all rows to; a cache that cannot be written is done without.
        workers: threads; one per core by default.
        progress: called with (done, total) while files are probed.
        lazy: look at a row only when it is asked for; default: for lists of more than `LAZY` files.
        flow: the rows are folders of optical flow (`actrec.data.flow`).

    Raises:
        ValueError: the list is empty, or nothing in it can be used.
    """
    if not videos:
        raise ValueError("the list holds no video")
    numbers: dict[str, int] = {}
    row_of = np.fromiter((numbers.setdefault(v.path, len(numbers)) for v in videos), np.int32, len(videos))
    paths = list(numbers)
    del numbers
    index = Index(videos, _known_rows(paths, cache), row_of, cache, flow=flow)
    if len(paths) > LAZY if lazy is None else lazy:
        return index
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        stale = list(itertools.compress(enumerate(paths), pool.map(index.stale, range(len(paths)), paths)))
        for done, _ in enumerate(pool.map(index.look, *zip(*stale)) if stale else (), 1):
            if progress:
                progress(done, len(stale))
    index.save()
    for i in range(len(videos)):
        with contextlib.suppress(media.MediaError):  # counted in `broken`
            index[i]
    if len(index.broken) == len(videos):
        raise ValueError(
            f"none of the {len(videos)} videos can be used; the first: {videos[0].path}: {index.broken[0]}"
        )
    return index


def cache_path(list_path: Path, *, flow: bool = False) -> Path:
    """Where the index of a list lies: `<list>.index.npy` beside it, of its flow `<list>.flow.index.npy`."""
    return list_path.with_name(f"{list_path.name}{'.flow' if flow else ''}.index.npy")


def _key(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    digest = hashlib.blake2b(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    words = np.frombuffer(digest.digest()[:16], np.uint64)
    return int(words[0]), int(words[1])


def _known_rows(paths: list[str], cache: Path | None) -> np.ndarray:
    """A row for each path, those of the cache where it has them. A cache of another version or a torn one has none."""
    names = names_of(paths)
    cached = _load(cache)
    if cached is not None and np.array_equal(cached["name"], names):
        return cached  # of this very list: nothing is copied, or even read
    rows = np.zeros(len(paths), _ROW)
    rows["name"] = names
    if cached is not None and len(cached):
        order = np.argsort(cached["name"])
        place = order[np.minimum(np.searchsorted(cached["name"][order], names), len(order) - 1)]
        found = cached["name"][place] == names
        rows[found] = cached[place[found]]
    return rows


def names_of(paths: list[str]) -> np.ndarray:
    """A checksum of each path, (len(paths),) uint32."""
    return np.fromiter((zlib.crc32(p.encode("utf-8", "surrogateescape")) for p in paths), np.uint32, len(paths))


def _load(cache: Path | None) -> np.ndarray | None:
    if cache is None or not cache.exists():
        return None
    try:
        rows = np.lib.format.open_memmap(cache, mode="c")  # changes stay in memory
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype == _ROW and rows.ndim == 1 else None


def _probe(path: str, key: tuple[int, int] | None, *, flow: bool) -> tuple[np.void, str | None]:
    """The row of a path, and the reason if it cannot be used."""
    row, reason = np.zeros((), _ROW), None
    row["name"], row["key"] = names_of([path])[0], key or (0, 0)
    try:
        if flow:
            _probe_flow(path, row)
        elif os.path.isdir(path):
            _probe_folder(path, row, os.listdir(path), _IMAGE, _FOLDER)
        else:
            _probe_video(path, row)
    except FileNotFoundError:
        reason = f"there is no such folder: {_FLOW_MADE}" if flow else "no such file or folder"
    except media.MediaError as error:
        reason = error.reason
    except OSError as error:
        reason = error.strerror or str(error)
    if reason is not None:
        reason = reason.encode("utf-8", "backslashreplace").decode()  # names may hold what is no text
        row["kind"] = _UNKNOWN  # looked at again by the next command
    return row[()], reason


def _probe_video(path: str, row: np.ndarray) -> None:
    found = media.probe(path)
    row["kind"], row["first"] = _VIDEO, 1
    for name in ("frames", "width", "height", "rotation", "rate", "codec", "pix_fmt", "colour"):
        row[name] = getattr(found, name)


def _probe_flow(path: str, row: np.ndarray) -> None:
    if not os.path.isdir(path) and os.path.exists(path):
        raise media.MediaError(path, f"a file, not a folder of optical flow: {_FLOW_MADE}")
    names = os.listdir(path)
    if UNFINISHED in names:
        raise media.MediaError(path, "its optical flow is not all there: the same `actrec extract-flow` goes on")
    _probe_folder(path, row, names, FLOW_IMAGE, _FLOW)
    template = row["template"].item().decode("utf-8", "surrogateescape")
    x = os.path.join(path, template.format(row["first"].item()))
    width, height = row["width"].item(), row["height"].item()
    if (shape := read_image(y_of(x)).shape[:2]) != (height, width):
        y = os.path.basename(y_of(x))
        raise media.MediaError(path, f"{y} is {shape[1]}x{shape[0]}, {os.path.basename(x)} {width}x{height}")


def _probe_folder(path: str, row: np.ndarray, files: list[str], pattern: re.Pattern, kind: int) -> None:
    """Naming template, first number, length of the unbroken sequence from there, size of the first image."""
    names = [match for name in files if (match := pattern.fullmatch(name))]
    if not names:
        raise media.MediaError(path, _no_images(files, kind))
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
    row["kind"], row["template"], row["codec"] = kind, encoded, suffix.rpartition(".")[2].lower()
    row["first"], row["frames"] = numbers[0], (gap[0] + 1) if len(gap) else len(numbers)
    row["height"], row["width"] = image.shape[:2]


def _no_images(files: list[str], kind: int) -> str:
    if kind == _FLOW:
        return f"the folder holds no optical flow such as 00001_x.jpg: {_FLOW_MADE}"
    other = "; its optical flow needs --modality flow" if any(map(FLOW_IMAGE.fullmatch, files)) else ""
    return f"the folder holds no numbered images such as 00001.jpg{other}"


def read_image(path: str, *, grey: bool = False) -> np.ndarray:
    """An image file as RGB uint8 (H, W, 3), grey and CMYK converted, upright.

    Args:
        grey: as (H, W) instead.

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
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB) if len(data) else None
    except cv2.error:  # its header promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise media.MediaError(
            path, "not an image that OpenCV can decode" if len(data) else "the image is empty (0 bytes)"
        )
    return image
