"""The mini benchmark: 288 trainings published by Chen et al. (arXiv:2010.11757), and the nets here that they used."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actrec import nets
from actrec.nets.backbone import Backbone
from actrec.nets.profile import Profile, profile

TABLE = Path(__file__).with_name("mini_benchmark.csv")
SIZE = 224  # height and width of the crops in pixels
# Trainings of I3D without temporal stride with an older program. Its last pool had a kernel of 2 frames without padding
# and lost a frame. The published FLOPs of the other five such trainings are those of today's I3D.
OLDER_I3D = {
    ("mini_st2stv2", 8),
    ("mini_st2stv2", 16),
    ("mini_st2stv2", 32),
    ("mini_kinetics400", 8),
    ("mini_kinetics400", 16),
    ("mini_moments", 8),
    ("mini_moments", 16),
}


@dataclass(frozen=True)
class Row:
    """A published training.

    Args:
        dataset: a mini version of Something-Something V2, Kinetics-400 or Moments in Time.
        net, options: arguments of `actrec.net`.
        num_classes: number of classes of the dataset.
        frames: number of frames of a clip.
        top1, top5: accuracy in percent.
        flops, params: the published cost. `measured` counts it.
    """

    dataset: str
    net: str
    options: Mapping[str, bool | str]
    num_classes: int
    frames: int
    top1: float
    top5: float
    flops: int
    params: int


def rows() -> list[Row]:
    """All published trainings."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [_row(line) for line in csv.DictReader(file)]


def measured(row: Row) -> Profile:
    """The cost of a row's net as actrec counts it."""
    with_one, head_features = _measured(row.net, tuple(row.options.items()), row.frames)
    return Profile(with_one.params + (row.num_classes - 1) * (head_features + 1), with_one.flops)


def _row(line: Mapping[str, str]) -> Row:
    dataset, backbone, frames = line["dataset"], line["backbone"], int(line["frames"])
    options: dict[str, bool | str] = {"temporal_stride": line["t_stride"] == "true"}
    if backbone == "i3d" and not options["temporal_stride"] and (dataset, frames) in OLDER_I3D:
        options["last_pool"] = "valid"
    return Row(
        dataset=dataset,
        net=_net_name(backbone, line["depth"], blended=line["temporal_module"] == "TAM"),
        options=options,
        num_classes=int(line["num_classes"]),
        frames=frames,
        top1=float(line["top1"]),
        top5=float(line["top5"]),
        flops=int(line["flops"]),
        params=int(line["params"]),
    )


def _net_name(backbone: str, depth: str, *, blended: bool) -> str:
    name = f"{backbone}{depth}".replace("-", "_")
    return f"{'tam' if blended else 'tsn'}_{name}" if backbone in ("inception-v1", "resnet") else name


@functools.cache
def _measured(name: str, options: tuple, frames: int) -> tuple[Profile, int]:
    """The cost with one class, and the number of inputs of the last layer."""
    net = _on_no_device(name, options)
    return profile(net, frames=frames, size=SIZE), net.head_features


@functools.cache
def _on_no_device(name: str, options: tuple) -> Backbone:
    return nets.outline(name, num_classes=1, **dict(options))
