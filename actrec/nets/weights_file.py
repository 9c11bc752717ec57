"""Reads weights files: the tensors in them, by name.

A file can come from a stranger. Therefore only tensors are read, and a file that would run code is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import pickletools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from actrec.files import read_json, show
from actrec.nets import NETS
from actrec.opening import check_archive, kind_of, weights_in
from actrec.registry import did_you_mean
from actrec.system import is_systems_fault

# Usual names of the entries with the weights in a checkpoint. If it has several, the first one of this table is read.
# Averaged weights come last. Of a list, the first item is read.
CONTAINERS = (
    "state_dict", "net", "model_state_dict", "model_state", "model", "module", "target_encoder", "encoder",
    "classifiers", "classifier", "weights", "params", "network", "backbone",
    "ema", "model_ema", "ema_state_dict", "state_dict_ema", "ema_state",
)  # fmt: skip
_DEPTH = 4  # largest number of such entries within each other
_INDEX = ".index.json"  # the end of the name of a file that says in which files the tensors are
_PART = r"-\d{5}-of-(?!00001\b)\d{5}\."  # in the names of these files
_MOST_OPERATIONS = 100_000  # of a pickle that are looked at
NUM_LISTED = 5  # number of problems that an error message lists


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    """Replaces `_codecs.encode`. Some of its other codecs can turn a few bytes into gigabytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes as {encoding}")
    return text.encode("latin1")


def _number(kind: np.dtype, data: bytes = b"") -> float | int | bool:
    """Replaces numpy's `scalar`, for plain numbers only."""
    if kind.kind not in "fiub" or len(data) != kind.itemsize:
        raise ValueError(f"a number of kind {kind}")
    number: float | int | bool = np.frombuffer(data, kind)[0].item()
    return number


# Many checkpoints contain, besides tensors, an accuracy as a number of numpy or the options of their program, as plain
# attributes. torch calls these functions for the names that stand with them.
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    (_bytes, "_codecs.encode"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")),
]


@dataclass(frozen=True)
class WeightsFile:
    """The content of a weights file.

    Args:
        tensors: by name.
        net: for a checkpoint of actrec, a dict with the `name` and `options` of its net. The name can be that of a net
            from outside actrec, which is not imported.
        entry, others: as in `Account`.
    """

    tensors: dict[str, Tensor]
    net: dict[str, Any] | None = None
    entry: str = ""
    others: tuple[str, ...] = ()


def entry_note(path: str | Path, entry: str, others: Sequence[str]) -> str:
    """A line for the user about a file that has several entries with weights. Empty if there is only one."""
    if not others:
        return ""
    return (
        f"{path}: the weights are those of its entry {entry}, not {some_of(others)}; "
        "`actrec weights convert --entry NAME` writes those of another entry to a file"
    )


def read_checkpoint(path: str | Path, *, only_shapes: bool = False, entry: str | None = None) -> WeightsFile:
    """Reads a weights file.

    Args:
        entry: as for `load_weights`.
        only_shapes: the values of the tensors are neither read nor compared with checksums, which takes seconds for
            the largest nets.

    Raises:
        FileNotFoundError, ValueError: as for `load_weights`.
    """
    if re.search(_PART, Path(path).name):
        raise ValueError(f"{path} is one of several files of a net: expected their index, a file that ends in {_INDEX}")
    content = _read(Path(path), only_shapes=only_shapes)
    found = content.get("net") if isinstance(content, dict) else None
    name = found.get("name") if isinstance(found, dict) and isinstance(found.get("options"), dict) else None
    known = isinstance(name, str) and (name in NETS or ":" in name)
    return _chosen(Path(path), content, entry, found if known else None)


