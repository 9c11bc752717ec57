"""The index on disk: where it is stored, how the records of a list are found in it, and how they are saved."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from actrec.data.index.probe import RECORD, Certified, Kind, Verified, checksum
from actrec.data.index.records import (
    BLOCK,
    IN_MEMORY,
    RecordFile,
    Records,
    Stored,
    copy_records,
    open_records,
    read_header,
)
from actrec.data.index.store import CertificateStore
from actrec.data.times import LARGEST
from actrec.files import atomic_write
from actrec.opening import check_regular, open_regular
from actrec.system import write_at

_COMPARED = 100_000  # the names of longer caches are compared at some places only
_SAMPLES = 1000
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


def find_records(count: int, name_of: Callable[[int], str], cache: Path | None) -> Records:
    """A record for each file of a list, taken from the cache where it has one.

    A cache that is damaged, or was written by another version, counts as empty. If the list has more than 100,000
    files, a cache of as many is compared with it at a thousand places only: what is not noticed there costs time, since
    the key of a record tells whether it belongs to a file, but the order of the records is not searched.

    Args:
        count: Number of files.
        name_of: Returns the name of a file, by its number.
    """

    def sum_of(file: int) -> int:
        return checksum(name_of(file))

    cached = _load(cache)
    if cached is None or (len(cached) == count and _is_same(cached, count, sum_of)):
        return Records(count, cached, None, sum_of)
    return Records(count, cached, _places_in(cached, _sums(count, sum_of)), sum_of)


def _is_same(cached: Stored, count: int, sum_of: Callable[[int], int]) -> bool:
    """Whether a cache has the records of these files in this order, judging by some of them if there are many."""
    if count <= _COMPARED:
        return np.array_equal(_names(cached), _sums(count, sum_of))
    places = np.random.default_rng(0).integers(0, count, _SAMPLES).tolist()
    return all(cached[i : i + 1]["name"][0] == sum_of(i) for i in (0, count - 1, *places))


def _sums(count: int, sum_of: Callable[[int], int]) -> np.ndarray:
    return np.fromiter(map(sum_of, range(count)), np.uint32, count)


def _names(cached: Stored) -> np.ndarray:
    found = np.empty(len(cached), np.uint32)
    for begin in range(0, len(cached), BLOCK):
        found[begin : begin + BLOCK] = cached[begin : begin + BLOCK]["name"]
    return found


def _places_in(cached: Stored, sums: np.ndarray) -> np.ndarray:
    """Where the record of each file is in a cache, (files,) int64; -1 if it has none."""
    names = _names(cached)
    if np.array_equal(names, sums):
        return np.arange(len(sums))
    if not len(names):
        return np.full(len(sums), -1)
    order = np.argsort(names)
    place = order[np.minimum(np.searchsorted(names[order], sums), len(order) - 1)]
    return np.where(names[place] == sums, place, -1)


def save_records(records: Records, cache: Path, store: CertificateStore, *, in_place: bool) -> None:
    """Writes the records to the cache, with what another process has found out about the same files and stored there.

    Two commands may use a list at the same time, and what `actrec index --verify` takes hours to find is not lost. The
    records stay as they are while the index is used.

    Args:
        store: Where the certificates of the files are.
        in_place: If the cache is long and has the same files, write only the records that changed, at their places. If
            that is interrupted, the seal of a record tells that it is damaged. Otherwise the cache is replaced, and
            processes that use it keep the one that they have opened.

    Raises:
        OSError: It cannot be written.
    """
    if in_place and _save_in_place(records, cache, store):
        return
    unsaved, is_merged = records.unsaved(), False
    with atomic_write(cache, "wb") as file:
        if records.stored is None or records.place is not None:
            sums = _sums(len(records), records.sum_of)
        else:
            sums = _names(records.stored)
            sums[list(unsaved)] = [records.sum_of(number) for number in unsaved]
        cached = _load(cache)
        place = _places_in(cached, sums) if cached is not None else None
        header = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (len(records),)}
        np.lib.format.write_array_header_1_0(file, header)
        for part, block in records.blocks():
            block["name"] = sums[part]
            store.translate(block["packets"])
            if cached is not None and place is not None:
                theirs = np.zeros(len(block), RECORD)
                copy_records(cached, place[part], theirs)
                ours = block.copy()
                _merge(block, theirs, store)
                is_merged = is_merged or bool((block != ours).any())
            block["seal"] = seals(block)
            file.write(block.tobytes())
    records.mark_saved(unsaved)
    if not in_place and not is_merged and (written := _load(cache)) is not None and len(written) == len(records):
        records.reopen(written)


def _save_in_place(records: Records, cache: Path, store: CertificateStore) -> bool:
    """Whether the changed records could be written to their places."""
    unsaved = records.unsaved()
    files = np.fromiter(unsaved, np.int64, len(unsaved))
    try:
        check_regular(cache)
        with open(cache, "r+b", buffering=0) as file:
            shape, dtype = read_header(file)
            offset = file.tell()
            if dtype != RECORD or shape[0] != len(records) or shape[0] * RECORD.itemsize <= IN_MEMORY:
                return False
            stored = RecordFile(file, offset, dtype, shape[0])
            new = np.array(list(unsaved.values()), RECORD)
            new["name"] = [records.sum_of(number) for number in unsaved]
            old = np.zeros(len(new), RECORD)
            copy_records(stored, files, old)
            if not np.array_equal(old["name"], new["name"]):
                return False  # of another list
            merged = new.copy()
            store.translate(merged["packets"])
            _merge(merged, old, store)
            merged["seal"] = seals(merged)
            for number, record in zip(files.tolist(), merged):
                write_at(file, offset + number * RECORD.itemsize, record.tobytes())
            os.fsync(file.fileno())
            is_own = isinstance(records.stored, RecordFile) and records.place is None and records.stored.is_in(file)
    except Exception:  # numpy parses the header as Python
        return False
    new["seal"] = merged["seal"]
    records.mark_saved(unsaved, files[new == merged].tolist() if is_own else ())
    return True


def _merge(ours: np.ndarray, theirs: np.ndarray, store: CertificateStore) -> None:
    """Adds to records what others say of the same files, and ours do not. Zeros say nothing.

    Args:
        store: With the certificates of both.
    """
    is_known = theirs["kind"] != Kind.UNKNOWN
    is_same = is_known & (ours["key"] == theirs["key"]).all(axis=1) & (ours["kind"] != Kind.UNKNOWN)
    is_verified = (ours["verified"] == Verified.UNKNOWN) & (theirs["verified"] != Verified.UNKNOWN)
    is_new = is_known & ((ours["kind"] == Kind.UNKNOWN) | (is_same & is_verified))
    # A certificate that another process has found to be wrong is wrong, unless a later decode has earned it.
    is_refuted = (theirs["certified"] == Certified.NO) & (ours["verified"] == Verified.UNKNOWN)
    is_open = np.isin(ours["certified"], (Certified.UNKNOWN, Certified.DOUBTED))
    is_certified = is_same & (theirs["certified"] != Certified.UNKNOWN) & (is_open | is_refuted)
    is_yes = np.where(is_certified, theirs["certified"], ours["certified"]) == Certified.YES
    is_stored = is_same & is_yes & store.may_have(theirs["packets"]) & ~store.may_have(ours["packets"])
    chosen = np.flatnonzero(is_new | is_certified | is_stored)
    found = theirs[chosen]
    is_whole = seals(found) == found["seal"]
    chosen, found = chosen[is_whole], found[is_whole]
    for name, is_theirs in (("certified", is_certified), ("packets", is_stored)):
        taken = is_theirs[chosen]
        ours[name][chosen[taken]] = found[name][taken]
    taken = is_new[chosen]
    ours[chosen[taken]] = found[taken]


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
_BEFORE_OFFSET = np.dtype([field for field in RECORD.descr if field[0] != "offset"])
_BEFORE_STORE = np.dtype([field for field in _BEFORE_OFFSET.descr if field[0] != "packets"])
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
        and record["offset"] < 1 << 62
    )


def is_unusable(cache: Path | None) -> bool:
    """Whether there is a cache of which nothing can be used: it is cut off, of another version, or not readable."""
    return cache is not None and cache.exists() and _load(cache) is None


def _load(cache: Path | None) -> np.ndarray | RecordFile | None:
    if cache is None or not cache.exists():
        return None
    try:
        records = open_records(cache)
    except Exception:  # numpy parses the header as Python, and raises whatever its bytes lead it to
        return None
    if isinstance(records, RecordFile):
        return records
    if records.dtype == _OLDEST_RECORD:
        records = records.view(_OLD_RECORD)
    if records.dtype == _OLD_RECORD:
        records = _complete(records)
    if records.dtype in (_BEFORE_STORE, _BEFORE_OFFSET):
        records = _extend(records)
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


def _extend(old: np.ndarray) -> np.ndarray:
    """The records of a version that did not store where members and certificates are."""
    records = np.zeros(len(old), RECORD)
    for name in old.dtype.names or ():
        records[name] = old[name]
    records["seal"] = np.where(seals(old) == old["seal"], seals(records), 0)
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
