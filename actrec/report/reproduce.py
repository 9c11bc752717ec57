"""Published weights files and their protocols, and the page docs/reproduce.md (`actrec protocols --markdown`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from actrec.data.sampling.protocols import PROTOCOLS, Protocol, crops, frames
from actrec.known_nets import Published, known_nets

TEXT = """\
# Published accuracies

<!-- Written by `make nets`. A test compares this file with its output. -->

    actrec evaluate --weights K400-I3D-ResNet-50-f32.pth.tar --backbone i3d_resnet50 --list val.txt
    actrec protocols             # list all protocols
    actrec protocols ibm_k400    # show one of them: its frames, crops, average and weights files

This page lists published weights files. For each file, it gives the accuracy that was published,
and the command that measures it. You need the weights file and the videos.

An accuracy belongs to a *protocol*. A protocol says which frames of a video the net gets, how they
are resized and cropped, and how the outputs of the net are averaged. actrec knows {num_protocols} protocols of
ten programs. It takes the same frames and crops as these programs.

`actrec evaluate` recognizes the weights files in the tables below, uses the protocol with which
they were published, and prints its name. `--protocol NAME` chooses another protocol.
`--protocol none` uses actrec's own frames and crops. `actrec predict` does the same.

The accuracies are in percent. They are the numbers that the authors published. They were **not**
measured with actrec, because the large datasets were not available.

| to do this | see |
|---|---|
| repeat a training of IBM's program | [recipes](from_ibm.md#recipes) |
| fine-tune and score Hara's nets | [from Hara's 3D-ResNets](from_hara.md) |
| find all nets and the weights that they read | [nets](nets.md) |
| compare 288 published trainings on mini datasets | `actrec nets --benchmark` |

Before you compare an accuracy with a published one, check these points:

- **Videos.** Videos of Kinetics disappear from the web. Published validation sets have 19,761 to
  19,881 videos, and accuracies differ by up to five points between copies of the dataset.
  `actrec evaluate` prints how many videos are missing, and the fingerprint of the list.
- **Classes.** Your list must number the classes in the same order as the list with which the
  weights were trained. `actrec lists` numbers them alphabetically.
- **Short videos.** torchvision leaves out videos that are shorter than a clip. With torchvision's
  protocols, `actrec evaluate` also leaves them out, and prints how many there are.
- **Files.** Your videos must have the same frames and the same size as those of the authors. Many
  authors resized the videos before training, to a short side of 256 pixels or to 340x256 pixels.
  PySlowFast and PyTorchVideo read Something-Something V2 as images at 30 frames per second. Their
  authors extracted them with `ffmpeg -i VIDEO -r 30 -q:v 1 VIDEO_%06d.jpg`.

## I cannot reproduce the number

    actrec evaluate --weights FILE --backbone NET --list val.txt --sensitivity

