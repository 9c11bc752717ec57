"""Option names and values of older versions in stored files: `config.json` and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class _Change:
    """An option that was renamed or removed.

    Args:
        section: the dataclass of `actrec.config` that has or had the option, in lower case.
        key: its old name.
        new_key: its name today, None if it was removed.
        values: today's spelling of an old value.
    """

    section: str
    key: str
    new_key: str | None
    values: Mapping[str, str] = field(default_factory=dict)


# Everything that was renamed or removed since the first stored files (commit 23e24aa). Add a row for each new change.
_CHANGES = (
    _Change("augment", "colour_jitter", "color_jitter"),
    _Change("augment", "geometry", "geometry", {"centre": "center"}),
    _Change("augment", "clip_position", "clip_position", {"centre": "center"}),
    _Change("input", "layout", None),
)

# What options were before they existed, where their defaults today are different.
_BEFORE = {("optim", "warmup"): 0.0, ("optim", "norm_decay"): True}


def current_options(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Stored sections with today's option names and values.

    Args:
        sections: options by name, by section. Entries that are not sections are returned as they are.
    """
    result = {name: dict(values) if isinstance(values, dict) else values for name, values in sections.items()}
    for change in _CHANGES:
        section = result.get(change.section)
        if not isinstance(section, dict) or change.key not in section:
            continue
        value = section.pop(change.key)
        if change.new_key is not None:
            section[change.new_key] = change.values.get(value, value) if isinstance(value, str) else value
    for (name, key), value in _BEFORE.items():
        if isinstance(result.get(name), dict):
            result[name].setdefault(key, value)
    return result


def current_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A stored checkpoint with today's option names and values. Its tensors are shared with the original."""
    result = dict(checkpoint)
    for part in ("config", "net"):  # "net" has a section "input"
        if isinstance(result.get(part), dict):
            result[part] = current_options(result[part])
    if isinstance(result.get("clip"), dict):
        result |= current_options({"clip": result["clip"]})
    return result
