"""Measures whether a loader keeps a net busy, what limits it, and what would help."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from actrec.config import Clip
from actrec.data.index import Index, build_index
from actrec.data.index.images import read_image
from actrec.data.lists import Video
from actrec.data.video.certificate import Certificate
from actrec.data.video.container import MediaError
from actrec.data.video.read import decode_frames
from actrec.engine.bench import Case, default_form
from actrec.engine.failures import with_name
from actrec.pipelines.loader import Batch, Loader, train_loader

GOP = 16  # frames between keyframes that the advice proposes
_FASTER = 1.25  # a loader or net that is at least this many times as fast as the other one does not limit training


@dataclass(frozen=True)
class Feeding:
    """What was measured.

    Args:
        loader, net, both: Clips per second of the loader alone, the net alone (on one batch), and the loader with the
            net.
        waiting: With both, the fraction of the time in which the net waited for the loader.
        decoding: Clips per second that the processor could decode if it did nothing else; None if DALI decodes.
        decoded_per_clip: Frames that were decoded for a clip. `decoded_per_frame`: for each different frame of a clip.
            Both are None for frame folders, and if DALI decodes.
        encoded_per_clip: Bytes of images, excerpts of videos and whole videos that DALI decodes for a clip; None if
            the decode workers decode everything.
        gop: Mean number of frames from one keyframe to the next, over the files in which decoding can start at any
            keyframe.
        from_start: Number of the `files` that can only be decoded from their start.
        gop16_per_clip: What `decoded_per_clip` would be with a keyframe every 16 frames.
        engines: For each kind of decoder on the GPU, the fraction of the time in which it was busy, with the loader
            alone.
    """

    loader: float
    net: float
    both: float
    waiting: float
    decoding: float | None
    decoded_per_clip: float | None
    decoded_per_frame: float | None
    encoded_per_clip: float | None
    gop: float | None
    from_start: int
    files: int
    gop16_per_clip: float | None
    engines: dict[str, float] = field(default_factory=dict)

    @property
    def advice(self) -> str:
        """What limits the speed, and what would help, in one sentence."""
        if self.loader >= _FASTER * self.net:
            return (
                f"net-bound: the loader alone gives {self.loader / self.net:.1f} times the clips that the net takes; "
                "a faster loader would hardly help"
            )
        if self.net < _FASTER * self.loader:
            return (
                "bound by both: the loader alone and the net alone are about equally fast; only a faster loader and a "
                "faster net together would help"
            )
        start = f"loader-bound: the net alone takes {self.net / self.loader:.1f} times the clips that the loader gives"
        if self.from_start > self.files / 2 and self.decoded_per_clip is not None:
            return (
                f"{start}; {self.from_start} of {self.files} files can only be decoded from their start, "
                f"{self.decoded_per_clip:.0f} frames per clip: `actrec prepare --gop {GOP}` or `actrec extract-frames` "
                "makes files in which decoding can start anywhere"
            )
        decoded, with_gop16 = self.decoded_per_clip, self.gop16_per_clip
        if self.gop and decoded and with_gop16 and with_gop16 < 0.7 * decoded:
            return (
                f"{start}; {decoded:.0f} decoded frames per clip, keyframes {self.gop:.0f} frames apart: "
                f"`actrec prepare --gop {GOP}` would reduce that to about {with_gop16:.0f}"
            )
        if self.decoding is not None and self.loader > 0.6 * self.decoding:
            return f"{start}; decoding takes most of the time: smaller pictures, or more processors, would help"
        if any(busy > 0.8 for busy in self.engines.values()):
            return f"{start}; the GPU's decoders are busy: smaller pictures, or fewer frames per clip, would help"
        return f"{start}; decoding is not what limits it: more --workers, a larger --batch-size or --prefetch may help"


def spread(index: Index, number: int, batch_size: int) -> list[int]:
    """This many usable rows of a list, spread evenly over it, and repeated to fill a batch if there are too few."""
    usable = [i for i in range(len(index)) if i not in index.unusable]
    taken = [usable[int(i * len(usable) / number)] for i in range(number)] if number < len(usable) else usable
    return taken * -(-batch_size // len(taken))


def measure(
    videos: Sequence[Video],
    net: str,
    clip: Clip,
    *,
    certificates: Sequence[Certificate | None] | None = None,
    options: dict[str, bool | int | float | str] | None = None,
    batch_size: int = 16,
    size: int | None = None,
    workers: int | None = None,
    prefetch: int = 2,
    seconds: float = 10.0,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Feeding:
    """Trains a net on the videos for a short time, and measures the loader and the net together and alone.

    Args:
        videos: all are read once before the clock starts; a few hundred are enough.
        certificates: of the videos' files, where they are known: on a GPU, only they make excerpts possible.
        options: of the net.
        seconds: of each of the four measurements.
        progress: called with 1 after each of five stages.

    Raises:
        ValueError: as `actrec.net` and `train_loader`.
    """
    done = progress or (lambda n: None)
    case = Case(net, default_form(device), options or {}, clip.frames, size, batch_size, torch.device(device))
    net_input = case.input
    clip = replace(clip, frames=net_input.frames)
    index = build_index(videos, workers=workers, template=clip.template)
    for row, certificate in enumerate(certificates or ()):
        if certificate is not None:
            index.set_certificate(row, certificate)
    loader = train_loader(
        videos,
        clip,
        net_input,
        batch_size=batch_size,
        device=device,
        index=index,
        workers=workers,
        prefetch=prefetch,
        channels_last=case.form.channels_last,
    )
    batch = None
    for _ in range(2):  # the first epoch proves the files, by the second all is warm
        for made in loader:
            batch = made if len(made) else batch
    if batch is None:
        raise ValueError(f"no video could be decoded; {with_name(*next(iter(loader.skipped.items())))}")
    done(1)
    with _Engines(device) as engines:
        alone = _loop(loader, seconds)
    # Of whole epochs: the first one proves the files.
    decoded, delivered, encoded = loader.decoded, loader.delivered, loader.encoded_bytes
    for _ in loader:
        pass
    on_cpu = device == "cpu"  # on a GPU the workers decode only what DALI cannot
    decoded, delivered = on_cpu * (loader.decoded - decoded), loader.delivered - delivered
    encoded = loader.encoded_bytes - encoded
    done(1)
    fed = _loop([batch], seconds, case.step)
    done(1)
    both = _loop(loader, seconds, case.step)
    done(1)
    decoding = _decode_alone(loader, seconds) if on_cpu else None
    done(1)
    clips = len(loader) * batch_size
    gops = [c for i in range(len(videos)) if (c := loader.index.certificate(i)[1]) is not None]
    files = {video.path for video in videos}
    return Feeding(
        loader=alone.rate,
        net=fed.rate,
        both=both.rate,
        waiting=both.waiting,
        decoding=decoding,
        decoded_per_clip=decoded / clips if decoded else None,
        decoded_per_frame=decoded / delivered if decoded else None,
        encoded_per_clip=encoded / clips if encoded else None,
        gop=sum(len(c.pts) for c in gops) / sum(len(c.key_pts) for c in gops) if gops else None,
        from_start=len({videos[i].path for i in range(len(videos)) if loader.index.certificate(i) == (True, None)}),
        files=len(files),
        gop16_per_clip=_with_gop(loader) if decoded else None,
        engines=engines.busy,
    )


@dataclass(frozen=True)
class _Looped:
    rate: float
    waiting: float


def _loop(batches: Iterable[Batch], seconds: float, step: Callable[[torch.Tensor], None] | None = None) -> _Looped:
    """Takes batches for some seconds, epoch after epoch. The first one is not counted."""
    count, waited, warm = 0, 0.0, False
    started = now = time.perf_counter()
    while now - started < seconds:
        for batch in batches:
            arrived = time.perf_counter()
            if step is not None and len(batch):
                step(batch.clips)
            if batch.clips.is_cuda:
                torch.cuda.synchronize()
            before, now = now, time.perf_counter()
            if warm:
                count, waited = count + len(batch), waited + arrived - before
            else:
                warm, started = True, now
            if now - started >= seconds:
                break
    return _Looped(count / (now - started), waited / (now - started))


def _decode_alone(loader: Loader, seconds: float) -> float:
    """Clips per second if the same plans are only decoded, with as many threads."""
    index, until = loader.index, time.perf_counter() + seconds

    def decode(row: int, epoch: int) -> bool:
        if time.perf_counter() >= until:
            return False
        try:
            found, wanted = index[row], np.unique(loader.plan(epoch, row).frames)
            if found.template:
                for position in wanted.tolist():
                    read_image(found.image(found.start + position))
            else:
                decode_frames(found.path, wanted + found.start, index.certificate(row)[1])
        except (MediaError, OSError):
            return False
        return True

    count, epoch, started = 0, 0, time.perf_counter()
    with ThreadPoolExecutor(loader.workers) as pool:
        while time.perf_counter() < until:
            count += sum(pool.map(decode, range(len(index)), [epoch] * len(index)))
            epoch += 1
    return count / (time.perf_counter() - started)


def _with_gop(loader: Loader) -> float:
    """Mean number of decoded frames per clip, if every 16th frame were a keyframe and all others were needed."""
    total = 0
    for row in range(len(loader.index)):
        try:
            wanted = loader.plan(0, row).frames
        except MediaError:
            continue
        last = np.zeros(wanted.max() // GOP + 1, np.int64)
        np.maximum.at(last, wanted // GOP, wanted % GOP + 1)
        total += int(last.sum())
    return total / len(loader.index)


class _Engines:
    """How busy the decoders of a GPU are. Asks nvidia-smi twice a second."""

    NAMES = {"NVDEC": "utilization.decoder", "NVJPG": "utilization.jpeg"}

    def __init__(self, device: str):
        self._device, self._stop = torch.device(device), threading.Event()
        self._seen: list[list[float]] = []

    def __enter__(self) -> _Engines:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self._device.type == "cuda":
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        if self._device.type == "cuda":
            self._thread.join()

    @property
    def busy(self) -> dict[str, float]:
        if not self._seen:
            return {}
        return dict(zip(self.NAMES, (float(v) / 100 for v in np.mean(self._seen, axis=0))))

    def _watch(self) -> None:
        query = f"--query-gpu={','.join(self.NAMES.values())}"
        uuid = torch.cuda.get_device_properties(self._device).uuid  # torch numbers GPUs in its own way
        command = ["nvidia-smi", f"--id=GPU-{uuid}", query, "--format=csv,noheader,nounits"]
        while not self._stop.wait(0.5):
            try:
                answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                self._seen.append([float(value) for value in answer.split(",")])
            except (OSError, subprocess.CalledProcessError, ValueError):
                return
