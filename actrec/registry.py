"""Find things by name.

A `Registry` belongs to a package; every module of that package adds its own entries when it is imported, and the
registry imports all of them at the first lookup. So a new net (or command) is one new file.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries of one kind, by name.

    Args:
        kind: what an entry is, in error messages ("net").
        package: dotted name of the package whose modules register themselves.
    """

    def __init__(self, kind: str, package: str):
        self._kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, entry: T) -> T:
        """Registers `entry`. Raises ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"{self._kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry called `name`. Raises ValueError, with a suggestion, if there is none."""
        self._load()
        if name not in self._entries:
            raise ValueError(f"unknown {self._kind} {name!r}{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def names(self) -> list[str]:
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
        self._loaded = True  # before the imports: a module may look something up
        try:
            for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        except BaseException:
            self._loaded = False
            raise


def did_you_mean(name: str, known: object) -> str:
    """The end of an error message: the closest known names, or all of them when they are few."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f": did you mean {' or '.join(close)}?"
    return f": expected one of {', '.join(known)}" if len(known) <= 40 else ""
