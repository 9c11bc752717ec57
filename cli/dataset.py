"""Finds a dataset folder's lists, class names and flip map, and the runs in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from actrec.cli.progress import index_progress
from actrec.data.index import Index, build_index, cache_path
from actrec.data.lists import Video, find_labels, read_flips, read_labels, read_list


@dataclass(frozen=True)
class List:
    """A list with its index."""

    path: Path
    videos: list[Video]
    index: Index


def find_list(data: Path, name: str) -> Path:
    """`train.txt` (or val, test) of a dataset folder, else its `videos_train.txt`.

    Raises:
        FileNotFoundError: it has neither.
    """
    if not data.is_dir():
        raise FileNotFoundError(f"{data}: no such folder; --data takes the folder that holds the lists")
    for candidate in (data / f"{name}.txt", data / f"videos_{name}.txt"):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"{data}: holds no {name}.txt; `actrec extract-frames` makes one out of videos/<class>/, or name a list with "
        f"{'--val-list' if name == 'val' else '--list'}"
    )


def load_list(path: Path, *, workers: int | None, lazy: bool | None = None) -> List:
    """Reads a list and looks at its videos, with a bar. Says how many of them cannot be used.

    Args:
        lazy: as in `build_index`.
    """
    videos = read_list(path)
    bar, progress = index_progress("videos")
    with bar:
        index = build_index(videos, cache=cache_path(path), workers=workers, progress=progress, lazy=lazy)
    if index.broken:
        row, reason = next(iter(index.broken.items()))
        click.echo(
            f"{path}: {len(index.broken)} of {len(videos)} videos cannot be used and are left out; the first: "
            f"{videos[row].path}: {reason}",
            err=True,
        )
    return List(path, videos, index)


def fingerprint_line(fingerprint: dict) -> str:
    """An index's fingerprint, short."""
    contents = fingerprint["contents"]
    return f"list {fingerprint['list'][:12]}, contents {contents[:12] if contents else 'not all looked at'}"


def class_names(path: Path, lists: Sequence[List]) -> list[str]:
    """The names beside a list; numbers up to the largest label where there are none."""
    found = find_labels(path.parent)
    if found is not None:
        return read_labels(found)
    largest = max((label for item in lists for video in item.videos for label in video.labels), default=-1)
    if largest < 0:
        raise ValueError(f"{path}: no video has a label; expected lines such as `folder start end label`")
    return [str(i) for i in range(largest + 1)]


def refuse_other_classes(path: Path, classes: Sequence[str]) -> None:
    """Raises ValueError if names beside a list give its labels another meaning than the net's classes have."""
    found = find_labels(path.parent)
    if found is None:
        return
    for label, (here, there) in enumerate(zip(read_labels(found), classes)):
        if here != there:
            raise ValueError(f"{found}: label {label} is {here!r}, but the net was trained with {there!r}")


def flip_map(path: Path, classes: Sequence[str]) -> tuple[int, ...] | None:
    """`flips.txt` beside a list, None where there is none."""
    flips = path.parent / "flips.txt"
    return read_flips(flips, classes) if flips.exists() else None


def newest_run(data: Path, with_file: str, *, net: str | None = None) -> Path | None:
    """The newest folder of `runs/` that holds the file, or None; of this net, if one is named."""
    names = ["*"] if net is None else [f"*_{net}", f"*_{net}-[0-9]*"]
    found = [path for name in names for path in (data / "runs").glob(f"{name}/{with_file}")]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None
