"""How much slower evaluation is than its net alone on the same clips in memory.

    python benchmarks/evaluate.py VIDEO... [--net tam_resnet18] [--clips 10] [--crops 3]

The videos are scored as `actrec evaluate` scores them. In turn, the same net computes clips of the same number and
shape that are in memory already, as many at once as evaluation does. The medians of the turns are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

import actrec
from actrec.data.index import build_index
from actrec.engine import evaluate as engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", metavar="VIDEO", nargs="+", type=Path)
    parser.add_argument("--net", default="tam_resnet18")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--crops", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="how often each video is scored in a turn")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = actrec.net(args.net, num_classes=400).eval()
    net = net.to(device, memory_format=net.channels_last)
    paths = [str(path) for path in args.videos for _ in range(args.repeat)]
    videos = [actrec.Video(f"{i} {path}", path, None, None, ()) for i, path in enumerate(paths)]
    views = actrec.Views(clips=args.clips, crops=args.crops)
    clip, index = actrec.Clip(frames=args.frames), build_index(videos)

    def evaluate() -> float:
        loader = actrec.eval_loader(
            videos, clip, net.input, views=views, batch_size=max(1, 32 // views.num_views), device=device, index=index,
            channels_last=True,
        )  # fmt: skip
        began = time.perf_counter()
        engine.evaluate(net, loader)
        return time.perf_counter() - began

    size, group = net.input.side, engine._GROUP[device.type]
    clips = torch.randn(group, args.frames, size, size, 3, device=device).permute(0, 4, 1, 2, 3)
    num_groups = -(-len(videos) * views.num_views // group)

    def net_alone() -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            for _ in range(num_groups):
                net(clips)
            if device.type == "cuda":
                torch.cuda.synchronize()
        return time.perf_counter() - began

    evaluate(), net_alone()
    whole, alone = zip(*((evaluate(), net_alone()) for _ in range(args.turns)))
    number = len(videos) * views.num_views
    ratios = [n / w for w, n in zip(whole, alone)]
    print(f"{args.net}, {args.frames} frames of {size}x{size}, {args.clips}x{args.crops} views, {len(videos)} videos")
    print(f"evaluate   {number / statistics.median(whole):6.1f} views/s")
    print(f"net alone  {number / statistics.median(alone):6.1f} views/s")
    print(f"evaluate / net alone  {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
