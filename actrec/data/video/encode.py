"""Write pictures to a video file: for `actrec prepare`, the toy dataset and the tests."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Generator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from actrec.data.video.container import demux, open_audio
from actrec.files import errors_named
from actrec.leftovers import temporary_path

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
CODECS_WITH_B_FRAMES = ("libx264", "libx265", "mpeg4")

# Code points of ITU-T H.273: primaries, transfer, matrix; then swscale's number of the matrix.
COLORS = {"bt601": (6, 6, 6, 5), "bt709": (1, 1, 1, 1)}
# With B-frames, x264's macroblock tree gives different pixels from run to run, even with one thread.
REPEATABLE = {"libx264": {"mbtree": "0"}}
_SOUND_CODECS = ("aac", "libopus")  # for sound that a container cannot hold
LIMITED, FULL = 1, 2  # AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG


class EncoderError(ValueError):
    """An encoder does not work on this machine, or not with these options."""


@functools.cache
def can_encode(codec: str) -> bool:
    """Whether an FFmpeg encoder works on this machine. It is opened once, for pictures of an ordinary size."""
    try:
        context = av.CodecContext.create(codec, "w")
        if not isinstance(context, av.VideoCodecContext):
            return False
        context.width, context.height, context.pix_fmt, context.time_base = 320, 256, "yuv420p", Fraction(1, 25)
        context.open()
    except (av.FFmpegError, ValueError):  # an unknown name is a ValueError
        return False
    return True


class VideoWriter:
    """Writes a video file completely or not at all. A context manager.

    Frames go to a temporary file. Leaving the block renames it to `path`; an exception inside the block removes it and
    leaves an older `path` as it was. There is one encoder thread, so the same frames and options give the same pixels.

        with VideoWriter(Path("a.mp4"), width=320, height=240, rate=25) as video:
            for rgb in frames:
                video.write(rgb)

    Args:
        path: the file. Its extension selects the container, see `CONTAINERS`.
        width, height: in pixels; even for yuv420p.
        rate: frames per second, such as 25 or Fraction(30000, 1001).
        time_base: the unit of timestamps, in seconds. Default: the duration of a frame.
        codec: an FFmpeg encoder: libx264, libx265, libvpx-vp9, mpeg4, mjpeg, ...
        options: of the encoder, as FFmpeg spells them, such as {"crf": "20"}.
        gop: the largest distance between two keyframes, in frames.
        bframes: the largest number of consecutive B-frames.
        pix_fmt: the pixel format that is encoded.
        color: the matrix for the conversion from RGB to YUV. The stream is tagged with it and with its primaries and
            transfer; AVI and mjpeg cannot store such tags.
        full_range: luma is 0 to 255 instead of 16 to 235. The stream is tagged with it. mjpeg requires it.
        sound_of: a video file with the sound to add, if it has any: its packets are copied, or transcoded to AAC (Opus
            in webm) if the container cannot hold their codec.
        sound_span: the seconds of that file at which `path` starts and ends.

    Attributes:
        sound: what happens to the sound: "copied", "transcoded", or "none" if there is none that can be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        rate: int | Fraction,
        time_base: Fraction | None = None,
        codec: str = "libx264",
        options: Mapping[str, str] | None = None,
        gop: int = 50,
        bframes: int = 0,
        pix_fmt: str = "yuv420p",
        color: Literal["bt601", "bt709"] = "bt601",
        full_range: bool = False,
        sound_of: str | os.PathLike[str] | None = None,
        sound_span: tuple[float, float] = (0.0, math.inf),
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
            raise ValueError("mjpeg with full_range False: expected True, the only range that mjpeg has")
        self._shape = (height, width, 3)
        self._rate = Fraction(rate)
        self._time_base = time_base or 1 / self._rate
        self._codec = codec
        self._options = {**REPEATABLE.get(codec, {}), **(options or {})}
        self._gop = gop
        self._bframes = bframes
        self._pix_fmt = pix_fmt
        self._color = COLORS[color]
        self._range = FULL if full_range else LIMITED
        self._part = temporary_path(self.path)
        self._num_frames = 0
        self._sound_of, self._sound_span = sound_of, sound_span
        self._sound: Sound | None = None
        self.sound = "none"

    def __enter__(self) -> VideoWriter:
        with errors_named(self._part, self.path):
            self._part.touch()  # FFmpeg opens the file late, and its error does not name it
        self._container = av.open(f"file:{self._part}", "w", format=CONTAINERS[self.path.suffix])
        try:
            self._stream = self._add_stream()
            self._open_encoder()
            self._add_sound()
        except BaseException:
            self._discard()
            raise
        return self

    def _add_stream(self) -> av.VideoStream:
        stream = self._container.add_stream(self._codec, rate=self._rate, options=self._options)
        if not isinstance(stream, av.VideoStream):
            raise ValueError(f"codec {self._codec!r}: expected an encoder of video")
        stream.height, stream.width, _ = self._shape
        stream.pix_fmt = self._pix_fmt
        context = stream.codec_context
        context.time_base = self._time_base
        context.thread_count = 1
        context.gop_size = self._gop
        context.max_b_frames = self._bframes
        context.color_primaries, context.color_trc, context.colorspace, _ = self._color
        context.color_range = self._range
        return stream

    def _open_encoder(self) -> None:
        try:
            self._stream.codec_context.open()
        except av.FFmpegError as error:
            height, width, _ = self._shape
            raise EncoderError(
                f"encoder {self._codec} does not open for {width}x{height} in {self._pix_fmt} ({error.strerror})"
            ) from None

    def _add_sound(self) -> None:
        if self._sound_of is None:
            return
        self._sound = Sound.open(self._sound_of, self._container, self._sound_span[0])
        if self._sound is not None:
            self.sound = "copied" if self._sound.is_copied else "transcoded"

    def write(self, rgb: np.ndarray, pts: int | None = None) -> None:
        """Appends a frame: uint8 (height, width, 3).

        Args:
            pts: its timestamp. Default: what follows from the rate.
        """
        if rgb.dtype != np.uint8 or rgb.shape != self._shape:
            raise ValueError(f"frame of {rgb.dtype} {rgb.shape}: expected uint8 {self._shape}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame = frame.reformat(format=self._pix_fmt, dst_colorspace=self._color[3], dst_color_range=self._range)
        self._encode(frame, pts)

    def write_yuv420(self, planes: np.ndarray, pts: int | None = None) -> None:
        """Like `write`, without a conversion: uint8 (height * 3 // 2, width), in the matrix and range of the file."""
        height, width, _ = self._shape
        shape = (height * 3 // 2, width)
        if self._pix_fmt != "yuv420p" or planes.dtype != np.uint8 or planes.shape != shape:
            raise ValueError(f"planes of {planes.dtype} {planes.shape}: expected uint8 {shape} for {self._pix_fmt}")
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.colorspace, frame.color_range = self._color[3], self._range
        self._encode(frame, pts)

    def _encode(self, frame: av.VideoFrame, pts: int | None) -> None:
        frame.pts = round(self._num_frames / self._rate / self._time_base) if pts is None else pts
        frame.time_base = self._time_base
        self._mux(frame)
        self._num_frames += 1
        if self._sound is not None:
            with errors_named(self._part, self.path):
                self._sound.mux_until(float(frame.pts * self._time_base))

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            packets = self._stream.encode(frame)
        except av.FFmpegError as error:
            raise EncoderError(f"encoder {self._codec}: {error.strerror}") from None
        with errors_named(self._part, self.path):
            self._container.mux(packets)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            if not self._num_frames:
                raise ValueError(f"{self.path}: no frame was written; expected at least one")
            self._mux(None)
            with errors_named(self._part, self.path):
                if self._sound is not None:
                    self._sound.mux_until(self._sound_span[1] - self._sound_span[0])
                    self._sound.close()
                self._container.close()
                os.replace(self._part, self.path)
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        try:
            if self._sound is not None:
                self._sound.close()
            self._container.close()
        except av.FFmpegError:
            pass  # the header or trailer cannot be written: the file is removed anyway, and the first error is reported
        finally:
            self._part.unlink(missing_ok=True)


class Sound:
    """The sound of a video file, on its way into another one.

    Attributes:
        is_copied: its packets are copied; otherwise they are transcoded.
    """

    def __init__(
        self,
        source: InputContainer,
        stream: av.AudioStream,
        output: OutputContainer,
        target: av.AudioStream,
        start: float,
        *,
        is_copied: bool,
    ):
        self._source, self._output, self._target, self._start = source, output, target, start
        self.is_copied = is_copied
        self._packets = self._copied(stream) if is_copied else self._transcoded(stream)
        self._next = next(self._packets, None)

    @classmethod
    def open(cls, path: str | os.PathLike[str], output: OutputContainer, start: float) -> Sound | None:
        """Adds a stream to a file that is written. None if the source has no sound that can be used.

        Args:
            start: second of the source at which the output starts.
        """
        found = open_audio(path)
        if found is None:
            return None
        source, stream = found
        name = stream.codec_context.codec.canonical_name
        is_copied = name in output.supported_codecs
        try:
            if is_copied:
                target = output.add_stream_from_template(stream)
            else:
                codec = next(codec for codec in _SOUND_CODECS if codec in output.supported_codecs)
                added = output.add_stream(codec, rate=48000)
                assert isinstance(added, av.AudioStream)
                target = added
                target.layout = "stereo" if stream.codec_context.channels > 1 else "mono"
            return cls(source, stream, output, target, start, is_copied=is_copied)
        except (av.FFmpegError, ValueError, StopIteration):
            source.close()
            return None

    def mux_until(self, seconds: float) -> None:
        """Writes what is heard up to a second of the output."""
        while self._next is not None and _second_of(self._next) < seconds:
            with contextlib.suppress(ValueError):  # FFmpeg refuses a packet, such as one whose time runs backward
                self._output.mux(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        self._packets.close()
        self._source.close()

    def _copied(self, stream: av.AudioStream) -> Generator[av.Packet, None, None]:
        assert stream.time_base is not None
        shift = round(self._start / stream.time_base)
        try:
            for packet in demux(self._source, stream):
                if packet.dts is None or packet.pts is None:
                    continue  # the empty packet at the end
                if shift > 0 and packet.pts < shift:
                    continue  # before the first picture; negative times are what an encoder put before its input
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._target
                yield packet
        except av.FFmpegError:
            return  # the source is torn

    def _transcoded(self, stream: av.AudioStream) -> Generator[av.Packet, None, None]:
        try:
            for packet in demux(self._source, stream):
                try:
                    frames = stream.decode(packet)
                except av.FFmpegError:
                    continue
                for frame in frames:
                    if frame.pts is None or frame.time_base is None:
                        continue
                    frame.pts -= round(self._start / frame.time_base)
                    if frame.pts < 0:
                        continue  # before the first picture
                    yield from self._target.encode(frame)  # which resamples
        except av.FFmpegError:
            pass  # the source is torn
        yield from self._target.encode(None)


def _second_of(packet: av.Packet) -> float:
    return float((packet.dts or 0) * (packet.time_base or 0))
