"""Networks, by name.

    net = actrec.net("s3d", num_classes=8, temporal_stride=False)
    net = actrec.net("my_nets:tiny", num_classes=8)  # the function `tiny` of your own my_nets.py

A family of nets is one module of this package. It ends with a table of variants and a loop that registers them.
Nets from outside actrec are described in `actrec.nets.outside`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from actrec import config
from actrec.arguments import checked
from actrec.config import Input
from actrec.nets import outside
from actrec.nets.backbone import Backbone
from actrec.nets.entry import Entry, Layout, OptionValue, Published
from actrec.registry import Registry, did_you_mean
from actrec.settings import OptionError, check_fields, check_value, field_types, show, without_none

__all__ = ["NETS", "Backbone", "Entry", "Layout", "OptionValue", "Published", "input_of", "net", "outline", "register"]

INPUT_OPTIONS = ("frames", "size")  # options of nets that are fields of their `Input`
NETS: Registry[Entry] = Registry("net", "actrec.nets", resolve=outside.imported_entry)


@checked
def net(name: str, *, num_classes: int = 400, in_channels: int = 3, **options: OptionValue) -> Backbone:
    """Builds a net with fresh weights.

        net = actrec.net("s3d", num_classes=8, dropout=0.5)
        print(net.input)  # mean and standard deviation, frames and size of its clips
        logits = net(torch.zeros(2, 3, 16, 64, 64))  # (2, 8)

    Args:
        name: one of the names that `actrec nets` prints, or `package.module:factory` for a net from outside actrec.
        num_classes: number of logits per clip.
        in_channels: channels of a frame: 3 for RGB, 10 for five pairs of optical-flow images (x and y).
        options: options of the family, such as `dropout` or `temporal_stride`. Some nets are built for clips of one
            size. They have the options `frames` and `size`: the number of frames, and the height and width in pixels
            (one number, or a pair).

    Returns:
        A module that maps clips NCTHW to logits (N, num_classes). It has the attributes `name`, `input` (the input that
        it expects) and `options` (`net(name, **options)` builds it again). A net from outside is the user's own
        module, with these attributes added.

    Raises:
        ValueError: the name is unknown, the net does not have an option, or a value is illegal; a net from outside
            cannot be imported or built.
    """
    entry = NETS.get(name)
    for option, value in options.items():
        if option not in entry.options:
            known = ["num_classes", "in_channels", *entry.options]
            raise ValueError(f"net {name!r} takes no option {option!r}{did_you_mean(option, known)}")
        options[option] = _checked(option, value, entry)
    num_classes = check_value("num_classes", num_classes, int, at_least=1)
    in_channels = check_value("in_channels", in_channels, int, at_least=1)
    chosen = {"num_classes": num_classes, "in_channels": in_channels, **entry.options, **options}
    eps_of = chosen.get("eps_of") if not entry.outside else None
    module = cast(Backbone, entry.build(**{k: v for k, v in chosen.items() if k != "eps_of" or entry.outside}))
    module.name, module.options = name, chosen
    if eps_of is not None:
        set_eps(module, str(eps_of))
    module.input = _input(getattr(module, "input", entry.input), chosen)
    return module


def set_eps(net: Backbone, layout: str) -> None:
    """Gives the normalizations of a net the epsilons that they have in files of a layout.

    Raises:
        ValueError: the net does not read such files, or no normalization depends on them.
    """
    layouts = {name: layout.eps for name, layout in NETS.get(net.name).weights.items() if layout.eps}
    if layout not in layouts:
        raise ValueError(f"eps_of {layout!r} for net {net.name!r}: expected {', '.join(layouts)}")
    for pattern, eps in layouts[layout].items():
        for name, module in net.named_modules():
            if re.fullmatch(pattern, name):
                module.eps = eps
    net.follow(layout)
    net.options = {**net.options, "eps_of": layout}


def input_of(name: str, *, in_channels: int = 3, **options: Any) -> Input:
    """The `input` that `net(name, ...)` will have.

    The options `frames` and `size` of the nets that have them set the length and the size of the clips. A net from
    outside actrec is built to find out. torch's random state does not change.

    Raises:
        ValueError: as for `net`.
    """
    entry = NETS.get(name)
    if not entry.outside:
        values = {name: _checked(name, value, entry) for name, value in options.items() if name in entry.options}
        return _input(entry.input, {"in_channels": in_channels, **entry.options, **values})
    with torch.random.fork_rng(devices=[]):
        return net(name, in_channels=in_channels, **options).input


def clip_options(name: str, *, frames: int | None, size: int | tuple[int, int] | None) -> dict[str, OptionValue]:
    """The options that build a net for clips of this length and size. Empty if the net has no such options.

    Args:
        frames, size: None keeps the default.
    """
    given: dict[str, OptionValue] = {"frames": frames, "size": size}
    options = NETS.get(name).options
    return {option: value for option, value in given.items() if value is not None and option in options}


def rebuilt(module: Backbone, *, frames: int | None, size: int | tuple[int, int] | None) -> Backbone:
    """A net with the same weights for clips of another length or size, if the net is built for one size.

    Args:
        frames, size: None keeps the length or size for which the net was built.

    Returns:
        The net itself if it accepts clips of all sizes, or was already built for these clips.

    Raises:
        OptionError: The weights contain learned positions that fit no other clips.
    """
    wanted = clip_options(module.name, frames=frames, size=size)
    changed = {name: value for name, value in wanted.items() if module.options.get(name) != value}
    if not changed or not getattr(module, "fixed_grid", False):
        return module
    options: dict[str, Any] = {**module.options, **changed}
    other = net(module.name, **options)
    layout = NETS.get(module.name).weights.get("actrec")
    tensors = module.state_dict()
    try:
        other.load_state_dict(layout.convert(tensors, other) if layout and layout.convert else tensors)
    except RuntimeError:  # torch lists all tensors
        (name, value), *_ = changed.items()
        raise OptionError(
            f"`{name}` {show(value)}: the weights of {module.name} have learned positions for "
            f"`{name}` {show(module.options[name])}: expected the same"
        ) from None
    other.input = replace(module.input, frames=other.input.frames, size=other.input.size)
    return other


def outline(name: str, **options: Any) -> Backbone:
    """The net on torch's `meta` device: names and shapes without values, in almost no time or memory.

    A net from outside is built on the CPU instead, since its code may need real tensors.

    Raises:
        ValueError: as for `net`.
    """
    if NETS.get(name).outside:
        with torch.device("cpu"):
            return net(name, **options)
    with torch.device("meta"), _Unfilled():
        return net(name, **options)


class _Unfilled(TorchFunctionMode):
    """Tensors without values are not filled with random values or scaled: torch would load its compiler for that."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLING or getattr(func, "__module__", None) == "torch.nn.init":
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


