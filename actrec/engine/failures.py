"""Error messages: errors of torch that a user can cause, and videos that cannot be used."""

from __future__ import annotations

import torch

from actrec.system import is_out_of_memory
from actrec.words import printable

_MEMORY = "a smaller --batch-size (with --accumulate), --size or --frames needs less"


def explain(error: BaseException) -> str | None:
    """One line for the user; None if the error is not one of these.

    A full GPU and NCCL's errors have types of their own. The CPU's allocator and gloo raise a plain RuntimeError, which
    only its message tells apart.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return f"the GPU's memory is full: {_MEMORY}"
    if is_out_of_memory(error):
        return f"the memory is full: {_MEMORY}"
    lost = isinstance(error, torch.distributed.DistError) or "Connection closed by peer" in str(error)
    if isinstance(error, RuntimeError) and lost:
        return "another process has ended: its own error message says why"
    return None


def with_name(video: str, reason: str) -> str:
    """Why a video cannot be used, in one line, with its name. The errors of files begin with their path already."""
    start = reason.partition(": ")[0]
    return printable(reason if start == video or start.endswith(f"/{video}") else f"{video}: {reason}")
