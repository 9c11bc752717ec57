"""The two DALI graphs. Start here: each is a sentence about what happens to a clip.

A `Route` (`routes.py`) says where the pictures come from; augmentations are in `actrec/pipelines/augment`. A Python
`if` on either is decided when a graph is defined. Every random number comes from the plan of a sample: DALI draws none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nvidia.dali import Pipeline, fn, pipeline_def, types
from nvidia.dali.data_node import DataNode

from actrec.config import Input
from actrec.pipelines.augment import Augmentation, failures_of
from actrec.pipelines.dali.routes import BOX_END, BOX_START, CROPS, FLIP, RESIZE, GraphInput, Route, train_plan
from actrec.pipelines.task import Task, TrainTask


@dataclass(frozen=True)
class GraphSettings:
    """How a graph runs.

    Args:
        device: "cpu" or "cuda"; on "cuda", GPU number `device_id`.
        threads: of the CPU.
        batch_size: the most DALI samples of a run.
        dtype: "float32" or "float16", of the finished clips.
    """

    device: str
    device_id: int | None
    threads: int
    batch_size: int
    dtype: str


@dataclass(frozen=True)
class Graph:
    """A defined graph, not yet built, and the inputs that it must be fed."""

    pipe: Pipeline
    inputs: Sequence[GraphInput]


def train_graph(
    route: Route, net_input: Input, *, augmentations: Sequence[Augmentation], settings: GraphSettings
) -> Graph:
    """One clip per sample (or one frame, where images are decoded): float FHWC (or HWC) of the net's size."""
    inputs = Inputs(settings.device)

    def graph() -> DataNode:
        clips = route.decode(inputs)
        if not route.decoded_by_workers:
            clips = cut_and_resize(clips, start=inputs(BOX_START), end=inputs(BOX_END), size=net_input.side)
        clips = correct_colors(clips, route, inputs)
        clips = augment(clips, augmentations, inputs, normalized=False, size=net_input.side)
        clips = normalize(clips, net_input, route, mirror=inputs(FLIP), dtype=settings.dtype)
        return augment(clips, augmentations, inputs, normalized=True, size=net_input.side)

    return define_graph(graph, inputs, settings, conditionals=bool(augmentations))


def eval_graph(
    route: Route,
    net_input: Input,
    *,
    flips: Sequence[bool],
    crop: tuple[int, int] | None,
    settings: GraphSettings,
    antialias: bool = True,
) -> Graph:
    """One output per crop: all needed frames of a video (or one image), cropped and normalized, float FHWC (or HWC).

    Args:
        flips: whether each crop is mirrored.
        crop: width and height of the crops; None: the whole picture.
        antialias: whether pictures are resized with antialiasing.
    """
    inputs = Inputs(settings.device)

    def graph() -> tuple[DataNode, ...]:
        frames = route.decode(inputs)
        if not route.decoded_by_workers:
            frames = resize(frames, shape=inputs(RESIZE), antialias=antialias)
        frames = correct_colors(frames, route, inputs)
        crops = take_crops(frames, inputs(CROPS), len(flips), crop) if crop is not None else [frames] * len(flips)
        return tuple(
            normalize(cut, net_input, route, mirror=int(flip), dtype=settings.dtype) for cut, flip in zip(crops, flips)
        )

    return define_graph(graph, inputs, settings, conditionals=False)


def graph_of(task: Task, route: Route, *, device: str, device_id: int | None, threads: int, dtype: str) -> Graph:
    """The graph that finishes the clips of a task."""
    images_per_clip = max(1, task.num_frames * route.images_per_frame)
    clips_per_sample = 1 if isinstance(task, TrainTask) else task.clips or 1
    # An upper limit: `task.batch_size` is that of all processes together, and each image is a DALI sample of its own.
    settings = GraphSettings(device, device_id, threads, task.batch_size * clips_per_sample * images_per_clip, dtype)
    if isinstance(task, TrainTask):
        pixel_augmentations = [augmentation for augmentation in task.augmentations if augmentation.changes_pixels]
        return train_graph(route, task.input, augmentations=pixel_augmentations, settings=settings)
    return eval_graph(route, task.input, flips=task.flips, crop=task.crop, antialias=task.antialias, settings=settings)


