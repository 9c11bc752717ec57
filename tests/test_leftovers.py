"""What processes leave when they are killed while they write, and its removal."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actrec import leftovers
from actrec.files import atomic_write
from actrec.leftovers import remove_leftovers, temporary_path
from actrec.system import LOCK_FILE, start_of_process

WRITERS = {
    "file": "with atomic_write(target) as file: file.write('half'); file.flush(); wait()",
    "name": "with atomic_file(target) as path: path.write_text('half'); wait()",
    "folder": "with atomic_folder(target) as path: (path / '1').write_text('half'); wait()",
    "scratch": "with scratch_folder(target) as path: (path / '1').write_text('half'); wait()",
    "index": """
import cv2, numpy as np
from actrec.data.index import build_index
from actrec.data.lists import Video
folder = target.parent / "kept"
cv2.imwrite(str(folder / "00001.jpg"), np.zeros((8, 8, 3), np.uint8))
np.lib.format.write_array_header_1_0 = lambda file, header: (file.write(b"half"), wait())
build_index([Video("", str(folder), None, None, ())], cache=target)
""",
}


@pytest.fixture
def start_writer():
    """Starts a process that is in the middle of writing `target` when this returns."""
    running = []

    def start(kind: str, target: Path) -> subprocess.Popen:
        code = (
            "import sys, time; from pathlib import Path; from actrec.files import *\n"
            "def wait(): print('writing', flush=True); time.sleep(60)\n"
            f"target = Path(sys.argv[1])\n{WRITERS[kind]}"
        )
        process = subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout.readline() == b"writing\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, start_writer, kind):
    (tmp_path / "kept").mkdir()
    dead = start_writer(kind, tmp_path / "a")
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    (left,) = set(os.listdir(tmp_path)) - {"kept"}
    living = start_writer(kind, tmp_path / "a")  # the first file that a process writes in a folder cleans it
    (current,) = set(os.listdir(tmp_path)) - {"kept"}
    assert current != left
    assert f"-{living.pid}-" in current
    remove_leftovers([tmp_path, tmp_path / "none"])
    with atomic_write(tmp_path / "b") as file:
        file.write("b")
    assert set(os.listdir(tmp_path)) == {"kept", "b", current}
    living.send_signal(signal.SIGKILL)
    living.wait()
    remove_leftovers([tmp_path])
    assert set(os.listdir(tmp_path)) == {"kept", "b"}


def test_which_temporary_files_count_as_left_over(tmp_path, monkeypatch):
    ours = temporary_path(tmp_path / "x")
    node, dead, parent = platform.node(), 2**22 + 1, os.getppid()  # above Linux's largest process id
    machine, boot, space = leftovers._place()
    start, here = f"{start_of_process(parent):016x}", f"01234567-{machine}-{boot}-{space}"
    kept = [
        ours,
        tmp_path / f".actrec-{parent}-{start}-{here}.tmp",
        tmp_path / f".actrec-{dead}-{start}-01234567-{'0' * 8}-{boot}-{space}.tmp",  # of another machine
        tmp_path / f".actrec-{dead}-{start}-01234567-{machine}-{'0' * 8}-{space}.tmp",  # or one with the same name
        tmp_path / f".actrec-{dead}-{start}-01234567-{machine}-{boot}-{'0' * 8}.tmp",  # of another container
        tmp_path / f".actrec-{parent}-01234567-01234567-{node}.tmp",
        tmp_path / f".part-{parent}-{'0' * 32}-{node}",
        tmp_path / ".actrec-1-01234567-01234567-another.tmp",
        tmp_path / f".part-1-{'0' * 32}-another",
        tmp_path / ".part-1-2",
        tmp_path / ".part-x",
        tmp_path / "actrec.tmp",
        tmp_path / LOCK_FILE,
        tmp_path / ".actrec-of-a-later-version.tmp",
    ]
    gone = [
        tmp_path / f".actrec-{dead}-{start}-{here}.tmp",
        tmp_path / f".actrec-{parent}-{'0' * 16}-{here}.tmp",  # of an earlier process with the same id
        tmp_path / f".actrec-{os.getpid()}-{'0' * 16}-{here}.tmp",
        tmp_path / f".actrec-{dead}-01234567-01234567-{node}.tmp",
        tmp_path / f".actrec-{os.getpid()}-01234567-01234567-{node}.tmp",
        tmp_path / f".part-{dead}-{'0' * 32}-{node}",
        tmp_path / ".actrec-0123456789abcdef.tmp",
        tmp_path / ".actrec-previous.pt.tmp",
    ]
    abandoned = [
        tmp_path / f".actrec-1-{start}-76543210-{'0' * 8}-{boot}-{space}.tmp",
        tmp_path / f".actrec-1-{start}-76543210-{machine}-{boot}-{'0' * 8}.tmp",
        tmp_path / f".actrec-{parent}-{start}-76543210-{machine}-{'0' * 8}-{space}.tmp",  # before a power cut
        tmp_path / ".actrec-2-01234567-01234567-another.tmp",
        tmp_path / f".part-2-{'0' * 32}-another",
    ]
    for path in [*kept, *gone, *abandoned]:
        path.write_text("half")
    for path in abandoned:
        os.utime(path, (0, 0))
    (folder := tmp_path / f".actrec-{dead}-{start}-{here.replace('01', '76')}.tmp").mkdir()
    (folder / "1").write_text("half")
    (busy := tmp_path / f".actrec-3-{start}-01234567-{'0' * 8}-{boot}-{space}.tmp").mkdir()
    (busy / "1").write_text("half")
    os.utime(busy, (0, 0))  # something inside has just changed
    remove_leftovers([tmp_path])
    assert set(tmp_path.iterdir()) == {*kept, busy}
    monkeypatch.setattr(leftovers, "process_exists", lambda pid: False)
    remove_leftovers([tmp_path])
    assert set(tmp_path.iterdir()) == {*kept, busy} - {kept[1], *kept[5:7]}


def test_where_the_system_does_not_say_when_a_process_started(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "start_of_process", lambda pid: None)
    ours = temporary_path(tmp_path / "x")
    parents = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{os.getppid()}-"))
    earlier = ours.with_name(re.sub("-[0-9a-f]{16}-", f"-{'0' * 16}-", ours.name))
    for path in (ours, parents, earlier):
        path.touch()
    remove_leftovers([tmp_path])
    assert set(tmp_path.iterdir()) == {ours, parents}


def test_a_killed_process_counts_as_dead_before_its_parent_notices(tmp_path, start_writer):
    process = start_writer("file", tmp_path / "a")
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    remove_leftovers([tmp_path])
    assert os.listdir(tmp_path) == []


def test_large_leftovers_are_told(tmp_path):
    messages = []
    for number, size in enumerate((10, 150_000_000)):
        path = temporary_path(tmp_path / "x")
        path = path.with_name(path.name.replace(f"-{os.getpid()}-", "-4194305-"))
        if number:
            path.mkdir()
            path /= "1"
        path.touch()
        os.truncate(path, size)
    remove_leftovers([tmp_path], messages.append)
    remove_leftovers([tmp_path], messages.append)
    assert messages == ["removed 0.2 GB of unfinished files of interrupted commands"]
    assert os.listdir(tmp_path) == []


def test_a_file_is_no_leftover_just_because_its_writer_was_forked(tmp_path):
    ours = temporary_path(tmp_path / "x")
    ours.touch()
    child = os.fork()
    if not child:
        remove_leftovers([tmp_path])
        mine = temporary_path(tmp_path / "x")
        mine.touch()
        os._exit(int(not ours.exists() or mine.name.split("-")[1] != str(os.getpid())))
    assert os.waitpid(child, 0)[1] == 0
    assert ours.exists()
    remove_leftovers([tmp_path])
    assert set(tmp_path.iterdir()) == {ours}
