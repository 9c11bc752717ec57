"""Explanations point at what the net uses, and leave the net as it was."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered_videos import write
from torch import nn

import actrec
from actrec import config
from actrec.config import Input
from actrec.inference.explain import find_class, grad_cam
from actrec.nets.backbone import Backbone

SIZE, FRAMES, BLACK = 64, 8, Input(mean=(0.0,) * 3, std=(1.0,) * 3, frames=8, size=64)


class Brightness(Backbone):
    """Class 1: how bright the frames are, on a map of 8 x 8 cells of each frame. Class 0: the opposite."""

    def __init__(self):
        super().__init__(num_features=2, in_channels=3, dropout=0.0)
        self.name, self.input = "brightness", BLACK
        self.cells = nn.AvgPool3d((1, 8, 8))
        self.fc = nn.Linear(2, 2, bias=False)
        self.fc.weight.data = torch.tensor([[-1.0, 0], [1, 0]])
        self.options = {"num_classes": 2}

    def features(self, x_NCTHW):
        cells = self.cells(x_NCTHW).mean(1, keepdim=True)
        return torch.cat([cells, torch.ones_like(cells)], 1)


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A video of 40 frames. From frame 20 to 24, a white square of 16 pixels is at the right; else all is dark."""
    frames = [np.full((SIZE, SIZE, 3), 16, np.uint8) for _ in range(40)]
    for frame in frames[20:25]:
        frame[8:24, 40:56] = 255
    return write(tmp_path_factory.mktemp("moving") / "square.mp4", frames)


def model_of(net) -> actrec.Model:
    return actrec.Model(
        net=net.eval(),
        input=net.input,
        clip=actrec.Clip(frames=FRAMES),
        views=actrec.Views(crop_ratio=1.0),
        classes=[f"class {label}" for label in range(net.options["num_classes"])],
        scoring=config.Scoring(),
        multi_label=False,
        channels_last=False,
        device=torch.device("cpu"),
        loader=config.Loader(workers=1),
        source=Path(),
    )


def test_the_map_peaks_at_the_square_when_it_is_there(moving):
    found = model_of(Brightness()).explain(moving, "class 1")
    assert found.maps.shape == (1, FRAMES, SIZE, SIZE)
    assert found.maps.dtype == np.float32
    assert (found.maps.min() >= 0, found.maps.max()) == (True, 1)
    clip, time, y, x = np.unravel_index(found.maps.argmax(), found.maps.shape)
    assert 20 <= found.frames[clip, time] < 25
    assert 8 <= y < 24
    assert 40 <= x < 56
    shown = (found.frames[0] >= 20) & (found.frames[0] < 25)
    assert shown.sum() == 1
    assert found.evidence[0].argmax() == np.flatnonzero(shown)[0]
    assert found.evidence[0][~shown].max() < 0.7
    bright, dark = found.maps[0, time, 12:20, 44:52], found.maps[0, time, 32:, :32]
    assert bright.min() > 0.9
    assert dark.max() < 0.1
    assert np.array_equal(
        found.pixels[0, time] > 128, np.broadcast_to(found.pixels[0, time, ..., :1] > 128, (64, 64, 3))
    )
    assert found.box == (0, 0, SIZE, SIZE)


def test_what_speaks_against_a_class_is_no_evidence(moving):
    model = model_of(Brightness())
    assert not model.explain(moving, 0).maps.any()
    assert model.explain(moving).name == model.predict(moving, topk=1)[0][0] == "class 1"


def test_all_clips_share_one_scale(moving):
    model = replace(model_of(Brightness()), views=actrec.Views(clips=3, crop_ratio=1.0))
    found = model.explain(moving, 1)
    assert found.maps.shape == (3, FRAMES, SIZE, SIZE)
    has_square = ((found.frames >= 20) & (found.frames < 25)).any(1)
    peaks = found.maps.max((1, 2, 3))
    assert peaks.max() == 1
    assert (peaks[has_square] > 0.9).all()
    assert (peaks[~has_square] < 0.1).all()


@pytest.mark.parametrize("crops", [3, 5, 10])
def test_with_several_crops_the_central_one_is_explained(moving, crops):
    model = model_of(Brightness())
    model = replace(model, views=actrec.Views(clips=2, crops=crops, crop_ratio=0.5))
    one = replace(model, views=actrec.Views(clips=2, crops=1, crop_ratio=0.5))
    several, central = model.explain(moving, 1), one.explain(moving, 1)
    assert np.array_equal(several.pixels, central.pixels)
    assert np.array_equal(several.maps, central.maps)
    assert several.box == central.box == (16, 16, 32, 32)
    assert several.probability == dict(model.predict(moving))["class 1"]


def test_of_a_net_whose_stages_are_in_a_sequence_the_last_fine_stage_is_explained(moving):
    net = actrec.net("swin3d_t", num_classes=2, depth=7)
    found = replace(model_of(net), input=replace(BLACK, size=SIZE)).explain(moving, 1)
    assert (found.layer, found.shape) == ("layers.1", (4, 4, 4))


