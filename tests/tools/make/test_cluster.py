"""The tools on a cluster of two processes, one of which dies half way."""

import os
import signal

import numpy as np

from actrec.config import ExtractOptions, FlowOptions, PrepareOptions
from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.encode import VideoWriter
from actrec.tools.lists.index import probe_all
from actrec.tools.make.extract_flow import extract_flow
from actrec.tools.make.extract_frames import extract_frames
from actrec.tools.make.jobs import Workers
from actrec.tools.make.prepare import prepare


def videos(folder, count, frames=20):
    for i in range(count):
        path = folder / "ab"[i % 2] / f"{i}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(i)
        with VideoWriter(path, width=96, height=64, rate=25) as writer:
            for _ in range(frames):
                writer.write(rng.integers(0, 256, (64, 96, 3), np.uint8))
    return folder


def contents(folder):
    """Every file but the index, which has the times of the files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and ".index." not in path.name]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_extraction_survives_a_worker(cluster, tmp_path):
    address, workers = cluster
    src = videos(tmp_path / "videos", 24)
    (src / "a" / "broken.mp4").write_text("no video")
    options = ExtractOptions(short_side=48)
    local = extract_frames(src, tmp_path / "local", options)
    made_once = {}

    def progress(done, total, failed):
        for path in (tmp_path / "far" / "frames").glob("*/[0-9]*"):
            made_once.setdefault(path, path.stat().st_ino)
        if done >= 8 and workers[0].poll() is None:
            os.kill(workers[0].pid, signal.SIGKILL)
            workers[0].wait()

    far = extract_frames(src, tmp_path / "far", options, workers=Workers(cluster=address), progress=progress)
    assert workers[0].poll() is not None
    assert (far.done, far.frames, far.lists) == (local.done, local.frames, local.lists) == (24, 480, local.lists)
    assert [reason for _, reason in far.failed] == [reason for _, reason in local.failed]
    again = extract_frames(src, tmp_path / "far", options, workers=Workers(cluster=address))
    assert (again.done, again.skipped) == (0, 24)
    assert {path: path.stat().st_ino for path in made_once} == made_once  # nothing was done twice
    assert len(made_once) == 24
    assert contents(tmp_path / "far") == contents(tmp_path / "local")


def test_flow_on_a_cluster(cluster, tmp_path):
    options, made = FlowOptions(short_side=48), []
    for name, workers in (("local", Workers()), ("far", Workers(cluster=cluster[0]))):
        src = videos(tmp_path / name, 4, frames=5)
        (src / "list.txt").write_text("".join(f"{'ab'[i % 2]}/{i}.mp4 0\n" for i in range(4)))
        made.append(extract_flow([src / "list.txt"], options, workers=workers))
    assert (made[1].done, made[1].pairs, made[1].failed) == (4, 16, ())
    assert made[0] == made[1]
    assert contents(tmp_path / "far/flow") == contents(tmp_path / "local/flow")


def test_preparation_on_a_cluster(cluster, tmp_path):
    src = videos(tmp_path / "videos", 6)
    (src / "a" / "broken.mp4").write_text("no video")
    options = PrepareOptions(short_side=48, encoder="cpu")
    local = prepare(src, tmp_path / "local", options, sample=0)
    far = prepare(src, tmp_path / "far", options, sample=0, workers=Workers(cluster=cluster[0]))
    assert (far.done, far.frames, far.after, far.lists) == (6, 120, local.after, local.lists)
    assert [reason for _, reason in far.failed] == [reason for _, reason in local.failed]
    assert contents(tmp_path / "far") == contents(tmp_path / "local")


def test_an_index_from_a_cluster(cluster, tmp_path):
    src = videos(tmp_path / "videos", 6, frames=5)
    (src / "a" / "broken.mp4").write_text("no video")
    rows = [Video(p.name, str(p), None, None, (0,)) for p in sorted(src.rglob("*.mp4"))]
    index = build_index(rows, lazy=True)
    probe_all(index, Workers(cluster=cluster[0]))
    index.find_broken()
    local = build_index(rows)
    assert index.broken == local.broken
    assert [index[i] for i in range(len(rows)) if i not in local.broken] == [
        local[i] for i in range(len(rows)) if i not in local.broken
    ]
    assert index.fingerprint() == local.fingerprint()
