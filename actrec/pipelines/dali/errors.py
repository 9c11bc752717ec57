"""What DALI's errors mean.

DALI raises a RuntimeError both for a file that it cannot decode and for too little memory.
"""

from __future__ import annotations

import re

import torch

# How DALI, CUDA, NVDEC and nvJPEG say it. A damaged file gives none of these messages.
_MEMORY = re.compile(
    r"bad_alloc|out.of.memory|(can't|cannot|failed to) allocate|allocation failed|allocator.fail|MemoryAllocation", re.I
)
_HOST = re.compile(r"bad_alloc|on host|cannot allocate memory", re.I)


class DecodeError(RuntimeError):
    """DALI failed on samples that ran together. It does not say which one is the cause."""


def error_of(error: RuntimeError, device: torch.device) -> RuntimeError | MemoryError:
    """What an error of a DALI graph that ran on `device` means.

    Returns:
        torch.OutOfMemoryError: the GPU's memory is full; MemoryError: the computer's memory is full; DecodeError:
        anything else.
    """
    reason = reason_of(error)
    if not _MEMORY.search(reason):
        return DecodeError(f"DALI: {reason}")
    if device.type == "cuda" and not _HOST.search(reason):
        return torch.OutOfMemoryError(f"DALI: {reason}")
    return MemoryError(f"DALI: {reason}")


def reason_of(error: RuntimeError) -> str:
    """DALI's message in one line, without the definition of the graph and the state of the pipeline."""
    text = str(error).rpartition("encountered:")[2].partition("Current pipeline object")[0]
    return " ".join(text.split())
