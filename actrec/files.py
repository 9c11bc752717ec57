"""Read text and JSON files with all their problems reported at once; write any file all or nothing."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
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


class LineReader:
    """The lines of a UTF-8 file with or without BOM, ended by LF or CRLF, in blocks; to be used in a `with` statement.

    Every iteration reads the file from its beginning, so that a file of any size needs the memory of one block. Lines
    are stripped. A line that is not text becomes "" and a problem: its path could be neither printed nor stored.

    Args:
        problems: Bad lines; complete after the first iteration.

    Raises:
        FileNotFoundError: With the most similar names of the folder.
        OSError: The file cannot be read.
        ListError: The file is UTF-16.
    """

    def __init__(self, path: str | os.PathLike[str], *, block: int = 1 << 20):
        self.problems = Problems(path)
        self._block = block
        try:
            file: IO[bytes] = open(path, "rb")  # noqa: SIM115 - closed by __exit__
        except FileNotFoundError:
            raise FileNotFoundError(f"{os.fspath(path)}: no such file{_similar(Path(path))}") from None
        if not file.seekable():  # a pipe can be read only once
            with file:
                file = io.BytesIO(file.read())
        self._file = file
        self._known = False

    def __enter__(self) -> LineReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[list[str]]:
        problems = Problems("") if self._known else self.problems
        first = 1
        for data in self._blocks():
            if first == 1:
                if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    problems.add(1, lambda: "the file is UTF-16: expected UTF-8")
                    problems.raise_any()
                data = data.removeprefix(codecs.BOM_UTF8)
            lines = _lines(data, first, problems)
            yield lines
            first += len(lines)
        self._known = True

    def _blocks(self) -> Iterator[bytes]:
        """Parts of the file that end where a line ends. The line feed between two parts is left out."""
        self._file.seek(0)
        rest = b""
        while data := self._file.read(self._block):
            whole, feed, data = (rest + data).rpartition(b"\n")
            if feed:
                yield whole
            rest = data
        yield rest


def read_lines(path: str | os.PathLike[str]) -> tuple[list[str], Problems]:
    """All lines of a UTF-8 file, as of `LineReader`, and the bad ones. Raises as `LineReader`."""
    with LineReader(path) as reader:
        return [line for lines in reader for line in lines], reader.problems


def _lines(data: bytes, first: int, problems: Problems) -> list[str]:
    """The stripped lines of a part of a file.

    Args:
        first: Number of the first line.
    """
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_decode(line, number, problems) for number, line in enumerate(data.split(b"\n"), first)]
    if b"\0" in data or max(map(len, lines)) > LONGEST:
        for i, line in enumerate(lines):
            if "\0" in line or len(line) > LONGEST:
                what = "a zero byte" if "\0" in line else f"{len(line)} characters"
                problems.add(
                    first + i, lambda w=what: f"the line holds {w}: expected text, at most {LONGEST} characters"
                )
                lines[i] = ""
    return [line.strip() for line in lines]


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
