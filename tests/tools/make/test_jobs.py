import errno
import os
import signal
import threading
import time
from pathlib import Path

import cv2
import pytest

from actrec.data import storage
from actrec.data.video.read import MediaError
from actrec.files import OutputError, atomic_file
from actrec.tools.make import jobs
from actrec.tools.make.jobs import ClusterError, Stopped, Workers, each, largest_first


def run(function, jobs, workers=None, **options):
    got = {}

    def receive(job, result, reason):
        got[job] = (result, reason)

    each(function, jobs, receive, workers or Workers(2), **options)
    return got


def work(i, *, stop):
    errors = {
        1: MediaError("a.mp4", "no video stream"),
        2: FileNotFoundError("gone"),
        3: ValueError("two\nlines"),
        4: MemoryError(),
        5: cv2.error("OpenCV"),
    }
    if i in errors:
        raise errors[i]
    return i * i


EXPECTED = {
    (0,): (0, None),
    (1,): (None, "no video stream"),
    (2,): (None, "missing: it was removed after the run began"),
    (3,): (None, "two lines"),
    (4,): (None, "MemoryError"),
    (5,): (None, "OpenCV"),
    **{(i,): (i * i, None) for i in range(6, 30)},
}


def test_every_result_and_every_failure_is_received():
    calls = []
    assert run(work, [(i,) for i in range(30)], progress=lambda *c: calls.append(c), done=7) == EXPECTED
    assert calls[0] == (7, 37, 0)
    assert calls[-1] == (37, 37, 5)
    assert [c[0] for c in calls] == list(range(7, 38))


def test_the_reason_does_not_repeat_the_path(tmp_path, monkeypatch):
    """The reason is shown next to the path. A cluster gets absolute paths."""
    monkeypatch.chdir(tmp_path)

    def refuse(path, *, stop):
        named = os.path.abspath(path) if path == Path("far.mp4") else path
        raise PermissionError(errno.EACCES, "Permission denied", named if path != Path("other.mp4") else "another.mp4")

    paths = [Path("a.mp4"), tmp_path / "b.mp4", Path("far.mp4"), Path("other.mp4"), "s3://bucket/a.mp4"]
    found = run(refuse, [(path,) for path in paths])
    reasons = {path: reason for (path,), (_, reason) in found.items()}
    assert reasons.pop(Path("other.mp4")) == "another.mp4: Permission denied"
    assert set(reasons.values()) == {"Permission denied"}


def test_no_jobs():
    assert run(work, []) == {}


def test_unexpected_errors_are_raised():
    def wrong(i, *, stop):
        raise TypeError("ours")

    with pytest.raises(TypeError, match="ours"):
        run(wrong, [(1,)])


def test_output_that_cannot_be_written_stops_the_other_jobs():
    begun = []
    first = threading.Event()

    def full(i, *, stop):
        begun.append(i)
        if i == 0:
            first.wait(5)
            raise OutputError(errno.ENOSPC, "cannot be written (No space left on device)", "x")
        first.set()
        for _ in range(500):
            time.sleep(0.01)
            if stop():
                raise Stopped
        return i

    with pytest.raises(OutputError):
        run(full, [(i,) for i in range(1000)])
    assert len(begun) < 20


def test_largest_first(tmp_path):
    for name, size in (("a", 3), ("b", 9), ("c", 3)):
        (tmp_path / name).write_bytes(bytes(size))
    jobs = [(tmp_path / name,) for name in ("c", "gone", "a", "b")]
    assert [job[0].name for job in largest_first(jobs, lambda job: job[0])] == ["b", "a", "c", "gone"]


# ---- a cluster ----


def count(folder, i, *, stop):
    """Work that sees whether it is done, and tells how often it was done."""
    if not (folder / str(i)).exists():
        time.sleep(0.05)
        with open(folder / f"log-{i}", "a") as log:
            log.write("x")
        with atomic_file(folder / str(i)) as file:
            file.write_text(str(i))
    return i


def test_errors_of_a_cluster(monkeypatch):
    monkeypatch.setattr(jobs, "_PATIENCE", 1)
    with pytest.raises(ClusterError, match="no Dask scheduler answers there: expected"):
        run(work, [(1,)], Workers(cluster="tcp://127.0.0.1:9"))
    with pytest.raises(ClusterError, match="expected the address"):
        run(work, [(1,)], Workers(cluster="no address"))


def resolved(path, *, stop):
    return os.fspath(path)


def test_relative_paths_are_those_of_the_caller(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(resolved, [(Path("a"),)], Workers(cluster=cluster[0]))
    assert found == {(Path("a"),): (str(tmp_path / "a"), None)}


def cache_of(_, *, stop):
    return storage.settings()


def test_workers_use_the_cache_of_the_caller(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = storage.settings()
    try:
        storage.configure(Path("cache"), 5_000_000)
        found = run(cache_of, [(1,)], Workers(cluster=cluster[0]))
    finally:
        storage.configure(*before)
    assert found == {(1,): ((tmp_path / "cache", 5_000_000), None)}
    assert run(cache_of, [(1,)], Workers(cluster=cluster[0])) == {(1,): (before, None)}


def test_a_cluster_without_workers_is_an_error(cluster, tmp_path, monkeypatch):
    address, workers = cluster
    monkeypatch.setattr(jobs, "_PATIENCE", 3)

    def receive(job, result, reason):
        for worker in workers:
            worker.kill()
            worker.wait()

    with pytest.raises(ClusterError, match="its workers are gone; finished videos are kept"):
        each(count, [(tmp_path, i) for i in range(40)], receive, Workers(cluster=address))
    with pytest.raises(ClusterError, match="it has no workers; `dask worker"):
        run(work, [(1,)], Workers(cluster=address))


def test_a_cluster_gives_the_results_of_threads_even_if_a_worker_is_killed(cluster, tmp_path):
    address, workers = cluster
    assert run(work, [(i,) for i in range(30)], Workers(cluster=address)) == EXPECTED
    killed = []

    def receive(job, result, reason):
        assert (result, reason) == (job[1], None)
        if len(killed) == 0 and job[1] >= 10:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    each(count, [(tmp_path, i) for i in range(40)], receive, Workers(cluster=address))
    assert killed
    logs = {path.name: path.read_text() for path in tmp_path.glob("log-*")}
    assert len(logs) == 40
    assert sum(text != "x" for text in logs.values()) <= 1  # the one that it died over, at most
    assert all((tmp_path / str(i)).read_text() == str(i) for i in range(40))
