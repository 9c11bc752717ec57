"""actrec works without DALI, and without the calls that only Linux or POSIX has."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from numbered_videos import numbered, write
from test_imports import modules

# The libraries come first: on Linux, they use these calls themselves. Folders cannot be opened, as on Windows.
WITHOUT = """
import ctypes, os, sys
import av, cv2, numpy, torch, torch.utils.tensorboard

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fcntl", "nvidia"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in [name for name in sys.modules if name.split(".")[0] in ("fcntl", "nvidia")]:
    del sys.modules[name]
sys.meta_path.insert(0, Missing())
for name in ("sched_getaffinity", "pread", "sysconf", "uname", "fork", "kill"):
    delattr(os, name)

class NoLibrary(ctypes.CDLL):
    def __init__(self, name, *args, **options):
        if name is None:
            raise TypeError("no such library")
        super().__init__(name, *args, **options)

ctypes.CDLL = NoLibrary
os_open = os.open
def open_file(path, *args, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return os_open(path, *args, **options)
os.open = open_file
"""


@pytest.fixture
def run(tmp_path):
    """Runs code in a process that lacks all of that, in the folder of the videos; gives what it prints."""

    def run_code(code, *, returncode=0):
        command = [sys.executable, "-c", WITHOUT + code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == returncode, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    for kind in ("left", "right"):
        for i in range(3):
            path = tmp_path / "videos" / kind / f"{i}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, [numbered(n) for n in range(12)], gop=4)
    (tmp_path / "list.txt").write_text("videos/left/0.mp4 0\nvideos/right/0.mp4 1\nvideos/right/1.mp4 1\n")
    return run_code


def test_index_and_extract_frames(run, tmp_path):
    out, _ = run("from actrec.cli.main import main; main(['index', 'list.txt', '--verify'])")
    assert "3 videos" in out or "videos    3" in out
    assert (tmp_path / "list.txt.index.npy").is_file()
    run("from actrec.cli.main import main; main(['extract-frames', 'videos', 'data'])")
    assert len(list((tmp_path / "data/frames").rglob("*.jpg"))) == 6 * 12


LOADER = """
import actrec
from actrec.config import Input
videos, clip, net_input = actrec.read_list("list.txt"), actrec.Clip(), Input((0.5,) * 3, (0.5,) * 3, frames=4, size=32)
"""


def test_a_loader_on_the_cpu(run):
    out, _ = run(
        LOADER
        + "loader = actrec.train_loader(videos, clip, net_input, batch_size=3)\n"
        + "(batch,) = loader\n"
        + "print(tuple(batch.clips.shape), len(loader.skipped))\n"
        + "print([tuple(batch.clips.shape) for batch in actrec.eval_loader(videos, clip, net_input, batch_size=3)])"
    )
    assert out.splitlines() == ["(3, 3, 4, 32, 32) 0", "[(3, 3, 4, 32, 32)]"]


@pytest.mark.parametrize("options", ["decoder='dali'", "augment=actrec.Augment(color_jitter=(0.4, 0.4, 0.4, 0.1))"])
def test_dali_is_named_where_it_is_missing(run, options):
    out, _ = run(
        LOADER
        + f"try: actrec.train_loader(videos, clip, net_input, batch_size=3, {options})\n"
        + "except ValueError as error: print(error)"
    )
    assert "need NVIDIA DALI, which is not installed here" in out
    assert len(out.splitlines()) == 1


def test_training(run, tmp_path):
    """A run folder cannot be locked there."""
    flags = ["--list", "list.txt", "--val-list", "list.txt", "--backbone", "tsn_resnet18", "--size", "32"]
    flags += ["--epochs", "1", "--batch-size", "2", "--run", "run", "--device", "cpu"]
    run(f"from actrec.cli.main import main; main(['train', *{flags!r}])")
    assert (tmp_path / "run/last.pt").is_file()


# What Python does not have on these systems: modules, and attributes of os, signal and mmap.
LACKS = {
    "win32": {
        "modules": "fcntl resource pwd grp termios tty pty syslog posix readline",
        "os": "sched_getaffinity sched_setaffinity pread pwrite preadv pwritev sysconf uname fork forkpty getuid "
        "geteuid getgid setsid killpg getpgid nice getloadavg posix_fadvise posix_fallocate register_at_fork "
        "memfd_create mkfifo statvfs fchmod chown O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY O_SYNC waitid WNOHANG",
        "signal": "SIGKILL SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE alarm setitimer pthread_sigmask",
        "mmap": "MAP_SHARED MAP_PRIVATE MAP_ANONYMOUS PROT_READ PROT_WRITE MADV_SEQUENTIAL MADV_WILLNEED",
    },
    "darwin": {
        "modules": "",
        "os": "sched_getaffinity sched_setaffinity posix_fadvise posix_fallocate memfd_create eventfd splice O_DIRECT",
        "signal": "SIGPWR SIGSTKFLT sigtimedwait sigwaitinfo",
        "mmap": "MAP_POPULATE MADV_DONTDUMP",
    },
}
IMPORT_ALL = """
import importlib, json, mmap, os, signal, sys
import av, cv2, numpy, torch, torch.utils.tensorboard, matplotlib.pyplot
import onnx, sklearn, fsspec, aiohttp, distributed, jinja2
import actrec.cli.main

system, lacks, names = json.loads(sys.argv[1])
gone = {*lacks["modules"].split(), "nvidia"}

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in gone:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in [name for name in sys.modules if name.split(".")[0] in gone or name.split(".")[0] == "actrec"]:
    del sys.modules[name]
sys.meta_path.insert(0, Missing())
for module in (os, signal, mmap):
    for name in lacks[module.__name__].split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = system
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize("system", LACKS)
def test_every_module_can_be_imported(system):
    need_dali = tuple(f"actrec.pipelines.dali.{name}" for name in ("graph", "feed", "optical_flow"))
    names = [name for name, _ in modules() if not name.endswith(("__main__", "_child", *need_dali))]
    given = json.dumps([system, LACKS[system], names])
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, given], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(names))]
