"""All rows of a list, stored in columns so that ten million rows fit into memory."""

from __future__ import annotations

import hashlib
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, overload

import numpy as np

from actrec.data.column import Column
from actrec.data.lists.row import Video, bounds
from actrec.data.storage.paths import is_url
from actrec.files import show
from actrec.words import counted

WHOLE, FRAMES, SECONDS = 0, 1, 2  # what the range of a row counts
_UNITS = {type(None): WHOLE, int: FRAMES, float: SECONDS}
ROW = np.dtype(
    [
        ("offset", "i8"),  # of the path in the text
        ("length", "i4"),  # of the path, in bytes
        ("unit", "u1"),
        ("start", "f8"),  # float64 holds every frame number of a list exactly
        ("stop", "f8"),
        ("first_label", "i8"),  # position in the labels of all rows
        ("num_labels", "i4"),
    ]
)
_LABEL = np.dtype(np.int64)
_BLOCK = 4096  # rows that an iteration converts to Python objects at once
_LARGE_BLOCK = 1 << 18  # rows of which columns are read at once
# Paths that end like an id that is made from a path and a range: only they can be equal to such an id.
_LIKE_AN_ID = re.compile(rb"(#\d+| [-\d.s]+)\Z")


class Videos(Sequence[Video]):
    """The rows of a list file, as `read_list` returns them: a sequence of `Video`.

        videos = actrec.read_list("train.txt")
        print(len(videos), videos[0].path)
        first = videos[:100]  # is a `Videos` too

    The rows are kept in arrays (41 bytes per row, plus the text of its path and 8 bytes per label). A `Video` and its
    id are created when a row is accessed. A slice shares the memory of the whole list, and its rows keep their ids.
    `num_comments` counts the lines of the file that were skipped as comments. `respelled` counts the paths that got
    the spelling that exists, and holds the first one as written and as read.
    """

    __slots__ = ("_rows", "_table", "num_comments", "respelled")

    def __init__(
        self, table: _Table, rows: range, num_comments: int = 0, respelled: tuple[int, str, str] = (0, "", "")
    ):
        self._table, self._rows, self.num_comments, self.respelled = table, rows, num_comments, respelled

    @property
    def notices(self) -> list[str]:
        """What a user should know about how the list was read."""
        found = []
        if self.num_comments:
            found.append(f"{counted(self.num_comments, 'line')} skipped as comments, because they begin with `# `")
        if self.respelled[0]:
            count, written, read = self.respelled
            found.append(f"{counted(count, 'path')} read in the spelling that exists; the first: {show(written)} is "
                         f"read as {show(read)}")  # fmt: skip
        return found

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> Video: ...

    @overload
    def __getitem__(self, key: slice) -> Videos: ...

    def __getitem__(self, key: int | slice) -> Video | Videos:
        if isinstance(key, slice):
            return Videos(self._table, self._rows[key])
        return self._table.video(self._rows[key])

    def __iter__(self) -> Iterator[Video]:
        return chain.from_iterable(
            self._table.videos(self._rows[i : i + _BLOCK]) for i in range(0, len(self._rows), _BLOCK)
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Videos, list)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other))

    __hash__ = None  # type: ignore[assignment] # equal to lists, which have no hash

    def __repr__(self) -> str:
        return f"<Videos: {len(self)} rows>"

    def label_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """The labels of all rows, (number of labels,) int64, and how many each row has, (rows,) int64."""
        if self._table.has_single_labels and self._is_whole:
            return self._table.labels, np.broadcast_to(np.int64(1), len(self))
        first, counts = np.empty(len(self), np.int64), np.empty(len(self), np.int64)
        for i in range(0, len(self), _LARGE_BLOCK):
            rows = self._table.rows[_slice(self._rows[i : i + _LARGE_BLOCK])]
            first[i : i + len(rows)], counts[i : i + len(rows)] = rows["first_label"], rows["num_labels"]
        if self._is_whole:  # the labels of the rows follow each other
            return self._table.labels, counts
        ends = np.cumsum(counts)
        places = np.repeat(first - (ends - counts), counts) + np.arange(ends[-1] if len(ends) else 0)
        return self._table.labels[places], counts

    @property
    def _is_whole(self) -> bool:
        return self._rows == range(len(self._table.rows))

    def number_files(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers the files and folders in the order in which they first appear.

        Returns:
            (rows,) integers, the number of each row's file, and (files,) integers, the first row of each file.
        """
        facts = self._table.facts
        if facts is not None and facts.is_uniform and self._is_whole:
            return facts.numbers, facts.first
        prefix, table = self._table.prefix.encode("utf-8", "surrogatepass"), self._table
        return _number(
            lambda part: (text if _is_rooted(text) else prefix + text for text in table.texts(part)),
            self._rows,
        )

    def digest(self) -> str:
        """SHA-256 of the ids, ranges and labels of all rows."""
        facts = self._table.facts
        return facts.digest if facts is not None and self._is_whole else _digest(self)

    def files_with_copies(self) -> np.ndarray | None:
        """The numbers of the files of which two rows have the same range; None if that is not known."""
        facts = self._table.facts
        if facts is None or not facts.is_uniform or not self._is_whole:
            return None
        return np.unique(facts.numbers[facts.copies[0]])


class Facts(NamedTuple):
    """What takes long to find out about the rows of a long list. Its cache has it.

    Args:
        numbers: (rows,) int32, the number of each row's path as written, in the order in which they first appear.
        first: (paths,) int32, the first row of each.
        copies: Rows that are neither the first nor the only one of their path and range, in ascending order, and their
            numbers from 2; int32.
        is_uniform: Two files are the same exactly where their paths are the same as written.
        digest: See `Videos.digest`.
    """

    numbers: np.ndarray
    first: np.ndarray
    copies: tuple[np.ndarray, np.ndarray]
    is_uniform: bool
    digest: str


class _Table:
    """The columns of a list.

    Args:
        prefix: Prepended to relative paths, which URLs are not.
        text: The paths as written, UTF-8, one after the other.
        labels: The labels of all rows, one row after the other.
        rows: Array of `ROW`.
        facts: None if they are not known.
        has_single_labels: It is known that every row has one label.
    """

    __slots__ = ("_copies", "_ids", "_shared", "facts", "has_single_labels", "labels", "prefix", "rows", "text")

    def __init__(
        self,
        prefix: str,
        text: bytearray | Column,
        labels: np.ndarray,
        rows: np.ndarray | Column,
        facts: Facts | None = None,
        *,
        has_single_labels: bool = False,
    ):
        self.prefix, self.text, self.labels, self.rows, self.facts = prefix, text, labels, rows, facts
        self.has_single_labels = has_single_labels
        self._shared: np.ndarray | None = None  # rows with a path that other rows have too; None: not known yet
        self._copies: dict[int, int] = {}  # number of each row that is neither the first nor the only one of its id
        self._ids: list[str] | None = None  # only where a path looks like the id of another row

    def texts(self, part: range) -> Iterator[bytes]:
        """The paths of some rows as written."""
        for i in range(0, len(part), _BLOCK):
            yield from self._texts_of(self.rows[_slice(part[i : i + _BLOCK])])

    def _texts_of(self, rows: np.ndarray) -> Iterator[bytes]:
        offsets, lengths = rows["offset"].tolist(), rows["length"].tolist()
        begin, end = min(offsets), max(map(operator.add, offsets, lengths))
        if end - begin > 2 * sum(lengths):  # the rows do not follow each other
            for offset, length in zip(offsets, lengths):
                yield bytes(self.text[offset : offset + length])
            return
        text = bytes(self.text[begin:end])
        for offset, length in zip(offsets, lengths):
            yield text[offset - begin : offset - begin + length]

    def videos(self, part: range) -> Iterator[Video]:
        shared = self._find_shared()
        rows = self.rows[_slice(part)]
        return map(self._video, part, shared[_slice(part)].tolist(), self._texts_of(rows), rows.tolist())

    def video(self, row: int) -> Video:
        """One row, in half of the time that `videos` needs for it."""
        (values,) = self.rows[row : row + 1].tolist()
        offset, length, *_ = values
        return self._video(row, self._find_shared()[row], bytes(self.text[offset : offset + length]), values)

    def _video(self, row: int, is_shared: bool, written: bytes, values: tuple[Any, ...]) -> Video:
        _, _, unit, start, stop, label, num_labels = values
        text = written.decode("utf-8", "surrogatepass")
        if unit == WHOLE:
            start = stop = None
        elif unit == FRAMES:
            start, stop = int(start), int(stop)
        return Video(
            self._shared_id(row, text, start, stop) if is_shared else text,
            text if text.startswith("/") or ("://" in text and is_url(text)) else self.prefix + text,
            start,
            stop,
            tuple(self.labels[label : label + num_labels].tolist()),
        )

    def _shared_id(self, row: int, text: str, start: float | None, stop: float | None) -> str:
        if self._ids is not None:
            return self._ids[row]
        name = _first_choice(text, start, stop)
        return f"{name}#{self._copies[row]}" if row in self._copies else name

    def _find_shared(self, numbers: np.ndarray | None = None) -> np.ndarray:
        """Which rows have a path that other rows have too.

        Args:
            numbers: Of the paths, if they are known.
        """
        if self._shared is None and self.facts is not None:
            self._copies = dict(zip(*(column.tolist() for column in self.facts.copies)))
            self._shared = _occur_again(self.facts.numbers)
        if self._shared is None:
            everything = range(len(self.rows))
            shared = _occur_again(numbers := _number(self.texts, everything)[0] if numbers is None else numbers)
            if shared.any():
                if any(map(_LIKE_AN_ID.search, self.texts(everything))):
                    self._ids = _all_ids(self._spans())
                else:
                    self._copies = self._count_copies(np.flatnonzero(shared), numbers)
            self._shared = shared
        return self._shared

    def find_facts(self) -> Facts | None:
        """What takes long to find out; None if a path looks like the id of another row, which is not kept."""
        numbers, first = _number(self.texts, range(len(self.rows)))
        self._find_shared(numbers)
        if self._ids is not None:
            return None
        kinds = {_is_rooted(text) for text in self.texts(range(len(self.rows)))}
        copies = np.array(sorted(self._copies.items()), np.int32).reshape(-1, 2)
        return Facts(
            numbers.astype(np.int32, copy=False),
            first.astype(np.int32, copy=False),
            (copies[:, 0], copies[:, 1]),
            len(kinds) == 1,
            _digest(Videos(self, range(len(self.rows)))),
        )

    def _count_copies(self, chosen: np.ndarray, numbers: np.ndarray) -> dict[int, int]:
        assert isinstance(self.rows, np.ndarray)  # of a list from a cache, this is known
        rows = self.rows[chosen]
        keys = (rows["stop"], rows["start"], rows["unit"], numbers[chosen])
        order = np.lexsort(keys)
        same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
        place = np.arange(len(order))
        begins = np.maximum.accumulate(np.where(np.concatenate([[False], same]), 0, place))
        copies = place - begins
        again = copies > 0
        return dict(zip(chosen[order[again]].tolist(), (copies[again] + 1).tolist()))

    def _spans(self) -> Iterator[tuple[str, float | None, float | None]]:
        assert isinstance(self.rows, np.ndarray)
        units, pairs = self.rows["unit"].tolist(), zip(self.rows["start"].tolist(), self.rows["stop"].tolist())
        for text, unit, (start, stop) in zip(self.texts(range(len(self.rows))), units, pairs):
            path = text.decode("utf-8", "surrogatepass")
            if unit == WHOLE:
                yield path, None, None
            else:
                yield (path, int(start), int(stop)) if unit == FRAMES else (path, start, stop)


class Builder:
    """Collects rows and makes `Videos` of them."""

    def __init__(self) -> None:
        self._text, self._rows, self._labels = bytearray(), bytearray(), bytearray()  # they grow without a copy
        self.num_comments = 0
        self.respelled = (0, "", "")

    def add(
        self,
        paths: Sequence[str],
        starts: Sequence[float | None],
        stops: Sequence[float | None],
        labels: Sequence[tuple[int, ...]],
    ) -> None:
        """Appends rows, given by column: paths as written, and ranges and labels as in `Video`."""
        text = "".join(paths)
        data = text.encode("utf-8", "surrogatepass")
        rows = np.zeros(len(paths), ROW)
        texts = paths if len(data) == len(text) else [path.encode("utf-8", "surrogatepass") for path in paths]
        rows["length"] = np.fromiter(map(len, texts), np.int32, len(paths))
        rows["offset"] = len(self._text) + np.cumsum(rows["length"], dtype=np.int64) - rows["length"]
        rows["unit"] = np.fromiter(map(_UNITS.__getitem__, map(type, starts)), np.uint8, len(paths))
        ranged = rows["unit"] != WHOLE
        if ranged.any():
            rows["start"] = np.where(ranged, np.array(starts, np.float64), 0)
            rows["stop"] = np.where(ranged, np.array(stops, np.float64), 0)
        rows["num_labels"] = np.fromiter(map(len, labels), np.int32, len(paths))
        num_labels = len(self._labels) // _LABEL.itemsize
        rows["first_label"] = num_labels + np.cumsum(rows["num_labels"], dtype=np.int64) - rows["num_labels"]
        self._text += data
        self._rows += rows.tobytes()
        self._labels += np.fromiter(chain.from_iterable(labels), _LABEL).tobytes()

    def finish(self, prefix: str) -> Videos:
        """The list. The builder is empty afterwards.

        Args:
            prefix: Prepended to relative paths.
        """
        text, rows, labels = self._text, np.frombuffer(self._rows, ROW), np.frombuffer(self._labels, _LABEL)
        self._text, self._rows, self._labels = bytearray(), bytearray(), bytearray()
        return Videos(_Table(prefix, text, labels, rows), range(len(rows)), self.num_comments, self.respelled)


def label_columns(videos: Sequence[Video]) -> tuple[np.ndarray, np.ndarray]:
    """The labels of all rows, (number of labels,) int64, and how many each row has, (rows,) int64."""
    if isinstance(videos, Videos):
        return videos.label_columns()
    counts = np.fromiter((len(video.labels) for video in videos), np.int64, len(videos))
    return np.fromiter((label for video in videos for label in video.labels), np.int64, int(counts.sum())), counts


def number_files(videos: Sequence[Video]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the files and folders of a list in the order in which they first appear.

    Returns:
        (rows,) integers, the number of each row's file, and (files,) integers, the first row of each file.
    """
    if isinstance(videos, Videos):
        return videos.number_files()
    return _number_by_dict((video.path for video in videos), len(videos))


def digest(videos: Sequence[Video]) -> str:
    """SHA-256 of the ids, ranges and labels of all rows."""
    if isinstance(videos, Videos):
        return videos.digest()
    return _digest(videos)


def check_labels(videos: Sequence[Video], num_classes: int, *, multi_label: bool = False) -> None:
    """Checks that every label has a class, and that no row has several labels unless `multi_label` is set.

    Raises:
        ValueError: Names the first row that fails.
    """
    labels, counts = label_columns(videos)
    if labels.max(initial=-1) < num_classes and (multi_label or counts.max(initial=0) <= 1):
        return
    wrong = np.repeat(np.arange(len(counts)), counts)[labels >= num_classes]
    if not multi_label:
        wrong = np.concatenate([wrong, np.flatnonzero(counts > 1)])
    video = videos[int(wrong.min())]
    if len(video.labels) > 1 and not multi_label:
        raise ValueError(
            f"{video.id} has {len(video.labels)} labels: expected one, or a net that is trained with --multi-label"
        )
    raise ValueError(
        f"{video.id} has label {max(video.labels)}: expected at most {num_classes - 1} for "
        f"{counted(num_classes, 'class')}"
    )


def _is_rooted(text: bytes) -> bool:
    """Whether nothing is prepended to a path."""
    return text.startswith(b"/") or (b"://" in text and _is_url(text))


def _digest(videos: Iterable[Video]) -> str:
    rows = hashlib.sha256()
    for video in videos:
        name = video.id.encode("utf-8", "surrogateescape")
        rows.update(b"%s\0%s\n" % (name, f"{video.start}\0{video.stop}\0{video.labels}".encode()))
    return rows.hexdigest()


def _is_url(text: bytes) -> bool:
    return is_url(text.decode("utf-8", "surrogatepass"))


def _slice(part: range) -> slice:
    return slice(part.start, part.stop if part.stop >= 0 else None, part.step)


def _number(texts: Callable[[range], Iterator[bytes]], part: range) -> tuple[np.ndarray, np.ndarray]:
    """Numbers different texts in the order in which they first appear, as `number_files`.

    Compares hashes, since a dictionary of ten million texts takes more than a gigabyte.
    """
    hashes = np.fromiter(map(hash, texts(part)), np.int64, len(part))
    order = np.argsort(hashes, kind="stable").astype(np.int32)
    hashes = hashes[order]
    is_new = np.concatenate([[True], hashes[1:] != hashes[:-1]])[: len(part)]
    del hashes
    first = order[is_new]
    if len(first) == len(part):
        return np.arange(len(part), dtype=np.int32), np.arange(len(part), dtype=np.int32)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers = np.empty_like(order)
    numbers[order] = rank[np.cumsum(is_new, dtype=np.int32) - 1]
    first.sort()
    salted = np.fromiter((hash(text + b"\n") for text in texts(part)), np.int64, len(part))
    if not np.array_equal(salted, salted[first][numbers]):  # two different texts have the same hash
        return _number_by_dict(texts(part), len(part))
    return numbers, first


def _occur_again(numbers: np.ndarray) -> np.ndarray:
    """Which numbers occur more than once. They count from 0 without gaps."""
    times = np.bincount(numbers)
    return (times > 1)[numbers] if len(times) < len(numbers) else np.zeros(len(numbers), bool)


def _number_by_dict(texts: Iterable[str | bytes], count: int) -> tuple[np.ndarray, np.ndarray]:
    known: dict[str | bytes, int] = {}
    numbers = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.int64, count)
    return numbers, np.unique(numbers, return_index=True)[1]


def _first_choice(path: str, start: float | None, stop: float | None) -> str:
    """The id of a row with a path that other rows have too, if no other row has this id."""
    return path if start is None or stop is None else f"{path} {'-'.join(bounds(start, stop))}"


def _all_ids(spans: Iterable[tuple[str, float | None, float | None]]) -> list[str]:
    """The ids of all rows where a path may be equal to an id that is made from another path."""
    spans = list(spans)
    times = Counter(path for path, _, _ in spans)
    taken = {path for path, count in times.items() if count == 1}
    copies: Counter[str] = Counter()
    ids = []
    for path, start, stop in spans:
        name = path
        if times[path] > 1:
            name = base = _first_choice(path, start, stop)
            while name in taken:
                copies[base] = max(copies[base], 1) + 1
                name = f"{base}#{copies[base]}"
            taken.add(name)
        ids.append(name)
    return ids
