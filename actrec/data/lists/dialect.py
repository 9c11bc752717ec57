"""What the lines of a list file mean.

A row is `path start end label`, `path start end`, `path label` or `path`; further labels are further columns, or are
joined by commas (`path 3,7`), and `-` in their place is none. Columns stand between blanks, `;`, tabs or commas. Start
and end are frame numbers as the reference counts them, from 1 and both inclusive; a `Row` has the half-open range
[start - 1, end). Or they are times in seconds, `12.5s 30s`, which a `Row` has as floats.

Nothing is quoted, so a path may hold the separator and a line can have several readings. Columns are taken from the
right, the path is the rest, and the *whole file* decides what is a column: of all dialects (separator and form of the
row) the one that leaves the fewest bad lines. If several do equally well, more columns win, then shorter paths.
Rows without a range or a label are believed only if at least half of them have paths that do not end in a number:
else `walk 30 1 3`, a wrong range, would pass for a folder `walk 30`, and one misspelt range would make ranges parts of
paths. So `clip 2 1 30 3` is the folder `clip 2` where the other rows agree, and `walk 3 7` among such rows alone is
frames 3 to 7. A list in which most lines show no columns at all is one of paths alone.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from actrec.data.lists.labels import Bad, Classes
from actrec.files import Problems, show

Form = Literal["range labels", "range label", "range", "label", "path"]

SEPARATORS = {"\t": "a tab", ";": "';'", " ": "blanks", ",": "','"}  # the order decides between equals
FORMS: dict[Form, str] = {  # likewise
    "range labels": "path start end label",  # one or more labels: from the leftmost pair of numbers on
    "range label": "path start end label",  # exactly one label column, so the path may end in numbers
    "range": "path start end",
    "label": "path label",
}
MAX_FRAME = 2**31 - 1
SAMPLE = 500  # rows that decide about the dialect
PART = 10_000
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_TIME = re.compile(r"(\d{1,9}(\.\d{0,9})?|\.\d{1,9})s", re.ASCII)
_SUFFIX = re.compile(r"\.\w{1,5}$")


class Row(NamedTuple):
    """What a line says: the path as written, the range as a Video has it."""

    path: str
    start: int | float | None
    stop: int | float | None
    labels: tuple[int, ...]


class Rows(NamedTuple):
    """The same, one list per column: a million small objects less."""

    paths: list[str]
    starts: list[int | float | None]
    stops: list[int | float | None]
    labels: list[tuple[int, ...]]


class Dialect(NamedTuple):
    separator: str
    form: Form


def read_rows(lines: list[str], problems: Problems, classes: Classes) -> Rows:
    """The rows of all lines but blank ones and comments.

    Args:
        lines: stripped; the index is the line number - 1.
        problems: those found before; all are raised together.

    Raises:
        ListError: there is a bad line, or no row.
    """
    texts = [line for line in lines if line and line[0] != "#"]
    if not texts:
        if not len(problems):
            problems.add(1, lambda: "the list is empty: expected one video on each line")
        problems.raise_any()
    sample = texts[:: -(-len(texts) // SAMPLE)]
    dialect = _choose(sample, classes)
    rows = _bulk(texts, dialect, classes)
    if rows is None:
        rows, bad = _each(texts, dialect, classes)
        # rows that the sample has missed may be what tells two dialects apart
        if bad and len(texts) > len(sample) and dialect != (better := _choose(sample + bad[:SAMPLE], classes)):
            dialect = better
            rows, bad = _each(texts, dialect, classes)
        if bad:
            _explain(lines, dialect, classes, problems)
    problems.raise_any()
    return rows


def _choose(sample: list[str], classes: Classes) -> Dialect:
    """The dialect with the most good lines; if there are none, that with the most lines that have its columns."""
    best, most, shown = Dialect(" ", "label"), (0, 0, 0, 0), 0
    for rank, form in enumerate(FORMS):
        for separator in SEPARATORS:
            if any(separator in line for line in sample):
                good, columns, length = _score(sample, Dialect(separator, form), classes)
                score = (good, 0 if good else columns, -rank, -length)
                if score > most:
                    best, most, shown = Dialect(separator, form), score, columns
    if sum(_looks_bare(line, classes) for line in sample) > shown:
        return Dialect("", "path")
    if not shown:  # nothing fits: complain about the separator that is there
        return Dialect(next((s for s in SEPARATORS if all(s in line for line in sample)), " "), "label")
    return best


def _score(sample: list[str], dialect: Dialect, classes: Classes) -> tuple[int, int, int]:
    """Good lines; lines that have the columns, be their values legal or not; characters of all paths."""
    parse = _parser(dialect, classes)
    good = columns = plain = ranged = length = 0
    for line in sample:
        try:
            row = parse(line)
        except Bad as bad:
            columns += bad.columns
        else:
            good, columns, length = good + 1, columns + 1, length + len(row.path)
            _, *last = row.path.rsplit(None if dialect.separator == " " else dialect.separator, 2)
            bounds = [_is_bound(text.strip()) for text in last]
            plain += not (bounds and bounds[-1])
            ranged += len(bounds) == 2 and all(bounds)
    if dialect.form in ("range", "label") and (2 * plain < good or 2 * ranged >= good):
        return 0, columns - good, 0
    return good, columns, length


def _looks_bare(line: str, classes: Classes) -> bool:
    """Whether a line in which no columns were found is a path alone, rather than a path and a misspelt class."""
    head, *tail = re.split(r"[\t;, ](?=[^\t;, ]*$)", line, maxsplit=1)
    if not tail:
        return True
    if classes.could_be(tail[0]):
        return False
    if "/" in tail[0] or _SUFFIX.search(tail[0]):
        return True
    return not classes.names and not re.search(r"[\t;,]", line) and not _SUFFIX.search(head)


# ---- one line ----


def _parser(dialect: Dialect, classes: Classes) -> Callable[[str], Row]:
    """A function of one line. It raises Bad."""
    if dialect.form == "path":
        return lambda line: Row(line, None, None, ())
    columns = _Columns(dialect, classes)
    parsers: dict[Form, Callable[[str], Row]] = {
        "range labels": lambda line: _range_labels(line, columns),
        "range label": lambda line: _range_label(line, columns),
        "range": lambda line: _range(line, (), columns),
        "label": lambda line: _label(line, columns),
    }
    return parsers[dialect.form]


class _Columns:
    """Cuts columns off the right end of a line."""

    def __init__(self, dialect: Dialect, classes: Classes):
        separator, form = dialect
        self.classes = classes
        self.expected = f"expected {FORMS[form]!r}, with {SEPARATORS[separator]} between them, as in most lines"
        self.blank = separator == " "
        self.separator = None if self.blank else separator  # None: a run of blanks, as str.rsplit has it
        pieces = {len(name.split(self.separator)) for name in classes.names}
        self.pieces = sorted(pieces - {0, 1}, reverse=True)  # separators in a class name, plus 1: longest name first
        cuts = (name.rsplit(self.separator, 1) for name in classes.names)
        self.endings = {cut[1].strip() for cut in cuts if len(cut) > 1}  # last pieces of such names

    def cut(self, line: str, count: int) -> list[str]:
        """[path, column, …]; fewer than `count` columns if there are no more."""
        return [part.strip() for part in line.rsplit(self.separator, count)]

    def labels(self, line: str) -> tuple[str, list[str]] | None:
        """The line before its last column, and that column's labels; None if it is no label column."""
        for count in (*self.pieces, 1):
            head, *tail = line.rsplit(self.separator, count)
            name = line[len(head) + (not self.blank) :].strip()
            if len(tail) == count and self.classes.could_be(name):
                return self._joined(head.strip(), name)
        if self.separator == "," or "," not in line:
            return None
        head, tail = line.rsplit(",", 1)
        if not self.classes.could_be(tail.strip()) or (found := self.labels(head)) is None:
            return None
        return found[0], [*found[1], tail.strip()]

    def _joined(self, head: str, name: str) -> tuple[str, list[str]] | None:
        """Between blanks, `path 3, 7` has one column of two labels, and `path; 7` another separator."""
        if not self.blank or not head.endswith((",", ";")):
            return head, [name]
        found = self.labels(head[:-1]) if head.endswith(",") else None
        return found and (found[0], [*found[1], name])


