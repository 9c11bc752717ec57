"""Reads text and JSON files and reports all their problems together. Writes any file completely or not at all."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from actrec.leftovers import temporary_path
from actrec.opening import KIND_BYTES, kind_of, open_regular
from actrec.registry import did_you_mean
from actrec.system import make_folder, sync_folder

SHOWN = 20  # largest number of problems that an error message describes
DEEPEST = 100  # largest number of JSON values within each other
LONGEST = 8192  # largest number of characters of a line; a path has at most 4096


class ListError(ValueError):
    """A text file has bad lines. The message has one line for each: `train.txt:17: what, the value, what is right`."""


class Problems:
    """Collects the bad lines of one file, so that one error message can report all of them.

    Args:
        path: The file as the user named it, for the message.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._path = os.fspath(path)
        self._found: list[tuple[int, str | Callable[[], str]]] = []

    def add(self, line: int, message: str | Callable[[], str]) -> None:
        """Adds a problem. A function is called for the message only if it is shown, because suggestions are slow."""
        self._found.append((line, message))

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self) -> None:
        """Raises ListError if there are any."""
        if not self._found:
            return
        found = sorted(self._found, key=lambda problem: problem[0])
        shown = [(line, message if isinstance(message, str) else message()) for line, message in found[:SHOWN]]
        lines = [f"{self._path}:{line}: {message}" for line, message in shown]
        if len(found) > SHOWN:
            lines.append(f"… and {len(found) - SHOWN} more")
        raise ListError("\n".join(lines))


class LineReader:
    """Iterates over the lines of a UTF-8 file, a list of lines at a time. Use it in a `with` statement.

    The file may begin with a byte order mark, and its lines may end with LF, CRLF or, in all of the file, CR. Lines are
    stripped, also of invisible characters such as the byte order marks of files that were joined. A line that is not
    UTF-8 text is replaced by "" and added to `problems`, because its path could be neither printed nor stored.

    Every iteration reads the file again from its beginning, one block at a time. Therefore a file of any size needs
    only the memory of one block.

    Args:
        block: Number of bytes that are read at a time.

    Attributes:
        problems: The bad lines. It is complete after the first iteration.

    Raises:
        FileNotFoundError: The file does not exist. The message contains the most similar names of the folder.
        OSError: The file cannot be read.
        ListError: The file is UTF-16, or not text but one of the kinds of `kind_of`.
    """

    def __init__(self, path: str | os.PathLike[str], *, block: int = 1 << 20):
        self.problems = Problems(path)
        self._path, self._block = path, block
        try:
            file: IO[bytes] = _open_text(path)
        except FileNotFoundError:
            raise FileNotFoundError(f"{os.fspath(path)}: no such file{_similar(Path(path))}") from None
        if not file.seekable():  # a pipe can be read only once
            with file:
                file = io.BytesIO(file.read())
        self._file = file
        start = file.read(block)
        self._old_mac = b"\n" not in start and b"\r" in start
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
                if kind := kind_of(data):
                    raise ListError(f"{os.fspath(self._path)}: this is {kind}, not a list: expected a text file")
                if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    problems.add(1, "the file is UTF-16: expected UTF-8")
                    problems.raise_any()
                data = data.removeprefix(codecs.BOM_UTF8)
            lines = _lines(data, first, problems)
            yield lines
            first += len(lines)
        self._known = True

    def _blocks(self) -> Iterator[bytes]:
        """The content of the file in blocks that end at the end of a line. The line feed between blocks is left out."""
        self._file.seek(0)
        rest = b""
        while data := self._file.read(self._block):
            if self._old_mac:
                data = data.replace(b"\r", b"\n")
            whole, feed, data = (rest + data).rpartition(b"\n")
            if feed:
                yield whole
            rest = data
        yield rest


def read_lines(path: str | os.PathLike[str]) -> tuple[list[str], Problems]:
    """All lines of a UTF-8 file as `LineReader` returns them, and the bad lines. Raises the errors of `LineReader`."""
    with LineReader(path) as reader:
        return [line for lines in reader for line in lines], reader.problems


def _lines(data: bytes, first: int, problems: Problems) -> list[str]:
    """The stripped lines of a block of a file.

    Args:
        first: Number of the first line of the block.
    """
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_decode(line, number, problems) for number, line in enumerate(data.split(b"\n"), first)]
    if b"\0" in data or max(map(len, lines)) > LONGEST:
        for i, line in enumerate(lines):
            if "\0" in line or len(line) > LONGEST:
                what = "a zero byte" if "\0" in line else f"{len(line)} characters"
                problems.add(first + i, f"the line holds {what}: expected text, at most {LONGEST} characters")
                lines[i] = ""
    return list(map(str.strip if data.isascii() else stripped, lines))


