"""The pipelines, each a sentence: source, decode, augment | views, normalize.

`kind` says what the source hands over: "boxes" are finished uint8 pictures of the decode workers, "video" whole encoded
video files, "recolored" such files in other colors than BT.601, "images" one encoded image per sample, "flow" such
images of one channel of a stack of optical flow. Python's `if` on it is decided when the graph is built.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from nvidia.dali import Pipeline, fn, pipeline_def, types
from nvidia.dali.data_node import DataNode

from actrec.config import Augment, Input
from actrec.pipelines.dali import augment, decode, views

Kind = Literal["boxes", "video", "recolored", "images", "flow"]
IMAGES = ("images", "flow")  # an image is a sample of its own
_DTYPES = {"float32": types.FLOAT, "float16": types.FLOAT16}


def train_pipeline(
    kind: Kind,
    net_input: Input,
    *,
    options: Augment,
    device: str,
    device_id: int | None,
    threads: int,
    batch_size: int,
    dtype: str,
) -> Pipeline:
    """One clip (or, for images, one frame) per sample: float FHWC (HWC) of the net's size.

    Of the options' changes of color only those that are switched on are in the graph.
    """

    @pipeline_def(enable_conditionals=options.changes_colors)
    def pipeline():
        if kind == "boxes":
            clips = _boxes(device)
        else:
            frames = _decode(kind, device)
            clips = augment.crop_resize(
                frames,
                start=_source("start", "", types.FLOAT),
                end=_source("end", "", types.FLOAT),
                size=net_input.size,
            )
            clips = _recolor(kind, clips)
        drawn = {name: _source(name, "", type_) for name, type_ in augment.look_inputs(options).items()}
        clips = augment.apply_look(clips, drawn, options=options, size=net_input.size)
        mirror = _source("flip", "", types.INT32)
        clips = normalize(clips, _channels(kind, net_input), mirror=mirror, dtype=dtype, layout=_layout(kind))
        return augment.erase(clips, drawn["erased"]) if options.erasing else clips

    return _build(pipeline, device_id, threads, batch_size)


def eval_pipeline(
    kind: Kind,
    net_input: Input,
    *,
    flips: tuple[bool, ...],
    device: str,
    device_id: int | None,
    threads: int,
    batch_size: int,
    dtype: str,
) -> Pipeline:
    """One output per crop: all needed frames of the video (or one image) cropped and normalized, float FHWC (HWC)."""

    @pipeline_def
    def pipeline():
        if kind == "boxes":
            frames = _boxes(device)
        else:
            frames = views.resize(_decode(kind, device), shape=_source("shape", "", types.FLOAT))
            frames = _recolor(kind, frames)
        offsets = _source("offsets", "", types.INT32)
        crops = views.crops(frames, offsets=offsets, num_crops=len(flips), size=net_input.size)
        return tuple(
            normalize(crop, _channels(kind, net_input), mirror=int(flip), dtype=dtype, layout=_layout(kind))
            for crop, flip in zip(crops, flips)
        )

    return _build(pipeline, device_id, threads, batch_size)


def normalize(clips: DataNode, net_input: Input, *, mirror: DataNode | int, dtype: str, layout: str) -> DataNode:
    """uint8 to (x / 255 - mean) / std, mirrored where `mirror` is 1."""
    return fn.crop_mirror_normalize(
        clips,
        mirror=mirror,
        mean=[255 * m for m in net_input.mean],
        std=[255 * s for s in net_input.std],
        dtype=_DTYPES[dtype],
        output_layout=layout,
    )


def _boxes(device: str) -> DataNode:
    clips = _source("clips", "FHWC", types.UINT8, copy=device == "cuda")
    return clips.gpu() if device == "cuda" else clips


def _decode(kind: Kind, device: str) -> DataNode:
    # The copy is pinned memory, which a GPU needs. On a CPU the sample's own bytes stay until the run has ended.
    encoded = _source("encoded", "", types.UINT8, copy=device == "cuda")
    if kind in IMAGES:
        return decode.images(encoded, device=device, flow=kind == "flow")
    return decode.video(encoded, _source("frames", "", types.INT32), device=device)


def _recolor(kind: Kind, frames: DataNode) -> DataNode:
    if kind != "recolored":
        return frames
    return decode.recolor(frames, _source("matrix", "", types.FLOAT), _source("offset", "", types.FLOAT))


def _layout(kind: Kind) -> str:
    """Channels stay last: that is torch's channels-last format, seen through a permutation."""
    return "HWC" if kind in IMAGES else "FHWC"


def _channels(kind: Kind, net_input: Input) -> Input:
    """The input of one sample of the graph: all channels of flow have the same."""
    return replace(net_input, mean=net_input.mean[:1], std=net_input.std[:1]) if kind == "flow" else net_input


def _source(name: str, layout: str, dtype: types.DALIDataType, *, copy: bool = True) -> DataNode:
    """Fed by the loader with finished buffers: no callback that could block or raise."""
    return fn.external_source(name=name, dtype=dtype, no_copy=not copy, **({"layout": layout} if layout else {}))


def _build(pipeline, device_id: int | None, threads: int, batch_size: int) -> Pipeline:
    # One batch in flight per pipeline: a failed batch then takes no other with it. The loader owns several pipelines.
    built = pipeline(batch_size=batch_size, num_threads=threads, device_id=device_id, prefetch_queue_depth=1)
    built.build()
    return built
