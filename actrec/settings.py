"""What the option dataclasses of `actrec.config` are built with: `opt` for a field, `Settings` for validation.

The type of a field is its rule. It is checked when an instance is created, in the library and on the command line
alike, and the command line takes the choices of a flag from it.
"""

from __future__ import annotations

import functools
import math
import numbers
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from actrec.registry import did_you_mean

_LONGEST = 120  # characters of a value in a message
_NAME = re.compile(r"`(\w+)`")
_KINDS = {  # of values: one, several
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "values True or False"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}


class OptionError(ValueError):
    """An option has an illegal value.

        try:
            actrec.Clip(frames=0)
        except ValueError as error:
            print(error)  # frames 0: expected at least 1

    Args:
        text: the message, with the names of options in backticks. The library shows the names of the fields, the
            command line shows their flags.
    """

    def __init__(self, text: str):
        self.text = text
        super().__init__(self.shown(lambda name: name))

    def shown(self, spell: Callable[[str], str]) -> str:
        """The message, with each name spelled by this function."""
        return _NAME.sub(lambda match: spell(match[1]), self.text)


@dataclass(frozen=True)
class Settings:
    """A dataclass whose fields are checked against their types and the bounds given to `opt`.

    Numbers of numpy are stored as plain ones, and a whole number in a field for any number is stored as a float.

    A subclass with further rules checks them in its own `__post_init__`, after calling this one.

    Raises:
        OptionError: a field has an illegal value.
    """

    def __post_init__(self) -> None:
        for name, value in check_fields(type(self), {f.name: getattr(self, f.name) for f in fields(self)}).items():
            object.__setattr__(self, name, value)
        _check_only(self)


