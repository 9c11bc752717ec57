"""What differs between operating systems: each call that only Linux or POSIX has, with what is done elsewhere.

Every function works everywhere. Where the system cannot do something, the docstring says what happens instead. Linux is
what the tests run on; they also run with these calls made unavailable.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system, but Windows
    fcntl = None  # type: ignore[assignment]

_ASSUMED_MEMORY = 8 << 30  # bytes, where the system does not say


def num_cores() -> int:
    """How many cores this process may use; all of the machine's where the system has no CPU affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def total_memory() -> int:
    """Physical memory in bytes; 8 GiB where it cannot be found out."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _ASSUMED_MEMORY


def release_free_memory() -> None:
    """Returns freed memory to the system. Does nothing where the C library cannot (only glibc can).

    glibc before 2.38 rarely reuses aligned memory, such as FFmpeg's pictures and DALI's copies, so a process that
    decodes all day would grow all day.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Makes sure that a rename in a folder survives a power cut. Does nothing where folders cannot be synced."""
    if fcntl is None:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder; the file itself is safe
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Locks a folder for this process until the block ends, or the process. Locks nothing where that is impossible.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def host_name() -> str:
    """The name of this machine."""
    return platform.node()


def process_exists(pid: int) -> bool:
    """Whether a process of this machine is running; assumed where asking is impossible."""
    if fcntl is None:
        return True  # there, os.kill would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
