"""What is known about a net before it is built: its `Entry`, and the layouts of its weights files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from actrec.config import Input
from actrec.known_nets import OptionValue as OptionValue
from actrec.known_nets import Published as Published


@dataclass(frozen=True)
class Layout:
    """How the names in one kind of weights file map to the names in a net.

    The patterns are regular expressions that must match a whole name. The first one that matches decides.

    Args:
        renames: pattern of a name in the file -> the net's name (`\\1` and so on are allowed), or a function of the
            match that returns it.
        dropped: pattern of a name in the file -> why the net does not need this tensor.
        fresh: patterns of names that the net has and such files lack. These tensors keep their initial values.
        convert: a function of two arguments: the tensors that are not dropped, by their names after `renames`, and the
            net. It returns tensors by the net's names. For example, it joins queries, keys and values, or interpolates
            tables of positions. The file can be that of another net, lack tensors, or have tensors without values (on
            torch's `meta` device). The function must therefore keep names that it does not know. If it raises
            an error, its message becomes a part of the error message for the user.
        parts: prefixes of the net's names, such as `encoder.`. A file contains all tensors of a part or none of them,
            and it contains at least one part. Tensors of parts that it lacks keep their initial values.
        eps: pattern of a module's name in the net -> the epsilon of this normalization in the project that wrote the
            file. Loading sets the epsilons, and stores the layout as the net's option `eps_of`. If one layout of a net
            has this field, all its layouts must have it.
    """

    renames: Mapping[str, str | Callable[[re.Match[str]], str]] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    convert: Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]] | None = None
    parts: tuple[str, ...] = ()
    eps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A registered net.

    Args:
        build: makes the module. It is called with `num_classes`, `in_channels` and every option, by name.
        input: the input that the net expects.
        options: the options of the net and their default values.
        paper: where the net was published.
        weights: layouts of weights files that the net reads in addition to actrec's own (see `matching.READERS`).
        forms: sets of options that change the names or the shapes of the weights.
        published: published accuracies.
        outside: the net was defined by the user (see `actrec.nets.outside`).
        options_of: a function that returns the options that follow from the tensors of a file, such as `depth`,
            `frames` and `size`. It is called with the tensors by their names after `Layout.renames` and before
            `Layout.convert`. The file can be that of any net, so the function must leave out options that it cannot
            determine.
        lr: the default learning rate with AdamW. None: that of the optimizer.
        unshown: an option that changes no name or shape, so a weights file does not show it, and its value in this
            net. `actrec weights inspect` prints this text.
    """

    build: Callable[..., nn.Module]
    input: Input
    options: Mapping[str, OptionValue]
    paper: str = ""
    weights: Mapping[str, Layout] = field(default_factory=dict)
    forms: Sequence[Mapping[str, OptionValue]] = ()
    published: Sequence[Published] = ()
    outside: bool = False
    options_of: Callable[[Mapping[str, Tensor]], Mapping[str, OptionValue]] | None = None
    lr: float | None = None
    unshown: str = ""

    def __post_init__(self) -> None:
        if any(layout.eps for layout in self.weights.values()):
            object.__setattr__(self, "options", {**self.options, "eps_of": None})
