"""Augmentations of training clips: one file each.

    @register("grayscale")
    @dataclass(frozen=True)
    class Grayscale(Augmentation):
        grayscale: float = opt(0.0, "Fraction of clips converted to grayscale.")
        ...

The fields of such a class become flat fields of `actrec.Augment` and flags of `actrec train`. Its random numbers come
from a stream of their own, keyed by its name: adding an augmentation changes the draws of no other. Geometry, flips and
the clip's frames are drawn elsewhere (`actrec.data.sampling`), so they do not change either.

This module is public as `actrec.augment`; docs/extending.md shows how to add an augmentation from outside.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from actrec import config
from actrec.data.sampling import streams
from actrec.registry import Registry
from actrec.settings import OptionError as OptionError
from actrec.settings import Settings
from actrec.settings import opt as opt

A = TypeVar("A", bound="Augmentation")


class Augmentation(Settings):
    """One augmentation: a frozen dataclass whose fields are its options, made with `opt`.

    Overwrite `is_on`, `draw`, and `reorder` or `apply` (or both). The types and bounds of the fields are checked;
    overwrite `__post_init__` for further checks, call the inherited one first, and raise OptionError.

    Attributes:
        name: set by `register`.
        order: augmentations are applied in ascending order; those of the same order by name.
        normalized: `apply` receives normalized floats instead of uint8 pictures.
        needs_colors: raise an error if it is used with optical flow, which has no colors.
        dtype: numpy type in which `draw`'s numbers reach `apply`.
        example: options that switch it on, for tests.
    """

    name: ClassVar[str]
    order: ClassVar[int] = 100
    normalized: ClassVar[bool] = False
    needs_colors: ClassVar[bool] = False
    dtype: ClassVar[type[np.generic]] = np.float32
    example: ClassVar[Mapping[str, Any]] = {}

    @property
    def is_on(self) -> bool:
        """Whether the options ask for it. Only then are `draw`, `reorder` and `apply` called."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, size: int) -> Any:
        """The random numbers of one clip, as a scalar or an array that has the same shape for every clip.

        Args:
            size: height and width of the clip.
        """
        raise NotImplementedError

    def reorder(self, frames: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Chooses among the frames of a clip, before any of them is decoded.

        Args:
            frames: (T,) int64 positions in the video.
            drawn: what `draw` returned.

        Returns:
            (T,) positions, each one of `frames`.
        """
        return frames

    def apply(self, clips: Any, drawn: Any, size: int) -> Any:
        """Changes the pictures of a batch, in a DALI graph. The result must have the shape and type of `clips`.

        It must treat each picture alone: where image folders are decoded by DALI, `clips` are single pictures.
        Import DALI inside this function: `actrec train --help` must not load it.

        Args:
            clips: a DALI node, FHWC or HWC; height and width are `size`; uint8 RGB, or floats if `normalized`.
            drawn: a DALI node with what `draw` returned for each clip.
        """
        return clips

    @property
    def changes_pixels(self) -> bool:
        return type(self).apply is not Augmentation.apply


_registry: Registry[type[Augmentation]] = Registry("augmentation", __name__)


def register(name: str) -> Callable[[type[A]], type[A]]:
    """Class decorator that adds an augmentation. Afterwards `actrec.Augment` has its fields.

    Raises:
        ValueError: the name or the name of a field is taken.
    """

    def add(augmentation: type[A]) -> type[A]:
        known: list[type[Settings]] = [config.Augment, *registered()]
        taken = {f.name for kind in known for f in dataclasses.fields(kind)}
        for f in dataclasses.fields(augmentation):
            if f.name in taken:
                raise ValueError(f"augmentation {name!r}: actrec.Augment already has an option {f.name!r}")
        augmentation.name = name
        _registry.add(name, augmentation)
        _options_class.cache_clear()
        return augmentation

    return add


def registered() -> list[type[Augmentation]]:
    """All augmentations, in the order in which they are applied."""
    return sorted(map(_registry.get, _registry.names()), key=lambda kind: (kind.order, kind.name))


def active(options: config.Augment) -> tuple[Augmentation, ...]:
    """The augmentations that the options switch on, in the order in which they are applied."""
    return tuple(augmentation for augmentation in _all(options) if augmentation.is_on)


def draw(augmentations: Sequence[Augmentation], *, size: int, key: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The random numbers of one clip, by name of the augmentation.

    Args:
        size: height and width of the clip.
        key: of the sample: (seed, epoch, row, repeat).
    """
    drawn = {}
    for augmentation in augmentations:
        sequence = np.random.SeedSequence(key, spawn_key=streams.of_augmentation(augmentation.name))
        rng = np.random.Generator(np.random.PCG64(sequence))
        drawn[augmentation.name] = np.asarray(augmentation.draw(rng, size), augmentation.dtype)
    return drawn


def reorder(augmentations: Sequence[Augmentation], frames: np.ndarray, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """The frames of a clip after all augmentations that choose among them."""
    for augmentation in augmentations:
        frames = augmentation.reorder(frames, drawn[augmentation.name])
    return frames


def _all(options: config.Augment) -> list[Augmentation]:
    """Every augmentation with its part of the options. Raises ValueError where a part is illegal."""
    made = []
    for kind in registered():
        names = [f.name for f in dataclasses.fields(kind) if hasattr(options, f.name)]
        made.append(kind(**{name: getattr(options, name) for name in names}))
    return made


@functools.lru_cache(maxsize=1)
def _options_class() -> type[config.Augment]:
    """`config.Augment` with the fields of all augmentations."""
    found: list[tuple[str, Any, Any]] = []
    for kind in registered():
        hints = typing.get_type_hints(kind)
        for f in dataclasses.fields(kind):
            found.append((f.name, hints[f.name], dataclasses.field(default=f.default, metadata=f.metadata)))

    def check(self: config.Augment) -> None:
        config.Augment.__post_init__(self)
        _all(self)

    namespace = {"__module__": __name__, "__doc__": config.Augment.__doc__, "__post_init__": check}
    return dataclasses.make_dataclass("Augment", found, bases=(config.Augment,), frozen=True, namespace=namespace)


if TYPE_CHECKING:

    class Augment(config.Augment):
        """For type checkers, which cannot know which augmentations are registered."""

        def __init__(self, **options: Any): ...
        def __getattr__(self, name: str) -> Any: ...

else:

    def __getattr__(name: str) -> Any:
        if name == "Augment":
            return _options_class()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
