"""The index on disk: where it is stored, and how the records of a list are found in it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from actrec.data.index.probe import RECORD, Kind, Verified, checksum


def cache_path(list_path: Path, *, flow: bool = False) -> Path:
    """Path of the index of a list: `<list>.index.npy` next to it; `<list>.flow.index.npy` for its optical flow."""
    return list_path.with_name(f"{list_path.name}{'.flow' if flow else ''}.index.npy")


def quarantine_path(list_path: Path) -> Path:
    """Path of the file to which `actrec index --verify` writes the broken files of a list and the reasons."""
    return list_path.with_name(list_path.name + ".quarantine.csv")


def read_quarantine(cache: Path | None) -> dict[str, str]:
    """The reasons in the quarantine file of a list, by name of the broken file; empty if there is no such file."""
    if cache is None:
        return {}
    try:
        with open(cache.with_name(cache.name.removesuffix(".index.npy") + ".quarantine.csv"), newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    except (OSError, ValueError, csv.Error):
        return {}


def prefixes_of(cache: Path | None) -> tuple[str, ...]:
    """The spellings of the list's folder with which paths below it may begin."""
    if cache is None:
        return ()
    return tuple({os.path.join(cache.parent, ""), os.path.join(os.path.abspath(cache.parent), "")})


def name_of(path: str, prefixes: Sequence[str]) -> str:
    """The name of a file in the index: its path without the first prefix that it begins with."""
    return path.removeprefix(next(filter(path.startswith, prefixes), ""))


def find_records(names: Iterable[str], count: int, cache: Path | None) -> np.ndarray:
    """A record for each name, taken from the cache where it has one.

    A cache that is damaged, or was written by another version, counts as empty.

    Args:
        names: `count` names of files.

    Returns:
        (count,) array of `RECORD`.
    """
    sums = np.fromiter(map(checksum, names), np.uint32, count)
    cached = _load(cache)
    if cached is not None and np.array_equal(cached["name"], sums):
        return cached  # of the same list: nothing is copied, or even read
    records = np.zeros(count, RECORD)
    records["name"] = sums
    if cached is not None and len(cached):
        order = np.argsort(cached["name"])
        place = order[np.minimum(np.searchsorted(cached["name"][order], sums), len(order) - 1)]
        found = cached["name"][place] == sums
        records[found] = cached[place[found]]
    return records


# Caches of older versions lack some fields of `RECORD`, and three others had other names until commit 23e24aa.
_ADDED = ("mirrored", "bits", "damaged")
_OLD_NAMES = {"certified": "proof", "verified": "verdict", "color": "colour"}
_OLD_RECORD = np.dtype([field for field in RECORD.descr if field[0] not in _ADDED])
_OLDEST_RECORD = np.dtype([(_OLD_NAMES.get(name, name), *rest) for name, *rest in _OLD_RECORD.descr])


def _load(cache: Path | None) -> np.ndarray | None:
    if cache is None or not cache.exists():
        return None
    try:
        records: np.ndarray = np.lib.format.open_memmap(cache, mode="c")  # changes stay in memory
    except (OSError, ValueError, EOFError):
        return None
    if records.dtype == _OLDEST_RECORD:
        records = records.view(_OLD_RECORD)
    if records.dtype == _OLD_RECORD:
        records = _complete(records)
    return records if records.dtype == RECORD and records.ndim == 1 else None


def _complete(old: np.ndarray) -> np.ndarray:
    """The records of an older version. Files are probed again, except those that were found broken."""
    records = np.zeros(len(old), RECORD)
    for name in old.dtype.names or ():
        records[name] = old[name]
    records["kind"][old["verified"] != Verified.BROKEN] = Kind.UNKNOWN
    return records
