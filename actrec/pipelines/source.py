"""The decode workers: a plan in, pictures or encoded bytes out. Threads: PyAV, OpenCV and torch release the GIL."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from actrec.config import FLOW_CHANNELS
from actrec.data import media
from actrec.data.index import Index, Media, read_image
from actrec.data.plan import EvalPlan, TrainPlan
from actrec.pipelines.graph import IMAGES, Kind
from actrec.pipelines.resize import resize


@dataclass(frozen=True)
class Sample:
    """A fetched sample, or the reason why there is none.

    Args:
        row: of the list.
        data: for "boxes" uint8 (U, H, W, C), cropped (training) and resized, None where they were written into the
            batch; else the bytes of each image (of flow `FLOW_CHANNELS` for each picture), or of the video.
        wanted: (U,) ascending positions of the pictures, relative to the video's first frame.
        gather: (clips, T) places in `wanted` of the clips' frames.
        clamped: how many of `wanted` lay past the end and became the last picture.
        decoded: pictures that the decoder worked out; 0 for folders and where DALI decodes.
    """

    row: int
    kind: Kind = "boxes"
    media: Media | None = None
    plan: TrainPlan | EvalPlan | None = None
    data: np.ndarray | list[np.ndarray] | None = None
    wanted: np.ndarray | None = None
    gather: np.ndarray | None = None
    clamped: int = 0
    decoded: int = 0
    error: str | None = None


def fetch_boxes(
    row: int,
    index: Index,
    found: Media,
    plan: TrainPlan | EvalPlan,
    box: tuple[int, int, int, int],
    shape: tuple[int, int],
    writer: Callable[[np.ndarray], Callable[[int, np.ndarray], None]] | None,
    *,
    certify: bool,
) -> Sample:
    """Every frame that the plan needs, once: the box (x, y, w, h) of it, resized to shape (width, height).

    Args:
        writer: given the sample's `gather`, makes a function that receives the pictures one by one, with their places
            in `wanted`; the sample then has no data. None: they are kept.
        certify: decode a video of unknown worth to its end, so that the next time only what is needed is decoded.

    Raises:
        MediaError, FileNotFoundError: the file cannot be read.
    """
    wanted, gather = _wanted(plan)
    channels = FLOW_CHANNELS if found.flow else 3
    kept = np.empty((1 if writer else len(wanted), *shape[::-1], channels), np.uint8)
    write = writer(gather) if writer else None
    region = media.Region(found.width, found.height, *box)

    def receive(i: int, rgb: np.ndarray) -> None:
        picture = kept[0 if write else i]
        resize(rgb, out=picture)
        if write:
            write(i, picture)

    sample = Sample(row, "boxes", found, plan, None if writer else kept, wanted, gather)
    if found.flow:
        read = functools.lru_cache(maxsize=FLOW_CHANNELS)(functools.partial(_read_flow, region=region, shape=shape))
        for i, position in enumerate(wanted.tolist()):
            receive(i, np.concatenate([read(path) for path in found.images(position)], axis=-1))
        return sample
    if found.template:
        for i, position in enumerate(wanted.tolist()):
            receive(i, region.cut(read_image(*found.images(position))))
        return sample
    known, certificate = index.certificate(row)
    certify = certify and not known
    try:
        decoded = media.read(found.path, wanted + found.start, receive, certificate, region=region, certify=certify)
    except media.ChangedError:
        index.forget(row)
        decoded = media.read(found.path, wanted + found.start, receive, region=region)
    if certify:
        index.learn(row, decoded.certificate)
    return replace(sample, clamped=decoded.clamped, decoded=decoded.decoded)


def fetch_encoded(row: int, found: Media, plan: TrainPlan | EvalPlan, kind: Kind) -> Sample:
    """The bytes of a video file, or of the wanted images of a folder, for DALI to decode.

    Raises:
        MediaError: a file is missing or empty.
    """
    wanted, gather = _wanted(plan)
    paths = [path for i in wanted.tolist() for path in found.images(i)] if kind in IMAGES else [found.path]
    buffers = []
    for path in paths:
        try:
            buffers.append(np.fromfile(path, np.uint8))
        except OSError as error:
            raise media.MediaError(path, error.strerror or str(error)) from None
        if not len(buffers[-1]):
            raise media.MediaError(path, "the file is empty (0 bytes)")
    return Sample(row, kind, found, plan, buffers, wanted, gather)


def _read_flow(path: str, region: media.Region, shape: tuple[int, int]) -> np.ndarray:
    """The box of a grey image, resized to shape (width, height): uint8 (height, width, 1)."""
    out = np.empty((*shape[::-1], 1), np.uint8)
    resize(region.cut(read_image(path, grey=True))[..., None], out=out)
    return out


def _wanted(plan: TrainPlan | EvalPlan) -> tuple[np.ndarray, np.ndarray]:
    wanted, gather = np.unique(plan.frames, return_inverse=True)
    return wanted, gather.reshape(-1, plan.frames.shape[-1])
