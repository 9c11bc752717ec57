"""What differs between operating systems: each call that only Linux or POSIX has, with what is done elsewhere.

Every function works everywhere. Where the system cannot do something, the docstring says what happens instead. Linux is
what the tests run on; they also run with these calls made unavailable.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # not a POSIX system, but Windows
    fcntl = None  # type: ignore[assignment]

_CONTROL_GROUP = Path("/sys/fs/cgroup")
_ASSUMED_MEMORY = 8 << 30  # bytes, where the system does not say


def num_cores() -> int:
    """How many cores this process may use: its CPU affinity, or fewer if a control group says so. Otherwise all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = core_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def set_up_math_threads() -> None:
    """Sets environment variables for torch's libraries that are not set yet. Call it before torch is imported.

    GOMP_SPINCOUNT sets how long torch's threads spin before they sleep. With torch's default, training becomes ten
    times slower as soon as the decode workers or other programs need the cores. Without any spinning, it runs at half
    the speed.

    MKL_CBWR makes Intel's MKL, which multiplies matrices for torch, always round the same sums in the same way. Without
    it, the rounding on an Intel CPU depends on the place of a row in the matrix, and can differ from call to call with
    several threads. On other CPUs, the variable is not set, because MKL might then choose slower instructions there.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if _is_cpu_of_intel():
        os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")


def _is_cpu_of_intel() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            name = file.read(1000)  # of the first core; the whole file takes long on a large machine
    except OSError:
        name = platform.processor()
    return "GenuineIntel" in name


def core_quota() -> float | None:
    """How many cores a control group allows this process to keep busy, as `docker run --cpus`; None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CONTROL_GROUP / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period) if quota != "max" else None
    with contextlib.suppress(OSError, ValueError):  # the first version of control groups
        quota, period = (
            (_CONTROL_GROUP / f"cpu/cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
        )
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def most_open_files() -> int | None:
    """How many files this process may have open at a time; None where the system does not say, or has no limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return most if most != resource.RLIM_INFINITY else None
    return None


def total_memory() -> int:
    """Physical memory in bytes; 8 GiB where it cannot be found out."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _ASSUMED_MEMORY


def peak_memory() -> int | None:
    """The most bytes of memory that this process has used; None where it cannot be found out."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def usable_memory() -> int:
    """Bytes that this process may use at most: the physical memory, or less if a control group or a limit says so."""
    limits = [total_memory()]
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((_CONTROL_GROUP / file).read_text(encoding="ascii")))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit > 0]
    return min(limit for limit in limits if limit > 0)


def available_memory() -> int | None:
    """Bytes that programs can still take from the physical memory; None where the system does not say."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text_of("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) << 10 if found else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is lacking. torch raises a plain RuntimeError, other libraries an OSError."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and re.search("can(no|')t allocate memory", str(error), re.I) is not None


class ExhaustedError(ValueError):
    """The system lacks what reading a file needs, such as descriptors. As the file is not the reason, the run ends."""

    def __init__(self, path: str | os.PathLike[str], reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self._given = os.fspath(path), reason

    def __reduce__(self) -> tuple[type[ExhaustedError], tuple[str, str]]:
        return type(self), self._given


def raise_if_exhausted(path: str | os.PathLike[str], error: Exception) -> None:
    """Raises ExhaustedError if an error says that this process, or the system, cannot open one more file.

    Args:
        error: An OSError, or another error with an `errno`.
    """
    number = getattr(error, "errno", None)
    if number in (errno.EMFILE, errno.ENFILE):
        what = f"{os.strerror(number)}: pass a smaller --workers, or raise the limit of open files (ulimit -n)"
        raise ExhaustedError(path, what) from None


def is_systems_fault(error: BaseException) -> bool:
    """Whether reading a file failed for another reason than its content: memory is lacking, or the system cannot read.

    A library that seeks to where damaged bytes lead it raises an OSError, too.
    """
    if is_out_of_memory(error) or isinstance(error, ExhaustedError):
        return True
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def release_free_memory() -> None:
    """Returns freed memory to the system. Does nothing where the C library cannot (only glibc can).

    glibc before 2.38 rarely reuses aligned memory, such as FFmpeg's pictures and DALI's copies, so a process that
    decodes all day would grow all day.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Bytes of an unbuffered file; fewer at its end. Threads may read from one file at the same time.

    This is one call of the system if it has one. Otherwise, the position in the file moves.

    Raises:
        OSError: It cannot be read.
    """
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    with _POSITION:
        file.seek(offset)
        return file.read(size)


def write_at(file: BinaryIO, offset: int, data: bytes) -> None:
    """Writes bytes to an unbuffered file.

    Raises:
        OSError: Not all of them can be written.
    """
    with _POSITION:
        file.seek(offset)
        write_all(file, data)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Writes bytes to an unbuffered file, at its position.

    Raises:
        OSError: Not all of them can be written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


_POSITION = threading.Lock()


def lock_file(file: BinaryIO, *, shared: bool = False) -> None:
    """Locks an open file for this process until it is closed, and waits for a process that holds the lock.

    Does nothing where files cannot be locked.

    Args:
        shared: Others may share the lock.
    """
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


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


def open_standard_streams() -> None:
    """Opens the null device for each standard stream that is closed.

    Otherwise the next files that are opened get the numbers 0 to 2, and what a library prints would be written into
    them. The same holds for child processes. Python's objects for such streams are None.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the end


def make_folder(folder: Path) -> None:
    """Creates a folder and its missing parents, even if another process removes one of them meanwhile.

    Raises:
        FileExistsError: Something else has the name of the folder or of a parent.
        OSError: The folder cannot be created.
    """
    while True:
        try:
            return folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:  # also if a folder was removed before `mkdir` looked at it
            if os.path.lexists(error.filename) and not os.path.isdir(error.filename):
                raise


LOCK_FILE = ".actrec-lock"
_RETRY = 0.01  # seconds between two attempts to get a lock


@contextlib.contextmanager
def lock_folder(folder: Path, *, wait: float = 0) -> Iterator[None]:
    """Creates a folder if it is missing, and locks it for this process until the block or the process ends.

    The folder is removed at the end if it is empty. On a file system that cannot lock folders, such as NFS, the file
    `LOCK_FILE` in it is locked in its place. Where files cannot be locked either, nothing is locked.

    Args:
        wait: Seconds to wait for a process that holds the lock.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The folder cannot be created or read.
    """
    if fcntl is None:
        make_folder(folder)
        yield
        return
    end = time.monotonic() + wait
    while True:
        try:
            handles = _lock(folder)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            handles = []
        if handles:
            break
        time.sleep(_RETRY)
    try:
        yield
    finally:
        # A process that opens the folder or the file before they are removed here notices that, see `_lock`. If the
        # folder was removed in the block, another process may have made and locked a new one.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handles[0]), os.stat(folder)):
                if len(handles) > 1:
                    (folder / LOCK_FILE).unlink(missing_ok=True)
                folder.rmdir()
        for handle in handles:
            os.close(handle)


def _lock(folder: Path) -> list[int]:
    """Opens and locks a folder, or the file in it.

    Returns:
        The handles of the folder and, if it was needed, of the file. No handle if another process, which has held the
        lock, has removed one of them in the meantime.

    Raises:
        BlockingIOError: Another process holds the lock.
        OSError: The folder cannot be created or read.
    """
    with contextlib.ExitStack() as opened:
        make_folder(folder)
        handles: list[int] = []
        for path, flags in ((folder, os.O_RDONLY), (folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)):
            try:
                handles.append(os.open(path, flags, 0o666))
            except FileNotFoundError:
                return []
            except OSError:
                if not handles:
                    raise
                break  # a folder that cannot be written needs no lock: the command that writes there reports the error
            opened.callback(os.close, handles[-1])
            try:
                fcntl.flock(handles[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # the file system has no locks of this kind
                continue
            try:
                if not os.path.samestat(os.fstat(handles[-1]), os.stat(path)):
                    return []
            except FileNotFoundError:
                return []
            break
        opened.pop_all()
        return handles


def host_name() -> str:
    """The name of this machine."""
    return platform.node()


def machine_ids() -> tuple[str, str, str]:
    """This machine, its last start, and the space in which its process ids are valid, such as a container.

    Each is a text that no other has, or "" where the system does not say.
    """
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return _text_of("/etc/machine-id"), _text_of("/proc/sys/kernel/random/boot_id"), space


def start_of_machine() -> float:
    """When this machine was started, in seconds since 1970; 0 where the system does not say."""
    found = re.search(r"^btime (\d+)", _text_of("/proc/stat"), re.MULTILINE)
    return float(found[1]) if found else 0.0


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def start_of_process(pid: int) -> int | None:
    """A number that tells a process of this machine from others that have had the same id; None if it is unknown."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
        # proc_pid_stat(5): starttime, in ticks since the machine started
        return int(data.rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def process_exists(pid: int) -> bool:
    """Whether a process of this machine is running; assumed where asking is impossible.

    A process that has ended, but whose parent has not noticed that yet, is not running.
    """
    if fcntl is None:
        return True  # there, os.kill would end the process
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return not re.search(r"\) [ZX] ", _text_of(f"/proc/{pid}/stat"))
