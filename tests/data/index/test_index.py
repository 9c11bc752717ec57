import base64
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from actrec.data.index import build_index, cache_path, quarantine_path
from actrec.data.index import index as index_module
from actrec.data.index.index import run_in_threads
from actrec.data.index.probe import read_image
from actrec.data.lists import Video
from actrec.data.video.container import MediaError
from actrec.data.video.encode import VideoWriter
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, read_frames, verify_video


def video(path, start=None, stop=None):
    return Video(str(path), str(path), start, stop, (0,))


def write_image(path, height=8, width=12, value=100):
    done, data = cv2.imencode(path.suffix.lower(), np.full((height, width, 3), value, np.uint8))
    assert done
    path.write_bytes(data.tobytes())


def folder(path, *names):
    path.mkdir()
    for name in names:
        write_image(path / name)
    return path


def clip(path, num_frames=10, **options):
    with VideoWriter(path, width=16, height=32, rate=25, **options) as writer:
        for n in range(num_frames):
            writer.write(np.full((32, 16, 3), n, np.uint8))
    return path


def only(path, start=None, stop=None):
    """The index's only usable row, next to one that is always fine."""
    good = path.parent / "good_folder"
    if not good.exists():
        folder(good, "1.jpg")
    index = build_index([video(path, start, stop), video(good)])
    return index[0]


@pytest.fixture
def probed(monkeypatch):
    """Paths as they are probed."""
    paths, probe_path = [], index_module.probe_path

    def record(path, *args, **kwargs):
        paths.append(path)
        return probe_path(path, *args, **kwargs)

    monkeypatch.setattr(index_module, "probe_path", record)
    return paths


# folders


@pytest.mark.parametrize(
    ("names", "template", "start", "frames"),
    [
        (["00001.jpg", "00002.jpg", "00003.jpg"], "{:05d}.jpg", 0, 3),
        (["img_00001.jpg", "img_00002.jpg"], "img_{:05d}.jpg", 0, 2),
        ([f"{n}.jpg" for n in range(1, 13)], "{:01d}.jpg", 0, 12),
        (["00000.jpg", "00001.jpg"], "{:05d}.jpg", -1, 2),
        ([f"frame{n}.PNG" for n in range(12)], "frame{:01d}.PNG", -1, 12),
        (["007.jpg", "008.jpg", "009.jpg"], "{:03d}.jpg", 6, 3),
        (["098.jpg", "099.jpg", "100.jpg", "101.jpg"], "{:03d}.jpg", 97, 4),
        (["998.jpeg", "999.jpeg", "1000.jpeg"], "{:01d}.jpeg", 997, 3),
        (["001.jpg", "002.jpg", "004.jpg", "005.jpg", "006.jpg"], "{:03d}.jpg", 0, 2),  # the run before the gap
        (["a1b_01.bmp", "a1b_02.bmp"], "a1b_{:02d}.bmp", 0, 2),
        (["{0}_01.jpg", "{0}_02.jpg"], "{{0}}_{:02d}.jpg", 0, 2),
        (["00001.jpg", "00002.jpg", "thumb_1.jpg", "cover.jpg", "1.txt.jpg"], "{:05d}.jpg", 0, 2),
        (["12345678901234567890123.jpg", "12345678901234567890124.jpg"], "12345{:01d}.jpg", 678901234567890122, 2),
    ],
)
def test_folder_naming(tmp_path, names, template, start, frames):
    found = only(folder(tmp_path / "video", *names))
    assert (found.start, found.frames, found.width, found.height) == (start, frames, 12, 8)
    assert found.codec == names[0].rpartition(".")[2].lower()
    assert found.template == template
    for position in range(start, start + frames):
        assert os.path.exists(found.image(position)), position
    assert found.image(start) == str(tmp_path / "video" / names[0])


