"""Broken and odd media files with their right outcome, generated from a seed. `cases` is the table of all of them.

Every picture shows the number of its frame, above the same number inverted. So a frame that was skipped, repeated,
mirrored or turned is noticed wherever it arrives: in an extracted image, in a prepared video, in a net.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

NUM_FRAMES, WIDTH, HEIGHT = 24, 96, 64
_ALL = range(NUM_FRAMES)
_LEFT, _STRIP, _BITS = 20, 7, 8  # the strips are in the central crop of 7/8 of the height

Picture = Callable[[int], np.ndarray]


def picture(number: int) -> np.ndarray:
    """RGB uint8 (HEIGHT, WIDTH, 3)."""
    bits = np.array([(number >> bit) & 1 for bit in range(_BITS)], bool)
    rows = np.stack([np.repeat(bits, _STRIP), np.repeat(~bits, _STRIP)]).repeat(HEIGHT // 2, 0)
    gray = np.full((HEIGHT, WIDTH), 70, np.uint8)
    gray[:, _LEFT : _LEFT + _BITS * _STRIP] = np.where(rows, 225, 25)
    gray[:8] = gray[-8:] = 70 + number % 8 * 10
    return np.stack([gray] * 3, -1)


def number_of(rgb: np.ndarray) -> int:
    """The number that a picture (H, W, 3) of any size shows; -1 if it shows none, or is not upright."""
    height, width = rgb.shape[:2]
    centers = (width / 2 + _STRIP * (np.arange(_BITS) + 0.5 - _BITS / 2) * height / HEIGHT).astype(int)
    if centers[0] < 0 or centers[-1] >= width:
        return -1
    rows = [slice(int(height * f) - height // 16, int(height * f) + height // 16 + 1) for f in (0.3, 0.7)]
    upper, lower = (rgb[row][:, centers].mean((0, 2)) > 127 for row in rows)
    return int((upper << np.arange(_BITS)).sum()) if (upper ^ lower).all() else -1


@dataclass(frozen=True)
class Case:
    """A file or folder, and what is right for it.

    Args:
        name: of the file or folder.
        write: creates it.
        frames: the numbers of its frames, or their count if they are too small to be read; None if it is broken and
            must be named; "decode" if a plain decode by FFmpeg tells the frames, or it may be named.
        promised: number of frames that its header promises, for a file that may be cut off.
    """

    name: str
    write: Callable[[Path], object]
    frames: Sequence[int] | int | str | None = "decode"
    promised: int | None = None

    @property
    def stem(self) -> str:
        return Path(self.name).stem


# ---- videos ----

X264 = {"crf": "12", "preset": "ultrafast"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:crf=12:keyint=8:pools=1"}
VP8 = {"g": "8", "crf": "8", "b": "2M", "deadline": "realtime", "cpu-used": "8"}
VP9 = {"g": "8", "crf": "12", "deadline": "realtime", "cpu-used": "8"}
FASTSTART = {"movflags": "faststart"}
MJPEG: dict[str, Any] = {"codec": "mjpeg", "pix": "yuvj420p", "options": {"qscale": "2"}}


def video(
    path: Path,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    *,
    pix: str = "yuv420p",
    form: str | None = None,
    numbers: Sequence[int] = range(NUM_FRAMES),
    times: Callable[[int], int] = lambda i: i,
    rate: int = 25,
    make: Picture = picture,
    container: dict[str, str] | None = None,
    setup: Callable[[Any], object] | None = None,
    audio: bool = False,
) -> Path:
    """Writes a video.

    Args:
        form: FFmpeg's name of the container; by default that of the suffix.
        times: of the i-th frame, in units of 1 / rate.
        setup: is called with the stream before it is opened.
    """
    with av.open(str(path), "w", format=form, options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options={**(X264 if codec == "libx264" else {}), **(options or {})})
        first = make(numbers[0])
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix
        stream.codec_context.thread_count = 1
        if setup:
            setup(stream)
        sound = file.add_stream("aac" if form != "webm" else "libopus", rate=48000, layout="mono") if audio else None
        for i, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(make(number)), format="rgb24").reformat(format=pix)
            frame.pts, frame.time_base = times(i), Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound is not None:
            _mux_sound(file, sound)
    return path


def _mux_sound(file: Any, stream: Any) -> None:
    for i in range(48):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 1024 * i, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as file:
        _mux_sound(file, file.add_stream("aac", rate=48000, layout="mono"))


CODECS: dict[str, dict[str, Any]] = {  # name with suffix: arguments of `video`
    "h264.mp4": {"options": {"g": "8", "bf": "0"}},
    "h264_b.mp4": {"options": {"g": "12", "bf": "3", "b_strategy": "0"}},
    "h264_open.mkv": {"options": {"g": "8", "bf": "2", "x264-params": "open-gop=1:scenecut=0"}},
    "h264_intra.mov": {"options": {"g": "1"}},
    "h264_b_avi.avi": {"options": {"g": "12", "bf": "2", "b_strategy": "0"}},
    "h264_sound.ts": {"options": {"g": "8"}, "audio": True},
    "h264_flv.flv": {"options": {"g": "8"}},
    "h264_444.mkv": {"pix": "yuv444p", "options": {"g": "8"}},
    "h264_422_10.mp4": {"pix": "yuv422p10le", "options": {"g": "8"}},
    "h264_gray.mkv": {"pix": "gray", "options": {"g": "8"}},
    "h264_full_range.mp4": {"pix": "yuvj420p", "options": {"g": "8"}},
    "h264_interlaced.mp4": {"options": {"flags": "+ildct+ilme", "x264-params": "tff=1", "g": "8"}},
    "hevc.mp4": {"codec": "libx265", "options": X265},
    "hevc_b_10.mkv": {
        "codec": "libx265",
        "pix": "yuv420p10le",
        "options": {"preset": "medium", "x265-params": "log-level=none:crf=12:keyint=8:bframes=3:pools=1"},
    },
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"qscale": "2", "g": "8", "bf": "2"}},
    "mpeg4_avi.avi": {"codec": "mpeg4", "options": {"qscale": "2", "g": "8"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"qscale": "2", "g": "8", "bf": "2"}},
    "mpeg2_interlaced.ts": {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme", "qscale": "2", "g": "8"}},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"qscale": "2", "g": "8"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix": "yuvj420p", "options": {"qscale": "2"}},
    "mjpeg_mov.mov": {"codec": "mjpeg", "pix": "yuvj420p", "options": {"qscale": "2"}},
    "vp8.webm": {"codec": "libvpx", "options": VP8},
    "vp9.webm": {"codec": "libvpx-vp9", "options": VP9},
    "vp9_444.mkv": {"codec": "libvpx-vp9", "pix": "yuv444p", "options": VP9},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "crf": "20", "g": "8", "svtav1-params": "lp=1"}},
    "prores.mov": {"codec": "prores_ks", "pix": "yuv422p10le"},
    "prores_alpha.mov": {"codec": "prores_ks", "pix": "yuva444p10le", "options": {"profile": "4"}},
    "ffv1.mkv": {"codec": "ffv1", "options": {"level": "3", "slicecrc": "1", "slices": "4"}},
    "ffv1_gray16.mkv": {"codec": "ffv1", "pix": "gray16le"},
    "ffv1_rgba.mkv": {"codec": "ffv1", "pix": "bgra"},
    "qtrle.mov": {"codec": "qtrle", "pix": "argb"},
    "vp8_ogg.ogv": {"codec": "libvpx", "form": "ogg", "options": VP8},
    "wmv2.wmv": {"codec": "wmv2", "options": {"qscale": "2"}},
    "flv1.flv": {"codec": "flv", "options": {"qscale": "2", "g": "8"}},
    "h263.3gp": {"codec": "h263", "options": {"qscale": "2"}, "make": lambda n: _of_176x144(n)},
    "huffyuv.avi": {"codec": "huffyuv", "pix": "yuv422p"},
    "raw.avi": {"codec": "rawvideo", "pix": "bgr24"},
    "gif.gif": {"codec": "gif", "pix": "rgb8"},
    "dnxhd_mxf.mxf": {"codec": "mpeg2video", "options": {"qscale": "2", "g": "8"}},
    "jpeg2000.mkv": {"codec": "jpeg2000", "pix": "rgb24"},
    "png.mov": {"codec": "png", "pix": "rgb24"},
}  # fmt: skip

ODD: dict[str, dict[str, Any]] = {
    "variable_rate.mp4": {"times": lambda i: 2 * i + i % 3 // 2 + i * i // 40},
    "late_start.mkv": {"times": lambda i: i + 90},
    "negative_start.ts": {"times": lambda i: i - 40},
    "one_frame.mp4": {"numbers": [5]},
    "two_frames.avi": {"numbers": [5, 6]},
    "high_rate.mkv": {"rate": 1000},
    "low_rate.mp4": {"rate": 1},
    "fragmented.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "8"}},
    "no_cues_live.webm": {"form": "webm", "container": {"live": "1"}, "codec": "libvpx", "options": VP8},
    "matroska_named.mp4": {"form": "matroska"},
    "mp4_named.avi": {"form": "mp4"},
    "avi_named.mov": {"form": "avi"},
    "ts_named.mp4": {"form": "mpegts"},
    "flv_named.mkv": {"form": "flv"},
    "sound_first.mkv": {"audio": True},
    "many_keyframes_faststart.mp4": {"options": {"g": "1"}, "container": FASTSTART},
    "two hundred % #1 'ä'.mp4": {},
    "-leading-dash.mp4": {},
    "h264_in_one_gop.mp4": {"options": {"g": "999", "bf": "2", "sc_threshold": "0"}},
}  # fmt: skip

SIZES = [(1, 1), (2, 2), (3, 5), (17, 1), (3, 33), (16, 16), (35, 63), (2000, 2)]

_TURNED: dict[str, tuple[tuple[int, int, int, int], Picture]] = {  # display matrix, and how the stored picture differs
    "clockwise": ((0, 1, -1, 0), lambda n: np.rot90(picture(n), 1)),
    "half_turn": ((-1, 0, 0, -1), lambda n: np.rot90(picture(n), 2)),
    "counter_clockwise": ((0, -1, 1, 0), lambda n: np.rot90(picture(n), -1)),
    "mirrored": ((-1, 0, 0, 1), lambda n: np.fliplr(picture(n))),
    "upside_down": ((1, 0, 0, -1), lambda n: np.flipud(picture(n))),
    "transposed": ((0, 1, 1, 0), lambda n: picture(n).transpose(1, 0, 2)),
    "transposed_other": ((0, -1, -1, 0), lambda n: np.rot90(picture(n), 2).transpose(1, 0, 2)),
}


def turned(path: Path, matrix: tuple[int, int, int, int], make: Picture) -> None:
    data = bytearray(video(path, make=make).read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def _of_176x144(number: int) -> np.ndarray:
    """In a size that H.263 knows."""
    return cv2.resize(picture(number), (216, 144))[:, 20:196]


# ---- damage ----

BASES: dict[str, tuple[dict[str, Any], bool]] = {  # arguments of `video`; whether the header promises an amount
    "mp4": ({"options": {"g": "8", "bf": "2"}, "container": FASTSTART}, True),
    "end.mp4": ({"options": {"g": "8"}}, True),
    "frag.mp4": ({"container": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "8"}}, False),
    "mov": ({**MJPEG, "container": FASTSTART}, True),
    "mkv": ({"options": {"g": "8", "bf": "2"}}, True),
    "ffv1.mkv": ({"codec": "ffv1", "options": {"level": "3", "slicecrc": "1", "slices": "4"}}, True),
    "webm": ({"codec": "libvpx", "options": VP8}, True),
    "avi": ({"codec": "mpeg4", "options": {"qscale": "2", "g": "8"}}, True),
    "mjpeg.avi": ({"codec": "mjpeg", "pix": "yuvj420p", "options": {"qscale": "2"}}, True),
    "flv": ({"options": {"g": "8"}}, True),
    "wmv": ({"codec": "wmv2", "options": {"qscale": "2", "g": "8"}}, True),
    "ts": ({"options": {"g": "8"}}, False),
    "mpg": ({"codec": "mpeg2video", "options": {"qscale": "2", "g": "8"}}, False),
    "ogv": ({"codec": "libvpx", "form": "ogg", "options": VP8}, False),
    "gif": ({"codec": "gif", "pix": "rgb8"}, False),
    "hevc.mkv": ({"codec": "libx265", "options": X265}, True),
}  # fmt: skip

Damage = Callable[[bytes, np.random.Generator], bytes]


def flip_bits(data: bytes, rng: np.random.Generator, count: int = 12) -> bytes:
    found = bytearray(data)
    for at in rng.integers(len(data) // 5, len(data), count):
        found[at] ^= 1 << int(rng.integers(8))
    return bytes(found)


def zero_block(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data) // 3, len(data) // 2))
    length = len(data) // 12
    return data[:start] + bytes(length) + data[start + length :]


def swap_blocks(data: bytes, rng: np.random.Generator) -> bytes:
    third = len(data) // 3
    size = len(data) // 20
    one, other = data[third : third + size], data[2 * third : 2 * third + size]
    return data[:third] + other + data[third + size : 2 * third] + one + data[2 * third + size :]


DAMAGES: dict[str, Damage] = {
    "cut05": lambda data, rng: data[: len(data) // 20],
    "cut35": lambda data, rng: data[: len(data) * 35 // 100],
    "cut70": lambda data, rng: data[: len(data) * 70 // 100],
    "cut97": lambda data, rng: data[: len(data) * 97 // 100],
    "flipped": flip_bits,
    "zeroed": zero_block,
    "swapped": swap_blocks,
    "headless": lambda data, rng: bytes(64) + data[64:],
    "missing": lambda data, rng: data[: len(data) * 2 // 5] + data[len(data) * 9 // 20 :],
    "tail": lambda data, rng: data + rng.bytes(3000),
}
_CUTS = ("cut05", "cut35", "cut70")


def damaged(path: Path, base: str, damage: Damage, seed: int) -> None:
    options = BASES[base][0]
    video(path, **options)
    path.write_bytes(damage(path.read_bytes(), np.random.default_rng(seed)))


def swapped_packets(path: Path) -> None:
    """Packets 9 and 10 exchange their places, with the times of their places."""
    source = video(path.with_name("source.mkv"), options={"g": "999", "bf": "0"})
    with av.open(str(source)) as read, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(read.streams.video[0])
        packets = [packet for packet in read.demux(video=0) if packet.size]
        times = [(packet.pts, packet.dts) for packet in packets]
        packets[9], packets[10] = packets[10], packets[9]
        for packet, (pts, dts) in zip(packets, times):
            packet.pts, packet.dts, packet.stream = pts, dts, stream
            file.mux(packet)
    source.unlink()


def patched(path: Path, before: bytes, change: Callable[[bytearray, int], object], **options: Any) -> None:
    """A video of which `change(data, offset of the end of the bytes `before`)` changes some bytes."""
    data = bytearray(video(path, **options).read_bytes())
    change(data, data.index(before) + len(before))
    path.write_bytes(data)


def put(form: str, offset: int, *values: float) -> Callable[[bytearray, int], None]:
    return lambda data, at: struct.pack_into(form, data, at + offset, *values)


CLAIMS: dict[str, tuple[bytes, Callable[[bytearray, int], object], dict[str, Any]]] = {
    "duration_of_years.mp4": (b"mvhd", put(">I", 16, 0xFFFFFFF0), {}),
    "time_scale_zero.mp4": (b"mdhd", put(">I", 12, 0), {}),
    "size_of_65535.mp4": (b"avc1", put(">HH", 24, 65535, 65535), {}),
    "million_samples.mp4": (b"stsz", put(">I", 8, 0x7FFFFFFF), {}),
    "edit_list.mp4": (b"elst", put(">i", 12, 5 * 512), {"options": {"g": "1", "bf": "0"}}),
    "duration_of_ages.mkv": (b"\x44\x89\x88", put(">d", 0, 1e15), {}),
    "million_frames.avi": (b"avih", put("<I", 20, 1 << 30), {"codec": "mpeg4"}),
    "rate_of_zero.avi": (b"vids", put("<II", 20, 0, 0), {"codec": "mpeg4"}),
    "raw_of_65535.avi": (b"strf", put("<ii", 8, 65535, 65535), {"codec": "rawvideo", "pix": "bgr24"}),
    "size_of_16000.mkv": (b"\xb0\x81", put(">B", 0, 255), {"codec": "ffv1"}),
}


# ---- files that are no videos ----


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content)


def cover_only(path: Path) -> None:
    jpeg = cv2.imencode(".jpg", picture(1))[1].tobytes()
    with av.open(str(path), "w", format="matroska") as file:
        file.add_attachment("cover.jpg", "image/jpeg", jpeg)
        _mux_sound(file, file.add_stream("aac", rate=48000, layout="mono"))


NOT_MEDIA: dict[str, Callable[[Path], object]] = {
    "empty.mp4": lambda path: path.write_bytes(b""),
    "noise.mp4": lambda path: path.write_bytes(np.random.default_rng(1).bytes(5000)),
    "zeros.mkv": lambda path: path.write_bytes(bytes(5000)),
    "page.mp4": text("<!DOCTYPE html><html><body>404 not found</body></html>\n" * 20),
    "one_byte.avi": lambda path: path.write_bytes(b"R"),
    "sound_only.mp4": sound_only,
    "cover_only.mkv": cover_only,
    "playlist.mp4": text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nh264_flv.flv\n#EXT-X-ENDLIST\n"),
    "live_playlist.mkv": text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nh264_flv.flv\n"),
    "concat.mp4": text("ffconcat version 1.0\nfile 'h264.mp4'\n"),
    "session.avi": text("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
    "picture.mp4": lambda path: path.write_bytes(cv2.imencode(".png", picture(3))[1].tobytes()),
    "dangling.mp4": lambda path: path.symlink_to("nowhere.mp4"),
    "loop.mp4": lambda path: path.symlink_to(path.name),
    "pipe.mp4": lambda path: os.mkfifo(path),
    "empty_folder.mp4": lambda path: path.mkdir(),
    "device.mp4": lambda path: path.symlink_to("/dev/zero"),
}


# ---- frame folders ----


def folder(
    path: Path,
    names: Sequence[str] | str = "{:05d}.jpg",
    numbers: Sequence[int] = range(NUM_FRAMES),
    change: Callable[[np.ndarray], np.ndarray] = lambda bgr: bgr,
    then: Callable[[Path], object] = lambda path: None,
) -> None:
    """Writes a frame folder.

    Args:
        names: a pattern that is filled with the position of each frame, counted from 1, or all names.
        change: of each picture.
        then: is called with the folder at the end.
    """
    path.mkdir()
    (path / "fps").write_text("25")
    for i, number in enumerate(numbers):
        name = names.format(i + 1) if isinstance(names, str) else names[i]
        bgr = change(picture(number))
        suffix = Path(name).suffix.lower()
        encoded = cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [])[1]
        (path / name).write_bytes(encoded.tobytes())
    then(path)


def bomb(path: Path) -> None:
    """A PNG whose header claims 40000 x 40000 pixels, all of them zero: 1.6 billion pixels in 1.5 MB."""
    row = b"\0" + bytes(40000)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 400) for _ in range(100)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.unlink()
    write(path)


def folder_image(path: Path, number: int) -> None:
    cv2.imwrite(str(path), picture(number))


_EVERY_5TH = [f"{5 * i:06d}.jpg" for i in range(1, NUM_FRAMES + 1)]
_MIXED = [f"{i:05d}{suffix}" for i, suffix in zip(range(1, NUM_FRAMES + 1), (".jpg", ".JPG", ".jpeg") * NUM_FRAMES)]
FOLDERS: dict[str, Case] = {}


def _folder(name: str, frames: Sequence[int] | int | str | None, **options: Any) -> None:
    FOLDERS[name] = Case(name, lambda path: folder(path, **options), frames)


_folder("plain", _ALL)
_folder("from_zero", _ALL, names=[f"{i:05d}.jpg" for i in _ALL])
_folder("unpadded", _ALL, names="frame{}.jpg")
_folder("every_5th", _ALL, names=_EVERY_5TH)
_folder("timestamps", _ALL, names=[f"{1700000000000 + 33 * i + i % 2}.jpg" for i in _ALL])
_folder("one_missing", [i for i in _ALL if i != 6], then=lambda path: (path / "00007.jpg").unlink())
_folder("mixed_suffixes", _ALL, names=_MIXED)
_folder("png", _ALL, names="{:05d}.png")
_folder("webp", _ALL, names="{:05d}.webp")
_folder("bmp", _ALL, names="{:05d}.bmp")
_folder("gray", _ALL, change=lambda bgr: bgr[..., 0])
_folder("alpha", _ALL, names="{:05d}.png", change=lambda bgr: np.dstack([bgr, bgr[..., 0]]))
_folder("deep", _ALL, names="{:05d}.png", change=lambda bgr: bgr[..., 0].astype(np.uint16) * 257)
_folder("single", [7], numbers=[7])
_folder("of_mac", _ALL, then=lambda path: [(path / f"._{i:05d}.jpg").write_bytes(b"\0\5\x16\7") for i in range(1, 9)])
_folder("of_windows", _ALL, then=lambda path: (path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0"))
_folder("damaged", None, then=lambda path: half(path / "00012.jpg"))
_folder("emptied", None, then=lambda path: (path / "00012.jpg").write_bytes(b""))
_folder("page_in_it", None, then=lambda path: (path / "00012.jpg").write_text("<html>"))
_folder("other_size", None, then=lambda path: cv2.imwrite(str(path / "00012.jpg"), np.zeros((20, 30, 3), np.uint8)))
_folder("with_bomb", None, names="{:05d}.png", then=lambda path: bomb(path / "00012.png"))
_folder("with_pipe", None, then=lambda path: _replace(path / "00012.jpg", os.mkfifo))
_folder(
    "with_loop", None, then=lambda path: ((path / "00012.jpg").unlink(), (path / "00012.jpg").symlink_to("00012.jpg"))
)
_folder("empty", None, numbers=[])
_folder(
    "two_families", None, then=lambda path: [cv2.imwrite(str(path / f"mask_{i:05d}.png"), picture(i)) for i in _ALL]
)


def video_cases() -> list[Case]:
    """All video files, from the most ordinary to the most broken."""
    cases = [Case(name, _writer(options), _frames_of(name)) for name, options in CODECS.items()]
    cases += [Case(name, _writer(options), options.get("numbers", _ALL)) for name, options in ODD.items()]
    cases += [Case(f"{name}.mp4", _turner(*how), _ALL) for name, how in _TURNED.items()]
    for width, height in SIZES:
        make = _small(width, height)
        cases.append(Case(f"{width}x{height}.mkv", _writer({"codec": "ffv1", "pix": "bgr0", "make": make}), NUM_FRAMES))
    cases += [Case(name, _patcher(*patch), "decode") for name, patch in CLAIMS.items()]
    cases.append(Case("swapped_packets.mkv", swapped_packets, "decode"))
    for i, (base, (_, promises)) in enumerate(BASES.items()):
        for j, (damage, change) in enumerate(DAMAGES.items()):
            promised = NUM_FRAMES if promises and damage in _CUTS else None
            cases.append(
                Case(f"{damage}_{i}.{base.split('.')[-1]}", _damager(base, change, 100 * i + j), "decode", promised)
            )
    cases += [Case(name, write, None) for name, write in NOT_MEDIA.items()]
    assert len({case.stem for case in cases}) == len(cases)
    return cases


def _frames_of(name: str) -> Sequence[int] | str:
    return "decode" if name == "vp8_ogg.ogv" else _ALL  # Ogg states no rate for VP8, so it has no timeline


def _writer(options: dict[str, Any]) -> Callable[[Path], object]:
    return lambda path: video(path, **options)


def _turner(matrix: tuple[int, int, int, int], make: Picture) -> Callable[[Path], object]:
    return lambda path: turned(path, matrix, make)


def _small(width: int, height: int) -> Picture:
    return lambda n: np.full((height, width, 3), 10 * n, np.uint8)


def _patcher(
    before: bytes, change: Callable[[bytearray, int], object], options: dict[str, Any]
) -> Callable[[Path], object]:
    return lambda path: patched(path, before, change, **options)


def _damager(base: str, change: Damage, seed: int) -> Callable[[Path], object]:
    return lambda path: damaged(path, base, change, seed)


# ---- the reference ----


@dataclass(frozen=True)
class Decoded:
    """What a plain decode by FFmpeg gives.

    Args:
        frames: RGB uint8 (H, W, 3).
        packets: number of packets that hold a picture; a damaged file decodes to fewer pictures.
        is_damaged: the decoder or the demuxer reported an error, or marked a picture as corrupt.
    """

    frames: list[np.ndarray]
    packets: int
    is_damaged: bool


def plain_decode(path: Path) -> Decoded:
    """Every picture of a file, by PyAV alone."""
    frames, num_packets, is_damaged = [], 0, False
    try:
        with av.open(str(path)) as file:
            stream = file.streams.best("video")
            if stream is None:
                return Decoded([], 0, True)
            stream.codec_context.thread_count = 1
            packets = file.demux(stream)
            while True:
                try:
                    packet = next(packets)
                except StopIteration:
                    break
                except av.FFmpegError:
                    packet, is_damaged = av.Packet(), True
                try:
                    pictures = stream.codec_context.decode(packet)
                except av.FFmpegError:
                    pictures, is_damaged = [], True
                num_packets += bool(packet.size) and not packet.is_discard
                is_damaged |= any(picture.is_corrupt for picture in pictures)
                frames += [picture.to_ndarray(format="rgb24") for picture in pictures]
                if not packet.size:
                    break
    except (av.FFmpegError, OSError, ValueError):
        return Decoded(frames, num_packets, True)
    return Decoded(frames, num_packets, is_damaged)
