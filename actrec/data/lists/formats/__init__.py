"""List formats of actrec and of other tools, and guessing the format of a file.

The other modules of this package register their formats in `FORMATS`. To add a format, write one module.
"""

from __future__ import annotations

import re
from pathlib import Path

from actrec.data.lists.dialect import SAMPLE
from actrec.data.lists.foreign import NUMBERS, likely_table
from actrec.data.lists.formats.annotations import FORMATS, Annotations, Entry, Format, Options, register
from actrec.data.lists.splits import PART_NAMES
from actrec.files import read_text, show

__all__ = ["FORMATS", "Annotations", "Entry", "Format", "Options", "guess_format", "guess_part", "register"]


def guess_format(path: Path) -> str:
    """Guesses the format of a file from its content.

    Raises:
        ValueError: The file has none of the formats, or several fit; the message names these.
        OSError: The file cannot be read.
    """
    content = read_text(path)
    if content.lstrip()[:1] in ("{", "["):
        return _guess_json(path, content)
    lines = [line for line in content.splitlines() if line.strip()]
    table = likely_table(lines)
    if table == "":
        raise ValueError(f"{path}: PySlowFast's lists of frames (Charades, AVA) are not read: expected `path label`")
    if table is not None:
        return table
    first = lines[0] if lines else ""
    if path.suffix == ".csv" and len(re.split("[,;\t ]", first)) > 1 and not re.search("[./\\d]", first):  # no path
        raise ValueError(f"{path}: a csv file with the header {show(first)}: expected a column 'path', or those "
                         "of Kinetics; else name its format with --from")  # fmt: skip
    return _guess_text(path, lines[:: -(-len(lines) // SAMPLE) or 1])


def _guess_json(path: Path, content: str) -> str:
    if '"database"' in content:
        return "activitynet" if re.search(r'"taxonomy"|"annotations"\s*:\s*\[', content) else "hara"
    raise ValueError(f'{path}: JSON without "database": expected a file of Hara\'s tools or of ActivityNet')


def _guess_text(path: Path, lines: list[str]) -> str:
    """Formats that mean the same as actrec's are read by its reader. Some rows of mmaction2 would be misread by it."""
    found = [match for line in lines if (match := NUMBERS.search(line))]
    backward = next((match for match in found if int(match[1]) > int(match[2])), None)
    if backward is None or len(found) < len(lines):
        return "actrec"
    labels = all(match[3] for match in found)
    names = "mmaction2-clips, mmaction2-frames" if labels else "mmaction2-frames, mmaction2-video, actrec"
    example = show(backward.string)
    raise ValueError(f"{path}: rows such as {example} can be read in several ways: expected --from and one of {names}")


def guess_part(path: Path) -> str:
    """`train`, `val` or `test` if the name of the file says so (`kinetics-400_val.csv`); else ""."""
    words = re.split(r"[^a-z]+", path.stem.lower())
    parts = {PART_NAMES[word] for word in words if word in PART_NAMES}
    return parts.pop() if len(parts) == 1 else ""
