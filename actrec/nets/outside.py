"""Nets from outside actrec: functions that return a `torch.nn.Module`.

    # my_nets.py
    from torch import nn

    def tiny(num_classes, in_channels=3, width=16):
        return nn.Sequential(
            nn.Conv3d(in_channels, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
            nn.Linear(width, num_classes),
        )

    actrec train --backbone my_nets:tiny        # in the folder of my_nets.py
    actrec.net("my_nets:tiny", num_classes=8)   # in Python

The factory is called with `num_classes`, `in_channels` and its options by name. Its options are its other parameters
that have a default of type bool, int, float, str or None. A factory without a parameter `in_channels` builds nets for
RGB only. The module maps clips NCTHW to logits (N, num_classes).

Options called `frames` and `size` are the number of frames of the clips, and their height and width in pixels. A size
can be a pair (height, width). `--frames` and `--size` set these options.

actrec adds the attributes `name`, `input` and `options` to the module, and these if it lacks them: `in_channels`,
`channels_last`, `min_frames`, `min_size` and `frames_multiple`. A module can state its own `input` (an
`actrec.Input`); otherwise `DEFAULT_INPUT` is used. Two features need the last layer, which gives the logits: a learning
rate of its own for it, and weights that were trained on other classes (`--new-head`). See `last_layer`.
`--freeze-until` and `--layer-decay` follow the order in which the module registers its layers. For `--layer-decay`, an
attribute `depth_layers` can list them, from the input to the output, without the last one.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import cast

import torch
from torch import nn

from actrec.config import Input
from actrec.nets.backbone import Backbone
from actrec.nets.entry import Entry, OptionValue
from actrec.registry import did_you_mean, in_one_line
from actrec.settings import OptionError

# Statistics of Kinetics-400, as for torchvision's video nets.
DEFAULT_INPUT = Input(mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989), frames=16, size=112)
# Parts of the messages of torch's other errors of this kind.
_NOT_OF_THE_NET = ("can't allocate memory", "Connection closed by peer", "more than 1 value per channel")
EXPECTED = "expected a function factory(num_classes, in_channels=3, ...)"


def imported_entry(name: str) -> Entry:
    """The entry for `package.module:factory`. The current folder is searched first, as by `python -m`.

    Raises:
        ValueError: there is no such module or function, the module cannot be imported, or the function does not fit.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"net {name!r}: expected package.module:factory")
    try:
        with _current_folder_importable():
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the user's module can raise anything
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            where = f"in the current folder ({os.getcwd()}) or among the installed packages"
            raise ValueError(f"net {name!r}: there is no module {missing!r} {where}") from None
        raise ValueError(f"net {name!r}: importing {module_name!r} failed: {in_one_line(error)}") from error
    return entry_of(name, _function(name, module, attribute))


def entry_of(name: str, factory: Callable[..., nn.Module], *, input: Input = DEFAULT_INPUT, paper: str = "") -> Entry:
    """The entry for a factory.

    Raises:
        ValueError: the factory does not take `num_classes`, or needs arguments that it would not get.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        raise ValueError(f"net {name!r}: its parameters cannot be read: {EXPECTED}") from None
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if "num_classes" not in parameters and not takes_any:
        raise ValueError(f"net {name!r} has no parameter 'num_classes': {EXPECTED}")
    options: dict[str, OptionValue] = {}
    for key, parameter in parameters.items():
        if key in ("num_classes", "in_channels") or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is parameter.empty:
            raise ValueError(f"net {name!r} has a parameter {key!r} without a default: {EXPECTED}")
        if _is_option_value(parameter.default) and parameter.kind is not parameter.POSITIONAL_ONLY:
            options[key] = parameter.default
    any_channels = "in_channels" in parameters or takes_any
    build = partial(_build, name, factory, "in_channels" in parameters, any_channels)
    return Entry(build, input=input, options=options, paper=paper, outside=True)


def logits_of(net: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """Calls a net, which can be any module, and checks what it returns.

    Returns:
        Logits (N, num_classes).

    Raises:
        ValueError: a net from outside actrec fails, or returns something else.
    """
    with forward_failures_of(net):
        logits = net(clips)
    name, num_classes = name_of(net), getattr(net, "options", {}).get("num_classes")
    is_tensor = isinstance(logits, torch.Tensor)
    if is_tensor and logits.ndim == 2 and logits.shape[0] == len(clips) and num_classes in (None, logits.shape[1]):
        return logits
    found = f"a tensor {tuple(logits.shape)}" if is_tensor else f"a {type(logits).__name__}"
    expected = f"({len(clips)}, {num_classes or 'num_classes'})"
    raise ValueError(f"net {name!r} returned {found}: expected logits {expected}, as (N, num_classes)")


def forward_failures_of(net: nn.Module) -> contextlib.AbstractContextManager[None]:
    """`failures_of` for calls of a net from outside. The errors of actrec's own nets do not change."""
    name = name_of(net)
    own = isinstance(getattr(net, "_orig_mod", net), Backbone) and ":" not in name  # torch.compile wraps the net
    return contextlib.nullcontext() if own else failures_of(name, "its forward")


