"""Augmentations of users: what `register` refuses, and what they may draw, reorder and apply."""

from __future__ import annotations

import re
from collections import UserDict
from dataclasses import dataclass, field, fields
from typing import Literal

import click
import numpy as np
import pytest

import actrec
from actrec.augment import Augmentation, opt, register
from actrec.cli import train, view
from actrec.config import Input
from actrec.pipelines import augment
from actrec.pipelines.dali import graph, routes

FRAMES = np.array([3, 8, 8, 20])
HELP = "Fraction of clips."


class Base(Augmentation):
    @property
    def is_on(self) -> bool:
        return True

    def draw(self, rng, size):
        return rng.random()


def own(**methods) -> Augmentation:
    """An augmentation with these methods or attributes."""
    made = dataclass(frozen=True)(type("Own", (Base,), methods))
    made.name = "own"
    return made()


def with_field(default, declared: object = float, name: str = "strength", attributes: dict | None = None) -> type:
    return dataclass(frozen=True)(
        type("Own", (Base,), {"__annotations__": {name: declared}, name: default, **(attributes or {})})
    )


class NotADataclass(Base):
    strength: float = opt(0.0, HELP)


@dataclass(frozen=True)
class Unfinished(Augmentation):
    strength: float = opt(0.0, HELP)


@dataclass(frozen=True)
class WithoutCheck(Base):
    strength: float = opt("strong", HELP)

    def __post_init__(self) -> None:
        """Does not call the inherited one."""


REFUSED = [
    (int, "expected a class derived from Augmentation"),
    (5, "expected a class derived from Augmentation"),
    (NotADataclass, "NotADataclass is not a dataclass: expected @dataclass(frozen=True) directly above the class"),
    (Unfinished, "Unfinished does not define 'is_on'"),
    (with_field(opt(0.0, HELP), name="blur"), "actrec.Augment already has an option 'blur'"),
    (with_field(opt(0.0, HELP), name="flip"), "actrec.Augment already has an option 'flip'"),
    (with_field(opt(0, HELP), int, "seed"), "actrec train already has an option 'seed'"),
    (with_field(opt(0, HELP), int, "json"), "actrec train already has an option 'json'"),
    (with_field(opt(0, HELP), int, "data"), "actrec train already has an option 'data'"),
    (with_field(opt(0, HELP), int, "size"), "actrec train already has an option 'size'"),
    (with_field(opt(0, HELP), int, "no_flip"), "actrec train already has an option 'no_flip'"),
    (with_field(opt(0, HELP, flag="--seed"), int), "actrec train already has an option 'strength'"),
    (with_field(opt(0, HELP), int, "order"), "a field cannot be called 'order'"),
    (with_field(opt(0, HELP), int, "name"), "a field cannot be called 'name'"),
    (with_field(opt(0, HELP), int, "_strength"), "a field cannot be called '_strength'"),
    (with_field(opt(0.0, HELP), "Unknown"), "the type of a field is unknown: NameError: name 'Unknown' is not defined"),
    (with_field(opt(0.0, HELP), dict), "field 'strength' has the type <class 'dict'>: expected int, float, bool"),
    (with_field(opt(0.0, HELP), int | str), "field 'strength' has the type int | str: expected int, float, bool"),
    (with_field(opt((), HELP), tuple), "field 'strength' has the type <class 'tuple'>: expected int"),
    (with_field(0.0), "field 'strength' was not made with opt(default, help)"),
    (with_field(field(default_factory=float)), "field 'strength' was not made with opt(default, help)"),
    (with_field(opt("strong", HELP)), "its defaults are refused: OptionError: strength 'strong': expected a number"),
    (with_field(opt(2.0, HELP, at_most=1)), "its defaults are refused: OptionError: strength 2.0: expected a number"),
    (
        with_field(opt("a", HELP), Literal["b"]),
        "its defaults are refused: OptionError: strength 'a': expected one",
    ),
    (with_field(opt(1, HELP, only=("blur", (1,))), int), "its defaults are refused: AttributeError: 'Own' object"),
    (WithoutCheck, "its defaults are refused: OptionError: strength 'strong': expected a number"),
    (with_field(opt(0.0, HELP), attributes={"order": "first"}), "order 'first': expected a number"),
    (with_field(opt(0.0, HELP), attributes={"dtype": np.uint16}), "dtype <class 'numpy.uint16'>: expected one of"),
    (with_field(opt(0.0, HELP), attributes={"dtype": "float32"}), "dtype 'float32': expected one of"),
]


