"""Checkpoints: everything that is needed to continue a run, in one file that is written atomically.

They contain only tensors, numbers, strings, lists and dicts, so they load with `weights_only=True`. They contain no
times and no paths.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import torch

from actrec import nets
from actrec.config import Input
from actrec.engine.stored import current_checkpoint
from actrec.files import atomic_write

FORMAT = 4  # 3 used other random numbers for color changes, 2 also for mixing and class balance
_READABLE = (3, 4)


def save(path: str | os.PathLike, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint. After a crash or on a full disk the older file of that name is intact.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_write(path, "wb") as file:
        try:
            torch.save({"format": FORMAT, **checkpoint}, file)
        except RuntimeError as error:  # torch raises it in place of the OSError, which says what is wrong
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a checkpoint of actrec onto the CPU, with today's names of options (see `stored`).

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or not a checkpoint of actrec.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):  # not the file's fault
        raise
    except Exception as error:  # torch raises whatever the bytes lead it to
        raise ValueError(f"{os.fspath(path)}: the file is damaged, or not a checkpoint of torch") from error
    if not isinstance(checkpoint, dict) or "format" not in checkpoint:
        raise ValueError(f"{os.fspath(path)}: not a checkpoint of actrec; pass weights of other tools to --weights")
    if checkpoint["format"] not in _READABLE:
        raise ValueError(
            f"{os.fspath(path)}: a checkpoint in format {checkpoint['format']}, this version reads formats "
            f"{_READABLE[0]} to {FORMAT}; pass it to --weights to start from its weights"
        )
    return current_checkpoint(checkpoint)


def describe_net(net: Any, net_input: Input) -> dict[str, Any]:
    """What is needed to build a net again: its name, options and input."""
    described = asdict(net_input)
    return {
        "name": net.name,
        "options": dict(net.options),
        "input": described | {"mean": list(net_input.mean), "std": list(net_input.std)},
    }


def build_net(checkpoint: dict[str, Any]) -> nets.Backbone:
    """The net of a checkpoint, with its input and its weights (their moving average if the run kept one).

    Raises:
        ValueError: The net is unknown, or is no longer the one that was trained.
    """
    described = checkpoint["net"]
    net: Any = nets.net(described["name"], **described["options"])
    try:
        net.load_state_dict(checkpoint["state_dict"])
    except RuntimeError:  # torch lists all tensors
        raise ValueError(
            f"the weights of the checkpoint do not fit net {net.name!r}: was its code changed after training?"
        ) from None
    net.input = input_from(described["input"])
    return net


def input_from(described: dict[str, Any]) -> Input:
    """The inverse of `describe_net` for the input."""
    return Input(**described | {"mean": tuple(described["mean"]), "std": tuple(described["std"])})
