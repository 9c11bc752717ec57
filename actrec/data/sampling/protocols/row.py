"""`Protocol`: how a published accuracy was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np

from actrec.arguments import check_argument, checked
from actrec.data.sampling.protocols import crops as crop_rules
from actrec.data.sampling.protocols import frames as frame_rules
from actrec.data.times import Stamps

Kernel = Literal["pillow", "opencv", "torch", "torch-normalized"]
Reduction = Literal["logits", "probabilities", "sum of probabilities"]
SlowPath = Literal["linspace", "stride"]
WindowAverage = Literal["logits", "probabilities"]


class Geometry(NamedTuple):
    """How pictures of one size are resized and cropped.

    Args:
        resized: (width, height) of the whole picture before the crops are taken.
        crop: (width, height) of a crop.
        crops: (x, y, mirrored) of each crop, in the order of the published program.
    """

    resized: tuple[int, int]
    crop: tuple[int, int]
    crops: list[tuple[int, int, bool]]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a published accuracy was measured: which frames and crops of a video, and what is averaged.

        r3d = actrec.protocol("torchvision_r3d_18")
        r3d.frames(300, fps=30).shape  # (5, 16): five clips of 16 frames
        r3d.geometry(1920, 1080)  # Geometry(resized=(171, 128), crop=(112, 112), crops=[(30, 8, False)])
        r3d.reduce(np.zeros((5, 400))).shape  # (400,): one vector for the five views of the video

    The pixels of a crop go to the net as (value / 255 - mean) / std, in the order red, green, blue.

    Args:
        name: as `actrec protocols` lists it.
        dataset: the dataset on which the program was evaluated.
        source: the program, its commit, and the files that define the protocol.
        note: a difference from what the authors write, or a detail that is easily overlooked.
        sampling: the rule that chooses the frames (see `actrec.data.sampling.protocols.frames`).
        clip_frames: number of frames of a clip.
        stride: distance between two frames of a clip, in frames at the rate `target_fps`, or in frames of the video if
            that is None. It is 1 if the frames are spread over the whole video.
        clips: number of clips of a video. None: it depends on the video.
        target_fps: the rate to which videos are resampled, in frames per second. None: the rate does not matter.
        fps_from: the rate of a file that the program uses: the average that the file states, or the one that FFmpeg
            guesses (`r_frame_rate`).
        resize: the size to which pictures are resized in pixels: the short side, or (width, height).
        long_side: how the size of the long side is rounded.
        kernel: how pictures are resized: with Pillow's antialiased bilinear filter; with OpenCV's INTER_LINEAR; with
            torch's bilinear interpolation of uint8 without antialiasing, rounded to uint8; or with the same
            interpolation of normalized floats. All but the first skip pixels when they shrink a picture.
        crop: width and height of a crop in pixels. None: the whole resized picture.
        crop_rule: the rule that places the crops (see `actrec.data.sampling.protocols.crops`).
        mirrored: whether each crop is followed by its mirror image.
        mean, std: mean and standard deviation of values from 0 to 1, in the order red, green, blue.
        reduction: how the logits of the views are combined: their mean, or the mean or sum of their softmax.
        joins_clips: whether the net gets all clips of a crop at once, and returns logits per crop.
        slow_path: how SlowFast picks the frames of its slow path: from the first to the last frame (`linspace`), or
            every n-th frame (`stride`). None: the protocol has no SlowFast net.
        window_average: some heads have a pool of fixed size, which gives several windows if the crop is larger than
            the clips of the training. This field says what is averaged over the windows: their logits or their
            softmax. None: as the net does by default.
        precision: precision of the net.
    """

    name: str
    dataset: str
    source: str
    note: str = ""
    sampling: str
    clip_frames: int
    stride: int = 1
    clips: int | None = 1
    target_fps: float | None = None
    fps_from: Literal["average", "guessed"] = "average"
    resize: int | tuple[int, int]
    long_side: Literal["truncated", "rounded", "floor of ratio"] = "truncated"
    kernel: Kernel
    crop: int | None
    crop_rule: str
    mirrored: bool = False
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    reduction: Reduction
    joins_clips: bool = False
    slow_path: SlowPath | None = None
    window_average: WindowAverage | None = None
    precision: Literal["float32"] = "float32"

    def __post_init__(self) -> None:
        assert self.sampling in frame_rules.RULES, self.name
        assert self.crop_rule in crop_rules.RULES, self.name

    @property
    def crops(self) -> int:
        """Number of crops of a clip."""
        return len(self.geometry(320, 240).crops)

    def frames(
        self, num_frames: int, fps: float | Fraction | None = None, stamps: Stamps | None = None
    ) -> np.ndarray | None:
        """The frames of each clip of a video.

            actrec.protocol("videomae_k400").frames(300).tolist()[0]  # [0, 4, 8, ..., 60]

        Args:
            num_frames: number of frames of the video.
            fps: frames per second. Only protocols with `target_fps` need it.
            stamps: the timestamps of the file. Only programs that choose frames by them use them (`fps_from` is
                "guessed"). None: frame i is shown at i / fps.

        Returns:
            (clips, frames) int64, frame numbers from 0. None if the program leaves out such a video.

        Raises:
            ValueError: `num_frames` is below 1, or the protocol needs the rate and it is not a positive number.
        """
        num_frames = check_argument("num_frames", num_frames, int)
        if num_frames < 1:
            raise ValueError(f"num_frames {num_frames}: expected at least 1")
        rate = math.nan if fps is None else float(fps)
        if self.target_fps is not None and not 0 < rate < math.inf:
            raise ValueError(f"fps {fps}: protocol {self.name} needs the number of frames per second")
        if stamps is not None and self.sampling in frame_rules.TIMED:
            return frame_rules.TIMED[self.sampling](num_frames, rate, self, stamps)
        return frame_rules.RULES[self.sampling](num_frames, rate, self)

    @checked
    def geometry(self, width: int, height: int) -> Geometry:
        """How pictures of one size are resized and cropped.

            actrec.protocol("ibm_k400").geometry(340, 256).crop  # (256, 256)

        Args:
            width, height: of the video, as displayed, in pixels.

        Raises:
            ValueError: a side is below 1.
        """
        if min(width, height) < 1:
            raise ValueError(f"size {width}x{height}: expected at least 1x1")
        resized = self._resized(width, height)
        crop = resized if self.crop is None else (self.crop, self.crop)
        corners = crop_rules.RULES[self.crop_rule](*resized, crop)
        flips = (False, True) if self.mirrored else (False,)
        return Geometry(resized, crop, [(x, y, flip) for x, y in corners for flip in flips])

    def reduce(self, logits: Any) -> np.ndarray:
        """The result of the program for a video, from the logits of all views.

            actrec.protocol("ibm_k400").reduce([[0.0, 2.0], [1.0, 3.0]])  # array([0.5, 2.5]), their mean

        Args:
            logits: (..., views, classes): an array, a list, or a tensor. With `joins_clips`, each view is a crop.

        Returns:
            (..., classes) float64: logits, probabilities, or sums of probabilities (see `reduction`).

        Raises:
            ValueError: there is no view, or no dimension for the views.
        """
        if hasattr(logits, "detach"):  # a tensor, which may need a gradient or have a type that numpy lacks
            logits = logits.detach().cpu().double()
        values = np.asarray(logits, np.float64)
        if values.ndim < 2 or not values.shape[-2]:
            raise ValueError(f"logits of shape {values.shape}: expected (..., views, classes), with at least one view")
        if self.reduction == "logits":
            return np.asarray(values.mean(-2))
        powers = np.exp(values - values.max(-1, keepdims=True))
        probabilities = powers / powers.sum(-1, keepdims=True)
        return np.asarray(probabilities.mean(-2) if self.reduction == "probabilities" else probabilities.sum(-2))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        return crop_rules.SHORT_SIDES[self.long_side](width, height, self.resize)
