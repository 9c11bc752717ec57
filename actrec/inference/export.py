"""Exports a trained net for programs without actrec: a folder with the net, its labels and its input."""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import actrec
from actrec import config
from actrec.config import Clip, Input
from actrec.data.video.container import FORMATS
from actrec.engine.devices import move
from actrec.files import OutputError, atomic_write, scratch_folder, write_json, writing
from actrec.registry import in_one_line

if TYPE_CHECKING:
    from actrec.inference.model import Model

ONNX, PT2, LABELS, SPEC, PROGRAM = "model.onnx", "model.pt2", "labels.txt", "input.json", "classify.py"
TOLERANCE = 1e-4  # of the check, relative to the largest logit
_LONGEST = 200  # characters of the reason why a net cannot be exported
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Added before rounding down. The last part makes sums that are exactly between two numbers be rounded up whatever the
# order of their terms, so that every runtime gives the same pixels.
_HALF = 0.5 + 2**-10
# The frames of the one clip of a video of n frames, as in `actrec.data.sampling.samplers`, by sampling and rule.
_POSITIONS = {
    ("uniform", "actrec"): "(2 * np.arange(T) + 1) * n // (2 * T)",
    ("uniform", "ibm"): "n / T / 2 + n / T * np.arange(T) if n > T "
    "else np.sort(np.random.RandomState(0).randint(0, n, T))",
    ("dense", "actrec"): 'max(0, n - (T - 1) * SPEC["stride"] - 1) // 2 + SPEC["stride"] * np.arange(T)',
    ("dense", "ibm"): 'SPEC["stride"] * np.arange(T) % n',
}


@dataclass(frozen=True)
class Exported:
    """An exported net.

        exported = model.export("exported")
        print(exported.onnx_difference)  # such as 1e-06

    Args:
        opset: Version of the ONNX operators.
        onnx_difference, pt2_difference: The largest difference of a logit from the net's own, relative to the largest
            logit. None for a file that was not written.
    """

    opset: int
    onnx_difference: float
    pt2_difference: float | None


class Classifier(nn.Module):
    """A net together with everything that evaluation with one clip and the center crop does to decoded frames.

    Frames are resized (antialiased bilinear), cropped and normalized as by `actrec evaluate`. Resizing is written as
    two matrix products, horizontal and vertical, because these export with any height and width and need no operator
    that a runtime may lack. The results are rounded to whole numbers where the decode workers do this: after the second
    product, and where the frame shrinks also after the first (`actrec.pipelines.workers.resize`).

    Args:
        net: Maps clips NCTHW to logits. It is not copied.
        input: The size and the normalization of the frames.
        crop_ratio: Size of the crop, relative to the short side of the resized frame.
        multi_label: Probabilities are those of each class by itself.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, input: Input, *, crop_ratio: float, multi_label: bool):
        super().__init__()
        self.net, self.size, self.multi_label = net, input.side, multi_label
        self.short_side = int(input.side / crop_ratio + 0.5)
        self.register_buffer("mean", 255 * torch.tensor(input.mean)[:, None, None, None])
        self.register_buffer("std", 255 * torch.tensor(input.std)[:, None, None, None])

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities, both (N, num_classes) float32, of uint8 frames (N, T, H, W, C)."""
        height, width = frames.shape[2:4]
        x = frames.permute(0, 4, 1, 2, 3).float()
        x = x @ self._resize(width, height).T
        shorter = torch.full((), height, dtype=torch.int64).minimum(torch.full((), width, dtype=torch.int64))
        x = torch.where(shorter > self.short_side, (x + _HALF).floor(), x)
        x = (self._resize(height, width) @ x + _HALF).floor()
        logits = self.net((x - self.mean) / self.std)
        return logits, logits.sigmoid() if self.multi_label else logits.softmax(-1)

    def _resize(self, length: int, other: int) -> Tensor:
        """The matrix (size, length) that resizes an axis of a frame and takes the crop out of it.

        Args:
            length, other: Pixels of this axis and of the other one. They may be symbols.
        """
        pixels, across = (torch.full((), value, dtype=torch.int64) for value in (length, other))
        resized = torch.clamp(torch.div(self.short_side * pixels, across, rounding_mode="floor"), min=self.short_side)
        first = torch.round((resized - self.size) / 2)
        scale = pixels / resized
        centers = (first + torch.arange(self.size) + 0.5) * scale
        distances = torch.arange(length) + 0.5 - centers[:, None]
        weights = torch.clamp(1 - distances.abs() / scale.clamp(min=1), min=0)
        return weights / weights.sum(1, keepdim=True)


