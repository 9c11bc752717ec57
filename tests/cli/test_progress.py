"""Progress on a terminal, in a notebook and in a log file."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import types

import pytest

from actrec.cli import progress


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, as a list with one number. No line was printed yet."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "_last_line", None)
    return now


def test_a_log_file_gets_a_line_every_30_seconds_at_most(clock, capsys):
    printed = []
    for list_name in ("train", "val"):  # two bars share the interval
        with progress.Bar("videos") as bar:
            for done in range(401):
                bar.to(done, 400, failed=2 if done > 100 else 0)
                clock[0] += 0.125
                if said := capsys.readouterr().err:
                    printed.append((clock[0], list_name, said))
    assert [said for _, _, said in printed] == [
        "videos: 240/400, 8 videos/s, 00:20 left, 2 failed\n",
        "videos: 79/400, 8 videos/s, 00:40 left\n",
        "videos: 319/400, 8 videos/s, 00:10 left, 2 failed\n",
    ]
    assert printed[1][0] - printed[0][0] >= 30


def test_quick_work_prints_nothing(clock, capsys):
    with progress.Bar("videos", total=1000) as bar:
        for _ in range(1000):
            bar.add()
    assert capsys.readouterr().err == ""


def test_what_was_done_before_does_not_count_for_the_rate(clock, capsys):
    bar = progress.Bar("videos")
    bar.to(500, 1000)
    clock[0] += 50
    bar.to(600, 1000)
    assert capsys.readouterr().err == "videos: 600/1000, 2 videos/s, 03:20 left\n"


def test_the_first_moment_gives_no_rate(clock, capsys):
    progress.Bar("steps")
    clock[0] += 31
    bar = progress.Bar("videos", total=59)
    bar.to(0)
    clock[0] += 1e-5
    bar.to(16)
    assert capsys.readouterr().err == "videos: 16/59\n"


def test_work_of_unknown_length(clock, capsys):
    bar = progress.Bar("files")
    bar.to(0)
    clock[0] += 31
    bar.to(12)
    assert capsys.readouterr().err == "files: 12\n"


def test_training_in_a_log_file(clock, capsys):
    reporter = progress.TrainReporter()
    reporter.epoch(2, 50, 100, 10)
    for _ in range(90):
        clock[0] += 1
        reporter.step(loss=0.5, top1=75.0, clips_per_second=16.0, waiting=0.25)
    for done in range(0, 65, 16):
        clock[0] += 10
        reporter.validation(64, done)
    reporter.line("epoch 3/50")
    said = capsys.readouterr()
    assert said.out == "epoch 3/50\n"
    assert said.err.splitlines() == [
        "epoch 3/50 steps: 40/100, 1 steps/s, 01:00 left, loss 0.500, top-1 75.0, 16.0 clips/s, waiting 25 %",
        "epoch 3/50 steps: 70/100, 1 steps/s, 00:30 left, loss 0.500, top-1 75.0, 16.0 clips/s, waiting 25 %",
        "epoch 3/50 steps: 100/100, loss 0.500, top-1 75.0, 16.0 clips/s, waiting 25 %",
        "epoch 3/50 validation videos: 32/64, 1.6 videos/s, 00:20 left",
    ]


def test_a_notebook_gets_its_own_bar(monkeypatch):
    shown = []

    class Widget(progress.tqdm):
        def __init__(self, *args, **kwargs):
            shown.append(kwargs["desc"])
            super().__init__(*args, **kwargs)

    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr("tqdm.auto.tqdm", Widget)
    reporter = progress.TrainReporter()
    reporter.epoch(0, 2, 4, 0)
    reporter.step(loss=0.5, top1=75.0, clips_per_second=16.0, waiting=0.25)
    reporter.validation(4, 1)
    reporter.close()
    assert shown == ["epoch 1/2", "epoch 1/2 validation"]


def on_a_terminal(code: str) -> str:
    """What a program prints on a terminal."""
    termios = pytest.importorskip("termios")
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (24, 80))  # otherwise it has no rows, and tqdm shows no bar
    with subprocess.Popen([sys.executable, "-c", code], stdout=its, stderr=its) as child:
        os.close(its)
        said = b""
        with contextlib.suppress(OSError):  # the end, on Linux
            while data := os.read(ours, 100_000):
                said += data
    os.close(ours)
    assert child.returncode == 0
    return said.decode()


def test_a_terminal_gets_a_bar():
    code = "from actrec.cli.progress import Bar\nwith Bar('videos', total=3, title='epoch 1/2') as bar:\n  bar.add(2)\n"
    said = on_a_terminal(code)
    assert "epoch 1/2" in said
    assert "0/3" in said
    assert "\r" in said


MESSAGES = """
import logging, warnings
from actrec.cli.ending import note, tell, warnings_noted
from actrec.cli.progress import Bar
with warnings_noted(), Bar("videos", total=9) as bar:
    for say in (logging.getLogger("actrec.data").warning, warnings.warn, note, tell):
        bar.add()
        say(f"a message of {say.__name__}")
    bar.add()
"""


def test_messages_have_lines_of_their_own_while_there_is_a_bar():
    said = on_a_terminal(MESSAGES)
    assert "| 1/9" in said
    seen = [as_shown(line) for line in said.replace("\r\n", "\n").split("\n")]
    assert [line for line in seen if not line.startswith("<string>")] == [
        "a message of warning", "a message of note", "a message of tell", "",
    ]  # fmt: skip
    (warning,) = (line for line in seen if line.endswith("a message of warn"))
    assert warning.startswith("<string>:8: UserWarning: ")


def as_shown(line: str) -> str:
    """What a terminal shows of a line in which carriage returns have moved the cursor to its start."""
    shown: list[str] = []
    for part in line.split("\r"):
        shown[: len(part)] = part
    return "".join(shown).rstrip()
