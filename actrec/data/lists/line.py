"""What one line of a list file means, if the columns and the separator of the file are known.

A row is `path start end label`, `path start end`, `path label` or `path`. Further labels are further columns, or are
joined by commas (`path 3,7`), and `-` in place of a label means that the video has none. Start and end are frame
numbers, counted from 1 and both inclusive, or times in seconds, `12.5s 30s`. Nothing is quoted: columns are taken from
the right, and what remains is the path.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from actrec.data.lists.labels import Bad, Classes
from actrec.files import show

Form = Literal["range labels", "range label", "range", "label", "path"]
Fields = tuple[str, int | float | None, int | float | None, tuple[int, ...]]  # path as written; the rest as in Video

SEPARATORS = {"\t": "a tab", ";": "';'", " ": "blanks", ",": "','"}  # the order decides between equals
FORMS: dict[Form, str] = {  # likewise
    "range labels": "path start end label",  # one or more labels: from the leftmost pair of numbers on
    "range label": "path start end label",  # exactly one label column, so the path may end in numbers
    "range": "path start end",
    "label": "path label",
}
MAX_FRAME = 2**31 - 1
_NUM_COLUMNS: dict[Form, int] = {"range labels": 3, "range label": 3, "range": 2, "label": 1, "path": 0}
_MOST_COMMAS = 300  # of a line with labels that are joined by commas; each is a level of recursion
_MOST_TEXTS = 200_000  # different cells of a column that are remembered
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_COMMA_TIME = re.compile(r"(?<![^\s;])(\d{1,9}),(\d{1,9})s(?![^\s;])", re.ASCII)
_TIME = re.compile(r"(\d{1,9}(\.\d{0,9})?|\.\d{1,9})s", re.ASCII)


class Dialect(NamedTuple):
    """The separator between columns (one of `SEPARATORS`; "" for a list of paths) and the columns of a row."""

    separator: str
    form: Form


class LineParser:
    """Parses the lines of one dialect.

    Most lines are regular: they have exactly the expected columns, and no column could be part of its neighbor.
    `parse_regular` recognizes these with a few dictionary lookups, which is much faster. `parse` reads any line.
    It gives the same result for regular lines, and explains what is wrong with bad ones.
    """

    def __init__(self, dialect: Dialect, classes: Classes):
        self.separator: str | None
        separator, self.form = dialect
        self.classes = classes
        self._blank = separator == " "
        self.separator = None if self._blank else separator  # None: a run of blanks, as in str.rsplit
        self._num_columns = _NUM_COLUMNS[self.form]
        self._several_labels = self.form == "range labels"
        if self.form == "path":
            return
        self.expected = f"expected {FORMS[self.form]!r}, with {SEPARATORS[separator]} between them, as in most lines"
        pieces = {len(name.split(self.separator)) for name in classes.names}
        # How many columns a class name looks like that holds the separator. The longest name is tried first.
        self._pieces = sorted(pieces - {0, 1}, reverse=True)
        cuts = (name.rsplit(self.separator, 1) for name in classes.names)
        self._endings = {cut[1].strip() for cut in cuts if len(cut) > 1}  # last pieces of such names
        self._label_cells = _Memo(self._regular_labels)
        self._frame_cells = _Memo(_regular_frame)

    # ---- regular lines ----

    def parse_regular(self, line: str) -> Fields | None:
        """The row of a stripped line; None if the line is not regular."""
        count = self._num_columns
        if not count:
            return line, None, None, ()
        cells = line.rsplit(self.separator, count)
        if len(cells) <= count:
            return None
        path = cells[0] if self._blank else cells[0].strip()
        labels = () if count == 2 else self._label_cells[cells[count]]
        if labels is None or not path:
            return None
        if count == 1:
            # Between blanks, `path; 3` shows another separator, and `path 3, 7` has two labels.
            return None if self._blank and path[-1] in ",;" else (path, None, None, labels)
        start, stop = self._frame_cells[cells[1]], self._frame_cells[cells[2]]
        if start is None or stop is None or start > stop:
            return None
        if self._several_labels and len(ends := path.rsplit(self.separator, 1)) > 1 and self._is_column(path, ends[1]):
            return None
        return path, start - 1, stop, labels

    def _regular_labels(self, cell: str) -> tuple[int, ...] | None:
        """The labels of the last column; None if the cell may be only a part of it, or is no label."""
        cell = cell.strip()
        if self._endings and (cell in self._endings or "," in cell):
            return None
        found = self._cut_labels(f"x{self.separator or ' '}{cell}")
        if found is None or found[0] != "x":
            return None
        try:
            return self.classes.labels(found[1])
        except Bad:
            return None

    def _is_column(self, path: str, last: str) -> bool:
        """Whether "range labels" would take the last piece of a path for a column."""
        last = last.strip()
        possible = self.classes.could_be(last) or last in self._endings or "," in last
        return possible and self._cut_labels(path) is not None

    # ---- any line ----

    def parse(self, line: str) -> Fields:
        """The row of a stripped line.

        Raises:
            Bad: The line is not a row.
        """
        if not self._num_columns:
            return line, None, None, ()
        if self._several_labels:
            return self._range_labels(line)
        if self.form == "range":
            return self._range(line, ())
        found = self._cut_labels(line)
        if self.form == "label":
            if found is None:
                raise Bad(lambda: self._explain_label(line), columns=False)
            return self._row(found[0], None, None, found[1])
        if found is None:
            raise self._no_label(line)
        return self._range(*found)

    def _cut(self, line: str, count: int) -> list[str]:
        """[path, column, …]; fewer than `count` columns if there are no more."""
        return [part.strip() for part in line.rsplit(self.separator, count)]

    def _cut_labels(self, line: str) -> tuple[str, list[str]] | None:
        """The line before its last column, and the labels of that column; None if it is not a label column."""
        if line.count(",") > _MOST_COMMAS:
            return None
        for count in (*self._pieces, 1):
            head, *tail = line.rsplit(self.separator, count) or [""]
            name = line[len(head) + (not self._blank) :].strip()
            if len(tail) == count and self.classes.could_be(name):
                return self._joined(head.strip(), name)
        if self.separator == "," or "," not in line:
            return None
        head, last = line.rsplit(",", 1)
        if not self.classes.could_be(last.strip()) or (found := self._cut_labels(head)) is None:
            return None
        return found[0], [*found[1], last.strip()]

    def _joined(self, head: str, name: str) -> tuple[str, list[str]] | None:
        """Between blanks, `path 3, 7` has one column of two labels, and `path; 7` shows another separator."""
        if not self._blank or not head.endswith((",", ";")):
            return head, [name]
        found = self._cut_labels(head[:-1]) if head.endswith(",") else None
        return found and (found[0], [*found[1], name])

    def _range_labels(self, line: str) -> Fields:
        rests, texts = [line], []  # rests[i] is what precedes texts[i - 1]
        while (found := self._cut_labels(rests[-1])) is not None:
            rests.append(found[0])
            texts.append(found[1])
        _, *pair = self._cut(rests[-1], 2)
        if texts and len(pair) == 2 and all(map(is_bound, pair)) and any(map(_TIME.fullmatch, pair)):
            return self._range(rests[-1], itertools.chain.from_iterable(reversed(texts)))  # no label is a time
        whole = [len(text) == 1 and _WHOLE.fullmatch(text[0]) is not None for text in texts]
        for i in range(len(texts) - 1, 1, -1):  # from the left of the line, two at a time, at least one label remains
            if whole[i] and whole[i - 1]:
                return self._range(rests[i - 1], itertools.chain.from_iterable(reversed(texts[: i - 1])))
        raise self._no_label(line)

    def _range(self, line: str, labels: Iterable[str]) -> Fields:
        head, *pair = self._cut(line, 2)
        if len(pair) < 2 or not all(map(is_bound, pair)):
            raise Bad(
                lambda: f"{show(line)} does not end in two frame numbers: {self.expected}{_point_hint(line)}",
                columns=False,
            )
        if times := [text for text in pair if text.endswith("s")]:
            return self._row(head, *_seconds(pair, len(times)), labels)
        start, end = map(int, pair)
        if start < 0:
            raise Bad(lambda: f"start {start}: expected 0 or more")
        if end < start:
            hint = " (a path that ends in a number needs ; between the columns)" if self._blank else ""
            raise Bad(lambda: f"end {end} comes before start {start}: expected the first and the last frame{hint}")
        if end > MAX_FRAME:
            raise Bad(lambda: f"end {end}: expected at most {MAX_FRAME}")
        return self._row(head, start - 1, end, labels)

    def _row(self, path: str, start: float | None, stop: float | None, labels: Iterable[str]) -> Fields:
        if not path:
            raise Bad(lambda: "there is no path: expected it in the first column")
        return path, start, stop, self.classes.labels(labels)

    def _no_label(self, line: str) -> Bad:
        """The error of a line without a label after its range: what follows the range is an unknown class."""
        words = self._cut(line, -1)
        pairs = (i for i in range(len(words) - 3, 0, -1) if all(map(is_bound, words[i : i + 2])))
        if (pair := next(pairs, None)) is not None:
            return Bad(lambda: self.classes.unknown((self.separator or " ").join(words[pair + 2 :])))
        return Bad(
            lambda: f"{show(line)} does not end in two frame numbers and a label: {self.expected}{_point_hint(line)}",
            columns=False,
        )

    def _explain_label(self, line: str) -> str:
        _, *tail = self._cut(line, 1)
        if not tail:
            return f"{show(line)} has no label: {self.expected}"
        for count in (*self._pieces, 1):
            _, *words = self._cut(line, count)
            text = self.classes.unknown((self.separator or " ").join(words))
            if "did you mean" in text:
                break
        return text


class _Memo(dict[str, Any]):
    """The results of a function of a cell. The cells of a column repeat, so each text is parsed once."""

    def __init__(self, function: Callable[[str], Any]):
        super().__init__()
        self._function = function

    def __missing__(self, text: str) -> Any:
        value = self._function(text)
        if len(self) < _MOST_TEXTS:
            self[text] = value
        return value


def _point_hint(line: str) -> str:
    """What to write instead of a time with a decimal comma; empty if the line has no such time."""
    found = _COMMA_TIME.search(line)
    return f" (write {found[1]}.{found[2]}s instead of {found[0]})" if found else ""


def is_bound(text: str) -> bool:
    """Whether a cell looks like the start or the end of a range."""
    return (_WHOLE.fullmatch(text) or _TIME.fullmatch(text)) is not None


def _regular_frame(cell: str) -> int | None:
    cell = cell.strip()
    if not cell.isascii() or not cell.isdigit() or len(cell) > 10 or (frame := int(cell)) > MAX_FRAME:
        return None
    return frame


def _seconds(pair: list[str], num_times: int) -> tuple[float, float]:
    if num_times < 2:
        raise Bad(lambda: f"start {pair[0]} and end {pair[1]}: expected two frame numbers, or two times such as 12.5s")
    start, end = (float(text[:-1]) for text in pair)
    if end <= start:
        raise Bad(lambda: f"end {pair[1]} does not come after start {pair[0]}: expected a later time")
    return start, end
