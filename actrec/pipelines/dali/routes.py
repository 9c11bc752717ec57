"""The ways from a video to clips that a DALI graph finishes: a table (`ROUTES`) with one row per kind of input.

A row says which inputs its graph has and how a sample fills them, how it is decoded, how many DALI samples one clip is,
and how DALI's tensors become clips. To add a kind of input, add a row and let `choose_route` select it.

DALI is imported only when a graph is defined: without it, the decode workers do everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from actrec.config import FLOW_CHANNELS
from actrec.data.index import Media
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.data.video.color import color_change
from actrec.pipelines.workers.finish import reverse_mirrored_x

if TYPE_CHECKING:
    from nvidia.dali.data_node import DataNode

    from actrec.pipelines.dali.graph import Inputs
    from actrec.pipelines.workers.decode import Sample

Decoder = Literal["auto", "workers", "dali"]

# What NVDEC (from Turing to Hopper) and DALI's color conversion decode as the CPU does. Other files, rotated ones, and
# those with more than 8 bits or in full range go through the decode workers, also on a GPU. So do those with too few or
# too many pixels: smallest width and height, and largest, by NVIDIA's and users' reports of `cuvidGetDecoderCaps`.
_NVDEC = {"h264": (48, 16, 4096), "hevc": (144, 144, 8192), "vp8": (48, 16, 4096), "vp9": (128, 128, 8192)}
_DALI_CPU = {"vp8", "vp9", "mjpeg"}  # all that DALI's wheel decodes without a GPU
_RECOLORED = {"bt709", "fcc", "smpte240m", "bt2020"}  # DALI converts every file as BT.601: corrected after the resize
_JPEG = {"jpg", "jpeg"}


@dataclass(frozen=True)
class Piece:
    """Consecutive wanted frames of a sample that run through a graph together: all of them if they fit.

    Args:
        sample_index: of the sample among those of its route in a batch.
        first, stop: the range of frames, as indices of `sample.wanted`.
    """

    sample: Sample
    sample_index: int
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def images(self) -> list[np.ndarray]:
        """The encoded images that its frames are made of."""
        each = self.sample.route.images_per_frame
        return _encoded(self)[each * self.first : each * self.stop]

    @property
    def num_dali_samples(self) -> int:
        """How many DALI samples it is."""
        return len(self.images) if self.sample.route.images_per_frame else 1


@dataclass(frozen=True)
class GraphInput:
    """Something that a graph is fed.

    Args:
        name: unique in a graph.
        dtype: as DALI sees it.
        value: what a piece feeds: a list with one array per DALI sample, or one array for all of them.
        layout: of pictures.
        zero_copy_on_cpu: on a CPU the graph reads the array itself, which the sample keeps until the graph has run. For
            a GPU, DALI copies it to pinned memory.
    """

    name: str
    dtype: type[np.generic]
    value: Callable[[Piece], Any]
    layout: str = ""
    zero_copy_on_cpu: bool = False


_color_change = functools.lru_cache(color_change)


def _decoded(sample: Sample) -> np.ndarray:
    assert isinstance(sample.data, np.ndarray)
    return sample.data


def _encoded(piece: Piece) -> list[np.ndarray]:
    assert isinstance(piece.sample.data, list)
    return piece.sample.data


def _frames(piece: Piece) -> np.ndarray:
    assert piece.sample.positions is not None
    return piece.sample.positions[piece.first : piece.stop].astype(np.int32)


def train_plan(piece: Piece) -> TrainPlan:
    assert isinstance(piece.sample.plan, TrainPlan)
    return piece.sample.plan


def _eval_plan(piece: Piece) -> EvalPlan:
    assert isinstance(piece.sample.plan, EvalPlan)
    return piece.sample.plan


def _relative(piece: Piece, corner: tuple[int, int]) -> np.ndarray:
    """(y, x) as fractions of height and width: the images of a folder may differ in size."""
    media = piece.sample.media
    return np.array(corner[::-1], np.float32) / np.array([media.height, media.width], np.float32)


def _box_start(piece: Piece) -> np.ndarray:
    return _relative(piece, train_plan(piece).box[:2])


def _box_end(piece: Piece) -> np.ndarray:
    x, y, w, h = train_plan(piece).box
    return _relative(piece, (x + w, y + h))


# What a route's own graph functions are fed
PICTURES = GraphInput(
    "pictures",
    np.uint8,
    lambda piece: _decoded(piece.sample)[piece.first : piece.stop],
    layout="FHWC",
    zero_copy_on_cpu=True,
)
VIDEO_FILE = GraphInput("video", np.uint8, lambda piece: _encoded(piece)[0], zero_copy_on_cpu=True)
FRAMES = GraphInput("frames", np.int32, _frames)
IMAGE_FILES = GraphInput("images", np.uint8, lambda piece: piece.images, zero_copy_on_cpu=True)
COLOR_MATRIX = GraphInput("color_matrix", np.float32, lambda piece: _color_change(piece.sample.media.color)[0])
COLOR_OFFSET = GraphInput("color_offset", np.float32, lambda piece: _color_change(piece.sample.media.color)[1])

# What the plan feeds to every graph
FLIP = GraphInput("flip", np.int32, lambda piece: np.int32(train_plan(piece).flip))
BOX_START = GraphInput("box_start", np.float32, _box_start)
BOX_END = GraphInput("box_end", np.float32, _box_end)
RESIZE = GraphInput("resize", np.float32, lambda piece: np.array(_eval_plan(piece).resize[::-1], np.float32))
CROPS = GraphInput("crops", np.int32, lambda piece: _eval_plan(piece).offsets[:, ::-1].astype(np.int32))


@dataclass(frozen=True)
class Route:
    """One kind of input.

    Args:
        name: for error messages and tests.
        decode: defines the part of a graph that gives uint8 pictures, at native size unless `decoded_by_workers`.
        correct: defines the part that corrects the colors of resized pictures; None where they are right.
        decoded_by_workers: the decode workers have cut out and resized the pictures already.
        channels: of a frame of a clip.
        images_per_frame: encoded images that make one frame, each a DALI sample of its own; 0: a clip is one sample.
        frames_of: turns (images, H, W, C) into (frames, H, W, channels).
        fix_mirrored: corrects the finished clips of a mirrored sample in place; None where mirroring changes no values.
            (Mirrored flow also changes the sign of x.)
    """

    name: str
    decode: Callable[[Inputs], DataNode]
    correct: Callable[[DataNode, Inputs], DataNode] | None = None
    decoded_by_workers: bool = False
    channels: int = 3
    images_per_frame: int = 0
    frames_of: Callable[[torch.Tensor], torch.Tensor] = lambda images: images
    fix_mirrored: Callable[..., None] | None = None

    @property
    def layout(self) -> str:
        """Of the finished pictures. Channels stay last: that is torch's channels-last format after a permutation."""
        return "HWC" if self.images_per_frame else "FHWC"

    @property
    def channels_per_sample(self) -> int:
        """Channels of the pictures in the graph."""
        return self.channels // max(1, self.images_per_frame)

    def bytes_per_frame(self, sample: Sample) -> int:
        """Memory that one decoded frame takes before it is resized."""
        if self.decoded_by_workers:
            return _decoded(sample)[0].nbytes
        return self.channels * sample.media.width * sample.media.height


