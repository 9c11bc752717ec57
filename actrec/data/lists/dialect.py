"""Which separator and which columns a list file has.

The columns of a row are described in `line.py`. Because nothing is quoted, a path may hold the separator, and a line
can have several readings. The *whole file* decides: of all dialects (a separator and the columns of a row), the one
with the fewest bad lines is chosen. If several are equal, more columns win, then shorter paths.

Two rules prevent wrong guesses:

- Dialects without a range or a label are accepted only if at least half of the paths do not end in a number. Otherwise
  `walk 30 1 3`, a wrong range, would be read as a folder `walk 30`, and one misspelled range would turn the ranges of
  all rows into parts of their paths. So `clip 2 1 30 3` is the folder `clip 2` if the other rows agree, and `walk 3 7`
  among such rows only is the frames 3 to 7.
- A list in which most lines show no columns at all is a list of paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from actrec.data.lists.labels import Bad, Classes
from actrec.data.lists.line import FORMS, SEPARATORS, Dialect, Fields, LineParser, is_bound
from actrec.data.lists.spelling import existing_spelling
from actrec.data.lists.videos import Builder
from actrec.data.storage.paths import why_refused
from actrec.files import Problems
from actrec.words import counted

SAMPLE = 500  # rows that decide about the dialect
_BLANK = re.compile(r"[^\S\t]")  # also U+00A0 and others that editors and web pages use in place of a plain one
_SUFFIX = re.compile(r"\.\w{1,5}$")


class _Sample:
    """Lines spread evenly over a list: all lines of a short list, else one of every 2, 4, 8, …"""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.num_lines = 0
        self._step = 1

    def add(self, lines: Sequence[str]) -> None:
        self.lines += lines[-self.num_lines % self._step :: self._step]
        self.num_lines += len(lines)
        while len(self.lines) > SAMPLE:
            self.lines, self._step = self.lines[::2], 2 * self._step


def is_comment(line: str) -> bool:
    """Whether a stripped line begins like a comment: with # and a blank. `#clap.mp4` is a path."""
    return line[:2] in ("#", "# ", "#\t")


def read_rows(
    blocks: Iterable[list[str]],
    problems: Problems,
    classes: Classes,
    exists: Callable[[str], bool] = lambda path: False,
) -> Builder:
    """Reads the rows of all lines except blank ones and comments.

    Args:
        blocks: The stripped lines of the list, in blocks. They are iterated over two or three times.
        problems: Receives the bad lines. It may hold others, and all are raised together.
        exists: Whether there is a file or folder of this path, as written. Then a line that begins like a comment is a
            row if it reads like one, and a path gets the spelling that exists.

    Raises:
        ListError: There is a bad line, or no row.
    """
    sample, num_comments = _Sample(), 0
    for lines in blocks:
        sample.add([line for line in lines if line and not is_comment(line)])
        num_comments += sum(map(is_comment, lines))
    if not sample.num_lines:
        if not len(problems):
            holds = f"holds only comments ({counted(num_comments, 'line')})" if num_comments else "is empty"
            problems.add(1, f"the list {holds}: expected one video on each line")
        problems.raise_any()
    dialect = _choose(sample.lines, classes)
    rows, bad = _parse(blocks, LineParser(dialect, classes), exists)
    # Rows outside of the sample may be what tells two dialects apart.
    if bad and sample.num_lines > len(sample.lines):
        better = _choose([*sample.lines, *(line for _, line, _ in bad[:SAMPLE])], classes)
        if better != dialect:
            rows, bad = _parse(blocks, LineParser(better, classes), exists)
    for number, _, explain in bad:
        problems.add(number, explain)
    problems.raise_any()
    return rows


def _parse(
    blocks: Iterable[list[str]], parser: LineParser, exists: Callable[[str], bool]
) -> tuple[Builder, list[tuple[int, str, Callable[[], str]]]]:
    """The rows; and the number, the text and the explanation of every bad line."""
    rows, first, regular = Builder(), 1, parser.parse_regular
    bad: list[tuple[int, str, Callable[[], str]]] = []
    for lines in blocks:
        found: list[Fields] = []
        for number, line in enumerate(lines, first):
            if not line:
                continue
            row = regular(line)
            if line[0] == "#" and is_comment(line) and (row is None or not exists(row[0])):
                rows.num_comments += 1
                continue
            if row is None:
                try:
                    row = parser.parse(line)
                except Bad as error:
                    secret = why_refused(line.split()[0]) if "://" in line else None
                    bad.append((number, line, partial(str, secret) if secret else error.explain))
                    continue
            if "://" in row[0] and (reason := why_refused(row[0])):
                bad.append((number, line, partial(str, reason)))
                continue
            if "\\" in row[0] or not row[0].isascii():
                row = (_respelled(row[0], exists, rows), *row[1:])
            found.append(row)
        if found:
            rows.add(*zip(*found))
        first += len(lines)
    return rows, bad


def _respelled(path: str, exists: Callable[[str], bool], rows: Builder) -> str:
    other = existing_spelling(path, exists)
    if other is None:
        return path
    rows.respelled = (rows.respelled[0] + 1, *(rows.respelled[1:] if rows.respelled[0] else (path, other)))
    return other


def _choose(sample: list[str], classes: Classes) -> Dialect:
    """The dialect with the most good lines; if there are none, the one with the most lines that have its columns."""
    best, most, num_shown = Dialect(" ", "label"), (0, 0, 0, 0), 0
    for rank, form in enumerate(FORMS):
        for separator in SEPARATORS:
            if any(_BLANK.search(line) if separator == " " else separator in line for line in sample):
                good, columns, length = _score(sample, Dialect(separator, form), classes)
                score = (good, 0 if good else columns, -rank, -length)
                if score > most:
                    best, most, num_shown = Dialect(separator, form), score, columns
    if sum(_looks_bare(line, classes) for line in sample) > num_shown:
        return Dialect("", "path")
    if not num_shown:  # nothing fits: the errors name the separator that is present
        return Dialect(next((s for s in SEPARATORS if all(s in line for line in sample)), " "), "label")
    return best


def _score(sample: list[str], dialect: Dialect, classes: Classes) -> tuple[int, int, int]:
    """The good lines; the lines that have the columns, with legal values or not; the characters of all paths."""
    parser = LineParser(dialect, classes)
    good = columns = plain = ranged = length = 0
    for line in sample:
        try:
            path, *_ = parser.parse(line)
        except Bad as bad:
            columns += bad.columns
        else:
            good, columns, length = good + 1, columns + 1, length + len(path)
            _, *last = path.rsplit(parser.separator, 2)
            bounds = [is_bound(text.strip()) for text in last]
            plain += not (bounds and bounds[-1])
            ranged += len(bounds) == 2 and all(bounds)
    if dialect.form in ("range", "label") and (2 * plain < good or 2 * ranged >= good):
        return 0, columns - good, 0
    return good, columns, length


def _looks_bare(line: str, classes: Classes) -> bool:
    """Whether a line in which no columns were found is a path, rather than a path and a misspelled class."""
    head, *tail = re.split(r"[\s;,](?=[^\s;,]*$)", line, maxsplit=1)
    if not tail:
        return True
    if classes.could_be(tail[0]):
        return False
    if "/" in tail[0] or _SUFFIX.search(tail[0]):
        return True
    return not classes.names and not re.search(r"[\t;,]", line) and not _SUFFIX.search(head)
