"""Every option of every command, with its default: one frozen dataclass per subject.

A field made with `opt` becomes a flag of the commands that take its dataclass (`cli/options.py`). Its type and bounds
are checked by `actrec.settings`. A config is never edited: derived values have names of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from actrec.settings import OptionError as OptionError
from actrec.settings import Settings, bounds, opt
from actrec.settings import check_literal as check_literal

FLOW_PAIRS = 5  # consecutive flow images (x and y) that form one frame of a flow clip
FLOW_CHANNELS = 2 * FLOW_PAIRS
MAX_FRAMES = 1_000_000  # of a clip, and of a stride
MAX_SIDE = 16384  # pixels: no decoder, encoder or image format here is made for larger pictures
_WINDOW = 2.0  # seconds
PREPARED_BLOCK = 16  # pixels: codecs work in blocks of this size

_OF_OPTIMIZER = {"adamw": (0.001, 0.05), "sgd": (0.01, 5e-4)}  # default learning rate and weight decay
CRF = {"h264": 23, "hevc": 26}  # default quality of prepared videos, by codec

_TEMPLATE = re.compile(r"(?!\.)[^{}/]{0,100}\{0?(:0?[0-9]{0,2}d?)?\}[^{}/]{0,100}\.(jpg|jpeg|png)")
# Braces of a name itself are doubled, as in Python's format strings
_IMAGE_NAMES = re.compile(
    r"(?!\.)(?:[^{}/]|\{\{|\}\}){0,200}\{0?(:0?[0-9]{0,2}d?)?\}(?:[^{}/]|\{\{|\}\}){0,200}\.(jpe?g|png|bmp|webp)",
    re.IGNORECASE | re.DOTALL,
)

Device = Literal["auto", "cpu", "cuda"]
Modality = Literal["rgb", "flow"]
Codec = Literal["h264", "hevc"]
EncoderPreset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
FlowPreset = Literal["medium", "fast", "ultrafast"]


@dataclass(frozen=True)
class Input(Settings):
    """What a net expects as its input. The net states it, and the loader delivers it.

        net = actrec.net("tiny3d", num_classes=8)
        print(net.input.frames, net.input.size)
        own = actrec.Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=16, size=112)  # for a net of your own

    Args:
        mean, std: one value per channel, for pixel values in [0, 1].
        frames: default clip length.
        size: default height and width in pixels: one number for both, or (height, width).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...] = field(metadata=bounds(above=0))
    frames: int = field(metadata=bounds(at_least=1, at_most=MAX_FRAMES))
    size: int | tuple[int, int] = field(metadata=bounds(at_least=1, at_most=MAX_SIDE))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.mean) != len(self.std):
            raise OptionError(
                f"`std` of {len(self.std)} numbers with `mean` of {len(self.mean)}: expected one of each per channel"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def side(self) -> int:
        """Height and width of square clips. actrec's loaders deliver only square clips.

        Raises:
            OptionError: the clips are not square.
        """
        height, width = self.shape
        if height != width:
            raise OptionError(f"`size` {height},{width}: expected one number, because the clips of a loader are square")
        return height

    def with_channels(self, channels: int) -> Input:
        """The same input for optical flow with this many channels.

            flow = net.input.with_channels(10)  # five pairs of flow images, x and y

        The mean is 0.5, which stands for no motion. The standard deviation is the average over the colors.
        """
        std = sum(self.std) / len(self.std)
        return replace(self, mean=(0.5,) * channels, std=(std,) * channels)


def _image_range() -> Any:
    return opt(
        None,
        "Sample values that become black and white, for images and gray videos of more than 8 bits, such as depth.  "
        "[default: the smallest and largest that the file can hold]",
        metavar="LOW,HIGH",
        at_least=0,
        at_most=65535,
    )


def _template() -> Any:
    return opt(
        None,
        "File names of the frames in frame folders, such as img_{:05d}.jpg. Pass it if a folder contains several "
        "sequences of images. Of several names A,B the first one that matches is used.  [default: the images with "
        "numbers in their names]",
        metavar="NAME",
    )


def _check_template(template: str | None) -> None:
    if template is not None and not all(map(_IMAGE_NAMES.fullmatch, template.split(","))):
        raise OptionError(
            f"`template` {template!r}: expected the name of an image with {{:05d}} or {{}} in place of its number: "
            "for example img_{:05d}.jpg"
        )


def _check_image_range(image_range: tuple[float, float] | None) -> None:
    if image_range is not None and image_range[0] >= image_range[1]:
        low, high = image_range
        raise OptionError(f"`image_range` {low:g},{high:g}: expected a smaller number before a larger one")


@dataclass(frozen=True)
class Clip(Settings):
    """Which frames of a video form a clip.

        whole = actrec.Clip(frames=8)  # 8 frames, one of each eighth of the video
        part = actrec.Clip(frames=16, sampling="dense", stride=2)  # every second frame, 31 frames from first to last

    Raises:
        OptionError: a field has an illegal value.
    """

    frames: int | None = opt(
        None, "Frames in a clip.  [default: the net's own]", at_least=1, at_most=MAX_FRAMES, common=True
    )
    stride: int = opt(
        1,
        "Distance between the frames of a clip, with --sampling dense.",
        at_least=1,
        at_most=MAX_FRAMES,
    )
    sampling: Literal["uniform", "dense"] = opt(
        "uniform",
        "uniform: frames from all parts of the video; dense: from one part, --stride apart.",
    )
    rule: Literal["actrec", "comb", "ibm"] = opt(
        "actrec",
        "How frame numbers are computed. actrec: one random offset for each part of the video; comb: one random "
        "offset for all parts; ibm: as in IBM's program, including its quirks.",
        flag="--sampling-rule",
    )
    modality: Modality = opt(
        "rgb",
        "rgb: color pictures; flow: the optical flow that `actrec extract-flow` computed.",
    )
    image_range: tuple[float, float] | None = _image_range()
    template: str | None = _template()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_image_range(self.image_range)
        _check_template(self.template)
        if self.sampling == "uniform" and self.stride != 1:
            raise OptionError(
                f"`stride` {self.stride} with uniform sampling: expected 1; other strides need `sampling` dense"
            )
        if self.sampling == "dense" and self.rule == "comb":
            raise OptionError("`rule` comb with dense sampling: expected `sampling` uniform")


@dataclass(frozen=True)
class Augment(Settings):
    """Augmentation of training clips. Everything is drawn once per clip, mixup and cutmix once per batch.

        augment = actrec.Augment(geometry="random-resized", flip=False)
        loader = actrec.train_loader("train.txt", actrec.Clip(frames=8), net.input, augment=augment, batch_size=8)

    `actrec.Augment` is this class with the fields of all augmentations in `actrec/pipelines/augment`.
    """

    geometry: Literal["multiscale", "corner", "jitter", "random-resized", "center"] = opt(
        "multiscale",
        "How training clips are cropped. multiscale and corner use --scales, jitter uses --short-sides, and "
        "random-resized uses --area and --aspect.",
    )
    scales: tuple[float, ...] = opt(
        (1.0, 0.875, 0.75, 0.66),
        "Crop sizes of multiscale and corner, as fractions of the short side.",
        only=("geometry", ("multiscale", "corner")),
        above=0,
        at_most=1,
    )
    short_sides: tuple[int, int] = opt(
        (256, 320),
        "Range of the short side with jitter, in pixels.",
        only=("geometry", ("jitter",)),
        at_most=MAX_SIDE,
    )
    area: tuple[float, float] = opt(
        (0.25, 1.0),
        "Range of the fraction of the area that random-resized keeps.",
        only=("geometry", ("random-resized",)),
    )
    aspect: tuple[float, float] = opt(
        (0.75, 4 / 3),
        "Range of the aspect ratio of random-resized.",
        only=("geometry", ("random-resized",)),
    )
    flip: bool = opt(True, "Mirror half of the clips.", common=True)
    clip_position: Literal["random", "center"] = opt("random", "Where in the video a training clip is taken from.")
    stride_range: tuple[int, int] | None = opt(
        None,
        "Range of the stride, which is drawn for each training clip (dense sampling).",
        at_most=MAX_FRAMES,
    )
    mixup: float = opt(0.0, "Blend pairs of clips, with a weight from Beta(X, X). 0 turns it off.", at_least=0)
    cutmix: float = opt(
        0.0,
        "Paste a part of one clip into another, with an area from Beta(X, X). 0 turns it off. With --mixup, each "
        "batch gets one of the two.",
        at_least=0,
    )
    cutmix_share: float = opt(
        0.5, "With both --mixup and --cutmix: fraction of the batches that get cutmix.", at_least=0, at_most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("short_sides", "area", "aspect", "stride_range"):
            if (limits := getattr(self, name)) is None:
                continue
            low, high = limits
            if not 0 < low <= high:
                raise OptionError(f"`{name}` {low} {high}: expected two positive numbers, the smaller one first")
        if self.area[1] > 1:
            raise OptionError(f"`area` up to {self.area[1]}: expected at most 1")


@dataclass(frozen=True)
class Views(Settings):
    """Which clips and crops of a video are scored.

        views = actrec.Views(clips=10, crops=3)
        print(views.num_views)  # 30: the score of a video is the average over them

    Raises:
        OptionError: a field has an illegal value.
    """

    clips: int = opt(1, "Clips from each video.", at_least=1, common=True)
    crops: Literal[1, 3, 5, 10] = opt(1, "Crops of each clip; 10: with mirror images.", common=True)
    crop_ratio: float = opt(
        0.875, "Size of the crop as a fraction of the resized short side; 1 takes all of it.", above=0, at_most=1
    )
    rule: Literal["actrec", "ibm"] = opt(
        "actrec",
        "Where the outer crops are. actrec: exactly at the borders; ibm: within 3 pixels of them, as in IBM's program.",
        flag="--crop-rule",
    )

    @property
    def num_views(self) -> int:
        return self.clips * self.crops


@dataclass(frozen=True)
class Loader(Settings):
    """How clips are loaded.

        model = actrec.load("runs/2026-11-28_s3d", loader=actrec.config.Loader(workers=4))

    Raises:
        OptionError: a field has an illegal value.
    """

    batch_size: int = opt(16, "Clips in a batch of all processes.", at_least=1, common=True)
    repeats: int = opt(
        1, "Number of clips that are drawn from each video in a row (repeated augmentation).", at_least=1
    )
    balanced: bool = opt(False, "Draw all classes equally often.")
    keep_last: bool = opt(False, "Also train on the last batch of an epoch if it is incomplete.")
    workers: int | None = opt(None, "Decoding threads.  [default: one per core]", at_least=1, common=True)
    prefetch: int = opt(2, "Number of batches that are decoded ahead.", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.repeats:
            raise OptionError(f"`repeats` {self.repeats} with `batch_size` {self.batch_size}: expected a divisor of it")


@dataclass(frozen=True)
class Limits(Settings):
    """Which videos and images are too large to be decoded: a small file can claim any size.

    The default of `max_pixels` allows three pictures of 8K, and that of `max_frames` four days at 30 frames per second.
    """

    max_pixels: int = opt(
        100_000_000,
        "Largest number of pixels of a frame or image; larger ones are not decoded.",
        at_least=1,
        at_most=2**30,  # OpenCV decodes no larger image
    )
    max_frames: int = opt(10_000_000, "Largest number of frames of a video; longer videos are not used.", at_least=1)


@dataclass(frozen=True)
class Storage(Settings):
    """Where the bytes of remote videos are kept."""

    cache: Path | None = opt(
        None,
        "Folder of the cache for bytes that are read from URLs.  [default: actrec in $XDG_CACHE_HOME, or in ~/.cache]",
        metavar="DIR",
    )
    cache_size: str = opt(
        "50G",
        "Largest size of the cache, such as 500M or 2T; the least recently used files are removed first.",
        metavar="SIZE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.cache_bytes  # raises if the text is malformed

    @property
    def cache_bytes(self) -> int:
        """`cache_size` in bytes.

        Raises:
            OptionError: it is malformed.
        """
        match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]?)B?", self.cache_size.strip(), re.IGNORECASE)
        size = float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " ") if match else 0.0
        if not 1e6 <= size < 2**62:
            raise OptionError(f"`cache_size` {self.cache_size!r}: expected a size such as 500M or 50G, at least 1M")
        return int(size)


@dataclass(frozen=True)
class Net(Settings):
    """The net, and the options of nets that a user can set. None keeps the default of the family.

        net = actrec.config.Net("tiny3d", dropout=0.5)
        model = actrec.load("tiny3d_k400.pt", net=net, classes="k400.txt")

    Raises:
        OptionError: a field has an illegal value.
    """

    backbone: str = opt(
        "tiny3d",
        "Net (see `actrec nets`), or MODULE:FUNCTION.",
        common=True,
        complete="nets",
    )
    dropout: float | None = opt(None, "Probability of dropout before the last layer.", at_least=0, at_most=1)
    temporal_stride: bool | None = opt(None, "Halve the time axis inside the net.")
    temporal_pool: Literal["max", "avg"] | None = opt(None, "Type of temporal pooling.")
    depthwise_temporal: bool | None = opt(None, "Use depthwise temporal convolutions (s3d, s3d_resnet).")
    last_pool: Literal["same", "valid"] | None = opt(
        None, "Padding of i3d's last temporal pool; valid: as in the published mini tables."
    )
    blending_frames: int | None = opt(None, "Number of frames that TAM blends.", at_least=1)
    blending: Literal["sum", "max"] | None = opt(None, "How TAM blends frames.")
    depthwise_blending: bool | None = opt(None, "Let TAM blend each channel separately.")
    shortcut: Literal["A", "B"] | None = opt(None, "Shortcuts of 3D ResNets: padding (A) or a convolution (B).")
    stem_kernel_t: int | None = opt(
        None, "Temporal size of the first kernel of a 3D ResNet, in frames.", at_least=1, at_most=MAX_FRAMES
    )
    stem_stride_t: int | None = opt(
        None, "Temporal stride of the first convolution of a 3D ResNet, in frames.", at_least=1, at_most=MAX_FRAMES
    )
    stem_pool: bool | None = opt(None, "Use pooling after the first convolution of a 3D ResNet.")
    widen: float | None = opt(None, "Factor for the number of channels (3D ResNets, tiny3d).", above=0)
    cardinality: int | None = opt(None, "Number of groups of ResNeXt's convolutions.", at_least=1)
    batch_norm: bool | None = opt(None, "Use batch normalization in c3d.")
    global_pooling: bool | None = opt(None, "Use global average pooling in c3d, instead of fully connected layers.")
    depth: int | None = opt(None, "Number of blocks of a transformer.", at_least=1, at_most=1000)
    window_t: int | None = opt(
        None,
        "Temporal size of the attention windows of swin3d, in tubelets of 2 frames. Weights for Something-Something "
        "have 16.",
        at_least=1,
        at_most=MAX_FRAMES,
    )
    pool_kernel: Literal["3x3x3", "strided"] | None = opt(
        None,
        "Kernel of the pools in MViT's attention. 3x3x3: the same for all pools. strided: 1 x (S + 1) x (S + 1) for "
        "the spatial stride S, and no pool where S is 1, as in PySlowFast's net of 24 blocks. Loaded weights set it.",
    )
    positions: Literal["rotary", "table"] | None = opt(
        None,
        "Positions of the tokens of V-JEPA 2. table: a table of sines and cosines, as in V-JEPA of 2024. By default "
        "rotary, unless the weights need the table.",
    )
    probe_depth: int | None = opt(
        None, "Number of blocks of the attentive probe, the head of V-JEPA 2.", at_least=1, at_most=1000
    )
    probe_heads: int | None = opt(
        None,
        "Number of attention heads of the attentive probe. By default as many as the encoder has, but at most 16.",
        at_least=1,
        at_most=1000,
    )
    drop_path: float | None = opt(
        None,
        "Stochastic depth: the probability with which training skips the last block for a clip. The probabilities of "
        "the other blocks grow linearly from 0.",
        at_least=0,
        below=1,
    )
    checkpointing: bool | None = opt(
        None,
        "Gradient checkpointing: compute activations again in the backward pass, instead of storing them. Training "
        "then needs less memory and more time.",
    )
    eps_of: str | None = opt(
        None,
        "Compute normalizations, and positions in V-JEPA 2, as the project with this layout of weights files (see "
        "docs/nets.md). Loading weights sets this option.",
    )

    @property
    def options(self) -> dict[str, bool | int | float | str]:
        """The options that the user chose, as `actrec.net` takes them."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "backbone"}
        return {name: value for name, value in chosen.items() if value is not None}


@dataclass(frozen=True)
class Optim(Settings):
    """Optimizer, schedule, and which parts of the net are trained."""

    epochs: int = opt(50, "Passes over the training list.", at_least=1, common=True)
    optimizer: Literal["sgd", "adamw"] = opt("adamw", "Optimizer; sgd has momentum.", common=True)
    lr: float | None = opt(None, "Learning rate.  [default: the net's; sgd: 0.01]", above=0, common=True)
    lr_batch: int | None = opt(
        None,
        "Batch size for which --lr and --min-lr are meant. They are scaled linearly to the batch size of this run.  "
        "[default: no scaling]",
        at_least=1,
    )
    head_lr: float = opt(1.0, "Learning rate of the last layer, as a multiple of that of the other layers.", above=0)
    layer_decay: float = opt(
        1.0,
        "Layer decay: the learning rate of a layer is this factor times that of the next layer towards the output.",
        above=0,
        at_most=1,
    )
    momentum: float = opt(0.9, "Momentum of SGD.", only=("optimizer", ("sgd",)), at_least=0, at_most=1)
    dampening: float = opt(0.0, "Dampening of SGD's momentum.", only=("optimizer", ("sgd",)), at_least=0, at_most=1)
    nesterov: bool = opt(False, "Use Nesterov momentum with SGD.", only=("optimizer", ("sgd",)))
    weight_decay: float | None = opt(
        None,
        "Weight decay: decoupled with adamw, an L2 penalty with sgd.  [default: 0.05 with adamw, 0.0005 with sgd]",
        at_least=0,
    )
    norm_decay: bool = opt(False, "Apply weight decay to norms and biases too.")
    schedule: Literal["cosine", "step", "multistep", "plateau"] = opt("cosine", "How the learning rate decreases.")
    per_step: bool = opt(
        False,
        "Change the learning rate after each step, not after each epoch. --lr-steps may then be fractions.",
        flag="--lr-per-step",
        only=("schedule", ("cosine", "step", "multistep")),
    )
    min_lr: float = opt(0.0, "Final learning rate of the cosine schedule.", only=("schedule", ("cosine",)), at_least=0)
    lr_steps: tuple[float, ...] = opt(
        (15.0, 30.0, 45.0),
        "Epochs after which multistep reduces the learning rate. step uses only the first number, and repeats it.",
        only=("schedule", ("step", "multistep")),
        above=0,
    )
    gamma: float = opt(
        0.1,
        "Factor by which step, multistep and plateau reduce the learning rate.",
        only=("schedule", ("step", "multistep", "plateau")),
        above=0,
    )
    patience: int = opt(
        10,
        "Number of validations without a lower loss after which plateau reduces the learning rate. Without a "
        "validation list, epochs and their training loss count.",
        only=("schedule", ("plateau",)),
        at_least=0,
    )
    warmup: float = opt(
        1.0, "Number of epochs in which the learning rate grows linearly, at the beginning.", at_least=0
    )
    warmup_start: float = opt(
        0.01, "Learning rate at the start of the warmup, as a fraction of --lr.", at_least=0, at_most=1
    )
    accumulate: int = opt(1, "Number of batches whose gradients are accumulated for one step.", at_least=1)
    clip_gradient: float | None = opt(
        None, "Largest norm of the gradient; larger gradients are scaled down.  [default: no limit]", above=0
    )
    ema: float | None = opt(
        None,
        "Evaluate a moving average of the weights with this decay, such as 0.999.  [default: no average]",
        at_least=0,
        at_most=1,
    )
    freeze_until: str | None = opt(
        None,
        "Do not train the layers before the layer of this name, or of a name that starts with it.  "
        "[default: train all]",
    )
    freeze_norm: Literal["none", "partial", "all"] = opt(
        "none", "Which batch norms keep their statistics and weights; partial: all but the first, as in TSN."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.lr is not None or self.optimizer == "sgd") and self.min_lr > self.initial_lr:
            raise OptionError(f"`min_lr` {self.min_lr} with `lr` {self.initial_lr}: expected at most as much")
        if not self.per_step and not all(float(epochs).is_integer() for epochs in self.lr_steps):
            shown = ",".join(f"{epochs:g}" for epochs in self.lr_steps)
            raise OptionError(f"`lr_steps` {shown}: expected whole epochs, or `per_step`")
        if self.nesterov and (not self.momentum or self.dampening):
            raise OptionError("`nesterov` needs `momentum`, and no `dampening`")
        if self.warmup > self.epochs:
            raise OptionError(f"`warmup` {self.warmup} with `epochs` {self.epochs}: expected at most as many")

    @property
    def initial_lr(self) -> float:
        """`lr`, or the default of the optimizer. A net can have another default: see `settled`."""
        return self.lr if self.lr is not None else _OF_OPTIMIZER[self.optimizer][0]

    @property
    def decay(self) -> float:
        """`weight_decay`, or the default of the optimizer."""
        return self.weight_decay if self.weight_decay is not None else _OF_OPTIMIZER[self.optimizer][1]

    def settled(self, adamw_lr: float | None) -> Optim:
        """The same options without None for the defaults of the net and of the optimizer. A run stores these.

        Args:
            adamw_lr: the net's own learning rate with AdamW; None if it has none.

        Raises:
            OptionError: `min_lr` is larger than the default.
        """
        of_net = adamw_lr if self.optimizer == "adamw" and self.lr is None else None
        return replace(self, lr=of_net or self.initial_lr, weight_decay=self.decay)


@dataclass(frozen=True)
class Loss(Settings):
    """What is minimized."""

    multi_label: bool = opt(
        False,
        "Videos can have any number of labels; the score is mean average precision.",
    )
    label_smoothing: float = opt(
        0.0, "Fraction of the target that is spread evenly over all classes.", at_least=0, below=1
    )


@dataclass(frozen=True)
class Run(Settings):
    """How a training is run: device, arithmetic, checkpoints, logs."""

    recipe: Literal["ibm", "hara", "tsn", "videomae"] | None = opt(
        None,
        "Published recipe: ibm, hara, tsn or videomae.",
        metavar="NAME",
        common=True,
    )
    seed: int = opt(0, "Seed of all random draws.", at_least=0, at_most=2**32 - 1, common=True)
    device: Device = opt("auto", "auto: the GPU if there is one.", common=True)
    precision: Literal["auto", "float32", "bfloat16", "float16", "float64"] = opt(
        "auto",
        "Number format of the computation in training. auto: bfloat16 if the hardware supports it, else float32. "
        "float16 scales the gradients.",
    )
    channels_last: bool = opt(True, "Use the channels-last memory format.")
    compile: bool = opt(False, "Compile the net with torch.compile, which starts slower and runs faster on GPUs.")
    sync_bn: bool = opt(False, "Synchronize batch norms over all processes.")
    cudnn_benchmark: bool = opt(True, "Let cuDNN try its algorithms and use the fastest.")
    checkpoint_every: str | None = opt(
        None,
        "Also save a checkpoint after this many minutes (10m) or steps (500).  [default: after each epoch only]",
    )
    keep_every: int | None = opt(
        None, "Keep the checkpoint of every N-th epoch, as epoch_<n>.pt.  [default: keep none of them]", at_least=1
    )
    val_every: int = opt(1, "Number of epochs between two validations.", at_least=1)
    early_stopping: int = opt(
        0, "Stop after this many epochs without a better validation result. 0: train all epochs.", at_least=0
    )
    crop_ratio: float = opt(
        Views.crop_ratio,
        "Size of the validation crop as a fraction of the resized short side; 1 takes all of it. `actrec evaluate` "
        "uses the same.",
        above=0,
        at_most=1,
    )
    log_every: int = opt(10, "Number of steps between two rows of steps.jsonl.", at_least=1)
    tensorboard: bool = opt(True, "Write TensorBoard files.")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.save_interval  # raises if the text is malformed

    @property
    def save_interval(self) -> tuple[float, str] | None:
        """(10.0, "minutes") or (500, "steps"), or None.

        Raises:
            OptionError: `checkpoint_every` is malformed.
        """
        if self.checkpoint_every is None:
            return None
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(m?)", self.checkpoint_every.strip())
        number = float(match[1]) if match else 0.0
        if not match or not 0 < number < 2**63 or not (match[2] or number.is_integer()):
            raise OptionError(
                f"`checkpoint_every` {self.checkpoint_every!r}: expected minutes such as 10m, or steps such as 500"
            )
        return (number, "minutes") if match[2] else (int(number), "steps")


@dataclass(frozen=True)
class Recipe:
    """Everything except the data that decides the result of a training run."""

    net: Net
    clip: Clip
    augment: Augment
    loader: Loader
    optim: Optim
    loss: Loss
    run: Run


@dataclass(frozen=True)
class Frame(Settings):
    """The frames of a clip: their size and normalization. None keeps what the net, or its checkpoint, says.

        model = actrec.load("runs/2026-11-28_s3d", frame=actrec.config.Frame(size=128))

    Raises:
        OptionError: a field has an illegal value.
    """

    size: int | None = opt(
        None,
        "Frame height and width.  [default: the net's own]",
        at_least=1,
        at_most=MAX_SIDE,
        common=True,
    )
    mean: tuple[float, ...] | None = opt(
        None, "Mean of the pixel values in [0, 1]: three numbers for RGB, one for flow.  [default: the net's own]"
    )
    std: tuple[float, ...] | None = opt(
        None,
        "Standard deviation of the pixel values: as many numbers as --mean.  [default: the net's own]",
        above=0,
    )

    def applied_to(self, net_input: Input) -> Input:
        """A net's input with these changes.

        Raises:
            OptionError: the number of values does not fit the channels.
        """
        return replace(
            net_input,
            size=self.size or net_input.size,
            mean=_per_channel("mean", self.mean, net_input.mean),
            std=_per_channel("std", self.std, net_input.std),
        )


@dataclass(frozen=True)
class Scoring(Settings):
    """How the videos of a list are scored.

        model = actrec.load("runs/2026-11-28_s3d", scoring=actrec.config.Scoring(average="probabilities"))

    Raises:
        OptionError: a field has an illegal value.
    """

    protocol: str | None = opt(
        None,
        "Published protocol (see `actrec protocols`), or `none`.  [default: that of the weights]",
        metavar="NAME",
        common=True,
        complete="protocols",
    )
    fps: float | None = opt(
        None,
        "Frames per second of frame folders without a file `fps`. Some protocols need it.",
        above=0,
    )
    average: Literal["logits", "probabilities"] | None = opt(
        None, "What is averaged over the views of a video.  [default: that of the protocol; logits without one]"
    )
    batch_size: int | None = opt(None, "Number of videos in a batch.  [default: enough for 32 views]", at_least=1)
    precision: Literal["auto", "float32", "bfloat16"] = opt(
        "auto",
        "Arithmetic of the net. auto: float32 on the CPU and with a protocol, bfloat16 on GPUs that support it.",
    )


@dataclass(frozen=True)
class Export(Settings):
    """Which files `actrec export` writes."""

    pt2: bool = opt(True, "Also write model.pt2, for torch.export.load.", common=True)


@dataclass(frozen=True)
class Fusion(Settings):
    """How the scores of several score files are combined."""

    average: Literal["probabilities", "logits"] = opt("probabilities", "What is averaged over the files.", common=True)
    weights: tuple[float, ...] | None = opt(
        None,
        "Weights of the files, in the same order. They are divided by their sum.  [default: equal]",
        flag="--fusion-weights",
        at_least=0,
        common=True,
    )
    folds: int | None = opt(
        None,
        "Fit the weights by cross-validation: each of this many parts of the videos is scored with weights fitted on "
        "the other parts.",
        flag="--cross-validate",
        at_least=2,
        common=True,
    )
    seed: int = opt(0, "Seed of the split of --cross-validate.", at_least=0, common=True)


@dataclass(frozen=True)
class Windows(Settings):
    """Windows that slide over a long video.

        found = model.embed("match.mp4", windows=actrec.config.Windows(every=1.0, window=2.0))
        print(found.features.shape)  # (windows, channels)

    Raises:
        OptionError: a field has an illegal value.
    """

    every: float = opt(1.0, "Seconds between the starts of two windows.", above=0, common=True)
    window: float | None = opt(
        None,
        "Length of a window in seconds.  [default: 2, or as long as a dense clip]",
        above=0,
        common=True,
    )

    def seconds(self, clip: Clip) -> float | None:
        """The length of a window in seconds; None if a window has as many frames as a dense clip covers."""
        return None if self.window is None and clip.sampling == "dense" else self.window or _WINDOW

    def length(self, clip: Clip, rate: float) -> int:
        """The number of frames of a window.

        Args:
            clip: With `frames` set.
            rate: Frames per second.
        """
        if (seconds := self.seconds(clip)) is None:
            assert clip.frames is not None
            return clip.frames * clip.stride
        return max(1, round(seconds * rate))


@dataclass(frozen=True)
class Stream(Settings):
    """How a live source is read.

        options = actrec.config.Stream(seconds=60, timeout=5)
        for found in model.stream("rtsp://camera/stream", options=options):
            print(found.classes[0])

    Raises:
        OptionError: a field has an illegal value.
    """

    seconds: float | None = opt(None, "Stop after this many seconds.  [default: at the end]", above=0, common=True)
    timeout: float = opt(
        10.0, "Seconds without a frame after which the source counts as lost.", flag="--stream-timeout", above=0
    )
    retry: float = opt(
        30.0,
        "Seconds for which the command tries to open a lost source again, before it ends with an error.",
        flag="--stream-retry",
        at_least=0,
    )


@dataclass(frozen=True)
class Embedding(Settings):
    """Which features `actrec embed` computes, and how it writes them."""

    layer: str | None = opt(
        None, "Module that outputs the features.  [default: the input of the last layer]", common=True
    )
    dtype: Literal["float32", "float16"] = opt("float32", "Type of the features in the file.", common=True)
    layout: Literal["opentad", "actionformer"] | None = opt(
        None, "Write a folder for this program, with a .npy file of (T, C) for each video.", common=True
    )


@dataclass(frozen=True)
class Probe(Settings):
    """Simple classifiers that measure how well features separate classes."""

    neighbors: int = opt(5, "Number of neighbors (k) of the k-nearest-neighbor classifier.", at_least=1, common=True)
    shots: tuple[int, ...] = opt(
        (1, 5, 10), "Numbers of training videos per class, for few-shot probes.", at_least=1, common=True
    )
    seeds: int = opt(10, "Number of random choices of the few-shot training videos.", at_least=1, common=True)


@dataclass(frozen=True)
class Segments(Settings):
    """How the scores of windows become segments: parts of a video that show a class.

        timeline = model.timeline("match.mp4")
        print(timeline.segments(actrec.config.Segments(threshold=0.5)))

    Raises:
        OptionError: a field has an illegal value.
    """

    threshold: float = opt(0.3, "Smallest probability of a segment.", at_least=0, at_most=1, common=True)
    min_length: float = opt(1.0, "Shortest segment, in seconds.", at_least=0, common=True)


@dataclass(frozen=True)
class Report(Settings):
    """Which videos the page of `actrec report` shows."""

    videos: int = opt(
        12,
        "Number of videos in each group (confident mistakes, other mistakes, correct predictions); 0: none.",
        at_least=0,
        at_most=1000,
        common=True,
    )
    frames: int = opt(
        4, "Number of frames shown of each video.", flag="--video-frames", at_least=1, at_most=16, common=True
    )


@dataclass(frozen=True)
class Bench(Settings):
    """How speed is measured."""

    batch_size: int = opt(8, "Number of clips of a step.", at_least=1, common=True)
    steps: int = opt(2, "Number of steps of a turn.", at_least=1, common=True)
    turns: int = opt(5, "Number of turns; the table shows medians.", at_least=1, common=True)
    videos: int = opt(256, "With --list: number of its videos to use, spread evenly over it.", at_least=1, common=True)
    seconds: float = opt(10.0, "With --list: duration of each measurement.", above=0, common=True)


@dataclass(frozen=True)
class ImageOptions(Settings):
    """Size and quality of the images that are extracted from a video.

    The long side of an image keeps the aspect ratio, rounded to the nearest pixel, halves up.
    """

    short_side: int = opt(
        256,
        "Short side of the images, in pixels. Videos that are smaller keep their size.",
        at_least=1,
        at_most=MAX_SIDE,
        common=True,
    )
    resize: tuple[int, int] | None = opt(
        None, "Exact size, instead of --short-side.", metavar="WxH", at_least=1, at_most=MAX_SIDE, common=True
    )
    upscale: bool = opt(False, "Also enlarge smaller videos to the short side.")
    quality: int = opt(90, "JPEG quality, 1 to 100.", at_least=1, at_most=100, common=True)
    image_range: tuple[float, float] | None = _image_range()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_image_range(self.image_range)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the images of a video of this displayed size."""
        if self.resize:
            return self.resize
        short, long = sorted((width, height))
        if short == self.short_side or (short < self.short_side and not self.upscale):
            return width, height
        long = (2 * long * self.short_side + short) // (2 * short)
        return (self.short_side, long) if width < height else (long, self.short_side)


@dataclass(frozen=True)
class ExtractOptions(ImageOptions):
    """What a frame folder contains."""

    fps: float | None = opt(
        None, "Frames per second, chosen by timestamps.  [default: every frame]", above=0, common=True
    )
    template: str = opt("{:05d}.jpg", "File names of the frames, which are numbered from 1.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _TEMPLATE.fullmatch(self.template) or not self.template.isprintable():
            raise OptionError(
                f"`template` {self.template!r}: expected a file name with one number and .jpg, .jpeg or .png, such as "
                "{:05d}.jpg"
            )


@dataclass(frozen=True)
class FlowOptions(ImageOptions):
    """What flow images contain. The size applies to video files; flow of frame folders has the size of the frames."""

    bound: float = opt(
        20.0,
        "Motion in pixels that is stored as the darkest and the brightest value.",
        above=0,
        at_most=MAX_SIDE,
        common=True,
    )
    preset: FlowPreset = opt("medium", "Quality of the flow that the CPU computes.", common=True)
    template: str | None = _template()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_template(self.template)


@dataclass(frozen=True)
class PrepareOptions(Settings):
    """What a prepared video is.

    The short side is rounded to a multiple of 16. The long side keeps the aspect ratio within a pixel, as an even
    number.
    """

    short_side: int = opt(
        256,
        "Short side in pixels, rounded to a multiple of 16. Smaller videos get the next multiple below their own.",
        at_least=PREPARED_BLOCK,
        at_most=MAX_SIDE,
        common=True,
    )
    gop: int = opt(
        16, "Largest number of frames from one keyframe to the next.", at_least=1, at_most=100_000, common=True
    )
    crf: int | None = opt(
        None,
        f"Quality, 1 (best) to 51.  [default: {', '.join(f'{crf} for {codec}' for codec, crf in CRF.items())}]",
        at_least=1,
        at_most=51,
        common=True,
    )
    codec: Codec = opt("h264", "Codec of the videos.", common=True)
    preset: EncoderPreset = opt(
        "medium", "Speed of the encoder: ultrafast, superfast, ... slower, veryslow.", metavar="PRESET"
    )
    fps: float | None = opt(
        None,
        "Frames per second, chosen by timestamps.  [default: every frame, at its time]",
        at_least=0.01,
        at_most=1000,
        common=True,
    )
    shards: int | None = opt(
        None,
        "Write the videos into this many tar archives in WebDataset format, divided among the lists.",
        metavar="N",
        at_least=1,
        at_most=999_999,
        common=True,
    )
    upscale: bool = opt(False, "Also enlarge smaller videos to the short side.")
    encoder: Literal["auto", "cpu", "nvenc"] = opt("auto", "auto: NVENC if it works on this machine, else the CPU.")
    image_range: tuple[float, float] | None = _image_range()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_image_range(self.image_range)
        if self.crf is None:
            object.__setattr__(self, "crf", CRF[self.codec])

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a prepared video of this displayed size."""
        short, long = sorted((width, height))
        wanted = (self.short_side + PREPARED_BLOCK // 2) // PREPARED_BLOCK * PREPARED_BLOCK
        if short < wanted and not self.upscale:
            wanted = max(short // PREPARED_BLOCK, 1) * PREPARED_BLOCK
        long = -2 * ((short - long * wanted) // (2 * short))  # the nearest even number, the smaller of two
        return (wanted, long) if width < height else (long, wanted)


@dataclass(frozen=True)
class SplitOptions(Settings):
    """How videos are divided into training and validation if no list and no folder says so."""

    val_fraction: float = opt(
        0.2, "Fraction of the videos of each class for validation.", above=0, below=1, common=True
    )
    seed: int = opt(0, "Seed of the split.", at_least=0, common=True)
    group_regex: str | None = opt(
        None,
        "Regular expression: files whose paths have the same match (or first group) stay in the same list.",
        common=True,
    )
    reshuffle: bool = opt(
        False,
        "Draw a new split of all videos. Otherwise, videos of existing lists stay in their list.",
        flag="--reshuffle",
    )
    class_level: int | None = opt(
        None,
        "Level of the class folders, if it is not clear; 1: directly in the folder of videos, 2: one level deeper.",
        at_least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.group_regex or "")
        except re.error as error:
            raise OptionError(
                f"`group_regex` {self.group_regex!r}: expected a regular expression, but {error}"
            ) from None

    def group(self, name: str) -> str | None:
        """What a path has in common with the others of its group; None if it belongs to no group."""
        match = re.search(self.group_regex, name) if self.group_regex else None
        return match and (match[1] if match.re.groups else match[0])


@dataclass(frozen=True)
class ConvertOptions(Settings):
    """How lists are converted from one format to another."""

    source: str | None = opt(
        None,
        "Format of A.  [default: by its content]",
        flag="--from",
        metavar="FORMAT",
        common=True,
        complete="formats",
    )
    target: str | None = opt(
        None, "Format of B.  [default: by its suffix]", flag="--to", metavar="FORMAT", common=True, complete="formats"
    )
    root: Path | None = opt(None, "Where the paths in A start.  [default: the folder of A]", metavar="DIR", common=True)
    target_root: Path | None = opt(
        None,
        "Where the paths in B start.  [default: the folder of B; for formats of other tools --root, if it is given]",
        flag="--to-root",
        metavar="DIR",
        common=True,
    )
    part: Literal["train", "val", "test"] | None = opt(
        None, "Which part A is, or which part of it is converted.", common=True
    )
    labels: Path | None = opt(
        None, "File of class names.  [default: labels.txt next to A]", metavar="FILE", common=True
    )
    separator: Literal["space", "comma", "semicolon", "tab"] | None = opt(
        None, "Separator of the columns of B.  [default: the first that fits its paths]"
    )
    template: str | None = _template()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_template(self.template)


@dataclass(frozen=True)
class ShardOptions(Settings):
    """Which members of a tar shard are videos, and where their labels are."""

    label: Literal["auto", "cls", "json", "txt", "folder", "none"] = opt(
        "auto",
        "Where the label of a video is: in a .cls, .json or .txt member of its sample, or the name of its folder in "
        "the shard. auto: .cls or .json.",
        common=True,
    )
    field: str | None = opt(
        None,
        "Field of the JSON that contains the label; a.b is the field b of a.  [default: label, class and similar "
        "names]",
        common=True,
    )
    video: str | None = opt(
        None,
        "Suffix of the video if a sample has several videos, such as mp4 or left.mp4.  [default: all suffixes of "
        "videos]",
        metavar="SUFFIX",
        common=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.field is not None and self.label not in ("auto", "json"):
            raise OptionError(f"`field` {self.field!r} with `label` {self.label}: only a .json member has fields")


@dataclass(frozen=True)
class WeightsOptions(Settings):
    """How a weights file is read."""

    layout: Literal[
        "auto", "actrec", "ibm", "hara", "torchvision", "torchvision2d", "tsm", "mmaction2", "pytorchvideo",
        "pyslowfast", "videoswin", "videomae", "vjepa2", "transformers",
    ] = opt(
        "auto",
        "Project from which the names and shapes of the weights come (see docs/nets.md).",
        metavar="LAYOUT",
        common=True,
    )  # fmt: skip
    entry: str | None = opt(
        None,
        "Entry of FILE with the weights, such as model_ema, or state.model if it is within another one.  "
        "[default: the one with the most usual name]",
        common=True,
    )


@dataclass(frozen=True)
class ToyOptions(Settings):
    """How large the toy dataset is."""

    seed: int = opt(0, "Seed of the videos: the same seed gives the same pixels.", at_least=0, common=True)
    train_per_class: int = opt(40, "Number of training videos of each class.", at_least=1, common=True)
    val_per_class: int = opt(10, "Number of validation videos of each class.", at_least=1, common=True)


def _per_channel(name: str, given: tuple[float, ...] | None, own: tuple[float, ...]) -> tuple[float, ...]:
    if given is None:
        return own
    expected = 3 if len(own) == 3 else 1
    if len(given) != expected:
        shown = "three, for red, green and blue" if expected == 3 else "one, for flow"
        raise OptionError(f"`{name}` of {len(given)} numbers: expected {shown}")
    return given if expected == 3 else given * len(own)
