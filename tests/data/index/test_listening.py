"""Damage of images is noticed while several threads decode, and no library prints a line without a name."""

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from actrec.data.index.images import BrokenError, is_cut_off, read_image, read_images
from actrec.data.index.watched import Listening
from actrec.data.video.container import MediaError

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8).repeat(2, 0).repeat(2, 1)
libc = ctypes.CDLL(None)


def encoded(suffix):
    return cv2.imencode(suffix, PICTURE)[1].tobytes()


def damaged(data):
    half = len(data) // 2
    return data[:half] + bytes(500) + data[half + 500 :]


def c_print(text):
    """As a library does that is written in C."""
    libc.fputs(text.encode(), ctypes.c_void_p.in_dll(libc, "stderr"))


@pytest.mark.parametrize("gray", [False, True])
def test_only_the_damaged_image_is_named(tmp_path, capfd, gray):
    for number in range(40):
        data = encoded(".jpg")
        (tmp_path / f"{number}.jpg").write_bytes(damaged(data) if number in (7, 23) else data)

    def reason(number):
        try:
            return read_image(str(tmp_path / f"{number}.jpg"), gray=gray).shape[:2]
        except MediaError as error:
            return error.reason

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(reason, range(40)))
    bad = [number for number, said in enumerate(found) if said != (120, 160)]
    assert bad == [7, 23]
    assert all(found[number].startswith("the image is damaged (Corrupt JPEG data: ") for number in bad)
    assert capfd.readouterr().err == ""


def test_of_several_images_the_damaged_one_is_named(tmp_path, capfd):
    paths = [str(tmp_path / f"{number}.jpg") for number in range(4)]
    for path in paths:
        (tmp_path / path).write_bytes(encoded(".jpg"))
    assert [image.shape for image in read_images(paths)] == 4 * [(120, 160, 3)]
    (tmp_path / paths[2]).write_bytes(damaged(encoded(".jpg")))
    images = read_images(paths)
    assert [next(images).shape for _ in paths] == 4 * [(120, 160, 3)]
    with pytest.raises(BrokenError, match=r"2\.jpg: the image is damaged \(Corrupt JPEG data: "):
        next(images)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_an_image_that_is_cut_off(tmp_path, capfd, suffix):
    path, data = tmp_path / f"1{suffix}", encoded(suffix)
    path.write_bytes(data)
    assert read_image(str(path)).shape == (120, 160, 3)
    assert not is_cut_off(data)
    for part in (0.3, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(MediaError, match=r"the image is cut off|the image is damaged \(Premature end of JPEG file"):
            read_image(str(path))
    assert capfd.readouterr().err == ""


def test_a_preview_does_not_end_an_image():
    data = encoded(".jpg")
    whole = data[:2] + b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data + data[2:]
    assert not is_cut_off(whole)
    assert is_cut_off(whole[: -len(data) // 2])


def test_a_jpeg_with_zeros_in_place_of_its_end(tmp_path):
    path, data = tmp_path / "1.jpg", encoded(".jpg")
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    assert cv2.imread(str(path)) is not None
    with pytest.raises(MediaError, match="the image is cut off"):
        read_image(str(path))


def test_data_after_the_end_of_a_jpeg(tmp_path):
    path = tmp_path / "1.jpg"
    path.write_bytes(encoded(".jpg") + b"\0\0\0\x18ftyp, such as a short video" + b"\xff\xda" + bytes(99))
    assert read_image(str(path)).shape == (120, 160, 3)


def test_a_png_with_wrong_bits_is_refused_without_a_line(tmp_path, capfd):
    (tmp_path / "1.png").write_bytes(damaged(encoded(".png")))
    with pytest.raises(MediaError, match=r"1\.png: not an image that OpenCV can decode"):
        read_image(str(tmp_path / "1.png"))
    assert capfd.readouterr().err == ""


def test_other_lines_are_passed_on(capfd):
    c_print("before\n")
    with Listening() as outer:
        c_print("another library\nPremature end of JPEG file\n")
        with Listening() as inner:
            c_print("libpng warning: iCCP: known incorrect sRGB profile\n")
        assert not inner.heard_damage
        os.write(2, b"Python writes at once\n")
    assert outer.heard_damage
    c_print("after\n")
    assert capfd.readouterr().err.splitlines() == ["before", "another library", "Python writes at once", "after"]


def test_listening_restores_what_it_changes():
    def state():
        return ctypes.c_void_p.in_dll(libc, "stderr").value, cv2.utils.logging.getLogLevel()

    before = state()
    forgotten = Listening()
    assert state() != before
    del forgotten
    assert state() == before


def test_a_thread_that_starts_later_is_not_told_of_damage_before():
    with Listening() as early:
        c_print("Premature end of JPEG file\n")
        found = []
        thread = threading.Thread(target=lambda: found.append(Listening()))
        thread.start()
        thread.join()
        found[0].close()
    assert (early.heard_damage, found[0].heard_damage) == (True, False)
