"""Reads image files: their sizes from their headers first, because a small file can claim any size."""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from actrec.data.index.watched import Listening, decode_watched
from actrec.data.limits import limits, why_too_large
from actrec.data.video.color import to_8_bits
from actrec.data.video.container import MediaError
from actrec.opening import read_regular
from actrec.system import raise_if_exhausted

_JPEG = b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)  # of a segment, or of the end of a JPEG
_NO_SEGMENT = (0x00, 0xFF, 0x01, *range(0xD0, 0xD9))  # after 0xFF in JPEG: no marker, or one without a length
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # markers among those of frame headers that are none
_MAX_SEGMENTS = 10_000  # before the frame header of a JPEG; metadata of some MB needs a few hundred
_HEAD_BYTES = 1 << 20  # what an image needs besides its samples: metadata, color profiles
_READ_AT_ONCE = 8  # images that are read before the first of them is decoded
_SAMPLE_BYTES = 8  # of a pixel at most: four samples of 16 bits


class BrokenError(MediaError):
    """The file itself is broken, and stays so until it changes."""


def read_encoded(path: str) -> np.ndarray:
    """The bytes of an image file, if its size is within the limits. Nothing is decoded.

    Raises:
        BrokenError: The file is missing or empty, it is not JPEG, PNG, BMP or WebP, or it is a JPEG that is cut off.
        MediaError: The file cannot be read, or it has more pixels than `Limits.max_pixels`.
        ExhaustedError: There are too few descriptors.
    """
    try:
        content = read_regular(path, max_bytes=_HEAD_BYTES + _SAMPLE_BYTES * limits().max_pixels)
    except FileNotFoundError:
        raise BrokenError(path, "the image is missing") from None
    except OSError as error:
        raise_if_exhausted(path, error)
        raise MediaError(path, error.strerror or str(error)) from None
    if isinstance(content, int):
        raise MediaError(path, f"{content:,} bytes are more than an image of {limits().max_pixels:,} pixels needs")
    if not content:
        raise BrokenError(path, "the image is empty (0 bytes)")
    data = np.frombuffer(content, np.uint8)
    size = stated_size(data)
    # Where the rest of a JPEG is missing or zero, OpenCV decodes gray without a warning.
    if size is None or (content.startswith(_JPEG) and is_cut_off(content)):
        what = "the image is cut off" if is_cut_off(content) else "not an image that OpenCV can decode"
        raise BrokenError(path, what)
    if reason := why_too_large(*size):
        raise MediaError(path, f"the image is too large: {reason}")
    return data


def read_image(path: str, *, gray: bool = False, image_range: tuple[float, float] | None = None) -> np.ndarray:
    """Reads an image file as RGB uint8 (H, W, 3). Grayscale and CMYK are converted, and EXIF rotation is applied.

    Args:
        image_range: The samples of a 16-bit image that become 0 and 255. Default: 0 and 65535.
        gray: Return the luma as (H, W) instead.

    Raises:
        BrokenError, MediaError: As `read_encoded`; or it cannot be decoded, or is damaged.
    """
    (image,) = read_images([path], gray=gray, image_range=image_range)
    return image


def read_images(
    paths: Sequence[str], *, gray: bool = False, image_range: tuple[float, float] | None = None
) -> Iterator[np.ndarray]:
    """Reads image files one after the other, as `read_image` does. Exhaust the iterator before you use the images.

    It raises the error about a damaged image only after the last one, because a `Listening` for all images costs less
    than one for each.
    """
    # Without IMREAD_ANYDEPTH, OpenCV cuts the lower 8 bits off instead of rounding.
    flags = (cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB) | cv2.IMREAD_ANYDEPTH
    with Listening() as listening:
        for path, data in _read_ahead(paths):
            image = None
            with contextlib.suppress(cv2.error):  # of an image that has no pixels
                image = cv2.imdecode(data, flags)
            if image is None:
                cut_off = is_cut_off(data.tobytes())
                raise BrokenError(path, "the image is cut off" if cut_off else "not an image that OpenCV can decode")
            yield image if image.dtype == np.uint8 else to_8_bits(image, image_range or (0, 65535))
    if listening.heard_damage:  # of one of these images, or of another thread's
        for path in paths:
            if damage := decode_watched(path)[1]:
                raise BrokenError(path, f"the image is damaged ({damage})")


def _read_ahead(paths: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Each path with its bytes. Several files are read in a row, because the CPU then has the code in its cache."""
    for begin in range(0, len(paths), _READ_AT_ONCE):
        part = paths[begin : begin + _READ_AT_ONCE]
        yield from zip(part, list(map(read_encoded, part)))


def is_cut_off(data: bytes) -> bool:
    """Whether the end of an image file is missing, by its first bytes and its structure."""
    missing = {
        _JPEG: lambda: not data.endswith(b"\xff\xd9") and not _has_end_of_jpeg(data),
        b"\x89P": lambda: b"IEND" not in data,
        b"BM": lambda: int.from_bytes(data[2:6], "little") > len(data),
        b"RI": lambda: int.from_bytes(data[4:8], "little") + 8 > len(data),  # WebP
    }
    return missing.get(data[:2], lambda: False)()


def _has_end_of_jpeg(data: bytes) -> bool:
    """ITU-T T.81, annex B: segments and scans up to the end marker. A preview is inside a segment."""
    place = 2
    while found := _MARKER.search(data, place):
        if found[0] == b"\xff\xd9":
            return True
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False


def stated_size(data: np.ndarray) -> tuple[int, int] | None:
    """(width, height) as stored, by the header of a JPEG, PNG, BMP or WebP file; None if it is none of them.

    Args:
        data: uint8, the content of the file.
    """
    head = data[:32].tobytes()
    if head.startswith(_JPEG):
        return _size_of_jpeg(data.data)
    if len(head) < 30:
        return None
    if head.startswith(b"\x89PNG\r\n\x1a\n"):  # PNG, section 11.2.2: IHDR comes first
        return struct.unpack(">II", head[16:24]) if head[12:16] == b"IHDR" else None
    if head.startswith(b"BM"):
        is_old = head[14:18] == b"\x0c\0\0\0"  # of OS/2
        width, height = struct.unpack("<HH", head[18:22]) if is_old else struct.unpack("<ii", head[18:26])
        return abs(width), abs(height)  # negative: from top to bottom
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _size_of_webp(head)
    return None


def _size_of_jpeg(data: memoryview) -> tuple[int, int] | None:
    """ITU-T T.81, annex B: segments up to the frame header. Bytes between segments are skipped, as libjpeg does."""
    place = 2
    for _ in range(_MAX_SEGMENTS):
        if place + 9 > len(data):
            return None
        if data[place] != 0xFF:
            skipped = bytes(data[place : place + _HEAD_BYTES]).find(b"\xff")
            place += skipped if skipped >= 0 else _HEAD_BYTES
            continue
        marker = data[place + 1]
        if marker in _NO_SEGMENT:
            place += 1 if marker == 0xFF else 2
            continue
        length = data[place + 2] << 8 | data[place + 3]
        if marker in (0xD9, 0xDA) or length < 2:  # the end, or the samples
            return None
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return None


def _size_of_webp(head: bytes) -> tuple[int, int] | None:
    """RFC 9649, sections 2.5 to 2.7, and RFC 6386, section 9.1."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None