_FILLING = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.div_, torch.Tensor.__itruediv__)


@checked
def register(
    name: str,
    factory: Callable[..., nn.Module],
    *,
    input: Input = outside.DEFAULT_INPUT,
    paper: str = "",
    lr: float | None = None,
) -> None:
    """Registers a net from outside actrec under a name of its own, for this process.

        import my_nets

        actrec.nets.register("my_tiny", my_nets.tiny)
        net = actrec.net("my_tiny", num_classes=8)

    Args:
        name: the new name.
        factory: `factory(num_classes, in_channels=3, **options)` returns a module for clips NCTHW. See
            `actrec.nets.outside` for the details.
        input: the input that the net expects, unless its module has an attribute `input`.
        paper: where the net was published.
        lr: the default learning rate of `actrec train` with AdamW. Default: 0.001.

    Raises:
        ValueError: the name is taken or contains a colon, or the factory does not fit.
    """
    if ":" in name:
        raise ValueError(f"net {name!r}: expected a name without a colon")
    if lr is not None:
        lr = check_value("lr", lr, float, above=0)
    NETS.add(name, replace(outside.entry_of(name, factory, input=input, paper=paper), lr=lr))


def _input(own: Input, options: Mapping[str, OptionValue]) -> Input:
    """The input of a net with these options, of which `in_channels`, `frames` and `size` count.

    Args:
        own: the input that it expects with their default values.
    """
    clip: dict[str, Any] = {name: options[name] for name in INPUT_OPTIONS if options.get(name) is not None}
    in_channels = cast(int, options["in_channels"])
    return replace(own if len(own.mean) == in_channels else own.with_channels(in_channels), **clip)


def _checked(option: str, value: OptionValue, entry: Entry) -> OptionValue:
    """The value as `check_value` returns it. `Input` has the types of `INPUT_OPTIONS`, and `config.Net` those of the
    others of actrec's own nets.

    Raises:
        ValueError: it has the wrong type, or is illegal.
    """
    default = entry.options[option]
    if value is None and default is None:
        return None
    if option in INPUT_OPTIONS and (value is not None or default is not None):
        value = check_fields(Input, {option: value})[option]
        if isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
    elif not entry.outside:
        limits = next(f.metadata.get("bounds", {}) for f in fields(config.Net) if f.name == option)
        value = check_value(option, value, without_none(field_types(config.Net)[option]), **limits)
    elif default is not None:
        value = check_value(option, value, type(default))
    return value
