"""Whether DALI works here: each part of a graph runs once, and its pixels are compared with those of the workers.

DALI's wheel installs on machines on which it cannot decode: the driver is too old, a container lacks NVIDIA's video
libraries, or the GPU has no decoder for images. Without this test, each batch would fail and be decoded again.
"""

from __future__ import annotations

import functools
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, cast

import cv2
import numpy as np
import torch

from actrec.config import Input
from actrec.data.video.encode import EncoderError
from actrec.data.video.read import iter_frames
from actrec.data.video.sample import NUM_FRAMES, difference, pictures, write_sample
from actrec.pipelines.dali.errors import reason_of
from actrec.pipelines.dali.routes import FLIP, FRAMES, IMAGE_FILES, IMAGES, PICTURES, PIXELS, VIDEO, VIDEO_FILE
from actrec.system import is_out_of_memory

_NET_INPUT = Input(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), frames=NUM_FRAMES, size=64)
WITHOUT = {  # part: what DALI does not do if it fails
    "video": "decode videos",
    "images": "decode JPEG images",
    "finish": "resize and normalize clips",
}
_ORIGIN = re.compile(r'^Assert on ".*?" failed: | C\+\+ context: \[.*?\]')  # places in the code of DALI
logger = logging.getLogger(__name__)


@functools.cache
def faults_of(device: torch.device) -> Mapping[str, str]:
    """What DALI cannot do on a GPU, by the names of `WITHOUT`, each with the reason. Empty if everything works.

    The parts run once per process, which takes a fraction of a second. The first call reports what fails.
    """
    faults = {part: reason for part in WITHOUT if (reason := fault(part, device)) is not None}
    if len(faults) == len(WITHOUT):
        logger.warning("DALI does not work on %s (%s): the CPU makes all clips; `actrec doctor` tells more", device,
                       faults["finish"])  # fmt: skip
    else:
        for part, reason in faults.items():
            logger.warning("DALI cannot %s on %s (%s): the CPU does it; `actrec doctor` tells more", WITHOUT[part],
                           device, reason)  # fmt: skip
    return faults


def fault(part: str, device: torch.device) -> str | None:
    """Why a part of DALI does not work on a device, in one line; None if it works.

    Raises:
        MemoryError, torch.OutOfMemoryError: there is too little memory to try it.
    """
    codec = "h264" if device.type == "cuda" else "mjpeg"  # without a GPU, DALI's wheel decodes no H.264
    tests: dict[str, Callable[[], str | None]] = {
        "video": lambda: fault_of_codec(codec, device),
        "images": lambda: _reason(lambda: _fault_of_images(device)),
        "finish": lambda: _reason(lambda: _fault_of_finishing(device)),
    }
    try:
        return tests[part]()
    except EncoderError:  # there is nothing to try it with
        return None


def fault_of_codec(codec: str, device: torch.device) -> str | None:
    """As `fault`, for videos in a codec of `SAMPLES`.

    Raises:
        EncoderError: FFmpeg cannot encode it here.
    """
    return _reason(lambda: _fault_of_video(codec, device))


def _reason(test: Callable[[], str | None]) -> str | None:
    try:
        return test()
    except EncoderError:
        raise
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("nvidia")
        return "it is not installed" if missing else f"it cannot be loaded: {error}"
    except Exception as error:  # DALI raises RuntimeError and its subclasses, and others while a graph is defined
        if is_out_of_memory(error) or isinstance(error, torch.OutOfMemoryError):
            raise
        text = (reason_of(error) if isinstance(error, RuntimeError) else "") or " ".join(str(error).split())
        return _ORIGIN.sub("", text)[:300] or type(error).__name__


def _fault_of_video(codec: str, device: torch.device) -> str | None:
    import nvidia.dali.fn  # noqa: F401 - a missing DALI is reported before a video is made

    with tempfile.TemporaryDirectory() as folder:
        path = write_sample(folder, codec)
        data = np.fromfile(path, np.uint8)
        expected = [rgb for rgb, _ in iter_frames(path)]
    wanted = np.arange(0, len(expected), 2, dtype=np.int32)
    (found,) = _run(VIDEO.decode, {VIDEO_FILE.name: [data], FRAMES.name: [wanted]}, device)
    return difference(list(found), [expected[n] for n in wanted])


def _fault_of_images(device: torch.device) -> str | None:
    encoded = [cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for picture in pictures()]
    expected = [cast(np.ndarray, cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1] for data in encoded]
    found = _run(IMAGES.decode, {IMAGE_FILES.name: [data.ravel() for data in encoded]}, device)
    return difference(found, expected)


def _fault_of_finishing(device: torch.device) -> str | None:
    from actrec.pipelines.dali.graph import Inputs, cut_and_resize, normalize

    def finish(inputs: Inputs) -> Any:
        clips = cut_and_resize(PIXELS.decode(inputs), start=[0.0, 0.0], end=[1.0, 1.0], size=_NET_INPUT.side)
        return normalize(clips, _NET_INPUT, PIXELS, mirror=inputs(FLIP), dtype="float32")

    clip = np.stack(pictures())
    (found,) = _run(finish, {PICTURES.name: [clip], FLIP.name: [np.int32(0)]}, device)
    size = (_NET_INPUT.side, _NET_INPUT.side)
    expected = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in clip]
    return difference(list(255 * (0.25 * found + 0.5)), expected)


def _run(define: Callable[[Any], Any], fed: Mapping[str, list[Any]], device: torch.device) -> list[np.ndarray]:
    """The samples that a graph makes of what it is fed, on the CPU."""
    from actrec.pipelines.dali.graph import GraphSettings, Inputs, define_graph

    num_samples = len(next(iter(fed.values())))
    inputs = Inputs(device.type)
    settings = GraphSettings(device.type, device.index, threads=1, batch_size=num_samples, dtype="float32")
    graph = define_graph(lambda: define(inputs), inputs, settings, conditionals=False)
    graph.pipe.build()
    for asked in graph.inputs:
        graph.pipe.feed_input(asked.name, fed[asked.name])
    (samples,) = graph.pipe.run()
    return [np.array(sample) for sample in samples.as_cpu()]
