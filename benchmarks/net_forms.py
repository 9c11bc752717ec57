"""Compare actrec's implementations of layers with the literal ones of the references: same nets, same weights.

    python benchmarks/net_forms.py tam_resnet18 tsm_resnet18 --size 112
    python benchmarks/net_forms.py s3d i3d --literal-form contiguous

Literal means: torch's own 3D convolutions and pools; TAM as three 1x1 convolutions, shifted copies, sum and ReLU; TSM
as slices that are written into zeros. The two implementations take turns.
"""

from __future__ import annotations

import os

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line sets it

import argparse
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.engine import bench
from actrec.nets import NETS
from actrec.nets.layers import Conv3d, Pool3d, folded, unfolded
from actrec.nets.temporal import SHIFT_DIV, TemporalAggregation, TemporalShift


class LiteralAggregation(TemporalAggregation):
    """Apply each 1x1 convolution to all frames, then shift the copies, then add them."""

    def forward(self, x: Tensor) -> Tensor:
        terms = []
        for i, weight in enumerate(self.weights):
            term = unfolded(F.conv2d(folded(x), weight, groups=x.shape[1] if self.depthwise else 1), like=x)
            moved = torch.zeros_like(term)
            frames = i - self.frames // 2
            if frames > 0:
                moved[:, :, :-frames] = term[:, :, frames:]
            elif frames < 0:
                moved[:, :, -frames:] = term[:, :, :frames]
            else:
                moved = term
            terms.append(moved)
        return F.relu(sum(terms) if self.sums else torch.stack(terms).amax(0))


class LiteralShift(TemporalShift):
    def forward(self, x: Tensor) -> Tensor:
        fold, out = x.shape[1] // SHIFT_DIV, torch.zeros_like(x)
        out[:, :fold, :-1] = x[:, :fold, 1:]
        out[:, fold : 2 * fold, 1:] = x[:, fold : 2 * fold, :-1]
        out[:, 2 * fold :] = x[:, 2 * fold :]
        return out


class LiteralPool(Pool3d):
    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool3d if self.is_max else F.avg_pool3d
        return pool(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


LITERAL = {
    Conv3d: nn.Conv3d,
    Pool3d: LiteralPool,
    TemporalAggregation: LiteralAggregation,
    TemporalShift: LiteralShift,
}


def literal(build, **options) -> nn.Module:
    net = build(**options)
    for module in net.modules():
        module.__class__ = LITERAL.get(type(module), type(module))
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="+")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=112)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--literal-form", choices=("default", "contiguous"), default="default",
                        help="contiguous: the literal nets in float32, contiguous, as the references run")  # fmt: skip
    args = parser.parse_args()
    ours = bench.default_form("cpu")
    theirs = ours if args.literal_form == "default" else bench.Form("float32", channels_last=False)
    print(f"{'net':<20} {'ours, ' + str(ours):<34} {'literal, ' + str(theirs):<36} ratio")
    for name in args.nets:
        entry = NETS.get(name)
        NETS.add(f"{name} literal", replace(entry, build=partial(literal, entry.build)))
        shape = {"frames": args.frames, "size": args.size, "batch_size": args.batch_size}
        pair = bench.training_speeds(
            [(name, ours), (f"{name} literal", theirs)], **shape, turns=args.turns, steps=args.steps
        )
        print(f"{name:<20} {pair[0].median:<34.2f} {pair[1].median:<36.2f} {pair[0].ratio(pair[1]):.2f}", flush=True)


if __name__ == "__main__":
    main()
