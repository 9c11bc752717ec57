"""A bounded memory of the most recently used values."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """The most recently used values, for any number of threads.

    Args:
        most: sum of their weights, at least that of the last one.
        weight: of a value. Default: each counts as 1.
    """

    def __init__(self, most: int, weight: Callable[[_V], int] = lambda value: 1):
        self._most, self._weight, self._total = most, weight, 0
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        with self._lock:
            if (value := self._values.get(key)) is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            self._drop(key)
            self._values[key] = value
            self._total += self._weight(value)
            while self._total > self._most and len(self._values) > 1:
                self._total -= self._weight(self._values.popitem(last=False)[1])

    def drop(self, key: _K) -> None:
        with self._lock:
            self._drop(key)

    def _drop(self, key: _K) -> None:
        if (old := self._values.pop(key, None)) is not None:
            self._total -= self._weight(old)
