"""Windows that slide over one long video, each frame of which is decoded once.

    sweep = Sweep(video, Windows(every=0.5), clip, net.input)
    for batch in sweep:                 # batches of windows, as a loader has batches of videos
        scores = net(batch.clips)

A window is a list row with a range of frames, so its clips are bit for bit those that `eval_loader` makes of such a row
when the decode workers decode it. The video is decoded from its start to the last frame that is needed, in one
background thread. A frame that some window needs is converted and resized once, and is kept until the last window that
needs it is finished.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
import torch

from actrec.config import FLOW_CHANNELS, FLOW_PAIRS, Clip, Input, Views, Windows
from actrec.data.index import Media, build_index
from actrec.data.index.images import read_image
from actrec.data.index.probe import FPS
from actrec.data.index.reach import fetching
from actrec.data.lists import Video
from actrec.data.lists.row import bounds
from actrec.data.sampling.plan import EvalPlan
from actrec.data.sampling.windows import windows_of
from actrec.data.times import FrameTimes
from actrec.data.video.color import Region
from actrec.data.video.container import MediaError
from actrec.data.video.read import iter_wanted
from actrec.pipelines.batch import Batch
from actrec.pipelines.dali.routes import pixels_route
from actrec.pipelines.loader import Draw, Dtype, Loader
from actrec.pipelines.task import EvalTask
from actrec.pipelines.workers.decode import Failure, Sample, read_flow, wanted_frames
from actrec.pipelines.workers.resize import resize
from actrec.words import counted

_Picture = np.ndarray | MediaError | OSError  # or why it cannot be read
_NONE = MediaError("", "nothing was decoded")


class Sweep(Loader):
    """Iterates over batches of windows of one video. `score` and `outputs_of` take it as they take a `Loader`.

    On a GPU, the decode workers decode as well, and DALI finishes the pictures. The clips are then those of a loader
    with `decoder="workers"`.

    A window in which the video ends early, because fewer frames decode than its container promises, repeats the last
    frame, as a loader does. A window that begins after the last frame, or needs an image that cannot be read, is left
    out and named in `skipped`.

    Args:
        video: a row of a list; its windows are placed within its range.
        batch_size: number of windows in a batch.
        others: see `train_loader`.

    Attributes:
        media: of the video.
        frame_times: of the video, see `Media.times`.
        ranges: (windows, 2) int64, the half-open frame range of each window, counted from the first frame of `video`.
        times: (windows, 2) float64, the same in seconds: see `Media.times` for time 0.
        videos: one row for each window. Its id is that of the video with the range of frames, such as `a.mp4 1-50`.
        skipped, clamped, decoded, delivered: of windows, as those of `Loader`. `decoded` is at most `media.frames`.

    Raises:
        MediaError: the video cannot be used, or its number of frames per second is not known.
        ValueError: as `eval_loader`; or a window of optical flow is shorter than six frames.
    """

    _fetches_ahead = False  # the index has fetched the video

    def __init__(
        self,
        video: Video,
        windows: Windows,
        clip: Clip,
        net_input: Input,
        *,
        views: Views | None = None,
        batch_size: int = 4,
        device: str | torch.device = "cpu",
        multi_label: int | None = None,
        prefetch: int = 2,
        dtype: Dtype = "float32",
        channels_last: bool = False,
    ):
        flow = clip.modality == "flow"
        index = build_index([video], lazy=True, flow=flow, template=clip.template)
        index.set_image_range(clip.image_range)
        with fetching(video.path):
            self.media: Media = index[0]
        clip = clip if clip.frames is not None else replace(clip, frames=net_input.frames)
        self.frame_times = _times(self.media)
        self.ranges = _ranges(self.media, self.frame_times, windows, clip)
        self.times = self.frame_times.at(self.ranges)
        rows = _rows(video, self.media, self.ranges)
        self._task = EvalTask(
            rows, clip, net_input, views=views or Views(), batch_size=batch_size, multi_label=multi_label
        )
        super().__init__(
            self._task,
            index=index.with_rows(rows),
            device=device,
            workers=1,  # its jobs run in the order of the windows
            prefetch=prefetch,
            dtype=dtype,
            channels_last=channels_last,
            decoder="workers",
        )
        self._planned = functools.lru_cache(maxsize=8)(self._plan_of)  # nearly all windows are of the same length
        self._stopped = False
        self._held: dict[int, _Picture] = {}

    @property
    def num_held(self) -> int:
        """Number of resized frames that are held for unfinished windows."""
        return len(self._held)

    def __iter__(self) -> Generator[Batch, None, None]:
        self._begin(self._step * self.task.batch_size)
        batches = super().__iter__()
        try:
            # `yield from` would first close `batches`, which waits for its job.
            for batch in batches:  # noqa: UP028
                yield batch
        finally:
            self._stopped = True  # so that the job in the background thread ends soon
            batches.close()
            self._pictures.close()
            self._held.clear()

    def _begin(self, first_window: int) -> None:
        """Prepares decoding from the start of the video."""
        self._uses = np.zeros(self.media.frames, np.int32)  # how many unfinished windows need a frame
        for row in range(first_window, len(self.videos)):
            self._uses[self._window(row)[1]] += 1
        self._held, self._stopped = {}, False
        self._at, self._end = -1, ""  # the last decoded position, and why no more follow
        self._last: _Picture = _NONE
        self._counted = self._delivered = 0
        self._pictures = self._decode(np.flatnonzero(self._uses))

    def _plan_of(self, positions: int) -> tuple[EvalPlan, np.ndarray, np.ndarray]:
        plan = self._task.plan(0, 0, 0, replace(self.media, frames=positions, flow=False))
        return plan, *wanted_frames(plan)

    def _window(self, row: int) -> tuple[EvalPlan, np.ndarray, np.ndarray]:
        """(plan, (U,) positions of the needed frames in the video, (clips, T) indices among them)"""
        plan, wanted, gather = self._planned(self.index[row].positions)
        return plan, wanted + self.ranges[row, 0], gather

    def _fetch(self, epoch: int, draws: list[Draw]) -> list[Sample | Failure]:
        """The samples of a batch of windows, in the background thread. Decodes up to the end of the last one."""
        return [self._fetch_window(*draw) for draw in draws]

    def _fetch_window(self, row: int, repeat: int, slot: torch.Tensor | None) -> Sample | Failure:
        plan, positions, gather = self._window(row)
        self._decode_to(int(positions[-1]))
        found = [self._held.get(position, self._last) for position in positions.tolist()]
        self._uses[positions] -= 1
        for position in positions[self._uses[positions] == 0].tolist():
            self._held.pop(position, None)
        if self._end and self.ranges[row, 0] > self._at:
            return Failure(row, self._end)
        pictures = [picture for picture in found if isinstance(picture, np.ndarray)]
        if len(pictures) < len(found):
            return Failure(row, str(next(reason for reason in found if not isinstance(reason, np.ndarray))))
        if slot is not None:
            write = self._finisher.writer(plan, gather, slot)
            for i, picture in enumerate(pictures):
                write(i, picture)
        media, decoded, delivered = self.index[row], self._num_decoded - self._counted, self._delivered
        self._counted, self._delivered = self._num_decoded, 0
        return Sample(
            row,
            pixels_route(media),
            media,
            plan,
            np.stack(pictures) if slot is None else None,
            positions - self.ranges[row, 0],
            gather,
            clamped=int((positions > self._at).sum()) if self._end else 0,
            decoded=decoded,
            delivered=delivered,
        )

    @property
    def _num_decoded(self) -> int:
        """Number of frames of the file that were decoded so far."""
        return self.media.start + self._at + 1 if self.media.template is None else 0

    def _decode_to(self, position: int) -> None:
        """Decodes up to a needed frame, or to where the video ends."""
        while self._at < position and not self._end:
            if self._stopped:
                self._end = "the iteration was stopped"
                return
            try:
                found = next(self._pictures, None)
            except (MediaError, OSError) as error:
                self._end = str(error)
                return
            if found is None:
                frame, stated = self._at + 1, self.media.frames
                seconds = float(self.frame_times.at(frame))
                self._end = f"{self.media.path}: it ends after frame {frame} of {stated} ({seconds:.1f} s)"
                return
            self._at, self._last = found
            if self._uses[self._at]:
                self._held[self._at] = self._last
                self._delivered += self.media.template is None

    def _decode(self, wanted: np.ndarray) -> Generator[tuple[int, _Picture], None, None]:
        """(position from the first frame of the video, its resized picture), in ascending order."""
        media = self.media
        box, shape = self._task.geometry(self._window(0)[0], media)
        region = Region(media.width, media.height, *box)
        if media.template is not None:
            read = _flow_reader(media, region, shape) if media.flow else _image_reader(media, region, shape)
            for position in wanted.tolist():
                try:
                    picture = read(position)
                except (MediaError, OSError) as error:
                    yield position, error
                else:
                    yield position, picture
            return
        with contextlib.closing(iter_wanted(media.path, wanted + media.start, region=region)) as frames:
            for frame, rgb in frames:
                yield frame - media.start, _resized(rgb, shape)


def _times(media: Media) -> FrameTimes:
    if not media.rate:
        where = f"the folder has no file `{FPS}` that contains it" if media.template else "the file does not say it"
        raise MediaError(media.path, f"windows in seconds need the number of frames per second, and {where}")
    return media.times


def _ranges(media: Media, times: FrameTimes, windows: Windows, clip: Clip) -> np.ndarray:
    ranges = windows_of(times, windows, clip)
    shortest = int((ranges[:, 1] - ranges[:, 0]).min())
    if media.flow and len(ranges) > 1 and shortest <= FLOW_PAIRS:
        raise ValueError(
            f"`window` of {counted(shortest, 'frame')} with optical flow: expected at least {FLOW_PAIRS + 1}"
        )
    return ranges


def _rows(video: Video, media: Media, ranges: np.ndarray) -> list[Video]:
    """A list row for each window."""
    name = video.id if video.start is None else video.path
    spans = [media.bounds(begin, end) for begin, end in (ranges + media.start).tolist()]
    return [
        Video(f"{name} {'-'.join(bounds(start, stop))}", video.path, start, stop, video.labels) for start, stop in spans
    ]


def _image_reader(media: Media, region: Region, shape: tuple[int, int]) -> Callable[[int], np.ndarray]:
    return lambda position: _resized(
        region.cut(read_image(media.image(media.start + position), image_range=media.image_range)), shape
    )


def _flow_reader(media: Media, region: Region, shape: tuple[int, int]) -> Callable[[int], np.ndarray]:
    # Neighboring stacks share most of their images.
    read = functools.lru_cache(maxsize=FLOW_CHANNELS)(functools.partial(read_flow, region=region, shape=shape))
    return lambda position: np.concatenate([read(path) for path in media.images(position)], axis=-1)


def _resized(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    out = np.empty((*shape[::-1], picture.shape[-1]), np.uint8)
    resize(picture, out=out)
    return out
