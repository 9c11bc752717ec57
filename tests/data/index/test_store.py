"""Certificates that are found while files are probed, the file in which they are kept, and what refutes them."""

import multiprocessing
import os
import time

import numpy as np
import pytest
from numbered_videos import checksums, numbered, plain_decode, write

import actrec
from actrec.config import Input
from actrec.data.index import build_index, cache_path, notices
from actrec.data.index import index as index_module
from actrec.data.index import store as stores
from actrec.data.index.cache import seals
from actrec.data.index.probe import RECORD, Certified
from actrec.data.index.store import CertificateStore, Place
from actrec.data.lists import Video

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32)


def video(path):
    return Video(path.name, str(path), None, None, (0,))


def clip(path, num_frames=40):
    return write(path, [numbered(n) for n in range(num_frames)], gop=10, bframes=2, options={"sc_threshold": "0"})


@pytest.fixture
def rows(tmp_path):
    return [video(clip(tmp_path / f"{n}.mp4", 30 + n)) for n in range(3)]


@pytest.fixture
def cache(tmp_path):
    return cache_path(tmp_path / "list.txt")


@pytest.fixture
def demuxed(monkeypatch):
    """Paths of files of which the certificate is made from the file, after it was probed."""
    paths, find = [], index_module.find_certificate
    monkeypatch.setattr(index_module, "find_certificate", lambda path: paths.append(path) or find(path))
    return paths


def store_of(cache):
    return cache.with_name("list.txt.index.packets")


def frames_of(index, i, positions):
    found = {}
    went = index.read_frames(i, np.array(positions), lambda place, rgb: found.update({place: rgb.copy()}))
    return [found[place] for place in range(len(positions))], went


def assert_certified(index, rows):
    for i, row in enumerate(rows):
        known, certificate = index.certificate(i)
        assert known
        expected = checksums(plain_decode(row.path))
        assert len(certificate.pts) == len(expected)
        found, went = frames_of(index, i, [13, 25])
        assert checksums(found) == [expected[13], expected[25]]
        assert went.decoded <= 10
    assert not index.surprises


def test_probing_gives_certificates(rows, demuxed):
    assert_certified(build_index(rows), rows)
    assert not demuxed


@pytest.mark.parametrize(("codec", "name"), [("libvpx", "a.webm"), ("libvpx-vp9", "a.webm"), ("libsvtav1", "a.mp4")])
def test_what_packets_do_not_prove_is_left_to_a_decode(tmp_path, codec, name):
    """Damaged pictures of VP8 are not marked, and look different if decoding starts at another keyframe."""
    path = write(tmp_path / name, [numbered(n) for n in range(20)], gop=10, codec=codec)
    index = build_index([video(path)])
    assert index.certificate(0) == (False, None)
    loader = actrec.train_loader([video(path)], actrec.Clip(frames=4), INPUT, batch_size=1, index=index)
    list(loader)
    known, certificate = index.certificate(0)
    assert known
    assert len(certificate.pts) == 20


