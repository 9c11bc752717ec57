"""The output folder DST of extract-frames and prepare: results, lists, labels and failed.csv."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from actrec.config import SplitOptions
from actrec.data.lists import Video, read_labels, read_list, write_labels, write_list
from actrec.data.lists.find import find_stored_videos, find_videos
from actrec.data.lists.labeling import class_counts
from actrec.data.lists.splits import PARTS
from actrec.data.video.probe import check_videos
from actrec.data.video.promise import torn_line
from actrec.files import OutputError, atomic_file, writing
from actrec.leftovers import remove_leftovers
from actrec.system import lock_folder
from actrec.tools.lists.layout import layout_of
from actrec.tools.make.choose_split import Split, choose_split, split_of_lists
from actrec.tools.make.jobs import write_failed
from actrec.tools.make.record import (
    KINDS,
    QUARANTINE,
    SHARDS,
    Kind,
    Record,
    allot,
    describe_differences,
    plain_settings,
    shown,
    who_wrote,
)
from actrec.tools.make.shards import finder, row_order
from actrec.tools.make.source import Source, class_of_path
from actrec.words import counted

Span = Callable[[Video], tuple[int | float | None, int | float | None] | str]
Allot = Callable[[Sequence[str], Sequence[str], Mapping[str, str]], dict[str, str]]  # as `record.allot`


class Chosen(NamedTuple):
    """The videos of a run.

    Args:
        source: Where their names start.
        names: Of those that can be used, as far as their first picture tells.
        classes: The class folder of each, from which its result gets its name.
        split: How they are divided among lists.
        broken: {name of another video: why it cannot be used}.
    """

    source: Source
    names: list[str]
    classes: Sequence[str]
    split: Split
    broken: dict[str, str]


class Messages(list[str]):
    """The messages of a run.

    Args:
        log: Called with each message; None for no log.
    """

    def __init__(self, log: Callable[[str], None] | None):
        super().__init__()
        self._log = log

    def __call__(self, message: str) -> None:
        self.append(message)
        if self._log:
            self._log(message)


def videos_of(src: Source, dst: Path, say: Messages) -> list[str]:
    """Names of the videos in SRC, sorted. Results of earlier runs in DST are left out.

    Raises:
        FileNotFoundError: SRC is missing.
        ValueError: SRC contains no video, or cannot be read.
    """
    if src.folder is None:
        found = find_stored_videos(src.text)
    else:
        if not src.folder.is_dir():
            raise FileNotFoundError(
                f"{src}: {'not a folder' if src.folder.exists() else 'no such folder'}: expected a folder of videos"
            )
        made = [dst / QUARANTINE, *(dst / kind.folder for kind in KINDS)]
        found = find_videos(src.folder, frame_folders=False, skip=made)
        doubtful = found.doubtful()
        found.reject(name for name, checked in zip(doubtful, check_videos(src.folder, doubtful)) if checked.reason)
    # Links that lead to no file, and folders that cannot be read, are reported as videos that failed.
    names = sorted([*found.names, *found.dangling, *found.unreadable])
    others = found.described_others
    if not names:
        raise ValueError(f"{src} holds no video{f' (only {others})' if others else ''}: expected {src}/<class>/<video>")
    if others:
        say(f"ignored files that are not videos: {others}")
    found.warn_unreadable(say)
    return names


def check_fps(split: Split) -> None:
    """Raises ValueError if the split counts frames, because another frame rate renumbers them."""
    if any(isinstance(row.stop, int) for part in split.rows.values() for row in part):
        raise ValueError(f"{split.origin}: rows have ranges of frames, and --fps renumbers the frames: expected rows "
                         "without ranges, or no --fps")  # fmt: skip


class Target:
    """The folder DST with its results, lists, labels.txt and failed.csv. Nothing is written before `begin`.

    A context manager: from `begin` to the end of the block, no other process can begin to write the same results.

    Args:
        dst: Folder of the dataset.
        kind: The tool that makes the results.
        options: Settings of the results, a dataclass.

    Raises:
        ValueError: DST contains results with other or unknown settings.
    """

    def __init__(self, dst: Path, kind: Kind, options: Any):
        self.folder = dst / kind.folder
        self._dst, self._kind = dst, kind
        self._record = self._read_record(plain_settings(options))
        self._before = self._record.lists
        self._lock = contextlib.ExitStack()
        self._place: os.stat_result | None = None

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._place is not None and self.folder.exists() and not self._record.path.exists():
            with contextlib.suppress(OSError):  # DST was replaced: results of a moment ago are in a new one
                self._record.write()
        self._lock.close()

    def choose(self, src: str | os.PathLike[str] | Sequence[Path], options: SplitOptions, say: Messages) -> Chosen:
        """The videos of a folder, of an archive or of lists. Raises the errors of `videos_of` and `choose_split`."""
        if not isinstance(src, (str, os.PathLike)):
            split = split_of_lists([Path(path) for path in src], self._dst)
            names = sorted({row.path for part in split.rows.values() for row in part})
            return Chosen(Source(), names, list(map(class_of_path, names)), split, {})
        source = Source(src)
        names = videos_of(source, self._dst, say)
        broken = self._broken_videos(source, names, say)
        split = choose_split(source, self._dst, names, options, say, self._known_parts(), broken)
        broken |= split.refused
        names = [name for name in names if name not in broken]
        classes = layout_of(source.text, names, options.class_level, strict=False).classes
        return Chosen(source, names, classes, split, broken)

    def _broken_videos(self, src: Source, names: Sequence[str], say: Messages) -> dict[str, str]:
        """{name of a video without a result: why it cannot be used}, as far as its first picture tells.

        Says how many of the others lack their end. Objects are not fetched for that: it is seen when they are used.
        """
        if src.is_remote:
            return {}
        results, exists = self._record.videos, finder() if self._kind is SHARDS else Path.exists
        new = [name for name in names if name not in results or not exists(self.folder / results[name])]
        found = dict(zip(new, check_videos("", [os.fspath(src / name) for name in new])))
        if torn := [(name, checked.missing) for name, checked in found.items() if checked.missing]:
            say(torn_line(len(torn), *torn[0]))
        return {name: checked.reason for name, checked in found.items() if checked.reason}

    @property
    def results(self) -> Mapping[str, str]:
        """{name of a video: name of its result}, of this run and of earlier ones."""
        return self._record.videos

    def name_of(self, name: str) -> str:
        """The name of a video's result, without its shard."""
        return self._record.videos[name].rpartition("::")[2]

    def _known_parts(self) -> dict[str, str]:
        """{name of a video: its part} according to the lists that an earlier run wrote."""
        names = {os.path.abspath(self.folder / result): name for name, result in self._record.videos.items()}
        found: dict[str, str] = {}
        for part in PARTS:
            if self._record.wrote(path := self._dst / f"{part}.txt"):
                found |= {
                    names[place]: part for video in read_list(path) if (place := os.path.abspath(video.path)) in names
                }
        return found

    def _read_record(self, wanted: dict) -> Record:
        """The record of DST, which gets these settings. Raises ValueError if it has results of other settings."""
        # In this order: another process writes its record before its first result.
        has_results = any(not path.name.startswith(".") for path in self.folder.glob("*"))
        record = Record.read(self._dst, self._kind)
        known, what = record.options, self._kind.what
        if has_results and known != wanted:
            changes = describe_differences(known, wanted)
            found = f"{what} with other settings ({changes})" if known else f"{what} with unknown settings"
            raise ValueError(f"{self.folder} contains {found}: expected the same settings, or another DST; to start "
                             f"over, remove {self.folder}")  # fmt: skip
        record.options = wanted
        return record

    def begin(
        self,
        split: Split,
        names: Sequence[str],
        classes: Sequence[str],
        say: Messages,
        allot_results: Allot | None = None,
    ) -> dict[str, Path]:
        """Creates the folder of the results, and renames lists in DST that no tool wrote.

        Args:
            allot_results: Chooses the names of the results. Default: `allot`.

        Returns:
            {name of the video: path of its result}.

        Raises:
            ValueError: DST contains other class names that this tool did not write, or lists that cannot be renamed.
            OutputError: DST cannot be written.
        """
        self._lock_results()
        self._check_labels(split.labels)
        foreign = self._foreign_lists(split)
        for path, kept in foreign.items():
            with writing(kept):
                os.replace(path, kept)
            say(f"{shown(path)} was not written by {self._kind.command}: renamed to {kept.name}")
        choose = allot_results or functools.partial(allot, suffix=self._kind.suffix)
        self._record.videos = choose(names, classes, self._record.videos)
        self._record.write()
        remove_leftovers([self.folder, *(folder for folder in self.folder.iterdir() if folder.is_dir())], say)
        self._tell_left_out(split, names, say)
        return {name: self.folder / self._record.videos[name] for name in names}

    def _lock_results(self) -> None:
        used = f"{self.folder} is in use: another `actrec {self._kind.command}`"
        with writing(self._dst):
            try:
                self._lock.enter_context(lock_folder(self.folder))
            except BlockingIOError:
                raise ValueError(f"{used} is writing to it; run this command again after it ends") from None
        self._place = os.stat(self.folder)
        self._record = self._read_record(self._record.options)
        if self._record.lists != self._before:  # the split was chosen without knowing these lists
            raise ValueError(f"{used} has written its lists there just now; run this command again")

    def _tell_left_out(self, split: Split, names: Sequence[str], say: Messages) -> None:
        listed = {row.path for part in split.rows.values() for row in part}
        if unlisted := sum(name not in listed for name in names):
            done = self._kind.done
            say(f"{unlisted} of {len(names)} videos are in no list of the split: they are {done}, but not listed")
        if split.outside:
            say(f"left out: {counted(split.outside, 'row')} of the split's lists with a file outside SRC")

    def _foreign_lists(self, split: Split) -> dict[Path, Path]:
        """{existing list that no tool wrote and that a new list would replace: its new path}.

        Raises:
            ValueError: The new path belongs to another file, or another tool wrote the list.
        """
        moves = {}
        for part in split.rows:
            path, kept = self._dst / f"{part}.txt", self._dst / f"videos_{part}.txt"
            if not path.is_file() or self._record.wrote(path):
                continue
            if other := who_wrote(path):
                raise ValueError(
                    f"{path} is the list of {other.command} for {self._dst / other.folder}: expected another DST"
                )
            if kept.exists() and kept.read_bytes() != path.read_bytes():
                raise ValueError(
                    f"{path} (a list that {self._kind.command} did not write and would rename to {kept.name}) and "
                    f"{kept} (the list that decides the split) differ: move away the one that you do not need, or type "
                    "another DST"
                )
            moves[path] = kept
        return moves

    def _check_labels(self, labels: list[str]) -> None:
        path = self._dst / "labels.txt"
        if path.is_file() and not self._record.wrote(path) and read_labels(path) != labels:
            raise ValueError(
                f"{path} was not written by {self._kind.command} and contains other class names: expected another "
                "DST, or this file to be moved away"
            )

    def finish(
        self, split: Split, src: Source, reasons: Mapping[str, str], span: Span, say: Messages
    ) -> tuple[dict[str, int], list[tuple[str, str]], tuple[str, ...]]:
        """Writes labels.txt, flips.txt, the lists and failed.csv.

        Args:
            src: Where the names of the videos start.
            reasons: {name of a video without a result: reason}.
            span: Returns start and stop of a row in the new list, or the reason why the row has no frames.

        Returns:
            The number of rows of each list, (path, reason) of everything that failed, as in failed.csv, and the lines
            of `class_counts`.
        """
        self._check_place()
        labels = self._dst / "labels.txt"
        if split.labels and (not labels.is_file() or self._record.wrote(labels)):
            self._write(labels, lambda path: write_labels(path, split.labels))
        self._copy_flips(split, say)
        written, lists, bad = {}, {}, []
        for part, rows in split.rows.items():
            videos = []
            for row in rows:
                if row.path in reasons:
                    continue
                found = span(row)
                if isinstance(found, str):
                    bad.append((row.path, f"{part} list: {found}"))
                    continue
                path = os.path.join(self._dst, self._kind.folder, self._record.videos[row.path])
                videos.append(Video(path, path, *found, row.labels))
            if self._kind is SHARDS:
                videos.sort(key=lambda video: row_order(video.path))
            target = self._dst / f"{part}.txt"
            if videos:
                self._write_list(target, videos, split.labels)
            else:
                say(f"{target.name}: none of its videos could be {self._kind.done}, so this list is not written")
                if self._record.wrote(target):
                    target.unlink()
            written[target.name] = len(videos)
            lists[part] = videos
        self._record.write()
        failed = [(str(src / name), reason) for name, reason in sorted([*reasons.items(), *bad])] + list(split.missing)
        write_failed(self._dst / "failed.csv", failed)
        return written, failed, tuple(class_counts(lists, split.labels))

    def _check_place(self) -> None:
        """Raises OutputError if the folder of the results was removed or replaced: lists would name lost results."""
        with writing(self.folder):
            if self._place is None or not os.path.samestat(os.stat(self.folder), self._place):
                raise OutputError(errno.ESTALE, "the folder was replaced during the run; run this command again",
                                  os.fspath(self.folder))  # fmt: skip

    def _write_list(self, target: Path, videos: list[Video], labels: list[str]) -> None:
        self._write(target, lambda path: write_list(path, videos, root=self._dst, labels=labels, separator=None))

    def _write(self, target: Path, write: Callable[[Path], object]) -> None:
        """Records the hash before the file appears, so that the file is recognized even if this process is killed."""
        with writing(target), atomic_file(target) as temporary:
            write(temporary)
            self._record.announce(target, temporary.read_bytes())
        self._record.confirm(target)

    def _copy_flips(self, split: Split, say: Messages) -> None:
        target = self._dst / "flips.txt"
        source = split.folder / "flips.txt" if split.folder else None
        if source is None or not source.is_file() or os.path.realpath(source) == os.path.realpath(target):
            return
        if target.is_file() and not self._record.wrote(target):
            say(f"{shown(target)} was not written by {self._kind.command} and is kept; {shown(source)} was not copied")
            return
        self._write(target, lambda path: path.write_bytes(source.read_bytes()))
