"""The GPU part of `loader.py --device cuda`: does the loader keep the net and the decoders busy?

The benchmark converts the given videos to JPEG folders and to H.264 (short side 256, sides multiples of 16, a keyframe
every 16 frames, no B-frames). It then trains S3D (16 frames, 224x224, bfloat16) on them and measures the loader alone,
the net alone on clips in GPU memory, and both together. The same is measured with R3D-18 on 16 consecutive frames of
112x112 from random positions, with random crops and flips. At the end it tests NVDEC's decoder cache in DALI: with
equal content in 336x256 and in 340x256 (not a multiple of 16), and whether a file of width 464 changes one of width
456.

SPDL's authors publish 171 clips/s per H100 for R3D-18 on 16 frames of 112x112, delivered to the net, always the first
half second of a video and without augmentation (https://arxiv.org/abs/2504.20067).
"""

from __future__ import annotations

import ctypes.util
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import torch

import actrec
from actrec.config import ExtractOptions, Input
from actrec.data.video.encode import VideoWriter
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames
from actrec.engine.feeding import measure
from actrec.tools.make.extract_frames import extract_video

ROWS = 512
SECONDS = 15.0
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Training:
    """A net and its clips."""

    net: str
    clip: actrec.Clip
    size: int
    batch_size: int

    def __str__(self) -> str:
        return f"{self.net}, {self.clip.frames}x{self.size}x{self.size}"


