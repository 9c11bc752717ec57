"""Files and folders for the tests of the index."""

import struct
import zlib

import cv2
import numpy as np

from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.encode import VideoWriter


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


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    """A picture of that size by its header, with next to nothing in it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
