"""Classes: their names, how the text of a list becomes labels, and the class of a mirrored video."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from actrec.files import Problems, atomic_write, read_lines, show, stripped
from actrec.registry import did_you_mean

FILES = ("labels.txt", "classes.txt")
NONE = "-"  # in place of a label: the video has none
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d*)?", re.ASCII)  # 3.0 is 3, as in IBM's action-recognition-pytorch


class Bad(Exception):
    """A value is wrong.

    Args:
        explain: Returns the message: what is wrong, the value, and what would be right. It is called only if the
            message is shown.
        columns: The line has the expected columns, and one of their values is illegal.
    """

    def __init__(self, explain: Callable[[], str], *, columns: bool = True):
        self.explain = explain
        self.columns = columns


class Classes:
    """Turns the text of a label column into a label.

    The text is a number (what reads as a number is always one, including `3.0`) or the name of a class.

    Args:
        names: The class names, in the order of their labels. If empty, every number is legal and no name is.

    Raises:
        ValueError: A name occurs twice.
    """

    def __init__(self, names: Sequence[str] = ()):
        self.names = tuple(names)
        self._index = {name: label for label, name in enumerate(self.names)}
        if len(self._index) < len(self.names):
            twice = next(name for i, name in enumerate(self.names) if name in self.names[:i])
            raise ValueError(f"class name {twice!r} occurs twice: expected every name once")

    def __contains__(self, text: str) -> bool:
        """Whether `text` looks like a label, legal or not."""
        return text in self._index or _NUMBER.fullmatch(text) is not None

    def could_be(self, text: str) -> bool:
        """Whether `text` looks like a label, or is the mark of a video without one."""
        return text == NONE or text in self

    def labels(self, texts: Iterable[str]) -> tuple[int, ...]:
        """The labels of a row; no label for a single `-`. Raises Bad as `label`."""
        texts = tuple(texts)
        if texts == (NONE,) and NONE not in self:
            return ()
        return tuple(map(self.label, texts))

    def label(self, text: str) -> int:
        """The label of one text. Raises Bad for an unknown name and for a number that is not a label."""
        number = _NUMBER.fullmatch(text)
        if not number:
            if text not in self._index:
                raise Bad(lambda: self.unknown(text), columns=False)
            return self._index[text]
        whole, _, fraction = text.partition(".")
        if fraction.strip("0"):
            raise Bad(lambda: f"label {text}: expected a whole number")
        if (label := int(whole)) < 0:
            raise Bad(lambda: f"label {text}: expected 0 or more")
        if self.names and label >= len(self.names):
            raise Bad(
                lambda: (
                    f"label {text}: expected 0 to {len(self.names) - 1}, as there are {len(self.names)} classes"
                    + (", and labels count from 0" if label == len(self.names) else "")
                )
            )
        return label

    def unknown(self, text: str) -> str:
        """The message for a name that is not a class."""
        if not self.names:
            return f"class name {show(text)}: expected a number, as there is no {' or '.join(FILES)} to look it up in"
        return f"unknown class {show(text)}{did_you_mean(text, self.names)}"


def find_labels(folder: str | os.PathLike[str]) -> Path | None:
    """The file of class names in a folder: `labels.txt`, else `classes.txt`, else None."""
    return next((path for name in FILES if (path := Path(folder, name)).is_file()), None)


def read_labels(path: str | os.PathLike[str]) -> list[str]:
    """Reads class names, one per line, in the order of their labels. Blank lines are skipped.

    Raises:
        FileNotFoundError: There is no such file.
        ListError: A name occurs twice, there is no name, or the file is not UTF-8 text.
    """
    lines, problems = read_lines(path)
    return _names(lines, problems)


def write_labels(path: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Writes class names, one per line. The file is written atomically.

    Raises:
        ValueError: A name would not read back: it is empty, occurs twice, or has outer blanks or a line break.
        OSError: The file cannot be written.
    """
    for label, name in enumerate(names):
        if reason := why_no_class_name(name):
            raise ValueError(f"class name {name!r} of label {label}: expected text on one line; it {reason}")
    _names(list(names), Problems(path))
    with atomic_write(path) as file:
        file.write("".join(f"{name}\n" for name in names))


def why_no_class_name(name: str) -> str | None:
    """The reason why `write_labels` cannot write a class name; None if it can."""
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with a blank"
    if name != stripped(name):
        return "begins or ends with an invisible character, such as a byte order mark"
    if any(character in name for character in "\n\0"):
        return "contains a line break or a zero byte"
    return None if _encodable(name) else "is not UTF-8"