def main(paths: Sequence[Path], *, batch_size: int, workers: int, turns: int, out: Path | None) -> None:
    if not torch.cuda.is_available():
        raise click.ClickException("--device cuda: torch finds no GPU; without --device the CPU is measured")
    lines = []
    for line in _measure(paths, max(batch_size, 32), workers):
        click.echo(line)
        lines.append(line)
    if out:
        (out / "loader_gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _measure(paths: Sequence[Path], batch_size: int, workers: int) -> Iterator[str]:
    from loader import versions

    yield f"# Loader on {torch.cuda.get_device_name()}, {workers} workers"
    yield f"\n{versions()}\n"
    smi = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.video", "--format=csv,noheader"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    yield f"nvidia-smi: {smi.stdout.strip() or smi.stderr.strip()}; libnvcuvid: {ctypes.util.find_library('nvcuvid')}\n"
    with tempfile.TemporaryDirectory() as work:
        yield from feed_table(paths, Path(work), batch_size, workers, "cuda")
        yield "\nNVDEC's decoder cache in DALI, 16 frames of re-encoded videos, loader alone:\n"
        rates = {}
        for width in (336, 340):
            files = [Path(work) / f"{width}_{path.stem}.mp4" for path in paths]
            for path, file in zip(paths, files):
                _encode(path, file, width, 256)
            rates[width] = _rate(files, batch_size, workers)
            yield f"- {width}x256: {rates[width]:.1f} clips/s"
        yield f"- speed of 340x256 relative to 336x256: **{rates[340] / rates[336]:.2f}**"
        pair = [Path(work) / f"pair_{width}.mp4" for width in (464, 456)]
        for width, file in zip((464, 456), pair):
            _encode(paths[0], file, width, 256)
        yield f"- 456x256 after 464x256: mean difference to the CPU's pixels {_apart(pair):.2f} of 255 (bound 1)"


def feed_table(paths: Sequence[Path], work: Path, batch_size: int, workers: int, device: str) -> Iterator[str]:
    """Trainings of nets: the loader alone, the net alone, and both together.

    It also runs on a CPU, slowly, as a rehearsal.
    """
    yield (
        "| net, clips | input | loader alone, clips/s | net alone, clips/s | both, clips/s "
        "| **speed of both relative to the net alone** (target 0.97) | time spent waiting for clips "
        "| use of NVDEC | use of NVJPG |"
    )
    yield "|---" * 9 + "|"
    folders = [work / path.stem for path in paths]
    prepared = [work / f"{path.stem}.mp4" for path in paths]
    for path, folder, video in zip(paths, folders, prepared):
        extract_video(path, folder, ExtractOptions(short_side=256))
        _prepare(path, video)
    s3d = Training("s3d", actrec.Clip(frames=16), 224, batch_size)
    r3d = Training("r3d_18", actrec.Clip(frames=16, stride=1, sampling="dense"), 112, 2 * batch_size)
    fastest = 0.0
    for training, name, sources in (
        (s3d, "JPEG folders", folders),
        (s3d, "re-encoded videos", prepared),
        (s3d, "videos as they are", paths),
        (r3d, "re-encoded videos", prepared),
        (r3d, "videos as they are", paths),
    ):
        fed = measure(
            _rows(sources), training.net, training.clip, batch_size=training.batch_size, size=training.size,
            workers=workers, prefetch=4, seconds=SECONDS, device=device,
        )  # fmt: skip
        busy = [f"{100 * fed.engines.get(engine, float('nan')):.0f} %" for engine in ("NVDEC", "NVJPG")]
        yield (
            f"| {training} | {name} | {fed.loader:.1f} | {fed.net:.1f} | {fed.both:.1f} "
            f"| **{fed.both / fed.net:.3f}** | {100 * fed.waiting:.0f} % | {' | '.join(busy)} |"
        )
        fastest = max(fastest, fed.both) if training is r3d else fastest
    yield f"\nR3D-18 trains with **{fastest:.0f}** clips/s on H.264 (target 400 on one H200)."


def _rows(paths: Sequence[Path]) -> list[actrec.Video]:
    """The same files again and again, with different spellings: rows of one path in a batch are decoded together."""
    spelled = [f"{path.parent}/{'./' * turn}{path.name}" for turn in range(-(-ROWS // len(paths))) for path in paths]
    return [actrec.Video(str(i), path, None, None, (0,)) for i, path in enumerate(spelled[:ROWS])]


def _prepare(path: Path, out: Path) -> None:
    probe = probe_video(path)
    scale = 256 / min(probe.width, probe.height)
    _encode(path, out, *(max(16, round(side * scale / 16) * 16) for side in (probe.width, probe.height)))


def _encode(path: Path, out: Path, width: int, height: int) -> None:
    rate = round(probe_video(path).rate) or 25
    with VideoWriter(out, width=width, height=height, rate=rate, gop=16, options={"preset": "veryfast"}) as video:
        for rgb, _ in iter_frames(path):
            video.write(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))


def _loader(paths: Sequence[Path], batch_size: int, workers: int, **options):
    return actrec.train_loader(
        _rows(paths), actrec.Clip(), Input(HALF, HALF, 16, 224), batch_size=batch_size, workers=workers,
        channels_last=True, **options,
    )  # fmt: skip


def _rate(paths: Sequence[Path], batch_size: int, workers: int) -> float:
    import time

    loader = _loader(paths, batch_size, workers, prefetch=4, device="cuda")
    for _ in range(2):
        begun, count = time.perf_counter(), 0
        for batch in loader:
            count += len(batch)
        torch.cuda.synchronize()
        rate = count / (time.perf_counter() - begun)
    return rate


def _apart(paths: Sequence[Path]) -> float:
    """Mean difference between GPU and CPU in the clips of the second file, after the first was decoded."""
    clips = []
    for device in ("cuda", "cpu"):
        loader = _loader(paths, 2, 2, device=device, augment=actrec.Augment(geometry="center", flip=False))
        batch = next(iter(loader))
        order = [int(name) % len(paths) for name in batch.videos]
        clips.append([batch.clips[i].cpu() for i, which in enumerate(order) if which == 1])
    pairs = list(zip(*clips))
    return float(sum((a - b).abs().mean() * 127.5 for a, b in pairs) / max(1, len(pairs)))


if __name__ == "__main__":
    raise SystemExit("python benchmarks/loader.py VIDEO... --device cuda")
