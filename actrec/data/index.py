"""What is known of every video of a list before a frame of it is wanted: kind, frames, displayed size.

One row per file or folder, in one numpy record array, cached beside the list as `<list>.index.npy`, memory-mapped, and
reused by every command while the file's size and time of change are the same. A long list is not looked through before
it is used: a row is checked, or probed, when it is first drawn. Nothing is kept open.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from actrec.data import media
from actrec.data.files import atomic_write
from actrec.data.lists import Video

LAZY = 20_000  # longer lists are looked at row by row, as they are drawn
_SHARE = 32  # certificates may fill this part of the memory (9 KiB for 300 frames); others are made again each time

_UNKNOWN, _VIDEO, _FOLDER = 0, 1, 2
_UNTRIED, _SOUND, _UNSOUND = 0, 1, 2  # whether a file earns a certificate, as decoding it to its end has shown
_UNVERIFIED, _WHOLE, _BROKEN = 0, 1, 2  # the verdict of `verify`
_LEAST = 0.9  # a file of which less than this part of its frames decodes is broken
_ROW = np.dtype(
    [
        ("name", "u4"),  # checksum of the path, by which a row is found again
        ("key", "u8", 2),  # of path, size and time of change, by which it is believed
        ("kind", "u1"),
        ("proof", "u1"),
        ("verdict", "u1"),
        ("size", "u8"),  # bytes of a file, images of a folder
        ("frames", "i8"),
        ("first", "i8"),  # number of a folder's first image
        ("width", "i4"),
        ("height", "i4"),
        ("rotation", "i2"),
        ("rate", "f4"),
        ("gop", "f4"),
        ("codec", "S16"),
        ("pix_fmt", "S16"),
        ("colour", "S16"),
        ("template", "S64"),
    ]
)
_FPS = "fps"
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
        rate: frames a second on average, 0 if unknown.
        gop: frames for each keyframe of the whole file on average, 0 for folders.
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
    gop: float = 0.0
    template: str | None = None

    def image(self, position: int) -> str:
        """Path of a folder's image at `position`."""
        return os.path.join(self.path, self.template.format(position + 1))


