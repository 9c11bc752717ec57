"""Extracts the frames of one video to a folder. The folder appears complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from actrec.config import ExtractOptions
from actrec.data.video.damage import DamageCount
from actrec.data.video.read import iter_pictures
from actrec.files import atomic_folder, writing
from actrec.tools.make.frame_rate import resampled
from actrec.tools.make.jobs import Stop, Stopped


def extract_video(
    path: Path | str,
    folder: Path,
    options: ExtractOptions,
    *,
    stop: Stop | None = None,
    damage: DamageCount | None = None,
) -> int:
    """Writes the frames of one video. `folder` appears complete or not at all.

    Args:
        stop: Called before each frame; True stops the extraction.
        damage: Counts the frames that decode with errors.

    Returns:
        The number of frames.

    Raises:
        FileNotFoundError, MediaError, cv2.error: The video cannot be used.
        OutputError: A file or folder cannot be written.
        Stopped: `stop` returned True.
    """
    count, size = 0, None
    with atomic_folder(folder) as part:
        pictures = iter_pictures(path, options.image_range, damage=damage)
        for picture, copies in resampled(pictures, path=path, fps=options.fps):
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
    """Number of frames of a complete folder; 0 if it does not exist. Other files, such as flow, are not counted."""
    try:
        names = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return 0
    count = 0
    while template.format(count + 1) in names:
        count += 1
    return count
