"""Paths of lists that another system or editor spelled in its own way, so that no file has exactly this name."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Callable, Iterator

from actrec.data.storage.paths import is_url, split_member

_ONE_SLASH = re.compile("(?:^|/)(s3|gs|gcs|https?):/[^/]")
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_ODD_BLANK = re.compile(r"[^\S ]")
_OTHER_ARCHIVE = re.compile(r"\.(zip|7z|rar)::", re.IGNORECASE)
_DRIVE = re.compile(r"(^|/)[A-Za-z]:[\\/]")


def existing_spelling(path: str, exists: Callable[[str], bool]) -> str | None:
    """The spelling under which a path of a list exists, if it does not exist as it is written.

    Backslashes become slashes, special blanks (such as U+00A0) plain ones, invisible characters are removed, and
    accented letters are composed or decomposed (macOS stores them decomposed).

    Args:
        exists: Whether there is a file or folder of a path as a list has it.

    Returns:
        The other spelling; None if the path exists, or has no other spelling that does.
    """
    if (path.isascii() and "\\" not in path) or is_url(path) or exists(path):
        return None
    return next(filter(exists, _others(path)), None)


def _others(path: str) -> Iterator[str]:
    plain = _INVISIBLE.sub("", _ODD_BLANK.sub(" ", path))
    texts = dict.fromkeys((path, path.replace("\\", "/"), plain, plain.replace("\\", "/")))
    for form, text in itertools.product((None, "NFC", "NFD"), texts):
        other = text if form is None else unicodedata.normalize(form, text)
        if other != path:
            yield other


def why_missing(path: str, said: str = "") -> str:
    """The reason why a file of a list is not found, with what is unusual in its path.

    Args:
        said: the words of the error.
    """
    other = "only members of tar archives can be read" if _OTHER_ARCHIVE.search(path) else ""
    if is_url(path):
        if split_member(path)[1] is not None:
            return said.replace("object", "archive") or "no such archive, or no such member in it"
        if said.startswith("no such bucket"):
            return said
        if not other and "." not in path.rpartition("/")[2]:
            other = "frame folders are read from the file system only"
        return f"no such object ({other})" if other else "no such object"
    archive, member = split_member(path)
    if member is not None and os.path.exists(archive):
        return f"no such member of {archive}"
    hint = other
    if _DRIVE.search(path):
        hint = "the path is one of Windows: expected a path of this system"
    elif "\\" in path:
        hint = "the path contains backslashes: expected slashes between folders"
    elif found := _INVISIBLE.search(path):
        hint = f"the path contains the invisible character U+{ord(found[0]):04X}"
    elif found := _ODD_BLANK.search(path):
        hint = f"the path contains the special blank U+{ord(found[0]):04X}"
    elif found := _ONE_SLASH.search(path):
        hint = f"a URL begins with {found[1]}://"
    elif "/~" in path or path.startswith("~"):
        hint = "`~` has no meaning in a list: expected the whole path"
    elif path.rpartition("/")[2].endswith(('"', "'")):
        hint = "nothing is quoted in a list: expected the path without quotation marks"
    return f"no such file or folder ({hint})" if hint else "no such file or folder"
