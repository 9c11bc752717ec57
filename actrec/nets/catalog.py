"""Facts about all nets: families, cost, limits, weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from actrec import nets
from actrec.config import Input
from actrec.nets import NETS, Entry, OptionValue, Published
from actrec.nets.profile import profile


@dataclass(frozen=True)
class Family:
    """Nets that differ only in depth.

    Args:
        label: for example `tsn_resnet{18,34,50}`.
        names: the names of the nets, ordered by depth.
        entry: the entry of the first net. The others differ only in `build`, `forms` and `published`.
    """

    label: str
    names: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True)
class Details:
    """What `actrec nets NAME` shows.

    Args:
        params: number of weights and biases, for the default number of classes.
        flops: multiply-adds of the convolutions for one clip of `input`.
        min_frames, min_size: frames and pixels of the smallest clip that the net accepts with its default options.
        frames_multiple: the number of frames of a clip must be a multiple of this.
        exact: the net accepts only clips of `min_frames` and `min_size`.
        options: the options and their defaults.
        weights: the layouts of weights files that the net reads.
        layers: the outermost layers that have weights, in the order in which they are applied.
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
    published: tuple[Published, ...]


def families() -> list[Family]:
    """All nets. No net is built."""
    groups: dict[tuple, dict[int, str]] = {}
    for name in NETS.names():
        entry = NETS.get(name)
        stem = name.rstrip("0123456789")
        depth = name.removeprefix(stem)
        same = (stem, entry.paper, entry.input, tuple(entry.weights), tuple(entry.options.items()))
        groups.setdefault(same, {})[int(depth or 0)] = name
    found = []
    for (stem, *_), group in groups.items():
        depths, names = zip(*sorted(group.items()))
        label = f"{stem}{{{','.join(map(str, depths))}}}" if len(names) > 1 else names[0]
        found.append(Family(label, names, NETS.get(names[0])))
    return found


def describe(name: str) -> Details:
    """Raises ValueError for an unknown name."""
    entry = NETS.get(name)
    net = nets.outline(name)
    cost = profile(net)
    return Details(
        name=name,
        paper=entry.paper,
        params=cost.params,
        flops=cost.flops,
        input=net.input,
        min_frames=-(-net.min_frames // net.frames_multiple) * net.frames_multiple,
        min_size=net.min_size,
        frames_multiple=net.frames_multiple,
        exact=getattr(net, "exact", False),
        options=net.options,
        weights=layouts_of(entry),
        layers=tuple(layer for layer, module in net.named_children() if any(True for _ in module.parameters())),
        published=tuple(entry.published),
    )


def layouts_of(entry: Entry) -> tuple[str, ...]:
    """The layouts of weights files that a net reads."""
    return ("actrec", *entry.weights)


def accuracy(published: Published) -> str:
    """One line: the dataset, the accuracy and the protocol."""
    values = {"top-1": published.top1, "top-5": published.top5}
    shown = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
    crops = " clips x crops" if "x" in published.views else ""
    size = f"{published.size}x{published.size}"
    return (
        f"{published.dataset} {shown} ({published.frames} frames, {published.views}{crops}, {size}; {published.source})"
    )
