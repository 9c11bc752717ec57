"""The decode workers: a request in, pictures or encoded bytes out. Threads: PyAV, OpenCV and torch release the GIL."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from actrec.config import FLOW_CHANNELS
from actrec.data.errors import LeftOutError
from actrec.data.index import Index, Media
from actrec.data.index.images import read_encoded, read_image, read_images
from actrec.data.sampling.geometry import Box
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.data.storage import RemoteError, is_remote, local_file, open_bytes, prefetch
from actrec.data.video.certificate import Certificate
from actrec.data.video.color import Region, wrong_matrix
from actrec.data.video.container import ChangedError, MediaError, SurpriseError
from actrec.data.video.excerpt import Excerpt, read_excerpt
from actrec.data.video.packets import needed_ranges
from actrec.pipelines.dali.routes import Route
from actrec.pipelines.workers.resize import resize
from actrec.system import raise_if_exhausted
from actrec.words import text_of

Plan = TrainPlan | EvalPlan


class Planned(NamedTuple):
    """A draw of which it is decided what its sample needs."""

    row: int
    media: Media
    plan: Plan
    route: Route


@dataclass(frozen=True)
class Sample:
    """A fetched sample.

    Args:
        row: of the list.
        route: how its clips are made.
        data: decoded here: uint8 (U, H, W, C) pictures, cut out (training) and resized; None if they were written into
            the batch. To be decoded by DALI: the bytes of each image, or of the video.
        wanted: (U,) ascending positions of the needed frames, relative to the video's first frame.
        positions: (U,) positions of the needed frames in what DALI decodes; None where that is not a video file.
        gather: (clips, T) indices in `wanted` of the clips' frames.
        clamped: how many of `wanted` are after the last frame and became the last one. 0 where DALI gets a whole file.
        decoded: pictures that the decoder produced, `delivered`: how many different ones of them were needed. 0 for
            folders, where DALI decodes, and where another sample of the same file counts them.
    """

    row: int
    route: Route
    media: Media
    plan: Plan
    data: np.ndarray | list[np.ndarray] | None
    wanted: np.ndarray
    gather: np.ndarray
    positions: np.ndarray | None = None
    clamped: int = 0
    decoded: int = 0
    delivered: int = 0

    @property
    def encoded_bytes(self) -> int:
        """Size of what DALI has to decode."""
        return sum(encoded.nbytes for encoded in self.data) if isinstance(self.data, list) else 0


@dataclass(frozen=True)
class Failure:
    """A sample that cannot be used, and the reason.

    Args:
        passing: a URL could not be fetched, which says nothing about the file: it may be there the next time.
        left_out: an evaluation protocol leaves the video out.
    """

    row: int
    error: str
    passing: bool = False
    left_out: bool = False

    @classmethod
    def of(cls, row: int, error: MediaError | OSError) -> Failure:
        if isinstance(error, OSError) and error.filename and is_remote(error.filename):
            is_gone = isinstance(error, FileNotFoundError | IsADirectoryError)
            error = (MediaError if is_gone else RemoteError)(error.filename, error.strerror or "cannot be read")
        return cls(
            row, text_of(error), passing=isinstance(error, RemoteError), left_out=isinstance(error, LeftOutError)
        )


@dataclass(frozen=True)
class Request:
    """What a sample needs of its file.

    Args:
        route: how its clips will be made, and whether it is `decoded_by_workers`.
        box, shape: this box (x, y, w, h) of each frame, resized to shape (width, height).
        make_writer: given the sample's `gather`, makes a function that receives the pictures one by one, with their
            indices in `wanted`; the sample then has no data. None: the pictures are kept.
        antialias, exact: as for `resize`.
        swscale: as for `actrec.data.video.color.to_rgb`; the same for all requests of a file.
    """

    row: int
    media: Media
    plan: Plan
    route: Route
    box: Box
    shape: tuple[int, int]
    make_writer: Callable[[np.ndarray], Callable[[int, np.ndarray], None]] | None
    antialias: bool = True
    exact: bool = False
    swscale: bool = False


def fetch_bytes(planned: Sequence[Planned], index: Index) -> None:
    """Fetches what some samples need of one URL into the cache, from where `fetch` takes it.

    Raises:
        MediaError: it cannot be fetched.
    """
    if not planned:
        return
    path, row = planned[0].media.path, planned[0].row
    _, certificate = index.certificate(row)
    if certificate is not None and certificate.stream is not None:
        try:
            _prefetch_packets(path, planned, certificate)
            return
        except ChangedError:
            index.forget_certificate(row)
    with local_file(path):
        pass


def _prefetch_packets(path: str, planned: Sequence[Planned], certificate: Certificate) -> None:
    for with_droppable in (False, True):  # DALI gets excerpts with all packets
        wanted = [
            wanted_frames(one.plan)[0] + one.media.start
            for one in planned
            if one.route.decoded_by_workers != with_droppable
        ]
        if wanted:
            positions = np.unique(np.concatenate(wanted))
            prefetch(path, needed_ranges(certificate, positions, with_droppable=with_droppable)[0])


def fetch(requests: Sequence[Request], index: Index, *, certify: bool) -> list[Sample | Failure]:
    """The samples of one file or folder, in order. What one of them lacks does not affect the others.

    Args:
        certify: as for `fetch_pictures`.
    """
    found: dict[int, Sample | Failure] = {}
    decoded = {i: request for i, request in enumerate(requests) if request.route.decoded_by_workers}
    if decoded:
        found |= zip(decoded, _fetch_together(list(decoded.values()), index, certify=certify))
    for i, request in enumerate(requests):
        if i not in found:
            found[i] = _or_failure(fetch_encoded, request, index)
    return [found[i] for i in range(len(requests))]


def _fetch_together(requests: list[Request], index: Index, *, certify: bool) -> list[Sample | Failure]:
    """Decodes each frame once for all requests; if that fails, each request by itself."""
    try:
        return list(fetch_pictures(requests, index, certify=certify))
    except (MediaError, OSError) as error:
        if len(requests) == 1:
            return [Failure.of(requests[0].row, error)]
    return [found for request in requests for found in _fetch_together([request], index, certify=certify)]


def _or_failure(fetch_one: Callable[[Request, Index], Sample], request: Request, index: Index) -> Sample | Failure:
    try:
        return fetch_one(request, index)
    except (MediaError, OSError) as error:
        return Failure.of(request.row, error)


def fetch_encoded(request: Request, index: Index) -> Sample:
    """The bytes of an excerpt of a video, or of the needed images of a folder, for DALI to decode.

    Raises:
        MediaError: a file is missing, empty or cut off.
    """
    media, route = request.media, request.route
    wanted, gather = wanted_frames(request.plan)
    if route.images_per_frame:
        images = [read_encoded(path) for i in wanted.tolist() for path in media.images(i)]
        return Sample(request.row, route, media, request.plan, images, wanted, gather)
    video = _read_video(request, index, wanted + media.start)
    return Sample(
        request.row, route, media, request.plan, [video.data], wanted, gather, video.positions, clamped=video.clamped
    )


def _read_video(request: Request, index: Index, positions: np.ndarray) -> Excerpt:
    """What a video's decoder needs: an excerpt where the file has a certificate, else the whole file."""
    path, (_, certificate) = request.media.path, index.certificate(request.row)
    if certificate is not None:
        try:
            return read_excerpt(path, positions, certificate)
        except ChangedError:
            index.forget_certificate(request.row)
        except SurpriseError as error:
            index.revoke_certificate(request.row, error.reason)
    return Excerpt(_read_bytes(path), positions, clamped=0)  # DALI does not tell how many frames the file has


