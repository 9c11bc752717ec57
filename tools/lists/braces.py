"""Finds the shards that `train-{000..127}.tar` names: braces as in bash and WebDataset, and patterns of `glob`."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence

from actrec.data.storage import absolute, is_remote, why_refused
from actrec.data.storage.paths import shown

MOST = 1_000_000  # shards of one pattern
_SEQUENCE = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(-?\d{1,18}))?", re.ASCII)
_LETTERS = re.compile(r"([a-zA-Z])\.\.([a-zA-Z])(?:\.\.(-?\d{1,18}))?", re.ASCII)


def expand_braces(text: str) -> Iterator[str]:
    """Yields the texts to which bash expands a text with braces, in the same order.

    `{a,b}` gives each of the texts, `{000..127}` the numbers with three digits, and `{0..8..2}` and `{a..e}` sequences.
    Braces can be nested. Other braces, such as `{x}`, stay as they are.
    """
    for begin in (i for i, character in enumerate(text) if character == "{"):
        if (end := _closing(text, begin)) is None:
            continue
        body = text[begin + 1 : end]
        parts = _alternatives(body)
        options: Iterator[str] | None = _sequence(body)
        if len(parts) > 1:
            options = itertools.chain.from_iterable(map(expand_braces, parts))
        if options is not None:
            for option in options:
                for rest in expand_braces(text[end + 1 :]):
                    yield f"{text[:begin]}{option}{rest}"
            return
    yield text


def find_shards(patterns: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The paths of the shards that patterns name, each once, in the order of the patterns.

    A file whose name contains braces or `*` is found by its name. Only local paths can contain patterns of `glob`.

    Returns:
        The paths, and (path, reason) of those that do not exist. Whether a URL exists is not checked.

    Raises:
        ValueError: A pattern names more than a million shards, contains a secret, or is a URL with `*`.
    """
    found: dict[str, str] = {}  # by the path in its shortest form
    missing: dict[str, str] = {}
    for pattern in patterns:
        if reason := why_refused(pattern):
            raise ValueError(f"{shown(pattern)}: {reason}")
        if is_remote(pattern) and "*" in pattern.partition("?")[0]:
            raise ValueError(f"{pattern}: * stands for names only in local paths; expected braces in a URL, such as "
                             "train-{000..127}.tar")  # fmt: skip
        texts = [pattern] if os.path.isfile(pattern) else list(itertools.islice(expand_braces(pattern), MOST + 1))
        if len(texts) > MOST:
            raise ValueError(f"{pattern}: more than {MOST:,} shards: expected fewer")
        for text in texts:
            if is_remote(text) or os.path.exists(text):
                paths = [text]
            else:
                paths = sorted(glob.glob(text)) if glob.has_magic(text) else []
            for path in paths:
                found.setdefault(absolute(path), path)
            if not paths:
                missing[text] = "no file has such a name" if glob.has_magic(text) else "no such file"
    return list(found.values()), list(missing.items())


def _closing(text: str, begin: int) -> int | None:
    """The place of the brace that closes the one at `begin`."""
    depth = 0
    for i in range(begin, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if not depth:
            return i
    return None


def _alternatives(body: str) -> list[str]:
    """The texts between the commas, except commas in inner braces."""
    parts, depth = [""], 0
    for character in body:
        depth += (character == "{") - (character == "}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _sequence(body: str) -> Iterator[str] | None:
    """The texts of `000..127` or `a..e`; None if the text is not a sequence."""
    if match := _SEQUENCE.fullmatch(body):
        is_padded = any(re.match(r"-?0\d", text) for text in match.group(1, 2))
        width = max(map(len, match.group(1, 2))) if is_padded else 0
        return (f"{number:0{width}d}" for number in _range(int(match[1]), int(match[2]), match[3]))
    if match := _LETTERS.fullmatch(body):
        return map(chr, _range(ord(match[1]), ord(match[2]), match[3]))
    return None


def _range(first: int, last: int, step: str | None) -> range:
    size = abs(int(step or 1)) or 1
    return range(first, last + 1, size) if first <= last else range(first, last - 1, -size)
