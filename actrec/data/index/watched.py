"""Decode images and learn what the image libraries complain about.

libjpeg decodes damaged data without an error and prints a warning, without the name of the file, to the standard error
of the process, which all threads share. `Listening` notices such a warning while several threads decode, and
`decode_watched` tells which image it belongs to: a child process decodes the images, one after the other.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import platform
import re
import subprocess
import sys
import threading
from pathlib import Path

import cv2

from actrec.data.video.container import MediaError
from actrec.system import ExhaustedError, raise_if_exhausted

# libjpeg also warns of bytes between the data and the end of the image, which some cameras write to fill a block, and
# of color profiles. libpng only warns if all pixels are there but their checksum differs.
_DAMAGE = re.compile(
    r"Premature end of JPEG file|Corrupt JPEG data: (?!bad ICC).*|Inconsistent progression sequence.*|"
    r"libpng warning: IDAT: incorrect data check"
)
_FILL = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MAX_FILL = 16
# Lines of the image libraries. An image that they do not decode is named by its reader.
_KNOWN = re.compile(
    rf"{_DAMAGE.pattern}|Corrupt JPEG data: .*|libpng (warning|error): .*|Unknown Adobe color transform code .*|"
    r"Warning: unknown JFIF revision number .*|Invalid SOS parameters for sequential JPEG|Input file read error"
)
# OpenCV 5 has another name for it than OpenCV 4. Both return the level that was set before.
_set_log_level = cv2.utils.logging.setLogLevel if hasattr(cv2.utils, "logging") else getattr(cv2, "setLogLevel")  # noqa: B009
_CHILD = Path(__file__).with_name("watched_child.py")
_local = threading.local()


class Listening:
    """Catches what libraries print to the C library's `stderr`, from its creation to `close`. A context manager.

    Other threads may listen at the same time. When one of them closes, lines that are not of the image libraries are
    written to the standard error. Where the C library is not glibc, nothing is caught. OpenCV's own messages are turned
    off: it also returns that it cannot decode an image.

    Attributes:
        heard_damage: An image library complained of damage; known when closed.
    """

    def __init__(self) -> None:
        self.heard_damage = False
        self._is_open = True
        self._start = _stderr.enter()

    def close(self) -> None:
        """Ends listening. It may be called more than once."""
        if self._is_open:
            self._is_open = False
            self.heard_damage = damage_of(_stderr.leave(self._start)) is not None

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class _Stderr:
    """The variable `stderr` of the C library, which points to a file in memory while anybody listens.

    Python's own messages do not pass it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners = 0
        self._level = 0  # OpenCV's log level
        self._terminal: int | None = None  # where the variable pointed to

    def enter(self) -> int:
        """Returns how much has been caught so far."""
        with self._lock:
            self._listeners += 1
            if self._listeners == 1:
                self._level = _set_log_level(0)
                if caught := _memory_file():
                    self._terminal, caught.variable.value = caught.variable.value, caught.stream
            return caught.look() if (caught := _memory_file()) else 0

    def leave(self, start: int) -> str:
        """Returns what was caught after `start`."""
        with self._lock:
            self._listeners -= 1
            caught = _memory_file()
            said = caught.read(start) if caught and caught.look() > start else ""
            if not self._listeners:
                _set_log_level(self._level)
            if caught:
                if not self._listeners:
                    caught.variable.value = self._terminal
                caught.pass_on(is_last=not self._listeners)
            return said


@functools.cache
def _memory_file() -> _MemoryFile | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    with contextlib.suppress(OSError, AttributeError, ValueError):
        return _MemoryFile()
    return None


class _MemoryFile:
    """A file in memory that C can print to.

    Attributes:
        variable: The variable `stderr` of the C library.
        stream: The file as C sees it.
        size: Its size in bytes at the last look.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self.variable = ctypes.c_void_p.in_dll(libc, "stderr")
        self._descriptor, self.size, self._passed = os.memfd_create("stderr"), 0, 0
        libc.fdopen.restype, libc.fdopen.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p)
        libc.setvbuf.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t)
        self.stream = libc.fdopen(self._descriptor, b"a")
        if not self.stream:
            raise OSError("no memory")
        unbuffered = 2
        libc.setvbuf(self.stream, None, unbuffered, 0)

    def look(self) -> int:
        """Sets and returns `size`. C appends to the file wherever its position is."""
        self.size = os.lseek(self._descriptor, 0, os.SEEK_END)
        return self.size

    def read(self, start: int) -> str:
        return os.pread(self._descriptor, self.size - start, start).decode("utf-8", "replace")

    def pass_on(self, *, is_last: bool) -> None:
        """Writes new unknown lines to the standard error, and empties the file after the last listener."""
        if not self.size:
            return
        said, self._passed = self.read(self._passed), self.size
        if is_last:
            os.ftruncate(self._descriptor, 0)
            self.size = self._passed = 0
        others = [line for line in said.splitlines(keepends=True) if not _KNOWN.fullmatch(line.strip())]
        if others:
            with contextlib.suppress(OSError):
                os.write(2, "".join(others).encode("utf-8"))


_stderr = _Stderr()


def decode_watched(path: str) -> tuple[tuple[int, int] | None, str | None]:
    """Decodes an image in a child process, of which each thread has one.

    Returns:
        (height, width) as displayed, or None if OpenCV does not decode it; what the libraries say of damage, or None.

    Raises:
        MediaError: The child process crashed.
        ExhaustedError: It cannot be started.
    """
    if not hasattr(_local, "decoder"):
        _local.decoder = _Decoder(path)
    try:
        shape, said = _local.decoder.decode(path)
    except (OSError, ValueError):  # the child has ended, so its answer is no JSON
        del _local.decoder
        raise MediaError(path, "the decoder of images crashed") from None
    return shape and tuple(shape), damage_of(said)


def damage_of(said: str) -> str | None:
    """The first warning among the lines that means damage."""
    for line in said.splitlines():
        line = line.strip()
        if _DAMAGE.fullmatch(line) and not ((fill := _FILL.fullmatch(line)) and int(fill[1]) <= _MAX_FILL):
            return line
    return None


class _Decoder:
    """A child process. It ends when its input does."""

    def __init__(self, path: str):
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(_CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            started = self._process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
            why = f"exit code {self._process.wait()}" if not started else ""
        except OSError as error:
            raise_if_exhausted(path, error)
            started, why = False, error.strerror or str(error)
        if not started:
            raise ExhaustedError(path, f"the process that decodes images cannot be started ({why})")

    def decode(self, path: str) -> tuple[list[int] | None, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(path) + "\n")
        self._process.stdin.flush()
        shape, said = json.loads(self._process.stdout.readline())
        return shape, said

    def __del__(self) -> None:
        if process := getattr(self, "_process", None):
            process.communicate()
