"""Checkpoints: everything that is needed to continue a run, in one file that is written atomically.

They contain only tensors, numbers, strings, lists and dicts, so they load with `weights_only=True`. They contain no
times and no paths.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from actrec import nets
from actrec.config import Input
from actrec.engine.stored import current_checkpoint
from actrec.files import atomic_write
from actrec.opening import check_archive, check_regular, kind_of_file
from actrec.system import is_systems_fault
from actrec.words import printable

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


class ForeignFile(ValueError):
    """A file is not a checkpoint of actrec that this version reads. It may contain weights."""


class OtherVersion(ForeignFile):
    """A checkpoint of actrec is in a format that this version does not read. It is not damaged."""


def load(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a checkpoint of actrec onto the CPU, with today's names of options (see `stored`).

    Raises:
        FileNotFoundError: There is no such file.
        ForeignFile: It is damaged, not a checkpoint of actrec, or in a format that this version does not read.
        ValueError: It has values of wrong types.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{os.fspath(path)}: no such checkpoint")
    check_regular(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about the protocol of a pickle
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        check_archive(path)
    except Exception as error:  # torch raises whatever the bytes lead it to
        if is_systems_fault(error):
            raise
        kind = kind_of_file(path)
        known = kind not in (None, "a binary file", "a checkpoint or a weights file")
        what = f"this is {kind}, not a checkpoint" if known else "the file is damaged, or not a checkpoint of torch"
        raise ForeignFile(f"{os.fspath(path)}: {what}") from error
    if not isinstance(checkpoint, dict) or "format" not in checkpoint:
        raise ForeignFile(
            f"{os.fspath(path)}: not a checkpoint of actrec; files of other tools are loaded as weights of a net"
        )
    if not isinstance(checkpoint["format"], int) or checkpoint["format"] not in _READABLE:
        raise OtherVersion(
            f"{os.fspath(path)}: a checkpoint in format {checkpoint['format']}, this version reads formats "
            f"{_READABLE[0]} to {FORMAT}; only its weights can be loaded"
        )
    _check(path, checkpoint)
    return current_checkpoint(checkpoint)


# What a checkpoint must contain to be used, and what it may contain: the types of the values.
_NEEDED = {"net": dict, "state_dict": dict, "clip": dict, "channels_last": bool}
_OTHERS = {"classes": list, "multi_label": bool, "crop_ratio": (int, float)}
_NOT_IN_A_LIST = re.compile("[\n\r\ud800-\udfff]")  # characters that no line of UTF-8 text has
_OTHER_OPTIONS = re.compile(r"(unexpected|missing).*argument.*?('.*)")
_OF_NET = {"name": str, "options": dict, "input": dict}


def _check(path: str | os.PathLike[str], checkpoint: dict[str, Any]) -> None:
    """Raises ValueError if a value has another type than `save` gives it: the file may come from anywhere."""

    def wrong(prefix: str, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> list[str]:
        return [f"{prefix}{key}" for key, kind in kinds.items() if not isinstance(values.get(key), kind)]

    def wrong_names() -> list[str]:
        classes = checkpoint.get("classes") or []
        names = {"classes": all(isinstance(name, str) and not _NOT_IN_A_LIST.search(name) for name in classes)}
        names["state_dict"] = all(isinstance(name, str) for name in checkpoint["state_dict"])
        return [key for key, right in names.items() if not right]

    given = {key: kind for key, kind in _OTHERS.items() if checkpoint.get(key) is not None}
    bad = (
        wrong("", checkpoint, _NEEDED | given)
        or wrong("net.", checkpoint["net"], _OF_NET)
        or wrong("net.input.", checkpoint["net"]["input"], {"mean": list, "std": list})
        or wrong_names()
    )
    if bad:
        raise ValueError(f"{os.fspath(path)}: not a checkpoint of actrec, or damaged: no valid value of {bad[0]!r}")


@contextlib.contextmanager
def contents_of(path: str | os.PathLike[str]) -> Iterator[None]:
    """Around the use of what a checkpoint contains: errors that its values cause get the name of the file.

    Raises:
        ValueError: In place of a ValueError (which for a wrong option would name a flag, as if the user had given it)
            or a TypeError.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        text = printable(str(error))
        if found := _OTHER_OPTIONS.search(text):  # as Python says it of the arguments of a function
            text = f"damaged, or of another version: {found[1]} option {found[2]}"
        raise ValueError(f"{os.fspath(path)}: {text}") from error


def epochs_of(checkpoint: Mapping[str, Any]) -> tuple[int, int] | None:
    """The epoch in which a checkpoint was saved, from 1, and the number of epochs of its run; None if unknown."""
    try:
        finished = checkpoint["progress"]["epoch"]
        loader = checkpoint["loader"]
        between = (loader["epoch"], loader["step"]) == (finished, 0)
        found = finished + (0 if between else 1), checkpoint["config"]["optim"]["epochs"]
    except (KeyError, TypeError):
        return None
    return found if all(type(number) is int for number in found) else None


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
    tuples = {name: tuple(value) for name, value in described.items() if isinstance(value, list)}
    return Input(**described | tuples)
