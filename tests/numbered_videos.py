"""Small videos whose frames show their own number, and their plain decode: what the tests of videos compare with."""

from __future__ import annotations

import re
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from actrec.data.video.certificate import find_certificate
from actrec.data.video.color import to_rgb
from actrec.data.video.encode import VideoWriter
from actrec.data.video.packed import pack, unpack
from actrec.data.video.read import read_frames

BITS, BLOCK = 8, 16

WIDTH, HEIGHT = BITS * BLOCK, 64

NOISE = np.random.default_rng(0).integers(0, 256, (4, WIDTH // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def numbered(number):
    """Its number in binary, as black and white blocks, above noise that moves."""
    bits = np.repeat([(number >> bit) & 1 for bit in range(BITS)], BLOCK).astype(np.uint8) * 255
    strip = np.broadcast_to(bits[None, :, None], (HEIGHT // 2, WIDTH, 3))
    return np.concatenate([strip, np.roll(NOISE, 3 * number, axis=1)])


def number_of(rgb):
    return sum(1 << bit for bit, value in enumerate(rgb[16, BLOCK // 2 :: BLOCK, 1]) if value > 127)


def write(path, frames, **options):
    height, width, _ = frames[0].shape
    with VideoWriter(path, width=width, height=height, **{"rate": 25, **options}) as video:
        for rgb in frames:
            video.write(rgb)
    return path


def read(path, wanted, certificate=None):
    frames = {}
    went = read_frames(path, wanted, lambda i, rgb: frames.update({i: rgb.copy()}), certificate)
    assert list(frames) == [*range(len(wanted))]  # in order, each once
    return [*frames.values()], went


def certificate_of(path):
    went = read_frames(path, [0], lambda i, rgb: None, certify=True)
    return went.certificate


def plain_decode(file, *, upright=True):
    """Every picture of a path or of a file object from the start, by av alone; converted to RGB by actrec.

    Args:
        upright: as displayed, not as stored.
    """
    rgb = []
    with av.open(str(file) if isinstance(file, Path) else file) as container:
        stream = container.streams.best("video")
        stream.thread_count = 1
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                continue
            for picture in pictures:
                is_quarter_turn = picture.rotation in (-180, -90, 90, 180)
                turns = picture.rotation // 90 if is_quarter_turn and upright else 0
                rgb.append(np.rot90(to_rgb(picture), turns))
    return rgb


def checksums(frames):
    return [(rgb.shape, zlib.crc32(np.ascontiguousarray(rgb))) for rgb in frames]


def check_draws(path, expected, certificate, *, draws=5, frames=6):
    """Compare random frames with a plain decode: in several reads by certificate, and in one read from the start.

    A read from the start decodes the same packets whatever it returns, so the frames of all draws come from one.
    """
    rng = np.random.default_rng(len(expected))
    drawn = [np.sort(rng.choice(len(expected), min(frames, len(expected)), replace=False)) for _ in range(draws)]
    reads = [(None, np.unique(np.concatenate(drawn)))]
    if certificate is not None:
        reads += [(certificate, wanted) for wanted in drawn]
    for proof, wanted in reads:
        found, went = read(path, wanted, proof)
        assert checksums(found) == [expected[i] for i in wanted], (path.name, wanted, proof is not None)
        assert went.clamped == 0


def check_first_pass(path, expected):
    """Compares a plain decode with what is read by the certificate that a file earns while it is probed, in any order.

    Returns:
        Whether it earns one.
    """
    found = find_certificate(path)
    if found.certificate is None or found.doubt is not None:
        return False
    certificate, count = unpack(pack(found.certificate)), len(expected)  # as it comes from the disk
    assert len(certificate.pts) == count
    backwards = [[i] for i in range(count - 1, -1, -max(1, count // 4))]
    for wanted in ([0], [*range(0, count, 3)], [*range(count // 2, count)], *backwards):
        assert checksums(read(path, wanted, certificate)[0]) == [expected[i] for i in wanted], (path.name, wanted)
    check_draws(path, expected, certificate, draws=3)
    return True


X265 = {"x265-params": "log-level=error"}

CLOSED_X265 = {"x265-params": "log-level=error:open-gop=0"}

OPEN_X265 = {"x265-params": "log-level=error:open-gop=1:scenecut=0"}

VP9 = {"deadline": "realtime", "cpu-used": "8"}

HIDDEN_VP9 = {**VP9, "lag-in-frames": "10", "auto-alt-ref": "1"}  # with pictures that are never shown

OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0"}

KINDS = {  # encoder and its options, containers
    "h264": ("libx264", {"g": "15", "bf": "0"}, ("mp4", "matroska", "avi")),
    "h264 with B-frames": ("libx264", {"g": "15", "bf": "3", "b-pyramid": "normal"}, ("mp4", "matroska")),
    "h264 with open GOPs": ("libx264", {"g": "12", "bf": "2", **OPEN_GOP}, ("mp4", "matroska")),
    "h264 of keyframes": ("libx264", {"g": "1"}, ("mp4", "matroska", "avi")),
    "h264 in one GOP": ("libx264", {"g": "1000", "bf": "2", "sc_threshold": "0"}, ("mp4", "matroska")),
    "h264 in 10 bit": ("libx264", {"g": "15", "bf": "2"}, ("mp4", "matroska")),
    "hevc": ("libx265", {"g": "15", "bf": "2", **CLOSED_X265}, ("mp4", "matroska")),
    "vp9": ("libvpx-vp9", {"g": "15", **VP9}, ("mp4", "matroska", "webm")),
    "av1": ("libsvtav1", {"g": "15", "preset": "12", "svtav1-params": "lp=1"}, ("mp4", "matroska", "webm")),
    "mpeg4": ("mpeg4", {"g": "15", "bf": "2"}, ("mp4", "matroska", "avi")),
    "mjpeg": ("mjpeg", {}, ("mp4", "matroska", "avi")),
}

SHOWN = {
    "evenly": lambda n: n,
    "unevenly": lambda n: 2 * n + n % 3 // 2 + n // 7,
    "from late on": lambda n: n + 90,
}

GRID = [
    (kind, container, shown)
    for kind, (_, _, containers) in KINDS.items()
    for container in containers
    for shown in SHOWN
    if container != "avi" or shown == "evenly"  # which has no timestamps
]


def write_grid(path, kind, container, shown, num_frames, *, scale=1):
    """A video of `GRID`, `scale` times as large."""
    encoder, options, _ = KINDS[kind]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(encoder, rate=25, options=options)
        stream.codec_context.thread_count = 1  # waiting threads of libvpx use all the CPU that they get
        stream.width, stream.height = scale * WIDTH, scale * HEIGHT
        stream.pix_fmt = {"mjpeg": "yuvj420p", "h264 in 10 bit": "yuv420p10le"}.get(kind, "yuv420p")
        for n in range(num_frames):
            rgb = numbered(n).repeat(scale, 0).repeat(scale, 1)
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture.pts, picture.time_base = SHOWN[shown](n), Fraction(1, 25)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    return path


LOSSLESS = {"qp": "0", "preset": "medium", "x264-params": "cabac=0:scenecut=0"}


def write_as_old_x264(path, build=b"120"):
    """A lossless 4:4:4 file that claims to be of another build: FFmpeg predicts blocks of old builds differently."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 220, 3)).astype(np.float32)
    soft = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    frames = [soft[n % 7 : n % 7 + 64, 2 * n : 2 * n + 128] for n in range(40)]
    data = write(path, frames, gop=10, pix_fmt="yuv444p", options=LOSSLESS).read_bytes()
    found = re.search(rb"x264 - core (\d\d\d)", data)
    path.write_bytes(data[: found.start(1)] + build + data[found.end(1) :])
    return path
