"""actrec works without DALI, and without the calls that only Linux or POSIX has."""

from __future__ import annotations

import subprocess
import sys

import pytest
from numbered_videos import numbered, write

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
