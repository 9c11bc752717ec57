"""What is known before the first frame is made: the videos of SRC, what earlier runs have left in DST, and the split.

Where the split comes from, and what the records of DST remember: see extract_frames.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actrec.data.lists import Video, find_labels, read_labels, read_list
from actrec.data.lists.splits import PARTS, stratified_split
from actrec.files import ListError, write_json, writing

# FFmpeg would open some of these, and nobody means them as videos.
NOT_VIDEOS = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log"}
NOT_VIDEOS |= {".py", ".sh", ".srt", ".vtt", ".ini", ".db", ".npy", ".npz", ".zip", ".tar", ".gz", ".part", ".tmp"}
NOT_VIDEOS |= {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
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


# ---- which videos there are ----


def find_videos(src: Path, dst: Path) -> tuple[list[str], Counter[str]]:
    """Names of the files in SRC that may be videos, sorted, and how many others there are by extension."""
    names, others = [], Counter()
    visited = {os.path.realpath(dst / folder) for folder in (QUARANTINE, *(kind.folder for kind in KINDS))}
    for folder, subfolders, files in os.walk(src, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # our own output, or a link that leads in a circle
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            extension = os.path.splitext(name)[1].lower()
            if extension in NOT_VIDEOS:
                others[extension] += 1
            elif not name.startswith("."):
                names.append(Path(folder, name).relative_to(src).as_posix())
    return sorted(names), others


def has_part_folders(names: Sequence[str]) -> bool:
    """Whether SRC is laid out as train/<class>/ and val/<class>/."""
    pieces = [name.split("/") for name in names]
    tops = {piece[0] for piece in pieces}
    return {"train", "val"} <= tops <= set(PARTS) and all(len(piece) > 2 for piece in pieces)


def class_of(name: str, part_folders: bool) -> str:
    """The class folder of a video, "" for one directly in SRC."""
    pieces = name.split("/")[1 if part_folders else 0 :]
    return pieces[0] if len(pieces) > 1 else ""


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


# ---- what earlier runs have left ----


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


def who_wrote(path: Path) -> Kind | None:
    """Which tool wrote this list or labels file."""
    return next((kind for kind in KINDS if Record.read(path.parent, kind).wrote(path)), None)


def _tells_of(path: Path, src: Path) -> bool:
    """Whether a list or labels file may tell of SRC's videos: not if a tool wrote it for results that lie elsewhere."""
    kind = who_wrote(path)
    return kind is None or Path(os.path.realpath(src)).is_relative_to(os.path.realpath(path.parent / kind.folder))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---- the split ----


@dataclass(frozen=True)
class SplitOptions:
    """How videos are divided where no list and no folder says so.

    Args:
        val_fraction: part of each class that is for validation.
        seed: decides which.
        group_regex: files whose path (in SRC, with /) has the same match stay together: its first group, or all of it.

    Raises:
        ValueError: a fraction outside (0, 1), an expression that does not compile.
    """

    val_fraction: float = 0.2
    seed: int = 0
    group_regex: str | None = None

    def __post_init__(self):
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val-fraction {self.val_fraction}: expected a number above 0 and below 1")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: expected at least 0")
        try:
            re.compile(self.group_regex or "")
        except re.error as error:
            raise ValueError(f"group-regex {self.group_regex!r} is no regular expression: {error}") from None

    def group(self, name: str) -> str | None:
        match = re.search(self.group_regex, name) if self.group_regex else None
        return match and (match[1] if match.re.groups else match[0])


@dataclass(frozen=True)
class Row:
    name: str  # of the video, in SRC
    start: int | float | None  # as a Video has them
    stop: int | float | None
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Split:
    origin: str
    rows: dict[str, list[Row]]  # of each part
    labels: list[str]
    folder: Path | None  # where its lists or labels came from
    missing: tuple[tuple[str, str], ...] = ()  # (path, reason) of rows without a file
    outside: int = 0  # rows whose file is not in SRC


def choose_split(src: Path, dst: Path, names: list[str], options: SplitOptions, log: Callable[[str], None]) -> Split:
    part_folders = has_part_folders(names)
    classes = [class_of(name, part_folders) for name in names]
    for folder in _search_path(src, dst):
        if lists := _split_lists(folder, src):
            split = _split_by_lists(lists, src, names, sorted(set(classes) - {""}))
            break
    else:
        split = _split_without_lists(src, dst, names, classes, part_folders, options, log)
    log(f"split: {split.origin}")
    return split


def _search_path(src: Path, dst: Path) -> list[Path]:
    parent = Path(os.path.normpath(src / ".."))  # of a link: where the link is
    folders = {os.path.realpath(folder): folder for folder in (parent, src, dst)}
    return [folders[key] for key in dict.fromkeys(map(os.path.realpath, (dst, src, parent)))]


def _split_lists(folder: Path, src: Path) -> dict[str, Path]:
    """{part: list of videos} that a folder holds; none if neither train nor val is there."""
    kept = {part: folder / f"videos_{part}.txt" for part in PARTS}
    plain = {part: folder / f"{part}.txt" for part in PARTS}
    for lists in (kept, plain):
        found = {part: path for part, path in lists.items() if path.is_file() and _tells_of(path, src)}
        if "train" in found or "val" in found:
            return found
    return {}


