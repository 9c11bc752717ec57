"""The decode workers: a plan in, pictures or encoded bytes out. Threads: PyAV, OpenCV and torch release the GIL."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from actrec.config import FLOW_CHANNELS
from actrec.data.index import Index, Media
from actrec.data.index.probe import read_image
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.data.video.color import Region
from actrec.data.video.container import ChangedError, MediaError
from actrec.data.video.read import read_frames
from actrec.pipelines.dali.graph import IMAGES, Kind
from actrec.pipelines.workers.resize import resize


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
        decoded: pictures that the decoder worked out, `delivered` how many different ones of them were wanted; 0 for
            folders, where DALI decodes, and where another sample of the same file counts them.
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
    delivered: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Request:
    """What a sample wants of its file.

    Args:
        box, shape: this box (x, y, w, h) of each frame, resized to shape (width, height).
        writer: given the sample's `gather`, makes a function that receives the pictures one by one, with their places
            in `wanted`; the sample then has no data. None: they are kept.
    """

    row: int
    media: Media
    plan: TrainPlan | EvalPlan
    box: tuple[int, int, int, int]
    shape: tuple[int, int]
    writer: Callable[[np.ndarray], Callable[[int, np.ndarray], None]] | None


def fetch_boxes(requests: Sequence[Request], index: Index, *, certify: bool) -> list[Sample]:
    """Every frame that the plans need of one file or folder, once.

    Args:
        requests: all of the same path.
        certify: decode a video of unknown worth to its end, so that the next time only what is needed is decoded.

    Raises:
        MediaError, FileNotFoundError: the file cannot be read.
    """
    if requests[0].media.flow:
        return [_fetch_flow(request) for request in requests]
    receivers = [_Receiver(request) for request in requests]
    positions = np.unique(np.concatenate([receiver.positions for receiver in receivers]))
    for receiver in receivers:
        receiver.expect(positions)
    first = requests[0].media
    alone = receivers[0].region if len(requests) == 1 else None
    region = alone or Region.whole(first.width, first.height)

    def receive(i: int, rgb: np.ndarray) -> None:
        for receiver in receivers:
            receiver.receive(i, rgb if alone else receiver.region.cut(rgb))

    if first.template:
        for i, position in enumerate(positions.tolist()):
            receive(i, region.cut(read_image(first.image(position))))
        return [receiver.sample() for receiver in receivers]
    row = requests[0].row
    known, certificate = index.certificate(row)
    certify = certify and not known
    try:
        decoded = read_frames(first.path, positions, receive, certificate, region=region, certify=certify)
    except ChangedError:
        index.forget_certificate(row)
        decoded = read_frames(first.path, positions, receive, region=region)
    if certify:
        index.set_certificate(row, decoded.certificate)
    past = len(positions) - decoded.clamped
    samples = [receiver.sample(past) for receiver in receivers]
    samples[0] = replace(samples[0], decoded=decoded.decoded, delivered=len(positions))
    return samples


def _fetch_flow(request: Request) -> Sample:
    receiver = _Receiver(request)
    receiver.expect(receiver.positions)
    read = functools.partial(_read_flow, region=receiver.region, shape=request.shape)
    read = functools.lru_cache(maxsize=FLOW_CHANNELS)(read)  # neighboring stacks share most of their images
    for i, position in enumerate(receiver.positions.tolist()):
        paths = request.media.images(position - request.media.start)
        receiver.receive(i, np.concatenate([read(path) for path in paths], axis=-1))
    return receiver.sample()


def _read_flow(path: str, region: Region, shape: tuple[int, int]) -> np.ndarray:
    """The box of a gray image, resized to shape (width, height): uint8 (height, width, 1)."""
    out = np.empty((*shape[::-1], 1), np.uint8)
    resize(region.cut(read_image(path, gray=True))[..., None], out=out)
    return out


class _Receiver:
    """Takes a sample's pictures out of those of all samples of a file."""

    def __init__(self, request: Request):
        self._request = request
        self._wanted, self._gather = _wanted(request.plan)
        self.positions = self._wanted + request.media.start  # in the file
        self.region = Region(request.media.width, request.media.height, *request.box)
        num_kept = 1 if request.writer else len(self._wanted)
        channels = FLOW_CHANNELS if request.media.flow else 3
        self._kept = np.empty((num_kept, *request.shape[::-1], channels), np.uint8)
        self._write = request.writer(self._gather) if request.writer else None

    def expect(self, positions: np.ndarray) -> None:
        """All positions that will be received."""
        self._places = np.searchsorted(positions, self.positions)
        self._mine = {place: i for i, place in enumerate(self._places.tolist())}

    def receive(self, place: int, rgb: np.ndarray) -> None:
        i = self._mine.get(place)
        if i is None:
            return
        picture = self._kept[0 if self._write else i]
        resize(rgb, out=picture)
        if self._write:
            self._write(i, picture)

    def sample(self, past: int | None = None) -> Sample:
        """Args: past: the first place that became the file's last picture."""
        request, data = self._request, None if self._write else self._kept
        clamped = 0 if past is None else int((self._places >= past).sum())
        return Sample(request.row, "boxes", request.media, request.plan, data, self._wanted, self._gather, clamped)


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
            raise MediaError(path, error.strerror or str(error)) from None
        if not len(buffers[-1]):
            raise MediaError(path, "the file is empty (0 bytes)")
    return Sample(row, kind, found, plan, buffers, wanted, gather)


def _wanted(plan: TrainPlan | EvalPlan) -> tuple[np.ndarray, np.ndarray]:
    wanted, gather = np.unique(plan.frames, return_inverse=True)
    return wanted, gather.reshape(-1, plan.frames.shape[-1])
