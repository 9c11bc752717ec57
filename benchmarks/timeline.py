"""Speed and memory of `actrec predict --timeline`.

    python benchmarks/timeline.py VIDEO [--hours 2] [--plot memory.png]

The video is repeated to a long one without encoding it again: the packets are copied with later times.

Speed: seconds of video per second, for one window each second. In turn, the floor is measured: the same net alone on
as many clips in memory, and decoding the same frames alone, one after the other. The medians of the turns are compared.

Memory: the resident memory while a net with little work scores all windows of the long video.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

import actrec
from actrec import figures
from actrec.config import Input, Windows
from actrec.data.video.read import decode_frames
from actrec.engine import evaluate as engine
from actrec.pipelines.sweep import Sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", metavar="VIDEO", type=Path)
    parser.add_argument("--net", default="tam_resnet18")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--every", type=float, default=1.0, help="seconds from window to window")
    parser.add_argument("--window", type=float, default=2.0, help="seconds of a window")
    parser.add_argument("--seconds", type=float, default=60, help="of the video for the measurement of speed")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--hours", type=float, default=2, help="of the video for the measurement of memory; 0: none")
    parser.add_argument("--plot", type=Path, help="write a picture of the memory over time")
    args = parser.parse_args()
    windows = Windows(every=args.every, window=args.window)
    with tempfile.TemporaryDirectory() as work:
        short = repeat(args.video, Path(work) / f"short{args.video.suffix}", args.seconds)
        for line in measure_speed(short, args.net, args.frames, windows, args.turns):
            print(line, flush=True)
        if args.hours:
            long = repeat(args.video, Path(work) / f"long{args.video.suffix}", args.hours * 3600)
            for line in measure_memory(long, args.frames, windows, args.plot):
                print(line, flush=True)


def repeat(source: Path, path: Path, seconds: float) -> Path:
    """Copies the packets of the video stream again and again, until the copy is so long."""
    with av.open(str(path), "w") as out:
        stream, shift, reached = None, 0, 0.0
        while reached < seconds:
            with av.open(str(source)) as container:
                own = container.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(own)
                end, first = 0, None
                for packet in container.demux(own):
                    if packet.dts is None:
                        continue
                    first = packet.dts if first is None else first
                    end = max(end, packet.dts + (packet.duration or 1) - first)
                    packet.pts, packet.dts = packet.pts - first + shift, packet.dts - first + shift
                    reached = float((packet.dts + (packet.duration or 1)) * own.time_base)
                    packet.stream = stream
                    out.mux(packet)
                shift += end
    return path


def sweep_of(path: Path, windows: Windows, frames: int, net_input: Input, device: torch.device) -> Sweep:
    return Sweep(
        actrec.Video.of(path),
        windows,
        actrec.Clip(frames=frames),
        net_input,
        batch_size=32,
        device=device,
        channels_last=True,
    )


def measure_speed(path: Path, name: str, frames: int, windows: Windows, turns: int):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = actrec.net(name, num_classes=400).eval()
    net = net.to(device, memory_format=net.channels_last)
    sweep = sweep_of(path, windows, frames, net.input, device)
    size, group, media = net.input.side, engine._GROUP[device.type], sweep.media
    duration, num_windows = media.frames / media.rate, len(sweep.videos)
    clips = torch.randn(group, frames, size, size, 3, device=device).permute(0, 4, 1, 2, 3)

    def whole() -> float:
        began = time.perf_counter()
        engine.score(net, sweep)
        return time.perf_counter() - began

    def net_alone() -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            for _ in range(-(-num_windows // group)):
                net(clips)
            if device.type == "cuda":
                torch.cuda.synchronize()
        return time.perf_counter() - began

    def decoding_alone() -> float:
        began, last = time.perf_counter(), int(sweep.ranges[-1, 1]) - 1
        decode_frames(path, [last], None)
        return time.perf_counter() - began

    whole(), net_alone(), decoding_alone()
    decoded = sweep.decoded
    took = np.array([(whole(), net_alone(), decoding_alone()) for _ in range(turns)])
    floor = took[:, 1] + took[:, 2]
    factors = duration / took[:, 0]
    yield f"{name}, {frames} frames of {size}x{size}, {media.width}x{media.height} at {media.rate:g} frames per second,"
    yield f"{duration:.0f} s, a window of {windows.window:g} s every {windows.every:g} s ({num_windows}), {device.type}"
    yield ""
    yield "| what | seconds of video per second | range |"
    yield "|---|---|---|"
    for what, seconds in (("timeline", took[:, 0]), ("net alone", took[:, 1]), ("decoding alone", took[:, 2])):
        rates = duration / seconds
        yield f"| {what} | {statistics.median(rates):.2f} | {rates.min():.2f} to {rates.max():.2f} |"
    ratios = floor / took[:, 0]
    yield ""
    yield f"real-time factor {statistics.median(factors):.2f}"
    spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
    yield f"(net alone + decoding alone) / timeline {statistics.median(ratios):.2f} ({spread})"
    yield f"decoded / frames {decoded / media.frames:.3f}"


def measure_memory(path: Path, frames: int, windows: Windows, plot: Path | None):
    net = actrec.net("resnet3d_10", num_classes=10, widen=0.125).eval()
    sweep = sweep_of(path, windows, frames, Input((0.5,) * 3, (0.5,) * 3, frames, 112), torch.device("cpu"))
    samples: list[tuple[float, float, int]] = []  # hours, MiB, pictures held
    done = 0

    def sample(count: int) -> None:
        nonlocal done
        done += count
        samples.append((sweep.times[done - 1, 1] / 3600, resident(), sweep.num_held))

    before = resident()
    engine.score(net, sweep, progress=sample)
    hours, memory, held = map(np.array, zip(*samples))
    media = sweep.media
    yield ""
    yield f"{media.frames / media.rate / 3600:.2f} h, {media.frames} frames, {len(sweep.videos)} windows"
    yield ""
    yield "| part of the video | resident memory, MiB (mean) | most pictures held |"
    yield "|---|---|---|"
    for part in range(10):
        chosen = slice(len(hours) * part // 10, len(hours) * (part + 1) // 10)
        yield f"| {part * 10} to {part * 10 + 10} % | {memory[chosen].mean():.0f} | {held[chosen].max()} |"
    yield ""
    yield f"before {before:.0f} MiB; decoded / frames {sweep.decoded / media.frames:.4f}"
    if plot is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 3), dpi=120, layout="constrained")
        axis = figure.subplots()
        axis.plot(hours, memory)
        axis.set_ylim(0)
        axis.set_xlabel("hours of video that are scored")
        axis.set_ylabel("resident memory, MiB")
        figures.save(plot, figure)


def resident() -> float:
    """MiB. Linux only."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
