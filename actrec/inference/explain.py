"""Shows where and when a clip contains evidence for a class: Grad-CAM.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017
(arXiv:1610.02391), extended by the time axis: the channels of the last feature map are weighted with the gradient
of the class's logit, averaged over space and time, and their sum is kept where it is positive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from actrec.data.index import Media
from actrec.data.lists import Video
from actrec.data.sampling.plan import EvalPlan
from actrec.engine.evaluate import evaluating
from actrec.engine.failures import with_name
from actrec.inference.drawing import pixels_of
from actrec.nets.backbone import Backbone
from actrec.nets.outside import forward_failures_of, layer_of, logits_of, name_of
from actrec.registry import did_you_mean
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.inference.model import Model

FEATURES = "features"
Shape = tuple[int, int, int]
_PLACES = 4  # height and width of a map that shows where the evidence is
_CENTER = {1: 0, 3: 2, 5: 4, 10: 8}  # which one of so many crops is the central one


@dataclass(frozen=True, repr=False)
class Explanation:
    """The evidence for a class in the clips of a video, as `Model.explain` returns it.

        found = model.explain("a.mp4")
        clip, frame = np.unravel_index(found.evidence.argmax(), found.evidence.shape)
        print(f"frame {found.frames[clip, frame]} shows most of the evidence for {found.name}")

    Args:
        video: Its id.
        label: The number of the class.
        name: Its name.
        probability: Of the class, over all views of the video, as `predict` returns it.
        layer: The layer from whose output the maps are computed.
        shape: (T', H', W') of a map before it was enlarged to the clip.
        maps: (clips, T, size, size) float32 in [0, 1]; 1 is the strongest evidence in all clips. All are 0 if the
            layer contains no evidence for the class.
        frames: (clips, T) int64, counted from 0 at the first frame of the video.
        pixels: The clips as the net gets them, uint8 (clips, T, size, size, 3).
        box: Where the clips are in the video, (x, y, w, h) in pixels as displayed.
        media: What is known of the video.
        finer: If a map has a single time step: layers with more time steps, and the shapes of their maps.
    """

    video: str
    label: int
    name: str
    probability: float
    layer: str
    shape: tuple[int, int, int]
    maps: np.ndarray
    frames: np.ndarray
    pixels: np.ndarray
    box: tuple[float, float, float, float]
    media: Media
    finer: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        clips, frames, size = self.maps.shape[:3]
        empty = "" if self.maps.any() else ", no evidence"
        return "\n".join(
            (
                f"{self.name} {self.probability:.1%} in {self.video}",
                f"  layer    {self.layer}, map of {'x'.join(map(str, self.shape))}{empty}",
                f"  clips    {counted(clips, 'clip')} of {counted(frames, 'frame')} of {size}x{size}",
                "  see      .maps, .evidence, .frames, .pixels",
            )
        )

    @property
    def evidence(self) -> np.ndarray:
        """The mean of each frame's map, relative to the largest one: (clips, T) float32 in [0, 1]."""
        found = self.maps.mean((2, 3))
        return found / max(float(found.max()), np.finfo(np.float32).tiny)


def explain(model: Model, video: Video, class_: str | int | None = None, *, layer: str | None = None) -> Explanation:
    """Explains a class of one video. `Model.explain` describes arguments and errors."""
    asked = None if class_ is None else find_class(class_, model.class_names)
    loader = model.make_loader([video])
    result = model.score([video], index=loader.index)
    for reason in (result.missing | result.left_out).values():
        raise ValueError(with_name(video.id, reason))
    probabilities = model.probabilities(result)[0]
    label = asked if asked is not None else int(probabilities.argmax())
    batch = next(batches := iter(loader))
    batches.close()
    (plan,) = batch.plans
    assert isinstance(plan, EvalPlan)
    first = _CENTER[model.views.crops] * model.views.clips
    clips = batch.clips[first : first + model.views.clips]
    layers: list[tuple[str, Shape]] = []
    if layer is None:
        coarse = grad_cam(model.net, clips[:1], label)
        if not _is_fine(coarse.shape[1:]) and clips.shape[2] > 1:
            layers = _layers_in_time(model.net, clips[:1])
            layer = next((name for name, shape in reversed(layers) if _is_fine(shape)), None)
    # Clip by clip, so that many clips need no more memory than one.
    found = torch.cat([grad_cam(model.net, clip[None], label, layer=layer) for clip in clips])
    maps = F.interpolate(found[:, None].float(), clips.shape[2:], mode="trilinear")[:, 0]
    maps = maps / maps.max().clamp(min=torch.finfo(torch.float32).tiny)
    media = loader.index[0]
    return Explanation(
        video=video.id,
        label=label,
        name=model.class_names[label],
        probability=float(probabilities[label]),
        layer=layer or FEATURES,
        shape=(found.shape[1], found.shape[2], found.shape[3]),
        maps=maps.cpu().numpy(),
        frames=plan.frames,
        pixels=pixels_of(clips.float().cpu(), model.input),
        box=plan.boxes(media.width, media.height)[_CENTER[model.views.crops]],
        media=media,
        finer=_finer_layers(layers or _layers_in_time(model.net, clips[:1]))
        if found.shape[1] == 1 < clips.shape[2]
        else {},
    )


def find_class(wanted: str | int, names: Sequence[str]) -> int:
    """The number of a class that is given by its name or its number.

    Raises:
        ValueError: The net has no such class.
    """
    if isinstance(wanted, str) and wanted in names:
        return list(names).index(wanted)
    try:
        number = int(wanted)
    except ValueError:
        raise ValueError(f"class {wanted!r}: the net has no such class{did_you_mean(str(wanted), names)}") from None
    if not 0 <= number < len(names):
        raise ValueError(f"class {number}: expected a number from 0 to {len(names) - 1}, or the name of a class")
    return number


def grad_cam(net: nn.Module, clips_NCTHW: Tensor, label: int, *, layer: str | None = None) -> Tensor:
    """The evidence for a class in some clips: (N, T', H', W'), at least 0, in the size of the layer's output.

    The net is not changed: it gets no gradients, and is in evaluation mode only until the function returns.

    Args:
        net: (N, C, T, H, W) to logits (N, classes).
        layer: The name of a module of the net with an output (N, C, T', H', W'), or (N * T', C, H', W') as of nets that
            process frame by frame. Default: the input of the net's head, which is what its method `features` returns.

    Raises:
        ValueError: The net has no such layer, its output has another shape, or the logit does not depend on it. A net
            from outside actrec has no methods `features` and `head`, or they do not give its logits.
    """
    kind = next((p.dtype for p in net.parameters() if p.is_floating_point()), clips_NCTHW.dtype)
    clips_NCTHW = clips_NCTHW.to(kind)
    with evaluating(net), torch.inference_mode(False), torch.no_grad():
        activations, logits = _from_layer(net, clips_NCTHW, layer) if layer else _from_features(net, clips_NCTHW)
        with torch.enable_grad():
            total = logits[:, label].sum()
        (gradients,) = torch.autograd.grad(total, activations, allow_unused=True)
        if gradients is None:
            raise ValueError(f"layer {layer!r}: the logits of the net do not depend on it; expected another layer")
        num_clips, named = len(clips_NCTHW), f"layer {layer!r}" if layer else f"net {name_of(net)!r}: its features"
        weights = _as_maps(gradients, num_clips, named).mean((2, 3, 4), keepdim=True)
        return (weights * _as_maps(activations.detach(), num_clips, named)).sum(1).relu()


def _from_features(net: nn.Module, clips: Tensor) -> tuple[Tensor, Tensor]:
    """(the input of the head, logits that depend on it)"""
    own = isinstance(net, Backbone)
    if not own and not all(callable(getattr(net, name, None)) for name in ("features", "head")):
        raise ValueError(f"net {name_of(net)!r} has no methods `features` and `head`: {_name_a_layer(net)}")
    with forward_failures_of(net):
        found = net.features(clips)  # type: ignore[operator]
        if not isinstance(found, Tensor):
            raise ValueError(f"its features are a {type(found).__name__}: {_name_a_layer(net)}")
        leaf = found.detach().requires_grad_()
        with torch.enable_grad():
            logits = net.head(leaf.clone())  # type: ignore[operator] # a copy, because a head may change its input
    if not own:
        expected = logits_of(net, clips)
        if logits.shape != expected.shape or not torch.allclose(logits, expected, rtol=1e-3, atol=1e-3):
            raise ValueError(
                f"net {name_of(net)!r}: head(features(clips)) differs from what the net returns: {_name_a_layer(net)}"
            )
    return leaf, logits


def _from_layer(net: nn.Module, clips: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """(the output of a layer, logits that depend on it)"""
    module = layer_of(net, name)
    outputs: list[Any] = []

    def replace(module: nn.Module, inputs: Any, output: Any) -> Any:
        outputs.append(output)
        if not isinstance(output, Tensor):
            return None
        outputs[-1] = output.detach().requires_grad_()
        torch.set_grad_enabled(True)  # from here on, until the end of the caller's `no_grad`
        return outputs[-1].clone()  # the next layer may change it

    handle = module.register_forward_hook(replace)
    try:
        logits = logits_of(net, clips)
    finally:
        handle.remove()
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
        found = f"is called {len(outputs)} times" if len(outputs) != 1 else f"gives a {type(outputs[0]).__name__}"
        raise ValueError(f"layer {name!r} {found}: {_name_a_layer(net)}")
    return outputs[0], logits


def _is_fine(shape: Sequence[int]) -> bool:
    """Whether a map (T', H', W') shows when and where."""
    return shape[0] > 1 and min(shape[1:]) >= _PLACES


def _finer_layers(layers: Sequence[tuple[str, Shape]]) -> dict[str, Shape]:
    """The last one for each number of time steps, in ascending order."""
    last = {shape[0]: (name, shape) for name, shape in layers}
    return dict(last[steps] for steps in sorted(last))


def _layers_in_time(net: nn.Module, clips: Tensor) -> list[tuple[str, Shape]]:
    """The net's main layers whose maps have several time steps, in the order of their calls, with these shapes."""
    found: list[tuple[str, Shape]] = []

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 5 and output.shape[2] > 1:
            steps, height, width = output.shape[2:]
            found.append((name, (steps, height, width)))

    handles = [module.register_forward_hook(partial(note, name)) for name, module in _main_layers(net)]
    try:
        with evaluating(net), torch.no_grad():
            net(clips)
    finally:
        for handle in handles:
            handle.remove()
    calls = Counter(name for name, _ in found)
    return [(name, shape) for name, shape in found if calls[name] == 1]


def _main_layers(net: nn.Module) -> list[tuple[str, nn.Module]]:
    """The outermost layers, and the stages of a net that keeps them in a sequence."""
    found = []
    for name, module in net.named_children():
        if isinstance(module, nn.Sequential):
            found += [(f"{name}.{part}", inner) for part, inner in module.named_children()]
        found.append((name, module))
    return found


def _as_maps(values: Tensor, num_clips: int, named: str) -> Tensor:
    """(N, C, T', H', W') of it, or of (N * T', C, H', W')."""
    if values.ndim == 5 and len(values) == num_clips:
        return values
    if values.ndim == 4 and len(values) % num_clips == 0:
        return values.unflatten(0, (num_clips, -1)).transpose(1, 2)
    raise ValueError(
        f"{named}: a tensor {tuple(values.shape)} has no axes for space and time; expected the name of a layer "
        "(`layer`) whose output is (N, C, T, H, W), or (N * T, C, H, W) of single frames"
    )


def _name_a_layer(net: nn.Module) -> str:
    """Advice for the user, with the names of the last layers that can be explained."""
    last = [name for name, module in net.named_modules() if isinstance(module, (nn.Conv2d, nn.Conv3d))][-3:]
    known = f", such as {', '.join(reversed(last))}" if last else ""
    return f"name a layer (--layer, layer=){known}"
