import base64
import os
import struct

import cv2
import numpy as np
import pytest
from index_files import folder, only, png_header

from actrec.data.index.images import read_image
from actrec.data.video.container import MediaError

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
        "huge.png": "the image is too large: 100000x100000 are 10,000,000,000 pixels: expected at most 100,000,000; "
        "--max-pixels allows more",
        "gone.jpg": "the image is missing",
        ".": "a folder, not a file",
    }.items():
        path = os.path.join(tmp_path, name)
        with pytest.raises(MediaError) as caught:
            read_image(path)
        assert str(caught.value) == f"{path}: {reason}"


@pytest.mark.parametrize("shape", [(2, 256), (2, 256, 3)])
def test_16_bits_are_scaled_by_what_the_file_declares(tmp_path, shape):
    ramp = np.round(np.linspace(0, 65535, 256)).astype(np.uint16)
    values = np.broadcast_to(ramp.reshape(1, -1, *[1] * (len(shape) - 2)), shape)
    path = folder(tmp_path / "video") / "1.png"
    path.write_bytes(
        cv2.imencode(".png", np.ascontiguousarray(values + (values < 65500) * np.uint16(100)))[1].tobytes()
    )
    expected = np.round(np.minimum(ramp + 100.0 * (ramp < 65500), 65535) / 257).astype(np.uint8)
    assert (read_image(str(path)) == expected[None, :, None]).all()
    gray = read_image(str(path), gray=True)
    assert np.abs(gray.astype(int) - expected).max() <= (1 if len(shape) == 3 else 0)
    assert only(path.parent).bits == 16
