"""Videos to frame folders, labels.txt and lists: DST/frames/<class>/<video>/00001.jpg, DST/train.txt, DST/val.txt.

Where the split comes from, the first of these:

1. list files in DST, SRC or SRC's parent, in this order; in each folder `videos_train.txt`, `videos_val.txt` and
   `videos_test.txt`, otherwise `train.txt`, `val.txt` and `test.txt` that this tool has not written itself. Their paths
   are relative to the list's folder or to SRC;
2. folders: SRC/train/<class>/ and SRC/val/<class>/ (and SRC/test/<class>/);
3. a seeded stratified split of SRC/<class>/.

Labels are the line numbers of `labels.txt` or `classes.txt` beside the lists (in DST, SRC or its parent, where there
are none); without such a file those of the sorted class folders.

A video's folder appears by one rename, whole or not at all, and a folder that is there is done: an interrupted run is
continued by starting it again. DST/.extract_frames.json remembers the settings, which folder belongs to which video,
and the hash of every list written, which is how a list of somebody else is told from our own.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from actrec.data import media
from actrec.data.files import ListError, atomic_write
from actrec.data.lists import Video, find_labels, read_labels, read_list, write_labels, write_list
from actrec.data.splits import stratified_split

PARTS = ("train", "val", "test")
RECORD = ".extract_frames.json"
# FFmpeg would open some of these, and nobody means them as videos.
NOT_VIDEOS = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log"}
NOT_VIDEOS |= {".py", ".sh", ".srt", ".vtt", ".ini", ".db", ".npy", ".npz", ".zip", ".tar", ".gz", ".part", ".tmp"}
NOT_VIDEOS |= {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
MAX_STILL = 600.0  # seconds: with --fps a wrong timestamp must not fill the disk with copies of one picture


class OutputError(OSError):
    """The output cannot be written: that stops the run, it is not the fault of one video."""


class Stopped(Exception):
    """The run was interrupted while this video was being extracted."""


@dataclass(frozen=True)
class ExtractOptions:
    """What a frame folder holds.

    Args:
        short_side: of the frames; a smaller video stays as it is unless `upscale`. The long side keeps the aspect
            ratio, rounded to the nearest pixel, halves up.
        resize: exact width and height instead.
        fps: frames a second; None keeps every frame.
        quality: of the JPEGs.
        template: file names, with one field for the number, which begins at 1.
        upscale: enlarge smaller videos to `short_side`.

    Raises:
        ValueError: a value that makes no sense.
    """

    short_side: int = 256
    resize: tuple[int, int] | None = None
    fps: float | None = None
    quality: int = 90
    template: str = "{:05d}.jpg"
    upscale: bool = False

    def __post_init__(self):
        if self.short_side < 1:
            raise ValueError(f"short side {self.short_side}: expected at least 1")
        if self.resize and min(self.resize) < 1:
            raise ValueError(f"resize {self.resize[0]}x{self.resize[1]}: expected at least 1x1")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps {self.fps}: expected a number above 0")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality {self.quality}: expected 1 to 100")
        _check_template(self.template)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the frames of a video of this displayed size."""
        if self.resize:
            return self.resize
        short, long = sorted((width, height))
        if short == self.short_side or (short < self.short_side and not self.upscale):
            return width, height
        long = (2 * long * self.short_side + short) // (2 * short)
        return (self.short_side, long) if width < height else (long, self.short_side)


def _check_template(template: str) -> None:
    wrong = f"template {template!r}: expected a file name with one number and .jpg, .jpeg or .png, such as {{:05d}}.jpg"
    try:
        names = {template.format(number) for number in (1, 2, 11)}
    except (ValueError, IndexError, KeyError, AttributeError):
        raise ValueError(wrong) from None
    plain = all(os.path.basename(name) == name and not name.startswith(".") for name in names)
    if len(names) < 3 or not plain or not template.endswith((".jpg", ".jpeg", ".png")) or template.count("{") != 1:
        raise ValueError(wrong)


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
class Extracted:
    """What a run has made.

    Args:
        done: videos extracted now.
        skipped: videos whose folder was there.
        frames: of all these videos.
        failed: (path, reason) of the others, as in failed.csv.
        lists: rows of each list written.
        messages: what the run has said.
    """

    done: int
    skipped: int
    frames: int
    failed: tuple[tuple[str, str], ...]
    lists: Mapping[str, int]
    messages: tuple[str, ...]


