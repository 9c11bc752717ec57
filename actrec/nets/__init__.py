"""Networks, by name.

    net = actrec.net("s3d", num_classes=8, temporal_stride=False)

A family is one module of this package: it ends with a table of variants and one loop that registers them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from actrec.config import Input
from actrec.nets.blocks import Backbone
from actrec.registry import Registry, did_you_mean


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
class Published:
    """An accuracy that someone published for a net's weights, in percent.

    Args:
        dataset: it was measured on.
        top1, top5: None where only the other was published.
        frames: of a clip.
        views: clips x crops of a video; None where that was not said.
        size: pixels of the crops' sides.
        source: who published it.
    """

    dataset: str
    top1: float | None
    top5: float | None
    frames: int
    views: str | None
    size: int
    source: str


@dataclass(frozen=True)
class Entry:
    """A registered net.

    Args:
        build: makes the module; its keyword arguments are the net's options.
        input: how the net wants to be fed.
        paper: where it was published.
        weights: layouts of weights it reads besides actrec's own (see `weights.READERS`).
        forms: option sets with which its weights have other names or shapes.
        published: accuracies.
    """

    build: Callable[..., Backbone]
    input: Input
    paper: str
    weights: Mapping[str, Layout] = field(default_factory=dict)
    forms: Sequence[Mapping[str, bool | int | float | str]] = ()
    published: Sequence[Published] = ()

    @property
    def options(self) -> dict[str, bool | int | float | str]:
        """The net's options and their defaults."""
        return {name: option.default for name, option in inspect.signature(self.build).parameters.items()}


NETS: Registry[Entry] = Registry("net", "actrec.nets")


def net(name: str, *, num_classes: int = 400, in_channels: int = 3, **options: bool | int | float | str) -> Backbone:
    """Builds a net with fresh weights.

    Args:
        name: as listed by `NETS.names()`.
        num_classes: logits per clip.
        in_channels: channels of a frame: 3 for RGB, 10 for five images of optical flow, x and y.
        options: the family's own, such as `dropout` or `temporal_stride`.

    Returns:
        A module from clips NCTHW to logits (N, num_classes). It carries `name`, `input` (how to feed it) and `options`
        (`net(name, **options)` builds it again).

    Raises:
        ValueError: for an unknown name, an option that the net does not take, or an illegal value.
    """
    entry = NETS.get(name)
    known = entry.options
    for option in options:
        if option not in known:
            raise ValueError(f"net {name!r} takes no option {option!r}{did_you_mean(option, known)}")
    for option, value in (("num_classes", num_classes), ("in_channels", in_channels)):
        if value < 1:
            raise ValueError(f"{option} {value}: expected at least 1")
    chosen = {**known, "num_classes": num_classes, "in_channels": in_channels, **options}
    module = entry.build(**chosen)
    net_input = entry.input if in_channels == len(entry.input.mean) else entry.input.with_channels(in_channels)
    module.name, module.input, module.options = name, net_input, chosen
    return module
