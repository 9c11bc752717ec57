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
    # VideoMAE's fine-tuning of ViT-B on Kinetics-400 (Tong et al. 2022, arXiv:2203.12602): run_class_finetuning.py and
    # scripts/kinetics/videomae_vit_base_..._epoch_1600/finetune.sh of MCG-NJU/VideoMAE. Its learning rate is for 256
    # videos, which are 512 clips here. Magnitude 7 of 10 of its RandAugment (timm) is 21 of 30. It also varied the
    # magnitude randomly (standard deviation 0.5), and its cosine begins after the warm-up. actrec does neither.
    "videomae": {
        "net": {"backbone": "videomae_b", "drop_path": 0.1},
        "clip": {"frames": 16, "sampling": "dense", "stride": 4},
        "augment": {
            "geometry": "random-resized",
            "area": (0.08, 1.0),
            "aspect": (0.75, 4 / 3),
            "flip": True,
            "auto_augment": "randaugment",
            "rand_ops": 4,
            "rand_magnitude": 21,
            "erasing": 0.25,
            "mixup": 0.8,
            "cutmix": 1.0,
        },
        "loader": {"batch_size": 512, "repeats": 2},
        "optim": {
            "epochs": 75,
            "optimizer": "adamw",
            "lr": 5e-4,
            "lr_batch": 512,
            "layer_decay": 0.75,
            "weight_decay": 0.05,
            "norm_decay": False,
            "schedule": "cosine",
            "per_step": True,
            "min_lr": 1e-6,
            "warmup": 5.0,
            "warmup_start": 0.002,
        },
        "loss": {"label_smoothing": 0.1},
        "run": {"crop_ratio": 1.0},
    },
}
Option = tuple[str, str]  # section and name
# Options that have no meaning with another value of one of these.
_BOUND: Mapping[Option, tuple[Option, ...]] = {
    ("optim", "optimizer"): tuple(
        ("optim", name) for name in ("lr", "lr_batch", "min_lr", "weight_decay", "norm_decay")
    ),
    ("clip", "sampling"): (("clip", "stride"), ("augment", "stride_range")),
    ("clip", "stride"): (("augment", "stride_range"),),
    ("augment", "stride_range"): (("clip", "stride"),),
    ("clip", "modality"): (("frame", "mean"), ("frame", "std")),
    ("net", "backbone"): (("optim", "freeze_until"),),
}


def options_of(
    recipe: str,
    chosen: Mapping[Option, Any],
    net_options: Callable[[str], Collection[str]],
    kinds: Mapping[str, type] | None = None,
) -> tuple[dict[Option, Any], dict[Option, Option]]:
    """The options that a recipe sets beside those that the user chose.

    Args:
        recipe: a key of `RECIPES`.
        net_options: returns the names of the options of a net.
        kinds: as for `options_beside`.

    Returns:
        As `options_beside`.
    """
    own = {(section, name): value for section, values in RECIPES[recipe].items() for name, value in values.items()}
    return options_beside(own, chosen, net_options({**own, **chosen}["net", "backbone"]), kinds)


def options_beside(
    own: Mapping[Option, Any],
    chosen: Mapping[Option, Any],
    net_options: Collection[str],
    kinds: Mapping[str, type] | None = None,
) -> tuple[dict[Option, Any], dict[Option, Option]]:
    """The options of a recipe, or of another run, that are used beside those that the user chose.

    Options that have no meaning with those of the user are not used, such as milestones with another schedule, the
    learning rate of another optimizer, and options that the net does not have.

    Args:
        own: the options of the recipe or run.
        net_options: the names of the options of the net.
        kinds: the dataclasses of the sections. Default: those of `config.Recipe`.

    Returns:
        The options that are used, and those that are not, each with the option of the user that is the reason.
    """
    replaced = [option for option, value in chosen.items() if option in own and value != own[option]]
    lost = {option: cause for cause in replaced for option in _BOUND.get(cause, ())}
    if ("optim", "lr") in chosen:  # it is meant for the batch size of the run
        lost["optim", "lr_batch"] = ("optim", "lr")
    if ("clip", "sampling") in replaced and own.get(("clip", "rule")) == "comb":  # a rule of uniform sampling
        lost["clip", "rule"] = ("clip", "sampling")
    lost |= {
        (section, name): ("net", "backbone")
        for section, name in own
        if section == "net" and name not in ("backbone", *net_options)
    }
    for section, kind in (kinds or field_types(Recipe)).items():
        for field in fields(kind):
            other, legal = field.metadata.get("only") or ("", ())
            if (section, other) in replaced and chosen[section, other] not in legal:
                lost[section, field.name] = (section, other)
    used = {option: value for option, value in own.items() if option not in lost and option not in chosen}
    return used, {option: cause for option, cause in lost.items() if option in own and option not in chosen}