def _is_bound(text: str) -> bool:
    """Whether it looks like the start or the end of a range."""
    return (_WHOLE.fullmatch(text) or _TIME.fullmatch(text)) is not None


def _range_labels(line: str, columns: _Columns) -> Row:
    rests, texts = [line], []  # rests[i] stands before texts[i - 1]
    while (found := columns.labels(rests[-1])) is not None:
        rests.append(found[0])
        texts.append(found[1])
    _, *pair = columns.cut(rests[-1], 2)
    if texts and len(pair) == 2 and all(map(_is_bound, pair)) and any(map(_TIME.fullmatch, pair)):  # no label is a time
        return _range(rests[-1], itertools.chain.from_iterable(reversed(texts)), columns)
    whole = [len(text) == 1 and _WHOLE.fullmatch(text[0]) is not None for text in texts]
    for i in range(len(texts) - 1, 1, -1):  # from the left of the line, two at a time, at least one label after them
        if whole[i] and whole[i - 1]:
            labels = itertools.chain.from_iterable(reversed(texts[: i - 1]))
            return _range(rests[i - 1], labels, columns)
    raise _no_label(line, columns)


def _range_label(line: str, columns: _Columns) -> Row:
    found = columns.labels(line)
    if found is None:
        raise _no_label(line, columns)
    return _range(found[0], found[1], columns)


