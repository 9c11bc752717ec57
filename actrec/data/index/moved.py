"""Reuses the records of videos that were copied to another place, such as object storage."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import replace
from tarfile import BLOCKSIZE

import numpy as np

from actrec.data import storage
from actrec.data.index.probe import Found, checksum, key_of
from actrec.data.storage import read_ranges, split_member
from actrec.data.video.certificate import Certificate
from actrec.data.video.packed import pack


def place_in_folder(path: str) -> tuple[str, str]:
    """The part of a path that a video and its copy have in common: shard and member, or folder and file."""
    archive, member = split_member(path)
    if member is not None:
        return os.path.basename(archive), member
    folder, name = os.path.split(path)
    return os.path.basename(folder), name


def by_place(paths: Iterable[str]) -> dict[tuple[str, str], int]:
    """{place in its folder: number} of all paths whose place occurs only once."""
    found: dict[tuple[str, str], int] = {}
    several = set()
    for number, path in enumerate(paths):
        place = place_in_folder(path)
        if found.setdefault(place, number) != number:
            several.add(place)
    return {place: number for place, number in found.items() if place not in several}


def found_again(record: np.void, certificate: Certificate, path: str, copy: str, name: str) -> Found | None:
    """The result that probing a copy would give; None if the copy is another video.

    The copy must have the same size, and the same bytes before the first packet and after the last one, where
    containers describe the video. The packets themselves are compared with their checksums whenever they are read.

    Args:
        record, certificate: of the original.
        copy: Path of the copy, a URL or a member of an archive.
        name: Name of the copy in its index.

    Raises:
        OSError, MediaError: One of them cannot be read.
    """
    size, packets = int(record["size"]), np.sort(certificate.packets, order="offset")
    if certificate.stream is None:
        return None
    _expect_same_place(record, path, copy)
    if storage.stat(copy).size != size:
        return None
    end = int(packets["offset"][-1] + packets["size"][-1])
    around = [(0, int(packets["offset"][0])), (end, size - end)]
    if read_ranges(path, around) != read_ranges(copy, around):
        return None
    if certificate.crcs is None:  # of a local file
        places = list(zip(certificate.packets["offset"].tolist(), certificate.packets["size"].tolist()))
        crcs = np.array([zlib.crc32(data) for data in read_ranges(path, places)], np.uint32)
        certificate = replace(certificate, crcs=crcs)
    again = record.copy()
    again["name"], again["key"] = checksum(name), key_of(copy, name) or (0, 0)
    again["packets"], again["offset"] = 0, (storage.place_of(copy) or (0,))[0]
    return Found(again, pack(certificate))


def _expect_same_place(record: np.void, path: str, copy: str) -> None:
    """Looks for a member of a copied archive where it is in the original, so that the copy need not be scanned.

    It is found there if both archives have the same size, and the same bytes before the member: its header.
    """
    offset, size = int(record["offset"]), int(record["size"])
    (archive, member), (other, other_member) = split_member(path), split_member(copy)
    if not offset or member is None or other_member is None or storage.stat(archive).size != storage.stat(other).size:
        return
    header = [(max(0, offset - BLOCKSIZE), min(offset, BLOCKSIZE))]
    if read_ranges(archive, header) == read_ranges(other, header):
        storage.remember_place(copy, (offset, size), storage.stat(copy, (offset, size)).version)