def from_actrec(net: nn.Module) -> Backbone:
    """A net that `actrec.net` made, which has the attributes that actrec needs.

    The result has the type `Backbone` for type checkers only: a net from outside actrec keeps its own class. A net that
    `torch.compile` wrapped is unwrapped.

    Raises:
        OptionError: `actrec.net` did not make this module.
    """
    net = getattr(net, "_orig_mod", net)
    if isinstance(getattr(net, "input", None), Input) and isinstance(getattr(net, "options", None), dict):
        return cast(Backbone, net)
    raise OptionError(
        f"`net`: this {type(net).__name__} was not made by actrec.net: expected a net such as actrec.net('s3d'), or "
        "actrec.net('package.module:factory') for a net of your own"
    )


def name_of(net: nn.Module) -> str:
    """The name of a net for messages. A net from outside may have none."""
    return str(getattr(net, "name", type(net).__name__))


@contextlib.contextmanager
def failures_of(name: str, action: str) -> Iterator[None]:
    """Whatever the code of a net raises becomes a ValueError of one line that names the net.

    Errors that are not the fault of that code pass: too little memory, a lost process, a batch norm with one value.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, torch.distributed.DistError):
        raise
    except (Exception, SystemExit) as error:  # a user's code can raise anything
        if any(text in str(error) for text in _NOT_OF_THE_NET):
            raise
        raise ValueError(f"net {name!r}: {action} failed: {in_one_line(error)}") from error


def layer_of(net: nn.Module, name: str) -> nn.Module:
    """The module of a net with a name, as `net.named_modules()` gives it.

    Raises:
        ValueError: there is none.
    """
    modules = dict(net.named_modules())
    modules.pop("", None)
    if name not in modules:
        raise ValueError(f"layer {name!r}: net {name_of(net)!r} has no such layer{did_you_mean(name, modules)}")
    return modules[name]


def last_layer(net: Backbone) -> tuple[str, nn.Module]:
    """The layer that gives the logits, and its name in the net.

    It is `net.last_layer` where the net has this attribute; otherwise the last linear layer or convolution, in the
    order in which the net registers them, that has as many outputs as there are classes.

    Raises:
        ValueError: there is none.
    """
    stated = getattr(net, "last_layer", None)
    num_classes = net.options["num_classes"]
    found = [
        (key, layer)
        for key, layer in net.named_modules()
        if (layer is stated if stated is not None else _outputs(layer) == num_classes)
    ]
    if not found:
        raise ValueError(
            f"net {net.name!r}: its last layer was not found (a linear layer or convolution of {num_classes} outputs): "
            "give the module an attribute 'last_layer'"
        )
    return found[-1]


def _function(name: str, module: ModuleType, attribute: str) -> Callable[..., nn.Module]:
    """Raises ValueError if the module has no such function."""
    found = getattr(module, attribute, None)
    if callable(found):
        return found
    where = getattr(module, "__file__", None) or module.__name__
    known = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    raise ValueError(f"net {name!r}: {where} has no function {attribute!r}{did_you_mean(attribute, known)}")


def _is_option_value(value: object) -> bool:
    """Whether a value is an `OptionValue`."""
    if isinstance(value, tuple):
        return len(value) == 2 and all(type(number) is int for number in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _build(
    name: str,
    factory: Callable[..., nn.Module],
    names_channels: bool,
    any_channels: bool,
    /,
    *,
    num_classes: int,
    in_channels: int,
    **options: OptionValue,
) -> nn.Module:
    """Calls the factory and gives its module the attributes that actrec's own nets have."""
    if not any_channels and in_channels != 3:
        raise ValueError(f"net {name!r} has no parameter 'in_channels': it takes RGB only, not {in_channels} channels")
    if names_channels or in_channels != 3:
        options["in_channels"] = in_channels
    with _current_folder_importable(), failures_of(name, "building it"):
        module = factory(num_classes=num_classes, **options)
    if not isinstance(module, nn.Module):
        raise ValueError(f"net {name!r} returned a {type(module).__name__}: expected a torch.nn.Module")
    if isinstance(module, Backbone):
        return module
    taken = [attribute for attribute in ("name", "options") if hasattr(module, attribute)]
    if not isinstance(getattr(module, "input", DEFAULT_INPUT), Input):
        taken.append("input")
    if taken:
        raise ValueError(f"net {name!r}: its module has an attribute {taken[0]!r}, which actrec sets: rename yours")
    defaults = {
        "in_channels": in_channels,
        "channels_last": _memory_format(module),
        "min_frames": 1,
        "min_size": 1,
        "frames_multiple": 1,
    }
    for attribute, value in defaults.items():
        if not hasattr(module, attribute):
            setattr(module, attribute, value)
    return module


def _memory_format(module: nn.Module) -> torch.memory_format:
    """The channels-last format for the weights. torch has one for 2D and one for 3D convolutions, but none for both."""
    dimensions = {parameter.ndim for parameter in module.parameters()}
    if {4, 5} <= dimensions:
        return torch.contiguous_format
    return torch.channels_last if 4 in dimensions else torch.channels_last_3d


def _outputs(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) else None


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Python looks for modules in the current folder first."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