class Index(Sequence[Media]):
    """The media of a list, row by row.

    Args:
        broken: reason by row number, for rows that were looked at and cannot be used. Asking for such a row raises its
            MediaError.
        certificates: by path, of files decoded to their end; None for those that did not earn one.
    """

    def __init__(self, videos: Sequence[Video], rows: np.ndarray, row_of: np.ndarray, cache: Path | None):
        self._videos, self._rows, self._row_of, self._cache = videos, rows, row_of, cache
        self._seen = np.zeros(len(rows), bool)
        self._reasons: dict[int, str] = {}
        self._quarantine: dict[str, str] | None = None
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
        span = self._reasons.get(r) or (self._verdict(video.path) if row["verdict"] == _BROKEN else _span(row, video))
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
            gop=float(row["gop"]),
            template=row["template"].decode("utf-8", "surrogateescape") if row["kind"] == _FOLDER else None,
        )

    def path(self, i: int) -> str:
        """Of the file or folder of a list's row."""
        return self._videos[i].path

    def stale(self, r: int, path: str) -> bool:
        """Whether a row is not known, or its file has changed. One `stat`."""
        row, key = self._rows[r], _key(path)
        self._seen[r] = known = row["kind"] != _UNKNOWN and key is not None and tuple(row["key"].tolist()) == key
        return not known

    def look(self, r: int, path: str) -> None:
        """Probes the file or folder of a row if need be."""
        if self.stale(r, path):
            try:
                self.put(r, look(path))
            except media.MediaError as error:
                self.give_up(r, error.reason)

    def put(self, r: int, row: np.void) -> None:
        """Takes in what `look` or `verify` has found."""
        self._rows[r] = row
        self._changed = self._seen[r] = True

    def give_up(self, r: int, reason: str, *, for_good: bool = False) -> None:
        """The file or folder of a row cannot be used: in this process, or until it changes."""
        self._reasons[r] = reason
        self._seen[r] = True
        if for_good:
            self._rows[r]["verdict"] = _BROKEN
        else:
            self._rows[r]["kind"] = _UNKNOWN  # looked at again by the next command
        self._changed = True

    def unverified(self) -> list[tuple[int, str, np.void]]:
        """(row, path, what is known) of each usable file or folder that nobody has verified as it is now."""
        paths = {int(r): video.path for r, video in zip(self._row_of, self._videos)}
        rows = ((r, path, self._rows[r]) for r, path in paths.items() if r not in self._reasons)
        return [(r, path, row.copy()) for r, path, row in rows if row["verdict"] == _UNVERIFIED]

    def stale_rows(self, workers: int | None = None) -> list[tuple[int, str]]:
        """(row, path) of each file or folder that is not known, or has changed."""
        paths = {int(r): video.path for r, video in zip(self._row_of, self._videos)}
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            return list(itertools.compress(paths.items(), pool.map(self.stale, paths, paths.values())))

    def check(self) -> None:
        """Fills `broken`.

        Raises:
            ValueError: no video can be used.
        """
        for i in range(len(self)):
            with contextlib.suppress(media.MediaError):  # counted in `broken`
                self[i]
        if len(self.broken) == len(self):
            raise ValueError(
                f"none of the {len(self)} videos can be used; the first: {self._videos[0].path}: {self.broken[0]}"
            )

    def fingerprint(self) -> dict[str, int | str | None]:
        """What tells whether two lists are of the same data, whatever folder it lies in.

        Returns:
            videos: how many rows; list: SHA-256 over their ids, ranges and labels; contents: over ids, and bytes of
            files and images of folders, None where some have not been looked at (see `LAZY`).
        """
        rows, contents = hashlib.sha256(), hashlib.sha256()
        sizes = self._rows["size"][self._row_of].tolist()
        for video, size in zip(self._videos, sizes):
            name = video.id.encode("utf-8", "surrogateescape")
            rows.update(b"%s\0%s\n" % (name, f"{video.start}\0{video.stop}\0{video.labels}".encode()))
            contents.update(b"%s\0%d\n" % (name, size))
        return {
            "videos": len(self),
            "list": rows.hexdigest(),
            "contents": contents.hexdigest() if self._seen.all() else None,
        }

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

    def _verdict(self, path: str) -> str:
        """Why `verify` has found a file broken."""
        if self._quarantine is None:
            self._quarantine = _read_quarantine(self._cache)
        return self._quarantine.get(path, "`actrec index --verify` has found it broken")

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
    first = int(row["first"]) - 1
    end = first + int(row["frames"])
    start = first if video.start is None else video.start
    stop = end if video.stop is None else video.stop
    if isinstance(start, float):
        return _seconds(row, first, start, stop)
    if row["kind"] == _VIDEO:
        stop = min(stop, end)  # containers overstate and lists follow them; the decoder's last frame is repeated
    if start < first or start >= end or stop > end or stop <= start:
        return f"the list says frames {start + 1} to {stop}, but there are {first + 1} to {end}"
    return start, stop - start


def _seconds(row: np.void, first: int, start: float, stop: float) -> tuple[int, int] | str:
    rate, num_frames = float(row["rate"]), int(row["frames"])
    if not rate:
        where = (
            f"folder has no file `{_FPS}` with its frames a second" if row["kind"] == _FOLDER else "file has no rate"
        )
        return f"the list counts seconds, and the {where}"
    begin, end = frames_between(start, stop, rate)
    if begin >= num_frames:
        return f"the list says {start:g} to {stop:g} seconds, but there are {num_frames / rate:.3g}"
    return first + begin, max(1, min(end, num_frames) - begin)


def frames_between(start: float, stop: float, rate: float) -> tuple[int, int]:
    """The half-open range of the frames that begin in [start, stop) seconds at a constant rate; one at least."""
    begin, end = (math.ceil(time * rate - 1e-3) for time in (start, stop))
    return begin, max(end, begin + 1)


def build_index(
    videos: Sequence[Video],
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    lazy: bool | None = None,
) -> Index:
    """Looks at every file and folder of a list, in parallel.

    Args:
        cache: file to read known rows from and to write all rows to; a cache that cannot be written is done without.
        workers: threads; one per core by default.
        progress: called with (done, total) while files are probed.
        lazy: look at a row only when it is asked for; default: for lists of more than `LAZY` files.

    Raises:
        ValueError: the list is empty, or nothing in it can be used.
    """
    if not videos:
        raise ValueError("the list holds no video")
    numbers: dict[str, int] = {}
    row_of = np.fromiter((numbers.setdefault(v.path, len(numbers)) for v in videos), np.int32, len(videos))
    paths = list(numbers)
    del numbers
    index = Index(videos, _known_rows(paths, cache), row_of, cache)
    if len(paths) > LAZY if lazy is None else lazy:
        return index
    stale = index.stale_rows(workers)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(index.look, *zip(*stale)) if stale else (), 1):
            if progress:
                progress(done, len(stale))
    index.save()
    index.check()
    return index


