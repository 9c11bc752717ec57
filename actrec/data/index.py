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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actrec.config import FLOW_PAIRS
from actrec.data import media
from actrec.data.files import atomic_write
from actrec.data.flow import y_of
from actrec.data.lists import Video
from actrec.data.rows import (
    BROKEN,
    FLOW,
    FPS,
    ROW,
    SOUND,
    UNKNOWN,
    UNSOUND,
    UNTRIED,
    VIDEO,
    WHOLE,
    checksums,
    key_of,
    look,
)

LAZY = 20_000  # longer lists are looked at row by row, as they are drawn
_SHARE = 32  # certificates may fill this part of the memory (9 KiB for 300 frames); others are made again each time

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
        self._prefixes = _prefixes(cache)
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
        span = self._reasons.get(r) or (self._verdict(video.path) if row["verdict"] == BROKEN else _span(row, video))
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
            template=row["template"].decode("utf-8", "surrogateescape") if row["kind"] != VIDEO else None,
            flow=self.flow,
        )

    def path(self, i: int) -> str:
        """Of the file or folder of a list's row."""
        return self._videos[i].path

    def name(self, path: str) -> str:
        """What the index calls a file or folder: its path, relative to the list's folder if it lies below."""
        return _name(path, self._prefixes)

    def stale(self, r: int, path: str) -> bool:
        """Whether a row is not known, or its file has changed. One `stat`."""
        row, key = self._rows[r], key_of(path, self.name(path))
        self._seen[r] = known = row["kind"] != UNKNOWN and key is not None and tuple(row["key"].tolist()) == key
        return not known

    def look(self, r: int, path: str) -> None:
        """Probes the file or folder of a row if need be."""
        if self.stale(r, path):
            try:
                self.put(r, look(path, self.name(path), flow=self.flow))
            except media.MediaError as error:
                self.give_up(r, error.reason)

    def put(self, r: int, row: np.void) -> None:
        """Takes in what `look` or `verify` has found."""
        self._rows[r] = row
        self._changed = self._seen[r] = True
        self._reasons.pop(r, None)

    def give_up(self, r: int, reason: str, *, for_good: bool = False) -> None:
        """The file or folder of a row cannot be used: in this process, or until it changes."""
        self._reasons[r] = reason
        self._seen[r] = True
        if for_good:
            self._rows[r]["verdict"] = BROKEN
        else:
            self._rows[r]["kind"] = UNKNOWN  # looked at again by the next command
            self._rows[r]["size"] = 0
        self._changed = True

    def unverified(self) -> list[tuple[int, str, np.void]]:
        """(row, path, what is known) of each file or folder that was not found whole as it is now."""
        paths = {int(r): video.path for r, video in zip(self._row_of, self._videos)}
        rows = ((r, path, self._rows[r]) for r, path in paths.items() if r not in self._reasons)
        return [(r, path, row.copy()) for r, path, row in rows if row["verdict"] != WHOLE]

    def stale_rows(self, workers: int | None = None) -> list[tuple[int, str]]:
        """(row, path) of each file or folder that is not known, or has changed."""
        paths = {int(r): video.path for r, video in zip(self._row_of, self._videos)}
        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            return list(itertools.compress(paths.items(), pool.map(self.stale, paths, paths.values())))

    def check(self) -> None:
        """Fills `broken`."""
        for i in range(len(self)):
            with contextlib.suppress(media.MediaError):  # counted in `broken`
                self[i]

    def fingerprint(self) -> dict[str, int | str | None]:
        """What tells whether two lists are of the same data, whatever folder it lies in.

        Returns:
            videos: how many rows; list: SHA-256 over their ids, ranges and labels; contents: over ids, and how many
            bytes files and how many images folders have, None where some have not been looked at (see `LAZY`).
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
        if proof != SOUND:
            return proof != UNTRIED, None
        if self.stale(int(self._row_of[i]), path):
            self.forget(i)
            return False, None
        certificate = media.certificate(path)
        self._hold(path, certificate)
        return True, certificate

    def learn(self, i: int, certificate: media.Certificate | None) -> None:
        """Keeps what decoding the file of a row to its end has shown."""
        self._rows[self._row_of[i]]["proof"] = UNSOUND if certificate is None else SOUND
        self._changed = True
        self._hold(self._videos[i].path, certificate)

    def forget(self, i: int) -> None:
        """What was known of the file of a row is of another file."""
        certificate = self.certificates.pop(self._videos[i].path, None)
        self._held -= certificate.nbytes if certificate is not None else 0
        self._rows[self._row_of[i]]["proof"] = UNTRIED
        self._changed = True

    def _verdict(self, path: str) -> str:
        """Why `verify` has found a file broken."""
        if self._quarantine is None:
            self._quarantine = _read_quarantine(self._cache)
        return self._quarantine.get(self.name(path), "`actrec index --verify` has found it broken")

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
    first, flow = int(row["first"]) - 1, bool(row["kind"] == FLOW)
    end = first + int(row["frames"]) + flow  # lists count frames: one more than there is flow between them
    start = first if video.start is None else video.start
    stop = end if video.stop is None else video.stop
    if isinstance(start, float):
        span = _seconds(row, end - first, start, stop)
        if isinstance(span, str):
            return span
        start, stop = first + span[0], first + span[1]
    if row["kind"] == VIDEO or flow:
        stop = min(stop, end)  # containers overstate and lists follow them; the decoder's last frame is repeated
    if start < first or start >= end or stop > end or stop <= start:
        return f"the list says frames {start + 1} to {stop}, but there are {first + 1} to {end}"
    if stop - start <= flow:
        return f"the list says frames {start + 1} to {stop}: optical flow needs two"
    return start, stop - start - flow


def _seconds(row: np.void, num_frames: int, start: float, stop: float) -> tuple[int, int] | str:
    rate = float(row["rate"])
    if not rate:
        where = f"folder has no file `{FPS}` with its frames a second" if row["kind"] != VIDEO else "file has no rate"
        return f"the list counts seconds, and the {where}"
    begin, end = frames_between(start, stop, rate)
    if begin >= num_frames:
        return f"the list says {start:g} to {stop:g} seconds, but there are {num_frames / rate:.3g}"
    return begin, max(begin + 1, min(end, num_frames))


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
    prefixes = _prefixes(cache)
    index = Index(videos, _known_rows([_name(path, prefixes) for path in paths], cache), row_of, cache, flow=flow)
    if len(paths) > LAZY if lazy is None else lazy:
        return index
    stale = index.stale_rows(workers)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(index.look, *zip(*stale)) if stale else (), 1):
            if progress:
                progress(done, len(stale))
    index.save()
    index.check()
    if len(index.broken) == len(videos):
        raise ValueError(
            f"none of the {len(videos)} videos can be used; the first: {videos[0].path}: {index.broken[0]}"
        )
    return index


def cache_path(list_path: Path, *, flow: bool = False) -> Path:
    """Where the index of a list lies: `<list>.index.npy` beside it, of its flow `<list>.flow.index.npy`."""
    return list_path.with_name(f"{list_path.name}{'.flow' if flow else ''}.index.npy")


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


def _prefixes(cache: Path | None) -> tuple[str, ...]:
    """How the folder of a list may be spelled in front of the paths below it."""
    if cache is None:
        return ()
    return tuple({os.path.join(cache.parent, ""), os.path.join(os.path.abspath(cache.parent), "")})


def _name(path: str, prefixes: Sequence[str]) -> str:
    return path.removeprefix(next(filter(path.startswith, prefixes), ""))


def _known_rows(names: list[str], cache: Path | None) -> np.ndarray:
    """A row for each name, those of the cache where it has them. A cache of another version or a torn one has none."""
    names = checksums(names)
    cached = _load(cache)
    if cached is not None and np.array_equal(cached["name"], names):
        return cached  # of this very list: nothing is copied, or even read
    rows = np.zeros(len(names), ROW)
    rows["name"] = names
    if cached is not None and len(cached):
        order = np.argsort(cached["name"])
        place = order[np.minimum(np.searchsorted(cached["name"][order], names), len(order) - 1)]
        found = cached["name"][place] == names
        rows[found] = cached[place[found]]
    return rows


def _load(cache: Path | None) -> np.ndarray | None:
    if cache is None or not cache.exists():
        return None
    try:
        rows = np.lib.format.open_memmap(cache, mode="c")  # changes stay in memory
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype == ROW and rows.ndim == 1 else None