class Inputs:
    """Creates the inputs that a graph function asks for, and remembers them."""

    def __init__(self, device: str):
        self._on_gpu = device == "cuda"
        self.asked: list[GraphInput] = []
        self.refused: ValueError | None = None  # what an augmentation did wrong

    def __call__(self, asked: GraphInput) -> DataNode:
        """A node that is fed with finished buffers: there is no callback that could block or raise an error."""
        self.asked.append(asked)
        return fn.external_source(
            name=asked.name,
            dtype=_TYPES[asked.dtype.__name__],
            no_copy=asked.zero_copy_on_cpu and not self._on_gpu,
            layout=asked.layout or None,
        )

    def on_device(self, asked: GraphInput) -> DataNode:
        """The same, copied to the GPU if there is one."""
        node = self(asked)
        return node.gpu() if self._on_gpu else node

    @property
    def decoding_device(self) -> str:
        return "mixed" if self._on_gpu else "cpu"


def cut_and_resize(frames: DataNode, *, start: DataNode, end: DataNode, size: int) -> DataNode:
    """Cuts out a box and resizes it to size x size, antialiased bilinear, in one operation.

    Args:
        frames: uint8 FHWC or HWC.
        start, end: float32 (y, x) corners of the box, as fractions of height and width.
    """
    return fn.resize(
        frames,
        roi_start=start,
        roi_end=end,
        roi_relative=True,
        resize_x=size,
        resize_y=size,
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )


def resize(frames: DataNode, *, shape: DataNode, antialias: bool) -> DataNode:
    """Resizes the whole picture, bilinear, to the plan's float32 (height, width)."""
    return fn.resize(frames, size=shape, interp_type=types.INTERP_LINEAR, antialias=antialias)


def take_crops(frames: DataNode, offsets: DataNode, num_crops: int, crop: tuple[int, int]) -> list[DataNode]:
    """`num_crops` crops of every frame, of this width and height. `offsets` holds int32 (num_crops, 2) rows of y, x."""
    width, height = crop
    return [
        fn.slice(frames, start=offsets[j], shape=[height, width], axis_names="HW", out_of_bounds_policy="error")
        for j in range(num_crops)
    ]


def correct_colors(pictures: DataNode, route: Route, inputs: Inputs) -> DataNode:
    return pictures if route.correct is None else route.correct(pictures, inputs)


def augment(
    clips: DataNode, augmentations: Sequence[Augmentation], inputs: Inputs, *, normalized: bool, size: int
) -> DataNode:
    """Applies those augmentations that change uint8 pictures, or normalized ones."""
    for augmentation in augmentations:
        if augmentation.normalized == normalized:
            drawn = inputs(drawn_input(augmentation))
            try:
                clips = _apply(augmentation, clips, drawn, size)
            except ValueError as error:
                inputs.refused = error
                raise
    return clips


def _apply(augmentation: Augmentation, clips: DataNode, drawn: DataNode, size: int) -> DataNode:
    with failures_of(augmentation, "apply"):
        changed = augmentation.apply(clips, drawn, size)
    if isinstance(changed, DataNode):
        return changed
    found = type(changed).__name__
    raise ValueError(f"augmentation {augmentation.name!r}: apply returned a {found}: expected a DALI node")


def drawn_input(augmentation: Augmentation) -> GraphInput:
    """The random numbers of an augmentation, as the input of a graph."""
    name = augmentation.name
    return GraphInput(f"drawn_{name}", augmentation.dtype, lambda piece: train_plan(piece).drawn[name])


def normalize(clips: DataNode, net_input: Input, route: Route, *, mirror: DataNode | int, dtype: str) -> DataNode:
    """uint8 to (x / 255 - mean) / std, mirrored where `mirror` is 1."""
    channels = route.channels_per_sample  # a flow image is one channel of a frame; all channels of flow have one mean
    return fn.crop_mirror_normalize(
        clips,
        mirror=mirror,
        mean=[255 * m for m in net_input.mean[:channels]],
        std=[255 * s for s in net_input.std[:channels]],
        dtype=_TYPES[dtype],
        output_layout=route.layout,
    )


def define_graph(graph: Callable[[], Any], inputs: Inputs, settings: GraphSettings, *, conditionals: bool) -> Graph:
    """A graph, of which `graph` defines the nodes and has asked `inputs` for what they are fed with."""
    # One batch in flight per pipeline, so that a batch that fails takes no other with it. The feed owns several.
    define = pipeline_def(graph, enable_conditionals=conditionals)
    try:
        pipe = define(
            batch_size=settings.batch_size,
            num_threads=settings.threads,
            device_id=settings.device_id,
            prefetch_queue_depth=1,
        )
    except Exception:
        if inputs.refused is None:
            raise
        raise inputs.refused from None  # DALI puts a traceback into the message of an error
    return Graph(pipe, tuple(inputs.asked))


_TYPES = {
    "uint8": types.UINT8,
    "int32": types.INT32,
    "int64": types.INT64,
    "float32": types.FLOAT,
    "float64": types.FLOAT64,
    "float16": types.FLOAT16,
    "bool": types.BOOL,
}
