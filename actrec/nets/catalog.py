"""What is known of every net: families, cost, limits, weights. `markdown` is docs/nets.md."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from actrec import config, nets
from actrec.config import Input
from actrec.nets import NETS, Entry, Published
from actrec.nets.profile import profile

OPTION_HELP = {f.name: f.metadata["help"] for f in dataclasses.fields(config.Net)}
LAYOUT_HELP = {
    "actrec": "The net's own names: checkpoints of `actrec train`, files of `actrec weights convert`; as `.pt`, `.pth` "
    "or `.safetensors`. Every net reads it.",
    "ibm": "`.pth.tar` files of IBM's action-recognition-pytorch, with or without the `module.` of parallel training.",
    "hara": "`.pth` files of Kensho Hara's 3D-ResNets-PyTorch, with or without `module.`",
    "torchvision": "torchvision's video nets.",
    "torchvision2d": "torchvision's ImageNet ResNets and GoogLeNet. 3D convolutions get the 2D ones repeated in time "
    "and divided by the number of repeats; what such files lack keeps its fresh values.",
    "tsm": "TSM and TSN files of TSM's authors (temporal-shift-module).",
    "mmaction2": "mmaction2's TSN, TSM, I3D and R(2+1)D recognizers.",
}


@dataclass(frozen=True)
class Family:
    """Nets that differ in nothing but their depth.

    Args:
        label: such as `tsn_resnet{18,34,50}`.
        names: by depth.
        entry: of the first; but for `build`, `forms` and `published` all are the same.
    """

    label: str
    names: tuple[str, ...]
    entry: Entry


@dataclass(frozen=True)
class Details:
    """What `actrec nets NAME` shows.

    Args:
        params: weights and biases, with the default number of classes.
        flops: multiply-adds of the convolutions for one clip of `input`.
        min_frames, min_size: of the smallest clip that the net takes, with its default options.
        frames_multiple: clips have a multiple of it.
        options: and their defaults.
        weights: layouts that it reads.
        layers: outermost ones that have weights, in the order in which they act.
    """

    name: str
    paper: str
    params: int
    flops: int
    input: Input
    min_frames: int
    min_size: int
    frames_multiple: int
    options: Mapping[str, bool | int | float | str]
    weights: tuple[str, ...]
    layers: tuple[str, ...]
    published: tuple[Published, ...]


def families() -> list[Family]:
    """All nets; nothing is built."""
    groups: dict[tuple, dict[int, str]] = {}
    for name in NETS.names():
        entry = NETS.get(name)
        stem, depth = re.fullmatch(r"(.*?)(\d*)", name).groups()
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
        options=net.options,
        weights=layouts_of(entry),
        layers=tuple(layer for layer, module in net.named_children() if any(True for _ in module.parameters())),
        published=tuple(entry.published),
    )


def layouts_of(entry: Entry) -> tuple[str, ...]:
    """The layouts that a net reads."""
    return ("actrec", *entry.weights)


def accuracy(published: Published) -> str:
    """One line: where, how much, and by which protocol."""
    values = {"top-1": published.top1, "top-5": published.top5}
    shown = ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)
    views = published.views or "views not said"
    crops = " clips x crops" if "x" in views else ""
    size = f"{published.size}x{published.size}"
    return f"{published.dataset} {shown} ({published.frames} frames, {views}{crops}, {size}; {published.source})"


def markdown() -> str:
    """docs/nets.md. Takes seconds: every net is built on no device and measured."""
    grouped = families()
    details = [describe(name) for family in grouped for name in family.names]
    parts = [
        "# Nets",
        "<!-- Made by `actrec nets --markdown`, which a test compares with this file. -->",
        "`actrec nets NAME` shows one of them with its options, `actrec nets --benchmark` the published trainings on "
        "mini\ndatasets, `actrec weights inspect FILE` which net a weights file is of.",
        "Parameters are those with 400 classes. FLOPs are counted as in the published tables (arXiv:2010.11757): the\n"
        "multiply-adds of the convolutions for one clip of the net's own input. Accuracies are what others\n"
        "published, in percent; all of them are of nets without temporal stride where that is an option\n"
        "(`--no-temporal-stride`).",
        _table(
            ("net", "paper", "parameters", "FLOPs", "input", "reads, besides actrec", "published"),
            [
                (
                    f"`{net.name}`",
                    _linked(net.paper),
                    f"{net.params / 1e6:.2f} M",
                    f"{net.flops / 1e9:.2f} G",
                    f"{net.input.frames} x {net.input.size}x{net.input.size}",
                    ", ".join(net.weights[1:]) or "–",
                    "<br>".join(_linked(accuracy(each)) for each in net.published) or "–",
                )
                for net in details
            ],
        ),
        "## Layouts of weights",
        "`--weights` finds the layout by itself; every tensor of a file is used or dropped for a reason that is named.",
    ]
    for layout, text in LAYOUT_HELP.items():
        parts += [f"### {layout}", text]
        if layout != "actrec":
            parts.append(f"Read by {_listed(family for family in grouped if layout in family.entry.weights)}.")
    parts += [
        "## Options",
        "Flags of `actrec train`, and keyword arguments of `actrec.net`, which also takes `num_classes` and "
        "`in_channels`.",
        _table(
            ("option", "what", "default"),
            [(f"`{option}`", OPTION_HELP[option], _defaults(option, grouped)) for option in _used(grouped)],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _used(grouped: Iterable[Family]) -> list[str]:
    """All options, in the order of their flags."""
    taken = {option for family in grouped for option in family.entry.options}
    return [option for option in OPTION_HELP if option in taken]


def _defaults(option: str, grouped: Iterable[Family]) -> str:
    """Each default with the families that have it."""
    by_default: dict[str, list[Family]] = {}
    for family in grouped:
        if option in family.entry.options:
            by_default.setdefault(str(family.entry.options[option]), []).append(family)
    return "<br>".join(f"{default}: {_listed(having)}" for default, having in by_default.items())


def _listed(some: Iterable[Family]) -> str:
    return ", ".join(f"`{family.label}`" for family in some)


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *lines))


def _linked(text: str) -> str:
    return re.sub(r"arXiv:(\d+\.\d+)", r"[\1](https://arxiv.org/abs/\1)", text)
