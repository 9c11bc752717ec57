"""Packs the results of prepare into tar shards in WebDataset format: `train-000000.tar` with `walk/a.mp4`, `walk/a.cls`
and `walk/a.json`.

Which shard a video goes to depends only on the names of the videos, so the same videos give the same bytes, in any
order and with any number of workers. The numbers of videos in the shards of a list differ by at most one. Inside a
shard, videos are in the order of a hash of their names, so that programs that read a shard from start to end get mixed
classes. A shard is packed as soon as its last video is prepared. Then the files of its videos are removed.

The content of an existing shard is read from the shard itself, so an interrupted run can continue. A shard that lacks a
video, or has old labels, is packed again from its old members and the new files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from actrec.config import OptionError
from actrec.data.lists.labels import Classes
from actrec.files import atomic_file, writing
from actrec.system import read_at
from actrec.tools.make.choose_split import Split
from actrec.tools.make.record import SHARDS, allot, clean

STAGED = ".videos"  # folder of prepared videos that are in no shard yet, among the shards
_MTIME = 315532800  # 1980-01-01; tar warns about times near 1970
_BLOCK = 1 << 20  # bytes that are copied at a time

_Content = tuple[str, int, bytes | Path | int]  # member, size, and its bytes, a file, or its place in the old shard


def part_of(split: Split) -> dict[str, str]:
    """{name of a listed video: its part}. A video in several lists goes to the first of them."""
    parts: dict[str, str] = {}
    for part, rows in split.rows.items():
        for row in rows:
            parts.setdefault(row.path, part)
    return parts


def check_number(split: Split, number: int) -> None:
    """Raises OptionError if videos cannot be divided among so many shards."""
    counts = Counter(part_of(split).values())
    if number > counts.total():
        raise OptionError(f"`shards` {number}: expected at most {counts.total():,}, the number of videos")
    if number < len(counts):
        raise OptionError(
            f"`shards` {number}: expected at least {len(counts)}, as each of the lists {', '.join(counts)} has shards "
            "of its own"
        )


def allot_members(
    names: Sequence[str], classes: Sequence[str], known: Mapping[str, str], *, parts: Mapping[str, str], number: int
) -> dict[str, str]:
    """Chooses a shard and a member for each video: `train-000000.tar::walk/a.mp4`.

    Args:
        names: Names of the videos.
        classes: The class of each video.
        known: What earlier runs have chosen. A video stays in its shard while it stays in its list.
        parts: {name: its part}.
        number: Number of shards of all parts together.

    Returns:
        {name of the video: shard and member}, for all known and new videos.

    Raises:
        ValueError: The lists are not those of the earlier runs.
    """
    members = allot(names, classes, {name: path.partition("::")[2] for name, path in known.items()}, SHARDS.suffix,
                    keys=True)  # fmt: skip
    shards = {part: f"{clean(part)}-{{:06d}}.tar" for part in dict.fromkeys(parts.values())}
    if len(set(map(str.casefold, shards.values()))) < len(shards):
        raise ValueError(f"the lists {', '.join(shards)} would have shards of the same names: expected other names")
    place = {name: path.partition("::")[0] for name, path in known.items()}
    used = {shard: _stem(shard) for shard in place.values()}
    sizes = _num_shards(Counter(parts[name] for name in names), number)
    if used:
        sizes = {part: sum(stem == _stem(shards[part]) for stem in used.values()) for part in sizes}
        if missing := [part for part, size in sizes.items() if not size]:
            raise ValueError(f"the shards were made of other lists, without {missing[0]}: expected the same lists, or "
                             "another DST")  # fmt: skip
    for part, size in sizes.items():
        mine = {shards[part].format(i): 0 for i in range(size)}
        new = []
        for name in (name for name in names if parts[name] == part):
            if place.get(name) in mine:
                mine[place[name]] += 1
            else:
                new.append(name)
        for name in sorted(new, key=lambda name: _order(members[name])):
            place[name] = min(mine, key=mine.__getitem__)  # the first of the smallest
            mine[place[name]] += 1
    return {name: f"{place[name]}::{member}" for name, member in members.items()}


def _stem(shard: str) -> str:
    """The name of a shard without its number."""
    return re.sub(r"-(\d+|\{:06d\})\.tar$", "", shard).casefold()


def _num_shards(counts: Mapping[str, int], number: int) -> dict[str, int]:
    """How many shards each part gets: in proportion to its videos, at least one, and at most one per video."""
    sizes = dict.fromkeys(counts, 1)
    for _ in range(number - len(counts)):
        open_ = [part for part in counts if sizes[part] < counts[part]]
        sizes[max(open_, key=lambda part: counts[part] / sizes[part])] += 1
    return sizes


def _order(member: str) -> bytes:
    return hashlib.blake2b(member.encode(), digest_size=16).digest()


def row_order(path: str) -> tuple[str, bytes]:
    """Sorts the members of the shards of a list as the shards contain them, so as `actrec lists shards` lists them."""
    archive, _, member = path.rpartition("::")
    return archive, _order(member)


class Shards:
    """The shards in a folder.

    Args:
        folder: Folder of the shards.
        places: {name of a video: shard and member, as `allot_members` returns them}.
        split: The lists with the labels.
        wanted: Names of the videos of this run.
    """

    def __init__(self, folder: Path, places: Mapping[str, str], split: Split, wanted: Sequence[str]):
        self._folder, self._wanted = folder, set(wanted)
        self._shard = {name: place.partition("::")[0] for name, place in places.items()}
        self._member = {name: place.partition("::")[2] for name, place in places.items()}
        self._labels = _label_members(split)
        self._packed: dict[str, dict[str, tarfile.TarInfo]] = {}

    def staged(self, name: str) -> Path:
        """The path of a prepared video that is in no shard yet."""
        return staged_path(self._folder, self._member[name])

    def size(self, name: str) -> int | None:
        """The size of a prepared video, in its shard or not; None if there is none."""
        packed = self._members(self._shard[name]).get(self._member[name])
        if packed is not None:
            return packed.size
        path = self.staged(name)
        return path.stat().st_size if path.is_file() else None

    def by_shard(self, names: Iterable[str]) -> dict[str, list[str]]:
        """{shard: names of its videos}, for all shards of this run, in their order."""
        found: dict[str, list[str]] = {shard: [] for shard in sorted({self._shard[name] for name in self._wanted})}
        for name in names:
            found[self._shard[name]].append(name)
        return found

    def pack(self, shard: str) -> bool:
        """Writes a shard with all existing videos that belong to it, unless it is complete. Then removes their files.

        Videos in the shard that this run does not know, because their originals are gone, stay in the shard.

        Returns:
            Whether the shard exists now. Without any video, there is none.

        Raises:
            OutputError: It cannot be written.
        """
        before = self._members(shard)
        names = [name for name in self._shard if self._shard[name] == shard and self.size(name) is not None]
        names.sort(key=lambda name: _order(self._member[name]))
        if not names:
            return False
        path = self._folder / shard
        with contextlib.ExitStack() as files:
            old = files.enter_context(open(path, "rb")) if before else None
            content = list(self._content(shard, names, old))
            if not _is_equal(content, before, old):
                with writing(path), atomic_file(path) as temporary:
                    _write_tar(temporary, content, old)
                    _compare(temporary, content)
                self._packed.pop(shard, None)
        for name in names:
            self.staged(name).unlink(missing_ok=True)
        return True

    def remove_empty_folders(self) -> None:
        """Removes the folders whose videos are all in shards now. No video may be in preparation."""
        for folder in (*{self.staged(name).parent for name in self._member}, self._folder / STAGED):
            with contextlib.suppress(OSError):  # not empty, or never made
                folder.rmdir()

    def _members(self, shard: str) -> dict[str, tarfile.TarInfo]:
        """The members of an existing shard; none if there is no shard, or if it is damaged and must be made again."""
        if shard not in self._packed:
            self._packed[shard] = _read_members(self._folder / shard)
        return self._packed[shard]

    def _content(self, shard: str, names: Sequence[str], old: BinaryIO | None) -> Iterator[_Content]:
        """What a shard has to hold."""
        before = self._members(shard)
        for name in names:
            member = self._member[name]
            if member in before:
                yield member, before[member].size, before[member].offset_data
            else:
                yield member, self.staged(name).stat().st_size, self.staged(name)
            stem = member.removesuffix(SHARDS.suffix)
            if name in self._wanted:
                for suffix, data in self._labels.get(name, {}).items():
                    yield f"{stem}.{suffix}", len(data), data
                continue
            for suffix in ("cls", "json"):
                if (label := before.get(f"{stem}.{suffix}")) and old is not None:
                    yield label.name, label.size, read_at(old, label.offset_data, label.size)


def staged_path(folder: Path, member: str) -> Path:
    """Where a prepared video is until it is packed."""
    return folder / STAGED / member


def finder() -> Callable[[Path], bool]:
    """Returns a function that says whether a video is prepared, in its shard or not: each shard is read once.

    The path of a video is the shard and the member, `shards/train-000000.tar::walk/a.mp4`.
    """
    members = functools.cache(lambda shard: _read_members(Path(shard)).keys())

    def has(path: Path) -> bool:
        shard, _, member = os.fspath(path).rpartition("::")
        return staged_path(Path(shard).parent, member).is_file() or member in members(shard)

    return has


def _label_members(split: Split) -> dict[str, dict[str, bytes]]:
    """{name of a video: {suffix: content of the member with its labels}}, of rows of whole videos.

    `.cls` contains the number of the class, as in WebDataset, and `.json` contains the number and the name. A video
    with several labels has only `.json`, and so has a video without a label if others have one. Rows with ranges label
    parts of a video, so their labels are only in the list.
    """
    found: dict[str, set[tuple[int, ...]]] = {}
    parts = part_of(split)
    labeled = {part for part, rows in split.rows.items() if any(row.labels for row in rows)}
    ranged = set()
    for row in (row for rows in split.rows.values() for row in rows):
        found.setdefault(row.path, set()).add(row.labels)
        if row.start is not None or row.stop is not None:
            ranged.add(row.path)
    members = {}
    for name, stated in found.items():
        labels = next(iter(stated))
        if name in ranged or len(stated) > 1 or not (labels or parts[name] in labeled):
            continue
        if not labels:
            members[name] = {"json": b'{"label": []}'}
            continue
        members[name] = {"cls": str(labels[0]).encode()} if len(labels) == 1 else {}
        names = [split.labels[label] for label in labels] if max(labels) < len(split.labels) else []
        is_named = bool(names) and not any(text in Classes() for text in names)  # a name like a number is no name
        if len(labels) > 1 or is_named:
            value: dict[str, Any] = {"label": list(labels)} | ({"class": names} if is_named else {})
            if len(labels) == 1:
                value = {key: one[0] for key, one in value.items()}
            members[name]["json"] = json.dumps(value, ensure_ascii=False).encode()
    return members


def _read_members(path: Path) -> dict[str, tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as tar:
            found = {member.name: member for member in tar.getmembers() if member.isreg()}
            end = max((member.offset_data + member.size for member in found.values()), default=0)
        return found if end <= path.stat().st_size else {}
    except FileNotFoundError:
        return {}
    except (tarfile.TarError, EOFError):  # cut off, or another file: its videos are made again
        return {}


def _is_equal(content: Sequence[_Content], before: Mapping[str, tarfile.TarInfo], old: BinaryIO | None) -> bool:
    """Whether a shard already has exactly this content."""
    if old is None or [(name, size) for name, size, _ in content] != [(one.name, one.size) for one in before.values()]:
        return False
    return all(
        data == read_at(old, before[name].offset_data, size) for name, size, data in content if isinstance(data, bytes)
    )


def _write_tar(path: Path, content: Iterable[_Content], old: BinaryIO | None) -> None:
    with tarfile.TarFile(path, "w", format=tarfile.GNU_FORMAT, copybufsize=_BLOCK) as tar:
        for name, size, data in content:
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = size, _MTIME, 0o644
            if isinstance(data, bytes):
                tar.addfile(info, io.BytesIO(data))
            elif isinstance(data, int):
                assert old is not None
                old.seek(data)
                tar.addfile(info, old)
            else:
                with open(data, "rb") as file:
                    tar.addfile(info, file)


def _compare(path: Path, content: Sequence[_Content]) -> None:
    """Raises OSError unless a new shard reads back with these members. Called before files are removed."""
    found = [(member.name, member.size) for member in _read_members(path).values()]
    if found != [(name, size) for name, size, _ in content]:
        raise OSError(0, "the shard does not read back as it was written", os.fspath(path))
