"""The child process of `watched.py`. It imports nothing of actrec, which its `sys.path` may not have."""

import json
import os
import signal
import sys
import tempfile

import cv2
import numpy as np


def main() -> None:
    """Reads paths from the standard input and writes [shape, warnings] for each, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    replies = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryFile() as warnings:
        for stream in (1, 2):
            os.dup2(warnings.fileno(), stream)
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


if __name__ == "__main__":
    main()
