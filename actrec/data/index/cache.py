"""The index on disk: where it is stored, and how the records of a list are found in it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from actrec.data.index.probe import RECORD, Certified, Kind, Verified, checksum
from actrec.data.times import LARGEST
from actrec.opening import check_regular, open_regular

_BLOCK = 1 << 20  # records that are sealed at once
_FACTORS = np.random.Generator(np.random.PCG64(0)).integers(0, 2**63, 128, np.uint64) * np.uint64(2) + np.uint64(1)


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
        path = cache.with_name(cache.name.removesuffix(".index.npy") + ".quarantine.csv")
        with io.TextIOWrapper(open_regular(path), newline="") as file:
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
        found, place = _places(sums, cached)
        records[found] = cached[place]
    return records


def _places(sums: np.ndarray, cached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which names are in a cache, and the places where."""
    order = np.argsort(cached["name"])
    place = order[np.minimum(np.searchsorted(cached["name"][order], sums), len(order) - 1)]
    found = np.flatnonzero(cached["name"][place] == sums)
    return found, place[found]


def merged(records: np.ndarray, cache: Path) -> np.ndarray:
    """The records, and what another process has found out about the same files and stored in the cache since.

    Two commands may use a list at the same time, and what `actrec index --verify` takes hours to find is not lost.

    Returns:
        `records` itself if there is nothing to add, otherwise a copy.
    """
    cached = _load(cache)
    if cached is None or not len(cached):
        return records
    if np.array_equal(cached["name"], records["name"]):
        mine = place = np.arange(len(records))
    else:
        mine, place = _places(records["name"], cached)
    ours = {name: records[name][mine] for name in ("key", "kind", "verified", "certified")}
    theirs = {name: cached[name][place] for name in ours}
    is_same = (ours["key"] == theirs["key"]).all(axis=1) & (ours["kind"] != Kind.UNKNOWN)
    is_new = (ours["kind"] == Kind.UNKNOWN) | (
        is_same & (ours["verified"] == Verified.UNKNOWN) & (theirs["verified"] != Verified.UNKNOWN)
    )
    is_certified = is_same & (ours["certified"] == Certified.UNKNOWN) & (theirs["certified"] != Certified.UNKNOWN)
    chosen = np.flatnonzero((is_new | is_certified) & (theirs["kind"] != Kind.UNKNOWN))
    found = cached[place[chosen]]
    is_whole = seals(found) == found["seal"]
    chosen, found = chosen[is_whole], found[is_whole]
    if not len(chosen):
        return records
    records = records.copy()
    records["certified"][mine[chosen]] = found["certified"]
    records[mine[chosen][is_new[chosen]]] = found[is_new[chosen]]
    return records


# Caches of older versions have only some fields of `RECORD`, three of them with other names until commit 23e24aa.
_OLD_FIELDS = (
    "name", "key", "kind", "certified", "verified", "size", "frames", "first", "width", "height", "rotation", "rate",
    "gop", "codec", "pix_fmt", "color", "template",
)  # fmt: skip
_OLD_NAMES = {"certified": "proof", "verified": "verdict", "color": "colour"}
_OLD_TYPES = {"rate": "f4"}
_OLD_RECORD = np.dtype(
    [(name, _OLD_TYPES.get(name, kind), *shape) for name, kind, *shape in RECORD.descr if name in _OLD_FIELDS]
)
_OLDEST_RECORD = np.dtype([(_OLD_NAMES.get(name, name), *rest) for name, *rest in _OLD_RECORD.descr])


def is_intact(record: np.void) -> bool:
    """Whether a record of the cache matches its seal and holds possible values. A stranger may have made the file."""
    row = np.asarray(record).reshape(1)
    try:
        record["template"].decode("utf-8", "surrogateescape").format(1)
        record["codec"].decode(), record["pix_fmt"].decode(), record["color"].decode()
    except (ValueError, LookupError, AttributeError):
        return False
    return bool(
        seals(row)[0] == row["seal"][0]
        and record["kind"] < len(Kind)
        and record["certified"] < len(Certified)
        and record["verified"] < len(Verified)
        and record["frames"] >= 1
        and record["first"] >= 0
        and (record["step"] >= 1 or (record["step"] == 0 and record["listing"] > 0))
        and min(record["width"], record["height"]) >= 1
        and record["rotation"] in (0, 90, 180, 270)
        and 0 <= record["rate"] < LARGEST
        and 0 <= record["gop"] < np.inf
        and abs(record["begins"]) < LARGEST
        and (not record["variable"] or record["kind"] == Kind.VIDEO)
        and record["bits"] <= 64
    )


def is_unusable(cache: Path | None) -> bool:
    """Whether there is a cache of which nothing can be used: it is cut off, of another version, or not readable."""
    return cache is not None and cache.exists() and _load(cache) is None


def _load(cache: Path | None) -> np.ndarray | None:
    if cache is None or not cache.exists():
        return None
    try:
        check_regular(cache)
        records: np.ndarray = np.lib.format.open_memmap(cache, mode="c")  # changes stay in memory
    except Exception:  # numpy parses the header as Python, and raises whatever its bytes lead it to
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
    records["step"] = 1
    records["kind"][old["verified"] != Verified.BROKEN] = Kind.UNKNOWN
    records["seal"] = seals(records)
    return records


def seals(records: np.ndarray) -> np.ndarray:
    """A checksum of each record, (n,) uint64. It differs if any bit of a record differs, but for its `seal`."""
    found = np.empty(len(records), np.uint64)
    for begin in range(0, len(records), _BLOCK):
        block = records[begin : begin + _BLOCK].copy()
        block["seal"] = 0
        data = block.view(np.uint8).reshape(len(block), -1)
        words = np.pad(data, ((0, 0), (0, -data.shape[1] % 8))).view(np.uint64)
        # A changed bit changes its product with an odd number, and so the sum, modulo 2**64.
        found[begin : begin + _BLOCK] = (words * _FACTORS[: words.shape[1]]).sum(axis=1, dtype=np.uint64) + _FACTORS[-1]
    return found