def test_later_processes_read_them_from_the_disk(rows, cache, demuxed):
    build_index(rows, cache=cache)
    size = store_of(cache).stat().st_size
    for lazy in (False, True):
        index = build_index(rows, cache=cache, lazy=lazy)
        assert not index._packed
        assert_certified(index, rows)
        index.save()
    assert not demuxed
    assert store_of(cache).stat().st_size == size


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "another version": lambda path: path.write_bytes(b"actrecP2" + path.read_bytes()[8:]),
    "changed bytes": lambda path: path.write_bytes(path.read_bytes()[:16] + path.read_bytes()[:15:-1]),
    "of another list": lambda path: path.write_bytes(path.read_bytes()[:8] + b"\7" + path.read_bytes()[9:]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_wrong_with_the_file_costs_only_time(rows, cache, demuxed, damage):
    build_index(rows, cache=cache)
    DAMAGE[damage](store_of(cache))
    index = build_index(rows, cache=cache)
    assert_certified(index, rows)
    assert len(demuxed) == (1 if damage == "cut off" else 3)
    index.save()
    demuxed.clear()
    assert_certified(build_index(rows, cache=cache), rows)
    assert bool(demuxed) == (damage in ("a folder", "a pipe"))  # otherwise it was mended


def test_a_read_only_folder(rows, cache, demuxed, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(stores, "_locked", refuse)
    index = build_index(rows, cache=cache)
    assert_certified(index, rows)
    assert not demuxed
    assert "list.txt.index.packets: cannot be written (Permission denied)" in index.why_unsaved
    monkeypatch.undo()
    assert_certified(build_index(rows, cache=cache), rows)


class FullDisk:
    """A file that has room for ten more bytes."""

    def __init__(self, file):
        self._file, self._room, self.truncate = file, 10, file.truncate

    def write(self, data):
        if not self._room:
            raise OSError(28, "No space left on device")
        written = self._file.write(data[: self._room])
        self._room -= written
        return written


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    store = CertificateStore(tmp_path / "list.txt.index.npy")
    (place,) = store.append([b"first"])
    before, write_data = store.path.read_bytes(), stores._write
    monkeypatch.setattr(stores, "_write", lambda file, *args: write_data(FullDisk(file), *args))
    assert store.append([b"x" * 100]) is None
    assert "No space left" in store.why_unsaved
    assert store.path.read_bytes() == before
    assert store.read(place) == b"first"


def test_what_a_killed_process_left_is_skipped(tmp_path):
    store = CertificateStore(tmp_path / "list.txt.index.npy")
    (one,) = store.append([b"first"])
    with open(store.path, "ab") as file:
        file.write(b"part of a certific")
    (two,) = store.append([b"second"])
    assert [store.read(one), store.read(two)] == [b"first", b"second"]


def add_many(path, number):
    store = CertificateStore(path)
    places = []
    for i in range(200):
        data = [f"{number} {i} {j}".encode() * 20 for j in range(3)]
        places += zip(store.append(data), data)
    assert all(store.read(place) == data for place, data in places)


def test_several_processes_add_at_the_same_time(tmp_path):
    path = tmp_path / "list.txt.index.npy"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add_many, args=(path, i)) for i in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    length = sum(3 * len(f"{n} {i} 0".encode() * 20) for n in range(4) for i in range(200))
    assert CertificateStore(path).path.stat().st_size == 16 + length


def places_of(*places):
    return np.array(list(places), RECORD["packets"])


def test_compacting(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_SMALLEST", 0)
    store = CertificateStore(tmp_path / "list.txt.index.npy")
    other = CertificateStore(tmp_path / "list.txt.index.npy")
    data = [f"certificate {i}".encode() for i in range(10)]
    places = store.append(data)
    before = store.path.read_bytes()
    store.compact([places_of(*places[:6])])
    assert store.path.read_bytes() == before  # more than half of it is used
    kept = [places[i] for i in (8, 2, 3)]
    store.compact([places_of(*kept[:1]), places_of(Place(), *kept[1:])])
    assert len(store.path.read_bytes()) == 16 + sum(place.size for place in kept)
    assert [store.read(place) for place in kept] == [data[i] for i in (8, 2, 3)]
    assert store.read(places[0]) is None
    assert other.read(kept[0]) is None  # another process does not know where it is now, and makes it again
    moved = places_of(*kept)
    store.translate(moved)
    assert [other.read(Place(*place)) for place in moved.tolist()] == [data[i] for i in (8, 2, 3)]
    (new,) = store.append([b"another one"])
    store.compact([moved[:1], places_of(new)[:0]])
    assert store.read(kept[0]) == data[8]
    assert store.read(new) is None


def test_an_index_is_compacted_with_its_certificates(rows, cache, demuxed, monkeypatch):
    monkeypatch.setattr(stores, "_SMALLEST", 0)
    build_index(rows, cache=cache)
    size = store_of(cache).stat().st_size
    for stamp in range(3):
        for row in rows:
            os.utime(row.path, ns=(stamp, stamp))
        index = build_index(rows, cache=cache)
        assert_certified(index, rows)
    assert store_of(cache).stat().st_size < 2.5 * size
    assert_certified(build_index(rows, cache=cache), rows)
    assert not demuxed


def test_a_cache_of_the_version_before(rows, cache, demuxed, probed):
    """It stored no certificates: they are made from the files, but nothing is probed again."""
    build_index(rows, cache=cache)
    store_of(cache).unlink()
    records = np.load(cache)
    old = np.zeros(3, [field for field in RECORD.descr if field[0] not in ("packets", "offset")])
    for name in old.dtype.names:
        old[name] = records[name]
    old["certified"] = Certified.UNKNOWN, Certified.YES, Certified.NO
    old["seal"] = seals(old)
    np.save(cache, old)
    probed.clear()
    index = build_index(rows, cache=cache)
    assert_certified(index, rows[:2])
    assert index.certificate(2) == (True, None)
    assert len(demuxed) == 2
    assert not probed
    index.save()
    assert_certified(build_index(rows, cache=cache), rows[:2])
    assert len(demuxed) == 2


def damage(path, place):
    """Changes the macroblocks of a packet, so that its headers stay as they are."""
    index = build_index([video(path)])
    _, offset, size, _ = index.certificate(0)[1].packets[place].tolist()
    data = bytearray(path.read_bytes())
    for i in range(offset + size // 3, offset + size):
        data[i] ^= 0x5A
    path.write_bytes(data)


def test_a_damaged_picture_refutes_a_certificate(rows, cache, tmp_path):
    path = tmp_path / "1.mp4"
    damage(path, 12)
    expected = checksums(plain_decode(path))
    index = build_index(rows, cache=cache)
    assert index.certificate(1)[1] is not None
    found, went = frames_of(index, 1, [3, 12, 19])
    assert checksums(found) == [expected[i] for i in (3, 12, 19)]
    assert went.decoded >= 20  # from the start
    assert list(index.surprises) == [str(path)]
    assert "the decoder refused a packet" in index.surprises[str(path)]
    (line,) = notices([index], None)
    assert line.startswith("1 video will be decoded from the start")
    assert str(path) in line
    frames_of(index, 1, [12])
    assert len(index.surprises) == 1  # it is not certified again
    index.save()
    again = build_index(rows, cache=cache)
    assert again.certificate(1) == (True, None)
    assert again.certificate(0)[1] is not None


def test_another_process_does_not_restore_what_was_refuted(rows, cache, tmp_path):
    damage(tmp_path / "1.mp4", 12)
    build_index(rows, cache=cache)
    one, other = (build_index(rows, cache=cache) for _ in range(2))
    frames_of(one, 1, [12])
    other.certificate(0)
    other.set_certificate(0, None)  # something to save
    one.save()
    other.save()
    assert build_index(rows, cache=cache).certificate(1) == (True, None)


def test_a_loader_goes_on_after_a_surprise(rows, tmp_path):
    damage(tmp_path / "1.mp4", 12)
    index = build_index(rows)
    views = actrec.Views(clips=5, crops=1)
    loader = actrec.eval_loader(rows, actrec.Clip(frames=4), INPUT, views=views, index=index)
    expected = actrec.eval_loader(rows, actrec.Clip(frames=4), INPUT, views=views, index=plain_index(rows))
    for _ in range(2):
        for found, right in zip(loader, expected, strict=True):
            assert (found.clips == right.clips).all()
    assert not loader.skipped
    assert list(index.surprises) == [str(tmp_path / "1.mp4")]


def plain_index(rows):
    """An index by which every file is decoded from its start."""
    index = build_index(rows)
    for i in range(len(rows)):
        index.set_certificate(i, None)
    return index


def test_verifying_overrides_what_the_packets_say(rows, cache, tmp_path, demuxed):
    damage(tmp_path / "1.mp4", 12)
    index = build_index(rows, cache=cache)
    assert index.certificate(1)[1] is not None
    index.verify_all(index_module.run_in_threads)
    again = build_index(rows, cache=cache)
    assert again.certificate(1) == (True, None)
    assert again.certificate(0)[1] is not None
    assert not demuxed


def test_a_file_that_changes_while_it_is_used(rows, tmp_path):
    """It is no surprise: the certificate is of another file."""
    index = build_index(rows)
    index.certificate(1)
    time.sleep(0.01)
    clip(tmp_path / "1.mp4", 35)
    expected = checksums(plain_decode(rows[1].path))
    found, _ = frames_of(index, 1, [12, 30])
    assert checksums(found) == [expected[12], expected[30]]
    assert not index.surprises