def bounds(
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Metadata of a field: the bounds of its value, or of each number of a tuple."""
    given = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    return {"bounds": {name: bound for name, bound in given.items() if bound is not None}}


def opt(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    only: tuple[str, tuple[str, ...]] | None = None,
    metavar: str | None = None,
    common: bool = False,
    complete: str | None = None,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field that is also a flag.

        blur: float = opt(0.0, "Fraction of clips that are blurred.", at_least=0, at_most=1)

    Args:
        default: its value; None means "decided later", and the help says by what.
        help: one line for `--help`.
        flag: the flag if it is not `--field-name`.
        only: another field, and those of its values with which this field has a meaning.
        metavar: what `--help` shows in place of the value.
        common: `--help` shows the flag. The other flags are shown by `--help-all`.
        complete: what a shell completes its value with: "nets".
        at_least, above, at_most, below: see `bounds`.
    """
    limits = bounds(at_least=at_least, above=above, at_most=at_most, below=below)
    shown = {"help": help, "flag": flag, "only": only, "metavar": metavar, "common": common, "complete": complete}
    return field(default=default, metadata={**shown, **limits})


def check_fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Checks values of some fields of a dataclass and returns them as `check_value` does.

    Raises:
        OptionError: a value is illegal.
    """
    declared = field_types(kind)
    return {
        f.name: check_value(f.name, values[f.name], declared[f.name], **f.metadata.get("bounds", {}))
        for f in fields(kind)
        if f.name in values
    }


@functools.cache
def field_types(kind: type) -> dict[str, Any]:
    """The declared type of each field of a dataclass."""
    return typing.get_type_hints(kind)


def without_none(declared: Any) -> Any:
    """`T` for a type that is declared as `T | None`."""
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        return next(member for member in typing.get_args(declared) if member is not types.NoneType)
    return declared


def _alternative(declared: Any, value: Any) -> Any:
    """Of a type `T | tuple[T, T]`, the alternative that is meant by a value."""
    if typing.get_origin(declared) not in (typing.Union, types.UnionType):
        return declared
    members = [member for member in typing.get_args(declared) if member is not types.NoneType]
    tuples = [member for member in members if typing.get_origin(member) is tuple]
    return tuples[0] if tuples and isinstance(value, tuple) else members[0]


def show(value: Any) -> str:
    """An option's value in a message: as on the command line; text is quoted, and other objects are named by type."""
    if isinstance(value, tuple):
        return ",".join(f"{v:g}" if type(v) is float else show(v).strip("'") for v in value) or "()"
    if isinstance(value, str):
        return _shortened(repr(value))
    if type(value) is int and value.bit_length() > _LONGEST:  # Python refuses to print very long numbers
        return f"of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float, Path)):
        return str(value)
    if isinstance(value, list) and all(type(v) in (int, float, str) for v in value):
        return f"[{', '.join(show(v) for v in value[:_LONGEST])}]"
    return f"of type {type(value).__name__}"


def check_literal(name: str, value: Any, declared: Any) -> Any:
    """The value, if it is one of the values of a `Literal` type. A number of numpy becomes a plain one.

    Args:
        name: of the option or argument.

    Raises:
        OptionError: it is none of them. The message names them.
    """
    legal = typing.get_args(declared)
    plain = _plain(value)
    if any(type(plain) is type(other) and plain == other for other in legal):
        return plain
    raise OptionError(f"`{name}` {show(plain)}: {expected_one_of(plain, legal)}")


def expected_one_of(value: Any, legal: Sequence[Any]) -> str:
    """The end of a message: the legal values, and the one that is closest."""
    close = did_you_mean(value, [other for other in legal if isinstance(other, str)]) if isinstance(value, str) else ""
    suggestion = f" ({close.removeprefix(': ').removesuffix('?')}?)" if "did you mean" in close else ""
    return f"expected one of {', '.join(map(str, legal))}{suggestion}"


def check_value(name: str, value: Any, declared: Any, **bounds: float) -> Any:
    """Checks a value against a type: `int`, `float`, `bool`, `str`, `Path`, `Literal`, `tuple` of these, `| None`.

    `int | tuple[int, int]` is one number or several.

    Args:
        name: of the option or argument.
        bounds: `at_least`, `above`, `at_most` or `below`, for a number or for each number of a tuple.

    Returns:
        The value. Numbers of any library are returned as plain `int`, `float` and `bool`.

    Raises:
        OptionError: the value is of another type, is not finite, does not fit into 64 bits, or is out of bounds.
    """
    if value is None and types.NoneType in typing.get_args(declared):
        return None
    declared = _alternative(declared, value)
    if typing.get_origin(declared) is Literal:
        return check_literal(name, value, declared)
    is_tuple = typing.get_origin(declared) is tuple
    members = typing.get_args(declared) if is_tuple else (declared,)
    kind, count = members[0], None if Ellipsis in members else len(members)
    plain = tuple(map(_plain, value)) if isinstance(value, tuple) else _plain(value)
    values = plain if isinstance(plain, tuple) else (plain,)
    if is_tuple and not isinstance(plain, tuple):
        raise OptionError(f"`{name}` {show(plain)}: expected a tuple of {_form(kind, is_tuple, count)}")
    if (
        isinstance(plain, tuple) != is_tuple
        or not values
        or count not in (None, len(values))
        or not all(_is(v, kind) for v in values)
    ):
        raise OptionError(f"`{name}` {show(plain)}: expected {_form(kind, is_tuple, count)}")
    if bounds and not all(_in_bounds(v, **bounds) for v in values):
        raise OptionError(f"`{name}` {show(plain)}: expected {_spelled(many=is_tuple, **bounds)}")
    if kind is int and not all(-(2**63) <= v < 2**63 for v in values):
        raise OptionError(f"`{name}` {show(plain)}: expected {_form(kind, is_tuple, count)} that fits into 64 bits")
    if kind is float:
        values = tuple(map(float, values))
    return values if is_tuple else values[0]


def _plain(value: Any) -> Any:
    """A number of any library as a plain `int`, `float` or `bool`; other values, and infinite fractions, unchanged."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return value


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 4 :]}"


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and abs(value) <= sys.float_info.max  # `math.isfinite` raises for larger whole numbers
    if kind is Path:
        return isinstance(value, (str, os.PathLike))
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _form(kind: type, is_tuple: bool, count: int | None) -> str:
    """`a whole number`, `2 numbers`, `one or more numbers`"""
    one, many = _KINDS.get(kind, (kind.__name__, kind.__name__))
    return f"{'one or more' if count is None else count} {many}" if is_tuple else one


def _in_bounds(
    value: float,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> bool:
    return above < value < below and at_least <= value <= at_most


def _spelled(
    *,
    many: bool,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> str:
    """`at least 1`, `from 0 to 30`, `a positive number`, `numbers above 0 and up to 1`"""
    noun = "numbers" if many else "a number"
    if above == 0 and at_most is None and below is None:
        return "positive numbers" if many else "a positive number"
    low = f"above {above:.12g}" if above is not None else f"at least {at_least:.12g}" if at_least is not None else ""
    high = f"up to {at_most:.12g}" if at_most is not None else f"below {below:.12g}" if below is not None else ""
    if at_least is not None and high:
        return f"from {at_least:.12g} {high.replace('up to', 'to').replace('below', 'to below')}"
    if at_least is not None and not many:
        return low
    return f"{noun} {' and '.join(filter(None, (low, high)))}"


def _check_only(settings: Any) -> None:
    """Raises OptionError if a field was changed that has no meaning with the value of another field."""
    for f in fields(settings):
        if (only := f.metadata.get("only")) is None:
            continue
        other, legal = only
        value, chosen = getattr(settings, f.name), getattr(settings, other)
        if value != f.default and chosen not in legal:
            named = f"`{f.name}`" if value is True else f"`{f.name}` {show(value).strip(chr(39))}"
            raise OptionError(f"{named} with `{other}` {chosen}: it belongs to `{other}` {' or '.join(legal)}")