def test_a_folder_named_in_latin_1(tmp_path):
    path = tmp_path / "video"
    path.mkdir()
    raw = os.fsencode(path)
    write_image(tmp_path / "1.jpg")
    try:
        os.rename(tmp_path / "1.jpg", raw + b"/\xe9_01.jpg")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    found = only(path)
    assert os.path.exists(found.image(0))
    long = tmp_path / "long"
    long.mkdir()
    write_image(tmp_path / "1.jpg")
    os.rename(tmp_path / "1.jpg", os.fsencode(long) + b"/" + b"\xe9" * 80 + b"_01.jpg")
    index = build_index([video(path), video(long)])
    assert index.broken[1].startswith("its image names are too long (\\udce9")


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (None, None, (0, 6)),
        (0, 6, (0, 6)),
        (2, 5, (2, 3)),
        (5, 6, (5, 1)),
        (3, None, (3, 3)),
        (0, 7, "the list says frames 1 to 7, but there are 1 to 6"),
        (6, 7, "the list says frames 7 to 7, but there are 1 to 6"),
        (-1, 3, "the list says frames 0 to 3, but there are 1 to 6"),
        (4, 4, "the list says frames 5 to 4, but there are 1 to 6"),
    ],
)
def test_range_of_a_folder(tmp_path, start, stop, expected):
    path = folder(tmp_path / "video", *(f"{n:05d}.jpg" for n in (1, 2, 3, 4, 5, 6, 8, 9)))
    if isinstance(expected, tuple):
        found = only(path, start, stop)
        assert (found.start, found.frames) == expected
        assert found.image(found.start + found.frames - 1) == str(path / f"{sum(expected):05d}.jpg")
        return
    with pytest.raises(MediaError) as caught:
        only(path, start, stop)
    assert str(caught.value) == f"{path}: {expected}"


def test_range_of_a_folder_numbered_from_zero(tmp_path):
    path = folder(tmp_path / "video", "0.jpg", "1.jpg", "2.jpg")
    found = only(path, -1, 2)
    assert (found.start, found.frames, found.image(-1)) == (-1, 3, str(path / "0.jpg"))
    with pytest.raises(MediaError, match="the list says frames 1 to 3, but there are 0 to 2"):
        only(path, 0, 3)


# video files


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (None, None, (0, 10)),
        (2, 6, (2, 4)),
        (9, 10, (9, 1)),
        (4, None, (4, 6)),
        (0, 13, (0, 10)),  # lists follow containers, and containers overstate
        (7, 99, (7, 3)),
        (10, 12, "the list says frames 11 to 10, but there are 1 to 10"),
        (-1, 5, "the list says frames 0 to 5, but there are 1 to 10"),
        (0.0, 0.4, (0, 10)),
        (0.0, 0.04, (0, 1)),
        (0.08, 0.16, (2, 2)),
        (0.09, 0.17, (3, 2)),  # frames that begin in there
        (0.3, 99.0, (8, 2)),
        (0.33, 0.34, (9, 1)),  # one at least
        (0.4, 1.0, "the list says 0.4 to 1 seconds, but there are 0.4"),
    ],
)
def test_range_of_a_video_file(tmp_path, start, stop, expected):
    """Of ten frames, 25 a second."""
    path = clip(tmp_path / "a.mp4")
    if isinstance(expected, tuple):
        found = only(path, start, stop)
        assert (found.start, found.frames) == expected
        return
    with pytest.raises(MediaError) as caught:
        only(path, start, stop)
    assert str(caught.value) == f"{path}: {expected}"


def test_seconds_of_a_folder(tmp_path):
    path = folder(tmp_path / "video", *(f"{n}.jpg" for n in range(10)))
    with pytest.raises(MediaError, match="the list counts seconds, and the folder has no file `fps` with its"):
        only(path, 0.2, 0.6)
    (path / "fps").write_text("10.0\n")
    found = only(path, 0.2, 0.6)
    assert (found.start, found.frames, found.rate) == (1, 4, 10.0)
    assert found.image(found.start) == str(path / "2.jpg")
    for text in ("", "fast", "-3", "nan", "inf", "\udce9"):
        (path / "fps").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert only(path).rate == 0


def test_what_is_known_of_a_video_file(tmp_path):
    assert only(clip(tmp_path / "gop.mp4", gop=4, options={"sc_threshold": "0"})).gop == pytest.approx(10 / 3)
    found = only(clip(tmp_path / "a.mkv", color="bt709", bframes=2))
    assert (found.width, found.height, found.codec, found.pix_fmt) == (16, 32, "h264", "yuv420p")
    assert (found.color, found.rotation, found.rate, found.template) == ("bt709", 0, 25.0, None)


# rows that cannot be used


