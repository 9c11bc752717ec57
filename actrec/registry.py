"""Find things by name.

A `Registry` belongs to a package. Every module of the package adds its own entries when it is imported, and the
registry imports all modules at the first lookup. Therefore a new net is one new file.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries of one kind, by name.

    Args:
        kind: what an entry is called in error messages ("net").
        package: dotted name of the package in which the modules register themselves.
        resolve: finds the entries whose names have a colon (`package.module:function`), which are not registered.
    """

    def __init__(self, kind: str, package: str, *, resolve: Callable[[str], T] | None = None):
        self._kind = kind
        self._package = package
        self._resolve = resolve
        self._entries: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, entry: T) -> T:
        """Registers an entry. Raises ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self._kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry called `name`. Raises ValueError, with a suggestion, if there is none."""
        if self._resolve is not None and ":" in name:
            return self._resolve(name)
        self._load()
        if name not in self._entries:
            raise ValueError(f"unknown {self._kind} {name!r}{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # set before the imports, because a module may look up an entry
        try:
            for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        except BaseException:
            self._loaded = False
            raise


def in_one_line(error: BaseException) -> str:
    """What went wrong in code that is not ours: `KeyError: 'x'`."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the closest known names, those that contain it, or all of them if there are few."""
    names = sorted(other for other in known if len(other) <= 100)  # longer ones would fill the terminal
    folded = {other.casefold(): other for other in reversed(names)}
    close = [folded[other] for other in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
    close = close or [other for other in names if name and name.casefold() in other.casefold()][:3]
    if close:
        return f": did you mean {' or '.join(close)}?"
    return f": expected one of {', '.join(names)}" if 0 < len(names) <= 40 and sum(map(len, names)) <= 1000 else ""