def stripped(line: str) -> str:
    """A line without blanks and without invisible characters (zero width space and joiner, byte order mark) around."""
    return line.strip().strip("\u200b\u2060\ufeff").strip()


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file without its byte order mark. Line ends are kept.

    Raises:
        OSError: The file cannot be read.
        ListError: The file is UTF-16 or not text.
    """
    with _open_text(path) as file:
        data = file.read(KIND_BYTES)
        if data.startswith(b"\x89HDF"):
            raise ListError(
                f"{os.fspath(path)}: HDF5 files are not supported: expected a list, and frames as folders of images"
            )
        if kind := kind_of(data):
            raise ListError(f"{os.fspath(path)}: this is {kind}: expected a text file")
        data += file.read()
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
        kind: Expected type of the outermost value, dict or list.

    Raises:
        OSError: The file cannot be read.
        ListError: The file is not JSON or nested too deeply, its outermost value has another type, or an object has a
            key twice.
    """
    repeated: dict[str, None] = {}

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            repeated.update({key: None for key, count in counts.items() if count > 1})
        return values

    text = read_text(path)
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ListError(f"{path}:{error.lineno}: not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ListError(f"{path}: the JSON cannot be read: values are nested more than {DEEPEST} levels deep") from None
    except ValueError as error:
        raise ListError(f"{path}: the JSON cannot be read: {error}") from None
    if repeated:
        lines = [f"{path}: key {show(key)} occurs twice: expected it once" for key in list(repeated)[:SHOWN]]
        raise ListError("\n".join(lines + [f"… and {len(repeated) - SHOWN} more"] * (len(repeated) > SHOWN)))
    if _is_deep(value):
        raise ListError(f"{path}: the JSON cannot be read: values are nested more than {DEEPEST} levels deep")
    if not isinstance(value, kind):
        wanted = "an object {…}" if kind is dict else "a list […]"
        raise ListError(f"{path}: the file contains {type(value).__name__} {show(str(value)[:100])}: expected {wanted}")
    return value


def _is_deep(value: Any) -> bool:
    """Whether a value of JSON is nested so deeply that code that follows it could exceed Python's limit."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        inner = (one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer))
        level = [one for one in inner if isinstance(one, (dict, list))]
        if not level:
            return False
    return True


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's content. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def show(value: str) -> str:
    """A value for an error message: quoted, with control characters escaped, and shortened to about 100 characters."""
    return repr(value if len(value) <= 100 else f"{value[:60]}…{value[-30:]}")


def _decode(line: bytes, number: int, problems: Problems) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        what = f"byte 0x{line[error.start]:02x} at position {error.start + 1} is not UTF-8: save the file as UTF-8"
        problems.add(number, what)
        return ""


def _open_text(path: str | os.PathLike[str]) -> BinaryIO:
    """As `open_regular`, and a pipe that the shell made: `/dev/stdin`, or `/dev/fd/63` of `<(...)` in bash."""
    is_shells = os.fspath(path) == "/dev/stdin" or os.fspath(path).startswith("/dev/fd/")
    return open(path, "rb") if is_shells and stat.S_ISFIFO(os.stat(path).st_mode) else open_regular(path)


def _similar(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix == path.suffix and p.is_file()]
    except OSError:
        return f": the folder {str(path.parent)!r} cannot be read or does not exist"
    return did_you_mean(path.name, [name for name in names if path.suffix and not name.startswith(".")])


# ---- atomic writing ----


class OutputError(OSError):
    """The output cannot be written. This error stops the whole run, because it is not caused by a single video."""


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns every OSError of the block into an OutputError that names `path`."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(error.errno, f"cannot be written ({error.strerror})", os.fspath(path)) from None


@contextlib.contextmanager
def errors_named(temporary: Path, path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises OSErrors of the block under the name of the output, which the user knows, in place of the temporary name.

    An error without any name gets it too, as for a full disk. An error that names another file is raised unchanged, and
    so is one that is only a text.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        known, hidden = os.fspath(path), os.fspath(temporary)
        name = known if error.filename is None else os.fsdecode(error.filename).removeprefix("file:")  # as PyAV says
        if name != known and not name.startswith(hidden):
            raise
        kind = OutputError if isinstance(error, OutputError) else OSError
        raise kind(error.errno, error.strerror, name.replace(hidden, known)) from None


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike[str], mode: str = "w", *, may_replace: Callable[[], None] | None = None
) -> Iterator[IO[Any]]:
    """Opens a file for writing. The file appears under `path` when the block ends, complete and flushed to the disk.

    After an exception, or if the process is killed, `path` is as it was before. A symbolic link is followed, and the
    permissions of an existing file are kept.

    Args:
        mode: "w" (UTF-8 text, no newline translation) or "wb".
        may_replace: Called before a file of that name is replaced, also one that another process has just written. It
            raises an error to refuse that.

    Raises:
        OSError: the folder is missing or not writable, the disk is full, or `path` is a folder or a device. It names
            `path`.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode {mode!r}: expected 'w' or 'wb'")
    encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
    with (
        atomic_file(path, may_replace=may_replace) as temporary,
        open(temporary, mode, encoding=encoding, newline=newline) as file,
    ):
        yield file


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], *, may_replace: Callable[[], None] | None = None) -> Iterator[Path]:
    """Like `atomic_write`, for code that needs the name of the file: yields an empty temporary file to write to.

    Raises:
        OSError: as in `atomic_write`.
    """
    target = Path(os.path.realpath(path))
    old_mode = stat.S_IMODE(_regular(target, path).st_mode) if target.exists() else None
    temporary = temporary_path(target)
    try:
        with errors_named(temporary, path):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            if old_mode is not None:
                os.chmod(temporary, old_mode | stat.S_IWUSR)
            yield temporary
            _sync_file(temporary)
            if old_mode is not None:
                os.chmod(temporary, old_mode)
            _replace(temporary, target, may_replace)
    except BaseException:  # an interrupt must not leave a temporary file either
        with contextlib.suppress(OSError):  # a read-only file system refuses even if there is no such file
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _replace(temporary: Path, target: Path, may_replace: Callable[[], None] | None) -> None:
    if may_replace is not None:
        with contextlib.suppress(OSError):  # the file exists, or the file system has no hard links
            os.link(temporary, target)  # unlike a rename, this replaces nothing
            temporary.unlink()
            return
        if target.exists():
            may_replace()
    os.replace(temporary, target)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `folder` when the block ends. Missing parents are created.

    After an exception, or if the process is killed, there is no `folder`. Its files are not flushed to the disk: that
    would slow down the extraction of frames several times.

    Raises:
        OutputError: the folder cannot be created, or `folder` exists and is not empty.
    """
    with scratch_folder(folder) as temporary:
        with errors_named(temporary, folder):
            yield temporary
        with writing(folder):
            os.rename(temporary, folder)


@contextlib.contextmanager
def scratch_folder(sibling: Path) -> Iterator[Path]:
    """Yields a temporary folder next to `sibling`, to move files from there by a rename. It is removed at the end.

    Raises:
        OutputError: the folder cannot be created.
    """
    with writing(sibling):
        make_folder(sibling.parent)
        temporary = temporary_path(sibling)
        temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Checks, before long work, that `atomic_write` will be able to write a file. The check leaves no file.

    Folders that are missing are checked as far as they exist: a file is created in the nearest one.

    Raises:
        OSError: As in `atomic_write`. It names `path`.
    """
    target = Path(os.path.realpath(path))
    with errors_named(target, path):
        if target.exists():
            _regular(target, path)
        while not target.parent.exists():
            target = target.parent
    temporary = temporary_path(target)
    try:
        with errors_named(temporary, path), open(temporary, "xb") as file:
            file.write(bytes(4096))  # some file systems create empty files on a full disk
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_link(path: Path, other: Path) -> None:
    """Makes `other` a second name of the file `path`, or a copy where the file system has no hard links.

    Raises:
        OSError: `path` is missing, or `other` cannot be written.
    """
    temporary = temporary_path(other)
    try:
        with errors_named(temporary, other):
            try:
                os.link(path, temporary)
            except OSError:
                shutil.copyfile(path, temporary)
            os.replace(temporary, other)
    finally:  # renaming does nothing if both are names of one file already
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = None) -> None:
    """Writes a value as JSON, atomically: UTF-8, keys in their given order, a line break at the end.

    JSON has no NaN and no infinity: they become null. Bytes of file names that are not UTF-8 are escaped.

    Raises:
        OSError: as in `atomic_write`.
    """
    text = json.dumps(_finite(value), ensure_ascii=False, indent=indent, allow_nan=False)
    with atomic_write(path) as file:
        file.write(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


_SURROGATE = re.compile("[\ud800-\udfff]")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table, atomically. Bytes of file names that are not UTF-8 become U+FFFD.

    Raises:
        OSError: as in `atomic_write`.
    """
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_SURROGATE.sub("\ufffd", cell) for cell in row] for row in rows)


def _regular(target: Path, path: str | os.PathLike[str]) -> os.stat_result:
    """The status of a regular file: replacing /dev/null would take it away from everybody."""
    found = os.stat(target)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file, cannot be replaced", os.fspath(path))
    return found


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