def check_folder(folder: Path, *, force: bool, advice: str = "force=True replaces the export in it") -> None:
    """Raises OutputError if an export must not be written to this folder, or nothing can be written there."""
    with writing(folder):
        names = set(os.listdir(folder)) if folder.exists() else set()
    if others := sorted(names - {ONNX, PT2, LABELS, SPEC, PROGRAM}):
        raise OutputError(f"{folder}: contains {others[0]!r}, which is not part of an export: expected an empty folder")
    if names and not force:
        raise OutputError(f"{folder}: the folder is not empty: {advice}")
    with scratch_folder(folder):
        pass


def export(model: Model, folder: str | os.PathLike[str], options: config.Export, *, force: bool = False) -> Exported:
    """Exports a model: see `Model.export`."""
    folder = Path(folder)
    check_packages()
    check_folder(folder, force=force)
    with scratch_folder(folder) as scratch:
        new = scratch / "new"
        with writing(folder):
            new.mkdir()
            found = _write_nets(model, new, pt2=options.pt2)
            _write_description(model, new, found)
            if folder.exists():
                os.rename(folder, scratch / "old")
            os.rename(new, folder)
    return found


def check_packages() -> None:
    """Raises ValueError if a package is missing that only export needs."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"export needs {', '.join(missing)}: pip install 'actrec[export]'")


# ---- the nets ----


def _write_nets(model: Model, folder: Path, *, pt2: bool) -> Exported:
    """Writes the files of the net and compares them with it.

    Raises:
        ValueError: The net cannot be exported, or a file gives other logits.
    """
    import onnxruntime

    name, frames = model.net.name, _frames_of(model, batch=2)
    with _quiet(), _exporting(name):
        net = move(copy.deepcopy(model.net).float(), torch.device("cpu"), channels_last=False)
        classifier = Classifier(net, model.input, crop_ratio=model.views.crop_ratio, multi_label=model.multi_label)
        classifier.eval().requires_grad_(False)
        axes = {"frames": {0: "N", 2: "H", 3: "W"}}
        dimensions = {"frames": {axis: torch.export.Dim(letter) for axis, letter in axes["frames"].items()}}
        with torch.no_grad():
            program = torch.export.export(classifier, (frames,), dynamic_shapes=dimensions)
            if pt2:
                packed = io.BytesIO()  # on a full disk, torch would abort the process
                torch.export.save(program, packed)
                (folder / PT2).write_bytes(packed.getbuffer())
            onnx = torch.onnx.export(
                program,
                dynamo=True,
                input_names=["frames"],
                output_names=["logits", "probabilities"],
                dynamic_shapes=axes,
                verbose=False,
            )
        assert onnx is not None
        onnx.save(folder / ONNX)
        session = onnxruntime.InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])

        def run_onnx(frames: Tensor) -> np.ndarray:
            return np.asarray(session.run(["logits"], {"frames": frames.numpy()})[0])

        differences = {ONNX: _difference(model, classifier, run_onnx)}
        if pt2:
            loaded = torch.export.load(folder / PT2).module()
            differences[PT2] = _difference(model, classifier, lambda frames: loaded(frames)[0].numpy())
    for file, difference in differences.items():
        if not difference <= TOLERANCE:  # also if it is not a number
            raise ValueError(
                f"net {name!r}: the logits of {file} differ from the net's by {difference:.1e} of the largest one: "
                f"expected at most {TOLERANCE:.0e}"
            )
    return Exported(onnx.model.opset_imports[""], differences[ONNX], differences.get(PT2))


def _frames_of(model: Model, *, batch: int) -> Tensor:
    """Random frames, uint8 (N, T, H, W, C), larger than the net's input and not square."""
    assert model.clip.frames is not None
    size, generator = model.input.side, torch.Generator().manual_seed(batch)
    shape = (batch, model.clip.frames, size + size // 4, size + size // 2, len(model.input.mean))
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def _difference(model: Model, classifier: Classifier, run: Any) -> float:
    """The largest difference of a logit for batches of one and two clips, relative to the largest logit."""
    found = []
    for batch in (1, 2):
        frames = _frames_of(model, batch=batch)
        with torch.inference_mode():
            expected = classifier(frames)[0].numpy()
            difference = np.abs(run(frames) - expected).max()
        found.append(float(difference / np.abs(expected).max()) if difference else 0.0)
    return max(found)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporters, which warn, log and print graphs. Restores everything afterwards."""
    disabled, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _exporting(name: str) -> Iterator[None]:
    """Turns every exception of the exporters into a ValueError of one line, without their page of advice."""
    try:
        yield
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the exporters run the net, which can be the user's own code
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = in_one_line(cause)
        shown = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}…"
        raise ValueError(f"net {name!r} cannot be exported: {shown}") from error


# ---- what describes them ----


def _write_description(model: Model, folder: Path, found: Exported) -> None:
    with atomic_write(folder / LABELS) as file:
        file.writelines(f"{name}\n" for name in model.class_names)
    write_json(folder / SPEC, _specification(model, found), indent=2)
    if model.clip.modality == "rgb":
        with atomic_write(folder / PROGRAM) as file:
            file.write(_program(model.clip))


def _specification(model: Model, found: Exported) -> dict[str, Any]:
    clip, rgb = model.clip, model.clip.modality == "rgb"
    return {
        "net": model.net.name,
        "classes": list(model.class_names),
        "multi_label": model.multi_label,
        "input": {
            "name": "frames",
            "dtype": "uint8",
            "layout": "NTHWC",
            "shape": ["N", clip.frames, "H", "W", len(model.input.mean)],
            "channels": "RGB" if rgb else "x and y of five consecutive flow images",
        },
        "outputs": {
            "logits": ["N", model.num_classes],
            "probabilities": ["N", model.num_classes],
            "activation": "sigmoid" if model.multi_label else "softmax",
        },
        "frames": clip.frames,
        "sampling": clip.sampling,
        "rule": clip.rule,
        "stride": clip.stride,
        "in_the_graph": {
            "resize": "antialiased bilinear, keeps the aspect ratio",
            "short_side": int(model.input.side / model.views.crop_ratio + 0.5),
            "crop": "center",
            "size": model.input.side,
            "crop_ratio": model.views.crop_ratio,
            "normalize": "(frames / 255 - mean) / std",
            "mean": model.input.mean,
            "std": model.input.std,
        },
        "precision": "float32",
        "check": asdict(found),
        "versions": {"actrec": actrec.__version__}
        | {name: importlib.metadata.version(name) for name in ("torch", *_PACKAGES)},
    }


def _program(clip: Clip) -> str:
    """The text of classify.py for this way of sampling."""
    rule = "actrec" if clip.rule == "comb" else clip.rule  # they differ in training only
    formats = f'"{FORMATS}"'
    return _CLASSIFY.replace("POSITIONS", _POSITIONS[clip.sampling, rule]).replace("FORMATS", formats)


_CLASSIFY = '''\
"""Classifies videos: python classify.py VIDEO...    (pip install av numpy onnxruntime)"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import av
import numpy as np
import onnxruntime

HERE = Path(__file__).parent
SPEC = json.loads((HERE / "input.json").read_text("utf-8"))
LABELS, T = SPEC["classes"], SPEC["frames"]
# A file may be a playlist that names other files and addresses: only containers of video are opened.
SAFE = {"protocol_whitelist": "file", "format_whitelist": FORMATS}

# The contributions of red and blue to luma, by the color matrix in ITU-T H.273. All others are converted as BT.601.
LUMA = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}


