"""Many files are probed in child processes, with the same results as in threads."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from index_files import clip, folder, video

from actrec.config import Limits
from actrec.data.index import build_index, cache_path, elsewhere
from actrec.data.index import index as index_module
from actrec.data.index.elsewhere import probe_elsewhere
from actrec.data.index.probe import probe_path
from actrec.data.limits import limited
from actrec.data.video.container import MediaError
from actrec.system import ExhaustedError


@pytest.fixture
def many(monkeypatch):
    """Few files count as many."""
    monkeypatch.setattr(index_module, "MANY", 1)


@pytest.fixture
def no_child(monkeypatch):
    """This thread has no child process, before and after the test."""
    monkeypatch.delattr(elsewhere._local, "child", raising=False)
    yield
    if hasattr(elsewhere._local, "child"):
        del elsewhere._local.child


def rows(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    videos = [clip(tmp_path / f"{n}.mp4", num_frames=n, codec="h264") for n in (5, 9)]
    return [video(path) for path in (*videos, folder(tmp_path / "b", "1.jpg", "2.jpg"), tmp_path / "text.mp4", "gone")]


def test_the_results_are_those_of_threads(tmp_path, many, monkeypatch):
    videos, seen, started = rows(tmp_path), [], []
    child = elsewhere._Child
    monkeypatch.setattr(elsewhere, "_Child", lambda: started.append(child()) or started[-1])
    caches = [cache_path(tmp_path / f"{name}.txt") for name in ("children", "threads")]
    index = build_index(videos, cache=caches[0], workers=2, progress=lambda *done: seen.append(done))
    assert 1 <= len(started) <= 2
    assert seen == [(n, 5) for n in range(1, 6)]
    monkeypatch.setattr(index_module, "MANY", 100)
    other = build_index(videos, cache=caches[1], workers=2)
    assert len(started) <= 2
    assert [index[i] for i in range(3)] == [other[i] for i in range(3)]
    assert index.broken == other.broken
    assert sorted(index.broken) == [3, 4]
    assert caches[0].read_bytes() == caches[1].read_bytes()
    assert [index.certificate(i)[0] for i in range(3)] == [other.certificate(i)[0] for i in range(3)]
    processes = [one._process for one in started]
    started.clear()
    for process in processes:
        process.wait(timeout=20)  # they end with their threads


def test_an_error_is_that_of_probe_path(tmp_path, no_child):
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(MediaError) as expected:
        probe_path(str(path), "a")
    with pytest.raises(MediaError) as found:
        probe_elsewhere(str(path), "a", flow=False, template=None)
    assert (type(found.value), str(found.value)) == (type(expected.value), str(expected.value))


def test_limits_hold_in_the_child(tmp_path, no_child):
    path = clip(tmp_path / "a.mp4", num_frames=9)
    with limited(Limits(max_frames=5)), pytest.raises(MediaError, match="more than 5 frames"):
        probe_elsewhere(str(path), "a", flow=False, template=None)


def test_a_crash_is_an_error_of_one_file(tmp_path, no_child):
    path = str(clip(tmp_path / "a.mp4"))
    found = probe_elsewhere(path, "a", flow=False, template=None)
    elsewhere._local.child._process.kill()
    elsewhere._local.child._process.wait()
    with pytest.raises(MediaError, match=r"a\.mp4: the process that reads it crashed"):
        probe_elsewhere(path, "a", flow=False, template=None)
    assert probe_elsewhere(path, "a", flow=False, template=None) == found


def test_without_a_child_the_thread_probes(tmp_path, no_child, monkeypatch):
    monkeypatch.setattr(elsewhere, "_CHILD", tmp_path / "absent.py")
    path = str(clip(tmp_path / "a.mp4"))
    assert probe_elsewhere(path, "a", flow=False, template=None) == probe_path(path, "a")
    assert elsewhere._local.child is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs limits of descriptors")
def test_a_lack_of_descriptors_in_the_child_ends_the_run(tmp_path, no_child):
    import resource

    path = str(clip(tmp_path / "a.mp4"))
    probe_elsewhere(path, "a", flow=False, template=None)
    resource.prlimit(elsewhere._local.child._process.pid, resource.RLIMIT_NOFILE, (3, 3))
    with pytest.raises(ExhaustedError, match=r"a\.mp4"):
        probe_elsewhere(path, "a", flow=False, template=None)


def test_an_interrupt_keeps_what_was_found_and_ends_the_children(tmp_path):
    """Ctrl-C signals the children too."""
    for n in range(200):
        clip(tmp_path / f"{n:03}.mp4", num_frames=1 + n % 3)
    code = textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from actrec.data.index import build_index, cache_path, index, elsewhere
        from actrec.data.lists import Video
        index.MANY = 1
        paths = sorted(Path({str(tmp_path)!r}).glob("*.mp4"))
        rows = [Video(path.name, str(path), None, None, (0,)) for path in paths]
        def tell(done, total):
            print(done, flush=True)
        try:
            build_index(rows, cache=cache_path(Path({str(tmp_path)!r}) / "a.txt"), workers=2, progress=tell)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stdout.readline() == "1\n"
    os.killpg(process.pid, signal.SIGINT)
    said, errors = process.communicate()
    watchdog.cancel()
    assert "interrupted" in said
    assert not errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    index = build_index([video(path) for path in sorted(tmp_path.glob("*.mp4"))], cache=cache_path(tmp_path / "a.txt"),
                        lazy=True)  # fmt: skip
    known = sum(index._is_current(file, index._file_path(file)) for file in range(200))
    assert 1 <= known < 200
