"""The options of published trainings: `actrec train --recipe NAME`.

A recipe says what its program or paper says. `lr_batch` is the batch size of the recipe, so the learning rate follows
if you choose another batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from actrec.config import Recipe
from actrec.settings import field_types

RECIPES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {  # name: section of `config.Recipe`: options
    # The defaults of IBM's action-recognition-pytorch (Chen et al. 2021, arXiv:2010.11757)
    "ibm": {
        "net": {"backbone": "s3d"},
        "clip": {"sampling": "uniform", "rule": "ibm"},
        "augment": {"geometry": "multiscale", "scales": (1.0, 0.875, 0.75, 0.66), "flip": True},
        "loader": {"batch_size": 256, "keep_last": True},
        "optim": {
            "epochs": 50,
            "optimizer": "sgd",
            "lr": 0.01,
            "lr_batch": 256,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "norm_decay": True,
            "schedule": "cosine",
            "warmup": 0.0,
        },
        "loss": {"label_smoothing": 0.0},
        "run": {"crop_ratio": 0.875},
    },
    # The defaults of Hara's 3D-ResNets-PyTorch (Hara et al. 2018, arXiv:1711.09577)
    "hara": {
        "net": {"backbone": "resnet3d_18"},
        "clip": {"sampling": "dense", "stride": 1},
        "augment": {"geometry": "random-resized", "area": (0.25, 1.0), "aspect": (0.75, 4 / 3), "flip": True},
        "loader": {"batch_size": 128, "keep_last": True},
        "optim": {
            "epochs": 200,
            "optimizer": "sgd",
            "lr": 0.1,
            "lr_batch": 128,
            "momentum": 0.9,
            "weight_decay": 1e-3,
            "norm_decay": True,
            "schedule": "multistep",
            "lr_steps": (50.0, 100.0, 150.0),
            "gamma": 0.1,
            "warmup": 0.0,
        },
        "loss": {"label_smoothing": 0.0},
        "run": {"crop_ratio": 1.0},
    },
    # tsn-pytorch, with RGB frames of UCF101 (Wang et al. 2016, arXiv:1608.00859). It trained biases with twice the
    # learning rate, which is not offered.
    "tsn": {
        "net": {"backbone": "tsn_inception_v1", "dropout": 0.8, "temporal_stride": False},
        "clip": {"frames": 3, "sampling": "uniform"},
        "augment": {"geometry": "multiscale", "scales": (1.0, 0.875, 0.75, 0.66), "flip": True},
        "loader": {"batch_size": 128, "keep_last": True},
        "optim": {
            "epochs": 80,
            "optimizer": "sgd",
            "lr": 0.001,
            "lr_batch": 128,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "norm_decay": False,
            "schedule": "multistep",
            "lr_steps": (30.0, 60.0),
            "gamma": 0.1,
            "warmup": 0.0,
            "clip_gradient": 20.0,
            "freeze_norm": "partial",
        },
        "loss": {"label_smoothing": 0.0},
        "run": {"crop_ratio": 0.875},
    },
}
Option = tuple[str, str]  # section and name
# Options of a recipe that have no meaning with another value of one of these.
_BOUND: Mapping[Option, tuple[str, ...]] = {
    ("optim", "optimizer"): ("lr", "lr_batch", "weight_decay", "norm_decay"),
}


def options_of(
    recipe: str, chosen: Mapping[Option, Any], net_options: Callable[[str], Collection[str]]
) -> dict[Option, Any]:
    """The options that a recipe sets beside those that the user chose.

    It does not set options that have no meaning with those of the user, such as milestones with another schedule, and
    options that the net does not have.

    Args:
        recipe: a key of `RECIPES`.
        net_options: returns the names of the options of a net.
    """
    own = {(section, name): value for section, values in RECIPES[recipe].items() for name, value in values.items()}
    replaced = {option for option, value in chosen.items() if option in own and value != own[option]}
    lost = {(section, name) for section, other in replaced for name in _BOUND.get((section, other), ())}
    if ("optim", "lr") in chosen:  # it is meant for the batch size of the run
        lost.add(("optim", "lr_batch"))
    backbone = {**own, **chosen}["net", "backbone"]
    lost |= {("net", name) for name in RECIPES[recipe]["net"].keys() - {"backbone", *net_options(backbone)}}
    for section, kind in field_types(Recipe).items():
        for field in fields(kind):
            other, legal = field.metadata.get("only") or ("", ())
            if (section, other) in replaced and chosen[section, other] not in legal:
                lost.add((section, field.name))
    return {option: value for option, value in own.items() if option not in lost and option not in chosen}