def _label(line: str, columns: _Columns) -> Row:
    found = columns.labels(line)
    if found is None:
        raise Bad(lambda: _explain_label(line, columns), columns=False)
    head, texts = found
    return _row_of(head, None, None, texts, columns.classes)


def _range(line: str, labels: Iterable[str], columns: _Columns) -> Row:
    head, *pair = columns.cut(line, 2)
    if len(pair) < 2 or not all(map(_is_bound, pair)):
        raise Bad(lambda: f"{show(line)} does not end in two frame numbers: {columns.expected}", columns=False)
    if times := [text for text in pair if text.endswith("s")]:
        return _row_of(head, *_seconds(pair, len(times)), labels, columns.classes)
    start, end = map(int, pair)
    if start < 0:
        raise Bad(lambda: f"start {start}: expected 0 or more")
    if end < start:
        hint = " (a path that ends in a number needs ; between the columns)" if columns.separator is None else ""
        raise Bad(lambda: f"end {end} comes before start {start}: expected the first and the last frame{hint}")
    if end > MAX_FRAME:
        raise Bad(lambda: f"end {end}: expected at most {MAX_FRAME}")
    return _row_of(head, start - 1, end, labels, columns.classes)


def _seconds(pair: list[str], num_times: int) -> tuple[float, float]:
    if num_times < 2:
        raise Bad(lambda: f"start {pair[0]} and end {pair[1]}: expected two frame numbers, or two times such as 12.5s")
    start, end = (float(text[:-1]) for text in pair)
    if end <= start:
        raise Bad(lambda: f"end {pair[1]} does not come after start {pair[0]}: expected a later time")
    return start, end


def _row_of(path: str, start: float | None, stop: float | None, labels: Iterable[str], classes: Classes) -> Row:
    if not path:
        raise Bad(lambda: "there is no path: expected it in the first column")
    return Row(path, start, stop, classes.labels(labels))


def _no_label(line: str, columns: _Columns) -> Bad:
    """The error of a line without labels behind its range: with a range, the rest of the line is an unknown class."""
    words = columns.cut(line, -1)
    pairs = (i for i in range(len(words) - 3, 0, -1) if all(map(_is_bound, words[i : i + 2])))
    if (pair := next(pairs, None)) is not None:
        return Bad(lambda: columns.classes.unknown((columns.separator or " ").join(words[pair + 2 :])))
    return Bad(lambda: f"{show(line)} does not end in two frame numbers and a label: {columns.expected}", columns=False)


