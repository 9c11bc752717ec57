"""The index of a list: what is known of every video before any of its frames is read.

There is one record per file or frame folder: its kind, number of frames, displayed size and so on. The records are one
numpy array, cached next to the list as `<list>.index.npy` and memory-mapped. Every command reuses a record as long as
the size and the modification time of the file stay the same. The files of a long list are not probed in advance: a
file is checked, and probed if necessary, when one of its rows is first drawn. No file is kept open.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from actrec.arguments import check_argument, checked
from actrec.data.flow import flow_videos
from actrec.data.index.cache import (
    cache_path,
    find_records,
    is_intact,
    is_unusable,
    name_of,
    prefixes_of,
    read_quarantine,
    save_records,
)
from actrec.data.index.elsewhere import probe_elsewhere
from actrec.data.index.folders import describe_gaps
from actrec.data.index.images import BrokenError
from actrec.data.index.media import Media, Span, frame_numbers, span_of
from actrec.data.index.moved import by_place, found_again, place_in_folder
from actrec.data.index.probe import (
    Certified,
    Facts,
    Found,
    Kind,
    Verified,
    certified_of,
    key_of,
    listing_of,
    numbers_of,
    probe_path,
    verify_path,
)
from actrec.data.index.reach import Unreachable, fetching
from actrec.data.index.records import BLOCK, Records
from actrec.data.index.store import CertificateStore, Place
from actrec.data.limits import why_too_large, why_too_long
from actrec.data.lists import ListError, Video, Videos, digest, number_files, read_list
from actrec.data.storage import RemoteError, absolute, cancelling_pool, is_local, is_remote, knows_place
from actrec.data.video.certificate import Certificate, find_certificate
from actrec.data.video.color import Region
from actrec.data.video.container import ChangedError, MediaError, SurpriseError
from actrec.data.video.packed import pack, unpack
from actrec.data.video.read import Decoded, read_frames
from actrec.leftovers import remove_leftovers
from actrec.settings import OptionError, check_value
from actrec.system import num_cores, raise_if_exhausted, total_memory
from actrec.words import counted, none_usable

_FETCHES = 16  # files at URLs that are fetched, or whose facts are requested, at the same time
LAZY = 20_000  # the files of longer lists are probed when their rows are drawn
MANY = 300  # files; for as many or more, child processes are faster, although each needs half a second to start
_SHARE = 32  # certificates may fill this part of the memory (10 KiB for 300 frames); others are read again each time
_MOST_HELD = 1 << 30  # bytes of certificates; a process with a long list needs less than 2 GiB in all
_AT_ONCE = 1 << 22  # bytes of certificates that are written to the disk together
_COMPARED = 1024  # files that are compared with their records at once
_MOST_UNSAVED = 1 << 20  # records that are kept in memory while files are probed, of about 700 bytes each
_SAVE_EVERY = 30  # seconds of probing that a power cut may lose
_SAVING = 20  # or this many times as long as saving takes
Progress = Callable[[int, int], None]
Rows = Sequence[Video] | str | os.PathLike[str]  # the rows of a list, or the path of the list
Receive = Callable[[tuple, Any, str | None], None]
RunJobs = Callable[[Callable[..., Any], Sequence[tuple], Receive], None]


class Index(Sequence[Media]):
    """The media of a list, row by row, as `build_index` returns them.

        index = actrec.build_index("train.txt")
        loader = actrec.train_loader("train.txt", actrec.Clip(frames=8), net.input, index=index, batch_size=8)

    Files and frame folders are numbered in the order in which they first appear in the list.

    Args:
        videos: The rows of the list.
        records: The record of each file.
        file_of_row: (rows,) the number of each row's file.
        first_row: (files,) the first row of each file.
        cache: File to save the records to, or None.
        flow: The rows are folders of optical flow.
        template: Names of the images that are the frames of a folder; None if they are to be found.
        read_only: The cache is read, but never written.

    Attributes:
        broken: Reason by row number, for rows that were checked and cannot be used. Accessing such a row raises its
            MediaError.
        cut: By row number, how many frames of its range are after the last frame of its file. Of checked rows.
        why_unsaved: The reason why the records could not be saved; None if they could.
        num_damaged: How many of the needed records in the cache were damaged. Their files are probed again.
        is_rebuilt: There was a cache of which nothing could be used.
        certificates: Certificate by path, of files that were read; None if the file did not earn one.
        surprises: By path, what was wrong when a certified file was decoded from a keyframe. Such files are decoded
            from their start from then on.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        records: Records,
        file_of_row: np.ndarray,
        first_row: np.ndarray,
        cache: Path | None,
        *,
        flow: bool = False,
        template: str | None = None,
        read_only: bool = False,
    ):
        self._read_only = read_only
        self._videos, self._records, self._cache, self.flow, self.template = videos, records, cache, flow, template
        self._file_of_row, self._first_row = file_of_row, first_row
        self._prefixes = prefixes_of(cache)
        self._current = np.zeros(len(records), bool)  # files that were compared with their record
        self._trusted = np.zeros(len(records), bool)  # files with a record that was compared with its seal
        self.num_damaged = 0
        self.is_rebuilt = False
        self._reasons: dict[int, str] = {}  # why a file cannot be used, by its number
        self._unreachable: dict[int, str] = {}  # why it could not be fetched when it was last tried
        self._quarantine: dict[str, str] | None = None
        self._changed = False
        self.why_unsaved: str | None = None
        self._image_range: tuple[float, float] | None = None
        self._has_range = False
        self._held, self._room = 0, min(total_memory() // _SHARE, _MOST_HELD)
        self._packed: dict[int, bytes] = {}  # by file, certificates that are not stored on disk
        self._unstored = 0  # bytes of those that are to be stored
        self._store = CertificateStore(cache) if cache is not None else None
        self._lock = threading.Lock()
        self._spans: dict[int, Span] = {}  # by row, of those that needed the timestamps of their file
        self._unstamped: set[int] = set()  # files without timestamps that have rows in seconds
        self.broken: dict[int, str] = {}
        self.cut: dict[int, int] = {}
        self.certificates: dict[str, Certificate | None] = {}
        self.surprises: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, i: int) -> Media:  # type: ignore[override] # no slices
        video, file = self._videos[i], int(self._file_of_row[i])
        if i in self.broken:
            raise MediaError(video.path, self.broken[i])
        record = self._records.facts(file)
        if not self._current[file] or (record["offset"] and not knows_place(video.path)):
            self._probe(file, video.path)
            record = self._records.facts(file)
        span = self._why_unusable(file, record, video.path) or self._spans.get(i) or self._span(i, record)
        if isinstance(span, str):
            self.broken[i] = span
            raise MediaError(video.path, span)
        listing = listing_of(video.path, record, self.template)
        if span.cut:
            self.cut[i] = span.cut
        return Media(
            path=video.path,
            start=span.start,
            frames=span.frames,
            width=record["width"],
            height=record["height"],
            codec=record["codec"].decode(),
            pix_fmt=record["pix_fmt"].decode(),
            color=record["color"].decode(),
            rotation=record["rotation"],
            mirrored=record["mirrored"],
            bits=record["bits"],
            torn=record["torn"],
            damaged=record["damaged"],
            image_range=self._image_range,
            rate=record["rate"],
            gop=record["gop"],
            template=record["template"].decode("utf-8", "surrogateescape") if record["kind"] != Kind.VIDEO else None,
            flow=self.flow,
            numbers=range(0) if listing is not None else numbers_of(record),
            listing=listing,
            begins=record["begins"],
            variable=record["variable"],
            stamped=record["stamped"],
            seconds=span.seconds,
        )

    def _span(self, i: int, record: Facts) -> Span | str:
        """The frames of a row, or why it cannot be used. What demands the timestamps of a file is kept."""
        video = self._videos[i]
        listing = listing_of(video.path, record, self.template)
        if listing is not None and video.start is None and video.stop is None:  # the folder need not be listed
            frames, missing, rate = record["frames"], record["missing"], record["rate"]
            return Span(0, frames, 0, (frames + missing + self.flow) / rate if rate else 0.0)
        if isinstance(video.start, float) and record["kind"] == Kind.VIDEO and not record["stamped"]:
            self._unstamped.add(int(self._file_of_row[i]))
        try:
            numbers = numbers_of(record) if listing is None else listing.read().numbers
            span = span_of(record, video, frame_numbers(numbers, record["step"], flow=self.flow))
        except (MediaError, OSError) as error:
            raise_if_exhausted(video.path, error)
            return error.reason if isinstance(error, MediaError) else error.strerror or "no such file"
        if isinstance(video.start, float) and record["variable"] and isinstance(span, Span):
            self._spans[i] = span
        return span

    def with_rows(self, videos: Sequence[Video]) -> Index:
        """The index of other rows of the file of the first row, which is not probed again. It has no cache."""
        assert all(video.path == self._videos[0].path for video in videos)
        records = Records(1, None, None, self._records.sum_of)
        records[0] = self._records[0]
        other = Index(
            videos, records, np.zeros(len(videos), np.int32), np.zeros(1, np.int64), None,
            flow=self.flow, template=self.template,
        )  # fmt: skip
        other._current[:], other._trusted[:] = self._current[:1], self._trusted[:1]
        other._image_range = self._image_range
        if (certificate := self.certificate(0)[1]) is not None:
            other._hold(self._videos[0].path, certificate)
        return other

    def set_image_range(self, image_range: tuple[float, float] | None) -> None:
        """Sets `Media.image_range` of all rows, once: the loaders of an index must agree on it.

        Raises:
            ValueError: Another range was set before.
        """
        if self._has_range and image_range != self._image_range:
            raise ValueError(
                f"image_range {image_range} with an index that is read with {self._image_range}: expected the same, or "
                "another index (build_index)"
            )
        self._image_range, self._has_range = image_range, True

    def path(self, i: int) -> str:
        """The path of a row."""
        return self._videos[i].path

    def name(self, path: str) -> str:
        """The name of a file in the index: its path, relative to the folder of the list if it is located there."""
        return name_of(path, self._prefixes)

    # ---- probing and verifying ----

    def probe_all(self, run: RunJobs, *, workers: int | None = None, in_processes: bool = True) -> None:
        """Probes every file that has no record, or has changed. An interrupt keeps what was found.

        Args:
            run: Calls `function(*job, stop=…)` for each job, and then `receive(job, result, reason)`, one at a time;
                the reason is None if the function returned. The function and the jobs can be pickled.
            workers: Threads that compare the files with their records; one per core by default.
            in_processes: Each thread may leave the work to a child process, if there are many files.
        """
        files = self._outdated_files(workers)
        jobs = _Jobs(files, self._probe_arguments)
        is_worth_it = len(jobs) >= MANY and (workers or num_cores()) > 1
        with self._saving() as receive:
            run(_probe_job_elsewhere if in_processes and is_worth_it else _probe_job, jobs, receive)

    def take_over(self, other: Index, *, workers: int | None = None) -> int:
        """Copies the records of the same videos in another place from the index of another list.

        This avoids fetching whole objects, for example after a folder was uploaded. The videos of this list must be at
        URLs or members of archives, and those of the other list must be readable. `actrec.data.index.moved` says when
        two videos are the same. All others stay as they are, and are probed later.

        Args:
            workers: Threads that compare them; one per core by default, and more if they wait for a network.

        Returns:
            The number of files.
        """
        paths = ((file, self._file_path(file)) for file in range(len(self._records)))
        files = [(file, path) for file, path in paths if not is_local(path)]
        known = by_place(map(other._file_path, range(len(other._records))))

        def find(file: int, path: str) -> Found | None:
            there = known.get(place_in_folder(path))
            if there is None or not other._is_current(there, other._file_path(there)):
                return None
            record = other._records[there]
            certificate = (
                other._stored(there, record["packets"].tolist()) if record["certified"] == Certified.YES else None
            )
            if certificate is None or record["verified"] == Verified.BROKEN:
                return None
            with contextlib.suppress(OSError, MediaError), fetching(path):  # probing tells what is wrong
                if self._records[file]["kind"] != Kind.UNKNOWN and self._is_current(file, path):
                    return None
                return found_again(record, certificate, other._file_path(there), path, self.name(path))
            return None

        with cancelling_pool(num_threads((path for _, path in files), workers)) as pool:
            taken = 0
            for (file, _), found in zip(files, pool.map(find, *zip(*files)) if files else ()):
                if found is not None:
                    self._record(file, found)
                    taken += 1
        self.save()
        return taken

    def verify_all(self, run: RunJobs) -> None:
        """Decodes every file that was not verified since it last changed. An interrupt keeps what was found.

        Every command leaves out the broken ones until they change.

        Args:
            run: As in `probe_all`.
        """
        jobs = _Jobs(self._unverified(), self._verify_arguments)
        with self._saving() as receive:
            run(_verify_job, jobs, receive)

    def unverified_files(self) -> list[tuple[int, str, np.void]]:
        """(number, path, record) of each usable file that was not verified since it last changed."""
        return [(file, self._file_path(file), self._records[file]) for file in self._unverified().tolist()]

    def _unverified(self) -> np.ndarray:
        """(n,) the numbers of these files."""
        found = np.concatenate(
            [
                part.start + np.flatnonzero(block["verified"] != Verified.INTACT)
                for part, block in self._records.blocks()
            ]
        )
        return found[~np.isin(found, [*self._reasons, *self._unreachable])]

    def _verify_arguments(self, file: int) -> tuple:
        return file, absolute(self._file_path(file)), self._records[file], self.template

    def find_broken(self, workers: int | None = None) -> None:
        """Fills `broken`, for all rows but those of files that could not be fetched.

        Args:
            workers: As for `usable`.
        """
        for _ in self.usable(workers):
            pass

    def usable(self, workers: int | None = None) -> Iterator[Media]:
        """The media of all rows that can be used. Fills `broken` meanwhile.

        Args:
            workers: Threads that read the timestamps of files with a variable frame rate; one per core by default.
        """
        self._read_timestamps(workers)
        unreachable = self._rows_of(self._unreachable) if self._unreachable else ()
        for i in range(len(self)):
            if i not in unreachable:
                with contextlib.suppress(MediaError):  # recorded in `broken`
                    yield self[i]

    @property
    def unusable(self) -> dict[int, str]:
        """Reason by row number, for the `broken` rows and those of files that could not be fetched.

        Files that could not be fetched may be intact: accessing such a row tries again.
        """
        return {**self.broken, **self._rows_of(self._unreachable)} if self._unreachable else self.broken

    def _rows_of(self, reasons: dict[int, str]) -> dict[int, str]:
        rows = np.flatnonzero(np.isin(self._file_of_row, list(reasons))).tolist()
        return {row: reasons[int(self._file_of_row[row])] for row in rows}

    def _read_timestamps(self, workers: int | None) -> None:
        """Finds the frames of rows in seconds, if the frames of their file are not shown equally long."""
        variable = np.concatenate([files[block["variable"]] for files, block in self._probed()])
        if not len(variable):
            return
        files: dict[int, list[int]] = {}
        for row in np.flatnonzero(np.isin(self._file_of_row, variable)).tolist():
            if row not in self._spans and isinstance(self._videos[row].start, float):
                files.setdefault(int(self._file_of_row[row]), []).append(row)

        def read(rows: list[int]) -> None:
            for row in rows:
                with contextlib.suppress(MediaError):  # recorded in `broken`
                    self[row]

        with ThreadPoolExecutor(workers or num_cores()) as pool:
            for _ in pool.map(read, files.values()):
                pass

    @property
    def num_comments(self) -> int:
        """The number of lines of the list that were skipped as comments."""
        return getattr(self._videos, "num_comments", 0)

    @property
    def num_respelled(self) -> int:
        """The number of rows of the list with a path that got the spelling that exists."""
        return self._videos.respelled[0] if isinstance(self._videos, Videos) else 0

    @property
    def num_rejected(self) -> int:
        """The number of files that were found to be unusable by this process."""
        return len(self._reasons)

    def describe_cut(self) -> str | None:
        """How many rows name frames after the last frame of their file, of checked rows; None if there are none."""
        if not self.cut:
            return None
        row, frames = next(iter(self.cut.items()))
        return (
            f"{counted(len(self.cut), 'row')} cut at the last frame of the video; the first: {self._videos[row].id} "
            f"names {counted(frames, 'frame')} too many"
        )

    def images_of_folders(self, what: Literal["missing", "unused"]) -> dict[str, int]:
        """How many images of the folders that were probed are missing in the numbering, or are no frames; by path."""
        found: dict[str, int] = {}
        for files, block in self._probed():
            counts = np.where(block["kind"] != Kind.UNKNOWN, block[what], 0)
            chosen = np.flatnonzero(counts)
            found |= {self._file_path(file): n for file, n in zip(files[chosen].tolist(), counts[chosen].tolist())}
        return found

    def describe_gaps(self, path: str) -> str:
        """The numbers that are missing in the names of the images of a folder.

        Raises:
            MediaError: The folder has other images now.
        """
        probed = (file for files, _ in self._probed() for file in files.tolist())
        file = next(file for file in probed if self._file_path(file) == path)
        listing = listing_of(path, self._records[file], self.template)
        images = listing.read() if listing is not None else None
        return describe_gaps(images.numbers, images.step) if images else ""

    @property
    def num_unstamped(self) -> int:
        """The number of files without timestamps that have rows in seconds, of checked rows."""
        return len(self._unstamped)

    @property
    def is_probed(self) -> bool:
        """Whether this process knows of all files what they are (see `LAZY`)."""
        return bool(self._current.all())

    def torn_files(self) -> list[str]:
        """The paths of the files that were probed and lack their end, but can be used."""
        return [
            self._file_path(file)
            for files, block in self._probed()
            for file in files[
                (block["kind"] == Kind.VIDEO) & (block["verified"] != Verified.BROKEN) & block["torn"]
            ].tolist()
        ]

    def damaged_rows(self) -> list[int]:
        """The rows of files of which some frames decode with errors, as far as they were verified."""
        damaged = np.concatenate([files[block["damaged"] > 0] for files, block in self._probed()])
        return np.flatnonzero(np.isin(self._file_of_row, damaged)).tolist()

    def sizes(self) -> dict[str, tuple[bool, int]]:
        """By path, whether the files that were probed are folders, and their number of bytes or images."""
        found: dict[str, tuple[bool, int]] = {}
        for files, block in self._probed():
            is_folder = np.isin(block["kind"], (Kind.FOLDER, Kind.FLOW))
            for file, *size in zip(files.tolist(), is_folder.tolist(), block["size"].tolist()):
                found[self._file_path(file)] = (size[0], size[1])
        return found

    @property
    def num_deep(self) -> int:
        """The number of files that were probed and are images or gray videos of more than 8 bits per sample."""
        count = 0
        for _, block in self._probed():
            deep = block[block["bits"] > 8]
            is_gray = np.char.startswith(deep["pix_fmt"], b"gray")
            count += int((is_gray | (deep["kind"] == Kind.FOLDER)).sum())
        return count

    def _probed(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The numbers and the records of the files that this process has checked, in parts: at least one."""
        files = np.flatnonzero(self._current)
        for part in np.split(files, range(BLOCK, len(files), BLOCK)):
            yield part, self._records.take(part)

    @contextlib.contextmanager
    def _saving(self) -> Iterator[Receive]:
        """Yields a function that records the results of jobs. They are saved now and then, and at the end."""
        saved, took = time.monotonic(), 0.0

        def receive(job: tuple, result: Found | str | Unreachable | None, reason: str | None) -> None:
            nonlocal saved, took
            if isinstance(result, Unreachable):  # its record stays as it is
                self._unreachable[job[0]] = result.reason
            elif isinstance(result, str):
                self._reject(job[0], result, until_changed=True)
            elif result is not None:
                self._record(job[0], result)
            else:  # perhaps not the fault of the file
                self._reject(job[0], reason or "unknown reason")
            begin = time.monotonic()
            if begin - saved > max(_SAVE_EVERY, _SAVING * took) or self._records.num_unsaved >= _MOST_UNSAVED:
                self.save(in_place=False)
                saved = time.monotonic()
                took = saved - begin

        try:
            yield receive
        finally:
            self._flush()
            if self._store is not None and self._changed and not self._read_only:
                self._store.compact(block["packets"] for _, block in self._records.blocks())
            self.save(in_place=False)

    def _file_path(self, file: int) -> str:
        return self._videos[int(self._first_row[file])].path

    def _outdated_files(self, workers: int | None) -> np.ndarray:
        """(n,) the numbers of the files that have no record, or have changed."""
        found = []
        with cancelling_pool(num_threads(map(self._file_path, range(len(self._records))), workers)) as pool:
            for begin in range(0, len(self._records), _COMPARED):  # a job that waits takes a kilobyte
                files = np.arange(begin, min(begin + _COMPARED, len(self._records)))
                numbers = files.tolist()
                paths = [*map(self._file_path, numbers)]  # while the threads run, reading them takes longer
                found.append(files[list(pool.map(self._is_outdated, numbers, paths))])
        return np.concatenate(found)

    def _probe_arguments(self, file: int) -> tuple:
        path = self._file_path(file)
        return file, absolute(path), self.name(path), self.flow, self.template

    def _is_outdated(self, file: int, path: str) -> bool:
        """Whether a file is to be probed: it can be reached, and has no record or has changed."""
        try:
            with fetching(path):
                return not self._is_current(file, path)
        except RemoteError as error:
            self._unreachable[file] = error.reason
            return False

    def _is_current(self, file: int, path: str) -> bool:
        """Whether a file has a record and has not changed since. This takes one `stat`."""
        if not self._trusted[file]:
            self._trusted[file] = True
            stored = self._records[file]
            if stored["kind"] != Kind.UNKNOWN and not is_intact(stored):
                self._records.change(file, kind=Kind.UNKNOWN, verified=Verified.UNKNOWN)
                self.num_damaged += 1
        record = self._records[file]
        if record["kind"] == Kind.UNKNOWN and is_local(path):
            self._current[file] = False
            return False
        key = key_of(path, self.name(path), self.template, known=record)
        known = record["kind"] != Kind.UNKNOWN and key is not None and tuple(record["key"].tolist()) == key
        self._current[file] = known
        if key is not None and not is_local(path):
            self._unreachable.pop(file, None)
        return known

    def _probe(self, file: int, path: str) -> None:
        """Probes a file if it has no record, or has changed."""
        if not self._is_current(file, path):
            try:
                self._record(file, probe_path(path, self.name(path), flow=self.flow, template=self.template))
            except RemoteError:  # the next access tries again
                raise
            except MediaError as error:
                self._reject(file, error.reason)

    def _record(self, file: int, found: Found) -> None:
        self._drop_certificate(file)
        self._records[file] = found.record
        self._changed = self._current[file] = self._trusted[file] = True
        self._reasons.pop(file, None)
        self._unreachable.pop(file, None)
        if found.packed is not None:
            self._keep(file, found.packed)

    def _reject(self, file: int, reason: str, *, until_changed: bool = False) -> None:
        """Marks a file as unusable, for this process or for every command until the file changes."""
        self._reasons[file] = reason
        self._current[file] = True
        if until_changed:
            self._records.change(file, verified=Verified.BROKEN)
        else:
            self._records.change(file, kind=Kind.UNKNOWN, size=0)  # the next command probes it again
        self._changed = True

    def _why_unusable(self, file: int, record: Facts, path: str) -> str | None:
        if file in self._reasons:
            return self._reasons[file]
        if reason := why_too_large(record["width"], record["height"]):
            return f"its frames are too large: {reason}"
        if reason := why_too_long(record["frames"]):
            return reason
        if record["verified"] != Verified.BROKEN:
            return None
        if self._quarantine is None:
            self._quarantine = read_quarantine(self._cache)
        return self._quarantine.get(self.name(path), "`actrec index --verify` has found it broken")

    # ---- certificates ----

    def read_frames(
        self,
        i: int,
        positions: np.ndarray,
        receive: Callable[[int, np.ndarray], None],
        *,
        region: Region | None = None,
        certify: bool = False,
        swscale: bool = False,
    ) -> Decoded:
        """Decodes frames of the video file of a row with its certificate, or from its start if it has none.

        Args:
            positions: ascending frame numbers of the file without repetition.
            receive, region, swscale: as for `actrec.data.video.read.read_frames`. If `receive` is called twice for the
                same frame, the second picture counts.
            certify: decode a file to its end if that tells whether it earns a certificate.

        Raises:
            MediaError, FileNotFoundError: the file cannot be read.
        """
        path = self._videos[i].path
        read = partial(
            read_frames, path, positions, receive, region=region, image_range=self._image_range, swscale=swscale
        )
        is_known, certificate = self.certificate(i)
        certify = certify and not is_known
        try:
            decoded = read(certificate, certify=certify)
        except ChangedError:
            self.forget_certificate(i)
            return read()
        except SurpriseError as error:
            self.revoke_certificate(i, error.reason)
            return read()
        if certify:
            self.set_certificate(i, decoded.certificate)
        return decoded

    def certificate(self, i: int) -> tuple[bool, Certificate | None]:
        """(whether it is known if the file of a row earns a certificate, the certificate if it does)."""
        file, path = int(self._file_of_row[i]), self._videos[i].path
        if path in self.certificates:
            held = self.certificates[path]
            # Packets that are not read from their position are read without a look at the version of the file.
            if held is None or held.stream is not None or not is_local(path) or self._is_current(file, path):
                return True, held
            self.forget_certificate(i)
            return False, None
        record = self._records.facts(file)
        certified = record["certified"]
        if certified in (Certified.NO, Certified.DOUBTED) or record["kind"] != Kind.VIDEO:
            return certified == Certified.NO, None
        if not self._is_current(file, path):
            self.forget_certificate(i)
            return False, None
        certificate = self._stored(file, record["packets"]) if certified == Certified.YES else None
        if certificate is None:  # it was not stored, or the record is one of an older version
            finding = find_certificate(path)
            if certified == Certified.UNKNOWN and certified_of(finding) == Certified.DOUBTED:
                self._records.change(file, certified=Certified.DOUBTED)
                self._changed = True
                return False, None
            self.set_certificate(i, finding.certificate)
            return True, finding.certificate
        self._hold(path, certificate)
        return True, certificate

    def set_certificate(self, i: int, certificate: Certificate | None) -> None:
        """Stores the certificate of the file of a row; None if the file does not get one."""
        file = int(self._file_of_row[i])
        self._drop_certificate(file)
        self._records.change(file, certified=Certified.NO if certificate is None else Certified.YES)
        self._changed = True
        self._hold(self._videos[i].path, certificate)
        if certificate is not None:
            self._keep(file, pack(certificate))

    def forget_certificate(self, i: int) -> None:
        """Drops the certificate of the file of a row, because the file has changed."""
        file = int(self._file_of_row[i])
        self._drop_certificate(file)
        self._records.change(file, certified=Certified.DOUBTED)
        self._changed = True

    def revoke_certificate(self, i: int, reason: str) -> None:
        """Revokes the certificate of the file of a row until the file changes, because a picture did not match it.

        The file is not decoded to its end to certify it again: for a damaged file, every epoch would repeat that.
        """
        file, path = int(self._file_of_row[i]), self._videos[i].path
        if key_of(path, self.name(path), self.template) != tuple(self._records[file]["key"].tolist()):
            self.forget_certificate(i)
            return
        self.set_certificate(i, None)
        self.surprises[path] = reason

    def _hold(self, path: str, certificate: Certificate | None) -> None:
        size = certificate.nbytes if certificate is not None else 0
        if self._held + size <= self._room:
            self.certificates[path] = certificate
            self._held += size

    def _drop_certificate(self, file: int) -> None:
        certificate = self.certificates.pop(self._file_path(file), None) if self.certificates else None
        self._held -= certificate.nbytes if certificate is not None else 0
        with self._lock:
            self._held -= len(self._packed.pop(file, b""))
        if self._records[file]["packets"]["size"]:
            self._records.change(file, packets=Place())

    # ---- the certificates on disk ----

    def _keep(self, file: int, packed: bytes) -> None:
        """Keeps a certificate in memory until it is on disk. If it cannot be stored, keeps it while there is room."""
        is_storing = self._store is not None and self._store.why_unsaved is None and not self._read_only
        with self._lock:
            if is_storing or self._held + len(packed) <= self._room:
                self._packed[file] = packed
                self._held += len(packed)
                self._unstored += len(packed)
        if is_storing and self._unstored > _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        """Stores the certificates that are not stored yet."""
        if self._store is None or self._read_only:
            return
        with self._lock:
            places = self._store.append(list(self._packed.values())) if self._packed else None
            if places is None:
                return
            for file, place in zip(self._packed, places):
                self._records.change(file, packets=place)
            self._held -= sum(map(len, self._packed.values()))
            self._packed.clear()
            self._unstored, self._changed = 0, True

    def _stored(self, file: int, place: tuple[int, ...]) -> Certificate | None:
        """The certificate of a file from memory or from the disk; None if it is in neither place."""
        packed = self._packed.get(file)
        if packed is None and self._store is not None:
            packed = self._store.read(Place(*place))
        with contextlib.suppress(ValueError):
            return unpack(packed) if packed is not None else None
        return None

    # ---- the whole list ----

    def fingerprint(self) -> dict[str, int | str | None]:
        """Tells whether two lists describe the same data, whatever folder the data is located in.

            same = actrec.build_index("train.txt").fingerprint() == index.fingerprint()

        Returns:
            videos: The number of rows.
            list: SHA-256 of the ids, ranges and labels.
            contents: SHA-256 of the ids and of the number of bytes (files) or images (folders) of each row; None if
                some rows were not checked, as in a list with more than 20,000 files.
        """
        return {
            "videos": len(self),
            "list": digest(self._videos),
            "contents": self._digest_contents() if self.is_probed else None,
        }

    def _digest_contents(self) -> str:
        sizes, contents = np.concatenate([block["size"] for _, block in self._records.blocks()]), hashlib.sha256()
        for video, size in zip(self._videos, sizes[self._file_of_row].tolist()):
            contents.update(b"%s\0%d\n" % (video.id.encode("utf-8", "surrogateescape"), size))
        return contents.hexdigest()

    @property
    def why_probed_again(self) -> str | None:
        """A line that says that the cache was damaged; None if it was not."""
        if self.is_rebuilt:
            return f"{self._cache}: damaged, of another version or not readable; all files were probed again"
        if self.num_damaged:
            records = counted(self.num_damaged, "damaged record")
            return f"{self._cache}: {records}; the files of these were probed again"
        return None

    def save(self, *, in_place: bool = True) -> None:
        """Writes the cache if there is anything new. If it cannot be written, `why_unsaved` says so.

        Args:
            in_place: Write only what is new, if the cache is long (see `save_records`).
        """
        self._flush()
        if self._cache is None or self._store is None or self._read_only or not self._changed:
            return
        try:
            save_records(self._records, self._cache, self._store, in_place=in_place)
        except OSError as error:  # a read-only dataset has no cache: every command probes it again
            self.why_unsaved = f"{self._cache}: cannot be written ({error.strerror or error})"
        else:
            self._changed, self.why_unsaved = False, self._store.why_unsaved


def open_rows(videos: Rows, *, flow: bool = False, name: str = "videos") -> tuple[Sequence[Video], Path | None]:
    """The rows of a list, and the path of its index. Rows that were read before have none.

    Args:
        flow: Return the folders of optical flow that belong to the videos of a list file.
        name: The argument of the public function, for messages.

    Raises:
        FileNotFoundError, ListError: As of `read_list`. The message begins with the name of the argument.
    """
    if not isinstance(videos, (str, os.PathLike)):
        if not videos:
            raise OptionError(f"`{name}`: the list holds no video")
        _check_rows(videos, name)
        return videos, None
    path = Path(videos)
    try:
        rows = read_list(path, cache=True)
    except (FileNotFoundError, ListError) as error:
        raise type(error)(f"{name}: {error}") from None
    if not rows:
        raise OptionError(f"`{name}`: {path}: the list holds no video")
    return flow_videos(rows, path.parent) if flow else rows, cache_path(path, flow=flow)


def _check_rows(videos: Sequence[Video], name: str) -> None:
    """Raises OptionError if a row that a program made has a field of a wrong type. Rows of a list file have none."""
    if isinstance(videos, Videos):
        return
    for place, video in enumerate(videos):
        if type(video.path) is not str or type(video.labels) is not tuple or not all(map(_is_label, video.labels)):
            for field, declared in typing.get_type_hints(Video).items():
                try:
                    check_argument(field, getattr(video, field), declared)
                except OptionError as error:
                    raise OptionError(f"`{name}`[{place}].{error.text}") from None


def _is_label(label: object) -> bool:
    return type(label) is int


@checked
def build_index(
    videos: Rows,
    *,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    lazy: bool | None = None,
    flow: bool = False,
    template: str | None = None,
    read_only: bool = False,
) -> Index:
    """Probes every file and frame folder of a list, in parallel.

        index = actrec.build_index("train.txt")
        print(index[0].frames, index[0].rate, len(index.unusable))

    Args:
        videos: The path of a list, or its rows as `read_list` returns them.
        cache: File to read known records from, and to write all records to. If it cannot be written, there is none.
            Default: for a path, `<list>.index.npy`, which the commands use too; for rows, none.
        workers: Number of threads; one per core by default.
        progress: Called with (done, total) while files are probed.
        lazy: Check and probe a file only when one of its rows is accessed. Default: for more than 20,000 files.
        flow: The rows are folders of optical flow (`actrec.data.flow`).
        template: Names of the images that are the frames of a folder, such as `img_{:05d}.jpg`. Default: the images
            with numbers in their names; a folder in which these are several sequences is not used.
        read_only: Only read the cache.

    Returns:
        A sequence with one item per row, such as its number of frames, size and rate. `unusable` has the reason for
        each row that cannot be used; accessing the item of such a row raises ValueError.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: The list is malformed or empty, or none of its videos can be used.
    """
    check_value("workers", workers, int | None, at_least=1)
    videos, own_cache = open_rows(videos, flow=flow)
    cache = Path(cache) if cache else own_cache
    if cache is not None and not read_only:
        remove_leftovers([cache.parent])  # of a process that was killed while it saved its index
    file_of_row, first_row = number_files(videos)
    prefixes = prefixes_of(cache)
    records = find_records(len(first_row), lambda file: name_of(videos[int(first_row[file])].path, prefixes), cache)
    file_of_row = file_of_row.astype(np.int32, copy=False)
    index = Index(videos, records, file_of_row, first_row, cache, flow=flow, template=template, read_only=read_only)
    index.is_rebuilt = is_unusable(cache)
    if len(first_row) > LAZY if lazy is None else lazy:
        return index
    index.probe_all(partial(run_in_threads, workers=workers, progress=progress), workers=workers)
    index.find_broken(workers)
    if len(unusable := index.unusable) == len(videos):
        raise ValueError(f"{none_usable(len(videos))}{videos[0].path}: {unusable[0]}")
    return index


def num_threads(paths: Iterable[str], workers: int | None) -> int:
    """Threads for work on some files: as many as asked for, or one per core; more if they wait for a network."""
    count = workers or num_cores()
    return max(count, _FETCHES) if any(map(is_remote, paths)) else count


class _Jobs(Sequence[tuple]):
    """The jobs for some files of a list, which are made when they are needed: millions of them would fill the memory.

    Args:
        files: (n,) their numbers.
        arguments: Returns the job of a file, by its number.
    """

    def __init__(self, files: np.ndarray, arguments: Callable[[int], tuple]):
        self._files, self._arguments = files, arguments

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, i: int) -> tuple:  # type: ignore[override] # no slices
        return self._arguments(int(self._files[i]))

    def __iter__(self) -> Iterator[tuple]:
        for begin in range(0, len(self), _COMPARED):  # one by one while the threads run, it would take longer
            yield from [*map(self._arguments, self._files[begin : begin + _COMPARED].tolist())]


def run_in_threads(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    receive: Receive,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Runs the jobs of an index in threads of this process, as `Index.probe_all` describes.

    Args:
        workers: Number of threads; one per core by default.
        progress: Called with (done, total) after each job.
    """
    with cancelling_pool(num_threads((job[1] for job in jobs), workers)) as pool:
        outcomes = pool.map(partial(_outcome, function), jobs)
        for done, (job, (result, reason)) in enumerate(zip(jobs, outcomes), 1):
            receive(job, result, reason)
            if progress:
                progress(done, len(jobs))


def _outcome(function: Callable[..., Any], job: tuple) -> tuple[Any, str | None]:
    try:
        return function(*job, stop=None), None
    except MediaError as error:
        return None, error.reason


def _probe_job(
    file: int, path: str, name: str, flow: bool, template: str | None, *, stop: object
) -> Found | Unreachable:
    try:
        with fetching(path):
            return probe_path(path, name, flow=flow, template=template)
    except RemoteError as error:
        return Unreachable(error.reason)


def _probe_job_elsewhere(
    file: int, path: str, name: str, flow: bool, template: str | None, *, stop: object
) -> Found | Unreachable:
    try:
        return probe_elsewhere(path, name, flow=flow, template=template)
    except RemoteError as error:
        return Unreachable(error.reason)


def _verify_job(
    file: int, path: str, record: np.void, template: str | None, *, stop: object
) -> Found | str | Unreachable:
    """The result of a job, or the reason why the file is broken."""
    try:
        with fetching(path):
            return verify_path(path, record, template)
    except BrokenError as error:
        return error.reason
    except RemoteError as error:
        return Unreachable(error.reason)


def fingerprint_line(fingerprint: dict[str, Any]) -> str:
    """A fingerprint, shortened for display."""
    contents = fingerprint["contents"]
    return f"list {fingerprint['list'][:12]}, contents {contents[:12] if contents else 'not all probed'}"
