"""Every default of actrec, once.

Frozen dataclasses. A field made with `opt` becomes a command-line flag of the commands that take its dataclass
(`actrec/cli/options.py`). Nothing edits a config: a derived value gets a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

FLOW_PAIRS = 5  # of consecutive flow images (x and y) that are one position of a flow clip
FLOW_CHANNELS = 2 * FLOW_PAIRS


def opt(default: Any, help: str, *, flag: str | None = None, choices: tuple[str, ...] | None = None) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: its value; None means "decided later", and the help says by what.
        help: one line for `--help`.
        flag: the flag when it is not `--field-name`.
        choices: legal values.
    """
    return field(default=default, metadata={"help": help, "flag": flag, "choices": choices})


@dataclass(frozen=True)
class Input:
    """How a net wants to be fed: the net states it, the loader obeys it.

    Args:
        mean, std: per channel, for values in [0, 1].
        frames: default clip length.
        size: default height and width in pixels.
        layout: of the clips, as torch sees them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    frames: int
    size: int
    layout: str = "NCTHW"

    def with_channels(self, channels: int) -> Input:
        """The same for as many channels of optical flow: no flow is the mean, and they vary as the colours do."""
        std = sum(self.std) / len(self.std)
        return replace(self, mean=(0.5,) * channels, std=(std,) * channels)


@dataclass(frozen=True)
class Clip:
    """Which frames of a video form a clip."""

    frames: int | None = opt(None, "Frames of a clip.  [default: the net's own]")
    stride: int = opt(1, "Source frames from one clip frame to the next (dense sampling).")
    sampling: Literal["uniform", "dense"] = opt(
        "uniform",
        "uniform: one frame of each of FRAMES equal segments; dense: consecutive frames, STRIDE apart.",
        choices=("uniform", "dense"),
    )
    rule: Literal["actrec", "comb", "ibm"] = opt(
        "actrec",
        "Index arithmetic: actrec's; comb (one random offset shared by all segments in training); "
        "ibm (the reference's, its quirks included).",
        flag="--sampling-rule",
        choices=("actrec", "comb", "ibm"),
    )
    modality: Literal["rgb", "flow"] = opt(
        "rgb",
        "flow: each frame of a clip is five consecutive images of optical flow, x and y (`actrec extract-flow`).",
        choices=("rgb", "flow"),
    )

    def __post_init__(self):
        _one_of("modality", self.modality, ("rgb", "flow"))
        _at_least("frames", self.frames, 1)
        _at_least("stride", self.stride, 1)
        if self.sampling == "uniform" and self.stride != 1:
            raise ValueError(f"stride {self.stride} with uniform sampling: a stride belongs to --sampling dense")
        if self.sampling == "dense" and self.rule == "comb":
            raise ValueError("sampling rule comb belongs to uniform sampling, not dense")


@dataclass(frozen=True)
class Augment:
    """What training does to a clip. Everything is drawn once per clip."""

    geometry: Literal["multiscale", "jitter", "random-resized", "centre"] = opt(
        "multiscale",
        "multiscale: one of ten sizes at one of thirteen places; jitter: short side from SHORT_SIDES, then a random "
        "crop; random-resized: random area and aspect; centre: the largest centred square.",
        choices=("multiscale", "jitter", "random-resized", "centre"),
    )
    scales: tuple[float, ...] = opt((1.0, 0.875, 0.75, 0.66), "Sizes of multiscale, as parts of the short side.")
    short_sides: tuple[int, int] = opt((256, 320), "Smallest and largest short side of jitter, in pixels.")
    area: tuple[float, float] = opt((0.25, 1.0), "Smallest and largest part of the area that random-resized keeps.")
    aspect: tuple[float, float] = opt((0.75, 4 / 3), "Smallest and largest aspect ratio of random-resized.")
    flip: bool = opt(True, "Mirror half of the clips; labels follow flips.txt where the dataset has one.")

    def __post_init__(self):
        if not self.scales or not all(0 < s <= 1 for s in self.scales):
            raise ValueError(f"scales {self.scales}: expected numbers above 0 and up to 1")
        for name in ("short_sides", "area", "aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} {low} {high}: expected two positive numbers, the smaller one first")
        if self.area[1] > 1:
            raise ValueError(f"area up to {self.area[1]}: expected at most 1")


@dataclass(frozen=True)
class Views:
    """Which clips and crops of a video are scored."""

    clips: int = opt(1, "Clips of a video, spread over its length.")
    crops: int = opt(1, "Crops of a clip: 1, 3, 5 or 10 (5 and their mirror images).")
    crop_ratio: float = opt(0.875, "The crop's size as a part of the resized short side; 1 takes all of it.")
    rule: Literal["actrec", "ibm"] = opt(
        "actrec",
        "Where the crops lie: at the very borders, or within 3 pixels of them as in the reference.",
        flag="--crop-rule",
        choices=("actrec", "ibm"),
    )

    def __post_init__(self):
        _at_least("clips", self.clips, 1)
        if self.crops not in (1, 3, 5, 10):
            raise ValueError(f"crops {self.crops}: expected 1, 3, 5 or 10")
        if not 0 < self.crop_ratio <= 1:
            raise ValueError(f"crop_ratio {self.crop_ratio}: expected a number above 0 and up to 1")

    @property
    def num_views(self) -> int:
        return self.clips * self.crops


@dataclass(frozen=True)
class Loader:
    """How clips are fed."""

    batch_size: int = opt(16, "Videos of a batch.")
    workers: int | None = opt(None, "Decoding threads.  [default: one per core]")
    prefetch: int = opt(2, "Batches decoded ahead.")

    def __post_init__(self):
        _at_least("batch_size", self.batch_size, 1)
        _at_least("workers", self.workers, 1)
        _at_least("prefetch", self.prefetch, 1)


@dataclass(frozen=True)
class Net:
    """The net and those of its options that a user sets; None leaves the family's own default."""

    backbone: str = opt("s3d", "Name of the net: `actrec nets` lists them.")
    dropout: float | None = opt(None, "Dropout before the last layer.")
    temporal_stride: bool | None = opt(None, "Halve the time axis inside the net.")
    temporal_pool: str | None = opt(None, "Temporal pooling.", choices=("max", "avg"))
    depthwise_temporal: bool | None = opt(None, "Depthwise temporal convolutions (s3d, s3d_resnet).")
    last_pool: str | None = opt(
        None, "i3d's last temporal pool: same, or valid (as in the published mini tables).", choices=("same", "valid")
    )
    blending_frames: int | None = opt(None, "Frames that TAM blends.")
    blending: str | None = opt(None, "How TAM blends.", choices=("sum", "max"))
    depthwise_blending: bool | None = opt(None, "TAM blends each channel by itself.")
    shortcut: str | None = opt(None, "Shortcuts of 3D ResNets: padded (A), convolution (B).", choices=("A", "B"))
    stem_kernel_t: int | None = opt(None, "Frames of a 3D ResNet's first kernel.")
    stem_stride_t: int | None = opt(None, "Step in frames of a 3D ResNet's first convolution.")
    stem_pool: bool | None = opt(None, "Pool behind a 3D ResNet's first convolution.")
    widen: float | None = opt(None, "Times as many channels (3D ResNets).")
    cardinality: int | None = opt(None, "Groups of ResNeXt's convolutions.")
    batch_norm: bool | None = opt(None, "c3d with batch normalisation.")
    global_pooling: bool | None = opt(None, "c3d with a global average in place of fully connected layers.")


