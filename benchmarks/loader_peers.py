"""The peers with which `loader.py` compares actrec: each makes the same clips as fast as its library allows.

A way turns (path, frame positions, box) into a finished, normalized float32 clip (T, size, size, C). A permutation
presents it as NCTHW; this layout is the cheapest for all of them. The library or OpenCV decodes, crops and resizes.
OpenCV normalizes by table look-up, the fastest of the methods that were tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import av
import cv2
import numpy as np
import torch

from actrec.data.video.certificate import Certificate

Box = tuple[int, int, int, int]  # x, y, w, h
ROUNDING = 1.0  # mean difference of pixel values, of 255, up to which two pictures are the same one


@dataclass(frozen=True)
class Job:
    """A clip to make.

    Args:
        frames: ascending positions.
        boxes: one or several crops of the same frames; their clips follow each other.
        resize: (width, height) to which the entire frame is resized before the boxes are cut out. None: the single box
            is cut out and then resized to `size`.
    """

    path: str
    frames: np.ndarray
    boxes: list[Box]
    size: int
    flip: bool = False
    resize: tuple[int, int] | None = None


def table(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """float32 (1, 256, 3): the normalized value of each pixel value in each channel."""
    values = np.arange(256)[:, None] / 255
    return ((values - mean) / std).astype(np.float32)[None]


def finish(frames: Sequence[np.ndarray], job: Job, look_up: np.ndarray) -> np.ndarray:
    """Turn uint8 (H, W, 3) frames into a float32 clip (crops * T, size, size, 3)."""
    clips = np.empty((len(job.boxes), len(frames), job.size, job.size, 3), np.uint8)
    for t, rgb in enumerate(frames):
        whole = cv2.resize(rgb, job.resize, interpolation=cv2.INTER_LINEAR) if job.resize else rgb
        for (x, y, w, h), clip in zip(job.boxes, clips):
            cut, out = whole[y : y + h, x : x + w], clip[t]
            if job.resize:
                out[...] = cut
            else:
                cv2.resize(cut, (job.size, job.size), dst=out, interpolation=cv2.INTER_LINEAR)
            if job.flip:
                cv2.flip(out, 1, dst=out)
    return cv2.LUT(clips.reshape(-1, job.size, 3), look_up).reshape(-1, *clips.shape[2:])


# ---- ways to decode ----


def plain_pyav(job: Job) -> list[np.ndarray]:
    """Decode from the start in one thread, and convert only the requested frames."""
    wanted, found = set(job.frames.tolist()), []
    with av.open(job.path) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for i, frame in enumerate(container.decode(stream)):
            if i in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == len(wanted):
                    break
    return found + found[-1:] * (len(wanted) - len(found))


def opencv(job: Job) -> list[np.ndarray]:
    """Decode from the start; grab() skips frames without converting them."""
    capture = cv2.VideoCapture(job.path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    wanted, found = set(job.frames.tolist()), []
    for i in range(int(job.frames[-1]) + 1):
        if not capture.grab():
            break
        if i in wanted:
            found.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return found + found[-1:] * (len(wanted) - len(found))


def decord(job: Job) -> list[np.ndarray]:
    from decord import VideoReader

    reader = VideoReader(job.path, num_threads=1)
    return list(reader.get_batch(np.minimum(job.frames, len(reader) - 1)).asnumpy())


def torchcodec(seek_mode: str) -> Callable[[Job], list[np.ndarray]]:
    def decode(job: Job) -> list[np.ndarray]:
        from torchcodec.decoders import VideoDecoder

        decoder = VideoDecoder(job.path, seek_mode=seek_mode, dimension_order="NHWC", num_ffmpeg_threads=1)
        positions = np.minimum(job.frames, len(decoder) - 1)
        return list(decoder.get_frames_at(positions.tolist()).data.numpy())

    return decode


def spdl(job: Job, filters: str = "format=pix_fmts=rgb24") -> list[np.ndarray]:
    """Decode the packets from the keyframe before each frame, in one thread per call (SPDL's default).

    Args:
        filters: of FFmpeg, for each decoded frame.
    """
    import spdl.io

    packets = spdl.io.demux_video(job.path)
    positions, place = np.unique(np.minimum(job.frames, len(packets) - 1), return_inverse=True)
    decoded = spdl.io.sample_decode_video(packets, positions.tolist(), filter_desc=filters)
    frames = spdl.io.to_numpy(spdl.io.convert_frames(decoded))
    return [frames[i] for i in place]


def spdl_filtered(job: Job) -> list[np.ndarray]:
    """Let FFmpeg also cut out and resize the box, or resize the whole frame, while it converts to RGB."""
    scale = "scale={}:{}:flags=bilinear"
    if job.resize:
        return spdl(job, f"{scale.format(*job.resize)},format=pix_fmts=rgb24")
    ((x, y, w, h),) = job.boxes
    return spdl(job, f"crop={w}:{h}:{x}:{y}:exact=1,{scale.format(job.size, job.size)},format=pix_fmts=rgb24")


def resized(job: Job, way: str) -> Job:
    """What remains to be done with the frames of a way that lets the decoder resize."""
    if way not in RESIZING:
        return job
    return replace(job, boxes=job.boxes if job.resize else [(0, 0, job.size, job.size)], resize=None)


RESIZING = {"SPDL, resized by FFmpeg": "SPDL"}  # which way decodes the same frames without resizing them
WAYS: dict[str, Callable[[Job], list[np.ndarray]]] = {
    "TorchCodec exact": torchcodec("exact"),
    "TorchCodec approximate": torchcodec("approximate"),
    "SPDL": spdl,
    "SPDL, resized by FFmpeg": spdl_filtered,
    "decord": decord,
    "plain PyAV": plain_pyav,
    "OpenCV": opencv,
}


def differs(way: str, job: Job) -> bool:
    """Whether a way gives other pictures than a plain decode, or none. It may round them in another way."""
    expected = plain_pyav(job)
    try:
        found = WAYS[RESIZING.get(way, way)](job)
    except Exception:  # each library has errors of its own
        return True
    return any(
        a.shape != b.shape or np.abs(a.astype(np.int16) - b).mean() > ROUNDING
        for a, b in zip(expected, found, strict=True)
    )


# ---- frame folders: a job's path is a printf-like template, its frames are numbers from 0 ----


def opencv_folder(job: Job) -> list[np.ndarray]:
    return [cv2.imread(job.path % (i + 1), cv2.IMREAD_COLOR_RGB) for i in job.frames.tolist()]


def reference_folder(job: Job, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """The method of IBM's code: crop, resize and mirror PIL images one by one, stack them, normalize each channel."""
    from PIL import Image

    ((x, y, w, h),) = job.boxes
    images = []
    for i in job.frames.tolist():
        with Image.open(job.path % (i + 1)) as file:
            images.append(file.copy())
    images = [image.crop((x, y, x + w, y + h)) for image in images]
    images = [image.resize((job.size, job.size), Image.BILINEAR) for image in images]
    if job.flip:
        images = [image.transpose(Image.FLIP_LEFT_RIGHT) for image in images]
    stacked = np.concatenate([np.array(image) for image in images], axis=2)  # (H, W, 3 T)
    clip = torch.from_numpy(stacked).permute(2, 0, 1).contiguous().float().div(255)
    for channel, m, s in zip(clip, [*mean] * len(images), [*std] * len(images)):
        channel.sub_(m).div_(s)
    return clip.view(len(images), 3, job.size, job.size).permute(1, 0, 2, 3)


# ---- how the ways are driven ----


class Clips(torch.utils.data.Dataset):
    """Jobs as a map-style dataset of finished clips."""

    def __init__(self, make: Callable[[Job], torch.Tensor], jobs: list[Job]):
        self._make, self.jobs = make, jobs

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self._make(self.jobs[i])


def by_processes(make, jobs: list[Job], batch_size: int, workers: int) -> Callable[[], int]:
    """A PyTorch DataLoader whose processes stay alive from turn to turn."""
    loader = torch.utils.data.DataLoader(
        Clips(make, jobs), batch_size, num_workers=workers, persistent_workers=True, multiprocessing_context="spawn",
        worker_init_fn=one_thread,
    )  # fmt: skip
    return lambda: sum(len(clips) for clips in loader)


def by_threads(make, jobs: list[Job], batch_size: int, workers: int) -> Callable[[], int]:
    def turn() -> int:
        count = 0
        with ThreadPoolExecutor(workers) as pool:
            made = pool.map(make, jobs)
            while batch := [clip for clip, _ in zip(made, range(batch_size))]:
                count += len(torch.stack(batch))
        return count

    return turn


def one_thread(worker: int = 0) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class Maker:
    """A way to decode and the steps after it; it can be pickled for another process."""

    way: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, job: Job) -> torch.Tensor:
        if self.way == "reference (PIL)":
            return reference_folder(job, self.mean, self.std)
        decode = opencv_folder if self.way == "OpenCV folder" else WAYS[self.way]
        frames = decode(job)
        if len(frames) < len(job.frames):  # a clip may contain a frame more than once
            distinct, place = np.unique(job.frames, return_inverse=True)
            assert len(distinct) == len(frames)
            frames = [frames[i] for i in place]
        return torch.from_numpy(finish(frames, resized(job, self.way), table(self.mean, self.std)))


