"""The child process of `watched.py`. It imports nothing of actrec, which its `sys.path` may not have."""

import json
import os
import signal
import sys
import tempfile
from typing import BinaryIO, cast

import cv2
import numpy as np


def main() -> None:
    """Writes "ready". Then reads paths from the standard input and writes [shape, warnings] for each, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    replies = os.fdopen(os.dup(1), "w")
    with _file_in_memory() as warnings:
        for stream in (1, 2):
            os.dup2(warnings.fileno(), stream)
        replies.write("ready\n")
        replies.flush()
        for line in sys.stdin:
            warnings.seek(0)
            warnings.truncate()
            try:
                image = cv2.imdecode(np.fromfile(json.loads(line), np.uint8), cv2.IMREAD_COLOR)
            except (OSError, cv2.error):  # `read_image` gives the reason
                image = None
            warnings.seek(0)
            said = warnings.read().decode("utf-8", "replace")
            replies.write(json.dumps([None if image is None else image.shape[:2], said]) + "\n")
            replies.flush()


def _file_in_memory() -> BinaryIO:
    """On a full disk, warnings would be lost; where the system has no such files, it is a temporary one."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("warnings"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())


if __name__ == "__main__":
    main()
