"""Where a net computes, and in what arithmetic."""

from __future__ import annotations

import contextlib

import torch

from actrec import nets


def choose_device(device: str) -> str:
    """auto is the GPU where torch finds one. Raises ValueError for cuda without one."""
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError("device cuda: torch finds no GPU; --device cpu works without one")
    return ("cuda" if found else "cpu") if device == "auto" else device


def choose_precision(precision: str, device: torch.device) -> str:
    """auto is bfloat16 where the hardware multiplies in it, else float32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def autocast(device_type: str, precision: str) -> contextlib.AbstractContextManager:
    """torch's autocast for a precision; float32 and float64 are none."""
    if precision in ("float32", "float64"):
        return contextlib.nullcontext()
    return torch.autocast(device_type, dtype=getattr(torch, precision))


def memory_format(net: nets.Backbone, channels_last: bool) -> torch.memory_format:
    """Of the net's weights."""
    return net.channels_last if channels_last else torch.contiguous_format
