"""`actrec index`"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import finish, json_option, note, refuse_overlap, resumable, tell
from actrec.cli.options import FILE, Command, config_options, limit_options, storage_options, worker_options
from actrec.config import Clip
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.tools.lists.index import Summary
    from actrec.tools.make.jobs import Workers


@click.command(
    cls=Command,
    examples=[
        "actrec index train.txt val.txt",
        "actrec index train.txt --verify",
    ],
)
@click.argument("lists", metavar="LIST...", nargs=-1, required=True, type=FILE)
@click.option("--verify", is_flag=True, help="Decode every frame of every video, and quarantine broken videos.")
@click.option("--from", "original", type=FILE, metavar="LIST",
              help="List of the same videos in another place, such as before an upload. Their records are copied "
              "from its index, so the videos are not fetched.")  # fmt: skip
@config_options(Clip, only=("template",))
@json_option
@worker_options
@limit_options
@storage_options
def command(
    lists: tuple[Path, ...],
    verify: bool,
    original: Path | None,
    clip: Clip,
    json_path: Path | None,
    workers: Workers,
) -> int:
    """Probe every video of a LIST and store the result next to it, as LIST.index.npy.

    Other commands do this by themselves for new and changed files. Videos that cannot be used are printed with the
    reason, and the exit code is 1. With --verify, they are also listed in LIST.quarantine.csv, and all commands leave
    them out until their files change.
    """
    from actrec.cli.progress import Bar
    from actrec.data.index import cache_path, images_of, quarantine_path
    from actrec.data.lists import advice
    from actrec.files import check_writable
    from actrec.tools.lists import index as index_lists

    result, unsaved = {}, False
    refuse_overlap(
        {f"the index of {path}": cache_path(path, flow=False) for path in lists}
        | {f"the quarantine of {path}": quarantine_path(path) for path in lists},
    )
    with resumable():
        for path in lists:
            if verify:  # which may take hours
                check_writable(quarantine_path(path))
            with Bar("videos") as bar:
                index = index_lists.probe_list(
                    path, workers, bar.to, template=clip.template, original=original, log=tell
                )
            if verify:
                with Bar("videos verified") as bar:
                    index_lists.verify_all(index, workers, bar.to)
            for problem in index_lists.label_problems(path):
                note(f"WARNING: {problem}")
            if damage := index.why_probed_again:
                note(damage)
            found = index_lists.summary(index)
            for row, reason in index.unusable.items():
                note(f"{index.path(row)}: {reason}")
            for path_of_video, damage in index_lists.damaged(index).items():
                note(f"{path_of_video}: {damage}")
            fingerprint = index.fingerprint()
            result[str(path)] = asdict(found) | {"fingerprint": fingerprint}
            for line in _lines(path, found, fingerprint, images_of([index])):
                tell(line)
            if verify:
                index_lists.write_quarantine(index, path)
            if index.why_unsaved:
                note(f"{index.why_unsaved}: the next command probes the videos again")
                unsaved = True
            if found.broken + found.unreachable == found.videos and (looks := advice(path, "videos")):
                note(f"{path}: {looks}")
    failed = unsaved or any(found["broken"] or found["unreachable"] for found in result.values())
    return finish(json_path=json_path, result=result, failed=failed)


def _lines(path: Path, found: Summary, fingerprint: dict, images: dict[str, str]) -> Iterator[str]:
    from actrec.data.index import fingerprint_line

    unreachable = f", {found.unreachable:,} unreachable" if found.unreachable else ""
    frames = counted(found.frames, "frame")
    yield f"{path}: {counted(found.videos, 'video')}, {found.broken:,} broken{unreachable}, {frames}"
    if not found.frames:
        return
    rates = _first(found.rates)
    lines = {
        "size": f"{_first(found.sizes)}; short side {_range(found.short_side)}",
        "length": f"{_range(found.length)} frames",
        "duration": f"{_range(found.seconds)} seconds at {rates} frames per second" if found.seconds else "",
        "times": _times(found),
        "codec": _first(found.codecs),
        "GOP": f"{_range(found.gop)} frames per keyframe" if found.gop else "",
        "color": _first(found.colors),
        "rotation": _first(found.rotations),
        "depth": _first(found.depths),
        "damaged": f"some frames of {counted(found.damaged, 'video')}" if found.damaged else "",
        "cut off": f"the end of {counted(found.torn, 'video')}" if found.torn else "",
        "ranges": f"{counted(found.cut, 'row')} cut at the end of the video" if found.cut else "",
        **images,
        "comments": counted(found.comments, "line") if found.comments else "",
        "paths": f"{found.respelled:,} read in the spelling that exists" if found.respelled else "",
    }
    yield from (f"  {name:<9} {text}" for name, text in lines.items() if text)
    yield f"  fingerprint: {fingerprint_line(fingerprint)}"


def _times(found: Summary) -> str:
    from actrec.data.times import UNSTAMPED

    variable = f"{counted(found.variable, 'video')} with a variable frame rate" if found.variable else ""
    unstamped = f"{counted(found.unstamped, 'video')} {UNSTAMPED}" if found.unstamped else ""
    return "; ".join(filter(None, (variable, unstamped)))


def _first(counts: dict[str, int]) -> str:
    """The three most frequent values, and how many others there are."""
    shown = [name if len(counts) == 1 else f"{name} ({count:,})" for name, count in list(counts.items())[:3]]
    return ", ".join(shown) + (f" and {counted(len(counts) - 3, 'other')}" if len(counts) > 3 else "")


def _range(spread: tuple[float, float, float] | None) -> str:
    assert spread is not None, "some videos have frames"
    low, median, high = (f"{value:.4g}" for value in spread)
    return low if low == high else f"{low} to {high}, median {median}"
