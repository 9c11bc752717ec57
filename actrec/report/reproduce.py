"""Published checkpoints and their protocols; the page docs/reproduce.md, written by `actrec protocols --markdown`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from actrec.data.sampling.protocols import PROTOCOLS, Protocol
from actrec.known_nets import Published, known_nets

TEXT = """\
# Published accuracies

<!-- Written by `make nets`. A test compares this file with its output. -->

    actrec evaluate --weights K400-I3D-ResNet-50-f32.pth.tar --backbone i3d_resnet50 --list val.txt
    actrec protocols             # how published accuracies were measured, one line per protocol
    actrec protocols ibm_k400    # one of them: frames, crops, average, checkpoints

A published accuracy belongs to a *protocol*: which frames of a video, which resizing, which crops,
and what is averaged. actrec knows {num_protocols} protocols of nine programs, and takes the same frames and
crops as these programs. For weights in the tables below, `actrec evaluate` uses the protocol with
which they were published, and says so. `--protocol NAME` chooses another one, and `--protocol none`
uses actrec's own frames and crops.

The accuracies, in percent, are those that the authors published. They were **not** measured with
actrec, because the large datasets were not available. The commands below need only the file and
the videos.

| to do this | see |
|---|---|
| repeat a training of IBM's program | [recipes](from_ibm.md#recipes) |
| fine-tune and score Hara's nets | [from Hara's 3D-ResNets](from_hara.md) |
| find all nets and the weights that they read | [nets](nets.md) |
| compare 288 published trainings on mini datasets | `actrec nets --benchmark` |

Check these points before you compare an accuracy with a published one:

- **Videos.** Videos of Kinetics disappear from the web. Published validation sets have 19,761 to
  19,881 videos, and accuracies differ by up to five points between copies. `actrec evaluate` prints
  how many videos are missing, and the fingerprint of its list.
- **Classes.** The order of the classes must be the one with which the weights were trained.
  `actrec lists` numbers them alphabetically.
- **Left out videos.** torchvision leaves out videos that are shorter than a clip. With its
  protocols, `actrec evaluate` does the same and says how many these are.
- **Files.** Sizes and frames must be those that the authors had: many scaled the videos to a short
  side of 256 or 340x256 pixels before they trained.

## I cannot reproduce the number

    actrec evaluate --weights FILE --backbone NET --list val.txt --sensitivity

measures on your own list how far top-1 moves if one detail of the evaluation changes, with
confidence intervals. See [actrec evaluate](cli.md#actrec-evaluate) for the table. Then look for a
difference of the same size:

| if your number | check |
|---|---|
| is near 0 | the order of the classes, `--mean` and `--std`, and whether the file belongs to this net |
| is lower by 5 points or more | clips, stride, and the frame rate of videos or frame folders |
| is lower by 1 to 5 points | the number of views, the size of the videos, and whether they were compressed again |
| differs by less than 1 point | the rows of `--sensitivity`, and missing videos |
| is inside the interval of `as evaluated` | nothing: with a list of this length, the difference can be chance |

If the list has fewer videos than the published one, `--sensitivity` also shows how much randomly
missing videos can change. Videos that are missing are rarely random, so compare the number of
videos with the published one first.

{tables}

## Protocols

{protocols}
"""


NOTES = {  # what is said above the table of a program
    "PyTorchVideo's model zoo": """\
PyTorchVideo measured with PySlowFast's program, but with a video reader of its own. It places the
clips slightly differently, so the accuracies can differ a little.""",
    "V-JEPA 2": """\
These files contain only the probe. To score one, join it with the encoder in one file whose names
begin with `encoder.` and `classifier.`. Files of transformers contain both.""",
    "temporal-shift-module": """\
Several accuracies were published for some of these files. Pass `--protocol` to choose one of them.""",
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
        """What scores it."""
        options = "".join(f" {_flag(name, value)}" for name, value in self.published.options.items())
        weights = f"--weights {self.published.file or 'FILE'} --backbone {self.net}{options}"
        return f"actrec evaluate {weights} --list val.txt --protocol {self.published.protocol}"


def checkpoints() -> list[Checkpoint]:
    """All published accuracies that name their protocol, IBM's first."""
    found = [Checkpoint(net.name, row) for net in known_nets().nets.values() for row in net.published if row.protocol]
    return sorted(found, key=lambda each: (list(PROTOCOLS).index(each.published.protocol), each.net))


def checkpoints_of(protocol: Protocol) -> list[Checkpoint]:
    """Those that were measured with a protocol."""
    return [each for each in checkpoints() if each.published.protocol == protocol.name]


def clips_text(protocol: Protocol) -> str:
    """Frames of a clip, and their distance: `32x2`."""
    return f"{protocol.clip_frames}x{protocol.stride}" if protocol.stride > 1 else str(protocol.clip_frames)


def views_text(protocol: Protocol) -> str:
    """Clips and crops: `10x3`. n: the number of clips depends on the video."""
    return f"{'n' if protocol.clips is None else protocol.clips}x{protocol.crops}"


def size_text(protocol: Protocol) -> str:
    """Width and height of the crops."""
    return "whole" if protocol.crop is None else f"{protocol.crop}x{protocol.crop}"


def kernel_text(protocol: Protocol) -> str:
    """What resizes the pictures."""
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
    """The page, from the stored table of nets and the protocols."""
    return TEXT.format(num_protocols=len(PROTOCOLS), tables=_checkpoint_tables(), protocols=_protocol_table())


def _checkpoint_tables() -> str:
    parts = []
    for source in dict.fromkeys(each.published.source for each in checkpoints()):
        own = [each for each in checkpoints() if each.published.source == source]
        rows = [
            (
                f"`{each.published.file}`" if each.published.file else "–",
                each.published.dataset,
                _number(each.published.top1),
                _number(each.published.top5),
                f"`{each.command}`",
            )
            for each in own
        ]
        table = _table(("file", "dataset", "top-1", "top-5", "command"), rows)
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
