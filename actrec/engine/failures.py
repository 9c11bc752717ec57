"""Error messages: errors of torch that a user can cause, and videos that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable

from actrec.system import is_out_of_memory
from actrec.words import counted, printable

_RANGE = re.compile(r"( -?[\d.]+s?--?[\d.]+s?)?(#\d+)?$")  # at the end of a row's id, see `Video`
_MEMORY = "a smaller --batch-size (with --accumulate), --size or --frames needs less"


def explain(error: BaseException) -> str | None:
    """One line for the user; None if the error is not one of these.

    A full GPU and NCCL's errors have types of their own. The CPU's allocator and gloo raise a plain RuntimeError, which
    only its message tells apart.
    """
    import torch  # here, because commands that need no torch name failures too

    if isinstance(error, torch.OutOfMemoryError):
        return f"the GPU's memory is full: {_MEMORY}"
    if is_out_of_memory(error):
        return f"the memory is full: {_MEMORY}"
    lost = isinstance(error, torch.distributed.DistError) or "Connection closed by peer" in str(error)
    if isinstance(error, RuntimeError) and lost:
        return "another process has ended: its own error message says why"
    return None


def skipped_lines(
    where: str, num_videos: int, skipped: Iterable[tuple[str, str]], *, before: int = 0, named: int = 10
) -> list[str]:
    """How many videos of a list are skipped, and which: `34 videos, 30 skipped:`, up to ten of them, `and 20 more`.

    Args:
        where: The start of the first line.
        num_videos: Rows of the list.
        skipped: The name and the reason of each row that is skipped.
        before: How many others were skipped and named before.
        named: How many are named. Several rows with the same name and reason are named once.
    """
    lines = [with_name(*each) for each in skipped]
    shown = list(dict.fromkeys(lines))[:named]
    others = len(lines) - sum(line in shown for line in lines)
    head = f"{where}: {counted(num_videos, 'video')}, {before + len(lines):,} skipped"
    head += f", {len(lines):,} of them new" if before else ""
    more = [f"  and {others:,} more"] if others and shown else []
    return [head + (":" if shown else ""), *(f"  {line}" for line in shown), *more]


def with_name(video: str, reason: str) -> str:
    """Why a video cannot be used, in one line, with its name. The errors of files begin with their path already.

    Args:
        video: The id of the row, with its range.
        reason: The error, which may begin with the path of the video or of an image in its folder.
    """
    path, _, rest = reason.partition(": ")
    for name in (video, _RANGE.sub("", video)):
        if path == name or path.endswith(f"/{name}"):
            return printable(f"{path}{video[len(name) :]}: {rest}")
        if f"/{name}/" in f"/{path}":
            return printable(reason)
    return printable(f"{video}: {reason}")
