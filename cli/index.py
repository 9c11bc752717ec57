"""`actrec index`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from actrec.cli.options import worker_options


@click.command()
@click.argument("lists", metavar="LIST...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Decode every frame of every video, and quarantine what is broken.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed as JSON.")
@worker_options
def command(lists: tuple[Path, ...], verify: bool, json_path: Path | None, workers) -> int:
    """Look at every video of a LIST and keep what is found beside it, as LIST.index.npy.

    Every command does this by itself where the index is missing or a file has changed. Exit code 1 if some videos
    cannot be used; each is named with the reason. With --verify these are in LIST.quarantine.csv, and are left out
    by every command until the file changes.
    """
    from actrec.files import write_json, writing
    from actrec.tools.lists import index as index_lists

    _check(json_path)
    said = {}
    try:
        for path in lists:
            index = _index(path, workers, verify)
            for row, reason in index.broken.items():
                click.echo(f"{index.path(row)}: {reason}", err=True)
            found = index_lists.summary(index)
            said[str(path)] = asdict(found) | {"fingerprint": index.fingerprint()}
            _say(path, found, said[str(path)]["fingerprint"])
            if verify:
                index_lists.write_quarantine(index, path)
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on from here")
        return 130
    if json_path is not None:
        with writing(json_path):
            write_json(json_path, said)
    return 1 if any(found["broken"] for found in said.values()) else 0


def _check(json_path: Path | None) -> None:
    """Raises at once what would otherwise be raised after all files have been probed."""
    if json_path is not None and not json_path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{json_path}: there is no folder {json_path.parent}")


def _index(path: Path, workers, verify: bool):
    from actrec.cli.progress import Bar
    from actrec.data.index import build_index, cache_path
    from actrec.data.lists import read_list
    from actrec.tools.lists.index import probe_all, verify_all

    index = build_index(read_list(path), cache=cache_path(path), lazy=True)
    with Bar("videos") as bar:
        probe_all(index, workers, bar.to)
    if verify:
        with Bar("videos verified") as bar:
            verify_all(index, workers, bar.to)
    index.find_broken()
    return index


def _say(path: Path, found, fingerprint: dict) -> None:
    from actrec.cli.dataset import fingerprint_line

    click.echo(f"{path}: {found.videos:,} videos, {found.broken:,} broken, {found.frames:,} frames")
    if not found.frames:
        return
    rates = _first(found.rates)
    lines = {
        "size": f"{_first(found.sizes)}; short side {_range(found.short_side)}",
        "length": f"{_range(found.length)} frames",
        "duration": f"{_range(found.seconds)} seconds at {rates} frames a second" if found.seconds else "",
        "codec": _first(found.codecs),
        "GOP": f"{_range(found.gop)} frames for each keyframe" if found.gop else "",
        "color": _first(found.colors),
        "rotation": _first(found.rotations),
        "data": fingerprint_line(fingerprint),
    }
    for name, text in lines.items():
        if text:
            click.echo(f"  {name:<9} {text}")


def _first(counts: dict[str, int]) -> str:
    """The three commonest, and how many others there are."""
    shown = [name if len(counts) == 1 else f"{name} ({count:,})" for name, count in list(counts.items())[:3]]
    return ", ".join(shown) + (f" and {len(counts) - 3} others" if len(counts) > 3 else "")


def _range(spread: tuple[float, float, float]) -> str:
    low, median, high = (f"{value:.4g}" for value in spread)
    return low if low == high else f"{low} to {high}, median {median}"