@pytest.mark.parametrize(("augmentation", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused_classes_leave_the_registry_unchanged(augmentation, message):
    before = augment.registered()
    with pytest.raises(ValueError, match=r"^augmentation 'own': .*" + re.escape(message)):
        register("own")(augmentation)
    assert augment.registered() == before
    assert not hasattr(actrec.Augment(), "strength")


@pytest.mark.parametrize("name", [5, None, "", "a b", "a-b", "2d", "é"])
def test_refused_names(name):
    with pytest.raises(ValueError, match=r"^augmentation .*: expected a name of letters, digits and underscores"):
        register(name)


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match="augmentation 'blur' is registered twice"):
        register("blur")(with_field(opt(0.0, HELP)))


@pytest.mark.parametrize(
    ("declared", "default"),
    [
        (float, 0.5), (int | None, None), (bool, False), (str, "a"), (Literal["a", "b"], "a"),
        (tuple[float, ...], (1.0, 2.0)), (tuple[int, int], (1, 2)), (tuple[int, int] | None, None),
    ],
)  # fmt: skip
def test_legal_fields(monkeypatch, declared, default):
    monkeypatch.setattr(
        augment._registry, "_entries", {name: augment._registry.get(name) for name in augment._registry}
    )
    made = with_field(opt(default, HELP), declared)
    try:
        assert register("own")(made) is made
        assert made.name == "own"
        assert actrec.Augment().strength == default
    finally:
        monkeypatch.undo()
        augment._options_class.cache_clear()


def test_the_flags_of_train_and_view_are_known():
    """`register` cannot ask the command line."""
    for command, own in ((train.command, augment.TRAIN_FLAGS), (view.command, augment.VIEW_FLAGS)):
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        flags = {flag for parameter in options for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert flags <= augment._taken()[1]
        assert set(own) <= flags | {"--help", "--help-all"}
    assert {f.name for f in fields(actrec.Augment)} == augment._taken()[0]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"draw": lambda self, rng, size: None}, "draw returned array(None, dtype=object): expected numbers"),
        ({"draw": lambda self, rng, size: "a"}, "draw returned array('a', dtype='<U1'): expected numbers"),
        ({"draw": lambda self, rng, size: 1j}, "draw returned array(0.+1.j): expected numbers"),
        ({"draw": lambda self, rng, size: []}, "draw returned array([], dtype=float64): expected numbers"),
        ({"draw": lambda self, rng, size: [1, [2, 3]]}, "draw failed: ValueError: setting an array element"),
        ({"draw": lambda self, rng, size: {}["key"]}, "draw failed: KeyError: 'key'"),
        ({"draw": lambda self, rng, size: (1.0, np.nan)}, "draw returned 1.0, nan: expected finite numbers that fit"),
        ({"draw": lambda self, rng, size: np.float32("inf")}, "draw returned inf: expected finite numbers that fit"),
        ({"draw": lambda self, rng, size: 1e300}, "draw returned 1e+300: expected finite numbers that fit float32"),
        ({"draw": lambda self, rng, size: 1e300, "dtype": np.int32}, "expected finite numbers that fit int32"),
        ({"draw": lambda self, rng, size: np.nan, "dtype": np.int64}, "expected finite numbers that fit int64"),
        (
            {"draw": lambda self, rng, size: 300, "dtype": np.uint8},
            "draw returned 300: expected finite numbers that fit",
        ),
        ({"draw": lambda self, rng, size: -1, "dtype": np.uint8}, "draw returned -1: expected finite numbers that fit"),
    ],
)
def test_refused_draws(attributes, message):
    with pytest.raises(ValueError, match=r"^augmentation 'own': .*" + re.escape(message)):
        augment.draw([own(**attributes)], size=32, key=(0,))


