"""Click flags out of the dataclasses of `actrec.config`: every default is written once, there."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from actrec.settings import OptionError, field_types, without_none

_HEADINGS = {"Augment": "Augmentation", "Optim": "Optimizer and schedule"}  # of a class that is not called so


class Command(click.Command):
    """A command whose --help shows the flags of each dataclass under a heading, and before them its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                heading = param.heading if isinstance(param, ConfigOption) else "Options"
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class ConfigOption(click.Option):
    """A flag out of a dataclass.

    Args:
        heading: what it stands under.
    """

    def __init__(self, *args: Any, heading: str, **attributes: Any):
        super().__init__(*args, **attributes)
        self.heading = heading


def config_options(*configs: type, without: Sequence[str] = ()) -> Callable:
    """Gives a command the flags of some dataclasses; it receives one instance of each, named after its class.

    Args:
        without: fields that this command has no flag for; they keep their defaults.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **flags: Any):
            built = {}
            for kind in configs:
                values = {f.name: flags.pop(f.name) for f in _fields(kind, without)}
                built[kind.__name__.lower()] = _build(kind, values)
            return function(*args, **flags, **built)

        for kind in reversed(configs):
            for f in reversed(_fields(kind, without)):
                call = _option(kind, f)(call)
        return call

    return decorate


def worker_options(function: Callable) -> Callable:
    """Gives a command --workers and --cluster; it receives `workers`, a `tools.jobs.Workers`."""

    @functools.wraps(function)
    def call(*args: Any, workers: int | None, cluster: str | None, **flags: Any):
        from actrec.tools.make.jobs import Workers

        if workers and cluster:
            raise click.UsageError("--workers counts threads of this machine, --cluster uses another's: give one")
        return function(*args, workers=Workers(workers, cluster), **flags)

    call = click.option("--cluster", metavar="ADDRESS", help="Use the workers of the Dask scheduler at ADDRESS.")(call)
    return click.option("--workers", type=click.IntRange(1), help="Videos at a time.  [default: one per core]")(call)


def check_place(path: Path | None) -> None:
    """Raises UsageError if a file cannot be written there, before the work is done."""
    if path is not None and not path.parent.is_dir():
        raise click.UsageError(f"{path}: there is no folder {path.parent}")


def per_channel(name: str, given: tuple[float, ...] | None, own: tuple[float, ...]) -> tuple[float, ...]:
    """What --mean or --std gives each channel of an input: three for RGB, one for flow; `own` if not given.

    Raises:
        UsageError: another number of them.
    """
    if given is None:
        return own
    expected = 3 if len(own) == 3 else 1
    if len(given) != expected:
        shown = "three, of red, green and blue" if expected == 3 else "one, of flow"
        raise click.UsageError(f"--{name} of {len(given)} numbers: expected {shown}")
    return given if expected == 3 else given * len(own)


def _fields(kind: type, without: Sequence[str]) -> list[dataclasses.Field]:
    return [f for f in dataclasses.fields(kind) if "help" in f.metadata and f.name not in without]


def _build(kind: type, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except OptionError as error:
        flags = {f.name: flag_of(f) for f in dataclasses.fields(kind)}
        raise click.UsageError(error.shown(lambda name: flags.get(name, name))) from None


def flag_of(f: dataclasses.Field) -> str:
    """The flag of a field."""
    return f.metadata.get("flag") or "--" + f.name.replace("_", "-")


def _option(kind: type, f: dataclasses.Field) -> Callable:
    flag = flag_of(f)
    declared = without_none(field_types(kind)[f.name])
    arguments: dict[str, Any] = {
        "default": f.default,
        "help": f.metadata["help"],
        "metavar": f.metadata["metavar"],
        "show_default": f.default is not None,
        "cls": ConfigOption,
        "heading": _HEADINGS.get(kind.__name__, kind.__name__),
    }
    if declared is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", f.name, **arguments)
    if typing.get_origin(declared) is tuple:
        members = typing.get_args(declared)
        numbers = Numbers(members[0], count=None if Ellipsis in members else len(members))
        if f.default is not None:
            arguments["show_default"] = ",".join(f"{value:.4g}" for value in f.default)
        return click.option(flag, f.name, type=numbers, **arguments)
    if typing.get_origin(declared) is typing.Literal:
        return click.option(flag, f.name, type=Choice(typing.get_args(declared)), **arguments)
    if declared is Path:
        declared = click.Path(path_type=Path)
    return click.option(flag, f.name, type=declared, **arguments)


class Choice(click.Choice):
    """The values of a `Literal` type, which may be numbers."""

    def __init__(self, values: Sequence[Any]):
        super().__init__([str(value) for value in values])
        self._values = {str(value): value for value in values}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._values[super().convert(str(value), param, ctx)]


class Numbers(click.ParamType):
    """Numbers separated by commas or blanks: "15,30,45".

    Args:
        kind: int or float.
        count: how many; any number of them by default.
    """

    name = "numbers"

    def __init__(self, kind: type, count: int | None = None):
        self._kind, self._count = kind, count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self._kind(part) for part in value.replace(",", " ").split())
        except ValueError:
            numbers = None
        if numbers is None or self._count not in (None, len(numbers)):
            example = {int: "15,30,45", float: "0.5,0.25,1"}[self._kind]
            how_many = "" if self._count is None else f"{self._count} "
            self.fail(f"{value!r}: expected {how_many}numbers such as {example}", param, ctx)
        return numbers
