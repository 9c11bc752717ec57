"""Checks the arguments of public functions: the annotation of an argument is its rule, as for a field of `Settings`."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from actrec.settings import OptionError, check_value, show

F = TypeVar("F", bound=Callable[..., Any])

_SCALARS = (int, float, bool, str, Path)
_NAMES = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", types.NoneType: "None"}
_SHOWN = (bool, int, float, str, Path)  # values that a message shows; others are named by their type


def checked(function: F) -> F:
    """Decorator of a public function: an argument of a wrong type raises an error that names it.

    The annotations are read when the function is first called. Numbers of numpy become plain ones. Arguments without
    an annotation, `*args` and `**kwargs` are not checked. The function itself checks the bounds of values.

        @checked
        def scale(clip: Clip, *, size: int | None = None): ...

        scale(5)  # OptionError: clip: expected actrec.Clip, found int 5

    Raises:
        OptionError: an argument has another type than its annotation.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [name for name, found in inspect.signature(function).parameters.items() if found.kind in kinds]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        declared = _annotations(function)
        given = [
            check_argument(name, value, declared[name]) if name in declared else value
            for name, value in zip(positional, args)
        ]
        named = {
            name: check_argument(name, value, declared[name]) if name in declared else value
            for name, value in kwargs.items()
        }
        return function(*given, *args[len(given) :], **named)

    return typing.cast(F, call)


def check_argument(name: str, value: Any, declared: Any) -> Any:
    """The value, if it has the declared type. Numbers of numpy become plain ones.

    Raises:
        OptionError: it has another type.
    """
    if value is None and types.NoneType in _members(declared):
        return None
    members = [member for member in _members(declared) if member is not types.NoneType]
    if len(members) == 1 and (members[0] in _SCALARS or typing.get_origin(members[0]) in (Literal, tuple)):
        return check_value(name, value, members[0])
    is_path = any(member is Path or typing.get_origin(member) is os.PathLike for member in members)
    if is_path and isinstance(value, str) and not value and types.NoneType not in _members(declared):
        raise OptionError(f"`{name}`: expected {_described(declared)}, found an empty text")
    if any(_fits(value, member) for member in members):
        return value
    for member in members:
        if (place := _wrong_item(value, member)) is not None:
            raise OptionError(
                f"`{name}`[{place}]: expected {_described(typing.get_args(member)[0])}, found {_found(value[place])}"
            )
    raise OptionError(f"`{name}`: expected {_described(declared)}, found {_found(value)}")


@functools.cache
def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The declared types of the named arguments."""
    named = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.annotation is not p.empty
    ]
    texts = {name: function.__annotations__[name] for name in named}
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=texts), function.__globals__)


def _members(declared: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(declared) in (Union, types.UnionType)
    return typing.get_args(declared) if is_union else (declared,)


def _fits(value: Any, declared: Any) -> bool:
    if declared is Any or isinstance(declared, TypeVar):
        return True
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if origin in (Union, types.UnionType):
        return any(_fits(value, member) for member in inner)
    if declared in _SCALARS or origin in (Literal, tuple):
        try:
            check_value("", value, declared)
        except OptionError:
            return False
        return True
    if declared is types.NoneType or declared is None:
        return value is None
    kind = origin or declared
    if isinstance(kind, type) and issubclass(kind, Iterable) and isinstance(value, (str, bytes)):
        return False  # a text is a sequence of characters, but is never meant as one
    if kind in (Sequence, list) and type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        value = value.tolist()  # an array is no Sequence for Python
    if not isinstance(value, kind):
        return False
    return not inner or kind not in (Sequence, list) or _wrong_item(value, declared) is None


def _wrong_item(value: Any, declared: Any) -> int | None:
    """The place of the first item of a sequence that does not have its declared type; None if all have it."""
    inner = typing.get_args(declared)
    if typing.get_origin(declared) not in (Sequence, list) or not isinstance(value, (list, tuple)) or not inner:
        return None  # the rows of a `Videos` are always of class Video
    simple = inner[0] if isinstance(inner[0], type) else None
    for place, item in enumerate(value):
        if not (type(item) is simple or _fits(item, inner[0])):
            return place
    return None


def _described(declared: Any) -> str:
    """`actrec.Clip`, `a whole number`, `a sequence of actrec.Video`"""
    origin, inner = typing.get_origin(declared), typing.get_args(declared)
    if declared in _NAMES:
        return _NAMES[declared]
    if origin in (Union, types.UnionType):
        is_path = any(typing.get_origin(member) is os.PathLike for member in inner)
        kinds = [member for member in inner if not (is_path and member is str)]  # a path may be given as a text
        return " or ".join(dict.fromkeys(map(_described, kinds)))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    kind = origin or declared
    if kind in (Path, os.PathLike):
        return "a path"
    if kind in (Sequence, list):
        items = _described(inner[0]).replace("a text", "texts").replace("a path", "paths")
        return f"a sequence of {items.replace('a whole number', 'whole numbers')}"
    if kind is Mapping:
        return "a mapping"
    return "a function" if kind is Callable else _public_name(kind)


def _public_name(kind: type) -> str:
    """The shortest name by which a class can be imported: `actrec.Clip`, `torch.nn.Module`."""
    parts = kind.__module__.split(".")
    for end in range(1, len(parts) + 1):
        module = ".".join(parts[:end])
        found = getattr(sys.modules.get(module), kind.__name__, None)
        if isinstance(found, type) and issubclass(found, kind):
            return f"{module}.{kind.__name__}" if module != "builtins" else kind.__name__
    return kind.__qualname__


def _found(value: Any) -> str:
    """`int 5`, `str 'train.txt'`, `None`, `a list of 0 items`"""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{type(value).__name__} {show(value)}" if isinstance(value, _SHOWN) else type(value).__name__
