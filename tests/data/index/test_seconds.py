"""List rows in seconds: the frames that are shown then, by number."""

from __future__ import annotations

import shutil
from fractions import Fraction

import numpy as np
import pytest
from numbered_videos import numbered, write
from timed_videos import VARIABLE, copy_packets, write_timed

from actrec.data.index import build_index, cache_path
from actrec.data.index import index as module
from actrec.data.lists import Video, read_list
from actrec.data.video.container import MediaError


def rows_of(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    return read_list(tmp_path / "list.txt")


def spans(index):
    return [(media.start, media.start + media.frames) for media in index]


@pytest.fixture
def variable(tmp_path):
    return write_timed(tmp_path / "v.mp4", VARIABLE)


def test_rows_of_a_file_with_a_variable_rate(tmp_path, variable):
    ranges = ("0s 2s", "2s 4s", "0.5s 2.1s", "3s 9s", "1 70")
    index = build_index(rows_of(tmp_path, "".join(f"v.mp4 {rows} 0\n" for rows in ranges)))
    assert spans(index) == [(0, 10), (10, 70), (3, 13), (40, 70), (0, 70)]
    assert index.cut == {3: round(5 * 70 / 4)}  # at the average rate
    assert [media.seconds for media in index] == pytest.approx([2, 2, 1.5, 1, 4], abs=2e-3)
    assert index.num_unstamped == 0
    assert index[4].times.at(np.array([0, 9, 10, 70])) == pytest.approx([0, 1.8, 2, 4], abs=0.04)
    assert index[1].times.at(np.array([0, 30])) == pytest.approx([0, 1], abs=1e-3)  # from the start of the row on
    assert index[1].file_times.at(10) == pytest.approx(2)


def test_a_row_after_the_end_and_one_before_the_first_frame(tmp_path):
    write_timed(tmp_path / "v.mkv", [time + 3000 for time in VARIABLE], sound=(0, 1))
    index = build_index(rows_of(tmp_path, "v.mkv 3s 5s 0\nv.mkv 0s 2s 0\nv.mkv 7.5s 9s 0\nv.mkv 4.9s 5.1s 0\n"))
    assert spans_of_usable(index) == {0: (0, 10), 3: (10, 13)}
    assert index.broken == {
        1: "the list says 0 to 2 seconds, but the first frame starts at 3",
        2: "the list says 7.5 to 9 seconds, but the last frame ends at 7",
    }


def spans_of_usable(index):
    return {i: (index[i].start, index[i].start + index[i].frames) for i in range(len(index)) if i not in index.broken}


def test_the_same_frames_whatever_the_container(tmp_path):
    """The header of the AVI file says 50 frames per second; the raw stream has no timestamps."""
    source = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], gop=13, bframes=3)
    copy_packets(source, tmp_path / "a.avi", base=Fraction(1, 50))
    for suffix in ("ts", "mkv"):
        copy_packets(source, tmp_path / f"a.{suffix}")
    copy_packets(source, tmp_path / "a.h264", to="h264")
    names = ("a.mp4", "a.avi", "a.mkv", "a.ts", "a.h264")
    index = build_index(rows_of(tmp_path, "".join(f"{name} 0.4s 0.8s 0\n" for name in names)))
    assert spans(index) == [(10, 20)] * 5
    assert index.num_unstamped == 2


def test_timestamps_are_read_once_and_only_if_needed(tmp_path, variable, monkeypatch):
    write(tmp_path / "e.mp4", [numbered(n) for n in range(20)])
    read = []

    def demux(path):
        read.append(path)
        return frame_times(path)

    frame_times = module.span_of.__globals__["frame_times"]
    monkeypatch.setitem(module.span_of.__globals__, "frame_times", demux)
    rows = rows_of(tmp_path, "v.mp4 1 20 0\ne.mp4 0s 1s 1\n")
    build_index(rows, cache=cache_path(tmp_path / "list.txt"))
    assert read == []
    rows = rows_of(tmp_path, "v.mp4 0s 2s 0\ne.mp4 0s 1s 1\nv.mp4 2s 4s 0\n")
    for _ in range(2):  # the second time from the cache of the index
        index = build_index(rows, cache=cache_path(tmp_path / "list.txt"))
        assert spans(index) == spans(index) == [(0, 10), (0, 20), (10, 70)]
        assert read == [str(variable)] * 2  # once for each row
        read.clear()


def test_a_lazy_index_reads_them_when_a_row_is_drawn(tmp_path, variable):
    index = build_index(rows_of(tmp_path, "v.mp4 2s 4s 0\n"), lazy=True)
    assert spans(index) == [(10, 70)]


def test_a_file_that_vanishes_before_its_timestamps_are_read(tmp_path, variable):
    rows = rows_of(tmp_path, "v.mp4 0\n")
    build_index(rows, cache=cache_path(tmp_path / "list.txt"))
    index = build_index([Video("a", str(variable), 0.0, 1.0, ())], cache=cache_path(tmp_path / "list.txt"), lazy=True)
    index._current[:] = True
    variable.unlink()
    with pytest.raises(MediaError, match=r"v.mp4: "):
        index[0]
    assert len(index.broken) == 1


def test_verified_files_keep_their_times(tmp_path, variable):
    rows = rows_of(tmp_path, "v.mp4 0.5s 2.1s 0\n")
    index = build_index(rows, cache=cache_path(tmp_path / "list.txt"))
    index.verify_all(lambda function, jobs, receive: [receive(job, function(*job, stop=None), None) for job in jobs])
    index = build_index(rows, cache=cache_path(tmp_path / "list.txt"))
    assert (index[0].start, index[0].frames) == (3, 10)


def test_a_changed_file_is_read_again(tmp_path, variable):
    rows = rows_of(tmp_path, "v.mp4 0s 2s 0\n")
    assert spans(build_index(rows)) == [(0, 10)]
    shutil.copyfile(write(tmp_path / "e.mp4", [numbered(n) for n in range(70)]), variable)
    assert spans(build_index(rows)) == [(0, 50)]
