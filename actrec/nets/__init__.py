"""Networks, by name.

    net = actrec.net("s3d", num_classes=8, temporal_stride=False)

A family is one module of this package: it ends with a table of variants and one loop that registers them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from actrec.config import Input
from actrec.nets.blocks import Backbone
from actrec.registry import Registry


@dataclass(frozen=True)
class Layout:
    """How the names in a kind of weights file become a net's names.

    The patterns are regular expressions for whole names; the first that matches decides.

    Args:
        renames: pattern of a name in the file -> the net's name (`\\1` and so on allowed).
        dropped: pattern of a name in the file -> why the net has no use for it.
        fresh: patterns of the net's names that such files lack and that keep their initial values.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A registered net.

    Args:
        build: makes the module; its keyword arguments are the net's options.
        input: how the net wants to be fed.
        paper: where it was published.
        num_params: parameters without the last layer, with default options.
        weights: layouts of weights it reads besides actrec's own (see `weights.READERS`).
    """

    build: Callable[..., Backbone]
    input: Input
    paper: str
    num_params: int
    weights: Mapping[str, Layout] = field(default_factory=dict)


NETS: Registry[Entry] = Registry("net", "actrec.nets")


def net(name: str, *, num_classes: int = 400, in_channels: int = 3, **options: bool | int | float | str) -> Backbone:
    """Builds a net with fresh weights.

    Args:
        name: as listed by `NETS.names()`.
        num_classes: logits per clip.
        in_channels: channels of a frame; 3 for RGB.
        options: the family's own, such as `dropout` or `temporal_stride`.

    Returns:
        A module from clips NCTHW to logits (N, num_classes). It carries `name`, `input` (how to feed it) and `options`
        (`net(name, **options)` builds it again).

    Raises:
        ValueError: for an unknown name, an option that the net does not take, or an illegal value.
    """
    entry = NETS.get(name)
    signature = inspect.signature(entry.build)
    for option in options:
        if option not in signature.parameters:
            takes = ", ".join(signature.parameters)
            raise ValueError(f"net {name!r} takes no option {option!r}: it takes {takes}")
    bound = signature.bind(num_classes=num_classes, in_channels=in_channels, **options)
    bound.apply_defaults()
    module = entry.build(**bound.arguments)
    module.name, module.input, module.options = name, entry.input, dict(bound.arguments)
    return module