# ---- the floor ----


class Floor:
    """libavcodec alone, on packets in memory: only those that the requested frames need.

    No file is opened, and nothing is demuxed, converted or resized. Files without a certificate are decoded from their
    start.
    """

    def __init__(self, path: str, certificate: Certificate | None):
        with av.open(path) as container:
            stream = container.streams.best("video")
            self._packets = [packet for packet in container.demux(stream) if packet.size]
        self._container = av.open(path)  # keeps the codec context alive
        self._codec = self._container.streams.best("video").codec_context
        self._codec.thread_count, self._codec.thread_type = 1, "NONE"
        self._certificate = certificate
        for packet in self._packets[:60]:
            self._codec.decode(packet)
        self._depth = self._codec.reorder_depth
        self._restart()

    def _restart(self) -> None:
        self._codec.flush_buffers()
        self._codec.reorder_depth = self._depth

    def __call__(self, frames: np.ndarray) -> int:
        """Decode the packets of a job and return the number of decoded frames."""
        known = self._certificate
        if known is None:
            count, last = 0, int(frames.max())
            for packet in self._packets:
                count += len(self._codec.decode(packet))
                if count > last:
                    break
            self._restart()
            return count
        wanted = known.pts[np.minimum(np.unique(frames), len(known.pts) - 1)]
        keys = np.searchsorted(known.key_pts, wanted, side="right") - 1
        return sum(self._run(int(known.key_pts[key]), set(wanted[keys == key].tolist())) for key in np.unique(keys))

    def _run(self, key: int, wanted: set[int]) -> int:
        count, entered, missing, skipping = 0, False, len(wanted), None
        nonref = self._codec.codec.canonical_name in ("h264", "hevc")
        for packet in self._packets:
            entered = entered or packet.pts == key
            if not entered:
                continue
            if nonref and skipping != (packet.pts not in wanted):
                skipping = packet.pts not in wanted
                self._codec.skip_frame = "NONREF" if skipping else "DEFAULT"
            count += len(self._codec.decode(packet))
            missing -= packet.pts in wanted
            if not missing:
                break
        self._codec.skip_frame = "DEFAULT"
        count += len(self._codec.decode(None))
        self._restart()
        return count