@dataclass(frozen=True)
class Optim:
    """Optimiser and schedule. The schedule steps once per epoch."""

    epochs: int = opt(50, "Passes over the training list.")
    optimizer: Literal["sgd", "adamw"] = opt(
        "sgd", "adamw learns faster from scratch on small data; try --lr 0.001.", choices=("sgd", "adamw")
    )
    lr: float = opt(0.01, "Learning rate at the start.")
    momentum: float = opt(0.9, "Momentum of SGD.")
    nesterov: bool = opt(False, "Nesterov's momentum.")
    weight_decay: float = opt(5e-4, "L2 penalty of SGD, decoupled decay of AdamW, on all parameters.")
    schedule: Literal["cosine", "step", "multistep", "plateau"] = opt(
        "cosine", "How the learning rate falls.", choices=("cosine", "step", "multistep", "plateau")
    )
    lr_steps: tuple[int, ...] = opt((15, 30, 45), "Epochs of multistep; step repeats the first.")
    gamma: float = opt(0.1, "Factor of a step.")
    patience: int = opt(10, "Epochs without a better validation loss before plateau steps.")
    clip_gradient: float | None = opt(None, "Clip the gradient's total norm to this.")

    def __post_init__(self):
        _at_least("epochs", self.epochs, 1)
        if self.lr <= 0:
            raise ValueError(f"lr {self.lr}: expected a positive number")
        if not self.lr_steps or min(self.lr_steps) < 1:
            raise ValueError(f"lr_steps {self.lr_steps}: expected one or more epochs from 1")
        if self.nesterov and self.optimizer != "sgd":
            raise ValueError(f"nesterov with optimizer {self.optimizer}: it belongs to sgd")


@dataclass(frozen=True)
class Run:
    """What surrounds a training run."""

    seed: int = opt(0, "Decides every random draw.")
    device: Literal["auto", "cpu", "cuda"] = opt(
        "auto", "auto takes the GPU where there is one.", choices=("auto", "cpu", "cuda")
    )
    precision: Literal["auto", "float32", "bfloat16"] = opt(
        "auto",
        "Arithmetic of the net in training: auto is bfloat16 where the hardware has it (GPUs; AVX512-BF16, AMX).",
        choices=("auto", "float32", "bfloat16"),
    )
    channels_last: bool = opt(True, "Channels-last memory format.")


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} {value!r}: expected one of {', '.join(legal)}")


def _at_least(name: str, value: int | None, lowest: int) -> None:
    if value is not None and value < lowest:
        raise ValueError(f"{name} {value}: expected at least {lowest}")
