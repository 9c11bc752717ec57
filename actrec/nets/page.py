"""The page docs/nets.md, written by `actrec nets --markdown`."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterable

from actrec import config
from actrec.known_nets import Family, Published, known_nets
from actrec.nets.outside import DEFAULT_INPUT

WIDTH = 100  # columns of the text
OPTION_HELP = {f.name: f.metadata["help"] for f in dataclasses.fields(config.Net)} | {
    "frames": "Number of frames of the clips for which the net is built.",
    "size": "Height and width of the clips for which the net is built, in pixels: one number, or in Python also "
    "(height, width).",
}
LAYOUT_HELP = {
    "actrec": "The net's own names. `actrec train` and `actrec weights convert` write such files (`.pt`, `.pth` or "
    "`.safetensors`). Every net reads them.",
    "ibm": "`.pth.tar` files of IBM's action-recognition-pytorch, with or without the prefix `module.` of parallel "
    "training.",
    "hara": "`.pth` files of Kensho Hara's 3D-ResNets-PyTorch, with or without the prefix `module.`.",
    "torchvision": "Files of torchvision's video nets.",
    "torchvision2d": "Files of torchvision's ImageNet ResNets and GoogLeNet. For 3D convolutions, the 2D kernels are "
    "repeated in time and divided by the number of repeats. Tensors that the file lacks keep their initial values.",
    "tsm": "Files of the authors of TSM (temporal-shift-module), for TSM and TSN.",
    "mmaction2": "Files of mmaction2's TSN, TSM, I3D and R(2+1)D recognizers.",
    "pytorchvideo": "`.pyth` files of PyTorchVideo's model zoo.",
    "pyslowfast": "`.pyth` files of PySlowFast. Its Caffe2 files (`.pkl`) are not read.",
    "videoswin": "`.pth` files of Video-Swin-Transformer.",
    "videomae": "`.pth` files of VideoMAE and VideoMAEv2.",
    "vjepa2": "`.pt` files of V-JEPA 2: an encoder, an attentive probe, or both. [Published "
    "accuracies](reproduce.md#v-jepa-2) shows how to join the two.",
    "transformers": "Files of transformers (`model.safetensors`).",
}
TEXT = """\
# Nets

<!-- Written by `make nets`. A test compares this file with its output. -->

```
actrec nets                            # all nets, one line per family
actrec nets tam_resnet50               # one net: cost, input, options, layers, published accuracies
actrec nets --benchmark                # published trainings on mini datasets (arXiv:2010.11757)
actrec train --backbone tam_resnet50
actrec train --backbone my_nets:tiny   # the function `tiny` in your own my_nets.py
actrec weights inspect FILE            # which nets the weights in a file fit
```

## All nets

- **parameters** are counted with 400 classes.
- **FLOPs** are the multiply-adds of one default clip, counted as in the published tables:
  convolutions, linear layers and the matrix products of attention, without the last layer. The
  tables of PyTorchVideo and PySlowFast state up to 9 % more for X3D, C2D, I3D, CSN, R(2+1)D, Slow
  4x16 and SlowFast except 8x8 with 50 layers: they also count five operations for each value that
  is batch-normalized.
- **input** is the default clip: frames x height x width. Pass `--frames` and `--size` to change it.
- **published top-1** is the best accuracy, in percent, that was published for weights files which
  the net reads. We did not measure it with actrec. [Published accuracies](reproduce.md) lists all
  published accuracies, with the weights file, the protocol and the command.
- The accuracies of IBM's nets (arXiv:2010.11757) and of mmaction2's nets were measured without
  temporal stride. `evaluate`, `predict` and the other commands that use trained nets set the option
  themselves for published weights. To `train`, pass `--no-temporal-stride`.

{nets}

## Layouts of weights files

A layout is the way in which a project names the tensors of its weights files. `--weights` detects
the layout. If the net does not need a known tensor of the file, actrec drops the tensor and prints
the reason. If the file contains an unknown tensor, actrec refuses the file.

{layouts}

## Options

Each option is a flag of `actrec train` (`--no-temporal-stride`) and a keyword argument of
`actrec.net` (`temporal_stride=False`). `actrec.net` also takes `num_classes` and `in_channels`. A
net refuses an option that it does not have.

{options}

## Your own nets

```python
# my_nets.py
from torch import nn


def tiny(num_classes, in_channels=3, width=16):
    return nn.Sequential(
        nn.Conv3d(in_channels, width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(width, num_classes),
    )
```

