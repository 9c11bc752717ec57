"""Every default of actrec, once.

Frozen dataclasses. A field made with `opt` becomes a command-line flag of the commands that take its dataclass
(`actrec/cli/options.py`). Nothing edits a config: a derived value gets a name of its own.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

FLOW_PAIRS = 5  # of consecutive flow images (x and y) that are one position of a flow clip
FLOW_CHANNELS = 2 * FLOW_PAIRS


def opt(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    choices: tuple[str, ...] | None = None,
    only: tuple[str, tuple[str, ...]] | None = None,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: its value; None means "decided later", and the help says by what.
        help: one line for `--help`.
        flag: the flag when it is not `--field-name`.
        choices: legal values.
        only: another field, and those of its values with which this one means anything.
    """
    return field(default=default, metadata={"help": help, "flag": flag, "choices": choices, "only": only})


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

    def __post_init__(self):
        if not all(math.isfinite(m) for m in self.mean):
            raise ValueError(f"mean {self.mean}: expected numbers")
        if not all(0 < s < math.inf for s in self.std):
            raise ValueError(f"std {self.std}: expected positive numbers")

    def with_channels(self, channels: int) -> Input:
        """The same for as many channels of optical flow: no flow is the mean, and they vary as the colors do."""
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
    """What training does to a clip. Everything is drawn once per clip; mixup and cutmix once per batch."""

    geometry: Literal["multiscale", "corner", "jitter", "random-resized", "center"] = opt(
        "multiscale",
        "multiscale: one of ten sizes at one of thirteen places; corner: a square of SCALES in a corner or the center; "
        "jitter: short side from SHORT_SIDES, then a random crop; random-resized: random area and aspect; center: the "
        "largest centerd square.",
        choices=("multiscale", "corner", "jitter", "random-resized", "center"),
    )
    scales: tuple[float, ...] = opt(
        (1.0, 0.875, 0.75, 0.66),
        "Sizes of multiscale and corner, as parts of the short side.",
        only=("geometry", ("multiscale", "corner")),
    )
    short_sides: tuple[int, int] = opt(
        (256, 320), "Smallest and largest short side of jitter, in pixels.", only=("geometry", ("jitter",))
    )
    area: tuple[float, float] = opt(
        (0.25, 1.0),
        "Smallest and largest part of the area that random-resized keeps.",
        only=("geometry", ("random-resized",)),
    )
    aspect: tuple[float, float] = opt(
        (0.75, 4 / 3),
        "Smallest and largest aspect ratio of random-resized.",
        only=("geometry", ("random-resized",)),
    )
    flip: bool = opt(True, "Mirror half of the clips; labels follow flips.txt where the dataset has one.")
    clip_position: Literal["random", "center"] = opt(
        "random", "Where in the video a training clip lies.", choices=("random", "center")
    )
    stride_range: tuple[int, int] | None = opt(
        None, "Temporal jitter: smallest and largest stride of a training clip, drawn for each (dense sampling)."
    )
    color_jitter: tuple[float, float, float, float] | None = opt(
        None,
        "Change brightness, contrast, saturation (each by a factor from 1 - X to 1 + X) and hue (by up to X turns), "
        "such as 0.4,0.4,0.4,0.1.",
    )
    grayscale: float = opt(0.0, "Part of the clips that lose their colors.")
    blur: float = opt(0.0, "Part of the clips that are blurred (Gaussian, sigma 0.1 to 2 pixels).")
    erasing: float = opt(0.0, "Part of the clips with a random rectangle erased, in all frames.")
    auto_augment: Literal["none", "randaugment", "trivialaugment"] = opt(
        "none",
        "randaugment: RAND_OPS random operations of RAND_MAGNITUDE; trivialaugment: one, of any magnitude.",
        choices=("none", "randaugment", "trivialaugment"),
    )
    rand_ops: int = opt(2, "Operations of randaugment.", only=("auto_augment", ("randaugment",)))
    rand_magnitude: int = opt(9, "Magnitude of randaugment, 0 to 30.", only=("auto_augment", ("randaugment",)))
    mixup: float = opt(0.0, "Blend clips and labels of a batch two by two, by Beta(MIXUP, MIXUP).")
    cutmix: float = opt(
        0.0,
        "Put a part of one clip into another, of Beta(CUTMIX, CUTMIX) of its area; with --mixup "
        "each batch gets one of the two.",
    )

    def __post_init__(self):
        _check_only(self)
        if not self.scales or not all(0 < s <= 1 for s in self.scales):
            raise ValueError(f"scales {self.scales}: expected numbers above 0 and up to 1")
        for name in ("short_sides", "area", "aspect", "stride_range"):
            if (limits := getattr(self, name)) is None:
                continue
            low, high = limits
            if not 0 < low <= high:
                raise ValueError(f"{name} {low} {high}: expected two positive numbers, the smaller one first")
        if self.area[1] > 1:
            raise ValueError(f"area up to {self.area[1]}: expected at most 1")
        if self.color_jitter is not None:
            *factors, hue = self.color_jitter
            if not all(0 <= f <= 1 for f in factors) or not 0 <= hue <= 0.5:
                raise ValueError(f"color_jitter {self.color_jitter}: expected three from 0 to 1, and up to 0.5 for hue")
        for name in ("grayscale", "blur", "erasing"):
            _within(name, getattr(self, name), 0, 1)
        _at_least("rand_ops", self.rand_ops, 1)
        _within("rand_magnitude", self.rand_magnitude, 0, 30)
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 (none) or a positive number")

    @property
    def changes_colors(self) -> bool:
        """Whether the pictures of a clip are changed once they are cut out and resized."""
        single = self.color_jitter is not None or self.grayscale > 0 or self.blur > 0 or self.erasing > 0
        return single or self.auto_augment != "none"


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

    batch_size: int = opt(16, "Clips of a batch, over all processes.")
    repeats: int = opt(1, "Clips of each drawn video, next to each other in a batch (repeated augmentation).")
    balanced: bool = opt(False, "Draw every class equally often, its videos in turn.")
    keep_last: bool = opt(False, "Train on the incomplete last batch of an epoch too.")
    workers: int | None = opt(None, "Decoding threads.  [default: one per core]")
    prefetch: int = opt(2, "Batches decoded ahead.")

    def __post_init__(self):
        _at_least("batch_size", self.batch_size, 1)
        _at_least("repeats", self.repeats, 1)
        if self.batch_size % self.repeats:
            raise ValueError(f"repeats {self.repeats} with batch_size {self.batch_size}: expected a divisor of it")
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
    batch_norm: bool | None = opt(None, "c3d with batch normalization.")
    global_pooling: bool | None = opt(None, "c3d with a global average in place of fully connected layers.")