def cache_path(list_path: Path) -> Path:
    """Where the index of a list lies: `<list>.index.npy` beside it."""
    return list_path.with_name(list_path.name + ".index.npy")


def quarantine_path(list_path: Path) -> Path:
    """Where `actrec index --verify` writes the broken files of a list, with the reasons."""
    return list_path.with_name(list_path.name + ".quarantine.csv")


def _read_quarantine(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    try:
        with open(cache.with_name(cache.name.removesuffix(".index.npy") + ".quarantine.csv"), newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    except (OSError, ValueError, csv.Error):
        return {}


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


def look(path: str) -> np.void:
    """What is to be known of a file or folder.

    Raises:
        MediaError: it cannot be used.
    """
    row = np.zeros((), _ROW)
    row["name"], row["key"] = names_of([path])[0], _key(path) or (0, 0)
    with _reasons(path):
        if os.path.isdir(path):
            _probe_folder(path, row)
        else:
            _probe_video(path, row)
    return row[()]


def verify(path: str, row: np.void) -> np.void:
    """Decodes all of a file or folder: what is known of it then.

    A video is broken where less than nine tenths of its frames decode; if more do, their number is the video's length
    from now on. A folder is broken where an image is, or has another size than the first.

    Args:
        row: what `look` has found.

    Raises:
        MediaError: it is broken.
    """
    row = row.copy()
    with _reasons(path):
        if row["kind"] == _FOLDER:
            _verify_folder(path, row)
        else:
            decoded, stated = media.verify(path), int(row["frames"])
            if decoded.decoded < _LEAST * stated:
                raise media.MediaError(path, f"only {decoded.decoded} of {stated} frames decode")
            row["proof"] = _UNSOUND if decoded.certificate is None else _SOUND
            row["frames"] = decoded.decoded
    row["verdict"] = _WHOLE
    return row


@contextlib.contextmanager
def _reasons(path: str) -> Iterator[None]:
    """Whatever is wrong with a file or folder becomes a MediaError; names in it may be no text."""
    try:
        yield
    except FileNotFoundError:
        raise media.MediaError(path, "no such file or folder") from None
    except media.MediaError as error:
        raise media.MediaError(path, error.reason.encode("utf-8", "backslashreplace").decode()) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise media.MediaError(path, reason.encode("utf-8", "backslashreplace").decode()) from None


def _verify_folder(path: str, row: np.void) -> None:
    template = row["template"].decode("utf-8", "surrogateescape")
    first, num_images, size = int(row["first"]), int(row["frames"]), (int(row["width"]), int(row["height"]))
    reasons = []
    for name in map(template.format, range(first, first + num_images)):
        try:
            height, width, _ = read_image(os.path.join(path, name)).shape
            if (width, height) != size:
                reasons.append(f"{name}: {width}x{height} where the first is {size[0]}x{size[1]}")
        except media.MediaError as error:
            reasons.append(f"{name}: {error.reason}")
    if reasons:
        raise media.MediaError(path, f"{len(reasons)} of {num_images} images are broken; the first: {reasons[0]}")


def _probe_video(path: str, row: np.ndarray) -> None:
    found = media.probe(path)
    row["kind"], row["first"], row["size"] = _VIDEO, 1, os.path.getsize(path)
    for name in ("frames", "width", "height", "rotation", "rate", "gop", "codec", "pix_fmt", "colour"):
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
    row["rate"] = _rate(path)
    row["first"], row["frames"] = numbers[0], (gap[0] + 1) if len(gap) else len(numbers)
    row["size"] = row["frames"]
    row["height"], row["width"] = image.shape[:2]


def _rate(folder: str) -> float:
    """Frames a second of a frame folder, from its file `fps` (as Hara's tools leave it); 0 if it has none."""
    try:
        with open(os.path.join(folder, _FPS), encoding="ascii") as file:
            rate = float(file.read(100))
    except (OSError, ValueError):
        return 0.0
    return rate if 0 < rate < math.inf else 0.0


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