Pass `--backbone my_nets:tiny` to `actrec train` in the folder of `my_nets.py`, or name a function
of an installed package: `package.module:function`. In Python, the same name works:
`actrec.net("my_nets:tiny", num_classes=8, width=32)`. `actrec.nets.register("tiny", my_nets.tiny)`
gives the net a shorter name in the current process.

- The module maps clips (N, channels, frames, height, width) to logits (N, num_classes). Clips
  arrive in channels-last format: use `reshape` instead of `view`, or pass `--no-channels-last`.
- All other parameters of the function with a default of type bool, int, float, str or None are
  options of the net. A flag such as `--dropout` works if the function has a parameter of this name.
- If the function has parameters called `frames` and `size`, `--frames` and `--size` set them. They
  are the number of frames of the clips, and their height and width in pixels.
- If the function has no parameter `in_channels`, the net works only with RGB.
- A module can have an attribute `input` (an `actrec.Input`). Without it, the net gets clips of
  {frames} frames of {size}x{size} pixels, normalized with the statistics of Kinetics-400.
- `--head-lr` and `--new-head` need to know the last layer. If the module has an attribute
  `last_layer`, they use it. Otherwise they use the last linear layer or convolution with as many
  outputs as there are classes.
- `--freeze-until` and `--layer-decay` follow the order in which the module registers its layers.
  Each member of an `nn.ModuleList` is a layer. For `--layer-decay`, a module can have an attribute
  `depth_layers`: a list of its layers from the input to the output, without the last one.
- A checkpoint stores the name of the function, not its code. `actrec evaluate` imports the function
  again, so run it in the same folder. If you do not trust the author of a checkpoint, do not
  evaluate it in a folder that contains Python files of this author: they could be imported.
"""


def markdown() -> str:
    """The page, from the stored table of nets."""
    families = known_nets().families
    return TEXT.format(
        nets=_nets(families),
        layouts=_layouts(families),
        options=_options(families),
        frames=DEFAULT_INPUT.frames,
        size=DEFAULT_INPUT.size,
    )


def _nets(families: Iterable[Family]) -> str:
    """The table of all nets."""
    details = [known_nets().nets[name] for family in families for name in family.names]
    return _table(
        ("net", "paper", "parameters", "FLOPs", "input", "layouts besides actrec", "published top-1"),
        [
            (
                f"`{net.name}`",
                _linked(net.paper),
                f"{net.params / 1e6:.2f} M",
                f"{net.flops / 1e9:.2f} G",
                f"{net.input.frames} x {'x'.join(map(str, net.input.shape))}",
                ", ".join(net.weights[1:]) or "–",
                _best(net.published),
            )
            for net in details
        ],
    )


def _best(published: Iterable[Published]) -> str:
    """The best published top-1 for each dataset."""
    best: dict[str, float] = {}
    for each in published:
        if each.top1 is not None:
            best[each.dataset] = max(each.top1, best.get(each.dataset, 0.0))
    return "<br>".join(f"{dataset}: {top1:.2f}" for dataset, top1 in best.items()) or "–"


def _layouts(families: Iterable[Family]) -> str:
    """A section for each layout."""
    parts = []
    for layout, text in LAYOUT_HELP.items():
        parts += [f"### {layout}", _wrapped(text)]
        readers = _listed(family for family in families if layout in family.weights)
        if layout != "actrec" and readers:
            parts.append(_wrapped(f"Read by {readers}."))
    return "\n\n".join(parts)


def _options(families: Iterable[Family]) -> str:
    """The table of all options, in the order of their flags."""
    taken = {option for family in families for option in family.options}
    rows = [(f"`{o}`", OPTION_HELP[o], _defaults(o, families)) for o in OPTION_HELP if o in taken]
    return _table(("option", "meaning", "default"), rows)


def _defaults(option: str, families: Iterable[Family]) -> str:
    """Each default value with the families that have it."""
    by_default: dict[str, list[Family]] = {}
    for family in families:
        if option in family.options:
            by_default.setdefault(str(family.options[option]), []).append(family)
    return "<br>".join(f"{default}: {_listed(having)}" for default, having in by_default.items())


def _listed(families: Iterable[Family]) -> str:
    return ", ".join(f"`{family.label}`" for family in families)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


def _linked(text: str) -> str:
    """The text with links for the numbers of papers."""
    return re.sub(r"arXiv:(\d+\.\d+)", r"[\1](https://arxiv.org/abs/\1)", text)
