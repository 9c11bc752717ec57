"""A training from URLs and from members of archives is the training from local files, bit for bit."""

from __future__ import annotations

import json
import tarfile

import numbered_videos
import numpy as np
import pytest
import torch
from range_server import RangeServer
from s3_server import serve_bucket

import actrec
from actrec.data import storage
from actrec.data.storage import remote

TINY = ["--backbone", "resnet3d_10", "--widen", "0.125", "--frames", "4", "--size", "32", "--batch-size", "4"]
NAMES = {"train": [f"c{i % 2}/t{i}.mp4" for i in range(8)], "val": [f"c{i % 2}/v{i}.mp4" for i in range(4)]}
FILES = [*NAMES["train"], *NAMES["val"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for i, name in enumerate(FILES):
        (root / name).parent.mkdir(exist_ok=True)
        frames = [numbered_videos.numbered(n + 50 * (i % 2)) for n in range(16 + i)]
        numbered_videos.write(root / name, frames, gop=6, bframes=2)
    with tarfile.open(root / "shard.tar", "w") as archive:
        for name in FILES:
            archive.add(root / name, name)
    return root


@pytest.fixture(scope="module")
def objects(folder):
    return {name: (folder / name).read_bytes() for name in (*FILES, "shard.tar")}


@pytest.fixture(scope="module")
def bucket(objects):
    """An S3 bucket with the objects, on loopback."""
    with serve_bucket("k400", objects):
        yield "s3://k400/"


def make_lists(folder, prefix):
    folder.mkdir()
    for part, names in NAMES.items():
        lines = [f"{prefix}{name} {name[1]}\n" for name in names]
        (folder / f"{part}.txt").write_text("".join(lines))
    (folder / "labels.txt").write_text("zero\none\n")


def results(run, folder, cache):
    """Everything that a training, an evaluation and an embedding give, but names and times."""
    flags = ["--data", folder, "--cache", cache, "--cache-size", "100M"]
    code, _, said = run("train", *flags, *TINY, "--epochs", "2", "--log-every", "1", "--run", folder / "run")
    assert code == 0, said
    code, out, _ = run("evaluate", *flags, "--run", folder / "run", "--out", folder / "scores.npz")
    assert code == 0
    assert run("embed", folder / "val.txt", *flags, "--run", folder / "run", "--out", folder / "e.npz")[0] == 0
    saved = torch.load(folder / "run/last.pt", weights_only=True)
    steps = (folder / "run/steps.jsonl").read_text().splitlines()
    assert len(steps) == 4
    arrays = [np.load(folder / "scores.npz")["scores"], np.load(folder / "e.npz")["features"]]
    secrets = [path for path in folder.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]
    assert not secrets
    return saved, steps, arrays, out[-1]


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_equal(*pair)
    elif isinstance(one, (torch.Tensor, np.ndarray)):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert (one == other).all()
    else:
        assert one == other


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def expected():
    return {}  # the results from local files, once they are known


@pytest.mark.parametrize("place", ["members", "https", "members of https", "s3", "members of s3"])
def test_a_run_from_anywhere_is_the_run_from_local_files(
    run, request, folder, objects, places, expected, place, monkeypatch
):
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.001)
    if not expected:
        make_lists(places / "local", f"{folder}/")
        expected["local"] = results(run, places / "local", places / "cache of local")
        assert not (places / "cache of local").exists()
    with RangeServer(objects, failures=0.01 if place == "https" else 0.1) as server:
        prefix = {
            "members": f"{folder}/shard.tar::",
            "https": server.url(""),
            "members of https": f"{server.url('shard.tar')}::",
            "s3": lambda: request.getfixturevalue("bucket"),
            "members of s3": lambda: request.getfixturevalue("bucket") + "shard.tar::",
        }[place]
        make_lists(places / place, prefix() if callable(prefix) else prefix)
        before = storage.statistics()
        assert_equal(results(run, places / place, places / f"cache of {place}"), expected["local"])
        assert place == "members" or storage.statistics()["fetched"] > before["fetched"]
    actrec.configure_storage()


def test_a_video_that_cannot_be_fetched_is_no_broken_video(run, objects, tmp_path, monkeypatch):
    for name, seconds in {"_FIRST_PAUSE": 0.001, "_LONGEST_PAUSE": 0.01, "_PATIENCE": 0.05}.items():
        monkeypatch.setattr(remote, name, seconds)
    with RangeServer(objects) as server:
        make_lists(tmp_path / "d", server.url(""))
        flags = ["--data", tmp_path / "d", "--run", tmp_path / "d/run"]
        assert run("index", tmp_path / "d/train.txt", "--cache", tmp_path / "first")[0] == 0
        lost = NAMES["train"][3]
        server.broken.add(lost)
        code, out, err = run(
            "train",
            *flags,
            *TINY,
            "--schedule",
            "step",
            "--lr-steps",
            "9",
            "--epochs",
            "1",
            "--cache",
            tmp_path / "second",
        )
        assert code == 0
        reason = f"  {server.url(lost)}: the server answers 503 after "
        assert any("could not be fetched this time: 8 videos, 1 skipped:" in line for line in [*out, *err])
        assert any(line.startswith(reason) for line in [*out, *err])
        (epoch,) = map(json.loads, (tmp_path / "d/run/log.jsonl").read_text().splitlines())
        assert epoch["skipped"] == 1
        loader = torch.load(tmp_path / "d/run/last.pt", weights_only=True)["loader"]
        assert loader == {"epoch": 1, "step": 0}
        code, out, err = run("index", tmp_path / "d/train.txt", "--cache", tmp_path / "third", "--json", tmp_path / "j")
        assert code == 1
        assert out[0].startswith(f"{tmp_path}/d/train.txt: 8 videos, 0 broken, 1 unreachable, ")
        (found,) = json.loads((tmp_path / "j").read_text()).values()
        assert (found["videos"], found["broken"], found["unreachable"]) == (8, 0, 1)
        server.broken.clear()
        code, _, err = run("train", *flags, "--resume", "--epochs", "2", "--cache", tmp_path / "third")
        assert code == 0, err
        assert json.loads((tmp_path / "d/run/log.jsonl").read_text().splitlines()[1])["skipped"] == 0
    actrec.configure_storage()
