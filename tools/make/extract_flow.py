"""Extracts the optical flow of the videos of a list as images `00001_x.jpg` and `00001_y.jpg` (see `actrec.data.flow`).

The flow of a frame folder is written to this folder, next to the frames. The flow of a video file is written to
`flow/<path of the video>/` in the folder of the list. Therefore the location of the flow follows from the list, and the
same list is used for RGB and for flow.

Flow is computed in a temporary folder. While its images are moved to the destination, a file there marks them as
unfinished. Therefore incomplete flow is never used, and running the same command again continues an interrupted run.
The file `.extract_flow.json` in the folder of the lists records the settings.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from actrec.config import FlowOptions
from actrec.data.flow import UNFINISHED, flow_folder, y_of
from actrec.data.index import Media, build_index
from actrec.data.index.images import read_image
from actrec.data.index.probe import FPS
from actrec.data.lists import Video, read_list
from actrec.data.storage import is_local, may_exist
from actrec.data.video.container import MediaError
from actrec.data.video.read import iter_pictures
from actrec.data.video.timestamps import frame_times
from actrec.files import OutputError, atomic_write, errors_named, scratch_folder, write_json, writing
from actrec.leftovers import remove_leftovers
from actrec.system import lock_folder
from actrec.tools.make.jobs import Progress, Stop, Stopped, Workers, each, largest_first, write_failed
from actrec.tools.make.record import describe_differences, plain_settings

RECORD, FAILED = ".extract_flow.json", "failed_flow.csv"
PRESETS = {  # presets of OpenCV's dense inverse search
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
}
_PATIENCE = 10  # seconds; another process needs the lock of the settings for a moment
_LEAST = (32, 96)  # smallest height and width; for smaller pictures OpenCV chooses scales with which it can crash

# gray pictures, uint8 (H, W) -> the flow from each picture to the next, float32 (H, W, 2)
Estimate = Callable[[Iterator[np.ndarray]], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Extracted:
    """The result of a run.

    Args:
        done: Number of videos for which this run extracted flow.
        skipped: Number of videos for which flow existed before.
        pairs: Number of pairs of x and y images of all these videos.
        failed: (path, reason) of each video that failed, as in failed_flow.csv.
        missing: Number of images that are missing in frame folders, by folder, of those that this run read.
    """

    done: int
    skipped: int
    pairs: int
    failed: tuple[tuple[str, str], ...]
    missing: dict[str, int] = field(default_factory=dict)


class Flow(NamedTuple):
    """The flow of one video: the number of pairs, whether this run extracted them, and how many frames are missing."""

    pairs: int
    is_new: bool
    missing: int = 0


def extract_flow(
    lists: Sequence[Path],
    options: FlowOptions = FlowOptions(),  # noqa: B008 - frozen
    *,
    estimate: Estimate | None = None,
    method: str = "dis",
    workers: Workers = Workers(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Extracted:
    """Extracts the flow of all videos of some lists.

    If several rows belong to a video, its flow is extracted once, for all of its frames.

    Args:
        lists: Lists in the same folder.
        estimate: Function that computes flow; `dis` by default. To run on a cluster, it must be picklable.
        method: Name of this function, which is recorded with the settings.
        workers: Threads of this machine, or a cluster.
        progress: Called with (videos done, all videos, failed videos).

    Raises:
        FileNotFoundError, ListError: A list is missing, or has malformed rows.
        ValueError: The lists are in several folders, or existing flow was extracted with other settings.
        OutputError, ClusterError: Flow cannot be written, or the cluster cannot be used. The same call continues the
            run.
    """
    folders = {Path(path).parent for path in lists}
    if len(folders) != 1:
        raise ValueError(
            f"the lists are in {len(folders)} folders ({', '.join(map(str, sorted(folders)))}): expected one folder"
        )
    root = folders.pop()
    sources = dict.fromkeys(video.path for path in lists for video in read_list(path))
    estimate = estimate or functools.partial(dis, preset=options.preset)
    jobs = [
        (Path(source) if is_local(source) else source, Path(flow_folder(source, root)), options, estimate)
        for source in sources
    ]
    _check_settings(root, plain_settings(options, method=method))
    remove_leftovers({folder.parent for _, folder, *_ in jobs})
    made: list[Flow] = []
    failed: list[tuple[str, str]] = []
    missing: dict[str, int] = {}

    def receive(job: tuple, result: Flow | None, reason: str | None) -> None:
        if result is not None:
            made.append(result)
            missing.update({str(job[0]): result.missing} if result.missing else {})
        else:
            failed.append((str(job[0]), str(reason)))

    each(flow_of_video, largest_first(jobs, lambda job: job[0]), receive, workers, progress=progress)
    failed.sort()
    write_failed(root / FAILED, failed)
    done = sum(flow.is_new for flow in made)
    return Extracted(done, len(made) - done, sum(flow.pairs for flow in made), tuple(failed), missing)


def flow_of_video(
    source: Path | str, folder: Path, options: FlowOptions, estimate: Estimate, *, stop: Stop | None = None
) -> Flow:
    """Extracts the flow of a video file or a frame folder to `folder`, unless it exists.

    Args:
        source: A string for a URL or a member of an archive.
        folder: Destination. It may be the folder of the frames, and may contain other files.
        stop: Called before each frame; True stops the extraction.

    Raises:
        FileNotFoundError, MediaError, ValueError, cv2.error: The video cannot be used.
        OutputError: A file or folder cannot be written.
        Stopped: `stop` returned True.
    """
    is_folder = isinstance(source, Path) and source.is_dir()
    if pairs := _count_pairs(folder, options.template if is_folder else None):
        return Flow(pairs, is_new=False)
    if not may_exist(source):
        raise MediaError(source, "no such file or folder")
    frames, missing = _frames_of(Path(source), options.template) if is_folder else (None, 0)
    try:
        return Flow(_write_flow(source, frames, folder, options, estimate, stop), is_new=True, missing=missing)
    except OutputError:
        if frames and not os.path.isdir(source):  # the flow would have been written there
            raise MediaError(source, "the folder was removed while its flow was extracted") from None
        raise


def _write_flow(
    source: Path | str, frames: Media | None, folder: Path, options: FlowOptions, estimate: Estimate, stop: Stop | None
) -> int:
    """Extracts the flow, and returns the number of pairs.

    Args:
        frames: The images if `source` is a folder.
    """
    pictures = _images(frames, options.image_range) if frames else _pictures(source, options)
    with scratch_folder(folder) as scratch, errors_named(scratch, folder):
        names: list[str] = []
        for flow in estimate(_stoppable(pictures, stop)):
            image = frames.image(len(names) // 2) if frames else f"{len(names) // 2 + 1:05d}.jpg"
            x = os.path.splitext(os.path.basename(image))[0] + "_x.jpg"
            for path, component in ((x, flow[..., 0]), (y_of(x), flow[..., 1])):
                _write(scratch / path, component, options)
                names.append(path)
        if not names:
            raise MediaError(source, "it has one frame: flow needs at least two")
        pairs = len(names) // 2
        # Rows in seconds need the frame rate. Without it, they are refused: a variable rate would give wrong frames.
        times = None if frames else frame_times(source)
        if times is not None and times.rate and times.borders is None:
            with writing(folder), atomic_write(scratch / FPS) as file:
                file.write(f"{times.rate} {times.begins}\n" if times.begins else f"{times.rate}\n")
            names.append(FPS)
        if not frames:
            with writing(folder):
                folder.mkdir(exist_ok=True)
        _move(scratch, folder, names)
    return pairs


def dis(pictures: Iterator[np.ndarray], preset: str = FlowOptions.preset) -> Iterator[np.ndarray]:
    """Yields the flow from each picture to the next, by dense inverse search (Kroeger et al. 2016) in OpenCV."""
    estimator, before = cv2.DISOpticalFlow.create(PRESETS[preset]), None
    for picture in pictures:
        height, width = picture.shape
        below, right = (max(0, least - size) for least, size in zip(_LEAST, picture.shape))
        if below or right:
            picture = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
        if before is not None:
            flow = estimator.calc(before, picture, None)  # type: ignore[call-overload] # the stubs lack None: no initial flow
            yield flow[:height, :width]
        before = picture


def encode(component: np.ndarray, bound: float) -> np.ndarray:
    """Converts motion in pixels to bytes: -bound and less become 0, no motion 128, bound and more 255."""
    return np.rint(component.clip(-bound, bound) * (127.5 / bound) + 127.5).astype(np.uint8)


def _count_pairs(folder: Path, template: str | None) -> int:
    """Number of pairs of images in a folder of flow; 0 if the flow is missing, incomplete or unreadable."""
    try:
        return build_index([Video("", str(folder), None, None, ())], lazy=True, flow=True, template=template)[0].frames
    except MediaError:
        return 0


def _frames_of(folder: Path, template: str | None) -> tuple[Media, int]:
    """The images of a folder, and how many are missing between them."""
    index = build_index([Video("", str(folder), None, None, ())], lazy=True, template=template)
    return index[0], sum(index.images_of_folders("missing").values())


def _images(frames: Media, image_range: tuple[float, float] | None) -> Iterator[np.ndarray]:
    for position in range(frames.frames):
        path = frames.image(position)
        picture = read_image(path, gray=True, image_range=image_range)
        if picture.shape != (frames.height, frames.width):
            sizes = f"{picture.shape[1]}x{picture.shape[0]}, the first frame {frames.width}x{frames.height}"
            raise MediaError(path, f"{os.path.basename(path)} is {sizes}: flow needs frames of one size")
        yield picture


def _pictures(path: Path | str, options: FlowOptions) -> Iterator[np.ndarray]:
    size = None
    for picture in iter_pictures(path, options.image_range):
        size = size or options.size(picture.width, picture.height)
        yield cv2.cvtColor(picture.bgr(*size), cv2.COLOR_BGR2GRAY)


def _stoppable(pictures: Iterator[np.ndarray], stop: Stop | None) -> Iterator[np.ndarray]:
    for picture in pictures:
        if stop and stop():
            raise Stopped
        yield picture


def _write(path: Path, component: np.ndarray, options: FlowOptions) -> None:
    _, data = cv2.imencode(".jpg", encode(component, options.bound), [cv2.IMWRITE_JPEG_QUALITY, options.quality])
    with writing(path.parent), open(path, "wb") as file:
        file.write(data.tobytes())


def _move(scratch: Path, folder: Path, names: Sequence[str]) -> None:
    """Moves files to `folder`. During the move, a file there marks the flow as unfinished."""
    mark = folder / UNFINISHED
    with writing(folder):
        mark.touch()
        for name in names:
            os.replace(scratch / name, folder / name)
        mark.unlink(missing_ok=True)  # may be missing, because a cluster may run the same job twice


def _check_settings(root: Path, settings: dict) -> None:
    """Writes the settings. Of two processes that start at the same time, the second one sees those of the first.

    Raises:
        ValueError: Existing flow was extracted with other settings, or the file of settings is damaged.
    """
    path = root / RECORD
    with contextlib.ExitStack() as lock:
        with writing(path):
            lock.enter_context(lock_folder(root, wait=_PATIENCE))
        _compare_settings(path, root, settings)


def _compare_settings(path: Path, root: Path, settings: dict) -> None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        before = settings
    except ValueError:
        raise ValueError(f"{path} is damaged: expected the settings of extract-flow; remove it and all flow") from None
    if before != settings:
        raise ValueError(
            f"{root} contains flow with other settings ({describe_differences(before, settings)}): expected the same "
            f"settings; to start over, remove the flow (all *_x.jpg and *_y.jpg) and {path}"
        )
    with writing(path):
        write_json(path, settings)