def test_broken_rows_have_a_reason(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "no_images").mkdir()
    (tmp_path / "no_images" / "readme.txt").touch()
    (tmp_path / "bad_image").mkdir()
    (tmp_path / "bad_image" / "1.jpg").write_text("no image")
    (tmp_path / "empty_image").mkdir()
    (tmp_path / "empty_image" / "1.jpg").touch()
    (tmp_path / "huge_image").mkdir()
    (tmp_path / "huge_image" / "1.png").write_bytes(png_header(100_000, 100_000))
    expected = {
        "text.mp4": "not a video that FFmpeg can open (Invalid data found when processing input)",
        "empty.mp4": "the file is empty (0 bytes)",
        "nowhere.mp4": "no such file or folder",
        "no_images": "the folder holds no numbered images such as 00001.jpg",
        "bad_image": "not an image that OpenCV can decode",
        "empty_image": "the image is empty (0 bytes)",
        "huge_image": "not an image that OpenCV can decode",
    }
    good = video(clip(tmp_path / "a.mp4"))
    index = build_index([good, *(video(tmp_path / name) for name in expected)])
    assert len(index) == 8
    assert index.broken == dict(enumerate(expected.values(), 1))
    assert index[0].frames == 10
    for row, (name, reason) in enumerate(expected.items(), 1):
        with pytest.raises(MediaError) as caught:
            index[row]
        assert str(caught.value) == f"{tmp_path / name}: {reason}"
    assert index.certificates == {}


def test_a_list_without_anything_to_use(tmp_path):
    with pytest.raises(ValueError) as caught:
        build_index([video(tmp_path / "a.mp4"), video(tmp_path / "b.mp4")])
    words = f"none of the 2 videos can be used; the first: {tmp_path / 'a.mp4'}: no such file or folder"
    assert str(caught.value) == words
    with pytest.raises(ValueError, match=r"^the list holds no video$"):
        build_index([])


# looking once


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b", "text.mp4", "train.txt.index.npy"]
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


# long lists, and what decoding has shown


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


def test_what_decoding_has_shown_is_kept(tmp_path):
    rows = [
        video(clip(tmp_path / "a.mp4")),
        video(clip(tmp_path / "b.avi", codec="mpeg4")),
        video(clip(tmp_path / "c.mp4")),
    ]
    cache = tmp_path / "cache.npy"
    index = build_index(rows, cache=cache)
    assert [index.certificate(i) for i in range(3)] == [(False, None)] * 3
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
    third._room = 100  # bytes: there is no room to keep it, so it is made again
    assert third.certificate(0)[1].pts.tolist() == third.certificate(0)[1].pts.tolist() == certificate.pts.tolist()
    assert not third.certificates
    os.utime(tmp_path / "a.mp4", ns=(1, 1))  # changed while the index is in use: to be proven again
    assert third.certificate(0) == (False, None)
    clip(tmp_path / "a.mp4", num_frames=12)
    assert build_index(rows, cache=cache).certificate(0) == (False, None)


