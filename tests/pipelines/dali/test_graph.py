"""Every graph is defined for a GPU and serialized, without a GPU.

Defining a graph checks operators, their argument names, the types of scalar arguments, and the device of each node.
The types of tensor arguments are checked by running graphs on the CPU (`tests/pipelines/augment/test_apply.py`).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import actrec
from actrec.config import Input
from actrec.data.sampling.geometry import crop_flips
from actrec.pipelines import augment
from actrec.pipelines.dali import graph
from actrec.pipelines.dali.routes import ROUTES

COLORS = Input(mean=(0.4, 0.5, 0.6), std=(0.2,) * 3, frames=4, size=32)
GPU = graph.GraphSettings("cuda", device_id=None, threads=2, batch_size=4, dtype="float16")
AUGMENTATIONS = {"none": {}, "trivialaugment": {"auto_augment": "trivialaugment"}}
AUGMENTATIONS |= {kind.name: kind.example for kind in augment.registered()}


def input_of(route) -> Input:
    return COLORS if route.channels == 3 else COLORS.with_channels(route.channels)


def check(made: graph.Graph, *expected: str) -> None:
    """The graph can be serialized, and feeds exactly these inputs."""
    assert len(made.pipe.serialize()) > 500
    assert {wanted.name for wanted in made.inputs} == set(expected)
    assert len(made.inputs) == len(expected)


SOURCES = {
    "pixels": ["pictures"],
    "video": ["video", "frames"],
    "recolored video": ["video", "frames", "color_matrix", "color_offset"],
    "images": ["images"],
    "flow pixels": ["pictures"],
    "flow images": ["images"],
}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_training(route, name):
    augmentations = augment.active(actrec.Augment(**AUGMENTATIONS[name]))
    assert bool(augmentations) == (name != "none")
    if route.channels != 3 and any(augmentation.needs_colors for augmentation in augmentations):
        pytest.skip("flow has no colors")
    made = graph.train_graph(route, input_of(route), augmentations=augmentations, settings=GPU)
    box = [] if route.decoded_by_workers else ["box_start", "box_end"]
    check(made, *SOURCES[route.name], *box, "flip", *(f"drawn_{augmentation.name}" for augmentation in augmentations))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
@pytest.mark.parametrize("num_crops", [1, 3, 10])
def test_evaluation(route, num_crops):
    settings = replace(GPU, dtype="float32")
    made = graph.eval_graph(route, input_of(route), flips=crop_flips(num_crops), crop=(8, 6), settings=settings)
    check(made, *SOURCES[route.name], *([] if route.decoded_by_workers else ["resize"]), "crops")


def test_all_augmentations_at_once():
    options = {name: value for kind in augment.registered() for name, value in kind.example.items()}
    augmentations = augment.active(actrec.Augment(**options))
    assert [type(augmentation) for augmentation in augmentations] == augment.registered()
    made = graph.train_graph(ROUTES[0], COLORS, augmentations=augmentations, settings=GPU)
    check(made, "pictures", "flip", *(f"drawn_{augmentation.name}" for augmentation in augmentations))
    names = [wanted.name for wanted in made.inputs]
    normalized = [f"drawn_{augmentation.name}" for augmentation in augmentations if augmentation.normalized]
    assert names[names.index("flip") + 1 :] == normalized != []
