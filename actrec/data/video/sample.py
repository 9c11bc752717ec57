"""Small videos with known pictures, which show whether something decodes them correctly."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError

from actrec.data.video.container import MediaError
from actrec.data.video.encode import EncoderError, VideoWriter, can_encode
from actrec.data.video.read import iter_frames

SIZE = (192, 256)  # height and width; every hardware decoder takes it
NUM_FRAMES = 6
FAR = 4.0  # of 255; a larger mean difference between two pictures is a fault


@dataclass(frozen=True)
class Sample:
    """How a video in a codec is made.

    Args:
        title: how the codec is usually written.
        encoder: of FFmpeg.
        extension: of the file.
        options: of the encoder.
    """

    title: str
    encoder: str
    extension: str = ".mkv"
    options: dict[str, str] = field(default_factory=dict)


SAMPLES = {  # by FFmpeg's names of codecs
    "h264": Sample("H.264", "libx264", ".mp4", {"crf": "15"}),
    "hevc": Sample("HEVC", "libx265", ".mp4", {"x265-params": "log-level=none", "crf": "15"}),
    "vp8": Sample("VP8", "libvpx", ".webm", {"crf": "10", "b": "4M"}),
    "vp9": Sample("VP9", "libvpx-vp9", ".webm", {"crf": "15", "b": "0"}),
    "av1": Sample("AV1", "libsvtav1", ".mp4", {"preset": "10", "crf": "5"}),
    "mpeg4": Sample("MPEG-4", "mpeg4", ".avi", {"q": "2"}),
    "mjpeg": Sample("MJPEG", "mjpeg", ".avi", {"q": "2"}),
}


def pictures() -> list[np.ndarray]:
    """Smooth RGB pictures, each brighter than the one before it: (height, width, 3) uint8."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    base = np.stack([20 + 60 * x / width, 30 + 60 * y / height, 80 - 60 * x / width], axis=-1)
    return [(base + 25 * n).astype(np.uint8) for n in range(NUM_FRAMES)]


def write_sample(folder: str | Path, codec: str) -> Path:
    """Writes a video of `pictures()`.

    Raises:
        EncoderError: FFmpeg cannot encode the codec here.
    """
    sample = SAMPLES[codec]
    is_full = codec == "mjpeg"
    if not is_full and not can_encode(sample.encoder):
        raise EncoderError(f"FFmpeg has no encoder {sample.encoder} here")
    path = Path(folder) / f"sample{sample.extension}"
    height, width = SIZE
    with VideoWriter(
        path, width=width, height=height, rate=25, codec=sample.encoder, options=sample.options, gop=3,
        pix_fmt="yuvj420p" if is_full else "yuv420p", full_range=is_full,
    ) as video:  # fmt: skip
        for picture in pictures():
            video.write(picture)
    return path


def fault_of_decoding(codec: str) -> str | None:
    """Why actrec cannot decode videos in a codec here, in one line; None if it can.

    Raises:
        EncoderError: FFmpeg cannot encode the codec here, so there is nothing to try it with. But it has a decoder.
    """
    if not _has_decoder(codec):
        return "FFmpeg has no decoder for it"
    with tempfile.TemporaryDirectory() as folder:
        path = write_sample(folder, codec)
        try:
            found = [rgb for rgb, _ in iter_frames(path)]
        except MediaError as error:
            return error.reason
    return difference(found, pictures())


def _has_decoder(codec: str) -> bool:
    try:
        Codec(codec, "r")
    except UnknownCodecError:
        return False
    return True


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> str | None:
    """What is wrong with decoded pictures; None if nothing is."""
    if [picture.shape for picture in found] != [picture.shape for picture in expected]:
        return f"{len(found)} pictures of {found[0].shape if len(found) else ()} came out instead of {len(expected)}"
    far = max(float(np.abs(a.astype(np.float32) - b).mean()) for a, b in zip(found, expected))
    return f"the pixels are wrong, by {far:.0f} of 255 in the mean" if far > FAR else None


def ffmpeg_version() -> str:
    """Of the FFmpeg in PyAV."""
    return str(getattr(av, "ffmpeg_version_info", "unknown"))
