"""Clips per second of the training loader, its decoders in turn, in one run.

    python benchmarks/loader.py LIST [--device cuda] [--frames 8] [--size 224] [--batch-size 16] [--seconds 10]

Prints what each decoder delivers, median over the turns, and its ratio to a plain PyAV decode of the same files from
their start to the last wanted frame, one thread per core, without resizing (video lists only). On a GPU the decoders
are DALI's ("dali": NVDEC, nvJPEG) and the decode workers ("workers"); elsewhere the workers, and DALI's CPU decoders
where they know the files.
"""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import click
import torch

import actrec
from actrec.data.index import build_index, cache_path
from actrec.data.plan import epoch_order, plan_train
from actrec.nets import NETS


@click.command()
@click.argument("list_path", metavar="LIST", type=click.Path(path_type=Path))
@click.option("--device", default="cpu", show_default=True)
@click.option("--frames", default=8, show_default=True)
@click.option("--size", default=224, show_default=True)
@click.option("--sampling", type=click.Choice(["uniform", "dense"]), default="uniform", show_default=True)
@click.option("--stride", default=1, show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--workers", default=os.cpu_count(), show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Of each turn.")
@click.option("--turns", default=5, show_default=True)
def main(list_path, device, frames, size, sampling, stride, batch_size, workers, seconds, turns) -> None:
    videos = actrec.read_list(list_path)
    videos *= -(-4 * batch_size // len(videos))  # a short list is repeated
    index = build_index(videos, cache=cache_path(list_path))
    clip = actrec.Clip(frames=frames, stride=stride, sampling=sampling)
    net_input = NETS.get("s3d").input
    net_input = type(net_input)(net_input.mean, net_input.std, frames, size)
    loaders = {
        decoder: actrec.train_loader(
            videos, clip, net_input, batch_size=batch_size, device=device, index=index, workers=workers,
            channels_last=True, decoder=decoder,
        )
        for decoder in ("workers", "dali")
    }  # fmt: skip
    contestants = {name: lambda loader=loader: _loader_rate(loader, seconds) for name, loader in loaders.items()}
    if all(index[i].template is None for i in range(len(videos))):
        contestants["plain PyAV"] = lambda: _floor_rate(videos, index, clip, size, workers, seconds)
    for loader in loaders.values():  # certificates, pipelines, page cache
        for _ in loader:
            pass
    rates = {name: [] for name in contestants}
    for _ in range(turns):
        for name, measure in contestants.items():
            rates[name].append(measure())
    print(
        f"{list_path}: {frames} frames, {sampling}, size {size}, batch {batch_size}, {workers} workers, {_name(device)}"
    )
    floor = statistics.median(rates.get("plain PyAV", [float("nan")]))
    for name, found in rates.items():
        median = statistics.median(found)
        print(
            f"{name:<12} {median:8.1f} clips/s  (from {min(found):.1f} to {max(found):.1f})  ratio {median / floor:.2f}"
        )


def _loader_rate(loader, seconds: float) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for batch in loader:
            count += len(batch)
            if time.perf_counter() - began >= seconds:
                break
    if loader.device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - began)


def _floor_rate(videos, index, clip, size: int, workers: int, seconds: float) -> float:
    """Decoding alone, from the start of each file to the last frame of its plan."""
    until = time.perf_counter() + seconds

    def decode(row: int) -> int:
        if time.perf_counter() >= until:
            return 0
        found = index[row]
        plan = plan_train(
            num_frames=found.frames, width=found.width, height=found.height, clip=clip, size=size,
            augment=actrec.Augment(), seed=0, epoch=1, index=row,
        )  # fmt: skip
        with av.open(found.path) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for i, _ in enumerate(container.decode(video=0)):
                if i >= plan.frames.max():
                    break
        return 1

    began, count = time.perf_counter(), 0
    with ThreadPoolExecutor(workers) as pool:
        while time.perf_counter() < until:
            count += sum(pool.map(decode, epoch_order(len(videos), seed=0, epoch=1).tolist()))
    return count / (time.perf_counter() - began)


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device.startswith("cuda") else f"{os.cpu_count()} CPU cores"


if __name__ == "__main__":
    main()