def _pictures(inputs: Inputs) -> DataNode:
    return inputs.on_device(PICTURES)


def _video(inputs: Inputs) -> DataNode:
    """The wanted frames of a file, FHWC at native size. A frame after the last one becomes the last one."""
    from nvidia.dali import fn

    # On a GPU, NVDEC decodes, with one decoder per sample. On a CPU, DALI supports VP8, VP9 and MJPEG only.
    return fn.decoders.video(inputs(VIDEO_FILE), frames=inputs(FRAMES), pad_mode="edge", device=inputs.decoding_device)


def _images(inputs: Inputs) -> DataNode:
    """One RGB image per sample, HWC. EXIF orientation is respected."""
    from nvidia.dali import fn, types

    return fn.decoders.image(inputs(IMAGE_FILES), output_type=types.RGB, device=inputs.decoding_device)


def _flow_images(inputs: Inputs) -> DataNode:
    """One gray image per sample, HWC."""
    from nvidia.dali import fn, types

    return fn.decoders.image(inputs(IMAGE_FILES), output_type=types.GRAY, device=inputs.decoding_device)


def _recolor(pictures: DataNode, inputs: Inputs) -> DataNode:
    """Replaces BT.601 in limited range by the file's own matrix: a linear change of RGB, rounded and clipped.

    Colors so vivid that DALI clipped them stay wrong. On real BT.709 videos the rest differs by 0.2 to 0.4/255 in the
    mean.
    """
    from nvidia.dali import fn, types

    return fn.coord_transform(pictures, M=inputs(COLOR_MATRIX), T=inputs(COLOR_OFFSET), dtype=types.UINT8)


def _stack_flow(images_NHWC: torch.Tensor) -> torch.Tensor:
    """Each ten consecutive gray images become the channels of one frame."""
    return images_NHWC.squeeze(-1).unflatten(0, (-1, FLOW_CHANNELS)).movedim(1, -1)


PIXELS = Route("pixels", _pictures, decoded_by_workers=True)
VIDEO = Route("video", _video)
RECOLORED_VIDEO = Route("recolored video", _video, correct=_recolor)
IMAGES = Route("images", _images, images_per_frame=1)
FLOW_PIXELS = Route(
    "flow pixels", _pictures, decoded_by_workers=True, channels=FLOW_CHANNELS, fix_mirrored=reverse_mirrored_x
)
FLOW_IMAGES = Route(
    "flow images",
    _flow_images,
    channels=FLOW_CHANNELS,
    images_per_frame=FLOW_CHANNELS,
    frames_of=_stack_flow,
    fix_mirrored=reverse_mirrored_x,
)
ROUTES = (PIXELS, VIDEO, RECOLORED_VIDEO, IMAGES, FLOW_PIXELS, FLOW_IMAGES)


def choose_route(media: Media, *, on_gpu: bool, decoder: Decoder, faults: Collection[str] = ()) -> Route:
    """Decides whether DALI or the decode workers (`pixels_route`) decode a video, and how.

    Args:
        faults: what DALI cannot do here ("video", "images"), see `selftest.py`.
    """
    pixels = pixels_route(media)
    if ("video" if media.template is None else "images") in faults:
        return pixels
    if decoder == "workers" or (decoder == "auto" and not on_gpu):
        return pixels
    if media.template is not None:
        images = FLOW_IMAGES if media.flow else IMAGES
        return images if media.codec in _JPEG else pixels
    if (
        media.rotation
        or media.mirrored
        or media.pix_fmt != "yuv420p"
        or not (_fits_nvdec(media) if on_gpu else media.codec in _DALI_CPU)
    ):
        return pixels
    if media.color == "bt601":
        return VIDEO
    return RECOLORED_VIDEO if media.color in _RECOLORED else pixels


def _fits_nvdec(media: Media) -> bool:
    width, height, most = _NVDEC.get(media.codec, (0, 0, 0))
    return width <= media.width <= most and height <= media.height <= most


def pixels_route(media: Media) -> Route:
    """The route of a video that the decode workers decode."""
    return FLOW_PIXELS if media.flow else PIXELS
