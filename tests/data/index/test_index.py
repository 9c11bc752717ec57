import os

import numpy as np
import pytest
from index_files import clip, folder, video, write_image

from actrec.data.index import build_index, cache_path
from actrec.data.index import index as index_module
from actrec.data.lists import Video
from actrec.data.video.container import MediaError
from actrec.data.video.encode import VideoWriter
from actrec.data.video.read import read_frames
from actrec.data.video.structure import StructureCheck


def test_each_path_is_probed_once_with_progress(tmp_path, probed):
    a, b = clip(tmp_path / "a.mp4"), folder(tmp_path / "b", "1.jpg", "2.jpg")
    seen = []
    rows = [video(a, 0, 5), video(b), video(a, 5, 10), video(a), video(b, 0, 1)]
    index = build_index(rows, workers=1, progress=lambda *done: seen.append(done))
    assert sorted(probed) == sorted([str(a), str(b)])
    assert seen == [(1, 2), (2, 2)]
    assert [(index[i].start, index[i].frames) for i in range(5)] == [(0, 5), (0, 2), (5, 5), (0, 10), (0, 1)]


@pytest.mark.parametrize("workers", [1, 4])
def test_rows_keep_their_order(tmp_path, workers):
    paths = [clip(tmp_path / f"{n}.mp4", num_frames=n) for n in (5, 1, 4, 2, 3)]
    index = build_index([video(path) for path in paths], workers=workers)
    assert [found.frames for found in index] == [5, 1, 4, 2, 3]


def test_the_cache_is_written_and_used(tmp_path, probed):
    cache = cache_path(tmp_path / "train.txt")
    assert cache == tmp_path / "train.txt.index.npy"
    (tmp_path / "text.mp4").write_text("no video")
    names = ("gone", "text.mp4")
    rows = [video(clip(tmp_path / "a.mp4")), video(folder(tmp_path / "b", "img_{1}_01.jpg"))]
    rows += [video(tmp_path / name) for name in names]
    first = build_index(rows, cache=cache)
    assert len(probed) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.mp4", "b", "text.mp4", "train.txt.index.npy", "train.txt.index.packets"
    ]  # fmt: skip
    del probed[:]
    again = build_index(rows, cache=cache, progress=lambda *done: None)
    assert sorted(probed) == [str(tmp_path / name) for name in names]  # what failed is looked at again
    assert len(again.broken) == 2
    assert [again[0], again[1]] == [first[0], first[1]]
    assert again.broken == first.broken


def test_a_changed_file_is_probed_again(tmp_path, probed):
    cache = tmp_path / "cache.npy"
    rows = [video(clip(tmp_path / "a.mp4")), video(clip(tmp_path / "b.mp4")), video(folder(tmp_path / "c", "1.jpg"))]
    build_index(rows, cache=cache)
    del probed[:]
    clip(tmp_path / "b.mp4", num_frames=7)
    write_image(tmp_path / "c" / "2.jpg")
    os.utime(tmp_path / "c", ns=(1, 1))
    index = build_index(rows, cache=cache)
    assert sorted(probed) == [str(tmp_path / "b.mp4"), str(tmp_path / "c")]
    assert [found.frames for found in index] == [10, 7, 2]
    del probed[:]
    assert [found.frames for found in build_index(rows, cache=cache)] == [10, 7, 2]
    assert not probed
    os.utime(tmp_path / "a.mp4", ns=(1, 1))
    build_index(rows, cache=cache)
    assert probed == [str(tmp_path / "a.mp4")]


@pytest.mark.parametrize("damage", ["torn", "empty", "text", "dtype", "scalar", "archive", "no rows"])
def test_a_useless_cache_is_done_without(tmp_path, probed, damage):
    cache = tmp_path / "cache.npy"
    rows = [video(clip(tmp_path / "a.mp4"))]
    build_index(rows, cache=cache)
    whole = cache.read_bytes()
    (tmp_path / "cache.packets").unlink()
    if damage == "dtype":
        np.save(cache, np.zeros(3))
    elif damage == "scalar":
        np.save(cache, np.load(cache)[0])
    elif damage == "no rows":
        np.save(cache, np.load(cache)[:0])
    elif damage == "archive":
        np.savez(tmp_path / "other.npz", np.zeros(3))
        cache.write_bytes((tmp_path / "other.npz").read_bytes())
    else:
        cache.write_bytes({"torn": whole[:-7], "empty": b"", "text": b"hello"}[damage])
    del probed[:]
    assert build_index(rows, cache=cache)[0].frames == 10
    assert len(probed) == 1
    assert cache.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    rows = [video(clip(tmp_path / "a.mp4"))]
    assert build_index(rows, cache=tmp_path / "missing" / "cache.npy")[0].frames == 10
    (tmp_path / "cache.npy").mkdir()
    assert build_index(rows, cache=tmp_path / "cache.npy")[0].frames == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "cache.npy"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_keeps_what_was_probed(tmp_path, probed, error):
    rows, cache = [video(clip(tmp_path / f"{n}.mp4")) for n in range(4)], tmp_path / "cache.npy"

    def progress(done, total):
        if done == 2:
            raise error

    with pytest.raises(error):
        build_index(rows, cache=cache, workers=1, progress=progress)
    del probed[:]
    assert not build_index(rows, cache=cache).broken
    assert sorted(probed) == [row.path for row in rows[2:]]


