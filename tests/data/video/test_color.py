"""Colors, rotation and regions of decoded pictures."""

import struct

import av
import numpy as np
import pytest
from numbered_videos import (
    HEIGHT,
    WIDTH,
    X265,
    certificate_of,
    checksums,
    numbered,
    read,
    write,
)

from actrec.data.video.color import Region, to_rgb
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, iter_pictures, read_frames

COLORS = np.array([(200, 30, 60), (20, 180, 90), (40, 60, 210), (128, 128, 128), (250, 250, 250), (5, 5, 5)], np.uint8)


def patches(height=32, width=32):
    return np.repeat(COLORS[None], height, axis=0).repeat(width, axis=1)


@pytest.mark.parametrize(
    ("name", "options", "color"),
    [
        ("a.mp4", {}, "bt601"),
        ("a.mp4", {"color": "bt709"}, "bt709"),
        ("a.mp4", {"full_range": True}, "bt601-full"),
        ("a.mp4", {"color": "bt709", "full_range": True}, "bt709-full"),
        ("a.mp4", {"color": "bt709", "pix_fmt": "yuv444p"}, "bt709"),
        ("a.mp4", {"pix_fmt": "yuv420p10le"}, "bt601"),
        ("a.mp4", {"pix_fmt": "yuv420p10le", "color": "bt709"}, "bt709"),
        ("a.mkv", {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": X265}, "bt601"),
        ("a.mov", {"codec": "mjpeg", "full_range": True}, "bt601-full"),
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "bgr0"}, "rgb"),
    ],
)
def test_colors(tmp_path, name, options, color):
    quality = {} if "codec" in options else {"options": {"crf": "5"}}
    path = write(tmp_path / name, [patches()] * 3, **quality, **options)
    probe = probe_video(path)
    assert probe.color == color
    assert probe.pix_fmt in (options.get("pix_fmt"), "yuv420p", "yuvj420p")
    for rgb in read(path, [0, 2])[0]:
        assert rgb.dtype == np.uint8
        np.testing.assert_allclose(rgb[16, 16::32].astype(int), COLORS, atol=6 if "codec" in options else 3)


@pytest.mark.parametrize("pix_fmt", ["rgb555be", "rgb565be", "bgr565be", "rgb565le", "rgb555le"])
def test_rgb_in_16_bits(pix_fmt):
    """FFmpeg's own conversion to 24 bits exchanges the two bytes of those in big-endian."""
    order = 1 if pix_fmt.startswith("rgb") else -1
    red, green, blue = (COLORS[:, ::order] >> 3).astype(int).T
    samples = red << 10 | green << 5 | blue if "555" in pix_fmt else red << 11 | green << 6 | blue
    picture = av.VideoFrame(32 * len(COLORS), 32, pix_fmt)
    plane = np.frombuffer(picture.planes[0], "<u2" if pix_fmt.endswith("le") else ">u2").reshape(32, -1)
    plane[:, : picture.width] = samples.repeat(32)
    np.testing.assert_allclose(to_rgb(picture)[16, 16::32].astype(int), COLORS, atol=9)


@pytest.mark.parametrize(("width", "height"), [(33, 21), (101, 2), (2, 101), (1, 1), (130, 77)])
@pytest.mark.parametrize("full_range", [False, True])
def test_odd_sizes(tmp_path, width, height, full_range):
    frame = np.zeros((height, width, 3), np.uint8)
    frame[:] = 200, 30, 60
    path = write(tmp_path / "a.mp4", [frame] * 3, pix_fmt="yuv444p", full_range=full_range, options={"crf": "5"})
    probe = probe_video(path)
    assert (probe.width, probe.height) == (width, height)
    drawn, _ = read(path, [1])
    np.testing.assert_allclose(drawn[0].astype(int), frame.astype(int), atol=4)


