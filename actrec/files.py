"""Read text and JSON files with all their problems reported at once; write any file all or nothing."""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from actrec.registry import did_you_mean

SHOWN = 20  # problems that an error message spells out
LONGEST = 8192  # characters of a line: a path has 4096 at most


class ListError(ValueError):
    """A text file has bad lines. The message has one line for each: `train.txt:17: what, the value, what is right`."""


class Problems:
    """The bad lines of one file, collected so that the user sees all of them in one go.

    Args:
        path: the file, shown as the user gave it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._path = os.fspath(path)
        self._found: list[tuple[int, Callable[[], str]]] = []

    def add(self, line: int, explain: Callable[[], str]) -> None:
        """`explain` is called only for a problem that is shown: suggestions are slow."""
        self._found.append((line, explain))

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """Raises ListError if there are any."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda problem: problem[0])
        lines = [f"{self._path}:{line}: {explain()}" for line, explain in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"… and {len(found) - SHOWN} more")
        raise ListError("\n".join(lines))


def read_lines(path: str | os.PathLike[str]) -> tuple[list[str], Problems]:
    """The lines of a UTF-8 file, with or without BOM, ended by LF or CRLF; stripped; a line that is no text is "".

    A path that is no valid UTF-8 is a problem of its line: its id could be neither printed nor stored.

    Raises:
        FileNotFoundError: with the most similar names of the folder.
        OSError: it cannot be read.
        ListError: it is UTF-16.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{os.fspath(path)}: no such file{_similar(Path(path))}") from None
    problems = Problems(path)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.add(1, lambda: "the file is UTF-16: expected UTF-8")
        problems.raise_any()
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_decode(line, number, problems) for number, line in enumerate(data.split(b"\n"), 1)]
    if b"\0" in data or max(map(len, lines)) > LONGEST:
        for i, line in enumerate(lines):
            if "\0" in line or len(line) > LONGEST:
                what = "a zero byte" if "\0" in line else f"{len(line)} characters"
                problems.add(i + 1, lambda w=what: f"the line holds {w}: expected text, at most {LONGEST} characters")
                lines[i] = ""
    return [line.strip() for line in lines], problems


def read_text(path: str | os.PathLike[str]) -> str:
    """A UTF-8 file, with or without BOM; line ends as they are.

    Raises:
        OSError: it cannot be read.
        ListError: it is HDF5, UTF-16 or no text.
    """
    data = Path(path).read_bytes()
    if data.startswith(b"\x89HDF"):
        raise ListError(f"{os.fspath(path)}: HDF5 is not read: expected a list, and frames as folders of images")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ListError(f"{os.fspath(path)}: the file is UTF-16: expected UTF-8")
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ListError(
            f"{os.fspath(path)}:{line}: byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None


def read_json(path: Path, kind: type) -> Any:
    """The value of a JSON file.

    Args:
        kind: dict or list, what the outermost value has to be.

    Raises:
        OSError: it cannot be read.
        ListError: it is no JSON, of another kind, or a key of it stands there twice.
    """
    twice: dict[str, None] = {}

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            seen: set[str] = set()
            twice.update({key: None for key, _ in pairs if key in seen or seen.add(key)})
        return values

    text = read_text(path)
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ListError(f"{path}:{error.lineno}: no JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise ListError(f"{path}: JSON that cannot be read: {error}") from None
    if twice:
        lines = [f"{path}: {show(key)} is there twice: expected it once" for key in list(twice)[:SHOWN]]
        raise ListError("\n".join(lines + [f"… and {len(twice) - SHOWN} more"] * (len(twice) > SHOWN)))
    if not isinstance(value, kind):
        wanted = "an object {…}" if kind is dict else "a list […]"
        raise ListError(f"{path}: it holds {type(value).__name__} {show(str(value)[:100])}: expected {wanted}")
    return value


def show(value: str) -> str:
    """A value for an error message: quoted, control characters escaped, never longer than a line."""
    return repr(value if len(value) <= 100 else f"{value[:60]}…{value[-30:]}")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """A file to write; it appears under `path` complete and on the disk, or not at all.

    What stood there before stays until the block has ended without an exception. A link is followed, the permissions
    of an older file are kept.

    Args:
        mode: "w" (UTF-8 text, no newline translation) or "wb".

    Raises:
        OSError: the folder is missing or unwritable, the disk is full, `path` is a folder or a device.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode {mode!r}: expected 'w' or 'wb'")
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    old_mode = os.stat(target).st_mode if os.path.exists(target) else None
    if old_mode is not None and not stat.S_ISREG(old_mode):  # replacing /dev/null would take it from everybody
        raise OSError(errno.EINVAL, "not a regular file, cannot be replaced", os.fspath(path))
    temporary = os.path.join(folder, f".actrec-{secrets.token_hex(8)}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    file = open(temporary, mode.replace("w", "x"), **text)  # noqa: SIM115 - closed below, whatever happens
    try:
        if old_mode is not None:
            os.chmod(temporary, stat.S_IMODE(old_mode))
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(temporary, target)
    except BaseException:  # an interrupt leaves no litter either
        with contextlib.suppress(OSError):  # on a full disk closing fails again
            file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """The new name, too, has to survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder; the file itself is safe
            raise
    finally:
        os.close(handle)


def _decode(line: bytes, number: int, problems: Problems) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        what = f"byte 0x{line[error.start]:02x} at position {error.start + 1} is not UTF-8: save the file as UTF-8"
        problems.add(number, lambda: what)
        return ""


def _similar(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix == path.suffix and p.is_file()]
    except OSError:
        return f": the folder {str(path.parent)!r} cannot be read or does not exist"
    return did_you_mean(path.name, names) if names else ""