# ---- one video ----


def extract_video(path: Path, folder: Path, options: ExtractOptions, *, stop: Callable[[], bool] | None = None) -> int:
    """Writes the frames of one video; `folder` appears whole or not at all.

    Args:
        stop: asked before each frame.

    Returns:
        The number of frames.

    Raises:
        FileNotFoundError, media.MediaError, cv2.error: the video is unusable.
        OutputError: a file or folder cannot be written.
        Stopped: `stop` said so.
    """
    count, size = 0, None
    with _whole_folder(folder) as part:
        for picture, copies in _resampled(media.pictures(path), path=path, fps=options.fps):
            if stop and stop():
                raise Stopped
            size = size or options.size(picture.width, picture.height)
            data = _encoded(picture.bgr(*size), options)
            for _ in range(copies):
                count += 1
                with _writing(folder), open(part / options.template.format(count), "wb") as file:
                    file.write(data)
    return count


def _encoded(bgr, options: ExtractOptions):
    extension = options.template[options.template.rindex(".") :]
    params = [] if extension == ".png" else [cv2.IMWRITE_JPEG_QUALITY, options.quality]
    done, data = cv2.imencode(extension, bgr, params)
    if not done:
        raise ValueError(f"a frame of {bgr.shape[1]}x{bgr.shape[0]} cannot be encoded as {extension}")
    return data


def _resampled(
    pictures: Iterable[media.Picture], *, path: Path, fps: float | None
) -> Iterator[tuple[media.Picture, int]]:
    """(picture, how many frames show it). Frame k shows what is on the screen k/fps seconds after the first picture.

    A picture without a timestamp follows the one before at the average rate; time never runs backwards.
    """
    if fps is None:
        yield from ((picture, 1) for picture in pictures)
        return
    shown, start, now, made = None, 0.0, 0.0, 0
    for picture in pictures:
        if picture.time is None and not picture.seconds:
            raise media.MediaError(path, "neither timestamps nor a frame rate: --fps has nothing to go by")
        if shown is None:
            start = now = picture.time or 0.0
        else:
            before, now = now, max(now, now + shown.seconds if picture.time is None else picture.time)
            if now - before > MAX_STILL:
                raise media.MediaError(path, f"a timestamp jumps by {now - before:.0f} s: --fps cannot follow")
            if copies := _due(now - start, fps) - made:
                yield shown, copies
                made += copies
        shown = picture
    if shown is not None:
        copies = max(_due(now + min(shown.seconds, MAX_STILL) - start, fps), 1) - made
        if copies > 0:
            yield shown, copies


