"""One video to one folder of frames, which appears whole or not at all."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import cv2

from actrec.data.video.read import iter_pictures
from actrec.files import atomic_folder, writing
from actrec.tools.make.frame_rate import resampled
from actrec.tools.make.jobs import Stop, Stopped


@dataclass(frozen=True)
class ImageOptions:
    """Size and quality of what is made out of a video's pictures.

    Args:
        short_side: of the frames; a smaller video stays as it is unless `upscale`. The long side keeps the aspect
            ratio, rounded to the nearest pixel, halves up.
        resize: exact width and height instead.
        upscale: enlarge smaller videos to `short_side`.
        quality: of the JPEGs.

    Raises:
        ValueError: a value that makes no sense.
    """

    short_side: int = 256
    resize: tuple[int, int] | None = None
    upscale: bool = False
    quality: int = 90

    def __post_init__(self):
        if self.short_side < 1:
            raise ValueError(f"short side {self.short_side}: expected at least 1")
        if self.resize and min(self.resize) < 1:
            raise ValueError(f"resize {self.resize[0]}x{self.resize[1]}: expected at least 1x1")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality {self.quality}: expected 1 to 100")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the frames of a video of this displayed size."""
        if self.resize:
            return self.resize
        short, long = sorted((width, height))
        if short == self.short_side or (short < self.short_side and not self.upscale):
            return width, height
        long = (2 * long * self.short_side + short) // (2 * short)
        return (self.short_side, long) if width < height else (long, self.short_side)


@dataclass(frozen=True)
class ExtractOptions(ImageOptions):
    """What a frame folder holds.

    Args:
        fps: frames a second; None keeps every frame.
        template: file names, with one field for the number, which begins at 1.

    Raises:
        ValueError: a value that makes no sense.
    """

    fps: float | None = None
    template: str = "{:05d}.jpg"

    def __post_init__(self):
        super().__post_init__()
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps {self.fps}: expected a number above 0")
        _check_template(self.template)


def _check_template(template: str) -> None:
    wrong = f"template {template!r}: expected a file name with one number and .jpg, .jpeg or .png, such as {{:05d}}.jpg"
    try:
        names = {template.format(number) for number in (1, 2, 11)}
    except (ValueError, IndexError, KeyError, AttributeError):
        raise ValueError(wrong) from None
    plain = all(os.path.basename(name) == name and not name.startswith(".") for name in names)
    if len(names) < 3 or not plain or not template.endswith((".jpg", ".jpeg", ".png")) or template.count("{") != 1:
        raise ValueError(wrong)


def extract_video(path: Path, folder: Path, options: ExtractOptions, *, stop: Stop | None = None) -> int:
    """Writes the frames of one video; `folder` appears whole or not at all.

    Args:
        stop: asked before each frame.

    Returns:
        The number of frames.

    Raises:
        FileNotFoundError, MediaError, cv2.error: the video is unusable.
        OutputError: a file or folder cannot be written.
        Stopped: `stop` said so.
    """
    count, size = 0, None
    with atomic_folder(folder) as part:
        for picture, copies in resampled(iter_pictures(path), path=path, fps=options.fps):
            if stop and stop():
                raise Stopped
            size = size or options.size(picture.width, picture.height)
            data = _encoded(picture.bgr(*size), options)
            for _ in range(copies):
                count += 1
                with writing(folder), open(part / options.template.format(count), "wb") as file:
                    file.write(data)
    return count


def _encoded(bgr, options: ExtractOptions):
    extension = options.template[options.template.rindex(".") :]
    params = [] if extension == ".png" else [cv2.IMWRITE_JPEG_QUALITY, options.quality]
    done, data = cv2.imencode(extension, bgr, params)
    if not done:
        raise ValueError(f"a frame of {bgr.shape[1]}x{bgr.shape[0]} cannot be encoded as {extension}")
    return data


def count_frames(folder: Path, template: str) -> int:
    """Frames of a finished folder, 0 if there is none. It may hold other files (flow) beside them."""
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    count = 0
    while template.format(count + 1) in names:
        count += 1
    return count