def _read_bytes(path: str) -> np.ndarray:
    try:
        with open_bytes(path) as file:
            data = np.frombuffer(file.read(), np.uint8)
    except OSError as error:
        raise_if_exhausted(path, error)
        raise MediaError(path, error.strerror or str(error)) from None
    if not len(data):
        raise MediaError(path, "the file is empty (0 bytes)")
    return data


def fetch_pictures(requests: Sequence[Request], index: Index, *, certify: bool) -> list[Sample]:
    """Decodes every frame that the plans need of one file or folder, once.

    Args:
        requests: all of the same path.
        certify: decode a video of unknown structure to its end, so that the next time only what is needed is decoded.

    Raises:
        MediaError, FileNotFoundError: the file cannot be read.
    """
    if requests[0].media.flow:
        return [_fetch_flow(request) for request in requests]
    receivers = [_Receiver(request) for request in requests]
    positions = receivers[0].positions
    if len(receivers) > 1:
        positions = np.unique(np.concatenate([receiver.positions for receiver in receivers]))
    for receiver in receivers:
        receiver.expect(positions)
    first = requests[0].media
    single = receivers[0].region if len(requests) == 1 else None
    region = single or Region.whole(first.width, first.height)

    def receive(i: int, rgb: np.ndarray) -> None:
        for receiver in receivers:
            receiver.receive(i, rgb if single else receiver.region.cut(rgb))

    if first.template:
        paths = [first.image(position) for position in positions.tolist()]
        for i, rgb in enumerate(read_images(paths, image_range=first.image_range)):
            receive(i, region.cut(rgb))
        return [receiver.sample() for receiver in receivers]
    row = requests[0].row
    decoded = index.read_frames(row, positions, receive, region=region, certify=certify, swscale=requests[0].swscale)
    num_present = len(positions) - decoded.clamped
    samples = [receiver.sample(num_present) for receiver in receivers]
    samples[0] = replace(samples[0], decoded=decoded.decoded, delivered=len(positions))
    return samples


