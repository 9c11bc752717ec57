"""Compare `actrec extract-frames` with a pool of `ffmpeg -threads 1`, in turns: same videos, sizes and cores.

    python benchmarks/extract_frames.py ../shared/videos/peer ../shared/videos/ut_interaction/videos

Quality is the luma PSNR of each tool's JPEGs against its own scaled frames before compression (PNG for actrec, rawvideo
for ffmpeg), so differences between the two scalers do not count. ffmpeg runs with the `-q:v` of 2 to 5 that has the
highest PSNR not above that of actrec.

This benchmark needs the program ffmpeg (`apt-get install ffmpeg`); actrec itself does not.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from actrec.config import ExtractOptions
from actrec.data.video.probe import probe_video
from actrec.tools.make.extract_frames import extract_frames, extract_video
from actrec.tools.make.jobs import Workers

OPTIONS = ExtractOptions()
QUALITIES = (2, 3, 4, 5)
SAMPLE = 60  # frames of each video whose PSNR is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, help="video files, and folders of them")
    parser.add_argument("--copies", type=int, default=1, help="times that each video is in the data set")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, help="where the frames go for a while  [default: a temporary folder]")
    args = parser.parse_args()
    if not shutil.which("ffmpeg"):
        sys.exit("ffmpeg is missing: apt-get install ffmpeg")
    sizes = {}
    for path in (file for given in args.videos for file in _files(given)):
        probe = probe_video(path)
        if not probe.rotation:
            sizes[path] = (probe.width, probe.height)
    groups = {
        "720p and above": [p for p, size in sizes.items() if min(size) >= 720],
        "smaller, scaled": [p for p, size in sizes.items() if OPTIONS.short_side < min(size) < 720],
        "not scaled": [p for p, size in sizes.items() if min(size) <= OPTIONS.short_side],
    }
    print(_versions())
    print(
        "| videos (number of files) | frames | actrec, s | ffmpeg, s | **speed relative to ffmpeg** "
        "| processor time, s: actrec / ffmpeg | processor time of ffmpeg divided by that of actrec "
        "| luma PSNR, dB: actrec / ffmpeg (its `-q:v`) | KiB per frame: actrec / ffmpeg |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    # Nothing is deleted before the end: after many deletions, ext4 creates new files up to five times more slowly.
    with tempfile.TemporaryDirectory(dir=args.out) as work:
        for number, (name, paths) in enumerate(groups.items()):
            if paths:
                print(_row(name, {p: sizes[p] for p in paths}, args, Path(work) / str(number)), flush=True)


def _files(given: Path) -> list[Path]:
    found = sorted(given.rglob("*")) if given.is_dir() else [given]
    return [p for p in found if p.suffix in (".mp4", ".avi", ".mkv", ".webm", ".mpg", ".mov")]


def _row(name: str, sizes: dict[Path, tuple[int, int]], args: argparse.Namespace, work: Path) -> str:
    sizes = _same_count(sizes, work)
    ours, theirs = _quality(sizes, work)
    below = [q for q in QUALITIES if theirs[q] <= ours]
    quality = below[0] if below else QUALITIES[-1]
    src = work / "videos"
    jobs = []
    for i, (path, size) in enumerate(item for item in sizes.items() for _ in range(args.copies)):
        link = src / "a" / f"{i:04d}{path.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
        jobs.append((link, size, path.stat().st_size))
    seconds: dict[str, list[tuple[float, float]]] = {"actrec": [], "ffmpeg": []}
    for turn in range(args.repeat):
        out = {tool: work / f"{turn}_{tool}" for tool in seconds}
        made = _timed(seconds["actrec"], extract_frames, src, out["actrec"], OPTIONS, workers=Workers(args.workers))
        _timed(seconds["ffmpeg"], _ffmpeg_pool, jobs, out["ffmpeg"], quality, args.workers)
        ours_kib, theirs_kib = (_kib(folder) for folder in out.values())
        assert sum(1 for _ in out["ffmpeg"].rglob("*.jpg")) == made.frames, "not the same work"
    wall = {tool: statistics.median(t[0] for t in times) for tool, times in seconds.items()}
    cpu = {tool: statistics.median(t[1] for t in times) for tool, times in seconds.items()}
    ratio = statistics.median(b[0] / a[0] for a, b in zip(seconds["actrec"], seconds["ffmpeg"]))
    return (
        f"| {name} ({len(jobs)}) | {made.frames:,} | {wall['actrec']:.2f} | {wall['ffmpeg']:.2f} | **{ratio:.2f}** "
        f"| {cpu['actrec']:.2f} / {cpu['ffmpeg']:.2f} | {cpu['ffmpeg'] / cpu['actrec']:.2f} "
        f"| {ours:.1f} / {theirs[quality]:.1f} (q {quality}) "
        f"| {ours_kib / made.frames:.1f} / {theirs_kib / made.frames:.1f} |"
    )


def _same_count(sizes: dict[Path, tuple[int, int]], work: Path) -> dict[Path, tuple[int, int]]:
    """Leave out videos from which the two tools make different numbers of frames (edit lists, packed streams)."""
    same = {}
    for i, (path, size) in enumerate(sizes.items()):
        count = extract_video(path, work / "count" / f"{i}_actrec", OPTIONS)
        folder = work / "count" / f"{i}_ffmpeg"
        folder.mkdir(parents=True)
        subprocess.run([*_ffmpeg(path, size), "-q:v", "5", f"{folder}/%05d.jpg"], check=True)
        other = len(list(folder.iterdir()))
        if count == other:
            same[path] = size
        else:
            print(f"left out: {path.name}, {count} frames here, {other} from ffmpeg", file=sys.stderr)
    return same


def _timed(times: list[tuple[float, float]], work: Callable, *args, **kwargs):
    wall, before = time.perf_counter(), os.times()
    result = work(*args, **kwargs)
    wall, after = time.perf_counter() - wall, os.times()
    times.append((wall, sum(after[:4]) - sum(before[:4])))
    return result


def _ffmpeg_pool(jobs, folder: Path, quality: int, workers: int) -> None:
    def one(job) -> None:
        path, size, _ = job
        target = folder / path.stem
        target.mkdir(parents=True)
        subprocess.run([*_ffmpeg(path, size), "-q:v", str(quality), str(target / "%05d.jpg")], check=True)

    with ThreadPoolExecutor(workers) as pool:  # the largest first, as actrec does
        list(pool.map(one, sorted(jobs, key=lambda job: -job[2])))


def _ffmpeg(path: Path, size: tuple[int, int]) -> list[str]:
    """Decode, scale as ffmpeg does by default, every frame once; one thread in the decoder, filters and encoder."""
    width, height = OPTIONS.size(*size)
    scale = ["-vf", f"scale={width}:{height}"] if (width, height) != size else []
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-filter_threads", "1", "-threads", "1", "-i", str(path)]
    return [*command, "-fps_mode", "passthrough", *scale, "-threads", "1"]


def _quality(sizes: dict[Path, tuple[int, int]], work: Path) -> tuple[float, dict[int, float]]:
    """Mean luma PSNR of the JPEGs of actrec, and of ffmpeg at each quality."""
    ours, theirs = [], {q: [] for q in QUALITIES}
    for i, (path, size) in enumerate(sizes.items()):
        if i % max(len(sizes) // 12, 1):
            continue
        shape = OPTIONS.size(*size)[::-1]
        jpg, png = work / f"{i}_jpg", work / f"{i}_png"
        extract_video(path, jpg, OPTIONS)
        extract_video(path, png, ExtractOptions(template="{:05d}.png"))
        lossless = [_luma_of(cv2.imread(str(file))) for file in sorted(png.iterdir())[:SAMPLE]]
        ours.append(_psnr(_luma(["ffmpeg", "-loglevel", "error", "-i", f"{jpg}/%05d.jpg"], shape), np.stack(lossless)))
        scaled = _luma(_ffmpeg(path, size), shape)
        for q in QUALITIES:
            folder = work / f"{i}_{q}"
            folder.mkdir()
            frames = ["-frames:v", str(SAMPLE), "-q:v", str(q), f"{folder}/%05d.jpg"]
            subprocess.run([*_ffmpeg(path, size), *frames], check=True)
            theirs[q].append(_psnr(_luma(["ffmpeg", "-loglevel", "error", "-i", f"{folder}/%05d.jpg"], shape), scaled))
    return float(np.mean(ours)), {q: float(np.mean(values)) for q, values in theirs.items()}


def _luma(command: list[str], shape: tuple[int, int]) -> np.ndarray:
    """The first frames that an ffmpeg command writes: full-range luma, (frames, height, width)."""
    height, width = shape
    raw = [*command, "-frames:v", str(SAMPLE), "-pix_fmt", "yuvj420p", "-f", "rawvideo", "-"]
    data = np.frombuffer(subprocess.run(raw, check=True, capture_output=True).stdout, np.uint8)
    size = height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)
    return data.reshape(-1, size)[:, : height * width].reshape(-1, height, width).astype(np.float32)


def _luma_of(bgr: np.ndarray) -> np.ndarray:
    return bgr.astype(np.float32) @ np.array([0.114, 0.587, 0.299], np.float32)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))


def _kib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*.jpg")) / 1024


def _versions() -> str:
    import av

    info = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return (
        f"{datetime.date.today()}, {cpu[0]}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, "
        f"PyAV {av.__version__}, OpenCV {cv2.__version__}, ffmpeg {ffmpeg}; commit {git or 'none yet'}\n"
    )


if __name__ == "__main__":
    main()