@pytest.mark.parametrize("layer", [None, "layer2"])
@pytest.mark.parametrize("name", ["tam_resnet18", "r2plus1d_18", "s3d"])
def test_the_net_is_as_it_was(moving, name, layer):
    torch.manual_seed(0)
    net = actrec.net(name, num_classes=5)
    if name == "s3d" and layer:
        layer = "conv1"
    next(net.parameters()).requires_grad_(False)
    frames, size = 8, 48
    fed = Input(BLACK.mean, BLACK.std, frames, size)
    model = replace(model_of(net), input=fed, clip=actrec.Clip(frames=frames))
    before = copy.deepcopy(net.state_dict())
    wishes = [parameter.requires_grad for parameter in net.parameters()]
    found = model.explain(moving, 3, layer=layer)
    assert found.maps.shape == (1, frames, size, size)
    assert (found.maps.min() >= 0, found.maps.max() <= 1) == (True, True)
    assert found.probability == dict(model.predict(moving))["class 3"]
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [parameter.requires_grad for parameter in net.parameters()] == wishes
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or module.training for module in net.modules())
    assert torch.is_grad_enabled()
    again = model.explain(moving, 3, layer=layer)
    assert np.array_equal(found.maps, again.maps)


def test_a_map_of_one_time_step_names_layers_with_more(moving):
    model = replace(model_of(actrec.net("tam_resnet18", num_classes=2)), clip=actrec.Clip(frames=8))
    found = model.explain(moving, layer="layer4")
    assert found.shape[0] == 1
    assert {name: shape[0] for name, shape in found.finer.items()} == {"layer3": 2, "layer2": 4, "layer1": 8}
    assert not model.explain(moving, layer="layer1").finer


def test_the_default_layer_has_several_time_steps_and_4x4_places(moving):
    model = replace(model_of(actrec.net("tam_resnet18", num_classes=2)), clip=actrec.Clip(frames=8))
    for size, expected in ((64, ("layer3", (2, 4, 4))), (32, ("layer2", (4, 4, 4))), (16, ("layer1", (8, 4, 4)))):
        found = replace(model, input=replace(model.input, size=size)).explain(moving)
        assert (found.layer, found.shape) == expected
        assert not found.finer


def test_the_gradient_is_that_of_the_whole_net():
    """The features are the input of the head: explaining them, and the layer that makes them, gives the same."""
    torch.manual_seed(0)
    net = actrec.net("resnet3d_10", num_classes=3, widen=0.125).eval()
    clips = torch.randn(2, 3, 8, 64, 64)
    own, by_layer = grad_cam(net, clips, 1), grad_cam(net, clips, 1, layer="layer4")
    assert own.shape == (2, *net.features(clips).shape[2:])
    assert torch.allclose(own, by_layer, rtol=1e-4, atol=1e-6)
    net.train()
    net.fc.eval()
    grad_cam(net, clips, 1)
    assert net.training
    assert not net.fc.training


def test_a_net_with_fully_connected_layers():
    net = actrec.net("c3d", num_classes=2).eval()
    assert grad_cam(net, torch.randn(1, 3, 16, 112, 112), 0).shape == (1, 1, 4, 4)


def test_nets_from_outside():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    clips = torch.randn(1, 3, 6, 16, 16)
    with pytest.raises(
        ValueError, match="has no methods `features` and `head`: name a layer .--layer, layer=., such as 0"
    ):
        grad_cam(net, clips, 0)
    assert grad_cam(net, clips, 0, layer="0").shape == (1, 4, 14, 14)
    with pytest.raises(ValueError, match="layer '4': a tensor .1, 2. has no axes for space and time"):
        grad_cam(net, clips, 0, layer="4")
    with pytest.raises(ValueError, match="layer 'conv': net 'Sequential' has no such layer: expected one of"):
        grad_cam(net, clips, 0, layer="conv")

    class Frames(nn.Module):
        """Processes frame by frame, and has methods that do not give its logits."""

        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def features(self, x):
            return self.conv(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).transpose(1, 2)

        def head(self, maps):
            return self.fc(maps.mean((2, 3, 4)))

        def forward(self, x):
            return self.head(self.features(x)) * self.scale

        scale = 1.0

    net = Frames()
    assert torch.allclose(grad_cam(net, clips, 1), grad_cam(net, clips, 1, layer="conv"), atol=1e-6)
    net.scale = 2.0
    with pytest.raises(ValueError, match="head.features.clips.. differs from what the net returns: name a layer"):
        grad_cam(net, clips, 1)


def test_classes_by_name_and_number():
    names = ["walk", "run", "0"]
    assert [find_class(wanted, names) for wanted in ("run", 1, "1", "0", 2)] == [1, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="class 'walks': the net has no such class: did you mean walk?"):
        find_class("walks", names)
    for wrong in (3, "-1"):
        with pytest.raises(ValueError, match=f"class {wrong}: expected a number from 0 to 2, or the name of a class"):
            find_class(wrong, names)


def test_a_broken_video_is_one_line(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"v\.mp4: "):
        model_of(Brightness()).explain(tmp_path / "v.mp4")
