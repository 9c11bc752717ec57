"""Functions for the tests of list conversion."""

from __future__ import annotations

from actrec.config import ConvertOptions
from actrec.data.lists.formats import FORMATS, Options
from actrec.tools.lists.convert import convert_lists

NAMES = ("shaking hands", "walk", 'say "hi", loudly')

NASTY = ["a b", "it's", 'say "x"', "a;b", "a,b", "é 动作", "1 2 3", "#c", "x.mp4", "v_x", "-", "{part}", "a\tb", "7"]


def convert(src, dst, *, force=False, **options):
    return convert_lists(src, dst, ConvertOptions(**options), force=force)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def content(path, root):
    """What a csv file says: the sorted rows of each part."""
    found = FORMATS.get("csv").read(path, Options(str(root), NAMES))
    return {part: sorted(rows, key=repr) for part, rows in found.parts.items()}
