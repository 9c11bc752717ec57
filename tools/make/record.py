"""The record that a tool keeps in DST: its settings, the result of each video, and the lists that it wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actrec.data.storage.paths import unquoted
from actrec.files import ListError, read_json, write_json, writing

_LONGEST = 240  # bytes; longest name of a result. File systems allow 255, and a suffix may be appended.
_ADDED = ("image_range", "template", "shards")  # options that older versions lacked


@dataclass(frozen=True)
class Kind:
    """A tool that makes a result for each video.

    Args:
        command: Name of its command.
        done: What the tool does with a video, as a past participle.
        what: A word for the results.
        folder: Folder in DST that contains the results, as <class>/<name>.
        suffix: Suffix of these names.
    """

    command: str
    done: str
    what: str
    folder: str
    suffix: str = ""

    @property
    def record(self) -> str:
        """Name of the record file in DST."""
        return f".{re.sub('[ -]+', '_', self.command)}.json"


FRAMES = Kind("extract-frames", "extracted", "frames", "frames")
PREPARED = Kind("prepare", "prepared", "videos", "prepared", ".mp4")
SHARDS = Kind("prepare --shards", "prepared", "shards", "shards", ".mp4")
KINDS = (FRAMES, PREPARED, SHARDS)
QUARANTINE = "quarantine"  # folder to which prepare moves files that fail the comparison with their original


def allot(
    names: Sequence[str], classes: Sequence[str], known: Mapping[str, str], suffix: str = "", *, keys: bool = False
) -> dict[str, str]:
    """Chooses a name for the result of each video.

    The name is <class>/<stem>. If this is taken, it is <class>/<file name>, then <class>/<path with `_` for `/`>, and
    then the same with a number.

    Args:
        names: Names of the videos.
        classes: The class of each video.
        known: Names that earlier runs have chosen. A video keeps its name when other videos are added.
        keys: Files in tar shards: their names hold no dot before the suffix, where the key of a sample ends.

    Returns:
        {name of the video: name of its result}, for all known and new videos.
    """
    folders = dict(known)
    taken = {folder.casefold() for folder in known.values()} | {clean(name).casefold() for name in classes if name}
    for name, class_name in zip(names, classes):
        if name in folders:
            continue
        path = unquoted(name).replace("::", "/")  # of a member of an archive
        file = path.rsplit("/", 1)[-1]
        inside = path.replace("/", "_")
        choices = [(os.path.splitext(file)[0], ""), (file, ""), (inside, "")]
        choices += [(inside, f"_{i}") for i in range(2, len(folders) + 3)]
        above = f"{clean(class_name)}/" if class_name else ""
        files = (clean(*choice) for choice in choices)
        paths = (f"{above}{file.replace('.', '_') if keys else file}{suffix}" for file in files)
        folders[name] = next(path for path in paths if path.casefold() not in taken)
        taken.add(folders[name].casefold())
    return {name: folders[name] for name in (*known, *names)}


def clean(name: str, end: str = "") -> str:
    """A file name that a list can contain: valid text without `;` and control characters. It is not hidden.

    Args:
        end: Is appended to the name, which is shortened for it if necessary.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    text = re.sub(r"^\.|[;\x00-\x1f]", "_", text).encode()[: _LONGEST - len(end)].decode(errors="ignore")
    return f"{text.rstrip() or '_'}{end}"


@dataclass
class Record:
    """The record of a tool in DST.

    Args:
        path: The file of the record.
        options: Settings of the results.
        videos: {name of the video: name of its result}.
        lists: {name of the list: [SHA-256 of its content]}. While a list is being replaced, there are two hashes, one
            of the old and one of the new content.
    """

    path: Path
    options: dict = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, kind: Kind) -> Record:
        """The record in a folder; an empty one if there is none.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, or names a result outside the folder of the results, or one for two videos.
        """
        path = folder / kind.record
        try:
            found = read_json(path, dict)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except ListError:
            found = {}
        record = cls(path, *(found.get(name) for name in ("options", "videos", "lists")))
        if not record._is_valid():
            raise ValueError(
                f"{path} is damaged: expected the record of {kind.command}; to start over, remove it and "
                f"{folder / kind.folder}"
            )
        return record

    def _is_valid(self) -> bool:
        """Whether the values have the right types, and each video has a result of its own below the results."""
        if not all(isinstance(value, dict) for value in (self.options, self.videos, self.lists)):
            return False
        results = list(self.videos.values())
        return (
            all(isinstance(name, str) and _is_below(name) for name in results)
            and len({name.casefold() for name in results}) == len(results)
            and all(
                isinstance(one, list) and all(isinstance(hash_, str) for hash_ in one) for one in self.lists.values()
            )
        )

    def write(self) -> None:
        with writing(self.path):
            write_json(self.path, {"options": self.options, "videos": self.videos, "lists": self.lists})

    def wrote(self, path: Path) -> bool:
        """Whether a file of DST is exactly as the tool wrote it."""
        return path.is_file() and _sha256(path) in self.lists.get(path.name, [])

    def announce(self, path: Path, data: bytes) -> None:
        """Must be called before a list with this content appears, so that it is recognized even after a kill."""
        self.lists[path.name] = [*self.lists.get(path.name, [])[-1:], hashlib.sha256(data).hexdigest()]
        self.write()

    def confirm(self, path: Path) -> None:
        """Must be called after the announced list has appeared."""
        self.lists[path.name] = self.lists[path.name][-1:]


def plain_settings(options: Any, **more: Any) -> dict[str, Any]:
    """The fields of a settings dataclass, and more settings, as JSON holds them.

    An option that older versions lacked is left out while it has its default: their results can be continued.
    """
    settings = {**more, **dataclasses.asdict(options)}
    return json.loads(json.dumps({k: v for k, v in settings.items() if k not in _ADDED or v is not None}))


def describe_differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The settings that differ from those of an earlier run, for an error message."""
    different = (key for key in {**known, **wanted} if known.get(key) != wanted.get(key))
    return "; ".join(f"{key} was {known.get(key)}, now {wanted.get(key)}" for key in different)


def _is_below(name: str) -> bool:
    """Whether a name of a result is a path that stays in the folder of the results."""
    return not os.path.isabs(name) and not {"", ".", ".."} & set(name.split("/"))


def who_wrote(path: Path) -> Kind | None:
    """The tool that wrote a list or a file of class names; None if no tool did, or if the file was changed later."""
    return next((kind for kind in KINDS if Record.read(path.parent, kind).wrote(path)), None)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shown(path: Path) -> str:
    return os.path.normpath(path)
