"""Words of the messages."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence


def counted(number: int, noun: str) -> str:
    """`1 video`, `2 videos`, `2 classes`, `2 batches`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith(('s', 'x', 'sh', 'tch')) else 's'}"


def none_usable(number: int, noun: str = "video", where: str = "") -> str:
    """The beginning of an error, to which the first name and its reason are added.

    Args:
        number: How many there are, of which none can be used.
        where: Words after the noun, such as ` of videos/`.
    """
    if number == 1:
        return f"the only {noun}{where} cannot be used: "
    return f"none of the {counted(number, noun)}{where} can be used; the first: "


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first names, with `, ...` if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def printable(text: str) -> str:
    """A name for the terminal, on one line: control and invisible characters, line breaks and bytes that are not UTF-8
    are escaped.

    Otherwise the name of a file could add lines to the output, or stop it where standard output accepts UTF-8 only.
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def printable_lines(text: str) -> str:
    """A message for the terminal: as `printable`, but it may have several lines."""
    return "\n".join(map(printable, text.split("\n")))


_UNPRINTABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)


def column_width(names: Iterable[str]) -> int:
    """The width of a column of names in the terminal, for `padded`: that of the widest one, unless it is very long."""
    return min(max(map(display_width, names), default=0), 40)


def padded(name: str, width: int) -> str:
    """A name for the terminal, with blanks up to this width. Chinese characters, for example, are two columns wide."""
    return printable(name) + " " * (width - display_width(name))


def display_width(text: str) -> int:
    """How many columns of a terminal a text takes, as `printable` shows it."""
    text = printable(text)
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(one) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(one) in "FW")
        for one in text
    )


def text_of(error: Exception) -> str:
    """The message of an error, for the user. It names a file once."""
    if isinstance(error, OSError) and error.strerror:
        name = "" if error.filename is None else os.fsdecode(error.filename)
        return f"{name}: {error.strerror}" if name and not error.strerror.startswith(name) else error.strerror
    return str(error)


def decimal(number: float) -> str:
    """A number with up to two decimals and without an exponent: `4`, `0.03`, `1234.5`."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return text if text != "-0" else "0"