def yuv420_to_rgb(picture):
    """As in training, pixel by pixel: integer arithmetic, and one color for each block of 2x2 pixels."""
    h, planes = picture.height, picture.to_ndarray().astype(int)
    u, v = planes[h:].reshape(2, h // 2, -1).repeat(2, 1).repeat(2, 2)
    y, full = planes[:h], picture.color_range == 2 or picture.format.name == "yuvj420p"
    if full or picture.colorspace in LUMA:
        red, blue = LUMA.get(picture.colorspace, (0.299, 0.114))
        green = 1 - red - blue
        black, luma, chroma = (0, 1, 1) if full else (16, 255 / 219, 255 / 224)
        cr, cb = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        exact = np.array([[luma, 0, cr], [luma, -cb * blue / green, -cr * red / green], [luma, cb, 0]]) * 2**10
        matrix, offset, bits = np.rint(exact).astype(int), np.rint(-exact @ (black, 128, 128)).astype(int), 10
    else:
        matrix, bits = np.array([[1220542, 0, 1673527], [1220542, -409993, -852492], [1220542, 2116026, 0]]), 20
        y, offset = np.maximum(y, 16), -matrix @ (16, 128, 128)
    rgb = (np.stack([y, u, v], 2) @ matrix.T + offset + 2 ** (bits - 1)) >> bits
    return rgb.clip(0, 255).astype(np.uint8)


def to_rgb(picture):
    """The upright picture, uint8 (H, W, 3)."""
    is_even = picture.width % 2 == 0 and picture.height % 2 == 0
    if picture.format.name in ("yuv420p", "yuvj420p") and is_even:
        rgb = yuv420_to_rgb(picture)  # FFmpeg's conversion makes other pixels
    else:
        if picture.colorspace == 10:  # BT.2020 with constant luminance, which FFmpeg does not convert
            picture.colorspace = 9
        rgb = picture.to_ndarray(format="rgb24")
    return np.rot90(rgb, picture.rotation // 90)


def to_end(found):
    """All packets or pictures. After them, PyAV fails if a stream of an MPEG-TS began late."""
    with contextlib.suppress(IndexError):
        yield from found


def read_clip(path):
    """The frames that the net sees, uint8 (T, H, W, 3)."""
    with av.open(f"file:{path}", options=SAFE) as video:
        if (stream := video.streams.best("video")) is None:
            raise ValueError("no video stream")
        n = sum(1 for packet in to_end(video.demux(stream)) if packet.size and not packet.is_discard)
        if not n or n < 0.9 * stream.frames - 3:
            raise ValueError(f"the file is broken: it contains {n} of {stream.frames or 'its'} frames")
    wanted = np.clip(POSITIONS, 0, n - 1).astype(int).tolist()
    found, picture = {}, None
    with av.open(f"file:{path}", options=SAFE) as video:
        for i, picture in enumerate(to_end(video.decode(video.streams.best("video")))):
            if i in wanted:
                found[i] = to_rgb(picture)
            if i == max(wanted):
                break
    if picture is None:
        raise ValueError("no frame can be decoded")
    if late := sum(i not in found for i in wanted):
        print(f"{path}: ends early: the last frame replaces {late} of the {T} frames of the clip", file=sys.stderr)
    return np.stack([found[i] if i in found else to_rgb(picture) for i in wanted])


parser = argparse.ArgumentParser(description="Prints the most likely classes of videos.")
parser.add_argument("videos", nargs="+", metavar="VIDEO")
net, failed = onnxruntime.InferenceSession(HERE / "model.onnx"), False
for path in parser.parse_args().videos:
    try:
        clip = read_clip(path)
    except (OSError, ValueError) as error:  # FFmpeg's errors are among them
        print(f"{path}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        failed = True
        continue
    logits, probabilities = net.run(None, {"frames": clip[None]})
    print(path)
    for label in np.argsort(-probabilities[0])[:5]:
        print(f"  {probabilities[0][label]:.4f}  {LABELS[label]}")
sys.exit(failed)
'''
