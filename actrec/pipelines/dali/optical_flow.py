"""Optical flow computed by the hardware of NVIDIA's GPUs, in OpenCV's convention."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import cv2
import numpy as np
from nvidia.dali import Pipeline, fn, pipeline_def, types

CHUNK = 32  # pictures that are sent to the GPU together
_GRIDS = (1, 4)  # pixels per vector: on Ampere and later, and on Turing


class HardwareFlow:
    """Flow from each picture to the next. Several threads may call it at the same time; they take turns.

    Raises:
        ValueError: the GPU has no optical-flow hardware, or its driver does not support it.
    """

    def __init__(self, device_id: int = 0):
        self._device_id, self._lock = device_id, threading.Lock()
        self._pipe: Pipeline | None = None
        for grid in _GRIDS:
            self._grid = grid
            try:
                self._flows(np.zeros((2, 64, 64), np.uint8))
                return
            except ValueError as error:
                reason = str(error)
        raise ValueError(f"the GPU offers no optical flow ({reason}): --device cpu works without")

    def __call__(self, pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Gray uint8 (H, W) pictures of one size in, float32 (H, W, 2) flows out, x first: one fewer than pictures."""
        chunk = []
        for picture in pictures:
            chunk.append(picture)
            if len(chunk) == CHUNK:
                yield from self._flows(np.stack(chunk))
                chunk = chunk[-1:]
        if len(chunk) > 1:
            yield from self._flows(np.stack(chunk))

    def _flows(self, pictures_FHW: np.ndarray) -> list[np.ndarray]:
        # For each pixel of the later picture, DALI returns where it came from. If the pictures are fed backwards, it
        # returns where each pixel of the earlier picture goes, as OpenCV does. The pictures are fed as RGB, because
        # DALI's buffers are RGBA, whatever image_type says.
        backwards_FHWC = np.repeat(pictures_FHW[::-1, ..., None], 3, axis=-1)
        with self._lock:
            try:
                self._pipe = pipe = self._pipe or _pipeline(self._grid, self._device_id)
                pipe.feed_input("pictures", [backwards_FHWC])
                flows = np.array(pipe.run()[0].as_cpu().at(0))[::-1]
            except RuntimeError as error:
                self._pipe = None  # a pipeline that failed is not used again
                raise ValueError(" ".join(str(error).split())[:200]) from None
        size = pictures_FHW.shape[:0:-1]
        return [cv2.resize(flow, size, interpolation=cv2.INTER_LINEAR) for flow in flows]


def _pipeline(grid: int, device_id: int) -> Pipeline:
    @pipeline_def
    def pipeline():
        pictures = fn.external_source(name="pictures", layout="FHWC", dtype=types.UINT8)
        return fn.optical_flow(pictures.gpu(), output_grid=grid, preset=0.0)

    built = pipeline(batch_size=1, num_threads=1, device_id=device_id, prefetch_queue_depth=1)
    built.build()
    return built
