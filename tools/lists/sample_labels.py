"""The labels that a sample of a shard states in its `.cls`, `.json` or `.txt` member, or by its folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from actrec.config import ShardOptions
from actrec.data.lists.labels import Bad, Classes, why_no_class_name
from actrec.files import show, stripped

# Fields of the JSON of a sample that state its class, as a number or a name
FIELDS = {
    f"{stem}{end}"
    for stem in ("label", "class", "category", "action", "target", "cls")
    for end in ("", "s", "es", "_id", "_ids", "_idx", "_index", "_name", "_names", "_label", "_labels")
} | {"categories", "category_ids", "classname", "labelname", "action_class"}
_NUMBERS = Classes()  # every number is a label, and no name is


@dataclass(frozen=True)
class Stated:
    """What a sample says about its class. Two empty tuples mean that it says that it has no class.

    Args:
        numbers: Its labels; None if it states no numbers.
        names: Names of its classes; None if it states no names. If there are both, they are in the same order.
    """

    numbers: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None


def members_with_labels(suffixes: Iterable[str], options: ShardOptions) -> list[str]:
    """Which members of a sample state its label.

    Args:
        suffixes: What follows the key in the names of its members, such as "cls".
    """
    wanted = ("cls", "json") if options.label == "auto" else (options.label,)
    return [suffix for suffix in suffixes if suffix.rpartition(".")[2].lower() in wanted]


def read_labels_of(member: Mapping[str, bytes], folder: str, options: ShardOptions) -> Stated | None:
    """What a sample states.

    Args:
        member: The content of its members with labels, by suffix.
        folder: The folder of its members in the shard; empty if there is none.

    Returns:
        None if it states nothing.

    Raises:
        ValueError: It states something that is not a label, or labels that contradict each other.
    """
    values: dict[str, Any] = {}
    if options.label == "folder" and folder:
        values["its folder"] = [folder.rpartition("/")[2]]
    for suffix, data in sorted(member.items()):
        try:
            text = stripped(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise ValueError(f".{suffix} is not UTF-8 text") from None
        if not suffix.lower().endswith("json"):
            values[f".{suffix}"] = [text] if text else None
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError(f".{suffix} is not JSON: {show(text)}") from None
        values |= {f"{field!r} of .{suffix}": value for field, value in _fields(found, options.field)}
    return _agreed(values)


def _fields(found: Any, field: str | None) -> Iterable[tuple[str, Any]]:
    """(name, value) of the fields of JSON that state a class."""
    if field is None:
        if not isinstance(found, dict):
            return [("the value", found)]
        return [(name, value) for name, value in found.items() if name.lower() in FIELDS and not _is_nested(value)]
    for part in field.split("."):
        if not isinstance(found, dict) or part not in found:
            return []
        found = found[part]
    return [(field, found)]


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value))


def _agreed(values: Mapping[str, Any]) -> Stated | None:
    """The numbers and the names that all values state. Raises ValueError if two of them differ."""
    agreed: dict[type, tuple[str, tuple]] = {}  # by kind of label: where it is stated first, and the labels
    is_none = False
    for where, value in values.items():
        if value is None:
            continue
        labels = _labels(where, value)
        if not labels:
            is_none = True
            continue
        first, known = agreed.setdefault(type(labels[0]), (where, labels))
        if known != labels:
            raise ValueError(f"contradicting labels: {first} is {_text(known)}, {where} is {_text(labels)}; choose "
                             "one with --label or --field")  # fmt: skip
    if not agreed:
        return Stated((), ()) if is_none else None
    numbers, names = (agreed[kind][1] if kind in agreed else None for kind in (int, str))
    if is_none or (numbers and names and len(numbers) != len(names)):
        stated = " and ".join(f"{where} is {_text(labels)}" for where, labels in agreed.values())
        raise ValueError(f"contradicting labels: {stated}{', another field is empty' if is_none else ''}")
    return Stated(numbers, names)


def _labels(where: str, value: Any) -> tuple[int | str, ...]:
    """The labels of one value, all numbers or all names."""
    labels = [_label(where, one) for one in (value if isinstance(value, list) else [value])]
    if len({type(label) for label in labels}) > 1:
        raise ValueError(f"{where} holds numbers and names: {show(str(value))}")
    if len(set(labels)) < len(labels):
        raise ValueError(f"{where} names a class twice: {show(str(value))}: expected each label once")
    return tuple(labels)


def _label(where: str, value: Any) -> int | str:
    if isinstance(value, str):
        text = stripped(value)
        if text not in _NUMBERS:
            if reason := why_no_class_name(text):
                raise ValueError(f"{where}: class name {show(text)} {reason}")
            return text
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where} is {show(json.dumps(value))}: expected a number or the name of a class")
    else:
        text = str(value)
    try:
        return _NUMBERS.label(text)
    except Bad as bad:
        raise ValueError(f"{where}: {bad.explain()}") from None


def _text(labels: tuple) -> str:
    return show(", ".join(map(str, labels)))
