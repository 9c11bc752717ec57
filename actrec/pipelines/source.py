"""The decode workers: a plan in, a finished uint8 buffer out. Threads: PyAV, OpenCV and torch release the GIL.

Two kinds of result: pixels already cropped and resized (`fetch_clip`, `fetch_pictures`), or the encoded bytes that DALI
decodes itself (`fetch_encoded`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actrec.data import media
from actrec.data.index import Index, Media, read_image
from actrec.data.plan import EvalPlan, TrainPlan
from actrec.pipelines.resize import resize


def fetch_clip(index: Index, source: Media, plan: TrainPlan, size: int, *, certify: bool) -> tuple[np.ndarray, int]:
    """The planned frames, cropped and resized. (uint8 (T, size, size, 3), clamped frames). Flips are left to the graph.

    Raises:
        MediaError, FileNotFoundError: the file cannot be read.
    """
    x, y, w, h = plan.box
    wanted, place = np.unique(plan.frames, return_inverse=True)
    distinct = np.empty((len(wanted), size, size, 3), np.uint8)

    def receive(i: int, rgb: np.ndarray) -> None:
        resize(_planned_size(rgb, source)[y : y + h, x : x + w], out=distinct[i])

    clamped = read_frames(index, source, wanted, receive, certify=certify)
    return (distinct if len(wanted) == len(place) and (np.diff(place) > 0).all() else distinct[place]), clamped


def fetch_pictures(index: Index, source: Media, plan: EvalPlan, *, certify: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Every frame that some view needs, once, resized as a whole.

    Returns:
        (uint8 (frames, height, width, 3), int64 (clips, T) places of the clips' frames in it, clamped frames)

    Raises:
        MediaError, FileNotFoundError: the file cannot be read.
    """
    wanted, place = np.unique(plan.frames, return_inverse=True)
    width, height = plan.resize
    pictures = np.empty((len(wanted), height, width, 3), np.uint8)
    clamped = read_frames(
        index, source, wanted, lambda i, rgb: resize(_planned_size(rgb, source), out=pictures[i]), certify=certify
    )
    return pictures, place.reshape(plan.frames.shape), clamped


def fetch_encoded(source: Media, wanted: np.ndarray) -> list[np.ndarray]:
    """The bytes of a video file, or of the wanted images of a folder, for DALI to decode.

    Raises:
        MediaError: a file is missing or empty.
    """
    paths = [source.image(source.start + int(i)) for i in wanted] if source.template else [source.path]
    buffers = []
    for path in paths:
        try:
            buffers.append(np.fromfile(path, np.uint8))
        except OSError as error:
            raise media.MediaError(path, error.strerror or str(error)) from None
        if not len(buffers[-1]):
            raise media.MediaError(path, "the file is empty (0 bytes)")
    return buffers


def read_frames(
    index: Index, source: Media, wanted: np.ndarray, receive: Callable[[int, np.ndarray], None], *, certify: bool
) -> int:
    """Hands the wanted frames of a video file or folder to `receive`, in order. Returns how many were clamped.

    Args:
        wanted: ascending positions relative to the video's first frame.
        certify: decode a video of unknown worth to its end, so that the next time only what is needed is decoded.
    """
    if source.template:
        for i, position in enumerate(wanted):
            receive(i, read_image(source.image(source.start + int(position))))
        return 0
    known = index.certificates.get(source.path)
    unknown = source.path not in index.certificates
    decoded = media.read(source.path, wanted + source.start, receive, known, certify=certify and unknown)
    if decoded.complete and certify and unknown:
        index.certificates[source.path] = decoded.certificate
    return decoded.clamped


def _planned_size(rgb: np.ndarray, source: Media) -> np.ndarray:
    """An image of a folder may differ in size from the first, on which the plan was made."""
    if rgb.shape[:2] == (source.height, source.width):
        return rgb
    fitted = np.empty((source.height, source.width, 3), np.uint8)
    resize(rgb, out=fitted)
    return fitted
