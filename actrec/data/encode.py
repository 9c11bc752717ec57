"""Write RGB frames to a video file: what the toy dataset and the test fixtures are made with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
CODECS_WITH_B_FRAMES = ("libx264", "libx265", "mpeg4")

# Code points of ITU-T H.273: primaries, transfer, matrix; then swscale's own number of the matrix.
COLORS = {"bt601": (6, 6, 6, 5), "bt709": (1, 1, 1, 1)}
# x264's macroblock tree with B-frames gives other pixels from run to run, even with one thread.
REPEATABLE = {"libx264": {"mbtree": "0"}}
LIMITED, FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


class VideoWriter:
    """A video file that is there whole or not at all.

    A context manager. Frames go to `<path>.part`; leaving the block renames it to `path`, and an exception inside the
    block removes it and leaves an older `path` as it was. One encoder thread, so that the same frames and options
    make the same pixels.

        with VideoWriter(Path("a.mp4"), width=320, height=240, rate=25) as video:
            for rgb in frames:
                video.write(rgb)

    Args:
        path: the file; its extension picks the container (see CONTAINERS).
        width, height: in pixels; even for yuv420p.
        rate: frames a second, an int or a Fraction such as 30000/1001.
        codec: an FFmpeg encoder: libx264, libx265, libvpx-vp9, mpeg4, mjpeg, ...
        options: the encoder's own, as FFmpeg spells them, such as {"crf": "20"}.
        gop: most frames from one key frame to the next.
        bframes: most B-frames in a row.
        pix_fmt: what the encoder gets.
        color: the matrix that turns RGB into YUV; the stream is tagged with it and with its primaries and transfer
            (AVI and mjpeg have no place for that tag).
        full_range: luma from 0 to 255, not from 16 to 235; converted and tagged. mjpeg knows no other.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        rate: int | Fraction,
        codec: str = "libx264",
        options: Mapping[str, str] | None = None,
        gop: int = 50,
        bframes: int = 0,
        pix_fmt: str = "yuv420p",
        color: Literal["bt601", "bt709"] = "bt601",
        full_range: bool = False,
    ):
        self.path = Path(path)
        if self.path.suffix not in CONTAINERS:
            raise ValueError(f"{self.path}: extension {self.path.suffix!r}, expected one of {', '.join(CONTAINERS)}")
        if bframes and codec not in CODECS_WITH_B_FRAMES:
            raise ValueError(f"bframes {bframes} with {codec}: only {', '.join(CODECS_WITH_B_FRAMES)} have B-frames")
        if color not in COLORS:
            raise ValueError(f"color {color!r}: expected one of {', '.join(COLORS)}")
        if pix_fmt == "yuv420p" and (width % 2 or height % 2):
            raise ValueError(f"{width}x{height} in yuv420p: expected an even width and height")
        if codec == "mjpeg" and not full_range:
            raise ValueError("mjpeg with full_range False: expected True, it knows no other range")
        self._shape = (height, width, 3)
        self._rate = Fraction(rate)
        self._codec = codec
        self._options = {**REPEATABLE.get(codec, {}), **(options or {})}
        self._gop = gop
        self._bframes = bframes
        self._pix_fmt = pix_fmt
        self._color = COLORS[color]
        self._range = FULL if full_range else LIMITED
        self._part = self.path.with_name(self.path.name + ".part")
        self._num_frames = 0

    def __enter__(self) -> VideoWriter:
        self._part.touch()  # FFmpeg opens it late, and its error does not say which file
        self._container = av.open(str(self._part), "w", format=CONTAINERS[self.path.suffix])
        try:
            self._stream = self._add_stream()
        except BaseException:
            self._discard()
            raise
        return self

    def _add_stream(self) -> av.VideoStream:
        stream = self._container.add_stream(self._codec, rate=self._rate, options=self._options)
        stream.height, stream.width, _ = self._shape
        stream.pix_fmt = self._pix_fmt
        context = stream.codec_context
        context.time_base = 1 / self._rate
        context.thread_count = 1
        context.gop_size = self._gop
        context.max_b_frames = self._bframes
        context.color_primaries, context.color_trc, context.colorspace, _ = self._color
        context.color_range = self._range
        return stream

    def write(self, rgb: np.ndarray) -> None:
        """Append a frame: uint8, (height, width, 3)."""
        if rgb.dtype != np.uint8 or rgb.shape != self._shape:
            raise ValueError(f"frame of {rgb.dtype} {rgb.shape}: expected uint8 {self._shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format=self._pix_fmt, dst_colorspace=self._color[3], dst_color_range=self._range
        )
        frame.pts = self._num_frames
        frame.time_base = 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self._num_frames += 1

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            if not self._num_frames:
                raise ValueError(f"{self.path}: no frame was written; expected at least one")
            self._container.mux(self._stream.encode(None))
            self._container.close()
            os.replace(self._part, self.path)
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        try:
            self._container.close()
        except av.FFmpegError:
            pass  # a header or trailer that cannot be written: the file goes anyway, and the first error is told
        finally:
            self._part.unlink(missing_ok=True)
