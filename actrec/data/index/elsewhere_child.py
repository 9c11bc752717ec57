"""The child process of `elsewhere.py`."""

import os
import pickle
import signal
import sys
from typing import Any, BinaryIO


def main() -> None:
    """Reads `sys.path`, the limits of media and then jobs from the standard input. Answers the limits and each job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    sys.path[:] = pickle.load(sys.stdin.buffer)

    import cv2

    from actrec.data.index.probe import probe_path
    from actrec.data.limits import set_limits

    cv2.setNumThreads(1)
    set_limits(pickle.load(sys.stdin.buffer))
    _answer(answers, None, None)
    while True:
        try:
            path, name, flow, template = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            found = probe_path(path, name, flow=flow, template=template)
        except Exception as error:
            _answer(answers, None, error)
        else:
            _answer(answers, found, None)


def _answer(answers: BinaryIO, found: Any, error: Exception | None) -> None:
    try:
        answer = pickle.dumps((found, error))
        pickle.loads(answer)
    except Exception:  # an error of a library
        answer = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
    answers.write(answer)
    answers.flush()


if __name__ == "__main__":
    main()
