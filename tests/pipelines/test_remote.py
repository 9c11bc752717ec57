"""Videos at URLs and in tar archives: the batches are those of local files, whatever the network does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tarfile
import threading
import time

import numbered_videos
import numpy as np
import pytest
import torch
from range_server import RangeServer
from shard_files import write_shard

import actrec
from actrec.config import Input
from actrec.data import storage
from actrec.data.index import build_index, reach
from actrec.data.index.index import Index, run_in_threads
from actrec.data.index.records import Records
from actrec.data.storage import remote, tar
from actrec.data.video.packets import needed_ranges

HALF = (0.5, 0.5, 0.5)
INPUT = Input(mean=HALF, std=HALF, frames=4, size=32)
NAMES = [*(f"{i}.mp4" for i in range(5)), "vp9.webm", "packed.avi"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Videos and an archive of them."""
    root = tmp_path_factory.mktemp("videos")
    for i, name in enumerate(NAMES):
        frames = [numbered_videos.numbered(n) for n in range(20 + i)]
        options = {"vp9.webm": {"codec": "libvpx-vp9"}, "packed.avi": {"codec": "mpeg4"}}.get(name, {"bframes": 2})
        numbered_videos.write(root / name, frames, gop=8, **options)
    with tarfile.open(root / "shard.tar", "w") as archive:
        for name in NAMES:
            archive.add(root / name, f"./{name}")
    return root


