"""Convert the lists of a real dataset to every format of `actrec lists convert` and back, and report what is kept.

    python benchmarks/list_formats.py ../shared/videos/ut_interaction --to docs/numbers/real_videos_epyc-2core_202611.md

The dataset is a folder with train.txt, val.txt, classes.txt, videos/ and index.csv, which contains the number of frames
that decode for each video. The folder is not changed. A section is appended to the page that --to names.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import re
import subprocess
import tempfile
from pathlib import Path

import actrec
from actrec.config import ConvertOptions
from actrec.data.lists.formats import FORMATS, Format
from actrec.data.lists.labels import find_labels, read_labels
from actrec.tools.lists.convert import convert_lists

PARTS = ("train", "val")
_COLUMNS = (
    "format", "files", "rows", "rows unchanged", "class names kept", "ranges after the return", "rows past the end",
    "messages of the command",
)  # fmt: skip
_TEXT = """\
The lists of UT-Interaction are converted to each format and back. They have {train} training and {val}
validation rows of the form `path label`, and {classes} classes. The rows have no ranges. Formats that need
ranges get them from the videos: the number of frames that the packets of each video announce.

- *Rows unchanged*: rows that come back with the same path, label, part and position in the list.
- *Ranges after the return*: the kind of range that the rows have when they come back.
- *Rows past the end*: rows that end after the last frame that decodes, and by how many frames. In
  training and evaluation the last frame replaces the frames past the end.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="Page that gets the section.")
    args = parser.parse_args()
    source = args.dataset.resolve()
    with tempfile.TemporaryDirectory() as work:
        rows = [_row(source, form, Path(work) / form.name) for form in map(FORMATS.get, FORMATS)]
    section = _section(source, rows)
    with open(args.to, "a", encoding="utf-8") as file:
        file.write(section)
    print(section)


def _row(source: Path, form: Format, work: Path) -> list[str]:
    """The cells of a format: lists, rows, ranges, messages of the conversion, and whether the same rows came back."""
    root = source / "videos"
    made = convert_lists(source, work / "there", ConvertOptions(target=form.name, target_root=root))
    back = convert_lists(
        work / "there",
        work / "back",
        ConvertOptions(source=form.name, root=root, target="actrec", target_root=root),
    )
    wanted = [actrec.read_list(source / f"{part}.txt") for part in PARTS]
    found = [actrec.read_list(work / "back" / f"{part}.txt", root=root) for part in PARTS]
    pairs = [pair for there, here in zip(wanted, found, strict=True) for pair in zip(there, here, strict=True)]
    same = sum((a.path, a.labels) == (b.path, b.labels) for a, b in pairs)
    names = "yes" if _names(work / "back") == _names(source) else "no"
    files = ", ".join(path.name for path in made.files)
    videos = [here for _, here in pairs]
    said = "; ".join(dict.fromkeys(re.sub(r"/\S*/", "…/", note) for note in (*made.notes, *back.notes))) or "nothing"
    return [
        f"`{form.name}`",
        files,
        str(sum(made.rows.values())),
        f"{same} of {len(pairs)}",
        names,
        _ranges(videos),
        _past(videos, source),
        said,
    ]


def _names(folder: Path) -> list[str]:
    return read_labels(find_labels(folder))


def _ranges(videos: list[actrec.Video]) -> str:
    """What kind of range the converted rows have; the rows of the dataset have none."""
    if all(video.start is None for video in videos):
        return "none"
    return "seconds" if any(isinstance(video.stop, float) for video in videos) else "frames"


def _past(videos: list[actrec.Video], source: Path) -> str:
    """How many rows end after the last frame that decodes, and by how many frames."""
    if _ranges(videos) != "frames":
        return "–"
    with open(source / "index.csv", newline="", encoding="utf-8") as file:
        frames = {str(source / row["path"]): int(row["frames_decoded"]) for row in csv.DictReader(file)}
    past = [more for video in videos if (more := video.stop - frames[video.path]) > 0]
    return f"{len(past)}, by {min(past)} to {max(past)}" if past else "0"


def _section(source: Path, rows: list[list[str]]) -> str:
    shown = subprocess.run(
        ["git", "-C", str(Path(actrec.__file__).parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    train, val = (len(actrec.read_list(source / f"{part}.txt")) for part in PARTS)
    lines = [
        "",
        "## Real lists in every format",
        "",
        f"{datetime.date.today()}; commit {shown.stdout.strip()}.",
        "",
        "    python benchmarks/list_formats.py ../shared/videos/ut_interaction --to docs/numbers/…",
        "",
        _TEXT.format(train=train, val=val, classes=len(_names(source))),
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