# images


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    """A picture of that size by its header, with next to nothing in it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


CMYK = (  # 8 x 8 of cyan 0, magenta 200, yellow 200, key 0
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAbEhQXFBEbFxYXHhwbIChCKyglJShROj0wQmBVZWRfVV1baniZgWpxkHNbXYW1hpCeo6utq2eAvMm6pseZ"
    "qKuk/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAUG/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAA"
    "PwCmEiVM/9k="
)


def test_a_cmyk_image_becomes_rgb(tmp_path):
    (tmp_path / "1.jpg").write_bytes(base64.b64decode(CMYK))
    rgb = read_image(str(tmp_path / "1.jpg"))
    assert rgb.shape == (8, 8, 3)
    np.testing.assert_allclose(rgb.reshape(-1, 3), np.broadcast_to([255, 55, 55], (64, 3)), atol=3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_gray_image_becomes_rgb(tmp_path, suffix):
    path = tmp_path / f"1{suffix}"
    path.write_bytes(cv2.imencode(suffix, np.full((8, 8), 77, np.uint8))[1].tobytes())
    rgb = read_image(str(path))
    assert (rgb.shape, rgb.dtype) == ((8, 8, 3), np.uint8)
    np.testing.assert_allclose(rgb.astype(int), 77, atol=2)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_red_comes_first(tmp_path, suffix):
    path = tmp_path / f"1{suffix}"
    bgr = np.zeros((16, 16, 3), np.uint8)
    bgr[:] = 30, 60, 200
    path.write_bytes(cv2.imencode(suffix, bgr)[1].tobytes())
    np.testing.assert_allclose(read_image(str(path))[8, 8].astype(int), [200, 60, 30], atol=4)


@pytest.mark.parametrize(("orientation", "red"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_exif_orientation(tmp_path, orientation, red):
    """Red is stored top left; 6 is a quarter turn clockwise."""
    bgr = np.zeros((32, 64, 3), np.uint8)
    bgr[:16, :32, 2] = 255
    data = cv2.imencode(".jpg", bgr)[1].tobytes()
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + tag + struct.pack("<I", 0)
    path = folder(tmp_path / "video") / "1.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    rgb = read_image(str(path))
    height, width = (32, 64) if orientation in (1, 3) else (64, 32)
    assert rgb.shape == (height, width, 3)
    corners = rgb[height // 4 :: height // 2, width // 4 :: width // 2, 0]
    assert np.argwhere(corners > 200).tolist() == [list(red)]
    found = only(path.parent)
    assert (found.width, found.height) == (width, height)


def test_an_image_that_is_none(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "huge.png").write_bytes(png_header(100_000, 100_000))
    for name, reason in {
        "empty.jpg": "the image is empty (0 bytes)",
        "text.jpg": "not an image that OpenCV can decode",
        "huge.png": "not an image that OpenCV can decode",
        "gone.jpg": "the image is missing",
        ".": "Is a directory",
    }.items():
        path = os.path.join(tmp_path, name)
        with pytest.raises(MediaError) as caught:
            read_image(path)
        assert str(caught.value) == f"{path}: {reason}"


# verifying


def noise(path):
    """A video of which a part is many bytes."""
    rng = np.random.default_rng(0)
    with VideoWriter(path, width=64, height=48, rate=25, gop=5) as writer:
        for _ in range(40):
            writer.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
    return path


def test_a_file_that_vanishes_changes_the_fingerprint(tmp_path):
    rows, cache = [video(clip(tmp_path / "a.mp4")), video(clip(tmp_path / "b.mp4"))], tmp_path / "cache.npy"
    before = build_index(rows, cache=cache).fingerprint()
    (tmp_path / "b.mp4").unlink()
    after = build_index(rows, cache=cache).fingerprint()
    assert after["contents"] != before["contents"]
    assert after == build_index(rows).fingerprint()


def test_another_rate_of_a_folder_is_noticed(tmp_path, probed):
    path, cache = folder(tmp_path / "video", *(f"{n}.jpg" for n in range(10))), tmp_path / "cache.npy"
    for rate in ("10", "20"):
        when = path.stat().st_mtime_ns
        (path / "fps").write_text(rate)
        os.utime(path, ns=(when, when))
        assert build_index([video(path)], cache=cache)[0].rate == float(rate)
    assert len(probed) == 2


def verified(rows, cache):
    """The index after all its files were decoded, in a new process as it were."""
    index = build_index(rows, cache=cache, lazy=True)
    index.probe_all(run_in_threads)
    index.verify_all(run_in_threads)
    return index


def test_what_does_not_decode_is_broken_until_it_changes(tmp_path):
    good, torn = clip(tmp_path / "a.mkv", 40, gop=5), noise(tmp_path / "torn.mp4")
    data = bytearray(torn.read_bytes())
    data[len(data) // 3 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 3)
    torn.write_bytes(data)
    images = folder(tmp_path / "images", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (images / "2.jpg").write_text("no image")
    write_image(images / "4.jpg", width=20)
    rows = [video(good), video(torn), video(images), video(good, 3, 9)]
    cache = cache_path(tmp_path / "list.txt")
    assert build_index(rows, cache=cache).broken == {}
    index = verified(rows, cache)
    index.find_broken()
    stated = probe_video(torn).frames
    assert index.broken[2] == "2 of 4 images are broken; the first: 2.jpg: not an image that OpenCV can decode"
    assert index.broken[1] == f"only {verify_video(torn).decoded} of {stated} frames decode"
    assert set(index.broken) == {1, 2}
    assert index.unverified_files() == []

    again = build_index(rows, cache=cache)  # a command that follows
    assert [r for r, _, _ in again.unverified_files()] == [1, 2]  # the broken ones get another chance
    assert again.broken == dict.fromkeys((1, 2), "`actrec index --verify` has found it broken")
    quarantine_path(tmp_path / "list.txt").write_text("path,reason\ntorn.mp4,torn\n")
    assert build_index(rows, cache=cache).broken[1] == "torn"

    noise(torn)
    assert set(build_index(rows, cache=cache).broken) == {2}


def test_a_verified_file_has_the_frames_that_decode(tmp_path, shared_videos):
    path = shared_videos / "ut_interaction" / "videos" / "hugging"
    path = next(iter(sorted(path.glob("*.avi"))))
    rows = [video(path)]
    stated = build_index(rows)[0].frames
    decoded = sum(1 for _ in iter_frames(path))
    assert stated > decoded
    assert verified(rows, cache_path(tmp_path / "list.txt"))[0].frames == decoded


# fingerprints


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
