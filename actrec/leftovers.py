"""Names of unfinished files and folders, and the removal of those that killed processes have left."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from actrec.system import host_name, machine_ids, process_exists, start_of_machine, start_of_process

# Tells this process from an earlier one that had the same id, where the system does not.
_PROCESS = secrets.randbits(60)
_TEMPORARY = re.compile(
    r"\.actrec-(?P<pid>\d{1,9})-(?P<start>[0-9a-f]{16})-[0-9a-f]{8}"
    r"-(?P<machine>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<space>[0-9a-f]{8})\.tmp"
)
# Names of versions before 0.1.0:
_OLD_TEMPORARY = re.compile(r"\.actrec-(?P<pid>\d{1,9})-[0-9a-f]{8}-[0-9a-f]{8}-(?P<node>.*)\.tmp")
_OLD_PART = re.compile(r"\.part-(?P<pid>\d{1,9})-[0-9a-f]{32}(-(?P<node>.*))?")
_OLD_FILE = re.compile(r"\.actrec-[^-]*\.tmp")
_ABANDONED = 24 * 3600  # seconds without a change after which another machine's temporary file counts as left over
_LARGE = 100e6  # bytes of removed leftovers that are worth a message
_cleaned: set[str] = set()  # folders whose leftovers this process has removed


def temporary_path(path: Path) -> Path:
    """A new name in the folder of `path` for a file or folder that is not complete yet.

    The name holds the process that uses it, when that process was started, and where, so that `remove_leftovers` can
    tell when it is gone. The first call for a folder removes what killed processes have left there.
    """
    folder = Path(path).parent
    key = os.path.abspath(folder)
    if key not in _cleaned:
        _cleaned.add(key)
        remove_leftovers([folder])
    where = "-".join(_place())
    return folder / f".actrec-{os.getpid()}-{_start_of(os.getpid()):016x}-{secrets.token_hex(4)}-{where}.tmp"


def remove_leftovers(folders: Iterable[Path], log: Callable[[str], None] | None = None) -> None:
    """Removes the temporary files and folders that killed processes have left directly in these folders.

    Those of a living process stay. Whether a process of another machine or container lives is unknown: its files are
    removed when they have not changed for a day.

    Args:
        log: Called with a message if much is removed.
    """
    size = 0
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                found = [Path(entry) for entry in entries if entry.name.startswith((".actrec-", ".part-"))]
        except OSError:
            continue
        for path in filter(_is_leftover, found):
            size += _bytes(path) if log else 0
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
    if log and size >= _LARGE:
        log(f"removed {size / 1e9:.1f} GB of unfinished files of interrupted commands")


@functools.cache
def _place() -> tuple[str, str, str]:
    """The machine, its last start, and the space of its process ids, as a temporary name holds them."""
    machine, boot, space = machine_ids()
    texts = (f"{host_name()} {machine}", boot, space)
    machine, boot, space = (hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8] for text in texts)
    return machine, boot, space


def _start_of(pid: int) -> int:
    """The start of this process; a random number where the system does not say."""
    start = start_of_process(pid)
    return _PROCESS if start is None else start


def _is_leftover(path: Path) -> bool:
    if match := _TEMPORARY.fullmatch(path.name):
        pid, start = int(match["pid"]), int(match["start"], 16)
        machine, boot, space = _place()
        if match["machine"] != machine or (match["boot"] == boot and match["space"] != space):
            return _is_abandoned(path)
        if match["boot"] != boot:  # the machine was started again since then
            return _last_change(path) < start_of_machine()
        if pid == os.getpid():
            return start != _start_of(pid)
        return not process_exists(pid) or start_of_process(pid) not in (None, start)
    if match := _OLD_TEMPORARY.fullmatch(path.name) or _OLD_PART.fullmatch(path.name):
        if match["node"] not in (None, host_name(), re.sub(r"[^\w.-]", "_", host_name())[:64]):
            return _is_abandoned(path)
        return int(match["pid"]) == os.getpid() or not process_exists(int(match["pid"]))
    return bool(_OLD_FILE.fullmatch(path.name))


def _is_abandoned(path: Path) -> bool:
    return time.time() - _last_change(path) > _ABANDONED


def _bytes(path: Path) -> int:
    """Size of a file, or of the files directly in a folder."""
    try:
        inside = os.listdir(path) if path.is_dir() and not path.is_symlink() else []
        return sum(os.lstat(path / name).st_size for name in inside) or os.lstat(path).st_size
    except OSError:
        return 0


def _last_change(path: Path) -> float:
    """When a file or a folder, or anything directly in it, was last changed; infinity if it is gone."""
    try:
        inside = [entry.stat().st_mtime for entry in os.scandir(path)] if path.is_dir() else []
        return max([path.stat().st_mtime, *inside])
    except OSError:
        return math.inf
