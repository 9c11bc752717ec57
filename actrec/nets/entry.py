"""What is known of a net before it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from actrec.config import Input
from actrec.known_nets import OptionValue as OptionValue
from actrec.known_nets import Published as Published


@dataclass(frozen=True)
class Layout:
    """How the names in one kind of weights file map to the names in a net.

    The patterns are regular expressions that must match a whole name. The first one that matches decides.

    Args:
        renames: pattern of a name in the file -> the net's name (`\\1` and so on are allowed).
        dropped: pattern of a name in the file -> why the net does not need this tensor.
        fresh: patterns of names that the net has and such files lack. These tensors keep their initial values.
    """

    renames: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A registered net.

    Args:
        build: makes the module. It is called with `num_classes`, `in_channels` and every option, by name.
        input: the input that the net expects.
        options: the options of the net and their default values.
        paper: where the net was published.
        weights: layouts of weights files that the net reads in addition to actrec's own (see `weights.READERS`).
        forms: sets of options that change the names or the shapes of the weights.
        published: published accuracies.
        outside: the net was defined by the user (see `actrec.nets.outside`).
    """

    build: Callable[..., nn.Module]
    input: Input
    options: Mapping[str, OptionValue]
    paper: str = ""
    weights: Mapping[str, Layout] = field(default_factory=dict)
    forms: Sequence[Mapping[str, OptionValue]] = ()
    published: Sequence[Published] = ()
    outside: bool = False
