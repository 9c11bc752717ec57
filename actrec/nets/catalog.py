"""Facts about all nets: families, cost, limits, weights.

`python -m actrec.nets.catalog` writes the facts about actrec's own nets to a table (`actrec.known_nets`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from typing import Any

from actrec import nets
from actrec.files import atomic_write
from actrec.known_nets import TABLE, Details, Family
from actrec.nets import NETS, Entry
from actrec.nets.profile import profile
from actrec.nets.weights import COUNTERS


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


def pattern_of(name: str) -> str:
    """The name of a tensor with all numbers replaced: `layer#.#.conv#.weight`."""
    return re.sub(r"\d+", "#", name)


def facts() -> dict[str, Any]:
    """The table of all nets, measured. This takes seconds, because every net is built on torch's `meta` device."""
    from actrec.nets import published

    return {
        "families": [asdict(family) for family in families()],
        "nets": {name: asdict(describe(name)) for name in NETS},
        "tensor_names": {name: dict(sorted(Counter(map(pattern_of, tensor_names(name))).items())) for name in NETS},
        "mini_benchmark": [asdict(row) | asdict(published.measured(row)) for row in published.rows()],
    }


def tensor_names(name: str) -> list[str]:
    """The names of the tensors of a net with its default options, without the counters of batch normalization."""
    return [key for key in nets.outline(name).state_dict() if not re.fullmatch(COUNTERS, key)]


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
