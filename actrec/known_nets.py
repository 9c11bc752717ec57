"""Facts about actrec's own nets, from a stored table: `actrec nets` shows them without loading torch.

The table is `nets/known_nets.json`. `make nets` measures the nets and writes it; a test compares it with them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actrec.config import Input

TABLE = Path(__file__).parent / "nets" / "known_nets.json"
_CLASSES = {
    "Kinetics-400": 400,
    "Kinetics-600": 600,
    "Something-Something V1": 174,
    "Something-Something V2": 174,
}
OptionValue = bool | int | float | str | tuple[int, int] | None


@dataclass(frozen=True)
class Published:
    """An accuracy that was published for a net's weights, in percent.

    Args:
        dataset: the dataset on which it was measured.
        top1, top5: None where only the other one was published.
        frames: frames of a clip. For TSN and TSM these are the segments of the video.
        views: clips x crops of a video, such as `10x3`, or a number of clips.
        size: height and width of the crops in pixels.
        source: who published it.
        layout: the layout of the weights file.
        file: the name of the weights file, as it was published; with its folder if several files have the same name.
        protocol: the evaluation protocol with which it was measured (see `actrec.protocol`).
        options: options of the net that the weights need, if they differ from the defaults.
    """

    dataset: str
    top1: float | None
    top5: float | None
    frames: int
    views: str
    size: int
    source: str
    layout: str = ""
    file: str = ""
    protocol: str = ""
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def is_file(self, path: Path) -> bool:
        """Whether a file has the published name."""
        return self.file != "" and path.match(self.file)

    def has_classes(self, num_classes: int | None) -> bool:
        """Whether the dataset has this number of classes. True if its number is not known."""
        return _CLASSES.get(self.dataset, num_classes) == num_classes

    def has_options(self, options: Mapping[str, OptionValue]) -> bool:
        """Whether a net with these options fits the weights. Options that are not given can have any value."""
        return all(options.get(name, value) == value for name, value in self.options.items())


@dataclass(frozen=True)
class Family:
    """Nets that differ only in depth.

    Args:
        label: for example `tsn_resnet{18,34,50}`.
        names: the names of the nets, ordered by depth.
        paper: where the nets were published.
        input: the input that they expect.
        weights: the layouts of weights files that they read.
        options: their options and the defaults.
    """

    label: str
    names: tuple[str, ...]
    paper: str
    input: Input
    weights: tuple[str, ...]
    options: Mapping[str, OptionValue]


@dataclass(frozen=True)
class Details:
    """What `actrec nets NAME` shows.

    Args:
        params: number of weights and biases, for the default number of classes.
        flops: multiply-adds for one clip of `input`, as `nets.profile` counts them.
        min_frames, min_size: frames and pixels of the smallest clip that the net accepts with its default options.
        frames_multiple: the number of frames of a clip must be a multiple of this.
        exact: the net accepts only clips of `min_frames` and `min_size`.
        options: the options and their defaults.
        weights: the layouts of weights files that the net reads.
        layers: the outermost layers that have weights, in the order in which they are applied.
        lr: the default learning rate with AdamW; None if it is that of the optimizer.
    """

    name: str
    paper: str
    params: int
    flops: int
    input: Input
    min_frames: int
    min_size: int
    frames_multiple: int
    exact: bool
    options: Mapping[str, OptionValue]
    weights: tuple[str, ...]
    layers: tuple[str, ...]
    lr: float | None
    published: tuple[Published, ...]


@dataclass(frozen=True)
class Form:
    """Names and sizes of a net's tensors, for recognizing files without building the net.

    Args:
        options: the options of this form that differ from the defaults.
        head: beginning of the names of the last layer's tensors.
        stem: the first convolution.
        stem_shape: shape of its weight, without the input channels.
        tensors: pattern of names (see `nets.catalog.pattern_of`) -> how many tensors have such names, how many values
            they hold together and, where it differs, how many they would hold without the time axis of the kernels.
            The tensors of the last layer and of the stem, and counters, are left out.
    """

    options: Mapping[str, OptionValue]
    head: str
    stem: str
    stem_shape: tuple[int, ...]
    tensors: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class KnownNets:
    """The table.

    Args:
        families: all nets.
        nets: by name.
        forms: the tensors of each net, with its default options first and then with each set of options that changes
            names or shapes.
        mini_benchmark: the rows of `nets.published`, with parameters and FLOPs as measured.
    """

    families: tuple[Family, ...]
    nets: Mapping[str, Details]
    forms: Mapping[str, tuple[Form, ...]]
    mini_benchmark: list[dict[str, Any]]


@functools.cache
def known_nets() -> KnownNets:
    """The table as it is stored."""
    stored = json.loads(TABLE.read_text(encoding="utf-8"))
    return KnownNets(
        families=tuple(Family(**_typed(family)) for family in stored["families"]),
        nets={name: Details(**_typed(net)) for name, net in stored["nets"].items()},
        forms={name: _forms(forms) for name, forms in stored["forms"].items()},
        mini_benchmark=stored["mini_benchmark"],
    )


def _forms(stored: list[dict[str, Any]]) -> tuple[Form, ...]:
    """The forms of a net. All but the first contain only the patterns in which they differ from it."""
    found: list[Form] = []
    for form in stored:
        tensors = {**(found[0].tensors if found else {}), **form["tensors"]}
        tensors = {pattern: tuple(counts) for pattern, counts in tensors.items() if counts is not None}
        found.append(Form(form["options"], form["head"], form["stem"], tuple(form["stem_shape"]), tensors))
    return tuple(found)


def _typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a family or net, with tuples in the place of lists, and dataclasses in the place of dicts."""
    typed = _with_tuples(fields)
    own: dict[str, Any] = _with_tuples(fields["input"])
    typed |= {"input": Input(**own), "options": _with_tuples(fields["options"])}
    if "published" in fields:
        typed["published"] = tuple(Published(**published) for published in fields["published"])
    return typed


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def accuracy(published: Published) -> str:
    """One line: the dataset, the accuracy and the protocol."""
    values = {"top-1": published.top1, "top-5": published.top5}
    shown = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
    crops = " clips x crops" if "x" in published.views else ""
    size = f"{published.size}x{published.size}"
    return (
        f"{published.dataset} {shown} ({published.frames} frames, {published.views}{crops}, {size}; {published.source})"
    )