MATRICES = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def turned(path, matrix):
    """Writes the matrix into the track header of an mp4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    assert struct.unpack_from(">9i", data, at) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("rotation", MATRICES)
def test_rotation_is_as_a_player_shows_it(tmp_path, rotation):
    frame = np.zeros((32, 64, 3), np.uint8)
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)  # red is top left
    frame = corners.repeat(16, 0).repeat(32, 1)
    path = write(tmp_path / "a.mp4", [frame] * 3, pix_fmt="yuv444p", options={"crf": "5"})
    turned(path, MATRICES[rotation])
    a, b, c, d = MATRICES[rotation]
    probe = probe_video(path)
    assert probe.rotation == rotation
    assert (probe.width, probe.height) == ((64, 32) if rotation % 180 == 0 else (32, 64))
    shown = np.zeros_like(corners)
    for y, x in np.ndindex(2, 2):  # around the middle, where the corners are at -1 and 1
        u, v = 2 * x - 1, 2 * y - 1
        shown[(b * u + d * v + 1) // 2, (a * u + c * v + 1) // 2] = corners[y, x]
    for certificate in (None, certificate_of(path)):
        rgb = read(path, [1], certificate)[0][0]
        assert rgb.shape == (probe.height, probe.width, 3)
        assert rgb.flags.c_contiguous
        quarter = rgb[probe.height // 4 :: probe.height // 2, probe.width // 4 :: probe.width // 2]
        np.testing.assert_allclose(quarter.astype(int), shown.astype(int), atol=6)
        assert checksums([rgb]) == checksums([next(iter_frames(path))[0]])


@pytest.mark.parametrize(
    ("options", "rotation"),
    [
        ({}, 0),
        ({}, 90),
        ({}, 180),
        ({"color": "bt709"}, 0),
        ({"full_range": True}, 0),
        ({"pix_fmt": "yuv444p"}, 0),
        ({"pix_fmt": "yuv420p10le"}, 270),
    ],
)
def test_a_region_is_a_part_of_the_whole(tmp_path, options, rotation):
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (48, 90, 3), np.uint8).repeat(1, 0) for _ in range(6)]
    path = write(tmp_path / "a.mp4", frames, **options)
    turned(path, MATRICES[rotation])
    whole, _ = read(path, [1, 4])
    height, width, _ = whole[0].shape
    for proof in (None, certificate_of(path)):
        for _ in range(20):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            w, h = int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1))
            cut = np.zeros((2, h, w, 3), np.uint8)
            region = Region(width, height, x, y, w, h)
            read_frames(path, [1, 4], cut.__setitem__, proof, region=region)
            for rgb, expected in zip(cut, whole, strict=True):
                assert np.array_equal(rgb, expected[y : y + h, x : x + w]), (x, y, w, h)


def test_a_region_of_a_picture_of_another_size(tmp_path):
    """A file that was replaced after the index had seen it: resized as a whole first."""
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, 64:] = 250
    path = write(tmp_path / "a.mp4", [frame] * 2)
    cut = []
    read_frames(path, [0], lambda i, rgb: cut.append(rgb), region=Region(64, 32, 24, 8, 16, 4))
    assert cut[0].shape == (4, 16, 3)
    assert cut[0][:, :6].max() < 20
    assert cut[0][:, 10:].min() > 230


def test_planes_for_an_encoder(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(3)])
    with av.open(str(path)) as container:
        wanted = [frame.to_ndarray() for frame in container.decode(video=0)]
    for picture, planes in zip(iter_pictures(path), wanted, strict=True):
        np.testing.assert_array_equal(picture.yuv420(WIDTH, HEIGHT), planes)
        assert picture.yuv420(64, 48).shape == (72, 64)


@pytest.mark.parametrize("color", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le"])
def test_planes_are_of_bt601(tmp_path, color, full_range, pix_fmt):
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :32], rgb[:, 32:] = (200, 60, 30), (30, 90, 160)
    options = {"color": color, "full_range": full_range, "pix_fmt": pix_fmt, "options": {"crf": "2"}}
    path = write(tmp_path / "a.mp4", [rgb], **options)
    for width, height in ((64, 48), (32, 24), (96, 72)):
        planes = next(iter_pictures(path)).yuv420(width, height)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        found = frame.to_ndarray(format="rgb24").astype(int)
        for x in (width // 4, 3 * width // 4):
            np.testing.assert_allclose(found[height // 2, x], rgb[24, 64 * x // width], atol=4)
