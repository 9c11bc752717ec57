"""Decode images and learn what the image libraries complain about.

libjpeg decodes damaged data without an error and prints a warning, without the name of the file, to the standard error
of the process, which all threads share. So a child process decodes the images, one after the other.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

from actrec.data.video.container import MediaError

# libjpeg also warns of bytes between the data and the end of the image, which some cameras write to fill a block.
_DAMAGE = re.compile(r"Premature end of JPEG file|Corrupt JPEG data: .*|Inconsistent progression sequence.*")
_FILL = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_MAX_FILL = 16
_CHILD = Path(__file__).with_name("watched_child.py")
_local = threading.local()


def decode_watched(path: str) -> tuple[tuple[int, int] | None, str | None]:
    """Decodes an image in a child process, of which each thread has one.

    Returns:
        (height, width) as displayed, or None if OpenCV does not decode it; what the libraries say of damage, or None.

    Raises:
        MediaError: The child process cannot be started, or it crashed.
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
        except OSError as error:
            raise MediaError(path, f"the decoder of images cannot be started ({error.strerror})") from None

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
