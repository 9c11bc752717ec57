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

import contextlib
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np

from actrec import config
from actrec.data.sampling import streams
from actrec.registry import Registry, in_one_line
from actrec.settings import OptionError as OptionError
from actrec.settings import Settings, check_fields, field_types, without_none
from actrec.settings import opt as opt

A = TypeVar("A", bound="Augmentation")

DTYPES = ("uint8", "int32", "int64", "float16", "float32", "float64", "bool", "bool_")  # which a DALI graph can take
# The flags of `actrec train` and `actrec view` that are no fields of a config.
TRAIN_FLAGS = (
    "--data", "--list", "--val-list", "--run", "--resume", "--config", "--dry-run", "--weights", "--new-head", "--json",
    "--help", "--help-all",
)  # fmt: skip
VIEW_FLAGS = ("--out", "--videos", "--epoch", "--eval")


class Augmentation(Settings):
    """One augmentation: a frozen dataclass. Its fields are its options, made with `opt`.

        @register("freeze")
        @dataclass(frozen=True)
        class Freeze(Augmentation):
            freeze: float = opt(0.0, "Fraction of clips that show only their first frame.", at_least=0, at_most=1)

            @property
            def is_on(self):
                return self.freeze > 0

            def draw(self, rng, size):
                return rng.random() < self.freeze

            def reorder(self, frames, drawn):
                return np.full_like(frames, frames[0]) if drawn else frames

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

        @register("reverse")
        @dataclass(frozen=True)
        class Reverse(Augmentation): ...

    Args:
        name: of the augmentation: letters, digits and underscores. It selects the stream of its random numbers.

    Raises:
        ValueError: the name, or the name or flag of a field, is taken or malformed; the class is not a frozen dataclass
            that is derived from `Augmentation`; a field was not made with `opt`, or its type or default is illegal.
            Nothing is registered then.
    """

    def add(augmentation: type[A]) -> type[A]:
        _check_class(name, augmentation)
        _check_fields(name, augmentation)
        _registry.add(name, augmentation)
        augmentation.name = name
        _options_class.cache_clear()
        return augmentation

    if not isinstance(name, str) or not name.isascii() or not name.isidentifier():
        raise ValueError(f"augmentation {name!r}: expected a name of letters, digits and underscores")
    return add


def _check_class(name: str, augmentation: type) -> None:
    """Raises ValueError if a class cannot be an augmentation, whatever its fields are."""
    if not isinstance(augmentation, type) or not issubclass(augmentation, Augmentation):
        raise ValueError(f"augmentation {name!r}: {augmentation!r}: expected a class derived from Augmentation")
    if "__dataclass_fields__" not in vars(augmentation):
        raise ValueError(
            f"augmentation {name!r}: {augmentation.__name__} is not a dataclass: "
            "expected @dataclass(frozen=True) directly above the class, below @register"
        )
    for method in ("is_on", "draw"):
        if getattr(augmentation, method) is getattr(Augmentation, method):
            raise ValueError(f"augmentation {name!r}: {augmentation.__name__} does not define {method!r}")
    if not isinstance(augmentation.order, (int, float)):
        raise ValueError(f"augmentation {name!r}: order {augmentation.order!r}: expected a number")
    dtype = augmentation.dtype
    if not isinstance(dtype, type) or dtype.__name__ not in DTYPES:
        raise ValueError(f"augmentation {name!r}: dtype {dtype!r}: expected one of numpy's {', '.join(DTYPES)}")


def _check_fields(name: str, augmentation: type[Augmentation]) -> None:
    """Raises ValueError if a field cannot be an option of `actrec.Augment` and a flag of `actrec train`."""
    try:
        declared = field_types(augmentation)  # type: ignore[arg-type]
    except Exception as error:  # an annotation can be any expression
        raise ValueError(f"augmentation {name!r}: the type of a field is unknown: {in_one_line(error)}") from error
    names, flags = _taken()
    for f in dataclasses.fields(augmentation):
        if f.name in names or flags & _flags(f, declared[f.name]):
            where = "actrec.Augment" if f.name in names else "actrec train"
            raise ValueError(f"augmentation {name!r}: {where} already has an option {f.name!r}")
        if f.name.startswith("_") or f.name in Augmentation.__annotations__ or hasattr(Augmentation, f.name):
            raise ValueError(f"augmentation {name!r}: a field cannot be called {f.name!r}")
        if "help" not in f.metadata or f.default is dataclasses.MISSING:
            raise ValueError(f"augmentation {name!r}: field {f.name!r} was not made with opt(default, help)")
        if not _is_option_type(declared[f.name]):
            raise ValueError(
                f"augmentation {name!r}: field {f.name!r} has the type {declared[f.name]}: "
                "expected int, float, bool, str, Literal, or a tuple of one of them, maybe with None"
            )
        flags |= _flags(f, declared[f.name])
    try:
        check_fields(augmentation, {f.name: f.default for f in dataclasses.fields(augmentation)})
        augmentation()
    except Exception as error:
        raise ValueError(f"augmentation {name!r}: its defaults are refused: {in_one_line(error)}") from error