def _due(seconds: float, fps: float) -> int:
    """How many frames lie before this time."""
    return max(math.ceil(seconds * fps - 1e-4), 0)


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` in the end; after an exception nothing is left."""
    part = folder.parent / f".part-{os.getpid()}-{uuid.uuid4().hex}"
    with _writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
    try:
        yield part
        with _writing(folder):
            os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error.errno, f"cannot be written ({error.strerror})", str(path)) from None


def _remove_leftovers(frames: Path) -> None:
    """Temporary folders of runs that were killed; not those of a run that still lives."""
    for part in (*frames.glob(".part-*"), *frames.glob("*/.part-*")):
        match = re.match(r"\.part-(\d{1,9})-", part.name)
        if match and (int(match[1]) == os.getpid() or not _lives(int(match[1]))):
            shutil.rmtree(part, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _count(folder: Path, template: str) -> int:
    """Frames of a finished folder, 0 if there is none. It may hold other files (flow) beside them."""
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    count = 0
    while template.format(count + 1) in names:
        count += 1
    return count


# ---- which videos there are ----


def _find_videos(src: Path, frames: Path) -> tuple[list[str], Counter[str]]:
    """Names of the files in SRC that may be videos, sorted, and how many others there are by extension."""
    names, others, visited = [], Counter(), {os.path.realpath(frames)}
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


def _part_folders(names: Sequence[str]) -> bool:
    """Whether SRC is laid out as train/<class>/ and val/<class>/."""
    pieces = [name.split("/") for name in names]
    tops = {piece[0] for piece in pieces}
    return {"train", "val"} <= tops <= set(PARTS) and all(len(piece) > 2 for piece in pieces)


def _class_of(name: str, part_folders: bool) -> str:
    """The class folder of a video, "" for one directly in SRC."""
    pieces = name.split("/")[1 if part_folders else 0 :]
    return pieces[0] if len(pieces) > 1 else ""


def _allot(names: Sequence[str], classes: Sequence[str], known: Mapping[str, str]) -> dict[str, str]:
    """A folder below frames/ for each video: <class>/<stem>; where that is taken <class>/<file name>, and so on.

    `known` is what earlier runs have allotted: a video keeps its folder when others come to stand beside it.
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
        paths = (above + _clean(choice) for choice in choices)
        folders[name] = next(path for path in paths if path.casefold() not in taken)
        taken.add(folders[name].casefold())
    return {name: folders[name] for name in (*known, *names)}


def _clean(name: str) -> str:
    """A file name that a list can hold: text, without separators that nobody expects."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()
    return re.sub(r"[;\x00-\x1f]", "_", text) or "_"


# ---- what earlier runs have left ----


@dataclass
class _Record:
    """DST/.extract_frames.json: settings, {video: folder}, {list: hashes of what we wrote}."""

    path: Path
    options: dict = field(default_factory=dict)
    videos: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> _Record:
        path = folder / RECORD
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, found["options"], found["videos"], found["lists"])
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path} is damaged: expected what extract-frames wrote; remove it and {folder}/frames"
            ) from None

    def write(self) -> None:
        with _writing(self.path), atomic_write(self.path) as file:
            json.dump({"options": self.options, "videos": self.videos, "lists": self.lists}, file)

    def wrote(self, path: Path) -> bool:
        """Whether a file of our folder is, byte by byte, one that we wrote."""
        return path.is_file() and _sha256(path) in self.lists.get(path.name, [])

    @contextlib.contextmanager
    def claim(self, path: Path, data: bytes) -> Iterator[None]:
        """Around the writing of a list: whenever we are killed, it counts as ours before and after."""
        digest = hashlib.sha256(data).hexdigest()
        self.lists[path.name] = [*self.lists.get(path.name, [])[-1:], digest]
        self.write()
        yield
        self.lists[path.name] = [digest]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_settings(record: _Record, frames: Path, options: ExtractOptions) -> dict:
    """The settings as they are stored.

    Raises:
        ValueError: frames of other settings, or of unknown ones, are there.
    """
    wanted = json.loads(json.dumps(dataclasses.asdict(options)))
    if any(not path.name.startswith(".") for path in frames.glob("*")) and record.options != wanted:
        told = [f"{key} {record.options.get(key)} there, {value} now" for key, value in wanted.items()
                if record.options.get(key) != value]  # fmt: skip
        what = (
            "frames made with other settings (" + "; ".join(told) + ")"
            if record.options
            else "frames of unknown origin"
        )
        raise ValueError(f"{frames} holds {what}: use the same settings, another DST, or remove {frames}")
    return wanted


# ---- the split ----


@dataclass(frozen=True)
class _Row:
    name: str  # of the video, in SRC
    start: int | None
    stop: int | None
    labels: tuple[int, ...]


@dataclass(frozen=True)
class _Split:
    origin: str
    rows: dict[str, list[_Row]]  # of each part
    labels: list[str]
    folder: Path | None  # where its lists or labels came from
    missing: tuple[tuple[str, str], ...] = ()  # (path, reason) of rows without a file
    outside: int = 0  # rows whose file is not in SRC


def _choose_split(src: Path, dst: Path, names: list[str], options: SplitOptions, log: Callable[[str], None]) -> _Split:
    part_folders = _part_folders(names)
    classes = [_class_of(name, part_folders) for name in names]
    for folder in _search_path(src, dst):
        if lists := _split_lists(folder):
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


def _split_lists(folder: Path) -> dict[str, Path]:
    """{part: list of videos} that a folder holds; none if neither train nor val is there."""
    record = _Record.read(folder)
    kept = {part: folder / f"videos_{part}.txt" for part in PARTS}
    plain = {part: folder / f"{part}.txt" for part in PARTS}
    for lists in (kept, plain):
        found = {part: path for part, path in lists.items() if path.is_file() and not record.wrote(path)}
        if "train" in found or "val" in found:
            return found
    return {}


def _split_by_lists(lists: dict[str, Path], src: Path, names: list[str], classes: list[str]) -> _Split:
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
                rows[part].append(_Row(name, video.start, video.stop, video.labels))
            elif any(map(os.path.exists, places)):
                outside += 1
            else:
                missing.append((video.path, f"missing: {path.name} lists it, and there is no such file"))
    if not any(rows.values()):
        first = f", not even {missing[0][0]!r}" if missing else ""
        raise ValueError(f"{' and '.join(map(str, lists.values()))}: none of the listed videos is in {src}{first}; "
                         "expected paths of video files, relative to the list's folder")  # fmt: skip
    origin = " and ".join(map(_shown, lists.values()))
    labels = labels or _names_of(rows, classes)
    return _Split(origin, rows, labels, folder, tuple(missing), outside)


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


def _names_of(rows: Mapping[str, list[_Row]], classes: list[str]) -> list[str]:
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
) -> _Split:
    if "" in classes:
        raise ValueError(f"{src / names[classes.index('')]} is in no class folder: expected {src}/<class>/<video>, "
                         "or a train.txt with `path label` in each line")  # fmt: skip
    labels, folder = _labels_without_lists(src, dst, sorted(set(classes)))
    numbers = [labels.index(name) for name in classes]
    if part_folders:
        parts = [name.split("/")[0] for name in names]
        origin = f"the folders {', '.join(part for part in PARTS if part in parts)} of {src}"
    else:
        parts, origin = _draw(names, numbers, options, log)
    rows: dict[str, list[_Row]] = {part: [] for part in PARTS if part in parts}
    for name, part, number in zip(names, parts, numbers):
        rows[part].append(_Row(name, None, None, (number,)))
    return _Split(origin, rows, labels, folder)


def _draw(names: list[str], numbers: list[int], options: SplitOptions, log: Callable[[str], None]):
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
        if file is None or _Record.read(folder).wrote(file):
            continue
        labels = read_labels(file)
        if unknown := [name for name in classes if name not in labels]:
            raise ValueError(f"{file} does not name the class {unknown[0]!r}: expected every class folder of {src}")
        return labels, folder
    return classes, None


def _shown(path: Path) -> str:
    return os.path.normpath(path)


# ---- lists ----


def _keep_foreign_lists(
    dst: Path, record: _Record, parts: Iterable[str], log: Callable[[str], None]
) -> dict[Path, Path]:
    """Renames lists in DST that we did not write. Returns {old path: new path}.

    Raises:
        ValueError: the other name is taken by something else.
    """
    moves = {}
    for part in parts:
        path, kept = dst / f"{part}.txt", dst / f"videos_{part}.txt"
        if not path.is_file() or record.wrote(path):
            continue
        if kept.exists() and kept.read_bytes() != path.read_bytes():
            raise ValueError(f"{path} was not written by extract-frames, and {kept.name} is there already and differs: "
                             f"move one of them away, or use another DST")  # fmt: skip
        moves[path] = kept
    for path, kept in moves.items():
        with _writing(kept):
            os.replace(path, kept)
        log(f"{_shown(path)} was there before: kept as {kept.name}")
    return moves


def _check_labels(dst: Path, record: _Record, labels: list[str]) -> None:
    path = dst / "labels.txt"
    if path.is_file() and not record.wrote(path) and read_labels(path) != labels:
        raise ValueError(
            f"{path} was not written by extract-frames and names other classes: move it away, or use another DST"
        )


def _write_lists(
    dst: Path, record: _Record, split: _Split, folders: Mapping[str, str], counts: Mapping[str, int], log
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Writes labels.txt, flips.txt and the lists. Returns the rows of each list, and (video, reason) of bad ranges."""
    if not (dst / "labels.txt").is_file() or record.wrote(dst / "labels.txt"):
        _write(record, dst / "labels.txt", lambda path: write_labels(path, split.labels))
    _copy_flips(dst, record, split, log)
    written, bad = {}, []
    for part, rows in split.rows.items():
        videos = []
        for row in rows:
            if row.name not in counts:
                continue
            start = max(row.start or 0, 0)
            stop = counts[row.name] if row.stop is None else min(row.stop, counts[row.name])
            if start >= stop:
                bad.append((row.name, f"{part} list: frames {start + 1} to {row.stop} of {counts[row.name]}"))
                continue
            path = os.path.join(dst, "frames", folders[row.name])
            videos.append(Video(path, path, start, stop, row.labels))
        target = dst / f"{part}.txt"
        if videos:
            _write(
                record,
                target,
                lambda path, v=videos: write_list(path, v, root=dst, labels=split.labels, separator=None),
            )
        else:
            log(f"{target.name}: none of its videos could be extracted, so there is no such list")
            if record.wrote(target):
                target.unlink()
        written[target.name] = len(videos)
    record.write()
    return written, bad


def _write(record: _Record, target: Path, write: Callable[[Path], None]) -> None:
    """Writes beside the target first, so that the record knows the hash before the list is there."""
    part = target.with_name(f".{target.name}.part")
    try:
        with _writing(target):
            write(part)
            with record.claim(target, part.read_bytes()):
                os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _copy_flips(dst: Path, record: _Record, split: _Split, log: Callable[[str], None]) -> None:
    target = dst / "flips.txt"
    source = split.folder / "flips.txt" if split.folder else None
    if source is None or not source.is_file() or os.path.realpath(source) == os.path.realpath(target):
        return
    if target.is_file() and not record.wrote(target):
        log(f"{_shown(target)} was there before and stays; {_shown(source)} was not copied")
        return
    _write(record, target, lambda path: path.write_bytes(source.read_bytes()))


def _write_failed(dst: Path, failed: Sequence[tuple[str, str]]) -> None:
    path = dst / "failed.csv"
    with _writing(path):
        if not failed:
            path.unlink(missing_ok=True)
            return
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("path", "reason"))
            printable = str.maketrans({chr(c): "�" for c in range(0xD800, 0xE000)})
            writer.writerows((name.translate(printable), reason.translate(printable)) for name, reason in failed)


# ---- the run ----


def extract_frames(
    src: Path,
    dst: Path,
    options: ExtractOptions = ExtractOptions(),
    *,
    split: SplitOptions = SplitOptions(),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    log: Callable[[str], None] | None = None,
) -> Extracted:
    """Extracts all videos of SRC that are not in DST yet, then writes the lists, labels.txt and failed.csv.

    Args:
        src: folder of videos.
        dst: the dataset's folder; made if missing.
        options: what the frames are.
        split: how videos are divided where no list and no folder says so.
        workers: videos at a time; default: one per core.
        progress: called with (videos done, videos in all).
        log: called with each message.

    Raises:
        FileNotFoundError: SRC is missing.
        ValueError: SRC holds no video, or something in SRC or DST contradicts the options: says what and what to do.
        OutputError: DST cannot be written; nothing is half done, the same call continues.
    """
    src, dst, messages = Path(src), Path(dst), []

    def say(message: str) -> None:
        messages.append(message)
        if log:
            log(message)

    names = _videos_of(src, dst, say)
    record = _Record.read(dst)
    record.options = _check_settings(record, dst / "frames", options)
    plan = _choose_split(src, dst, names, split, say)
    if options.fps and any(row.stop is not None for part in plan.rows.values() for row in part):
        raise ValueError(f"{plan.origin} counts frames (start, end) of the videos, and --fps renumbers them: "
                         "expected a list without ranges, or no --fps")  # fmt: skip
    _check_labels(dst, record, plan.labels)
    with _writing(dst):
        (dst / "frames").mkdir(parents=True, exist_ok=True)
    _keep_foreign_lists(dst, record, plan.rows, say)
    part_folders = _part_folders(names)
    record.videos = _allot(names, [_class_of(name, part_folders) for name in names], record.videos)
    record.write()
    _remove_leftovers(dst / "frames")
    _tell_left_out(plan, names, say)

    folders = {name: dst / "frames" / record.videos[name] for name in names}
    counts = {name: count for name in names if (count := _count(folders[name], options.template))}
    skipped = len(counts)
    if skipped:
        say(f"{skipped} of {len(names)} videos are there already")
    todo = [(name, src / name, folders[name]) for name in names if name not in counts]
    made, reasons = _extract_all(todo, options, workers=workers, done=skipped, progress=progress)
    counts |= made
    lists, bad = _write_lists(dst, record, plan, record.videos, counts, say)
    failed = [(str(src / name), reason) for name, reason in sorted([*reasons.items(), *bad])] + list(plan.missing)
    _write_failed(dst, failed)
    return Extracted(len(made), skipped, sum(counts.values()), tuple(failed), lists, tuple(messages))


def _videos_of(src: Path, dst: Path, say: Callable[[str], None]) -> list[str]:
    if not src.is_dir():
        raise FileNotFoundError(
            f"{src}: {'not a folder' if src.exists() else 'no such folder'}; expected one with videos"
        )
    names, others = _find_videos(src, dst / "frames")
    told = ", ".join(f"{count} {extension}" for extension, count in sorted(others.items()))
    if not names:
        raise ValueError(f"{src} holds no video{f' (only {told})' if told else ''}: expected {src}/<class>/<video>")
    if told:
        say(f"not videos, left alone: {told}")
    return names


def _tell_left_out(plan: _Split, names: list[str], say: Callable[[str], None]) -> None:
    listed = {row.name for part in plan.rows.values() for row in part}
    if unlisted := len(names) - len(listed):
        say(f"{unlisted} of {len(names)} videos are in no split list: they are extracted, and in no list")
    if plan.outside:
        say(f"{plan.outside} rows of the split lists name files that are no videos of SRC: left out")


def _extract_all(
    todo: Sequence[tuple[str, Path, Path]],
    options: ExtractOptions,
    *,
    workers: int | None,
    done: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, int], dict[str, str]]:
    """({video: frames}, {video: reason}). Largest files first, so that no core waits for a long video at the end."""
    queue = sorted(todo, key=lambda item: (_bytes(item[1]), item[0]))
    workers = workers or len(os.sched_getaffinity(0))
    counts, reasons, jobs = {}, {}, {}
    stop, threads = threading.Event(), cv2.getNumThreads()
    cv2.setNumThreads(1)  # a video is one thread's work, the pool takes the cores
    try:
        with ThreadPoolExecutor(workers) as pool:
            try:
                while queue or jobs:
                    while queue and len(jobs) < 4 * workers:
                        name, path, folder = queue.pop()
                        jobs[pool.submit(extract_video, path, folder, options, stop=stop.is_set)] = name
                    for job in wait(jobs, return_when=FIRST_COMPLETED).done:
                        _collect(job, jobs.pop(job), counts, reasons)
                        if progress:
                            progress(done + len(counts) + len(reasons), done + len(todo))
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        cv2.setNumThreads(threads)
    return counts, reasons


def _collect(job, name: str, counts: dict[str, int], reasons: dict[str, str]) -> None:
    try:
        counts[name] = job.result()
    except OutputError:
        raise
    except FileNotFoundError:
        reasons[name] = "missing: it was there when the run began"
    except media.MediaError as error:
        reasons[name] = error.reason
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        reasons[name] = " ".join(str(error).split()) or type(error).__name__


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # its own turn will tell
        return 0