@dataclass(frozen=True)
class Optim:
    """Optimizer, schedule, and what of the net is trained."""

    epochs: int = opt(50, "Passes over the training list.")
    optimizer: Literal["sgd", "adamw"] = opt(
        "sgd", "adamw learns faster from scratch on small data; try --lr 0.001.", choices=("sgd", "adamw")
    )
    lr: float = opt(0.01, "Learning rate at the start.")
    lr_batch: int | None = opt(
        None,
        "LR and MIN_LR are meant for batches of so many clips, and are scaled to those of this run (linear scaling).",
    )
    head_lr: float = opt(1.0, "Learning rate of the last layer, as a multiple of the others'.")
    momentum: float = opt(0.9, "Momentum of SGD.", only=("optimizer", ("sgd",)))
    dampening: float = opt(0.0, "Dampening of SGD's momentum.", only=("optimizer", ("sgd",)))
    nesterov: bool = opt(False, "Nesterov's momentum.", only=("optimizer", ("sgd",)))
    weight_decay: float = opt(5e-4, "L2 penalty of SGD, decoupled decay of AdamW.")
    norm_decay: bool = opt(True, "Weight decay of norms and biases too.")
    schedule: Literal["cosine", "step", "multistep", "plateau"] = opt(
        "cosine", "How the learning rate falls.", choices=("cosine", "step", "multistep", "plateau")
    )
    per_step: bool = opt(
        False,
        "The learning rate changes with every step, not every epoch; LR_STEPS need not be whole then.",
        flag="--lr-per-step",
        only=("schedule", ("cosine", "step", "multistep")),
    )
    min_lr: float = opt(0.0, "Where cosine ends.", only=("schedule", ("cosine",)))
    lr_steps: tuple[float, ...] = opt(
        (15.0, 30.0, 45.0), "Epochs of multistep; step repeats the first.", only=("schedule", ("step", "multistep"))
    )
    gamma: float = opt(0.1, "Factor of a step.", only=("schedule", ("step", "multistep", "plateau")))
    patience: int = opt(
        10,
        "Validations without a better loss (epochs, of the training loss, without a list for it) before plateau steps.",
        only=("schedule", ("plateau",)),
    )
    warmup: float = opt(0.0, "Epochs in which the learning rate grows linearly, step by step.")
    warmup_start: float = opt(0.01, "Where warm-up begins, as a part of LR.")
    accumulate: int = opt(1, "Batches whose gradients make one step.")
    clip_gradient: float | None = opt(None, "Clip the gradient's total norm to this.")
    ema: float | None = opt(None, "Decay of an average of the weights, which is what is evaluated, such as 0.999.")
    freeze_until: str | None = opt(None, "Do not train what comes before this layer of the net (a name, or its start).")
    freeze_norm: Literal["none", "partial", "all"] = opt(
        "none",
        "Batch norms that keep their statistics and weights: partial: all but the first (as TSN's).",
        choices=("none", "partial", "all"),
    )

    def __post_init__(self):
        _check_only(self)
        for name in ("epochs", "lr_batch", "accumulate"):
            _at_least(name, getattr(self, name), 1)
        _at_least("patience", self.patience, 0)
        for name in ("lr", "head_lr", "clip_gradient", "gamma"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} {value}: expected a positive number")
        for name in ("min_lr", "weight_decay", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)}: expected 0 or a positive number")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} with lr {self.lr}: expected at most as much")
        for name in ("momentum", "dampening", "warmup_start", "ema"):
            _within(name, getattr(self, name), 0, 1)
        shown = ",".join(f"{epochs:g}" for epochs in self.lr_steps)
        if not self.lr_steps or not all(0 < epochs < math.inf for epochs in self.lr_steps):
            raise ValueError(f"lr_steps {shown or 'of no number'}: expected one or more positive numbers of epochs")
        if not self.per_step and not all(float(epochs).is_integer() for epochs in self.lr_steps):
            raise ValueError(f"lr_steps {shown}: expected whole epochs, or --lr-per-step")
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("nesterov needs momentum, and no dampening")
        if self.warmup > self.epochs:
            raise ValueError(f"warmup {self.warmup} with epochs {self.epochs}: expected at most as many")


