"""The index on disk: where it is kept beside its list, and how its rows are found again."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actrec.data.index.probe import (
    ROW,
    checksums,
)


def cache_path(list_path: Path, *, flow: bool = False) -> Path:
    """Where the index of a list lies: `<list>.index.npy` beside it, of its flow `<list>.flow.index.npy`."""
    return list_path.with_name(f"{list_path.name}{'.flow' if flow else ''}.index.npy")


def quarantine_path(list_path: Path) -> Path:
    """Where `actrec index --verify` writes the broken files of a list, with the reasons."""
    return list_path.with_name(list_path.name + ".quarantine.csv")


def read_quarantine(cache: Path | None) -> dict[str, str]:
    if cache is None:
        return {}
    try:
        with open(cache.with_name(cache.name.removesuffix(".index.npy") + ".quarantine.csv"), newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    except (OSError, ValueError, csv.Error):
        return {}


def prefixes_of(cache: Path | None) -> tuple[str, ...]:
    """How the folder of a list may be spelled in front of the paths below it."""
    if cache is None:
        return ()
    return tuple({os.path.join(cache.parent, ""), os.path.join(os.path.abspath(cache.parent), "")})


def name_of(path: str, prefixes: Sequence[str]) -> str:
    return path.removeprefix(next(filter(path.startswith, prefixes), ""))


def known_rows(names: list[str], cache: Path | None) -> np.ndarray:
    """A row for each name, those of the cache where it has them. A cache of another version or a torn one has none."""
    names = checksums(names)
    cached = _load(cache)
    if cached is not None and np.array_equal(cached["name"], names):
        return cached  # of this very list: nothing is copied, or even read
    rows = np.zeros(len(names), ROW)
    rows["name"] = names
    if cached is not None and len(cached):
        order = np.argsort(cached["name"])
        place = order[np.minimum(np.searchsorted(cached["name"][order], names), len(order) - 1)]
        found = cached["name"][place] == names
        rows[found] = cached[place[found]]
    return rows


def _load(cache: Path | None) -> np.ndarray | None:
    if cache is None or not cache.exists():
        return None
    try:
        rows = np.lib.format.open_memmap(cache, mode="c")  # changes stay in memory
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype == ROW and rows.ndim == 1 else None