def _taken() -> tuple[set[str], set[str]]:
    """(the names of all options of `actrec.Augment`, all flags of `actrec train` and `actrec view`)"""
    kinds: list[type] = [config.Augment, *registered()]
    names = {f.name for kind in kinds for f in dataclasses.fields(kind)}
    kinds += [kind for kind in field_types(config.Recipe).values() if kind is not config.Augment]
    kinds += [config.Frame, config.Views, config.Limits, config.Storage]
    flags = {flag for kind in kinds for f in dataclasses.fields(kind) for flag in _flags(f, field_types(kind)[f.name])}
    return names, flags | {*TRAIN_FLAGS, *VIEW_FLAGS}


def _flags(f: dataclasses.Field[Any], declared: Any) -> set[str]:
    """The flags of a field, also as they follow from its name if it has another flag."""
    flags = {"--" + f.name.replace("_", "-"), f.metadata.get("flag") or "--" + f.name.replace("_", "-")}
    return flags | {"--no-" + flag[2:] for flag in flags if without_none(declared) is bool}


def _is_option_type(declared: Any) -> bool:
    """Whether `check_value` and the command line know a type."""
    members = typing.get_args(declared)
    if types.NoneType in members:
        return len(members) == 2 and _is_option_type(without_none(declared))
    if typing.get_origin(declared) is tuple:
        return bool(members) and {*members} - {Ellipsis} in ({int}, {float}, {str})
    return typing.get_origin(declared) is Literal or declared in (int, float, bool, str)


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

    Raises:
        ValueError: an augmentation fails, or returns something other than finite numbers of a fixed shape.
    """
    drawn = {}
    for augmentation in augmentations:
        sequence = np.random.SeedSequence(key, spawn_key=streams.of_augmentation(augmentation.name))
        rng = np.random.Generator(np.random.PCG64(sequence))
        numbers = _draw_one(augmentation, rng, size)
        if numbers.shape != (shape := _drawn_shape(augmentation, size)):
            raise ValueError(
                f"augmentation {augmentation.name!r}: draw returned numbers of shape {numbers.shape}, and of shape "
                f"{shape} for another clip: expected the same shape for every clip"
            )
        drawn[augmentation.name] = numbers
    return drawn


def reorder(augmentations: Sequence[Augmentation], frames: np.ndarray, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """The frames of a clip after all augmentations that choose among them.

    Raises:
        ValueError: an augmentation fails, or returns something other than frames of the clip.
    """
    for augmentation in augmentations:
        if type(augmentation).reorder is Augmentation.reorder:
            continue
        with failures_of(augmentation, "reorder"):
            chosen = augmentation.reorder(frames.copy(), drawn[augmentation.name])
        if not isinstance(chosen, np.ndarray) or chosen.dtype != np.int64 or chosen.shape != frames.shape:
            is_array = isinstance(chosen, np.ndarray)
            found = f"an array {chosen.dtype} {chosen.shape}" if is_array else f"a {type(chosen).__name__}"
            raise ValueError(
                f"augmentation {augmentation.name!r}: reorder returned {found}: expected an array int64 {frames.shape}"
            )
        if strangers := set(chosen.tolist()).difference(frames.tolist()):
            raise ValueError(
                f"augmentation {augmentation.name!r}: reorder returned frame {min(strangers)}: "
                f"expected frames of the clip, {', '.join(map(str, frames.tolist()))}"
            )
        frames = chosen
    return frames


@contextlib.contextmanager
def failures_of(augmentation: Augmentation, method: str) -> Iterator[None]:
    """Whatever a method of an augmentation raises becomes a ValueError of one line that names the augmentation."""
    try:
        yield
    except Exception as error:  # a user's code can raise anything
        raise _failure(augmentation, method, error) from error


def _draw_one(augmentation: Augmentation, rng: np.random.Generator, size: int) -> np.ndarray:
    """What an augmentation draws for one clip, in its `dtype`."""
    try:
        found = np.asarray(augmentation.draw(rng, size))
    except Exception as error:  # without `failures_of`, which would take longer than some draws
        raise _failure(augmentation, "draw", error) from error
    if found.dtype.kind not in "biuf" or not found.size:
        raise ValueError(f"augmentation {augmentation.name!r}: draw returned {found!r}: expected numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = found.astype(augmentation.dtype)
    if numbers.dtype.kind == "f" or numbers.dtype == found.dtype:
        fits = np.isfinite(numbers).all()
    else:  # a number that an integer type cannot hold becomes another one
        fits = (abs(numbers - found) < 1).all()
    if not fits:
        shown = ", ".join(map(str, found.ravel().tolist()))
        expected = f"finite numbers that fit {np.dtype(augmentation.dtype).name}"
        raise ValueError(f"augmentation {augmentation.name!r}: draw returned {shown}: expected {expected}")
    return numbers


def _failure(augmentation: Augmentation, method: str, error: Exception) -> ValueError:
    return ValueError(f"augmentation {augmentation.name!r}: {method} failed: {in_one_line(error)}")


@functools.lru_cache(maxsize=64)
def _drawn_shape(augmentation: Augmentation, size: int) -> tuple[int, ...]:
    """The shape of what an augmentation draws for every clip of this size."""
    return _draw_one(augmentation, np.random.default_rng(0), size).shape


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
