"""What a tool remembers in DST: its settings, which result belongs to which video, and the lists that it wrote."""

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

from actrec.files import write_json, writing

_LONGEST = 240  # bytes of a name, so that something can be appended


@dataclass(frozen=True)
class Kind:
    """What a tool makes of videos.

    Args:
        command: the tool's.
        done: its past participle.
        what: a word for what it makes.
        folder: in DST, where it makes <class>/<name>.
        suffix: of these names.
    """

    command: str
    done: str
    what: str
    folder: str
    suffix: str = ""

    @property
    def record(self) -> str:
        """Where DST remembers it."""
        return f".{self.command.replace('-', '_')}.json"


FRAMES = Kind("extract-frames", "extracted", "frames", "frames")
PREPARED = Kind("prepare", "prepared", "videos", "prepared", ".mp4")
KINDS = (FRAMES, PREPARED)
QUARANTINE = "quarantine"  # where prepare puts files that are not what they should be


def allot(names: Sequence[str], classes: Sequence[str], known: Mapping[str, str], suffix: str = "") -> dict[str, str]:
    """A name below frames/ for each video: <class>/<stem>; where that is taken <class>/<file name>, and so on.

    `known` is what earlier runs have allotted: a video keeps its name when others come to stand beside it.
    """
    folders = dict(known)
    taken = {folder.casefold() for folder in known.values()} | {_clean(name).casefold() for name in classes if name}
    for name, class_name in zip(names, classes):
        if name in folders:
            continue
        file = name.rsplit("/", 1)[-1]
        inside = name.replace("/", "_")
        choices = [os.path.splitext(file)[0], file, inside, *(f"{inside}_{i}" for i in range(2, len(names) + 3))]
        above = f"{_clean(class_name)}/" if class_name else ""
        paths = (f"{above}{_clean(choice)}{suffix}" for choice in choices)
        folders[name] = next(path for path in paths if path.casefold() not in taken)
        taken.add(folders[name].casefold())
    return {name: folders[name] for name in (*known, *names)}


def _clean(name: str) -> str:
    """A file name that a list can hold: text, without separators that nobody expects."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    return re.sub(r"[;\x00-\x1f]", "_", text).encode()[:_LONGEST].decode(errors="ignore") or "_"


@dataclass
class Record:
    """What a tool remembers in DST: settings, {video: name of its result}, {list: hashes of what the tool wrote}."""

    path: Path
    options: dict = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, kind: Kind) -> Record:
        path = folder / kind.record
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, found["options"], found["videos"], found["lists"])
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path} is damaged: expected what {kind.command} wrote; remove it and {folder / kind.folder}"
            ) from None

    def write(self) -> None:
        with writing(self.path):
            write_json(self.path, {"options": self.options, "videos": self.videos, "lists": self.lists})

    def wrote(self, path: Path) -> bool:
        """Whether a file of its folder is, byte by byte, one that the tool wrote."""
        return path.is_file() and _sha256(path) in self.lists.get(path.name, [])

    def announce(self, path: Path, data: bytes) -> None:
        """Call this right before a list appears with this content: the list counts as the tool's before and after."""
        self.lists[path.name] = [*self.lists.get(path.name, [])[-1:], hashlib.sha256(data).hexdigest()]
        self.write()

    def confirm(self, path: Path) -> None:
        """Call this when the announced list is there."""
        self.lists[path.name] = self.lists[path.name][-1:]


def plain_settings(options: Any, **more: Any) -> dict[str, Any]:
    """The fields of a settings dataclass, and more settings, as JSON holds them."""
    return json.loads(json.dumps({**more, **dataclasses.asdict(options)}))


def describe_differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """For an error message: the settings that differ from those of an earlier run."""
    different = (key for key, value in wanted.items() if known.get(key) != value)
    return "; ".join(f"{key} {known.get(key)} there, {wanted[key]} now" for key in different)


def who_wrote(path: Path) -> Kind | None:
    """Which tool wrote this list or labels file."""
    return next((kind for kind in KINDS if Record.read(path.parent, kind).wrote(path)), None)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shown(path: Path) -> str:
    return os.path.normpath(path)
