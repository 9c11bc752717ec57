"""Ctrl-C ends a command within three seconds, even if it is blocked."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

GRACE = 2.5  # seconds in which an interrupted command may save its results and remove its temporary files

_SAID = (
    b"\ninterrupted, without waiting for a call that took more than %.1f seconds; check the disk or network share\n"
    % GRACE
)
_END = 0  # the number of no signal


@contextlib.contextmanager
def ends_at_interrupt() -> Iterator[None]:
    """Ends this process if it is still running `GRACE` seconds after an interrupt in the block.

    Python raises KeyboardInterrupt in the main thread, and waits for all other threads before it exits. Neither works
    while a thread waits in the operating system for a disk or a network share that does not answer. Killing the
    process is safe, because every file is written atomically and every command continues where it stopped.

    While a command handles interrupts itself, as `train` does to save a checkpoint, only the second one counts.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(receiver,), name="interrupt", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        sender.send(bytes([_END]))
        sender.close()


def _watch(receiver: socket.socket) -> None:
    """Reads the numbers of the signals, which Python writes at once, whatever its threads do."""
    num_interrupts = 0
    with receiver:
        while (number := receiver.recv(1)[0]) != _END:
            if number != signal.SIGINT:
                continue
            num_interrupts += 1
            if num_interrupts == 2 or signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                time.sleep(GRACE)
                os.write(2, _SAID)
                os._exit(130)
