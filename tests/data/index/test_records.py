"""The index of a long list is neither read nor written as a whole."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from actrec.data import column
from actrec.data.index import build_index, cache, records
from actrec.data.index.probe import RECORD, Certified, Kind, Verified
from actrec.data.lists import Video
from actrec.data.video.encode import VideoWriter


@pytest.fixture(autouse=True)
def every_list_is_long(monkeypatch):
    for module in (cache, records):
        monkeypatch.setattr(module, "IN_MEMORY", 0)
    monkeypatch.setattr(records, "BLOCK", 3)
    monkeypatch.setattr(cache, "BLOCK", 3)
    monkeypatch.setattr(cache, "_COMPARED", 0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, width=32, height=16, rate=25) as video:
        for value in range(4):
            video.write(np.full((16, 32, 3), 50 * value, np.uint8))
    return path


@pytest.fixture
def rows(clip, tmp_path):
    paths = [shutil.copy(clip, tmp_path / f"{n}.mp4") for n in range(8)]
    return [Video(os.path.basename(path), str(path), None, None, (0,)) for path in paths]


def indexed(rows, tmp_path):
    path = tmp_path / "cache.npy"
    build_index(rows, cache=path)
    return path


def forbid_probing(monkeypatch):
    def fail(path, *_, **__):
        raise AssertionError(f"{path} is probed again")

    monkeypatch.setattr("actrec.data.index.index.probe_path", fail)


def test_records_are_read_one_by_one(rows, tmp_path, monkeypatch):
    path = indexed(rows, tmp_path)
    read = []
    read_at = column.read_at
    monkeypatch.setattr(column, "read_at", lambda *place: read.append(place[1:]) or read_at(*place))
    forbid_probing(monkeypatch)
    index = build_index(rows, cache=path, lazy=True)
    compared = len(read)
    assert index[5].frames == 4
    assert {size for _, size in read[compared:]} == {RECORD.itemsize}
    assert len({offset for offset, _ in read[compared:]}) == 1


def test_only_changed_records_are_written(rows, tmp_path):
    path = indexed(rows, tmp_path)
    before, inode = path.read_bytes(), path.stat().st_ino
    index = build_index(rows, cache=path, lazy=True)
    index[6]
    index.set_certificate(6, None)
    index.save()
    assert path.stat().st_ino == inode
    after = path.read_bytes()
    changed = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    begin = len(before) - 2 * RECORD.itemsize
    assert begin <= changed.min() <= changed.max() < begin + RECORD.itemsize
    assert np.load(path)["certified"].tolist() == [Certified.YES] * 6 + [Certified.NO, Certified.YES]
    assert not index._records._changed  # the file has it now
    assert index.certificate(6) == (True, None)
    again = build_index(rows, cache=path)
    assert again.certificate(6) == (True, None)
    assert again.why_probed_again is None


def test_the_commands_of_the_index_replace_the_file(rows, tmp_path, clip):
    """What they find out may change plans, so processes that use the index keep the one that they have opened."""
    path = indexed(rows, tmp_path)
    used = build_index(rows, cache=path, lazy=True)
    inode = path.stat().st_ino
    os.utime(tmp_path / "3.mp4", ns=(1, 1))
    build_index(rows, cache=path)
    assert path.stat().st_ino != inode
    assert used._records[3]["key"].tolist() != np.load(path)["key"][3].tolist()


@pytest.mark.parametrize("other", ["shorter", "another order", "replaced", "gone", "damaged"])
def test_a_cache_that_became_another_one_is_replaced(rows, tmp_path, other):
    path = indexed(rows, tmp_path)
    index = build_index(rows, cache=path, lazy=True)
    stored = np.load(path)
    if other == "gone":
        path.unlink()
    elif other == "damaged":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        found = {"shorter": stored[:5], "another order": stored[::-1], "replaced": stored.copy()}[other]
        found["name"][2] += other == "replaced"
        np.save(path.with_name("new.npy"), found)
        os.replace(path.with_name("new.npy"), path)
    index[2]
    index.set_certificate(2, None)
    index.save()
    assert index.why_unsaved is None
    found = np.load(path)
    intact = 6 if other == "damaged" else 8  # records of a part that cannot be read are made again
    assert found["name"][:intact].tolist() == [cache.checksum(row.id) for row in rows[:intact]]
    assert found["certified"][:intact].tolist() == [1, 1, Certified.NO, 1, 1, 1, 1, 1][:intact]
    assert (found["kind"][:6] == Kind.VIDEO).all()
    assert (cache.seals(found) == found["seal"]).all()


def test_two_processes_add_to_the_same_file(rows, tmp_path):
    path = indexed(rows, tmp_path)
    one, other = (build_index(rows, cache=path, lazy=True) for _ in range(2))
    for index, row in ((one, 1), (other, 2)):
        index[row]
        index.set_certificate(row, None)
    one.save()
    other.save()
    assert np.load(path)["certified"].tolist() == [1, Certified.NO, Certified.NO, 1, 1, 1, 1, 1]
    verified = np.load(path)
    verified["verified"][1] = Verified.INTACT
    verified["seal"] = cache.seals(verified)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size - verified.nbytes)
        file.write(verified.tobytes())
    one._records.change(1, verified=Verified.UNKNOWN)
    one._changed = True
    one.save()
    assert np.load(path)["verified"][1] == Verified.INTACT  # what took hours is not lost


def test_a_few_rows_that_changed_places_are_probed_again(rows, tmp_path, monkeypatch):
    """Only some names are compared. The key of a record tells whether it belongs to a file."""
    monkeypatch.setattr(cache, "_SAMPLES", 0)
    path = indexed(rows, tmp_path)
    swapped = [rows[i] for i in (0, 2, 1, 3, 4, 5, 6, 7)]
    index = build_index(swapped, cache=path, lazy=True)
    assert [index[i].path for i in range(8)] == [row.path for row in swapped]
    assert sorted(index._records._changed) == [1, 2]
    index.save()
    forbid_probing(monkeypatch)
    assert [media.path for media in build_index(swapped, cache=path)] == [row.path for row in swapped]


def test_a_list_that_was_edited_keeps_its_records(rows, tmp_path, monkeypatch):
    path = indexed(rows, tmp_path)
    forbid_probing(monkeypatch)
    edited = [rows[i] for i in (7, 0, 5, 2)]
    assert [media.path for media in build_index(edited, cache=path)] == [row.path for row in edited]


def test_a_file_that_is_cut_off_while_it_is_used(rows, tmp_path):
    path = indexed(rows, tmp_path)
    index = build_index(rows, cache=path, lazy=True)
    os.truncate(path, 200)
    assert index[7].frames == 4  # probed again; a memory map would have ended the process
    index.save()
    assert [media.frames for media in build_index(rows, cache=path)] == [4] * 8


def test_a_cache_that_cannot_be_written(rows, tmp_path, monkeypatch):
    path = indexed(rows, tmp_path)
    index = build_index(rows, cache=path, lazy=True)
    index[1]
    index.set_certificate(1, None)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "write_at", refuse)
    monkeypatch.setattr(cache, "atomic_write", refuse)
    index.save()
    assert index.why_unsaved == f"{path}: cannot be written (Permission denied)"
    assert index.certificate(1) == (True, None)


def test_records_of_a_long_list_do_not_stay_in_memory(rows, tmp_path, monkeypatch):
    """They are saved after some files, and read from the file from then on."""
    monkeypatch.setattr("actrec.data.index.index._MOST_UNSAVED", 3)
    path, kept = tmp_path / "cache.npy", []
    index = build_index(rows, cache=path, lazy=True)

    def run(function, jobs, receive):
        assert len(jobs) == len(rows)
        for job in jobs:
            receive(job, function(*job, stop=None), None)
            kept.append(len(index._records._changed))

    index.probe_all(run, in_processes=False)
    assert max(kept) < 3
    assert not index._records._changed
    assert [media.frames for media in index] == [4] * len(rows)
    forbid_probing(monkeypatch)
    again = build_index(rows, cache=path)
    assert [record.tobytes() for record in again._records] == [record.tobytes() for record in index._records]


def test_what_another_process_found_does_not_replace_own_records(rows, tmp_path):
    """If a file that is saved as a whole has more than the own records, they stay in memory."""
    path = indexed(rows, tmp_path)
    index, other = (build_index(rows, cache=path, lazy=True) for _ in range(2))
    other[2]
    other.set_certificate(2, None)
    other.save(in_place=False)
    index._records.change(5, verified=Verified.INTACT)
    index._changed = True
    index.save(in_place=False)
    assert np.load(path)["certified"][2] == Certified.NO
    assert index._records._changed
    assert index._records[2]["certified"] == Certified.YES


def test_files_are_compared_a_few_at_a_time(rows, monkeypatch):
    """All at once, the jobs that wait would take a kilobyte for each file."""
    monkeypatch.setattr("actrec.data.index.index._COMPARED", 3)
    waiting, mapped = [], ThreadPoolExecutor.map
    monkeypatch.setattr(
        ThreadPoolExecutor, "map", lambda pool, f, *of: waiting.append(len(of[0])) or mapped(pool, f, *of)
    )
    assert build_index(rows, lazy=True)._outdated_files(2).tolist() == list(range(8))
    assert waiting == [3, 3, 2]