def read_flips(path: str | os.PathLike[str], labels: Sequence[str]) -> tuple[int, ...]:
    """Reads the flip map: for each class, the label that its videos have after mirroring.

    A line `a b` says that a mirrored video of class a is a video of class b, and vice versa. A line `a -` says that a
    video of class a must not be mirrored; its entry is -1. Every other class is its own mirror image. a and b are names
    or numbers, separated by a tab, `;`, a comma or blanks. Blank lines and comments (# and a blank) are skipped.

    Args:
        labels: The class names, in the order of their labels.

    Returns:
        One label per class.

    Raises:
        FileNotFoundError: There is no such file.
        ListError: Names every bad line: an unknown class, a line with two readings, a class with two mirror images.
    """
    lines, problems = read_lines(path)
    classes = Classes(labels)
    mirror: dict[int, tuple[int, int]] = {}  # by class: its mirror image, and the line that says so
    for number, line in enumerate(lines, 1):
        if not line or _is_comment(line, classes):
            continue
        try:
            a, b = _pair(line, classes)
            for one, other in ((a, b), (b, a)):
                _add_mirror(mirror, one, other, number, classes)
        except Bad as bad:
            problems.add(number, bad.explain)
    problems.raise_any()
    return tuple(mirror.get(label, (label, 0))[0] for label in range(len(labels)))


def _is_comment(line: str, classes: Classes) -> bool:
    """Whether a line of flips.txt is a comment: not if it names classes that begin with # and a blank."""
    return line[:2] in ("#", "# ", "#\t") and not any(_is_pair(a, b, classes) for a, b in _cuts(line, "\t;"))


def _names(lines: list[str], problems: Problems) -> list[str]:
    first: dict[str, int] = {}
    for number, name in enumerate(lines, 1):
        if not name:
            continue
        if name in first:
            problems.add(number, partial(_twice, name, first[name]))
        first.setdefault(name, number)
    if not first and not len(problems):
        problems.add(1, "there is no class name: expected one on each line")
    problems.raise_any()
    return list(first)


def _twice(name: str, line: int) -> str:
    return f"class name {show(name)} is also on line {line}: expected it once"


def _add_mirror(mirror: dict[int, tuple[int, int]], one: int, other: int, line: int, classes: Classes) -> None:
    if one < 0:
        return
    known, where = mirror.setdefault(one, (other, line))
    if known != other:
        a, b, c = (repr(classes.names[label]) if label >= 0 else "-" for label in (one, known, other))
        raise Bad(lambda: f"class {a} has the mirror image {b} on line {where} and {c} here: expected one")


def _pair(line: str, classes: Classes) -> tuple[int, int]:
    """The two labels of a line of flips.txt; -1 for `-`. Every place to cut is tried, because names may hold blanks."""
    strong = [(a, b) for a, b in _cuts(line, "\t;")]
    cuts = [(a, b) for a, b in strong if _is_pair(a, b, classes)]
    cuts = cuts or [(a, b) for a, b in _cuts(line, " ,") if _is_pair(a, b, classes)]
    if not cuts:
        raise Bad(lambda: _no_pair(line, strong or list(_cuts(line, " ,")), classes))
    found = {(classes.label(a), -1 if b == "-" and b not in classes else classes.label(b)) for a, b in cuts}
    if len(found) > 1:
        raise Bad(
            lambda: (
                f"{show(line)} can be read as {' or '.join(f'{a!r}, {b!r}' for a, b in cuts)}: "
                "put a tab or ; between the classes"
            )
        )
    return found.pop()


def _cuts(line: str, separators: str) -> Iterator[tuple[str, str]]:
    for i, character in enumerate(line):
        if character in separators:
            yield line[:i].strip(), line[i + 1 :].strip()


def _is_pair(a: str, b: str, classes: Classes) -> bool:
    return a in classes and (b == "-" or b in classes)


def _no_pair(line: str, cuts: list[tuple[str, str]], classes: Classes) -> str:
    for a, b in cuts:  # if one half is a class, the other half is what is wrong
        if a in classes or b in classes or b == "-":
            return classes.unknown(b if a in classes else a)
    if len(cuts) == 1:
        return classes.unknown(cuts[0][0])
    return f"{show(line)}: expected two class names, or a class name and -, with a tab or ; between them"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
