"""Makes a list of the samples of tar shards in WebDataset format.

Members of a shard with the same name up to the first dot of the last part (the *key*) are one sample: `walk/a.mp4`,
`walk/a.cls` and `walk/a.json`. Only the headers of the members and the small members with labels are read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.config import OptionError, ShardOptions
from actrec.data.index.index import num_threads
from actrec.data.lists import Video, find_labels, read_labels, write_labels, write_list
from actrec.data.lists.find import VIDEOS
from actrec.data.lists.labels import Bad, Classes
from actrec.data.storage import is_remote, list_archive, read_ranges
from actrec.data.video.container import MediaError
from actrec.files import scratch_folder, show, write_csv, writing
from actrec.system import raise_if_exhausted
from actrec.tools.lists.braces import find_shards
from actrec.tools.lists.list_files import why_unwritable
from actrec.tools.lists.sample_labels import Stated, members_with_labels, read_labels_of
from actrec.tools.make.jobs import Progress, Stop, Stopped, Workers, each
from actrec.words import counted, printable

_LARGEST_LABEL = 1 << 20  # bytes of a member with a label
_MOST_CLASSES = 100_000  # lines of a labels.txt that is made from names and numbers

Problem = tuple[str, str, str]  # kind, path, reason


@dataclass(frozen=True)
class Sample:
    """A video in a shard.

    Args:
        path: The shard and the member, as in a list.
        shown: The same for messages, with the shard as the user named it.
        key: The name of its members without suffix.
        stated: What the sample says about its class; None if it says nothing.
    """

    path: str
    shown: str
    key: str
    stated: Stated | None


@dataclass(frozen=True)
class Shard:
    """The usable samples of one shard, and (kind, path, reason) of everything in it that cannot be used."""

    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Made:
    """The list that was written.

    Args:
        rows: Number of rows.
        shards: Number of shards with rows.
        classes: Names of the classes; empty if the list has only numbers, or no labels.
        labels: The file of class names that was written or used; None if there is none.
        problems: (kind, path, reason) of everything that is not in the list.
        notes: What the user should know.
    """

    rows: int
    shards: int
    classes: tuple[str, ...]
    labels: Path | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def kinds(self) -> Counter[str]:
        """How many problems there are of each kind."""
        return Counter(kind for kind, _, _ in self.problems)


def missing_path(out: Path) -> Path:
    """Path of the table of the samples and shards that are not in a list."""
    return out.with_name(f"{out.name}.missing.csv")


def make_shard_list(
    patterns: Sequence[str],
    out: Path,
    options: ShardOptions = ShardOptions(),  # noqa: B008 - frozen
    *,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Made:
    """Writes the list of the samples of shards, and labels.txt if the samples state names of classes.

    The rows are in the order of the shards and of the members in them. If the folder of the list has a file of class
    names, the samples must have these classes. Otherwise, names are sorted and numbered from 0, unless samples also
    state the numbers. Shards and samples that cannot be used are left out and written to `<list>.missing.csv`.

    Args:
        patterns: Paths and URLs of shards, with braces and patterns of `glob`.
        out: The list.
        force: Replace an existing list.
        workers: Number of shards that are read at a time; one per core by default.
        progress: Called with (shards done, all shards, failed shards).

    Raises:
        FileNotFoundError: No shard exists.
        ValueError: The list exists, no sample can be used, some samples state numbers and others names, or another
            process has written class names meanwhile.
        OptionError: No sample has the wanted field.
        OutputError: The list cannot be written.
    """
    if os.path.lexists(out) and not force:
        raise ValueError(f"{out} exists already: expected another name, or --force to replace it")
    paths, missing = find_shards(patterns)
    if not paths:
        path, reason = missing[0]
        more = f" ({len(missing) - 1:,} more are missing)" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{path}: {reason}{more}: expected tar archives, such as 'train-{{000..127}}.tar'")
    shards = _read_all(paths, options, workers, progress)
    problems = [("missing", *found) for found in missing]
    problems += [problem for shard in shards for problem in shard.problems]
    samples = [sample for shard in shards for sample in shard.samples]
    if options.field and samples and all(sample.stated is None for sample in samples):
        raise OptionError(f"`field` {options.field!r}: no sample has such a field in its JSON")
    file = find_labels(out.parent)
    given = read_labels(file) if file else []
    rows, classes, notes = _labeled(samples, given, str(file), problems, os.path.join(os.path.abspath(out.parent), ""))
    if not rows:
        _, path, reason = problems[0]
        first = printable(f"{path}: {reason}")
        raise ValueError(f"no sample of {counted(len(paths), 'shard')} can be used; the first: {first}")
    _write(out, rows, given, classes, problems)
    names = tuple(given or classes)
    labels = file or (out.with_name("labels.txt") if classes else None)
    used = len({row.path.partition("::")[0] for row in rows})
    return Made(len(rows), used, names, labels, tuple(problems), (*_repeated(samples), *notes))


# ---- reading shards ----


def read_shard(path: str, options: ShardOptions, *, stop: Stop | None = None) -> Shard:
    """The samples of one shard. What cannot be used is returned as a problem and raises no error.

    Args:
        stop: Called before the labels are read; True stops the work.
    """
    name = path if is_remote(path) else os.path.abspath(path)
    if not path.lower().endswith(".tar"):
        packed = path.lower().endswith((".tgz", ".gz", ".bz2", ".xz", ".zst"))
        what = "compressed: members cannot be read one by one" if packed else "not the name of a tar file"
        return Shard((), (("unreadable", path, f"{what}; expected a plain .tar"),))
    try:
        table = list_archive(name)
    except FileNotFoundError as error:
        return Shard((), (("missing", path, _reason(error) if is_remote(path) else "no such file"),))
    except (MediaError, OSError) as error:
        raise_if_exhausted(path, error)
        return Shard((), (("unreadable", path, _reason(error)),))
    problems = [("unreadable", f"{path}::{member}", reason) for member, reason in table.refused.items()]
    if table.damage:
        problems.insert(0, ("damaged", path, f"the shard can be read up to {table.damage}"))
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    for member, place in table.members.items():
        key, suffix = _split(member)
        if key:
            samples.setdefault(key, {})[suffix] = place
    if not samples and not problems:
        return Shard((), (("empty", path, "it has no file with a suffix" if table.members else "the shard is empty"),))
    twice = {_split(member)[0]: member for member in table.repeated}
    problems += [("twice", f"{path}::{member}", "the shard has two members of this name") for member in twice.values()]
    videos = {}
    for key, suffixes in samples.items():
        found = [suffix for suffix in suffixes if _is_video(suffix, options.video)]
        if key in twice:
            continue
        if len(found) == 1:
            videos[key] = found[0]
        elif found:
            among = " and ".join(f".{suffix}" for suffix in found)
            problems.append(("ambiguous", f"{path}::{key}", f"the sample has {len(found)} videos, {among}: choose "
                             "one with --video"))  # fmt: skip
        else:
            having = ", ".join(f".{suffix}" for suffix in suffixes)
            problems.append(("no video", f"{path}::{key}", f"the sample has no video, only {having}"))
    if stop and stop():
        raise Stopped
    stated, bad = _read_labels(path, name, {key: samples[key] for key in videos}, options)
    usable = []
    for key, suffix in videos.items():
        if key in stated:
            member = f"{key}.{suffix}"
            usable.append(Sample(f"{name}::{member}", f"{path}::{member}", key, stated[key]))
    return Shard(tuple(usable), (*problems, *bad))


def _read_all(
    paths: Sequence[str], options: ShardOptions, workers: int | None, progress: Progress | None
) -> list[Shard]:
    shards: dict[str, Shard] = {}

    def receive(job: tuple, result: Shard | None, reason: str | None) -> None:
        shards[job[0]] = result or Shard((), (("unreadable", job[0], str(reason)),))

    count = num_threads(paths, workers)
    each(read_shard, [(path, options) for path in paths], receive, Workers(count), progress=progress)
    return [shards[path] for path in paths]


def _split(member: str) -> tuple[str, str]:
    """(key, suffix) of a member. The key is empty if the member has no suffix or is hidden, like `._a.mp4` of macOS."""
    folder, slash, name = member.rpartition("/")
    stem, dot, suffix = name.partition(".")
    return (f"{folder}{slash}{stem}", suffix) if stem and dot and suffix else ("", "")


def _is_video(suffix: str, wanted: str | None) -> bool:
    if wanted is not None:
        return suffix.lower() == wanted.lower().lstrip(".")
    return f".{suffix.rpartition('.')[2].lower()}" in VIDEOS


def _read_labels(
    path: str, name: str, samples: Mapping[str, Mapping[str, tuple[int, int]]], options: ShardOptions
) -> tuple[dict[str, Stated | None], list[Problem]]:
    """What the samples of a shard state, by key, and (kind, path, reason) of those without a valid label."""
    found: dict[str, Stated | None] = {}
    problems: list[Problem] = []
    wanted = [(key, suffix) for key in samples for suffix in members_with_labels(samples[key], options)
              if samples[key][suffix][1] <= _LARGEST_LABEL]  # fmt: skip
    try:
        data = read_ranges(name, [samples[key][suffix] for key, suffix in wanted])
    except (MediaError, OSError) as error:
        raise_if_exhausted(path, error)
        return {}, [("unreadable", path, _reason(error))]
    contents: dict[str, dict[str, bytes]] = {}
    for (key, suffix), content in zip(wanted, data):
        contents.setdefault(key, {})[suffix] = content
    for key in samples:
        try:
            found[key] = read_labels_of(contents.get(key, {}), key.rpartition("/")[0], options)
        except ValueError as error:
            problems.append(("bad label", f"{path}::{key}", str(error)))
    return found, problems


def _reason(error: MediaError | OSError) -> str:
    return error.reason if isinstance(error, MediaError) else error.strerror or str(error)


# ---- labels ----


def _labeled(
    samples: Sequence[Sample], given: list[str], file: str, problems: list[Problem], prefix: str
) -> tuple[list[Video], list[str], list[str]]:
    """The rows of the list, the names of the classes, and notes. Adds to `problems` what is left out."""
    stated = [sample.stated for sample in samples if sample.stated is not None]
    classes = Classes(given)
    number_of = {name: label for label, name in enumerate(given)} or _numbers_of_names(stated)
    is_labeled = bool(stated)
    rows, notes = [], []
    for sample in samples:
        if reason := why_unwritable(sample.path, prefix):
            problems.append(("bad name", sample.shown, reason))
            continue
        if sample.stated is None and is_labeled:
            problems.append(("no label", sample.shown, "the sample has no label, but others have one"))
            continue
        try:
            labels = _numbers(sample.stated, classes, number_of) if sample.stated else ()
        except Bad as bad:
            by = f" (classes of {file})" if given else ""
            problems.append(("bad label", sample.shown, f"{bad.explain()}{by}"))
        else:
            rows.append(Video(sample.path, sample.path, None, None, labels))
    if not is_labeled and rows:
        notes.append("no sample has a label, so the list has only paths. If the labels are elsewhere, pass --label")
    if given or not number_of:
        return rows, list(given), notes
    most = max([*number_of.values(), *(label for row in rows for label in row.labels)]) + 1
    if most > _MOST_CLASSES:
        notes.append(f"no class names are written: labels go up to {most - 1:,}, but only {len(number_of):,} have a "
                     f"name: expected labels below {_MOST_CLASSES:,}")  # fmt: skip
        return rows, [], notes
    name_of = {label: name for name, label in number_of.items()}
    if len(name_of) < most:
        without = next(label for label in range(most) if label not in name_of)
        notes.append(f"{counted(most - len(name_of), 'label')} without a name, such as {without}: labels.txt has "
                     "the number in place of the name")  # fmt: skip
    return rows, [name_of.get(label, str(label)) for label in range(most)], notes


def _numbers(stated: Stated, classes: Classes, number_of: Mapping[str, int]) -> tuple[int, ...]:
    """The labels of a sample. Raises Bad if they are not among the classes, or contradict the names of the sample."""
    numbers = None if stated.numbers is None else tuple(classes.label(str(number)) for number in stated.numbers)
    if stated.names is None:
        return numbers or ()
    others = "" if classes.names else " in other samples"
    if not classes.names and (unknown := [name for name in stated.names if name not in number_of]):
        if numbers is None:
            raise Bad(lambda: f"class {show(unknown[0])}: no sample states its number, but others state numbers")
        number = numbers[stated.names.index(unknown[0])]
        names = [name for name, label in number_of.items() if label == number]
        other = f"{number} is {show(names[0])}" if names else f"{show(unknown[0])} is not"
        raise Bad(lambda: f"contradicting labels: it says {number} and {show(unknown[0])}, but {other}{others}")
    named = classes.labels(stated.names) if classes.names else tuple(number_of[name] for name in stated.names)
    if numbers is not None and numbers != named:
        where = ", ".join(f"{name!r} is {label}" for name, label in zip(stated.names, named))
        texts = ",".join(map(str, numbers))
        raise Bad(lambda: f"contradicting labels: it says {texts}, but {where}{others}")
    return named


def _numbers_of_names(stated: Sequence[Stated]) -> dict[str, int]:
    """The label of each class with a name; empty if samples state only numbers.

    If samples give several numbers for a name, the most frequent number is used. If no sample states both, the names
    are sorted and numbered from 0.

    Raises:
        ValueError: Some samples state only numbers and others only names, so the numbers of the names are unknown.
    """
    pairs = Counter(
        pair
        for one in stated
        if one.numbers is not None and one.names is not None
        for pair in zip(one.names, one.numbers)
    )
    every = sorted({name for one in stated for name in one.names or ()})
    if not pairs:
        numbered = sum(bool(one.numbers) for one in stated)
        if every and numbered:
            raise ValueError(
                f"labels are numbers in {counted(numbered, 'sample')} and names in others, such as {show(every[0])}: "
                "expected a labels.txt with all classes next to the list, or --label or --field"
            )
        return {name: label for label, name in enumerate(every)}
    number_of: dict[str, int] = {}
    taken: set[int] = set()
    for (name, number), _ in sorted(pairs.items(), key=lambda found: (-found[1], found[0])):
        if name not in number_of and number not in taken:
            number_of[name] = number
            taken.add(number)
    return number_of


def _repeated(samples: Sequence[Sample]) -> list[str]:
    """A note about keys that several shards have; none if there is no such key."""
    times = Counter(sample.key for sample in samples)
    again = [key for key, count in times.items() if count > 1]
    if not again:
        return []
    return [f"{counted(len(again), 'key')} in several shards, such as {show(again[0])}: each sample is a row"]


# ---- writing ----


def _write(
    out: Path, rows: Sequence[Video], given: Sequence[str], classes: Sequence[str], problems: Sequence[Problem]
) -> None:
    """Writes the list, labels.txt if there are new class names, and the table of problems, together or not at all."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    names = [out.name]
    with scratch_folder(out) as scratch, writing(out):
        if classes and not given:
            write_labels(scratch / "labels.txt", classes)
        try:
            root = os.path.abspath(out.parent)
            write_list(scratch / out.name, rows, root=root, labels=given or classes, separator=None)
        except ValueError as error:
            raise ValueError(str(error).replace(str(scratch), str(out.parent))) from None
        if problems:
            table = [[printable(text) for text in row] for row in problems]
            write_csv(scratch / missing_path(out).name, ("kind", "path", "reason"), table)
            names.append(missing_path(out).name)
        else:
            missing_path(out).unlink(missing_ok=True)
        if classes and not given:
            _add_labels(scratch / "labels.txt", out.with_name("labels.txt"))
        for name in reversed(names):  # the list comes last
            os.replace(scratch / name, out.with_name(name))


def _add_labels(made: Path, path: Path) -> None:
    """Moves new class names to their place. Raises ValueError if another process has written some there meanwhile."""
    try:
        os.link(made, path)
    except FileExistsError:
        if os.path.exists(path):
            raise ValueError(f"{path} was written by another process just now: run this command again, so that both "
                             "lists number the classes alike") from None  # fmt: skip
        os.replace(made, path)  # a link that leads to no file
    except OSError:  # the file system has no hard links
        os.replace(made, path)
