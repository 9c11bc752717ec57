"""Ctrl-C ends a command that a file blocks. A lease of another process makes `open` wait (45 s on Linux)."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from numbered_videos import numbered, write

from actrec.cli import interrupt
from actrec.cli.interrupt import ends_at_interrupt

HOLD = """
import fcntl, signal, sys, time
signal.signal(signal.SIGIO, lambda *_: print("opened", flush=True))
with open(sys.argv[1], "r+b") as file:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print("held", flush=True)
    time.sleep(60)
"""
PROGRAM = """
import signal, sys, threading, time
from actrec.cli import interrupt

interrupt.GRACE = 1.5

def handle(number, frame):
    pass

with interrupt.ends_at_interrupt():
    if sys.argv[1] == "handled":
        signal.signal(signal.SIGINT, handle)
    try:
        print("ready", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        pass
    if sys.argv[1] == "stuck":  # as the threads of a pool
        threading.Thread(target=time.sleep, args=(30,)).start()
print("done", flush=True)
"""


@pytest.fixture
def blocked(tmp_path):
    """A video whose opening blocks, and the process that reports when a program opens it."""
    path = write(tmp_path / "b.mp4", [numbered(n) for n in range(5)])
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            if holder.stdout.readline() != "held\n":
                pytest.skip("this file system has no leases")
            yield holder
        finally:
            holder.kill()


@pytest.mark.parametrize("command", ["index", "prepare"])
def test_a_file_that_does_not_answer(tmp_path, blocked, command):
    (tmp_path / "list.txt").write_text("b.mp4 0\n")
    arguments = {"index": ["list.txt"], "prepare": ["--list", "list.txt", "--sample", "0", "out"]}[command]
    program = [sys.executable, "-m", "actrec", command, *arguments]
    with subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert blocked.stdout.readline() == "opened\n"
        time.sleep(0.2)
        assert process.poll() is None, process.stderr.read()
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=40)
    assert process.returncode == 130
    assert time.monotonic() - start < interrupt.GRACE + 20  # this machine may be busy
    assert b"without waiting for a call" in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("case", "interrupts", "code"), [("free", 1, 0), ("stuck", 1, 130), ("handled", 1, None), ("handled", 2, 130)]
)
def test_what_ends_the_process(case, interrupts, code):
    program = [sys.executable, "-c", PROGRAM, case]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(interrupts):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        try:
            process.wait(3 if code is None else 20)
        except subprocess.TimeoutExpired:
            process.kill()
            assert code is None
        else:
            assert process.returncode == code
            assert ("done" in process.stdout.read()) == (code == 0 or case == "stuck")


def test_nothing_remains_of_a_command_that_ends():
    before = signal.set_wakeup_fd(-1)
    with ends_at_interrupt():
        inside = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(inside)
    assert inside != -1
    assert signal.set_wakeup_fd(before) == -1
    deadline = time.monotonic() + 5
    while any(thread.name == "interrupt" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "interrupt" for thread in threading.enumerate())