@dataclass(frozen=True)
class Loss:
    """What is minimized."""

    multi_label: bool = opt(
        False, "Videos may have several labels, or none: binary cross-entropy, mean average precision."
    )
    label_smoothing: float = opt(0.0, "Part of the target that is spread over all classes.")

    def __post_init__(self):
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing {self.label_smoothing}: expected from 0 to below 1")


@dataclass(frozen=True)
class Run:
    """What surrounds a training run."""

    seed: int = opt(0, "Decides every random draw.")
    device: Literal["auto", "cpu", "cuda"] = opt(
        "auto", "auto takes the GPU where there is one.", choices=("auto", "cpu", "cuda")
    )
    precision: Literal["auto", "float32", "bfloat16", "float16", "float64"] = opt(
        "auto",
        "Arithmetic of the net in training: auto is bfloat16 where the hardware has it (GPUs since Ampere, AVX512-BF16 "
        "or AMX). float16 scales its gradients.",
        choices=("auto", "float32", "bfloat16", "float16", "float64"),
    )
    channels_last: bool = opt(True, "Channels-last memory format.")
    compile: bool = opt(False, "Compile the net (torch.compile): slow to begin, faster on GPUs.")
    sync_bn: bool = opt(False, "Batch norms see the batch of all processes.")
    cudnn_benchmark: bool = opt(True, "Let cuDNN try its algorithms and take the fastest.")
    checkpoint_every: str | None = opt(
        None, "Save within epochs too: after so many minutes (10m) or steps (500).  [default: at their ends]"
    )
    keep_every: int | None = opt(None, "Keep the checkpoint of every so many epochs, as epoch_<n>.pt.")
    val_every: int = opt(1, "Epochs from one validation to the next.")
    crop_ratio: float = opt(
        Views.crop_ratio,
        "Validation's crop as a part of the resized short side, which evaluate takes too; 1 takes all of it.",
    )
    log_every: int = opt(10, "Steps from one reading of the loss to the next: steps.jsonl has a row for each.")
    tensorboard: bool = opt(True, "Write TensorBoard's files.")

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed {self.seed}: expected from 0 to {2**32 - 1}")
        for name in ("keep_every", "val_every", "log_every"):
            _at_least(name, getattr(self, name), 1)
        Views(crop_ratio=self.crop_ratio)
        if self.checkpoint_every is not None:
            _ = self.save_interval  # raises if it is none

    @property
    def save_interval(self) -> tuple[float, str] | None:
        """(10.0, "minutes") or (500, "steps").

        Raises:
            ValueError: `checkpoint_every` is neither.
        """
        if self.checkpoint_every is None:
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", self.checkpoint_every.strip())
        number = float(match[1]) if match else 0
        if not number or not (match[2] or number.is_integer()):
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every!r}: expected minutes such as 10m, or steps such as 500"
            )
        return (number, "minutes") if match[2] else (int(number), "steps")


def _check_only(settings: Any) -> None:
    """Raises ValueError if a field was changed that means nothing with the value of another."""
    for f in fields(settings):
        if (only := f.metadata.get("only")) is None:
            continue
        other, legal = only
        value, chosen = getattr(settings, f.name), getattr(settings, other)
        if value != f.default and chosen not in legal:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            named = f.name if value is True else f"{f.name} {shown}"
            raise ValueError(f"{named} with {other} {chosen}: it belongs to {other} {' or '.join(legal)}")


def _within(name: str, value: float | None, lowest: float, highest: float) -> None:
    if value is not None and not lowest <= value <= highest:
        raise ValueError(f"{name} {value}: expected from {lowest} to {highest}")


def _one_of(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} {value!r}: expected one of {', '.join(legal)}")


def _at_least(name: str, value: int | None, lowest: int) -> None:
    if value is not None and value < lowest:
        raise ValueError(f"{name} {value}: expected at least {lowest}")