def _read(path: Path, *, only_shapes: bool = False) -> object:
    if not path.is_file():
        where = f"{path} is a folder: expected a weights file{weights_in(path)}" if path.is_dir() else None
        raise FileNotFoundError(where or f"no weights file {path}")
    with path.open("rb") as file:
        start = file.read(1024)
    if path.name.endswith(_INDEX):
        return _read_parts(path, only_shapes=only_shapes)
    mapped = only_shapes and start.startswith(b"PK")  # torch maps only archives, which it has written since 2020
    try:
        if path.suffix == ".safetensors" or start[3:9] == bytes(5) + b"{":
            content = _read_safetensors(path)
        else:
            with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's about the protocol of a pickle
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            if not only_shapes:
                check_archive(path)
    except Exception as error:  # for a damaged file, the unpickler can raise almost anything
        if is_systems_fault(error):
            raise
        kind = _CAFFE2 if _is_caffe2(path, start) else _why_unreadable(start, str(error))
        raise ValueError(f"{path} {kind}") from error
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    """The tensors, or a dict of them and the net if actrec has converted the file."""
    tensors = load_file(path)
    wrong = (ValueError, TypeError, KeyError, AttributeError, RecursionError)  # of another program
    with safe_open(path, "pt") as file, contextlib.suppress(*wrong):
        found = json.loads((file.metadata() or {})["actrec"])
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in found["options"].items()}
        return {"net": {"name": found["name"], "options": options}, "state_dict": tensors}
    return tensors


def _read_parts(index: Path, *, only_shapes: bool) -> dict[str, Any]:
    """The content of the files that an index of transformers names, which are in the same folder as the index."""
    places = read_json(index, dict).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) and name for name in places.values()):
        raise ValueError(f"{index}: expected the names of files by the names of their tensors, under weight_map")
    tensors: dict[str, Any] = {}
    for name in dict.fromkeys(places.values()):
        if Path(name).name != name or name.endswith(_INDEX):
            raise ValueError(f"{index} names the file {show(name)}: expected a weights file in the same folder")
        part = _read(index.parent / name, only_shapes=only_shapes)
        tensors.update(part if isinstance(part, dict) else {})
    if absent := [name for name in places if name not in tensors]:
        raise ValueError(f"{index}: its files lack {listed(absent)}")
    return tensors


_CAFFE2 = (
    "is a Caffe2 model (a pickle with `blobs`), as in PySlowFast's model zoo, and is not read: PyTorchVideo's model "
    "zoo has .pyth files of these nets "
    "(https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md)"
)


def _is_caffe2(path: Path, start: bytes) -> bool:
    """Whether a file is a pickle of a dict with the key `blobs`. Its opcodes are listed, but nothing is unpickled."""
    if not re.match(rb"\x80[\x02-\x05]|\(d|}q|}\(", start):
        return False
    with path.open("rb") as file:
        try:
            operations = itertools.islice(pickletools.genops(file), _MOST_OPERATIONS)
            return any(argument in ("blobs", b"blobs") for _, argument, _ in operations)
        except Exception:  # damaged
            return False


def _why_unreadable(start: bytes, error: str) -> str:
    """The end of an error message, from the first bytes of a file and the error of its reader."""
    if not start:
        return "is empty"
    if found := re.search(r"GLOBAL (\S+)", error):
        return (
            f"would run code to load ({show(found[1])[1:-1]}) and is refused: "
            "where you trust it, load it yourself and save only its state_dict"
        )
    if "TorchScript" in error:
        return "is a TorchScript program, not a weights file: save the state_dict of its net"
    if "Can only build" in error:
        return "holds objects other than tensors and is refused: load it yourself and save only its state_dict"
    kind = kind_of(start) or ("a text file" if _is_text(start) else None)
    if kind in (None, "a binary file", "a checkpoint or a weights file"):
        return "is not a weights file, or is damaged or cut short"
    advice = {
        "a web page": ": download it again",
        "an archive": ": unpack it",
        "a pointer of Git LFS": ": fetch its content with `git lfs pull`",
    }.get(kind, "")
    return f"is {kind}, not a weights file{advice}"


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4  # in the middle of a character
    return True


