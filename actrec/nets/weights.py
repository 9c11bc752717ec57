"""Reads weights files into nets and accounts for every tensor.

A file can come from a stranger. Therefore only tensors are read, and a file that would run code is refused. A layout
consists of a row of `READERS` (what its files look like, for all nets) and of a `Layout` in the module of each net that
reads it (how the names map).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import pickletools
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from actrec import nets
from actrec.arguments import checked
from actrec.files import read_json, show
from actrec.nets import INPUT_OPTIONS, NETS, Layout, OptionValue, set_eps
from actrec.nets.backbone import Backbone
from actrec.nets.outside import from_actrec, last_layer
from actrec.opening import check_archive, kind_of, weights_in
from actrec.registry import did_you_mean, in_one_line
from actrec.system import is_systems_fault

# Usual names of the entries with the weights in a checkpoint. If it has several, the first one of this table is read.
# Averaged weights come last. Of a list, the first item is read.
CONTAINERS = (
    "state_dict", "net", "model_state_dict", "model_state", "model", "module", "target_encoder", "encoder",
    "classifiers", "classifier", "weights", "params", "network", "backbone",
    "ema", "model_ema", "ema_state_dict", "state_dict_ema", "ema_state",
)  # fmt: skip
_WRAPPERS = 8  # largest number of prefixes of names
_TRAINERS = ("model", "net", "network", "module")  # prefixes of the net beside other tensors of a training program
_MOST = 0.8  # fraction of the names that have such a prefix
_DEPTH = 4  # largest number of such entries within each other
COUNTERS = r".+\.num_batches_tracked"  # they do not affect results, and files of old or other software lack them
_INDEX = ".index.json"  # the end of the name of a file that says in which files the tensors are
_PART = r"-\d{5}-of-(?!00001\b)\d{5}\."  # in the names of these files
_MOST_OPERATIONS = 100_000  # of a pickle that are looked at
NUM_LISTED = 5  # number of problems that an error message lists
_ADVICE = "; `actrec weights inspect` shows which nets a file fits"


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


# What torch.compile, FSDP and gradient checkpointing put into the middle of names.
_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class Reader:
    """What the files of a layout look like.

    Args:
        prefix: removed from the names if all of them have it. Wrappers for parallel training add it.
        names: pattern that all names without the prefix must match.
        inflate: the kernels in the file are 2D. For 3D convolutions they are repeated in time and divided by the number
            of repeats.
    """

    prefix: str = ""
    names: str = ".+"
    inflate: bool = False


READERS = {
    "actrec": Reader(),
    "ibm": Reader(prefix="module."),
    "hara": Reader(prefix="module."),
    "torchvision": Reader(),
    "torchvision2d": Reader(inflate=True),
    "tsm": Reader(prefix="module.", names=r"(base_model|new_fc)\..+"),
    "mmaction2": Reader(names=r"(backbone|cls_head|data_preprocessor)\..+"),
    "pytorchvideo": Reader(),
    "pyslowfast": Reader(),
    "videoswin": Reader(),
    "videomae": Reader(),
    "vjepa2": Reader(names=r"(?!probe\.|fc\.).+"),  # these are actrec's names, whose table of positions is used
    "transformers": Reader(),
}


@dataclass(frozen=True)
class Account:
    """What happened to the tensors of a file and of a net, as `load_weights` returns it.

        account = actrec.load_weights(net, "tiny3d_k400.pt", new_head=True)
        print(account.missing)  # the last layer: ("fc.weight", "fc.bias")

    Args:
        layout: the layout with which the file was read.
        used: names in the net that received a tensor.
        dropped: name in the file -> why the tensor was not used.
        missing: names in the net that kept their initial values.
        reshaped: name in the net -> how the shape of the tensor was changed.
        prefix: what was removed from all names of the file, such as `model.module.`, besides that of the layout.
        entry: the entry of the file that was read, such as `model`, or `state.model` for an entry within another one.
            Empty if the tensors are not in an entry.
        others: other entries with weights, such as `model_ema`. Empty if you chose the entry.
    """

    layout: str
    used: tuple[str, ...]
    dropped: Mapping[str, str]
    missing: tuple[str, ...]
    reshaped: Mapping[str, str]
    prefix: str = ""
    entry: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(self.dropped.values()).items())
        return (
            f"{self.layout}: {len(self.used)} tensors used ({len(self.reshaped)} reshaped), "
            f"{len(self.dropped)} dropped{f' ({reasons})' if reasons else ''}, {len(self.missing)} missing"
            + (f"; prefix {self.prefix} removed" if self.prefix else "")
            + (f"; entry {self.entry}, not {_some(self.others)}" if self.others else "")
        )


@checked
def load_weights(
    net: nn.Module, path: str | Path, *, layout: str = "auto", entry: str | None = None, new_head: bool = False
) -> Account:
    """Loads the weights of a file into a net made by `actrec.net`.

        net = actrec.net("tiny3d", num_classes=8)
        account = actrec.load_weights(net, "tiny3d_k400.pt", new_head=True)  # the file has other classes
        print(account)  # how many tensors were used, and what was left out

    If the file shows an option that is None in the net, such as the pools of MViT, this call rebuilds the net with the
    option. Its parameters stay the same objects, so you can make an optimizer before this call. The exception is
    `mvit_v1_b(depth=24)`: a file can add pools to it, and an optimizer that you made before does not train these.

    Args:
        net: made by `actrec.net`, changed in place. It does not change if an error is raised.
        path: a file written by torch, or a `.safetensors` file.
        layout: a name of `READERS` that the net reads. "auto" chooses the one that fits best.
        entry: the entry of the file that contains the weights, such as `model_ema`, or `state.model` for an entry
            within another one. Default: the one with the most usual name. The account then lists the `others`.
        new_head: keep the last layer as it is, and drop that of the file.

    Returns:
        An account of every tensor: `used`, `dropped`, `missing` and `reshaped`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the net was not made by `actrec.net`, the file cannot be read, it does not show which of its entries
            contains the weights, a tensor of the file has no place in the net, or a tensor of the net is missing in the
            file.
    """
    net = from_actrec(net)
    layouts = layouts_for(net.name)
    if layout != "auto" and layout not in layouts:
        raise ValueError(f"layout {layout!r} for net {net.name!r}: expected auto, {', '.join(layouts)}")
    file = read_checkpoint(path, entry=entry)
    tensors, named = file.tensors, file.net
    wanted = layouts if layout == "auto" else [layout]
    head = head_of(net, needed=new_head)
    matches = []
    for prefix, renamed in unwrapped(tensors).items():
        for name in wanted:
            like = _as_in_file(net, renamed, layouts[name], named)
            match = match_names(renamed, like, name, layouts[name], head=head, new_head=new_head)
            matches.append((match, prefix, like))
    best, prefix, like = min(matches, key=lambda match: (bool(match[0].problems), -len(match[0].found)))
    if best.problems:
        renamed = unwrapped(tensors)[prefix]
        problems = _other_options(net, renamed, layouts[best.layout])
        problems = problems or _other_form(net, unwrapped(tensors).values(), layouts) or listed(best.problems)
        advice = "" if "pass --" in problems or "new_head=True" in problems else _ADVICE
        raise ValueError(f"{path} does not fit net {net.name!r} (read as {best.layout}): {problems}{advice}")
    if like is not net:
        _rebuild(net, like.options)
    net.load_state_dict({**net.state_dict(), **best.found})
    if layouts[best.layout].eps:
        set_eps(net, best.layout)
    elif named is not None and named["options"].get("eps_of") in [key for key, one in layouts.items() if one.eps]:
        set_eps(net, named["options"]["eps_of"])
    return best.account(whole_prefix(tensors, prefix, best.layout), file)


def _rebuild(net: Backbone, options: Mapping[str, OptionValue]) -> None:
    """Gives a net other options. Its parameters stay the same objects, because an optimizer may hold them."""
    other = nets.net(net.name, **cast(dict[str, Any], options)).train(net.training).to(next(net.parameters()))
    kept = dict(net.named_parameters())
    for name, parameter in list(other.named_parameters()):
        if name in kept:
            path, _, last = name.rpartition(".")
            kept[name].data, kept[name].grad = parameter.data, None
            setattr(other.get_submodule(path), last, kept[name])
    vars(net).update(vars(other))


def _as_in_file(
    net: Backbone, tensors: Mapping[str, Tensor], layout: Layout, described: Mapping[str, Any] | None
) -> Backbone:
    """The net, or an outline of it in which options that are None have the values that follow from a file.

    Args:
        described: the net that a file of actrec names, as `read_checkpoint` returns it.
    """
    if NETS.get(net.name).options_of is None:
        return net
    found = options_in(net.name, renamed_tensors(tensors, layout))
    if described is not None and described["name"] == net.name and described["options"].get("positions"):
        found["positions"] = described["options"]["positions"]
    chosen: dict[str, Any] = {
        option: value for option, value in found.items() if net.options.get(option, value) is None
    }
    return nets.outline(net.name, **{**net.options, **chosen}) if chosen else net


def _other_options(net: Backbone, tensors: Mapping[str, Tensor], layout: Layout) -> str:
    """The options that the file was made with, where they are not those of the net; empty if they are the same."""
    found = options_in(net.name, renamed_tensors(tensors, layout))
    return _differing(net, {name: value for name, value in found.items() if name not in INPUT_OPTIONS})


def _other_form(net: Backbone, forms: Iterable[Mapping[str, Tensor]], layouts: Mapping[str, Layout]) -> str:
    """The options with which another form of the net fits a file; empty if none does. The last layer may differ.

    Args:
        forms: the tensors as `unwrapped` returns them.
    """
    entry = NETS.get(net.name)
    default = {name: entry.options[name] for form in entry.forms for name in form}
    tried = list(forms)
    for form in ({}, *entry.forms) if entry.forms else ():
        options = {**default, **form}
        other = nets.outline(net.name, **{**net.options, **options})
        head = head_of(other, needed=True)
        for tensors, (name, layout) in itertools.product(tried, layouts.items()):
            if not match_names(tensors, other, name, layout, head=head, new_head=True).problems:
                return _differing(net, options)
    return ""


def _differing(net: Backbone, options: Mapping[str, OptionValue]) -> str:
    """What to pass so that the net has these options, for those that it does not have."""
    parts = []
    for name, value in options.items():
        if net.options[name] in (None, value):
            continue
        flag = name.replace("_", "-")
        flag = f"--{'' if value else 'no-'}{flag}" if isinstance(value, bool) else f"--{flag} {value}"
        parts.append(f"it has {name} {value}, the net {net.options[name]}: pass {flag} ({name}={value!r})")
    return "; ".join(parts)


def options_in(name: str, named: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    """The options of a net that follow from tensors, which can be those of another net or be damaged.

    Args:
        named: by their names after `Layout.renames`.
    """
    options_of = NETS.get(name).options_of
    if options_of is None:
        return {}
    try:
        return dict(options_of(named))
    except (ValueError, IndexError, KeyError, AttributeError):
        return {}


def untrained(net: nn.Module, account: Account) -> tuple[str, ...]:
    """The outermost layers with random weights, because the file contains none. Vectors start as 0 or 1."""
    shapes = {name: value.ndim for name, value in net.state_dict().items()}
    missing = [name for name in account.missing if shapes[name] > 1]
    return tuple(name for name, _ in net.named_children() if any(one.startswith(f"{name}.") for one in missing))


def trained_layers(net: nn.Module, account: Account) -> dict[str, bool]:
    """The outermost layers with parameters, and of each whether the file contains something for it."""
    layers = [name for name, layer in net.named_children() if any(True for _ in layer.parameters())]
    return {layer: any(name.startswith(f"{layer}.") for name in account.used) for layer in layers}


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Mapping[str, Tensor]]:
    """The tensors by the names in the file and, after it, without a prefix that all of them share.

    Parallel training, torch.compile and training programs wrap a net into others, and the names of its tensors get a
    prefix from each of them: `model.module.`. The tensors of a loss or metric beside the net do not have its prefix.
    torch.compile puts `_orig_mod.` into the middle of names, too.

    Returns:
        The tensors by what was removed from their names. "" comes first, then the shortest prefix.
    """
    forms: dict[str, Mapping[str, Tensor]] = {"": tensors}
    prefix, current = "", tensors
    for _ in range(_WRAPPERS):
        starts = Counter(name.partition(".")[0] for name in current if "." in name)
        wrapper, count = starts.most_common(1)[0] if starts else ("", 0)
        if count < len(current) * (_MOST if wrapper in _TRAINERS else 1):
            break
        prefix += f"{wrapper}."
        current = {name.removeprefix(f"{wrapper}."): tensor for name, tensor in current.items()}
        forms[prefix] = current
    for prefix, current in list(forms.items()):
        found = dict.fromkeys(part for name in current for part in _WRAPPED.findall(name))
        names = {_WRAPPED.sub("", name): tensor for name, tensor in current.items()}
        if found and len(names) == len(current):
            forms[f"{prefix}…{''.join(found)}"] = names
    return forms


def whole_prefix(tensors: Mapping[str, Tensor], removed: str, layout: str) -> str:
    """What is removed from the names of a file if a form of `unwrapped` is read with a layout, which has a prefix too.

    It is empty if nothing but the prefix of the layout is removed.
    """
    own = READERS[layout].prefix
    return removed and removed + own * all(name.startswith(removed + own) for name in tensors)


def head_of(net: Backbone, *, needed: bool) -> str | None:
    """The beginning of the names of the last layer's tensors, such as `fc.`.

    It is None if the last layer of a net from outside actrec was not found and is not needed.

    Raises:
        ValueError: it was not found, but is needed.
    """
    try:
        return f"{last_layer(net)[0]}."
    except ValueError:
        if needed:
            raise
        return None


def stem_of(own: Mapping[str, Tensor]) -> str | None:
    """The name of the first convolution's weight among a net's tensors. Tables of positions can have three axes."""
    return next((name for axes in (4, 3) for name, tensor in own.items() if tensor.ndim >= axes), None)


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
        f"{path}: the weights are those of its entry {entry}, not {_some(others)}; "
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
            _some([str(key) for key in itertools.islice(content, NUM_LISTED + 1)])
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
            f"{_some([first, *equal])}; `actrec weights convert --entry NAME` writes those of one entry to a file"
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


@dataclass
class Match:
    """The comparison of the tensors of a file with those of a net, while it is made."""

    layout: str
    found: dict[str, Tensor] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    reshaped: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def account(self, prefix: str, file: WeightsFile) -> Account:
        return Account(
            self.layout,
            tuple(self.found),
            self.dropped,
            tuple(self.missing),
            self.reshaped,
            prefix,
            file.entry,
            file.others,
        )


def match_names(
    tensors: Mapping[str, Tensor],
    net: nn.Module,
    name: str,
    layout: Layout,
    *,
    head: str | None,
    new_head: bool,
) -> Match:
    """Finds a place in the net for each of `tensors`. What does not fit is listed in `problems`."""
    reader, match, own = READERS[name], Match(name), net.state_dict()
    stem = stem_of(own)
    named: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    seen: set[str] = set()
    for source, tensor in _without_prefix(tensors, reader.prefix).items():
        target = _renamed(source, layout.renames)
        if target not in own and (reason := _why_dropped(source, layout.dropped)):
            match.dropped[source] = reason
        elif new_head and head is not None and target.startswith(head):
            match.dropped[source] = "new head"
        elif (target not in own and layout.convert is None) or not re.fullmatch(reader.names, source):
            match.problems.append(f"unexpected {source!r}")
        elif target in named:
            match.problems.append(f"{source!r} is a second {target}")
        else:
            named[target], sources[target] = tensor, source
    for target, tensor in _converted(named, net, layout, match).items():
        if target not in own:
            match.problems.append(f"unexpected {sources.get(target, target)!r}")
            continue
        in_head = head is not None and target.startswith(head)
        _place(match, target, tensor, own[target], inflate=reader.inflate, stem=stem, in_head=in_head)
        if target in named and named[target].numel() != tensor.numel() and target in match.found:
            match.reshaped[target] = f"{tuple(named[target].shape)} to {tuple(tensor.shape)}: interpolated"
        seen.add(target)
    absent = [part for part in layout.parts if seen and not any(target.startswith(part) for target in seen)]
    absent += [head] if new_head and head is not None else []
    fresh = [*layout.fresh, COUNTERS, *(re.escape(part) + ".+" for part in absent)]
    for target in own:
        if target in seen:
            continue
        if any(re.fullmatch(pattern, target) for pattern in fresh):
            match.missing.append(target)
        else:
            match.problems.append(f"missing {target}")
    return match


def _converted(named: dict[str, Tensor], net: nn.Module, layout: Layout, match: Match) -> dict[str, Tensor]:
    """The tensors as `Layout.convert` returns them. What it raises becomes a problem: the file can be of any net."""
    if layout.convert is None:
        return named
    try:
        return layout.convert(dict(named), net)
    except Exception as error:
        if is_systems_fault(error):
            raise
        match.problems.append(f"its tensors cannot be converted: {in_one_line(error)}")
        return {target: tensor for target, tensor in named.items() if target in net.state_dict()}


def _place(
    match: Match, target: str, tensor: Tensor, own: Tensor, *, inflate: bool, stem: str | None, in_head: bool
) -> None:
    """Puts `tensor` in the place of the net's tensor `own`, or notes why it does not fit."""
    was, wanted = tuple(tensor.shape), tuple(own.shape)
    expected = wanted[:2] + wanted[3:] if inflate and own.ndim == 5 else wanted
    done = []
    if in_head and was[2:] == (1,) * len(was[2:]) and own.ndim < tensor.ndim:
        tensor = tensor.flatten(1)
        done.append("1x1 convolution")
    if target == stem and len(was) == len(expected) and was[1] == 3 != wanted[1]:
        tensor = tensor.mean(1, keepdim=True).expand(-1, wanted[1], *was[2:])
        done.append(f"colors averaged for {wanted[1]} channels")
    shape = tuple(tensor.shape)
    if in_head and len(shape) == len(wanted) and shape != wanted and shape[1:] == wanted[1:]:
        problem = f"it has {shape[0]} classes, the net {wanted[0]}: ask for a new head (--new-head, new_head=True)"
        if problem not in match.problems:
            match.problems.append(problem)
    elif shape != expected:
        match.problems.append(f"{target} is {was}, expected {expected}")
    elif tensor.is_floating_point() != own.is_floating_point():
        match.problems.append(f"{target} is {tensor.dtype}, expected {own.dtype}")
    else:
        if expected != wanted:
            # Dividing a tensor without values would make torch load its compiler.
            divided = tensor if tensor.is_meta else tensor / wanted[2]
            tensor = divided.unsqueeze(2).expand(wanted)
            done.append("repeated in time")
        match.found[target] = tensor
        if done:
            match.reshaped[target] = f"{was} to {wanted}: {', '.join(done)}"


