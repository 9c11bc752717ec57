"""The recipes of published trainings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

import actrec
from actrec import config
from actrec.cli.options import flag_of
from actrec.nets import NETS
from actrec.recipes import RECIPES, options_of
from actrec.settings import check_fields, field_types, without_none

TRAINING = Path(__file__).parents[1] / "docs/training.md"
KINDS = field_types(config.Recipe) | {"augment": actrec.Augment}  # with the options of all augmentations


def net_options(name: str):
    return NETS.get(name).options


def chosen(recipe: str, **options) -> dict:
    """The options of a recipe beside those of the user, which are given as `section_name=value`."""
    return options_of(
        recipe, {tuple(name.split("_", 1)): value for name, value in options.items()}, net_options, KINDS
    )[0]


def test_the_flag_has_every_recipe():
    assert list(get_args(without_none(field_types(config.Run)["recipe"]))) == list(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_option_is_legal(name):
    for section, values in RECIPES[name].items():
        assert check_fields(KINDS[section], values) == values
        assert KINDS[section](**values)
    assert RECIPES[name]["optim"]["lr_batch"] == RECIPES[name]["loader"]["batch_size"]
    own = net_options(RECIPES[name]["net"]["backbone"])
    assert {*own, "backbone"} >= RECIPES[name]["net"].keys()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_alone_sets_all_its_options(name):
    assert chosen(name) == {(section, key): v for section, values in RECIPES[name].items() for key, v in values.items()}


def test_options_of_the_user_take_precedence():
    found = chosen("ibm", optim_lr=0.5, loader_batch_size=8)
    assert ("optim", "lr") not in found
    assert ("loader", "batch_size") not in found
    assert ("optim", "lr_batch") not in found  # the learning rate of the user is not scaled
    assert found["optim", "weight_decay"] == 5e-4
    assert ("optim", "lr_batch") not in chosen("ibm", optim_lr=0.01)  # also if it is that of the recipe


def test_options_without_a_meaning_are_left_out():
    found = chosen("hara", optim_schedule="cosine", augment_geometry="center", optim_optimizer="adamw")
    assert not {("optim", name) for name in ("lr_steps", "gamma", "lr", "weight_decay", "momentum")} & set(found)
    assert not {("augment", name) for name in ("area", "aspect")} & set(found)
    assert ("optim", "gamma") in chosen("hara", optim_schedule="step")
    config.Optim(
        optimizer="adamw", schedule="cosine", **{key: v for (part, key), v in found.items() if part == "optim"}
    )


def test_the_videomae_recipe_adapts():
    found = chosen("videomae", augment_auto_augment="none", net_backbone="resnet3d_18", augment_cutmix=0.0)
    assert not {("augment", "rand_ops"), ("augment", "rand_magnitude"), ("net", "drop_path")} & set(found)
    assert found["augment", "mixup"] == 0.8
    assert config.Optim(**RECIPES["videomae"]["optim"]).initial_lr == 5e-4  # for 256 videos of two clips each
    assert RECIPES["videomae"]["loader"] == {"batch_size": 512, "repeats": 2}


def test_a_net_of_the_user_gets_the_options_that_it_has():
    assert chosen("tsn", net_backbone="resnet3d_18")["net", "dropout"] == 0.8
    assert ("net", "temporal_stride") not in chosen("tsn", net_backbone="resnet3d_18")
    assert chosen("tsn", net_backbone="tsn_resnet50")["net", "temporal_stride"] is False
    with pytest.raises(ValueError, match="unknown net 'tsnn'"):
        chosen("tsn", net_backbone="tsnn")


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_lists_every_option(name):
    (flags,) = re.findall(rf"^    # {name}\n((?:    [^#].*\n)+)", TRAINING.read_text(encoding="utf-8"), re.MULTILINE)
    assert " ".join(flags.split()) == " ".join(typed(RECIPES[name]))


def typed(recipe) -> list[str]:
    """The options of a recipe as the user would type them."""
    words = []
    for section, values in recipe.items():
        by_name = {f.name: f for f in KINDS[section].__dataclass_fields__.values()}
        for name, value in values.items():
            flag = flag_of(by_name[name])
            if isinstance(value, bool):
                words.append(flag if value else f"--no-{flag[2:]}")
            else:
                shown = value if isinstance(value, tuple) else (value,)
                words += [flag, ",".join(f"{v:.5g}" if isinstance(v, float) else str(v) for v in shown)]
    return words