@pytest.fixture(scope="module")
def objects(folder):
    return {name: (folder / name).read_bytes() for name in (*NAMES, "shard.tar")}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(remote, "_LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(remote, "_PATIENCE", 0.05)
    monkeypatch.setattr(remote, "_PATIENCE_UNKNOWN", 0.05)
    actrec.configure_storage(cache=tmp_path / "cache", cache_size="1G")
    yield
    actrec.configure_storage()


def rows(paths):
    return [actrec.Video(str(i), str(path), None, None, (i % 2,)) for i, path in enumerate(paths)]


def train_loader(paths, **options):
    return actrec.train_loader(rows(paths), actrec.Clip(), INPUT, **{"batch_size": 3, "workers": 2, **options})


def batches(loader, epochs=1):
    return [(b.rows, b.clips.clone(), b.labels) for _ in range(epochs) for b in loader]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for (rows, clips, labels), (rows_, clips_, labels_) in zip(found, expected):
        assert rows == rows_
        assert torch.equal(clips, clips_)
        assert torch.equal(labels, labels_)


@pytest.mark.parametrize("decoder", ["workers", "dali"])
def test_the_batches_are_those_of_local_files(folder, objects, decoder):
    def load(place):
        augment = actrec.Augment(grayscale=0.5) if decoder == "dali" else None
        paths = [place(name) for name in NAMES]
        found = batches(train_loader(paths, decoder=decoder, augment=augment, repeats=3), 2)
        views = actrec.Views(clips=2, crops=1)
        return found + batches(actrec.eval_loader(rows(paths), actrec.Clip(), INPUT, views=views, decoder=decoder))

    expected = load(lambda name: folder / name)
    assert_same(load(lambda name: f"{folder}/shard.tar::./{name}"), expected)
    with RangeServer(objects, failures=0.1) as server:
        assert_same(load(server.url), expected)
        assert_same(load(lambda name: f"{server.url('shard.tar')}::{name}"), expected)
        assert_same(load(lambda name: server.url(name) if name < "3" else folder / name), expected)
    assert storage.statistics()["retries"]


def test_a_missing_object_is_a_missing_file(objects):
    with RangeServer(objects) as server:
        loader = train_loader([*map(server.url, NAMES), server.url("gone.mp4")])
        assert loader.skipped == {"7": f"{server.url('gone.mp4')}: no such object"}
        assert sorted(row for b in batches(loader) for row in b[0]) != list(range(8))


def test_what_could_not_be_fetched_is_tried_in_the_next_epoch(objects, tmp_path):
    with RangeServer(objects) as server:
        loader = train_loader(map(server.url, NAMES), batch_size=7)
        expected = [batches(loader), batches(loader)]
        actrec.configure_storage(cache=tmp_path / "empty")
        loader = train_loader(map(server.url, NAMES), batch_size=7, index=build_index(rows(map(server.url, NAMES))))
        actrec.configure_storage(cache=tmp_path / "empty too")
        removed = server.objects.pop("2.mp4")
        server.broken.add("2.mp4")
        (found,) = batches(loader)
        assert [row for row in expected[0][0][0] if row != 2] == found[0]
        assert not loader.unusable
        assert list(loader.unreachable) == [2]
        assert "the server answers 503" in loader.unreachable[2]
        assert loader.state_dict() == {"epoch": 1, "step": 0}
        server.objects["2.mp4"] = removed
        server.broken.clear()
        assert_same(batches(loader), expected[1])
        assert not loader.unreachable


def test_an_index_keeps_what_it_knows_of_files_that_cannot_be_reached(objects, tmp_path):
    with RangeServer(objects) as server:
        videos = rows(map(server.url, NAMES))
        known = build_index(videos, cache=tmp_path / "l.index.npy")
        fingerprint = known.fingerprint()
        server.broken |= set(NAMES[:2])
        storage.configure_storage(cache=tmp_path / "empty")
        index = build_index(videos, cache=tmp_path / "l.index.npy")
        assert not index.broken
        assert list(index.unusable) == [0, 1]
        assert index.fingerprint() == fingerprint | {"contents": None}
        server.broken.clear()
        assert index[0] == known[0]
        assert list(index.unusable) == [1]
        storage.configure_storage(cache=tmp_path / "empty")
        server.reset()
        assert build_index(videos, cache=tmp_path / "l.index.npy").fingerprint() == fingerprint
        assert set(server.requests) == {"HEAD"}  # nothing was probed again


@pytest.mark.parametrize("what", ["refused", "busy"])
def test_a_host_that_fails_is_given_up(folder, objects, what):
    server = RangeServer(objects)
    with server if what == "busy" else contextlib.nullcontext():
        server.broken |= {f"no {i}.mp4" for i in range(1000)}
        dead = [server.url(f"no {i}.mp4") if what == "busy" else f"http://127.0.0.1:9/{i}.mp4" for i in range(1000)]
        with pytest.raises(ValueError, match=r"none of the 1,000 videos can be used; the first: http://127.0.0.1:\d+"):
            build_index(rows(dead))
        assert server.requests.total() < 1000
        index = build_index(rows([*dead, folder / "0.mp4"]))
        assert not index.broken
        assert len(index.unusable) == 1000
        assert "not tried, because 32 files in a row could not be fetched from http" in index.unusable[999]
        assert index[1000].frames == 20


def test_a_host_that_was_given_up_is_tried_again(objects, monkeypatch):
    with RangeServer(objects) as server:
        server.broken |= {"0.mp4"}
        for _ in range(40):
            build_index(rows([server.url("0.mp4")]), lazy=True).probe_all(run_in_threads)
        sent = server.requests.total()
        server.broken.clear()
        with pytest.raises(ValueError, match="32 files in a row"):
            build_index(rows([server.url("0.mp4")]))
        assert server.requests.total() == sent
        monkeypatch.setattr(reach, "_PAUSE", 0.0)
        assert build_index(rows([server.url("0.mp4")]))[0].frames == 20
        assert reach.why_given_up(server.url("0.mp4")) is None


def test_training_ends_when_nothing_can_be_fetched(objects, tmp_path):
    with RangeServer(objects) as server:
        loader = train_loader(map(server.url, NAMES), repeats=3, batch_size=21)
        actrec.configure_storage(cache=tmp_path / "empty")
        server.broken |= set(NAMES)
        with pytest.raises(ValueError, match=r"32 files in a row could not be fetched from http://127.0.0.1"):
            batches(loader, 10)


@pytest.mark.parametrize("lazy", [False, True])
def test_an_evaluation_keeps_its_results_when_a_host_is_lost(folder, objects, lazy):
    """And the files of other hosts are still read."""
    with RangeServer({f"{i}.mp4": objects["0.mp4"] for i in range(100)}) as server:
        server.broken |= {f"{i}.mp4" for i in range(5, 100)}
        paths = [*(server.url(f"{i}.mp4") for i in range(100)), folder / "1.mp4"]
        videos = rows(paths)
        index = build_index(videos, lazy=lazy)
        loader = actrec.eval_loader(videos, actrec.Clip(), INPUT, index=index, batch_size=4, workers=2)
        assert [row for b in loader for row in b.rows] == [*range(5), 100]
        assert list(loader.unusable) == list(range(5, 100))
        assert "the server answers 503" in loader.unusable[5]
        assert loader.unusable[99].startswith(f"{paths[99]}: not tried, because 32 files in a row could not be")
        assert not [name for _, name, _ in server.log if name == "99.mp4"]
        loader.raises_in_outage = True  # as in the validation of a training
        with pytest.raises(ValueError, match="32 files in a row could not be fetched"):
            batches(loader)


@pytest.mark.parametrize("decoder", ["workers", "dali"])
@pytest.mark.parametrize("member", [False, True])
def test_a_clip_fetches_the_packets_that_it_needs(tmp_path, decoder, member):
    codec = "libx264" if decoder == "workers" else "libvpx"
    name = "long.mp4" if decoder == "workers" else "long.webm"
    frames = [numbered_videos.numbered(n) for n in range(240)]
    numbered_videos.write(tmp_path / name, frames, gop=12, codec=codec)
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(tmp_path / name, name)
    stored = {one: (tmp_path / one).read_bytes() for one in (name, "shard.tar")}
    with RangeServer(stored) as server:
        (video,) = rows([f"{server.url('shard.tar')}::{name}" if member else server.url(name)])
        index = build_index([video])
        if decoder == "dali":  # only decoding all of a file certifies VP8
            index.verify_all(run_in_threads)
        expected = batches(actrec.eval_loader(rows([tmp_path / name]), actrec.Clip(), INPUT, decoder=decoder))
        actrec.configure_storage(cache=tmp_path / "empty")
        loader = actrec.eval_loader([video], actrec.Clip(), INPUT, index=index, decoder=decoder)
        if member:
            storage.stat(video.path)  # reads the headers of the archive
        server.reset()
        assert_same(batches(loader), expected)
        certificate = index.certificate(0)[1]
        positions = loader.plan(0, 0).frames.ravel()
        needed, _ = needed_ranges(certificate, sorted({*positions.tolist()}), with_droppable=decoder == "dali")
        size = sum(length for _, length in needed)
        assert size < len(stored[name]) / 2
        assert server.sent <= 1.15 * size
        assert server.requests["GET"] <= 4
        server.reset()
        assert_same(batches(loader), expected)
        assert not server.requests  # everything came from the cache


@pytest.mark.parametrize("is_known", [True, False])
def test_an_object_that_changes_is_read_anew(objects, tmp_path, is_known):
    numbered_videos.write(tmp_path / "new.mp4", [numbered_videos.numbered(n + 90) for n in range(20)], gop=8, bframes=2)
    with RangeServer(objects) as server:
        videos = rows([server.url("0.mp4")])
        index = build_index(videos, cache=tmp_path / "l.index.npy")
        loader = actrec.eval_loader(videos, actrec.Clip(), INPUT, index=index)
        old = batches(loader)
        server.objects["0.mp4"] = (tmp_path / "new.mp4").read_bytes()
        assert_same(batches(loader), old)  # from the cache, as the index has it
        if is_known:  # the process knows the ETag of the old object
            shutil.rmtree(tmp_path / "cache")
        else:
            actrec.configure_storage(cache=tmp_path / "empty")
        new = batches(actrec.eval_loader(rows([tmp_path / "new.mp4"]), actrec.Clip(), INPUT))
        assert_same(batches(loader), new)
        assert not loader.unusable
        actrec.configure_storage(cache=tmp_path / "empty too")
        again = build_index(videos, cache=tmp_path / "l.index.npy")
        assert_same(batches(actrec.eval_loader(videos, actrec.Clip(), INPUT, index=again)), new)
        assert again.fingerprint()["contents"] != index.fingerprint()["contents"]


@pytest.mark.parametrize("place", ["local", "remote"])
def test_an_index_knows_where_members_are(folder, objects, tmp_path, monkeypatch, place):
    """A process with an index and an empty cache does not scan the archive, unless it has changed."""
    content = objects["shard.tar"]
    with RangeServer({"x.tar": content}) as server:
        archive = server.url("x.tar")
        if place == "local":
            archive = str(tmp_path / "x.tar")
            (tmp_path / "x.tar").write_bytes(content)
        videos, cache = rows(f"{archive}::{name}" for name in NAMES), tmp_path / "l.index.npy"
        expected = batches(train_loader([folder / name for name in NAMES]))
        index = build_index(videos, cache=cache)
        scans = []
        scan = tar.scan
        monkeypatch.setattr(tar, "scan", lambda *given: scans.append(given) or scan(*given))
        for again in (index, None):
            actrec.configure_storage(cache=tmp_path / f"empty {again is None}")
            server.reset()
            if again is None:
                again = build_index(videos, cache=cache)
                assert server.requests == ({} if place == "local" else {"HEAD": server.requests["HEAD"]})
            assert_same(batches(train_loader([video.path for video in videos], index=again)), expected)
        assert not scans
        members = [(name, objects[NAMES[i - 1]]) for i, name in enumerate(NAMES)]  # each has another content now
        write_shard(folder / "moved.tar", members)
        server.objects["x.tar"] = (folder / "moved.tar").read_bytes()
        if place == "local":
            (tmp_path / "x.tar").write_bytes(server.objects["x.tar"])
        actrec.configure_storage(cache=tmp_path / "empty too")
        new = build_index(videos, cache=cache)
        assert scans
        moved = [folder / NAMES[i - 1] for i in range(len(NAMES))]
        assert new[1].frames == index[0].frames
        found = batches(actrec.eval_loader(videos, actrec.Clip(), INPUT, index=new))
        assert_same(found, batches(actrec.eval_loader(rows(moved), actrec.Clip(), INPUT)))


@pytest.mark.parametrize("place", ["local", "remote"])
def test_an_archive_that_loses_a_member_during_a_training(folder, objects, tmp_path, place):
    members = {name: objects[name] for name in NAMES}
    with RangeServer({"x.tar": write_shard(tmp_path / "x.tar", members).read_bytes()}) as server:
        archive = str(tmp_path / "x.tar") if place == "local" else server.url("x.tar")
        loader = train_loader([f"{archive}::{name}" for name in NAMES], batch_size=1)
        assert len(batches(loader)) == len(NAMES)
        if place == "remote":
            actrec.configure_storage(cache=tmp_path / "empty")
        del members[NAMES[0]]  # all others move
        server.objects["x.tar"] = write_shard(tmp_path / "x.tar", members).read_bytes()
        found = batches(loader)
        assert sorted(row for one in found for row in one[0]) == [*range(1, len(NAMES))]
        assert loader.skipped == {"0": f"{archive}::{NAMES[0]}: the archive has no such member"}
        second = batches(train_loader([folder / name for name in NAMES], batch_size=1), 2)[len(NAMES) :]
        expected = {rows[0]: clips for rows, clips, _ in second}
        assert all(torch.equal(clips, expected[rows[0]]) for rows, clips, _ in found if len(rows))


def test_a_copied_archive_is_not_scanned(folder, objects, tmp_path, monkeypatch):
    here = build_index(rows(f"{folder}/shard.tar::{name}" for name in NAMES))
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        for name in NAMES[::-1]:
            archive.add(folder / name, f"./{name}")
    other = (tmp_path / "other.tar").read_bytes()
    assert len(other) == len(objects["shard.tar"])
    with RangeServer({"same/shard.tar": objects["shard.tar"], "other/shard.tar": other}) as server:
        scans = []
        scan = tar.scan
        monkeypatch.setattr(tar, "scan", lambda *given: scans.append(given[0]) or scan(*given))
        for shard in ("same", "other"):
            videos = rows(f"{server.url(shard)}/shard.tar::{name}" for name in NAMES[:5])
            there = Index(videos, Records(5, None, None, int), np.arange(5), np.arange(5), None)
            assert there.take_over(here) == 5
            assert scans == ([] if shard == "same" else [f"{server.url('other')}/shard.tar"])
            expected = batches(train_loader([folder / name for name in NAMES[:5]]))
            assert_same(batches(train_loader([video.path for video in videos], index=there)), expected)


def interrupted(server, work):
    """Does something, and interrupts this process as soon as the server has a request."""

    def wait():
        while not server.most:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
    return work()


def test_an_interrupt_ends_all_requests(objects, tmp_path):
    with RangeServer(objects) as server:
        index = build_index(rows(map(server.url, NAMES)))
        actrec.configure_storage(cache=tmp_path / "empty")
        server.latency = 30
        iterator = iter(train_loader(map(server.url, NAMES), index=index, batch_size=1))
        server.reset()
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interrupted(server, lambda: next(iterator))
        assert time.monotonic() - begin < server.latency / 2
    # The interrupt may come while a thread is started: Python then lists it for good, even if it never runs.
    fetching = [thread for thread in threading.enumerate() if thread.name.startswith("actrec-fetch")]
    deadline = time.monotonic() + 10
    while any(thread.is_alive() for thread in fetching) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [thread for thread in fetching if thread.is_alive()]


def test_an_interrupt_ends_probing(objects):
    with RangeServer(objects, latency=30) as server:
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            interrupted(server, lambda: build_index(rows(map(server.url, NAMES))))
        assert time.monotonic() - begin < server.latency / 2


def test_a_closed_iterator_leaves_no_threads(objects, tmp_path):
    with RangeServer(objects, latency=0.05) as server:
        loader = train_loader(map(server.url, NAMES), batch_size=1)
        iterator = iter(loader)
        next(iterator)
        assert [thread for thread in threading.enumerate() if thread.name.startswith("actrec-fetch")]
        iterator.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("actrec-fetch")]
        assert len(batches(loader)) == len(NAMES)