def renamed_tensors(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The tensors by the names that `Layout.renames` gives them, without `module.`. Tensors that match `Layout.dropped`
    and no pattern of `renames` are left out."""
    return {
        _renamed(name, layout.renames): tensor
        for name, tensor in _without_prefix(tensors, "module.").items()
        if any(_compiled(pattern).fullmatch(name) for pattern in layout.renames)
        or _why_dropped(name, layout.dropped) is None
    }


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    if all(name.startswith(prefix) for name in tensors):
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _renamed(name: str, renames: Mapping[str, str | Callable[[re.Match[str]], str]]) -> str:
    for pattern, replacement in renames.items():
        if found := _compiled(pattern).fullmatch(name):
            return found.expand(replacement) if isinstance(replacement, str) else replacement(found)
    return name


def _why_dropped(name: str, dropped: Mapping[str, str]) -> str | None:
    if name == "n_averaged":  # of torch.optim.swa_utils.AveragedModel, beside `module.`
        return "count of averaged weights"
    return next((reason for pattern, reason in dropped.items() if _compiled(pattern).fullmatch(name)), None)


_compiled = functools.cache(re.compile)  # the cache of `re` is too small for the patterns of all layouts


def layouts_for(name: str) -> dict[str, Layout]:
    """The layouts that a net reads, by name. Files of actrec can consist of the same parts as those of others."""
    others = NETS.get(name).weights
    parts = tuple(dict.fromkeys(part for layout in others.values() for part in layout.parts))
    return {"actrec": Layout(parts=parts), **others}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NUM_LISTED]) + (", ..." if len(names) > NUM_LISTED else "")


def listed(problems: list[str]) -> str:
    more = len(problems) - NUM_LISTED
    return "; ".join(problems[:NUM_LISTED]) + (f"; and {more} more" if more > 0 else "")
