"""Loads weights files into nets and accounts for every tensor.

`weights_file.py` reads a file, and `matching.py` finds the places of its tensors.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from actrec import nets
from actrec.arguments import checked
from actrec.nets import INPUT_OPTIONS, NETS, Layout, OptionValue, set_eps
from actrec.nets.backbone import Backbone
from actrec.nets.matching import layouts_for, match_names, renamed_tensors, unwrapped, whole_prefix
from actrec.nets.outside import from_actrec, last_layer
from actrec.nets.weights_file import listed, read_checkpoint, some_of

_ADVICE = "; `actrec weights inspect` shows which nets a file fits"


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
            + (f"; entry {self.entry}, not {some_of(self.others)}" if self.others else "")
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
        layout: a layout of weights files that the net reads; `actrec nets NAME` lists them. "auto" chooses the best.
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
    return Account(
        best.layout,
        tuple(best.found),
        best.dropped,
        tuple(best.missing),
        best.reshaped,
        whole_prefix(tensors, prefix, best.layout),
        file.entry,
        file.others,
    )


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