def test_a_lazy_index_looks_at_what_is_asked_for(tmp_path, probed):
    rows = [video(clip(tmp_path / f"{n}.mp4", num_frames=n)) for n in (3, 4, 5)] + [video(tmp_path / "gone.mp4")]
    cache = tmp_path / "cache.npy"
    index = build_index(rows, cache=cache, lazy=True)
    assert not probed
    assert [index[1].frames, index[1].frames] == [4, 4]
    assert probed == [rows[1].path]
    with pytest.raises(MediaError, match="no such file or folder"):
        index[3]
    assert list(index.broken) == [3]
    assert not cache.exists()
    index.save()
    del probed[:]
    again = build_index(rows, cache=cache, lazy=True)
    assert again[1] == index[1]
    assert not probed
    clip(tmp_path / "4.mp4", num_frames=9)  # written anew: noticed when it is drawn
    assert [build_index(rows, cache=cache, lazy=True)[1].frames, again[0].frames] == [9, 3]


def test_long_lists_are_lazy(tmp_path, monkeypatch, probed):
    monkeypatch.setattr(index_module, "LAZY", 2)
    rows = [video(clip(tmp_path / f"{n}.mp4", num_frames=n)) for n in (3, 4, 5)]
    build_index(rows[:2])
    assert len(probed) == 2
    build_index(rows)
    assert len(probed) == 2
    build_index(rows, lazy=False)
    assert len(probed) == 5


def test_a_cache_serves_a_list_in_another_order(tmp_path, probed):
    rows = [video(clip(tmp_path / f"{n}.mp4", num_frames=n)) for n in (3, 4, 5)]
    cache = tmp_path / "cache.npy"
    build_index(rows, cache=cache)
    del probed[:]
    for lazy in (False, True):
        index = build_index([rows[2], video(clip(tmp_path / "6.mp4", num_frames=6)), rows[0]], cache=cache, lazy=lazy)
        assert [found.frames for found in index] == [5, 6, 3]
    assert set(probed) == {str(tmp_path / "6.mp4")}


def test_what_decoding_has_shown_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(StructureCheck, "doubt", lambda self: "not judged")
    rows = [
        video(clip(tmp_path / "a.mp4")),
        video(clip(tmp_path / "b.avi", codec="mpeg4")),
        video(clip(tmp_path / "c.mp4")),
    ]
    cache = tmp_path / "cache.npy"
    index = build_index(rows, cache=cache)
    assert [index.certificate(i) for i in range(3)] == [(False, None), (True, None), (False, None)]
    for i in (0, 1):
        index.set_certificate(i, read_frames(rows[i].path, [0], lambda i, rgb: None, certify=True).certificate)
    assert index.certificate(0)[1].pts.shape == (10,)
    index.save()
    again = build_index(rows, cache=cache)
    known, certificate = again.certificate(0)
    assert known
    assert certificate.pts.tolist() == index.certificate(0)[1].pts.tolist()
    assert [again.certificate(i) for i in (1, 2)] == [(True, None), (False, None)]
    third = build_index(rows, cache=cache)
    third._room = 100  # bytes: there is no room to keep it, so it is read again
    assert third.certificate(0)[1].pts.tolist() == third.certificate(0)[1].pts.tolist() == certificate.pts.tolist()
    assert not third.certificates
    os.utime(tmp_path / "a.mp4", ns=(1, 1))  # changed while the index is in use: to be proven again
    assert third.certificate(0) == (False, None)
    clip(tmp_path / "a.mp4", num_frames=12)
    assert build_index(rows, cache=cache).certificate(0) == (False, None)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_file_that_changes_while_its_certificate_is_in_use(tmp_path, name):
    """Packets of MJPEG (MOV) are read through the container, and those of H.264 from their positions."""
    codec = {"a.mp4": {}, "a.mov": {"codec": "mjpeg", "full_range": True}}[name]
    row = video(clip(tmp_path / name, **codec))
    index, shown = build_index([row]), []
    index.read_frames(0, [4], lambda i, rgb: shown.append(int(rgb.mean())), certify=True)
    assert index.certificate(0)[1] is not None
    changed = tmp_path / f"changed{name}"
    with VideoWriter(changed, width=16, height=32, rate=25, **codec) as writer:
        for n in range(10):
            writer.write(np.full((32, 16, 3), 200 + n, np.uint8))
    changed.replace(row.path)
    index.read_frames(0, [4], lambda i, rgb: shown.append(int(rgb.mean())))
    assert np.allclose(shown, [4, 204], atol=2)
    assert index.certificate(0) == (False, None)


def test_a_fingerprint_is_of_names_ranges_labels_and_contents(tmp_path):
    def fingerprint(root, rows):
        return build_index([Video(id_, str(root / id_), *rest) for id_, *rest in rows]).fingerprint()

    rows = [("a.mp4", 0, 5, (1,)), ("b", None, None, (2,))]
    for root in ("here", "there"):
        (tmp_path / root).mkdir()
        clip(tmp_path / root / "a.mp4")
        folder(tmp_path / root / "b", "1.jpg", "2.jpg")
    here = fingerprint(tmp_path / "here", rows)
    assert here == fingerprint(tmp_path / "there", rows)
    assert here["videos"] == 2
    for other in ([("a.mp4", 0, 4, (1,)), rows[1]], [("a.mp4", 0, 5, (0,)), rows[1]], rows[::-1]):
        assert fingerprint(tmp_path / "here", other)["list"] != here["list"]
    write_image(tmp_path / "here" / "b" / "3.jpg")
    changed = fingerprint(tmp_path / "here", rows)
    assert changed["list"] == here["list"]
    assert changed["contents"] != here["contents"]
    lazy = build_index([video(tmp_path / "there" / "a.mp4")], lazy=True)
    assert lazy.fingerprint()["contents"] is None