def _split_by_lists(lists: dict[str, Path], src: Path, names: list[str], classes: list[str]) -> Split:
    folder = next(iter(lists.values())).parent
    labels_file = find_labels(folder)
    labels = read_labels(labels_file) if labels_file else None
    by_path = {os.path.abspath(src / name): name for name in names}
    rows, missing, outside = {}, [], 0
    for part, path in lists.items():
        rows[part] = []
        for video in _read_videos(path, labels, classes):
            places = [os.path.abspath(base / video.path) for base in (folder, src)]
            if name := next((by_path[place] for place in places if place in by_path), None):
                rows[part].append(Row(name, video.start, video.stop, video.labels))
            elif any(map(os.path.exists, places)):
                outside += 1
            else:
                missing.append((video.path, f"missing: {path.name} lists it, and there is no such file"))
    if not any(rows.values()):
        first = f", not even {missing[0][0]!r}" if missing else ""
        raise ValueError(f"{' and '.join(map(str, lists.values()))}: none of the listed videos is in {src}{first}; "
                         "expected paths of video files, relative to the list's folder")  # fmt: skip
    origin = " and ".join(map(shown, lists.values()))
    labels = labels or _names_of(rows, classes)
    return Split(origin, rows, labels, folder, tuple(missing), outside)


def _read_videos(path: Path, labels: list[str] | None, classes: list[str]) -> list[Video]:
    """A list with labels.txt beside it; without one labels are names of class folders, or any numbers."""
    if labels is not None or not classes:
        return read_list(path, root="", labels=labels or ())
    try:
        return read_list(path, root="", labels=classes)
    except ListError as error:
        try:
            return read_list(path, root="", labels=())
        except ListError:
            raise error from None


def _names_of(rows: Mapping[str, list[Row]], classes: list[str]) -> list[str]:
    """Class names of numbers: the folder, where a number's videos share one that no other number has."""
    folders: dict[int, set[str]] = {}
    for row in (row for part in rows.values() for row in part):
        for label in row.labels:
            folders.setdefault(label, set()).add(row.name.split("/")[0] if "/" in row.name else "")
    if not folders:
        return classes
    times = Counter(name for found in folders.values() for name in found)
    single = {label: min(found) for label, found in folders.items() if len(found) == 1}
    return [single[i] if times[single.get(i, "")] == 1 and single[i] else str(i) for i in range(max(folders) + 1)]


def _split_without_lists(
    src: Path,
    dst: Path,
    names: list[str],
    classes: list[str],
    part_folders: bool,
    options: SplitOptions,
    log: Callable[[str], None],
) -> Split:
    if "" in classes:
        raise ValueError(f"{src / names[classes.index('')]} is in no class folder: expected {src}/<class>/<video>, "
                         "or a train.txt with `path label` in each line")  # fmt: skip
    labels, folder = _labels_without_lists(src, dst, sorted(set(classes)))
    numbers = [labels.index(name) for name in classes]
    if part_folders:
        parts = [name.split("/")[0] for name in names]
        origin = f"the folders {', '.join(part for part in PARTS if part in parts)} of {src}"
    else:
        parts, origin = draw_split(names, numbers, options, log)
    rows: dict[str, list[Row]] = {part: [] for part in PARTS if part in parts}
    for name, part, number in zip(names, parts, numbers):
        rows[part].append(Row(name, None, None, (number,)))
    return Split(origin, rows, labels, folder)


def draw_split(names: list[str], numbers: list[int], options: SplitOptions, log: Callable[[str], None]):
    groups = [options.group(name) for name in names]
    if options.group_regex:
        if not any(group is not None for group in groups):
            raise ValueError(f"group-regex {options.group_regex!r} matches no path, such as {names[0]!r}")
        alone = sum(group is None for group in groups)
        log(
            f"groups: {len(set(groups) - {None})}"
            + (f", and {alone} videos that match none stand alone" if alone else "")
        )
    is_val = stratified_split(
        numbers,
        [f"file {name}" if group is None else f"group {group}" for name, group in zip(names, groups)],
        val_fraction=options.val_fraction,
        seed=options.seed,
    )
    origin = f"drawn by class, {options.val_fraction:g} of the videos for validation, seed {options.seed}"
    return ["val" if val else "train" for val in is_val], origin


def _labels_without_lists(src: Path, dst: Path, classes: list[str]) -> tuple[list[str], Path | None]:
    for folder in _search_path(src, dst):
        file = find_labels(folder)
        if file is None or not _tells_of(file, src):
            continue
        labels = read_labels(file)
        if unknown := [name for name in classes if name not in labels]:
            raise ValueError(f"{file} does not name the class {unknown[0]!r}: expected every class folder of {src}")
        return labels, folder
    return classes, None


def shown(path: Path) -> str:
    return os.path.normpath(path)
