"""The device and the precision of a net."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from actrec import nets
from actrec.config import OptionError
from actrec.words import counted


def choose_device(device: str) -> str:
    """Resolves "auto" to "cuda" if torch finds a GPU, else to "cpu".

    Raises:
        OptionError: there is no such device, or torch finds no GPU for "cuda" or "cuda:N".
    """
    found = torch.cuda.is_available()
    if device != "auto" and (device.partition(":")[0] not in ("cpu", "cuda") or not _exists(device)):
        raise OptionError(f"`device` {device!r}: expected cpu, cuda, cuda:N or auto")
    if device.startswith("cuda") and not found:
        raise OptionError(f"`device` {device}: torch finds no GPU; expected cpu or auto")
    return ("cuda" if found else "cpu") if device == "auto" else device


def name_of_device(device: torch.device) -> str:
    """The name of a GPU, or `CPU` with the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU with {counted(torch.get_num_threads(), 'thread')}"


def _exists(device: str) -> bool:
    try:
        torch.device(device)
    except RuntimeError:
        return False
    return True


def choose_precision(precision: str, device: torch.device) -> str:
    """Resolves "auto" to bfloat16 if the hardware multiplies in it, else to float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def autocast(device_type: str, precision: str) -> contextlib.AbstractContextManager:
    """torch's autocast for bfloat16 and float16; a context that does nothing for float32 and float64."""
    if precision in ("float32", "float64"):
        return contextlib.nullcontext()
    return torch.autocast(device_type, dtype=getattr(torch, precision))


def move(net: Any, device: torch.device, *, channels_last: bool) -> Any:
    """The net on a device, its weights in the memory format that `channels_last` chooses."""
    return net.to(device, memory_format=memory_format(net, channels_last))


def memory_format(net: nets.Backbone, channels_last: bool) -> torch.memory_format:
    """The memory format for the weights of a net."""
    return net.channels_last if channels_last else torch.contiguous_format


def choose_flow(device: str, log: Callable[[str], None]) -> tuple[Callable | None, str]:
    """What computes optical flow: the hardware of a GPU, or None for the CPU; and the name of the method.

    Args:
        device: auto uses a GPU if there is one that can compute flow.
        log: is told why a GPU is not used.

    Raises:
        ValueError: `device` is cuda, and there is no such GPU.
    """
    if device == "cpu" or choose_device(device) == "cpu":
        return None, "dis"
    from actrec.pipelines.dali.optical_flow import HardwareFlow

    try:
        return HardwareFlow(), "nvidia"
    except ValueError as error:
        if device == "cuda":
            raise
        log(f"{error}; using the CPU")
        return None, "dis"
