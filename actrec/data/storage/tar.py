"""Where the members of a tar archive are located in it.

Formats: ustar, pax and GNU, with long names. Archives that were joined (`cat a.tar b.tar`) are read as one. If a name
occurs twice, the last member of that name is used, as when the archive is unpacked. A hard link is the member that it
names. Compressed archives and sparse members are refused, because their content cannot be read as a range of the
archive.
"""

from __future__ import annotations

import io
import json
import logging
import tarfile
from dataclasses import dataclass, field

from actrec.data.errors import MediaError
from actrec.data.storage.paths import shown
from actrec.opening import kind_of

logger = logging.getLogger(__name__)

_BLOCK = tarfile.BLOCKSIZE
_LONGEST = 1 << 20  # bytes of a header with all its long names
_MAGIC = b"actrec tar 3\n"


@dataclass
class Table:
    """The members of an archive.

    Args:
        members: {name: (offset, size) in bytes}. `./` at the beginning of a name is left out.
        refused: {name: the reason why the member cannot be read}.
        damage: what is wrong with the archive; "" if it is complete.
        repeated: the names that occur more than once.
    """

    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    damage: str = ""
    repeated: list[str] = field(default_factory=list)

    def find(self, archive: str, member: str) -> tuple[int, int]:
        """(offset, size) of a member.

        Raises:
            FileNotFoundError: The archive has no such member.
            MediaError: It cannot be read in place.
        """
        name = _plain(member)
        if (found := self.members.get(name)) is not None:
            return found
        if reason := self.refused.get(name):
            raise MediaError(f"{archive}::{member}", reason)
        if self.damage:
            raise MediaError(f"{archive}::{member}", f"the archive has no such member before {self.damage}")
        raise FileNotFoundError(2, "the archive has no such member", f"{archive}::{member}")


def scan(archive: str, file: io.RawIOBase | io.BufferedIOBase, size: int) -> Table:
    """Reads the headers of an archive and seeks from one to the next.

    Args:
        file: The archive, seekable.
        size: of the archive, in bytes.

    Raises:
        MediaError: It is compressed, or it is not a tar archive.
    """
    start = file.read(_BLOCK) or b""
    _check_kind(archive, start)
    file.seek(0)
    table = Table()
    begin: int | None = 0
    try:
        while begin is not None:
            file.seek(begin)
            with tarfile.open(fileobj=_Bounded(file), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                while (member := tar.next()) is not None:
                    if member.size < 0:  # the next header would be before this one
                        raise tarfile.ReadError("a negative size")
                    _add(table, member, size)
                    tar.members.clear()  # type: ignore[attr-defined] # which would fill the memory
                end = tar.offset
            file.seek(end)
            after = file.read(_BLOCK) or b""
            if len(after) < _BLOCK:
                table.damage = f"its end at byte {size:,}, which is cut off"
            elif after.strip(b"\0"):
                table.damage = f"byte {end:,}, where it is damaged"
            begin = None if table.damage else _next_archive(archive, file, end, size)
    except (tarfile.TarError, ValueError, OverflowError):
        table.damage = f"byte {min(file.tell(), size):,}, where it is cut off or damaged"
    return table


def _next_archive(archive: str, file: io.RawIOBase | io.BufferedIOBase, end: int, size: int) -> int | None:
    """Where another archive begins after the end of one, as `cat a.tar b.tar` makes it; None if there is none.

    The end is padded with zeros, to at most `_LONGEST` bytes.
    """
    file.seek(end)
    padding = file.read(_LONGEST) or b""
    place = len(padding) - len(padding.lstrip(b"\0"))
    if place == len(padding):
        return None
    place -= place % _BLOCK
    try:
        tarfile.TarInfo.frombuf(padding[place : place + _BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        rest = size - end - place
        logger.warning(
            f"{shown(archive)}: {rest:,} bytes after the end of the archive are ignored: they are no archive"
        )
        return None
    return end + place


def _add(table: Table, member: tarfile.TarInfo, size: int) -> None:
    name = _plain(member.name)
    before = table.members.pop(name, None), table.refused.pop(name, None)
    if before != (None, None) and name not in table.repeated:
        table.repeated.append(name)
    if member.islnk():
        target = _plain(member.linkname)
        if target in table.members:
            table.members[name] = table.members[target]
        else:
            table.refused[name] = f"a link to {target}, which the archive does not contain before it"
    elif member.issym():
        table.refused[name] = f"a symbolic link to {member.linkname}: expected the member itself"
    elif member.issparse():
        table.refused[name] = "a sparse member: expected an archive that was made without --sparse"
    elif member.isreg():
        if member.offset_data + member.size > size:
            table.refused[name] = "the archive is cut off within this member"
        else:
            table.members[name] = (member.offset_data, member.size)


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _check_kind(archive: str, start: bytes) -> None:
    for mark, how in ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if start.startswith(mark):
            raise MediaError(
                archive, f"the archive is compressed with {how}, so its members cannot be read alone: expected a plain "
                "tar archive. Compression hardly makes videos smaller"
            )  # fmt: skip
    if len(start) < _BLOCK:
        raise MediaError(archive, f"not a tar archive, but {len(start)} bytes")
    if not start.strip(b"\0"):
        return  # an empty archive
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise MediaError(archive, f"not a tar archive, but {kind_of(start) or 'something else'}") from None


class _Bounded(io.RawIOBase):
    """Limits how much of a file a header can make `tarfile` read into memory."""

    def __init__(self, file: io.RawIOBase | io.BufferedIOBase):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size) or b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def to_bytes(table: Table) -> bytes:
    """The table as it is stored."""
    value = vars(table)
    return _MAGIC + json.dumps(value, separators=(",", ":")).encode("ascii")


def from_bytes(data: bytes) -> Table:
    """The reverse of `to_bytes`. Raises ValueError if it is something else."""
    if not data.startswith(_MAGIC):
        raise ValueError("not a stored table")
    value = json.loads(data[len(_MAGIC) :])
    members = {name: (offset, size) for name, (offset, size) in value["members"].items()}
    return Table(members, value["refused"], value["damage"], value["repeated"])
