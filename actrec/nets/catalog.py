"""Facts about all nets: families, cost, limits, weights.

`python -m actrec.nets.catalog` writes the facts about actrec's own nets to a table (`actrec.known_nets`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from actrec import nets
from actrec.config import Input
from actrec.files import atomic_write
from actrec.known_nets import TABLE, Details, Family, Form, OptionValue
from actrec.nets import NETS, Entry
from actrec.nets.backbone import Backbone
from actrec.nets.matching import COUNTERS, stem_of
from actrec.nets.profile import profile
from actrec.nets.weights import head_of
from actrec.settings import check_fields


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
        entry = NETS.get(names[0])
        found.append(Family(label, names, entry.paper, entry.input, layouts_of(entry), entry.options))
    return found


def describe(net: Backbone, *, frames: int | None = None, size: int | None = None) -> Details:
    """Facts about a net, which can be an outline.

    Args:
        frames, size: Of the clips. None takes those of the net.

    Raises:
        ValueError: The net does not accept such clips.
    """
    entry, cost = NETS.get(net.name), profile(net, frames=frames, size=size)
    clips = {name: value for name, value in (("frames", frames), ("size", size)) if value is not None}
    return Details(
        name=net.name,
        paper=entry.paper,
        params=cost.params,
        flops=cost.flops,
        input=replace(net.input, **check_fields(Input, clips)),
        min_frames=-(-net.min_frames // net.frames_multiple) * net.frames_multiple,
        min_size=net.min_size,
        frames_multiple=net.frames_multiple,
        exact=getattr(net, "exact", False),
        options=net.options,
        weights=layouts_of(entry),
        layers=tuple(layer for layer, module in net.named_children() if any(True for _ in module.parameters())),
        lr=entry.lr,
        published=tuple(entry.published),
    )


def layouts_of(entry: Entry) -> tuple[str, ...]:
    """The layouts of weights files that a net reads."""
    return tuple(dict.fromkeys(("actrec", *entry.weights)))


@functools.cache
def pattern_of(name: str) -> str:
    """The name of a tensor with all numbers replaced: `layer#.#.conv#.weight`."""
    return re.sub(r"\d+", "#", name)


def facts() -> dict[str, Any]:
    """The table of all nets, measured. This takes seconds, because every net is built on torch's `meta` device."""
    from actrec.nets import published

    outlines = {name: nets.outline(name) for name in NETS}
    return {
        "families": [asdict(family) for family in families()],
        "nets": {name: asdict(describe(net)) for name, net in outlines.items()},
        "forms": {name: forms(net) for name, net in outlines.items()},
        "mini_benchmark": [asdict(row) | asdict(published.measured(row)) for row in published.rows()],
    }


def form(net: Backbone, options: Mapping[str, OptionValue]) -> Form:
    """The tensors of a net that was made with these options."""
    own, head = net.state_dict(), head_of(net, needed=True)
    assert head is not None
    stem = stem_of(own)
    assert stem is not None
    rest = {key: tensor for key, tensor in own.items() if key != stem and not key.startswith(head)}
    return Form(options, head, stem, stem_shape(own[stem]), sums(rest))


def stem_shape(weight: Tensor) -> tuple[int, ...]:
    """The shape of the first convolution's weight, without the input channels."""
    return weight.shape[:1] + weight.shape[2:]


def sums(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The tensors by patterns of their names, as in `Form.tensors`."""
    counts: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        if re.fullmatch(COUNTERS, name):
            continue
        in_time = tensor.shape[2] if tensor.ndim == 5 else 1
        found = counts.setdefault(pattern_of(name), [0, 0, 0])
        for i, more in enumerate((1, tensor.numel(), tensor.numel() // max(in_time, 1))):
            found[i] += more
    return {pattern: tuple(found if found[1] != found[2] else found[:2]) for pattern, found in sorted(counts.items())}


def forms(net: Backbone) -> list[dict[str, Any]]:
    """The forms of a net as they are stored: all but the first contain only what differs from it.

    Args:
        net: made with its default options.
    """
    first = form(net, {})
    stored = [asdict(first)]
    for options in NETS.get(net.name).forms:
        other = form(nets.outline(net.name, **options), options)
        absent = {pattern: None for pattern in first.tensors if pattern not in other.tensors}
        differing = {pattern: n for pattern, n in other.tensors.items() if n != first.tensors.get(pattern)}
        stored.append({**asdict(other), "tensors": {**absent, **differing}})
    return stored


def table(facts: dict[str, Any]) -> str:
    """The content of the file: each net in a line of its own, so that a new net changes few lines."""
    parts = []
    for part, rows in facts.items():
        if isinstance(rows, dict):
            lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
        else:
            lines = [json.dumps(row) for row in rows]
        begin, end = "{}" if isinstance(rows, dict) else "[]"
        parts.append(f"{json.dumps(part)}: {begin}\n" + ",\n".join(lines) + f"\n{end}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    with atomic_write(TABLE) as file:
        file.write(table(facts()))
