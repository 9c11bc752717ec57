"""Exports a small net of each family, and prints a table of which export and how exactly.

    python benchmarks/export_table.py
    python benchmarks/export_table.py --flow
    python benchmarks/export_table.py tam_resnet18 my_nets:tiny

Each net has fresh weights, 5 classes, and clips of few frames of 64x64 pixels. Differences are those of
`actrec export`: between the logits of the file and of the net, relative to the largest logit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

import actrec
from actrec import config, nets
from actrec.nets import catalog

SIZE, FRAMES = 64, 8
# What a family is exported with where its defaults do not do: names of nets -> options, and a longer clip.
OPTIONS: dict[str, dict[str, nets.OptionValue]] = {"c3d": {"global_pooling": True}}
LONGER = {"densenet3d": 16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", help="names of nets; default: the smallest of each family")
    parser.add_argument("--flow", action="store_true", help="nets for optical flow")
    arguments = parser.parse_args()
    names = arguments.nets or [family.names[0] for family in catalog.families()]
    print("| net | opset | onnx, difference | pt2, difference | model.onnx, MB |")
    print("|---|---|---|---|---|", flush=True)
    for name in names:
        print(row(name, flow=arguments.flow), flush=True)


def row(name: str, *, flow: bool) -> str:
    """One row of the table; for a net that does not export, the reason."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = model_of(name, flow=flow).export(Path(folder) / "out")
        except ValueError as error:
            return f"| {name} | {error} | | | |"
        size = (Path(folder) / "out/model.onnx").stat().st_size / 1e6
    differences = f"{found.onnx_difference:.1e} | {found.pt2_difference:.1e}"
    return f"| {name} | {found.opset} | {differences} | {size:.0f} |"


def model_of(name: str, *, flow: bool) -> actrec.Model:
    """A model with fresh weights."""
    torch.manual_seed(0)
    frames = next((frames for family, frames in LONGER.items() if name.startswith(family)), FRAMES)
    net = actrec.net(name, num_classes=5, in_channels=10 if flow else 3, **OPTIONS.get(name, {})).eval()
    return actrec.Model(
        net=net,
        input=config.Frame(size=SIZE).applied_to(net.input),
        clip=actrec.Clip(frames=frames, modality="flow" if flow else "rgb"),
        views=actrec.Views(),
        classes=None,
        scoring=config.Scoring(),
        multi_label=False,
        channels_last=False,
        device=torch.device("cpu"),
        loader=config.Loader(),
        source=Path(name),
    )


if __name__ == "__main__":
    main()