def test_draws_of_changing_shapes():
    changing = own(draw=lambda self, rng, size: rng.random(int(rng.integers(1, 4))))
    with pytest.raises(ValueError, match=r"augmentation 'own': draw returned numbers of shape .* for another clip"):
        [augment.draw([changing], size=32, key=(i,)) for i in range(20)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(np.uint8, 200), (np.int32, 2.75), (np.float32, 0.1), (np.float16, 5), (np.int64, 2**40), (np.bool_, True)],
)
def test_legal_draws_are_converted(kind, value):
    drawn = augment.draw([own(draw=lambda self, rng, size: value, dtype=kind)], size=32, key=(0,))["own"]
    assert drawn.dtype == kind
    assert drawn == kind(value)


@pytest.mark.parametrize(
    ("reorder", "message"),
    [
        (lambda self, fr, drawn: fr[:2], "reorder returned an array int64 (2,): expected an array int64 (4,)"),
        (
            lambda self, fr, drawn: fr + 10**6,
            "reorder returned frame 1000003: expected frames of the clip",
        ),
        (lambda self, fr, drawn: -fr - 1, "reorder returned frame -21: expected frames of the clip, 3, 8, 8, 20"),
        (lambda self, fr, drawn: fr.tolist(), "reorder returned a list: expected an array int64 (4,)"),
        (lambda self, fr, drawn: None, "reorder returned a NoneType: expected an array int64 (4,)"),
        (lambda self, fr, drawn: fr * 1.0, "reorder returned an array float64 (4,): expected an array int64 (4,)"),
        (lambda self, fr, drawn: fr[9], "reorder failed: IndexError: index 9 is out of bounds"),
        (lambda self, fr, drawn: UserDict()["key"], "reorder failed: KeyError: 'key'"),
        (lambda self, fr, drawn: np.add(fr, 1, out=fr), "reorder returned frame 4: expected frames of the clip"),
    ],
)
def test_refused_frames(reorder, message):
    frames = FRAMES.copy()
    with pytest.raises(ValueError, match=r"^augmentation 'own': " + re.escape(message)):
        augment.reorder([own(reorder=reorder)], frames, {"own": np.float32(0)})
    assert (frames == FRAMES).all()


def test_legal_frames():
    backwards = own(reorder=lambda self, fr, drawn: fr[::-1])
    first = own(reorder=lambda self, fr, drawn: np.full_like(fr, fr[0]))
    drawn = {"own": np.float32(0)}
    assert augment.reorder([own(), backwards], FRAMES, drawn).tolist() == [20, 8, 8, 3]
    assert augment.reorder([backwards, first], FRAMES, drawn).tolist() == [20] * 4


def test_a_loader_names_the_augmentation(media_rows, monkeypatch):
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32)
    loader = actrec.train_loader(media_rows, actrec.Clip(), net_input, batch_size=2)
    loader.task.augmentations = (own(reorder=lambda self, fr, drawn: fr[:2]),)
    with pytest.raises(ValueError, match="augmentation 'own': reorder returned an array int64"):
        next(iter(loader))


def fails(self, clips, drawn, size):
    return UserDict()["key"]


def returns_nothing(self, clips, drawn, size):
    return None


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (fails, "apply failed: KeyError: 'key'"),
        (returns_nothing, "apply returned a NoneType: expected a DALI node"),
    ],
)
def test_failures_of_apply(apply, message):
    settings = graph.GraphSettings("cpu", None, 1, 2, "float32")
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32)
    with pytest.raises(ValueError, match=rf"^augmentation 'own': {message}$"):
        graph.train_graph(routes.PIXELS, net_input, augmentations=[own(apply=apply)], settings=settings)
