"""Locks of folders, with real processes, and what is known of processes."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from actrec import system
from actrec.system import LOCK_FILE, lock_folder, make_folder, process_exists, start_of_process

# Holds the lock for a moment and removes the folder, as fast as it can.
HOLDER = """
import sys
from pathlib import Path
from test_system import lock_only_files
from actrec.system import lock_folder
folder, number, rounds, locks = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
if locks == "files":
    lock_only_files()
for i in range(rounds):
    with lock_folder(folder, wait=60):
        with open(folder / "mine", "x") as file:
            file.write(number)
        assert (folder / "mine").read_text() == number
        (folder / "mine").unlink()
"""


def lock_only_files(replace=setattr):
    """Makes folders impossible to lock: only files that are open for writing can be locked, as on NFS."""
    real = fcntl.flock

    def flock(handle, operation):
        if not fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_RDWR:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(handle, operation)

    replace(fcntl, "flock", flock)


@pytest.fixture(params=["folders", "files"])
def locks(request, monkeypatch):
    """What the file system can lock."""
    if request.param == "files":
        lock_only_files(monkeypatch.setattr)
    return request.param


def test_a_lock_belongs_to_one_process_and_the_folder_goes_if_it_is_empty(tmp_path, locks):
    folder = tmp_path / "a" / "b"
    with lock_folder(folder):
        assert os.listdir(folder) == ([LOCK_FILE] if locks == "files" else [])
        with pytest.raises(BlockingIOError), lock_folder(folder):
            pass
        begun = time.monotonic()
        with pytest.raises(BlockingIOError), lock_folder(folder, wait=0.2):
            pass
        assert time.monotonic() - begun > 0.2
    assert not folder.exists()
    with lock_folder(folder):
        (folder / "kept").touch()
    with lock_folder(folder):
        pass
    assert os.listdir(folder) == ["kept"]


def test_a_new_folder_of_another_process_is_not_removed(tmp_path, locks):
    """The folder of this process was removed in the block, and another process has made it again."""
    folder = tmp_path / "x"
    with lock_folder(folder):
        shutil.rmtree(folder)
        folder.mkdir()
    assert folder.exists()


def test_a_folder_that_another_process_removes_meanwhile_is_created_and_locked_again(tmp_path, locks):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-c", HOLDER, tmp_path / "x"]
    processes = [subprocess.Popen([*command, str(i), "50", locks], env=environment) for i in range(3)]
    for _ in range(50):
        with lock_folder(tmp_path / "x", wait=60):
            assert os.listdir(tmp_path / "x") == ([LOCK_FILE] if locks == "files" else [])
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("removed", ["x", "x/y"])
def test_a_folder_is_made_even_if_it_is_removed_while_mkdir_looks_at_it(tmp_path, monkeypatch, removed):
    real, refused = os.mkdir, [os.fspath(tmp_path / removed)]

    def mkdir(path, *rest):
        if os.fspath(path) in refused:
            refused.remove(os.fspath(path))
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
        real(path, *rest)

    monkeypatch.setattr(os, "mkdir", mkdir)
    make_folder(tmp_path / "x" / "y")
    assert (tmp_path / "x" / "y").is_dir()
    assert refused == []


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: path.symlink_to("nowhere")])
def test_no_folder_is_made_where_something_else_is(tmp_path, make):
    make(tmp_path / "x")
    for folder in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises((FileExistsError, NotADirectoryError)):
            make_folder(folder)


def test_a_killed_process_holds_no_lock(tmp_path):
    code = "import sys, time; from pathlib import Path; from actrec.system import lock_folder\n"
    code += "with lock_folder(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "x"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    with pytest.raises(BlockingIOError), lock_folder(tmp_path / "x"):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with lock_folder(tmp_path / "x"):
        pass


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock_folder(tmp_path / "x"), lock_folder(tmp_path / "x"):
        assert (tmp_path / "x").is_dir()


@pytest.mark.parametrize("locks", ["files"], indirect=True)
def test_a_folder_that_cannot_be_written_is_left_without_a_lock(tmp_path, locks, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    with lock_folder(tmp_path):
        pass


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory|File exists"), lock_folder(tmp_path / "file" / "x"):
        pass
    os.symlink("nowhere", tmp_path / "link")
    with pytest.raises(OSError, match="File exists"), lock_folder(tmp_path / "link"):
        pass


def test_processes(monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_exists(process.pid)
    start = start_of_process(process.pid)
    assert start > start_of_process(os.getpid()) >= 0
    assert start_of_process(process.pid) == start
    process.kill()
    while process_exists(process.pid):  # its parent has not waited for it yet
        time.sleep(0.01)
    assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT) is not None
    process.communicate()
    assert start_of_process(process.pid) is None
    assert not process_exists(process.pid)
    assert not process_exists(2**62)
    machine, boot, space = system.machine_ids()
    assert boot
    assert space.startswith("pid:[")
    assert 0 < system.start_of_machine() < time.time()


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "damaged"}, None),
        ({}, None),
    ],
)
def test_cores_that_a_control_group_allows(files, quota, tmp_path, monkeypatch):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(system, "_CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert system.core_quota() == quota
    assert system.num_cores() == {1.5: 2, 0.5: 1, None: 8}[quota]


def test_memory_and_files_that_are_left(monkeypatch):
    assert 0 < system.available_memory() <= system.total_memory()
    assert system.most_open_files() > 0
    monkeypatch.setattr(system, "_text_of", lambda path: "")
    assert system.available_memory() is None
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert system.most_open_files() is None


@pytest.mark.parametrize(("vendor", "expected"), [("GenuineIntel", "AUTO,STRICT"), ("AuthenticAMD", None)])
def test_math_threads_on_cpus_of_both_makers(monkeypatch, vendor, expected):
    text = f"processor\t: 0\nvendor_id\t: {vendor}\n"
    monkeypatch.setattr(system, "open", lambda path, **options: io.StringIO(text), raising=False)
    monkeypatch.delenv("MKL_CBWR", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    system.set_up_math_threads()
    assert os.environ.get("MKL_CBWR") == expected
    assert os.environ["GOMP_SPINCOUNT"] == "7"  # what is set stays


def test_math_threads_where_the_system_tells_the_maker_otherwise(monkeypatch):
    monkeypatch.setattr(system, "open", _missing, raising=False)
    monkeypatch.setattr(system.platform, "processor", lambda: "Intel64 Family 6 Model 143 Stepping 8, GenuineIntel")
    monkeypatch.delenv("MKL_CBWR", raising=False)
    system.set_up_math_threads()
    assert os.environ["MKL_CBWR"] == "AUTO,STRICT"


def _missing(path, **options):
    raise FileNotFoundError(path)
