import os

import pytest
from index_files import clip, folder, only, png_header, video, write_image

from actrec.data.index import build_index
from actrec.data.video.container import MediaError


@pytest.mark.parametrize(
    ("names", "template", "first", "frames"),
    [
        (["00001.jpg", "00002.jpg", "00003.jpg"], "{:05d}.jpg", 1, 3),
        (["img_00001.jpg", "img_00002.jpg"], "img_{:05d}.jpg", 1, 2),
        ([f"{n}.jpg" for n in range(1, 13)], "{:01d}.jpg", 1, 12),
        (["00000.jpg", "00001.jpg"], "{:05d}.jpg", 0, 2),
        ([f"frame{n}.PNG" for n in range(12)], "frame{:01d}.PNG", 0, 12),
        (["007.jpg", "008.jpg", "009.jpg"], "{:03d}.jpg", 7, 3),
        (["098.jpg", "099.jpg", "100.jpg", "101.jpg"], "{:03d}.jpg", 98, 4),
        (["998.jpeg", "999.jpeg", "1000.jpeg"], "{:01d}.jpeg", 998, 3),
        ([f"frame{n:06d}.jpg" for n in range(5, 61, 5)], "frame{:06d}.jpg", 5, 12),
        (["a1b_01.bmp", "a1b_02.bmp"], "a1b_{:02d}.bmp", 1, 2),
        (["{0}_01.jpg", "{0}_02.jpg"], "{{0}}_{:02d}.jpg", 1, 2),
        (["00001.jpg", "00002.jpg", "thumb_1.jpg", "cover.jpg", "1.txt.jpg"], "{:05d}.jpg", 1, 2),
    ],
)
def test_folder_naming(tmp_path, names, template, first, frames):
    found = only(folder(tmp_path / "video", *names))
    assert (found.start, found.frames, found.width, found.height) == (0, frames, 12, 8)
    assert found.codec == names[0].rpartition(".")[2].lower()
    assert (found.template, found.numbers[0], found.listing) == (template, first, None)
    for position in range(frames):
        assert found.image(position) == str(tmp_path / "video" / names[position])


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
    assert os.path.exists(index[1].image(0))


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
    path = folder(tmp_path / "video", *(f"{n:05d}.jpg" for n in range(1, 7)))
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
    assert (found.start, found.frames, found.image(0)) == (0, 3, str(path / "0.jpg"))
    with pytest.raises(MediaError, match="the list says frames 1 to 3, but there are 0 to 2"):
        only(path, 0, 3)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (None, None, (0, 10)),
        (2, 6, (2, 4)),
        (9, 10, (9, 1)),
        (4, None, (4, 6)),
        (0, 13, (0, 10)),  # lists follow containers, and containers overstate
        (7, 99, (7, 3)),
        (10, 12, "the list says frames 11 to 12, but there are 1 to 10"),
        (-1, 5, "the list says frames 0 to 5, but there are 1 to 10"),
        (0.0, 0.4, (0, 10)),
        (0.0, 0.04, (0, 1)),
        (0.08, 0.16, (2, 2)),
        (0.09, 0.17, (3, 2)),  # frames that begin in there
        (0.3, 99.0, (8, 2)),
        (0.33, 0.34, (8, 1)),  # none begins in there: the one that is shown
        (0.39, 0.4, (9, 1)),
        (0.4, 1.0, "the list says 0.4 to 1 seconds, but the last frame ends at 0.4"),
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
    with pytest.raises(MediaError, match="the list has times in seconds, and the folder has no file `fps` with its"):
        only(path, 0.2, 0.6)
    (path / "fps").write_text("10.0\n")
    found = only(path, 0.2, 0.6)
    assert (found.start, found.frames, found.rate) == (2, 4, 10.0)
    assert found.image(found.start) == str(path / "2.jpg")
    for text in ("", "fast", "-3", "nan", "inf", "\udce9"):
        (path / "fps").write_bytes(text.encode("utf-8", "surrogateescape"))
        assert only(path).rate == 0


def test_what_is_known_of_a_video_file(tmp_path):
    assert only(clip(tmp_path / "gop.mp4", gop=4, options={"sc_threshold": "0"})).gop == pytest.approx(10 / 3)
    found = only(clip(tmp_path / "a.mkv", color="bt709", bframes=2))
    assert (found.width, found.height, found.codec, found.pix_fmt) == (16, 32, "h264", "yuv420p")
    assert (found.color, found.rotation, found.rate, found.template) == ("bt709", 0, 25.0, None)


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
        "text.mp4": "not a video, but a text file",
        "empty.mp4": "the file is empty (0 bytes)",
        "nowhere.mp4": "no such file or folder",
        "no_images": "the folder contains no numbered images such as 00001.jpg",
        "bad_image": "not an image that OpenCV can decode",
        "empty_image": "the image is empty (0 bytes)",
        "huge_image": "the image is too large: 100000x100000 are 10,000,000,000 pixels: expected at most 100,000,000; "
        "--max-pixels allows more",
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
    with pytest.raises(ValueError, match=r"^videos: the list holds no video$"):
        build_index([])
