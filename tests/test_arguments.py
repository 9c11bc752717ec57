"""Public functions refuse arguments of wrong types with an error that names the argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import actrec
from actrec.arguments import check_argument, checked
from actrec.pipelines.loader import Loader
from actrec.settings import OptionError

WRONG = [None, 5, -1, 1.5, float("nan"), True, "", b"x", [], [1], ["x", 1], {}, object(), np.zeros(3), actrec.Clip]


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        (8, actrec.Clip, "expected actrec.Clip, found int 8"),
        (actrec.Clip, actrec.Clip, "expected actrec.Clip, found the class Clip"),
        (None, actrec.Input, "expected actrec.Input, found None"),
        ("x", torch.nn.Module, "expected torch.nn.Module, found str 'x'"),
        ([], actrec.Views | None, "expected actrec.Views or None, found list"),
        (5, str | PathLike[str], "expected a path, found int 5"),
        ("", str | PathLike[str], "expected a path, found an empty text"),
        ("ab", Sequence[str], "expected a sequence of texts, found str 'ab'"),
        (5, Sequence[str | PathLike[str]], "expected a sequence of paths, found int 5"),
        (5, Callable[[int], None], "expected a function, found int 5"),
        (5, Mapping[str, int], "expected a mapping, found int 5"),
        (5, int | str | list[int], None),
        ([5], int | str | list[int], None),
        (np.arange(3), Sequence[int], None),
        (Path("a"), str | PathLike[str], None),
        (None, actrec.Views | None, None),
        ({}, Mapping[str, int], None),
        (print, Callable[[int], None], None),
        ("anything", Any, None),
    ],
)
def test_types(value, declared, message):
    if message is None:
        assert check_argument("a", value, declared) is value
    else:
        with pytest.raises(OptionError) as error:
            check_argument("a", value, declared)
        assert str(error.value) == f"a: {message}"


def test_the_place_of_a_wrong_item_is_named():
    with pytest.raises(OptionError, match=r"^a\[1\]: expected actrec.Video, found str 'x'$"):
        check_argument("a", [actrec.Video.of("a"), "x"], Sequence[actrec.Video] | str)


def test_options_have_their_messages():
    with pytest.raises(OptionError, match=r"^a 'x': expected a whole number$"):
        check_argument("a", "x", int | None)
    with pytest.raises(OptionError, match=r"^a 'fats': expected one of fast, slow \(did you mean fast\?\)$"):
        check_argument("a", "fats", Literal["fast", "slow"])
    assert type(check_argument("a", np.int64(3), int)) is int


def test_a_function_keeps_its_name_its_text_and_pythons_own_errors():
    @checked
    def scale(clip: actrec.Clip, *sizes: int, factor: int = 1, **others: int) -> tuple:
        """Scales."""
        return clip, sizes, factor, others

    clip = actrec.Clip()
    assert (scale.__name__, scale.__doc__) == ("scale", "Scales.")
    assert scale(clip, 1, 2, factor=np.int64(3), more=4) == (clip, (1, 2), 3, {"more": 4})
    with pytest.raises(TypeError, match=r"scale\(\) missing 1 required positional argument: 'clip'"):
        scale()
    with pytest.raises(OptionError, match="^factor 1.5: expected a whole number$"):
        scale(clip, factor=1.5)


def functions() -> dict[str, Callable[..., Any]]:
    """All public functions, and the methods of the objects that they return."""
    model = {name: f for name, f in vars(actrec.Model).items() if name[0] != "_" and inspect.isfunction(f)}
    internal = {"make_loader", "make_sweep", "notices", "with_classes_of"}
    found = {f"Model.{name}": f for name, f in model.items() if name not in internal}
    found |= {name: f for name in actrec.__all__ if inspect.isfunction(f := getattr(actrec, name))}
    found |= {f"samplers.{name}": getattr(actrec.samplers, name) for name in ("uniform", "dense", "sliding_window")}
    return found | {"nets.register": actrec.nets.register, "load_state_dict": Loader.load_state_dict}


@pytest.mark.parametrize("name", functions())
def test_every_public_function_checks_its_arguments(name):
    function = functions()[name]
    assert hasattr(function, "__wrapped__"), f"{name} lacks the decorator @checked"
    parameters = inspect.signature(function).parameters.values()
    refused = 0
    for parameter in parameters:
        if parameter.name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        declared = checked_type(function, parameter.name)
        for value in WRONG:
            if (message := refusal(parameter.name, value, declared)) is not None:
                assert message.startswith(parameter.name)
                refused += 1
    assert refused >= 5 * (len(parameters) - 1)


def refusal(name: str, value: Any, declared: Any) -> str | None:
    try:
        check_argument(name, value, declared)
    except OptionError as error:
        return str(error)
    return None


def checked_type(function: Callable[..., Any], name: str) -> Any:
    from actrec.arguments import _annotations

    return _annotations(function.__wrapped__)[name]


def test_a_wrong_row_is_named():
    row = actrec.Video.of("a.mp4")
    with pytest.raises(ValueError, match=r"^videos\[1\]\.path b.mp4: expected a text$"):
        actrec.build_index([row, row._replace(path=Path("b.mp4"))])
    with pytest.raises(ValueError, match=r"^videos\[0\]\.labels 3: expected a tuple of one or more whole numbers$"):
        actrec.build_index([row._replace(labels=3)])


def test_names_of_paths(tmp_path):
    for make in (actrec.build_index, actrec.read_list):
        with pytest.raises(FileNotFoundError, match="no.txt: no such file"):
            make(tmp_path / "no.txt")
