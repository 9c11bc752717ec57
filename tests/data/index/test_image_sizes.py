"""The size of an image is read from its header, before anything is decoded."""

import os
import socket

import cv2
import numpy as np
import pytest
from peak_memory import peak_memory

from actrec.config import Limits
from actrec.data.index.images import read_encoded, read_image, stated_size
from actrec.data.limits import limited
from actrec.data.video.container import MediaError


def encoded(suffix, width=48, height=32, *options):
    return cv2.imencode(suffix, np.full((height, width, 3), 77, np.uint8), options)[1].tobytes()


def claiming(suffix, width, height):
    """An image of 48x32 with a header that states another size."""
    lossy = (cv2.IMWRITE_WEBP_QUALITY, 50) if suffix == ".webp" else ()
    data = bytearray(encoded(suffix, 48, 32, *lossy))
    if suffix == ".jpg":
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    elif suffix == ".png":
        data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    elif suffix == ".bmp":
        data[18:26] = width.to_bytes(4, "little") + (-height).to_bytes(4, "little", signed=True)
    else:
        data[26:30] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", ()),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".jpg", (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)),
        (".png", ()),
        (".bmp", ()),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 50)),
        (".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),  # lossless
    ],
)
def test_the_stated_size_is_that_of_the_decoded_image(suffix, options):
    for width, height in ((48, 32), (1, 7), (300, 2)):
        data = np.frombuffer(encoded(suffix, width, height, *options), np.uint8)
        assert stated_size(data) == (width, height)


def test_the_size_of_a_jpeg_after_much_metadata_and_fill_bytes():
    data = encoded(".jpg")
    segments = b"".join(b"\xff\xe2" + (2 + len(part)).to_bytes(2, "big") + part for part in [b"\xff\xc0" * 30_000] * 20)
    for between in (segments, b"\xff" * 9, b"\0\1\2", segments + b"garbage" + b"\xff\xff"):
        first = 4 + int.from_bytes(data[4:6], "big")  # the end of the first segment
        longer = data[:first] + between + data[first:]
        assert stated_size(np.frombuffer(longer, np.uint8)) == (48, 32)
        assert cv2.imdecode(np.frombuffer(longer, np.uint8), cv2.IMREAD_COLOR).shape == (32, 48, 3)


def test_the_size_of_an_animated_or_extended_webp():
    header = (
        b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + (16382).to_bytes(3, "little") + (8999).to_bytes(3, "little")
    )
    data = b"RIFF" + (4 + len(header)).to_bytes(4, "little") + b"WEBP" + header
    assert stated_size(np.frombuffer(data, np.uint8)) == (16383, 9000)


def test_what_is_no_image_has_no_size():
    whole = encoded(".jpg")
    for data in (
        b"",
        b"\xff",
        b"\xff\xd8",
        whole[: whole.index(b"\xff\xc0")],
        b"GIF89a" + bytes(99),
        b"\xff\xd8\xff\xe0\0\0" * 99_999,
    ):
        assert stated_size(np.frombuffer(data, np.uint8)) is None


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_bomb_is_named_and_costs_nothing(tmp_path, suffix):
    side = 16_000 if suffix == ".webp" else 30_000
    path = tmp_path / f"1{suffix}"
    path.write_bytes(claiming(suffix, side, side))
    message, used = peak_memory(read_image, path)
    assert message == (
        f"{path}: the image is too large: {side}x{side} are {side * side:,} pixels: expected at most 100,000,000; "
        "--max-pixels allows more"
    )
    assert used < 4096  # KiB: the header alone


def test_the_limit_can_be_changed(tmp_path):
    path = tmp_path / "1.png"
    path.write_bytes(encoded(".png", 40, 30))
    with limited(Limits(max_pixels=1200)):
        assert read_image(str(path)).shape == (30, 40, 3)
    with limited(Limits(max_pixels=1199)), pytest.raises(MediaError, match="40x30 are 1,200 pixels"):
        read_image(str(path))
    assert read_encoded(str(path)).tobytes() == path.read_bytes()


def test_a_file_with_more_bytes_than_an_image_needs(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(encoded(".jpg"))
    os.truncate(path, 1 << 40)  # without using the disk
    with pytest.raises(MediaError, match="bytes are more than an image of 100,000,000 pixels needs"):
        read_image(str(path))


@pytest.mark.parametrize("what", ["pipe", "folder", "device", "socket", "link to a device"])
def test_only_a_regular_file_is_read(tmp_path, what):
    path = tmp_path / "1.jpg"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif what == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        path = "/dev/zero"
    with pytest.raises(MediaError, match=f"a {what.split()[-1]}, not a file"):
        read_image(str(path))