This command changes one detail of the evaluation at a time. For each change, it prints how much
top-1 changes on your list, with a confidence interval. [actrec evaluate](cli.md#actrec-evaluate)
explains the output. Compare your number with the published one:

| if your number | check |
|---|---|
| is near 0 | the order of the classes, `--mean` and `--std`, and whether the file belongs to this net |
| is lower by 5 points or more | clips, stride, and the frame rate of videos or frame folders |
| is lower by 1 to 5 points | the number of views, the size of the videos, and whether they were compressed again |
| differs by less than 1 point | the rows of `--sensitivity` with a change of this size, and missing videos |
| differs, but the interval of `as evaluated` contains the published number | nothing: this can be chance |

If videos are missing, first compare the number of your videos with the published number.
`--sensitivity` shows how much top-1 can change if 5 % of the videos are missing at random. But
videos rarely disappear at random, so the real change can be larger.

{tables}

## Published accuracies without a protocol

These are not in the tables:

- **VideoMAE v2, ViT-S and ViT-B** (`vit_s_k710_dl_from_giant.pth`, `vit_b_k710_dl_from_giant.pth`).
  They have the 710 classes of Kinetics-710. Their accuracies on Kinetics-400 (83.7 and 86.6) need
  the authors' table of classes. `--protocol videomae_k400` takes their frames and crops.
- **mmaction2 0.x.** actrec also reads its files of TSN, TSM, I3D and R(2+1)D. mmaction2 0.x
  measured their accuracies with other settings than those of 1.x, which the protocols have.
- **Hara's 3D-ResNets.** The files were published without accuracies, or with the mean of top-1 and
  top-5. `--protocol hara_k_center` evaluates as the program does.

## Protocols

    actrec evaluate --weights FILE --backbone NET --list val.txt --protocol NAME

- **frames** are the number of frames of a clip and their stride. A number alone means that the
  frames are consecutive, or that they are spread over the whole video.
- **clips x crops** are the views of a video. `n` means that the number of clips depends on the
  length of the video.
- **resize** is the size before the crops are taken. `short 256` means that the short side gets 256
  pixels, and that the aspect ratio is kept.
- **average of** says what is averaged over the views: the logits or the probabilities. A sum of
  probabilities has the same order as their average.

{protocols}
"""


NOTES = {  # what is said above the table of a program
    "PyTorchVideo's model zoo": """\
PyTorchVideo measured these accuracies with PySlowFast's program, but with its own video reader. For
Kinetics, this reader places the clips slightly differently, so your accuracy can differ a little.
For Something-Something V2, it takes the same frames. The two files for Something-Something V2 are
in the folder `ssv2` of the model zoo. Files for Kinetics have the same names.""",
    "V-JEPA 2": """\
These files contain only the attentive probe, which is the head of the net. Before you run a command
in the table, join the probe with its encoder (`vitl.pt` or `vitg-384.pt`). Download both files to a
folder `downloads`, and run this program. It writes a file with the name of the probe to the current
folder:

```python
import torch

encoder, probe = "vitl.pt", "ssv2-vitl-16x2x3.pt"  # or "vitg-384.pt", "ssv2-vitg-384-64x2x3.pt"
tensors = torch.load(f"downloads/{encoder}", map_location="cpu")["target_encoder"]
both = {"encoder." + name.split("backbone.")[-1]: value for name, value in tensors.items()}
tensors = torch.load(f"downloads/{probe}", map_location="cpu")["classifiers"][0]
both |= {"classifier." + name.split("module.")[-1]: value for name, value in tensors.items()}
torch.save(both, probe)
```

The files of transformers, which are in the next table, contain both parts.""",
    "VideoMAE (MCG-NJU)": """\
The authors' list, `MODEL_ZOO.md`, links these files without their names. Take the fine-tuned file
of the row with 1600 epochs for Kinetics-400, or with 2400 epochs for Something-Something V2, and
pass its name in place of `FILE`. Other files of `videomae_b` need the same commands: with 800
epochs, 80.0 and 94.4 were published for Kinetics-400, and 69.6 and 92.0 for Something-Something V2.
For UCF101, 91.3 and 98.5 were published; take the command of Kinetics-400.""",
    "VideoMAE in transformers": """\
These files are on Hugging Face. To download one, run
`hf download MCG-NJU/FOLDER model.safetensors --local-dir FOLDER` with its folder from the table,
which is the name of the repository. The accuracies are those of the authors' list. The model card
of the base net for Kinetics-400 states 80.9 and 94.7.""",
    "VideoMAEv2 (OpenGVLab)": """\
You can download this file after you have filled in the form in the authors' `MODEL_ZOO.md`. Pass
its name in place of `FILE`.""",
    "V-JEPA 2 in transformers": """\
These files are on Hugging Face. To download one, run
`hf download facebook/FOLDER model.safetensors --local-dir FOLDER` with its folder from the table,
which is the name of the repository.""",
    "V-JEPA (2024)": """\
These files also contain only the probe. Download a probe and its encoder from the authors' list to
a folder such as `downloads/vitl16`. This program joins them, and writes a file with the name of the
probe to the folder `vitl16`:

```python
import os

import torch

folder = "vitl16"  # or "vith16", "vith16-384"
probe = "k400-probe.pth.tar"  # or "ssv2-probe.pth.tar"
tensors = torch.load(f"downloads/{folder}/{folder}.pth.tar", map_location="cpu")["target_encoder"]
both = {"encoder." + name.split("backbone.")[-1]: value for name, value in tensors.items()}
tensors = torch.load(f"downloads/{folder}/{probe}", map_location="cpu")["classifier"]
both |= {"classifier." + name.split("module.")[-1]: value for name, value in tensors.items()}
os.makedirs(folder, exist_ok=True)
torch.save(both, f"{folder}/{probe}")
```""",
    "temporal-shift-module": """\
For some of these files, several accuracies were published. `actrec evaluate` then uses no protocol
unless you pass `--protocol`.""",
}


@dataclass(frozen=True)
class Checkpoint:
    """A published weights file and what was measured with it."""

    net: str
    published: Published

    @property
    def accuracy(self) -> str:
        """`top-1 76.61, top-5 92.30`"""
        values = {"top-1": self.published.top1, "top-5": self.published.top5}
        return ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None)

    @property
    def command(self) -> str:
        """The command that measures the accuracy."""
        options = "".join(f" {_flag(name, value)}" for name, value in self.published.options.items())
        weights = f"--weights {self.published.file or 'FILE'} --backbone {self.net}{options}"
        return f"actrec evaluate {weights} --list val.txt --protocol {self.published.protocol}"


def checkpoints() -> list[Checkpoint]:
    """All published accuracies that name their protocol, IBM's first."""
    found = [Checkpoint(net.name, row) for net in known_nets().nets.values() for row in net.published if row.protocol]
    return sorted(found, key=lambda each: (list(PROTOCOLS).index(each.published.protocol), each.net))


def checkpoints_of(protocol: Protocol) -> list[Checkpoint]:
    """The published accuracies that were measured with a protocol."""
    return [each for each in checkpoints() if each.published.protocol == protocol.name]


def published_file(path: Path, net: str, num_classes: int | None) -> list[Checkpoint]:
    """The published accuracies of a weights file with this name, if it has the classes of the dataset."""
    return [
        each
        for each in checkpoints()
        if each.net == net and each.published.is_file(path) and each.published.has_classes(num_classes)
    ]


def clips_text(protocol: Protocol) -> str:
    """The number of frames of a clip, and the stride: `32x2`."""
    return f"{protocol.clip_frames}x{protocol.stride}" if protocol.stride > 1 else str(protocol.clip_frames)


def views_text(protocol: Protocol) -> str:
    """The number of clips and of crops: `10x3`. `n` means that the number of clips depends on the video."""
    return f"{'n' if protocol.clips is None else protocol.clips}x{protocol.crops}"


def size_text(protocol: Protocol) -> str:
    """Width and height of the crops."""
    return "whole" if protocol.crop is None else f"{protocol.crop}x{protocol.crop}"


def frames_text(protocol: Protocol) -> str:
    """How the frames are chosen, in sentences."""
    return _first_paragraph(frames.RULES[protocol.sampling])


def crops_text(protocol: Protocol) -> str:
    """Where the crops are, in a sentence."""
    return _first_paragraph(crops.RULES[protocol.crop_rule]) if protocol.crop else "The crop is the whole picture."


def slow_path_text(protocol: Protocol) -> str:
    """Which frames the slow path of SlowFast gets."""
    assert protocol.slow_path is not None
    places = {"linspace": "spread from the first to the last one", "stride": "every 8th or 4th one"}
    return (
        f"{clips_text(protocol)} are the frames of the fast path; the slow path gets as many of them as the name of "
        f"the net says (4x16: 4 frames, 8x8: 8, 16x8: 16), {places[protocol.slow_path]}"
    )


def _first_paragraph(rule: Callable) -> str:
    return " ".join((inspect.getdoc(rule) or rule.__name__.replace("_", " ")).partition("\n\n")[0].split())


def long_side_text(protocol: Protocol) -> str:
    """How the size of the long side is computed."""
    return {
        "truncated": "long side rounded down",
        "rounded": "long side rounded",
        "floor of ratio": "long side (short side times the aspect ratio) rounded down",
    }[protocol.long_side]


def kernel_text(protocol: Protocol) -> str:
    """How the pictures are resized."""
    return {
        "pillow": "Pillow's antialiased bilinear filter",
        "opencv": "OpenCV's INTER_LINEAR, not antialiased",
        "torch": "torch's bilinear interpolation of uint8, not antialiased",
        "torch-normalized": "torch's bilinear interpolation of normalized floats, not antialiased",
    }[protocol.kernel]


def resize_text(protocol: Protocol) -> str:
    """The size of the picture from which the crops are taken."""
    return f"short {protocol.resize}" if isinstance(protocol.resize, int) else "{}x{}".format(*protocol.resize)


def markdown() -> str:
    """The text of the page. It comes from the stored table of nets and from the table of protocols."""
    return TEXT.format(num_protocols=len(PROTOCOLS), tables=_checkpoint_tables(), protocols=_protocol_table())


def _checkpoint_tables() -> str:
    parts = []
    for source in dict.fromkeys(each.published.source for each in checkpoints()):
        own = [each for each in checkpoints() if each.published.source == source]
        rows = [
            (
                each.published.dataset,
                _number(each.published.top1),
                _number(each.published.top5),
                f"`{each.published.file}`" if each.published.file else "–",
                f"`{each.command}`",
            )
            for each in own
        ]
        # The site breaks long names only after the first column.
        table = _table(("dataset", "top-1", "top-5", "file", "command"), rows)
        parts += [f"## {_title(source)}", *([NOTES[source]] if source in NOTES else []), table]
    return "\n\n".join(parts)


def _title(source: str) -> str:
    return {"arXiv:2010.11757": "IBM's action-recognition-pytorch"}.get(source, source)


def _protocol_table() -> str:
    head = ("protocol", "dataset", "frames", "clips x crops", "resize", "crop", "average of")
    return _table(
        head,
        [
            (
                f"`{row.name}`",
                row.dataset,
                clips_text(row),
                views_text(row),
                resize_text(row),
                size_text(row),
                row.reduction,
            )
            for row in PROTOCOLS.values()
        ],
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _flag(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
