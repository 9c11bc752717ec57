from __future__ import annotations

import os

from actrec.system import set_up_math_threads

set_up_math_threads()  # before torch is imported, as the command line does
if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of pytest-xdist use all cores already
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import actrec  # noqa: E402

if TYPE_CHECKING:
    from engine.group import Groups

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory) -> Iterator[Path]:
    """A cache for all tests and the commands that they start, instead of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """The real videos in ../shared. Without them the test is skipped, except in CI, where it fails."""
    return _shared("videos")


@pytest.fixture(scope="session")
def shared_spec() -> Path:
    """The golden data of the reference programs in ../shared."""
    return _shared("spec")


def _shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        message = f"the folder ../shared/{name} next to the clone is missing"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED / name


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if torch.cuda.is_available():
        return
    if os.environ.get("ACTREC_EXPECT_GPU") == "1":
        pytest.fail("ACTREC_EXPECT_GPU=1, but torch finds no GPU")
    pytest.skip("needs an NVIDIA GPU")


def write_folder(path: Path, frames: int, rng: np.random.Generator, bright: bool) -> Path:
    """Write a frame folder of bright or dark noise: two classes that any net can learn."""
    path.mkdir(parents=True)
    for i in range(frames):
        picture = rng.integers(150, 255, (24, 32, 3)) if bright else rng.integers(0, 100, (24, 32, 3))
        cv2.imwrite(str(path / f"{i + 1:05d}.jpg"), picture.astype(np.uint8))
    return path


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """A dataset folder with train.txt (12 videos), val.txt (4 videos) and labels.txt."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    for split, number in (("train", 12), ("val", 4)):
        lines = []
        for i in range(number):
            folder = write_folder(root / f"frames/{split}{i}", 9, rng, bright=i % 2 == 1)
            lines.append(f"{folder.relative_to(root)} 1 9 {i % 2}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    (root / "labels.txt").write_text("dark\nbright\n")
    return root


@pytest.fixture
def videos(dataset) -> list[actrec.Video]:
    return actrec.read_list(dataset / "train.txt")


@pytest.fixture(scope="session")
def trained(dataset, tmp_path_factory) -> Path:
    """The folder of a short training run on `dataset`."""
    from engine.data_of import data_of
    from engine.helpers import run, tiny

    run_dir = tmp_path_factory.mktemp("trained") / "runs/tiny"
    run(run_dir, data_of(dataset), tiny(precision="float32"))
    return run_dir


@pytest.fixture(scope="session")
def groups(tmp_path_factory) -> Iterator[Groups]:
    """Runs commands in several processes."""
    from engine.group import Groups

    groups = Groups(tmp_path_factory.mktemp("groups"))
    yield groups
    groups.close()


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, each a process of its own. (address, worker processes)."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "tools"), *sys.path])}
    environment |= {"DASK_LOGGING__DISTRIBUTED": "critical"}

    def start(*arguments):
        command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    scheduler = start("dask_scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1], "--no-dashboard")
    workers = [
        start("dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--name", str(i))
        for i in range(2)
    ]
    from distributed import Client

    with Client(address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    yield address, workers
    for process in (*workers, scheduler):
        process.kill()
        process.wait()
