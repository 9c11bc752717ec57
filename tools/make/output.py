"""What the tools write: whole or not at all, and what cannot be written stops the run."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from actrec.files import atomic_write
from actrec.system import host_name, process_exists

PICTURES = (".png", ".pdf", ".svg")
_PART = re.compile(r"\.part-(\d{1,9})-[^-]+(?:-(.*))?")
_ABANDONED = 24 * 3600  # seconds without a change, after which a part of another machine's is nobody's


class OutputError(OSError):
    """The output cannot be written: that stops the run, it is not the fault of one video."""


def check_picture(path: Path) -> None:
    """Raises ValueError if a picture of that name cannot be drawn."""
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"picture {path}: expected a name that ends in {', '.join(PICTURES)}")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around any writing: what the system refuses becomes an OutputError that names this path."""
    try:
        yield
    except OSError as error:
        raise OutputError(error.errno, f"cannot be written ({error.strerror})", str(path)) from None


def part_of(path: Path) -> Path:
    """A name beside `path` for what is not whole yet. It tells which process of which machine is at work on it."""
    return path.parent / f".part-{os.getpid()}-{uuid.uuid4().hex}-{host_name()}"


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `folder` in the end; after an exception nothing is left.

    Raises:
        OutputError: it cannot be made, or `folder` is there and not empty.
    """
    part = part_of(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
    try:
        yield part
        with writing(folder):
            os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name for a file that takes the name `path` in the end; after an exception nothing is left.

    Raises:
        OutputError: the folder cannot be made, or the file not renamed.
    """
    part = part_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        with writing(path):
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):  # on a read-only file system it is refused, though there is nothing
            part.unlink()


@contextlib.contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A temporary folder in that of `beside`, from where a file is moved there by a rename.

    Raises:
        OutputError: it cannot be made.
    """
    part = part_of(beside)
    with writing(beside):
        beside.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_failed(path: Path, failed: Sequence[tuple[str, str]]) -> None:
    """A csv of (path, reason), or no such file where nothing has failed.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path):
        if not failed:
            path.unlink(missing_ok=True)
            return
        with atomic_write(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("path", "reason"))
            printable = str.maketrans({chr(c): "\ufffd" for c in range(0xD800, 0xE000)})
            writer.writerows((name.translate(printable), reason.translate(printable)) for name, reason in failed)


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Parts that runs which were killed have left in these folders; not those of a run that still lives."""
    for folder in folders:
        for part in folder.glob(".part-*"):
            if _is_left(part):
                shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def _is_left(part: Path) -> bool:
    match = _PART.fullmatch(part.name)
    if not match:
        return False
    if match[2] not in (None, host_name()):
        with contextlib.suppress(OSError):
            return time.time() - part.stat().st_mtime > _ABANDONED
        return False
    return int(match[1]) == os.getpid() or not process_exists(int(match[1]))