def _chosen(path: Path, content: object, entry: str | None, net: dict[str, Any] | None) -> WeightsFile:
    """The weights in the content of a file: the content itself, or one of its entries.

    Args:
        entry: as for `load_weights`.
        net: as in `WeightsFile`.
    """
    found = _entries(content)
    if not found:
        holds = (
            some_of([str(key) for key in itertools.islice(content, NUM_LISTED + 1)])
            if isinstance(content, dict)
            else type(content).__name__
        )
        raise ValueError(
            f"{path} holds no weights ({_short(holds) or 'it is empty'}): expected named tensors, directly or in an "
            f"entry such as {CONTAINERS[0]}"
        )
    places = sorted(found, key=_rank)
    names = {_short(".".join(map(str, place))): place for place in places}
    if entry is not None:
        if entry not in names:
            expected = did_you_mean(entry, names) if any(names) else ": its tensors are not in an entry"
            raise ValueError(f"entry {show(entry)} of {path}{expected}")
        return WeightsFile(found[names[entry]], net, entry)
    (first, place), *others = names.items()
    if equal := [name for name, other in others if _rank(other) == _rank(place) and _keys(other) != _keys(place)]:
        raise ValueError(
            f"{path} has weights in several entries, and their names do not show which to read: "
            f"{some_of([first, *equal])}; `actrec weights convert --entry NAME` writes those of one entry to a file"
        )
    return WeightsFile(found[place], net, first, tuple(name for name, _ in others))


_Place = tuple[str | int, ...]  # keys of dicts and numbers of items in lists, from the outside to the inside


def _entries(content: object) -> dict[_Place, dict[str, Tensor]]:
    """All state dicts in the content of a file, the outermost first.

    The states of optimizers are left out, and so are vectors and scalars alone, such as those of losses and metrics.
    """
    found: dict[_Place, dict[str, Tensor]] = {}
    seen: set[int] = set()  # a file can contain an object in many places
    level: dict[_Place, Any] = {(): content}
    for _ in range(_DEPTH + 1):
        inner: dict[_Place, Any] = {}
        for place, value in level.items():
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, dict) and value and all(map(_is_named_tensor, value.items())):
                found[place] = dict(value)
            elif isinstance(value, dict) and "param_groups" not in value:
                inner |= {(*place, key): one for key, one in value.items() if isinstance(key, str)}
            elif isinstance(value, (list, tuple)):
                inner |= {(*place, number): one for number, one in enumerate(value) if isinstance(one, dict)}
        level = {place: value for place, value in inner.items() if isinstance(value, (dict, list, tuple))}
    nets_only = {
        place: tensors
        for place, tensors in found.items()
        if any(tensor.is_floating_point() and tensor.ndim > 1 for tensor in tensors.values())
    }
    return nets_only or found


def _keys(place: _Place) -> list[str]:
    return [key for key in place if isinstance(key, str)]


def _rank(place: _Place) -> list[int]:
    """The order in which places are preferred: by the names in `CONTAINERS`. Other names do not count."""
    usual = [CONTAINERS.index(key) for key in _keys(place) if key in CONTAINERS]
    return [*usual, len(CONTAINERS), len(_keys(place)) - len(usual) if usual else 0]


def _short(text: str) -> str:
    """A text from a file, as it can be printed."""
    return show(text)[1:-1]


def _is_named_tensor(item: tuple[object, object]) -> bool:
    name, value = item
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized and not value.is_meta
    return isinstance(name, str) and plain


def some_of(names: Sequence[str]) -> str:
    return ", ".join(names[:NUM_LISTED]) + (", ..." if len(names) > NUM_LISTED else "")


def listed(problems: list[str]) -> str:
    more = len(problems) - NUM_LISTED
    return "; ".join(problems[:NUM_LISTED]) + (f"; and {more} more" if more > 0 else "")
