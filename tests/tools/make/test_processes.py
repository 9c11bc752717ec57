"""Several processes at once, and processes that are killed: every result is whole and right, nothing is left over."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from forked import Forks
from frame_extraction import make_video

from actrec.config import ExtractOptions, FlowOptions, PrepareOptions
from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.tools.make import extract_flow, extract_frames, prepare

MODULES = [f"actrec.tools.make.{name}" for name in ("extract_frames", "prepare", "extract_flow")]
OF_FLOW = ["actrec.engine.datafolder", "actrec.engine.devices"]  # `extract-flow` imports torch, which takes a second
FRAMES = ExtractOptions(short_side=48)
PREPARED = PrepareOptions(short_side=48, encoder="cpu", preset="ultrafast")
COMMANDS = {
    "extract-frames": ("--short-side", 48),
    "prepare": ("--short-side", 48, "--encoder", "cpu", "--preset", "ultrafast", "--sample", 0),
}
COMMANDS["prepare --shards"] = (*COMMANDS["prepare"], "--shards", 3)


@pytest.fixture(scope="module")
def forks():
    with Forks(*MODULES, *OF_FLOW) as running:
        yield running


@pytest.fixture
def src(tmp_path):
    for i in range(8):
        make_video(tmp_path / "videos" / "ab"[i % 2] / f"{i}.mp4", width=96, height=64, frames=5 + i)
    return tmp_path / "videos"


@pytest.fixture
def flow_list(src):
    lines = [f"{path.relative_to(src)} {'ab'.index(path.parent.name)}\n" for path in sorted(src.rglob("*.mp4"))]
    (src / "list.txt").write_text("".join(lines))
    return src / "list.txt"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too, but the record, which has the paths' order, and the index, which has
    times."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in files
        if p.name not in (".prepare.json", ".prepare_shards.json", ".extract_frames.json") and "index" not in p.name
    }


def called(command: str, src: Path, dst: Path) -> tuple:
    return (command.split()[0], src, dst, *COMMANDS[command])


def refused(ended) -> bool:
    return ended.code == 1 and "is in use: another `actrec" in ended.output.splitlines()[-1]


# ---- two commands at once ----


@pytest.mark.parametrize("command", COMMANDS)
def test_two_commands_with_one_dst(forks, src, tmp_path, command):
    forks.run(called(command, src, tmp_path / "right"))
    for i in range(3):
        call = called(command, src, tmp_path / str(i))
        ended = forks.run(call, call, call)
        assert any(one.code == 0 for one in ended)
        assert all(one.code == 0 or refused(one) for one in ended), ended
        assert contents(tmp_path / str(i)) == contents(tmp_path / "right")
        (again,) = forks.run(call)
        assert "8 of 8 videos exist already" in again.output
        assert contents(tmp_path / str(i)) == contents(tmp_path / "right")


def test_two_extractions_of_flow(forks, src, flow_list):
    (one,) = forks.run(("extract-flow", flow_list))
    right = contents(src / "flow")
    assert one.code == 0
    for _ in range(3):
        shutil.rmtree(src / "flow")
        ended = forks.run(("extract-flow", flow_list), ("extract-flow", flow_list))
        assert [one.code for one in ended] == [0, 0], ended
        assert contents(src / "flow") == right
        assert sorted(path.name for path in src.iterdir() if path.name != "list.txt") == [
            ".extract_flow.json",
            "a",
            "b",
            "flow",
        ]


def test_two_extractions_of_flow_with_other_settings(forks, src, flow_list):
    for _ in range(2):
        ended = forks.run(("extract-flow", flow_list), ("extract-flow", flow_list, "--bound", 10))
        assert sorted(one.code for one in ended) == [0, 1], ended
        assert "contains flow with other settings" in "".join(one.output for one in ended)
        shutil.rmtree(src / "flow")
        (src / ".extract_flow.json").unlink()


def test_two_indexes_of_one_list_keep_what_each_has_found(forks, src, flow_list):
    cache = src / "list.txt.index.npy"
    for _ in range(5):
        cache.unlink(missing_ok=True)
        ended = forks.run(("index", flow_list), ("index", flow_list, "--verify"), ("index", flow_list))
        assert [one.code for one in ended] == [0, 0, 0], ended
        index = build_index(read_list(flow_list), cache=cache, lazy=True)
        assert [index[i].frames for i in range(8)] == [5, 7, 9, 11, 6, 8, 10, 12]
        assert index.num_damaged == 0
        assert list(src.glob(".actrec-*")) == []


# ---- one job twice, as from a cluster ----


def frames_job(path, folder):
    return extract_frames._extract_missing(Path(path), Path(folder), FRAMES, stop=lambda: False)


def prepare_job(path, result):
    quarantine = Path(result).with_name("quarantine")
    return prepare._prepare_missing(Path(path), Path(result), quarantine, PREPARED, stop=lambda: False)


def flow_job(path, folder):
    return extract_flow.flow_of_video(Path(path), Path(folder), FlowOptions(), extract_flow.dis, stop=lambda: False)[0]


@pytest.mark.parametrize(
    ("job", "wanted"),
    [(frames_job, {"(12,"}), (prepare_job, {"Prepared(frames=12,", "Prepared(frames=0,"}), (flow_job, {"11"})],
)
def test_a_job_that_is_handed_out_twice(src, tmp_path, job, wanted):
    path = src / "b" / "7.mp4"
    with Forks("test_processes", *MODULES, path=[os.path.dirname(__file__)]) as forks:
        call = f"test_processes:{job.__name__}"
        forks.run((call, path, tmp_path / "right" / "7.mp4"))
        for i in range(10):
            ended = forks.run(*[(call, path, tmp_path / str(i) / "7.mp4")] * 3)
            assert [one.code for one in ended] == [0, 0, 0], ended
            assert {one.output.split()[0] for one in ended} <= wanted
            assert contents(tmp_path / str(i)) == contents(tmp_path / "right")


# ---- SIGKILL ----


def killed(forks: Forks, call: tuple, seconds: float) -> None:
    """Runs a command and kills it at a random time of its work."""

    def kill(pids):
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[0], signal.SIGKILL)

    (ended,) = forks.run(call, meanwhile=kill)
    assert ended.code in (0, -signal.SIGKILL), ended


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.startswith((".actrec-", ".part-", ".unfinished"))]


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", [*COMMANDS, "extract-flow", "index"])
def test_the_same_command_continues_after_kills(forks, src, flow_list, tmp_path, command, kills):
    if command in COMMANDS:
        flow_list.unlink()
        out, right = tmp_path / "out", tmp_path / "right"
        call = called(command, src, out)
        measured = called(command, src, right)
    else:
        out, right = src, tmp_path / "right"
        shutil.copytree(src, right)
        call = (command, flow_list, *["--verify"] * (command == "index"))
        measured = (command, right / "list.txt", *["--verify"] * (command == "index"))
    begun = time.monotonic()
    assert forks.run(measured)[0].code == 0
    seconds, chance = time.monotonic() - begun, random.Random(0)
    for _ in range(kills):
        killed(forks, call, chance.uniform(0, seconds))
    (ended,) = forks.run(call)
    assert ended.code == 0, ended
    assert leftovers(out) == []
    if command != "index":
        assert contents(out) == contents(right)
        return
    index, other = (
        build_index(read_list(folder / "list.txt"), cache=folder / "list.txt.index.npy", lazy=True)
        for folder in (out, right)
    )
    assert [index[i].frames for i in range(8)] == [other[i].frames for i in range(8)] == [5, 7, 9, 11, 6, 8, 10, 12]
    assert index.unverified_files() == other.unverified_files() == []


# ---- a full disk ----


@pytest.fixture
def disk(tmp_path):
    """A small file system, and a function that sets its size in KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True)
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("command", [*COMMANDS, "extract-flow", "index"])
def test_the_same_command_continues_after_a_full_disk(forks, src, flow_list, tmp_path, disk, command):
    folder, resize = disk
    if command in COMMANDS:
        flow_list.unlink()
        call, right = called(command, src, folder / "dst"), tmp_path / "right"
        out = folder / "dst"
        forks.run(called(command, src, right))
    else:
        right, out = tmp_path / "right", folder / "dst"
        shutil.copytree(src, right)
        shutil.copytree(src, out)
        call = (command, out / "list.txt")
        forks.run((command, right / "list.txt"))
    used = (shutil.disk_usage(folder).used + 1023) // 1024
    resize(used + (4 if command == "index" else 40))
    if command == "index":
        (folder / "fill").write_bytes(bytes(4096))
    (ended,) = forks.run(call)
    assert ended.code == 1, ended
    assert ".actrec-" not in ended.output
    assert str(out) in ended.output.splitlines()[-1]
    assert "No space left on device" in ended.output.splitlines()[-1]
    assert leftovers(folder) == []
    resize(4096)
    (ended,) = forks.run(call)
    assert ended.code == 0, ended
    if command == "index":
        assert (out / "list.txt.index.npy").stat().st_size == (right / "list.txt.index.npy").stat().st_size
    else:
        assert contents(out) == contents(right)