def _fetch_flow(request: Request) -> Sample:
    receiver = _Receiver(request)
    receiver.expect(receiver.positions)
    read_one = functools.partial(read_flow, region=receiver.region, shape=request.shape, antialias=request.antialias)
    read = functools.lru_cache(maxsize=FLOW_CHANNELS)(read_one)  # neighboring stacks share most of their images
    for i, position in enumerate(receiver.positions.tolist()):
        paths = request.media.images(position - request.media.start)
        receiver.receive(i, np.concatenate([read(path) for path in paths], axis=-1))
    return receiver.sample()


def read_flow(path: str, region: Region, shape: tuple[int, int], *, antialias: bool = True) -> np.ndarray:
    """The box of a gray image, resized to shape (width, height): uint8 (height, width, 1)."""
    out = np.empty((*shape[::-1], 1), np.uint8)
    resize(region.cut(read_image(path, gray=True))[..., None], out=out, antialias=antialias)
    return out


class _Receiver:
    """Picks the pictures of one sample out of those of all samples of a file."""

    def __init__(self, request: Request):
        self._request = request
        self._wanted, self._gather = wanted_frames(request.plan)
        self.positions = self._wanted + request.media.start  # in the file
        self.region = Region(request.media.width, request.media.height, *request.box)
        self._recolor = wrong_matrix(request.media.color) if request.plan.wrong_matrix else None
        num_kept = 1 if request.make_writer else len(self._wanted)
        self._kept = np.empty((num_kept, *request.shape[::-1], request.route.channels), np.uint8)
        self._write = request.make_writer(self._gather) if request.make_writer else None

    def expect(self, positions: np.ndarray) -> None:
        """Announces all positions that will be received."""
        self._places = np.searchsorted(positions, self.positions)
        self._index_of = {place: i for i, place in enumerate(self._places.tolist())}

    def receive(self, place: int, rgb: np.ndarray) -> None:
        i = self._index_of.get(place)
        if i is None:
            return
        picture = self._kept[0 if self._write else i]
        resize(rgb, out=picture, antialias=self._request.antialias, exact=self._request.exact)
        if self._recolor is not None:
            cv2.transform(picture, np.column_stack(self._recolor), dst=picture)
        if self._write:
            self._write(i, picture)

    def sample(self, num_present: int | None = None) -> Sample:
        """Args: num_present: how many of the expected positions are in the file; the others became the last picture."""
        request, data = self._request, None if self._write else self._kept
        clamped = 0 if num_present is None else int((self._places >= num_present).sum())
        return Sample(
            request.row, request.route, request.media, request.plan, data, self._wanted, self._gather, clamped=clamped
        )


def wanted_frames(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """(ascending positions of the frames that a plan needs, (clips, T) indices of the clips' frames among them)"""
    clips = plan.frames.reshape(-1, plan.frames.shape[-1])
    if len(clips) == 1 and (clips[0, 1:] > clips[0, :-1]).all():  # as in most clips; `np.unique` takes much longer
        return clips[0], np.arange(clips.size)[np.newaxis]
    wanted, gather = np.unique(clips, return_inverse=True)
    return wanted, gather.reshape(clips.shape)
