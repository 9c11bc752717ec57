"""Images that are damaged in the middle: OpenCV decodes them, and only libjpeg's warnings tell."""

import struct
import threading
import zlib

import av
import cv2
import numpy as np
import pytest
from index_files import folder, video
from numbered_videos import numbered, write

from actrec.data.index import build_index, watched
from actrec.data.index.images import read_image
from actrec.data.index.index import run_in_threads
from actrec.data.index.watched import damage_of, decode_watched
from actrec.data.video.container import MediaError
from actrec.data.video.read import verify_video
from actrec.system import ExhaustedError
from actrec.tools.lists.index import damaged as damaged_of

RNG = np.random.default_rng(0)
FORMS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
    "own tables": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
}


def jpeg(form="baseline", height=120, width=160, quality=90):
    noise = RNG.integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", noise, [*FORMS[form], cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def damaged(data, size):
    """Bytes in the middle are lost."""
    half = len(data) // 2
    return data[:half] + bytes(size) + data[half + size :]


@pytest.mark.parametrize("form", FORMS)
def test_good_images_are_not_damaged(tmp_path, form):
    path = tmp_path / "1.jpg"
    for quality in (1, 20, 75, 95, 100):
        for _ in range(5):
            height, width = RNG.integers(1, 200, 2).tolist()
            path.write_bytes(jpeg(form, height, width, quality))
            assert decode_watched(str(path)) == ((height, width), None)


@pytest.mark.parametrize("form", FORMS)
def test_damage_in_the_middle_is_seen(tmp_path, form):
    path = tmp_path / "1.jpg"
    path.write_bytes(damaged(jpeg(form), 1024))
    shape, damage = decode_watched(str(path))
    assert shape == (120, 160)
    assert damage
    assert "JPEG" in damage or "progression" in damage


def test_some_bytes_after_the_data_are_no_damage():
    for said, expected in {
        "": None,
        "Corrupt JPEG data: 3 extraneous bytes before marker 0xd9\n": None,
        "Corrupt JPEG data: 300 extraneous bytes before marker 0xd9\n": "300 extraneous",
        "Corrupt JPEG data: 3 extraneous bytes before marker 0xd4\n": "before marker 0xd4",
        "libpng warning: iCCP: known incorrect sRGB profile\n": None,
        "libpng warning: IDAT: incorrect data check\n": "incorrect data check",
        "a line\nPremature end of JPEG file\n": "Premature end",
    }.items():
        found = damage_of(said)
        assert expected in found if expected else found is None


def test_pixels_of_a_png_that_differ_from_their_checksum_are_damage(tmp_path):
    """If damaged data give more pixels than the image has, libpng only warns."""
    path = tmp_path / "1.png"
    pixels = zlib.compress(bytes(20 * (1 + 3 * 30) + 1000))[:-4] + b"\0\0\0\0"
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 30, 20, 8, 2, 0, 0, 0), b"IDAT": pixels, b"IEND": b""}
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks.items()]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert decode_watched(str(path)) == ((20, 30), "libpng warning: IDAT: incorrect data check")
    with pytest.raises(MediaError, match=r"1\.png: the image is damaged \(libpng warning: IDAT"):
        read_image(str(path))


def test_the_folder_of_a_damaged_image_is_broken(tmp_path):
    good, bad = folder(tmp_path / "good"), folder(tmp_path / "bad")
    for number in range(1, 5):
        (good / f"{number}.jpg").write_bytes(jpeg())
        (bad / f"{number}.jpg").write_bytes(damaged(jpeg(), 500) if number == 3 else jpeg())
    index = build_index([video(good), video(bad)])
    index.verify_all(run_in_threads)
    index.find_broken()
    assert list(index.broken) == [1]
    assert index.broken[1].startswith("1 of 4 images is broken; the first: 3.jpg: damaged (")


def test_a_crash_of_the_decoder_is_an_error_of_one_image(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(jpeg())
    decode_watched(str(path))
    watched._local.decoder._process.kill()
    watched._local.decoder._process.wait()
    with pytest.raises(MediaError, match=r"1\.jpg: the decoder of images crashed"):
        decode_watched(str(path))
    assert decode_watched(str(path)) == ((120, 160), None)


def test_a_decoder_that_cannot_be_started_is_no_fault_of_an_image(tmp_path, monkeypatch):
    path = folder(tmp_path / "good") / "1.jpg"
    path.write_bytes(jpeg())
    monkeypatch.delattr(watched._local, "decoder", raising=False)
    monkeypatch.setattr(watched, "_CHILD", tmp_path / "absent.py")
    with pytest.raises(ExhaustedError, match="cannot be started \\(exit code 2\\)"):
        decode_watched(str(path))
    index = build_index([video(path.parent)])
    with pytest.raises(ExhaustedError):
        index.verify_all(run_in_threads)
    index.find_broken()
    assert not index.broken


def test_a_full_disk_hides_no_damage(tmp_path, monkeypatch):
    path = tmp_path / "1.jpg"
    path.write_bytes(damaged(jpeg(), 500))
    monkeypatch.delattr(watched._local, "decoder", raising=False)
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, "/dev/full")
    assert "Corrupt JPEG" in str(decode_watched(str(path))[1])


def test_the_child_ends_with_its_thread(tmp_path):
    path = tmp_path / "a name with \udcff.jpg"
    path.write_bytes(jpeg())
    found = []

    def work():
        found.append(decode_watched(str(path)))
        found.append(watched._local.decoder._process)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0] == ((120, 160), None)
    assert found[1].wait(timeout=60) == 0


def test_real_images_are_not_damaged(shared_videos):
    paths = sorted((shared_videos / "frames").rglob("*.jp*g"))
    assert len(paths) > 50
    assert [path.name for path in paths if decode_watched(str(path))[1]] == []


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {}), ("avi", {"codec": "mjpeg"}), ("mkv", {"codec": "mpeg4"})])
def test_damaged_frames_of_a_video_are_counted(tmp_path, suffix, options):
    if options.get("codec") == "mjpeg":
        options = options | {"full_range": True, "pix_fmt": "yuvj420p"}
    whole = write(tmp_path / f"a.{suffix}", [numbered(n) for n in range(60)], gop=6, **options)
    assert verify_video(whole).damaged == 0
    path = tmp_path / f"b.{suffix}"
    with av.open(str(whole)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for i, packet in enumerate(source.demux(video=0)):
            if not packet.size:
                continue
            data = bytes(packet)
            half = len(data) // 2
            changed = av.Packet(data[:half] + b"\x55" * (len(data) - half) if i == 30 else data)
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.is_keyframe, changed.stream = packet.is_keyframe, stream
            out.mux(changed)
    assert 1 <= verify_video(path).damaged <= 7
    index = build_index([video(path), video(whole)])
    index.verify_all(run_in_threads)
    index.find_broken()
    assert index.broken == ({} if verify_video(path).damaged <= 6 else {0: "7 of 60 frames are damaged"})
    if not index.broken:
        assert index[0].damaged == verify_video(path).damaged
        assert list(damaged_of(index)) == [str(path)]
