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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from actrec.data.index.cache import known_rows, name_of, prefixes_of, read_quarantine
from actrec.data.index.media import Media, span_of
from actrec.data.index.probe import (
    BROKEN,
    SOUND,
    UNKNOWN,
    UNSOUND,
    UNTRIED,
    VIDEO,
    WHOLE,
    key_of,
    look,
)
from actrec.data.lists import Video, number_files
from actrec.data.video.certificate import Certificate, load_certificate
from actrec.data.video.container import MediaError
from actrec.files import atomic_write
from actrec.system import total_memory

LAZY = 20_000  # longer lists are looked at row by row, as they are drawn
_SHARE = 32  # certificates may fill this part of the memory (9 KiB for 300 frames); others are made again each time
Progress = Callable[[int, int], None]


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
        self._prefixes = prefixes_of(cache)
        self._seen = np.zeros(len(rows), bool)
        self._reasons: dict[int, str] = {}
        self._quarantine: dict[str, str] | None = None
        self._changed = False
        self._held, self._room = 0, total_memory() // _SHARE
        self.broken: dict[int, str] = {}
        self.certificates: dict[str, Certificate | None] = {}

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, i: int) -> Media:
        video, r = self._videos[i], int(self._row_of[i])
        if i in self.broken:
            raise MediaError(video.path, self.broken[i])
        if not self._seen[r]:
            self.look(r, video.path)
        row = self._rows[r]
        span = self._reasons.get(r) or (self._verdict(video.path) if row["verdict"] == BROKEN else span_of(row, video))
        if isinstance(span, str):
            self.broken[i] = span
            raise MediaError(video.path, span)
        return Media(
            path=video.path,
            start=span[0],
            frames=span[1],
            width=int(row["width"]),
            height=int(row["height"]),
            codec=row["codec"].decode(),
            pix_fmt=row["pix_fmt"].decode(),
            color=row["color"].decode(),
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
        return name_of(path, self._prefixes)

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
            except MediaError as error:
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
            with contextlib.suppress(MediaError):  # counted in `broken`
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

    def certificate(self, i: int) -> tuple[bool, Certificate | None]:
        """(whether it is known if the file of a row earns a certificate, that certificate)."""
        path, proof = self._videos[i].path, self._rows[self._row_of[i]]["proof"]
        if path in self.certificates:
            return True, self.certificates[path]
        if proof != SOUND:
            return proof != UNTRIED, None
        if self.stale(int(self._row_of[i]), path):
            self.forget(i)
            return False, None
        certificate = load_certificate(path)
        self._hold(path, certificate)
        return True, certificate

    def learn(self, i: int, certificate: Certificate | None) -> None:
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
            self._quarantine = read_quarantine(self._cache)
        return self._quarantine.get(self.name(path), "`actrec index --verify` has found it broken")

    def _hold(self, path: str, certificate: Certificate | None) -> None:
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
    row_of, first = number_files(videos)
    paths = [videos[i].path for i in first.tolist()]
    prefixes = prefixes_of(cache)
    index = Index(videos, known_rows([name_of(path, prefixes) for path in paths], cache), row_of, cache, flow=flow)
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