def _explain_label(line: str, columns: _Columns) -> str:
    _, *tail = columns.cut(line, 1)
    if not tail:
        return f"{show(line)} has no label: {columns.expected}"
    for count in (*columns.pieces, 1):
        _, *words = columns.cut(line, count)
        text = columns.classes.unknown((columns.separator or " ").join(words))
        if "did you mean" in text:
            break
    return text


def _each(texts: list[str], dialect: Dialect, classes: Classes) -> tuple[Rows, list[str]]:
    """The rows, and the lines that are none."""
    parse = _parser(dialect, classes)
    rows, bad = Rows([], [], [], []), []
    for line in texts:
        try:
            row = parse(line)
        except Bad:
            bad.append(line)
        else:
            for column, value in zip(rows, row):
                column.append(value)
    return rows, bad


def _explain(lines: list[str], dialect: Dialect, classes: Classes, problems: Problems) -> None:
    parse = _parser(dialect, classes)
    for number, line in enumerate(lines, 1):
        if line and line[0] != "#":
            try:
                parse(line)
            except Bad as bad:
                problems.add(number, bad.explain)


# ---- a million lines ----


def _bulk(texts: list[str], dialect: Dialect, classes: Classes) -> Rows | None:
    """What `_each` gives for regular lines, column by column; None if one line might want a closer look."""
    nothing = [None] * len(texts)
    if dialect.form == "path":
        return Rows(texts, nothing, nothing, [()] * len(texts))
    columns = _Columns(dialect, classes)
    cut = _bulk_cut(texts, columns, {"range labels": 3, "range label": 3, "range": 2, "label": 1}[dialect.form])
    if cut is None:
        return None
    paths, *rest = cut
    if not all(paths) or (dialect.form == "range labels" and _ends_in_column(paths, columns)):
        return None
    pair = (nothing, nothing) if dialect.form == "label" else _bulk_range(*rest[:2])
    labels = [()] * len(texts) if dialect.form == "range" else _bulk_labels(rest[-1], columns)
    if pair is None or labels is None:
        return None
    if columns.blank and dialect.form == "label" and any(path.endswith((",", ";")) for path in paths):
        return None
    return Rows(paths, *pair, labels)


def _bulk_cut(texts: list[str], columns: _Columns, count: int) -> list[list[str]] | None:
    """Paths, first column, …; in parts, so that there are never a million lists."""
    cut: list[list[str]] = [[] for _ in range(count + 1)]
    for first in range(0, len(texts), PART):
        part = [line.rsplit(columns.separator, count) for line in texts[first : first + PART]]
        if set(map(len, part)) != {count + 1}:
            return None
        for column, values in zip(cut, zip(*part)):
            column.extend(values if columns.separator is None else map(str.strip, values))
    return cut


def _bulk_range(starts: list[str], ends: list[str]) -> tuple[list[int], list[int]] | None:
    """Few different texts again."""
    different = {*starts, *ends}
    if not all(text.isascii() and text.isdigit() and len(text) <= 10 for text in different):
        return None
    number = {text: int(text) for text in different}
    before = {text: value - 1 for text, value in number.items()}
    start, stop = list(map(before.__getitem__, starts)), list(map(number.__getitem__, ends))
    if any(map(operator.ge, start, stop)) or max(stop) > MAX_FRAME:
        return None
    return start, stop


def _bulk_labels(texts: list[str], columns: _Columns) -> list[tuple[int, ...]] | None:
    """Few different texts, so each is read once."""
    different = set(texts)
    if columns.endings and any(text in columns.endings or "," in text for text in different):
        return None  # a longer class name may end here
    table = {}
    for text in different:
        found = columns.labels(f"x{columns.separator or ' '}{text}")
        if found is None or found[0] != "x":
            return None
        try:
            table[text] = columns.classes.labels(found[1])
        except Bad:
            return None
    return list(map(table.__getitem__, texts))


def _ends_in_column(paths: list[str], columns: _Columns) -> bool:
    """Whether a path ends in something that "range labels" would take for a column."""
    for path in paths:
        _, *tail = path.rsplit(columns.separator, 1)
        if tail:
            last = tail[0].strip()
            if (columns.classes.could_be(last) or last in columns.endings or "," in last) and columns.labels(path):
                return True
    return False