def test_few_descriptors_are_enough(src, flow_list, tmp_path):
    with Forks(*MODULES, limits={"RLIMIT_NOFILE": 64}) as few:
        for call in (
            ("extract-frames", src, tmp_path / "frames", *COMMANDS["extract-frames"], "--workers", 24),
            ("prepare", src, tmp_path / "prepared", *COMMANDS["prepare"], "--workers", 16),
            ("extract-flow", flow_list, "--workers", 16),
            ("index", flow_list, "--verify", "--workers", 16),
        ):
            (ended,) = few.run(call)
            assert ended.code == 0, ended


def test_too_few_descriptors_end_the_run_and_no_video_counts_as_broken(forks, src, tmp_path):
    ended = {}
    forks.run(("extract-frames", src, tmp_path / "right", *COMMANDS["extract-frames"]))
    for limit in (9, 12, 17, 18):
        with Forks(*MODULES, limits={"RLIMIT_NOFILE": limit}) as few:
            call = ("extract-frames", src, tmp_path / str(limit), *COMMANDS["extract-frames"], "--workers", 24)
            (ended[limit],) = few.run(call)
        failed = tmp_path / str(limit) / "failed.csv"
        assert not failed.exists(), failed.read_text()
        if ended[limit].code:
            assert "Too many open files" in ended[limit].output
        (again,) = forks.run(call)
        assert again.code == 0
        assert contents(tmp_path / str(limit)) == contents(tmp_path / "right")
    assert ended[9].code == 1  # with 12, it depends on how many threads read at the same time
