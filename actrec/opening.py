"""Opens regular files only, and tells by the first bytes of a file whether it is text, a video, an image, ..."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from actrec.system import is_systems_fault, raise_if_exhausted

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile

_BLOCK = 1 << 20  # bytes that are read at a time
_MOST_EXPANDED = 1 << 30  # bytes to which the arrays of any .npz file may expand
_MOST_COMPRESSED = 100  # how many times smaller than its arrays a larger .npz file may be

_IRREGULAR = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def open_regular(path: str | os.PathLike[str], *, buffering: int = -1) -> BinaryIO:
    """Opens a regular file for reading bytes.

    Anything else is refused without waiting: to open a pipe waits for its writer, and a device may never end.

    Raises:
        OSError: The file is missing or cannot be read, or it is a folder, pipe, socket or device.
        ExhaustedError: This process cannot open one more file.
    """
    check_regular(path)
    try:
        return open(path, "rb", buffering=buffering, opener=_without_waiting)
    except OSError as error:
        raise_if_exhausted(path, error)
        raise


def read_regular(path: str | os.PathLike[str], *, max_bytes: int) -> bytes | int:
    """Returns the content of a regular file, or its size in bytes if that is more than `max_bytes`.

    It makes half as many system calls as `open_regular`. Reading a small file takes little time besides these calls.

    Raises:
        OSError, ExhaustedError: As `open_regular`.
    """
    size = check_regular(path).st_size
    if size > max_bytes:
        return size
    try:
        descriptor = _without_waiting(os.fspath(path), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            content = os.read(descriptor, size)
            while len(content) < size and (more := os.read(descriptor, size - len(content))):
                content += more
        finally:
            os.close(descriptor)
    except OSError as error:
        raise_if_exhausted(path, error)
        raise
    return content


@contextlib.contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator[NpzFile]:
    """Opens an .npz file. Nothing in it is executed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no .npz file, or a small file that would fill the memory. Damage raises other errors, too.
    """
    import numpy as np

    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("not an .npz file")
        with np.load(file, allow_pickle=False) as found:
            expanded, size = sum(info.file_size for info in found.zip.infolist()), os.fstat(file.fileno()).st_size
            if expanded > max(_MOST_EXPANDED, _MOST_COMPRESSED * size):
                raise ValueError(f"its {size:,} bytes would expand to {expanded / 2**30:,.1f} GiB")
            yield found


def check_archive(path: str | os.PathLike[str]) -> None:
    """Compares the content of a zip archive with its checksums, which torch does not. Other files pass.

    A checksum of 0 was not computed: torch can be told to leave them out.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged.
    """
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            return
        try:
            with zipfile.ZipFile(file) as archive:
                for member in filter(lambda member: member.CRC, archive.infolist()):
                    with archive.open(member) as content:
                        while content.read(_BLOCK):
                            pass
        except Exception as error:  # zipfile raises whatever the bytes lead it to
            if is_systems_fault(error):
                raise
            raise ValueError(f"{os.fspath(path)}: the file is damaged") from error


def check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """The status of a regular file, before a library opens it. Raises the errors of `open_regular`."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = _IRREGULAR.get(stat.S_IFMT(found.st_mode), "a device")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(number, f"{kind}, not a file", os.fspath(path))
    return found


def _without_waiting(path: str, flags: int) -> int:
    """For the case that the file became a pipe after it was checked."""
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    except BlockingIOError:  # another process, such as a file server, must give the file back first
        return os.open(path, flags)


_KINDS = {  # the first bytes of files that are given in place of another kind by mistake
    "an image": rb"\x89PNG|\xff\xd8\xff|RIFF....WEBP|GIF8[79]a|II\*\x00|MM\x00\*|BM....\x00\x00|"
    rb"\x00\x00\x00.ftyp(heic|heix|mif1|avif)",
    "a video": rb"\x00...(ftyp|moov|mdat|wide|free)|RIFF....AVI |\x1aE\xdf\xa3|FLV\x01|OggS\x00|\x00\x00\x01\xba|"
    rb"\x30\x26\xb2\x75|G(?=[^\x00]{0,187}\x00).{187}G.{187}G",
    "a sound": rb"RIFF....WAVE|ID3[\x02-\x04]|fLaC\x00|\xff[\xfb\xf3\xf2\xf1\xf9]|FORM....AIF",
    "a checkpoint or a weights file": rb"PK\x03\x04.{26}[^\x00]{0,200}?/(data\.pkl|\.format_version|\.data)|"
    rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19|[^\x00]..\x00{5}{[\s\"]|.[^\x00].\x00{5}{[\s\"]",
    "an archive of numpy": rb"PK\x03\x04.{26}[\w./-]{1,200}?\.npy",
    "an array of numpy": rb"\x93NUMPY",
    "an archive": rb"PK\x03\x04|\x1f\x8b|BZh[1-9]|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|.{257}ustar",
    "a pickle of Python": rb"\x80[\x02-\x05][\x95\]}(cK\x8c]",
    "an HDF5 file": rb"\x89HDF",
    "a PDF document": rb"%PDF-",
    "a database": rb"SQLite format 3\x00",
    "a program": rb"\x7fELF|MZ.{58}",
    "a web page": rb"\s*<(!doctype html|(html|head)[\s>]|\?xml\s)",
    "a pointer of Git LFS": rb"version https://git-lfs",
}
KIND_BYTES = 1024  # bytes of a file that `kind_of` needs
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))  # characters that no text has


def weights_in(folder: str | os.PathLike[str]) -> str:
    """The end of a message about a folder in the place of a weights file: it names the file that transformers wrote."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        for path in (os.path.join(folder, name), os.path.join(folder, f"{name}.index.json")):
            if os.path.isfile(path):
                return f", such as {path}"
    return ""


def kind_of(data: bytes) -> str | None:
    """What a file is that is not a list, table or JSON, by its first bytes: "a video". None if it may be one."""
    for kind, begin in _KINDS.items():
        if re.match(begin, data, re.DOTALL | re.IGNORECASE if kind == "a web page" else re.DOTALL):
            return kind
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    start = data[:KIND_BYTES]
    if len(start) >= 8 and min(start[::2].count(0), start[1::2].count(0)) == 0 and start.count(0) > len(start) / 3:
        return "UTF-16 without a byte order mark"
    num_control = len(start) - len(start.translate(None, _CONTROL))
    return "a binary file" if num_control > max(2, len(start) / 20) else None


def kind_of_file(path: str | os.PathLike[str]) -> str | None:
    """`kind_of` a file's first bytes; None if it cannot be read."""
    try:
        with open_regular(path) as file:
            return kind_of(file.read(KIND_BYTES))
    except OSError:
        return None
