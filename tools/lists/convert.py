"""Converts lists from one format to another.

Every row is kept. What the target format cannot represent is left out, and a note says so. The conversion has four
steps: it reads the lists, fits each row to the target format (see `actrec.tools.lists.fit`), writes temporary files,
and reads them back to compare them with the rows. The files get their names only if all of them are right.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actrec.config import ConvertOptions, OptionError
from actrec.data.lists.formats import FORMATS, Annotations, Entry, Format, Options, guess_format, guess_part
from actrec.data.lists.formats.annotations import kind_of
from actrec.data.lists.formats.tables import fits_cells
from actrec.data.lists.labels import find_labels, read_labels, write_labels
from actrec.data.lists.splits import PARTS
from actrec.data.storage import may_exist, resolved
from actrec.files import ListError, atomic_file, show, writing
from actrec.registry import did_you_mean
from actrec.tools.lists.fit import Losses, Progress, fit
from actrec.words import counted

_SUFFIXES = {".json": "hara", ".csv": "csv"}
_PART = "{part}"
_SEPARATORS = {"space": " ", "comma": ",", "semicolon": ";", "tab": "\t"}


@dataclass(frozen=True)
class Converted:
    """The result of a conversion.

    Args:
        source, target: Names of the formats.
        rows: {part: number of rows}.
        files: The lists that were written, and each new `labels.txt`.
        notes: What the target format cannot represent, and what looks like a mistake, one line each.
    """

    source: str
    target: str
    rows: dict[str, int]
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def convert_lists(
    src: Path,
    dst: Path,
    options: ConvertOptions = ConvertOptions(),  # noqa: B008 - frozen
    *,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Converted:
    """Converts the lists `src` into the lists `dst`.

    Both are files, or stand for one file per part: a folder (`train.txt`, …), or a path that contains `{part}`. A path
    without a suffix that does not exist yet becomes a folder.

    Args:
        force: Replace existing lists.
        workers: Number of threads that open videos. None: one per core.
        progress: Called with (videos done, all videos).

    Raises:
        FileNotFoundError: The list does not exist.
        ListError: Rows are malformed; the message names all of them.
        ValueError: The target format cannot represent a row, the part or the class names are unknown, or `dst` exists.
        OSError: A file cannot be read or written.
    """
    for name in ("source", "target"):
        if (chosen := getattr(options, name)) is not None and chosen not in FORMATS:
            raise OptionError(f"`{name}` {chosen!r}{did_you_mean(chosen, FORMATS)}")
    files = _sources(src, options)
    source, target = _formats(src, dst, files, options)
    if options.separator and _SEPARATORS[options.separator] not in target.separators:
        known = [name for name, character in _SEPARATORS.items() if character in target.separators]
        raise OptionError(
            f"`separator` {options.separator}: {target.name} has {', '.join(known) or 'no choice of separators'}"
        )
    annotations = _read(files, source, options)
    notes = [*annotations.notes, *_warnings(annotations, guessed=options.source is None and source.name == "actrec")]
    parts = dict(annotations.parts)
    if target.parts == "must" and "" in parts:
        raise ValueError(
            f"{src}: the part is unknown, and every row of {target.name} states it: expected --part train, val or test"
        )
    labeled = any(entry.labels for rows in parts.values() for entry in rows)
    if target.class_names in ("rows", "table") and labeled and not annotations.names:
        raise ValueError(f"{src}: {target.name} stores class names, and there is no labels.txt: expected --labels FILE")
    places = _targets(dst, target, parts)
    if taken := {place.resolve() for place in places} & {file.resolve() for file in files.values()}:
        raise ValueError(f"{taken.pop()}: the list would replace itself: expected another name for B")
    for place in places:
        if place.exists() and not place.is_file():
            raise ValueError(f"{place}: not a regular file, cannot be replaced")
    if not force and (existing := [str(place) for place in places if os.path.lexists(place)]):
        raise ValueError(f"{', '.join(existing)} already exists: expected another name for B, or --force to replace it")
    losses = Losses()
    fitted: dict[str, Sequence[Entry]] = {
        part: fit(rows, target, losses, workers, progress, template=options.template) for part, rows in parts.items()
    }
    notes += losses.lines()
    contents = {place: {part: fitted[part] for part in those} for place, those in places.items()}
    label_files = _write(contents, target, annotations.names, options, notes)
    rows = {part: len(entries) for part, entries in fitted.items()}
    return Converted(source.name, target.name, rows, (*places, *label_files), tuple(notes))


# ---- files and formats ----


def _sources(src: Path, options: ConvertOptions) -> dict[str, Path]:
    """{part: file}. The part is "" if neither the name of the file nor an option states it."""
    if _PART in str(src):
        files = {part: Path(str(src).replace(_PART, part)) for part in PARTS}
        files = {part: path for part, path in files.items() if path.is_file()}
    elif src.is_dir():
        suffixes = [FORMATS.get(options.source).suffix] if options.source else []
        suffixes += [suffix for suffix in (".txt", ".csv", ".json") if suffix not in suffixes]
        found = {part: [src / f"{part}{suffix}" for suffix in suffixes] for part in PARTS}
        files = {part: path for part, paths in found.items() if (path := next(filter(Path.is_file, paths), None))}
    else:
        return {options.part or guess_part(src): src}
    files = {part: path for part, path in files.items() if options.part in (None, part)}
    if not files:
        raise FileNotFoundError(f"{src}: expected lists such as {src.parent if _PART in str(src) else src}/train.txt")
    return files


def _formats(src: Path, dst: Path, files: dict[str, Path], options: ConvertOptions) -> tuple[Format, Format]:
    source = options.source
    if source is None:
        guesses = {guess_format(path) for path in files.values()}
        if len(guesses) > 1:
            raise ValueError(
                f"{src} holds lists of several formats ({', '.join(sorted(guesses))}): expected one, or --from"
            )
        source = guesses.pop()
    target = options.target or _SUFFIXES.get(dst.suffix.lower(), "actrec")
    return FORMATS.get(source), FORMATS.get(target)


def _targets(dst: Path, target: Format, parts: Iterable[str]) -> dict[Path, Sequence[str]]:
    """{file: the parts that it will contain}."""
    parts = list(parts)
    if dst.is_dir() or not (dst.suffix or dst.exists()):
        dst = dst / f"{_PART}{target.suffix}"
    if _PART in str(dst):
        if "" in parts:
            raise ValueError(f"{dst}: the part is unknown: expected --part train, val or test, or the name of a file")
        return {Path(str(dst).replace(_PART, part)): [part] for part in parts}
    if len(parts) > 1 and not target.parts:
        raise ValueError(f"{dst}: a list of {target.name} contains one part, not {', '.join(parts)}: expected a "
                         f"folder, a name with {_PART}, or --part")  # fmt: skip
    return {dst: parts}


# ---- reading ----


def _read(files: dict[str, Path], source: Format, options: ConvertOptions) -> Annotations:
    found = {}
    for part, path in files.items():
        found[part] = _read_one(path, part, source, options)
    names = read_labels(options.labels) if options.labels else _common([a.names for a in found.values()])
    parts: dict[str, list[Entry]] = {}
    for one in found.values():
        if names and not one.names and any(e.labels for rows in one.parts.values() for e in rows):
            raise ValueError(f"{', '.join(map(str, files.values()))}: some lists contain class names and others "
                             "numbers: expected --labels FILE")  # fmt: skip
        renumbered = _renumber(one, names)
        for part, entries in one.parts.items():
            if options.part in (None, part):
                parts.setdefault(part, []).extend(e._replace(labels=renumbered(e.labels)) for e in entries)
    if not parts:
        raise ValueError(f"{', '.join(map(str, files.values()))}: there is no part {options.part!r}: expected one of "
                         f"{', '.join(part for a in found.values() for part in a.parts)}")  # fmt: skip
    order = sorted(parts, key=lambda part: (*PARTS, "").index(part))
    notes = tuple(dict.fromkeys(note for one in found.values() for note in one.notes))
    return Annotations({part: parts[part] for part in order}, tuple(names), notes)


def _root(folder: Path) -> str:
    return os.path.abspath(folder)


def _read_one(path: Path, part: str, source: Format, options: ConvertOptions) -> Annotations:
    """Reads a list with the class names of --labels, or of the `labels.txt` in its folder.

    If the list itself contains class names that this `labels.txt` does not, the `labels.txt` belongs to other lists and
    is ignored. A note says so.
    """
    settings = Options(_root(options.root or path.parent), (), part)
    file = None if source.class_names == "table" else options.labels or find_labels(path.parent)
    if not file:
        return source.read(path, settings)
    names = tuple(read_labels(file))
    try:
        return source.read(path, replace(settings, names=names))
    except ListError as error:
        if not options.labels and source.class_names in ("rows", "either"):
            with contextlib.suppress(ListError):
                alone = source.read(path, settings)
                if unknown := [name for name in alone.names if name not in names]:
                    note = (f"{file} does not contain {show(unknown[0])}, a class of {path}: it was ignored, and the "
                            "classes are numbered in alphabetical order")  # fmt: skip
                    return replace(alone, notes=(*alone.notes, note))
        if " class" in str(error):
            raise ListError(f"{error}\nthe class names are those of {file}") from None
        raise


def _common(lists: Sequence[Sequence[str]]) -> Sequence[str]:
    """The class names of all lists: in their order if it is the same in all lists, otherwise sorted."""
    same = all(names == lists[0] for names in lists)
    return lists[0] if same else sorted({name for names in lists for name in names})


def _renumber(annotations: Annotations, names: Sequence[str]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """A function that converts labels of these annotations to positions in `names`."""
    if not annotations.names or tuple(annotations.names) == tuple(names):
        return lambda labels: labels
    number = {name: i for i, name in enumerate(names)}
    if unknown := [name for name in annotations.names if name not in number]:
        raise ValueError(f"class {show(unknown[0])} is not in the file of --labels{did_you_mean(unknown[0], names)}")
    table = [number[name] for name in annotations.names]
    return lambda labels: tuple(table[label] for label in labels)


def _warnings(annotations: Annotations, *, guessed: bool) -> Iterable[str]:
    """Notes about rows that are legal but look like a mistake."""
    files = {part: {resolved(entry.path) for entry in rows} for part, rows in annotations.parts.items()}
    times = Counter(path for paths in files.values() for path in paths)
    if leaked := [path for path, count in times.items() if count > 1]:
        where = " and ".join(part or "the other rows" for part, paths in files.items() if leaked[0] in paths)
        yield f"leakage: {counted(len(leaked), 'file')} in several parts, such as {show(leaked[0])} in {where}"
    for part, rows in annotations.parts.items():
        slashed = [entry.path for entry in rows if "\\" in entry.path and not may_exist(entry.path)]
        if slashed:
            paths = counted(len(slashed), "path")
            yield f"{paths} with backslashes: no such file, also with slashes; the first: {show(slashed[0])}"
        if len(rows) > len(set(rows)):
            entry, _ = Counter(rows).most_common(1)[0]
            number = len(rows) - len(set(rows))
            yield f"{counted(number, 'row')} of {part or 'the list'} like an earlier row, such as {show(entry.path)}"
        if guessed and all(kind_of(entry) == "frames" and not entry.labels for entry in rows):
            yield "the numbers were read as start and end; --from mmaction2-frames reads them as frames and label"
        elif guessed and any(entry.start == -1 for entry in rows):
            yield "some rows start at image 0: if these numbers are offsets of mmaction2, pass --from mmaction2-clips"


# ---- writing ----


def _write(
    contents: dict[Path, dict[str, Sequence[Entry]]],
    target: Format,
    names: tuple[str, ...],
    options: ConvertOptions,
    notes: list[str],
) -> list[Path]:
    """Writes all files or none, and adds what the reader of the files has to know to `notes`.

    Returns:
        The files of class names that were written.
    """
    label_files: list[Path] = []
    numbers = target.class_names == "numbers" or (target.class_names == "either" and not fits_cells(names))
    with contextlib.ExitStack() as files:
        for place, parts in contents.items():
            files.enter_context(writing(place))
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = files.enter_context(atomic_file(place))
            notes += _write_one(temporary, place, Annotations(parts, names), target, options)
        if names and numbers:
            for folder in dict.fromkeys(place.parent for place in contents):
                label_files += _keep_names(folder, names)
    if names and not numbers and target.class_names != "table":
        rows = (row for parts in contents.values() for several in parts.values() for row in several)
        if tuple(sorted({names[label] for row in rows for label in row.labels})) != names:
            notes.append(f"{target.name} stores neither the order of the classes nor classes without a row: to read "
                         "the lists with the same labels, pass --labels FILE")  # fmt: skip
    for file in label_files:
        if others := sorted(other for other in file.parent.glob("*.txt") if other not in (*contents, file)):
            notes.append(f"{file} is new and applies to all lists of this folder, such as {others[0].name}")
    return label_files


def _write_one(
    temporary: Path, place: Path, annotations: Annotations, target: Format, options: ConvertOptions
) -> list[str]:
    """Writes a file, using the first separator with which the file reads back as these annotations.

    Args:
        temporary: The file to write.
        place: Its later name, for messages.

    Returns:
        A note if the separator is not the usual one of the format.

    Raises:
        ValueError: The file does not read back with any separator.
    """
    (part, *more) = annotations.parts
    shared = None if target.name == "actrec" else options.root  # actrec reads paths relative to the folder of the list
    root = _root(options.target_root or shared or place.parent)
    chosen = _SEPARATORS[options.separator] if options.separator else None
    settings = Options(root, annotations.names, "" if more else part, chosen)
    faults: list[str] = []
    for separator in (chosen,) if chosen else target.separators or (None,):
        try:
            with writing(place):
                target.write(temporary, annotations, replace(settings, separator=separator))
            fault = _fault(annotations, target.read(temporary, settings), target)
        except UnicodeEncodeError as error:
            fault = f"{show(error.object)} cannot be written as UTF-8"
        except ValueError as error:
            text = str(error).splitlines()[0].replace(f"{temporary}:", "").strip()
            fault = f"the file could not be read back ({text})" if isinstance(error, ListError) else text
        if fault is None:
            if not faults:
                return []
            usual = target.separators[0]
            return [f"{place}: the columns are separated by {separator!r}, because with {usual!r} {faults[0]}"]
        faults.append(fault)
    raise ValueError(f"{place}: {target.name} cannot represent these rows: {faults[0]}")


def _fault(wanted: Annotations, found: Annotations, target: Format) -> str | None:
    """Describes the first row that does not read back; None if all rows do."""
    if target.class_names == "table" and found.names != wanted.names:
        return "the class names would read back differently"
    for part, rows in wanted.parts.items():
        here, there = (Counter((row, kind_of(row)) for row in rows) for rows in (rows, found.parts.get(part, ())))
        if lost := next(iter(here - there), None):
            other = next(iter(there - here), None)
            return f"{_shown(lost[0])} would read back as {_shown(other[0]) if other else 'nothing'}"
    return None


def _shown(entry: Entry) -> str:
    bounds = "" if entry.start is None else f", {entry.start} to {entry.stop}"
    return f"{show(entry.path)}{bounds}, labels {list(entry.labels)}"


def _keep_names(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Writes `labels.txt` for lists that contain numbers, unless the folder has a file of class names.

    Returns:
        The new file, if any.

    Raises:
        ValueError: The folder has a file of other class names.
    """
    file = find_labels(folder)
    if file is None:
        with writing(folder / "labels.txt"):
            write_labels(folder / "labels.txt", names)
        return [folder / "labels.txt"]
    if tuple(read_labels(file)) != names:
        raise ValueError(f"{file} contains other class names than the new lists: expected another folder for B")
    return []
