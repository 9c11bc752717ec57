"""Flags of the command line, derived from the dataclasses of `actrec.config`, where names, types, defaults and help are
written once."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from actrec import config
from actrec.cli.ending import refuse_overlap
from actrec.data.storage.paths import is_local, is_url, shown, why_refused
from actrec.settings import OptionError, check_fields, field_types, without_none

_HEADINGS = {  # of the dataclasses that are not called so
    "Augment": "Augmentation",
    "Frame": "Frames",
    "Limits": "Limits of videos",
    "Optim": "Optimizer and schedule",
    "Storage": "Videos at URLs",
}
_ELSEWHERE = {  # flags as other tools call them
    **dict.fromkeys(("--net", "--model", "--arch"), "--backbone"),
    **dict.fromkeys(("--learning-rate", "--base-lr"), "--lr"),
    **dict.fromkeys(("--num-epochs", "--max-epochs"), "--epochs"),
    **dict.fromkeys(("--num-frames", "--clip-length", "--clip-len"), "--frames"),
    **dict.fromkeys(("--bs", "--batch"), "--batch-size"),
    **dict.fromkeys(("--num-workers", "-j"), "--workers"),
    **dict.fromkeys(("--crop-size", "--resolution", "--img-size"), "--size"),
    "--pretrained": "--weights",
}
_DEFAULT = re.compile(r"\s*\[default: [^\]]*\]$")


_LIVE = re.compile(r"(rtsps?|rtmps?|tcp|udp|rtp|srt)://", re.IGNORECASE)


class NamedPath(click.Path):
    """A path that is not empty, because `Path("")` is the current folder.

    Args:
        folder: whether a file of this name is wrong usage.
    """

    def __init__(self, *, folder: bool = False):
        super().__init__(path_type=Path)
        self._folder = folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        kind = "folder" if self._folder else "file"
        if not isinstance(value, Path) and not value:
            self.fail(f"the name is empty: expected the name of a {kind}", param, ctx)
        if isinstance(value, str) and is_url(value):
            self.fail(f"{shown(value)} is a URL: expected the name of a {kind} of this machine", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if self._folder and path.exists() and not path.is_dir():
            what, flag = _meaning(str(path), Path())
            flags = {name for other in ctx.command.params for name in other.opts} if ctx else set()
            hint = f"; pass {what} with {flag}" if flag in flags else ""
            self.fail(f"{path} is a file: expected the name of a folder{hint}", param, ctx)
        return path


class InputPath(NamedPath):
    """A path of videos. A URL and a member of an archive stay texts, because `Path` would change their slashes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or is_local(value):
            return super().convert(value, param, ctx)
        if _LIVE.match(value):
            self.fail("a live source: expected a video; for a live source, use `actrec predict --stream URL`",
                      param, ctx)  # fmt: skip
        if reason := why_refused(value):
            self.fail(f"{shown(value)}: {reason}", param, ctx)
        return value


class SourcePath(InputPath):
    """A folder of videos, or a tar archive in its place; a text for a URL."""

    def __init__(self) -> None:
        super().__init__(folder=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, (str, Path)) and str(value).lower().endswith(".tar") and os.path.isfile(value):
            return FILE.convert(value, param, ctx)
        return super().convert(value, param, ctx)


FOLDER = NamedPath(folder=True)
SOURCE = SourcePath()
FILE = NamedPath()
cluster_option = click.option("--cluster", metavar="ADDRESS", help="Use the workers of the Dask scheduler at ADDRESS.")
data_option = click.option("--data", type=FOLDER, default=".", show_default=True, help="Dataset folder.")


class Command(click.Command):
    """A command whose --help shows the flags of each dataclass under a heading, after its own.

    An illegal option is wrong usage (exit code 2) wherever it is found, and is named by its flag.
    """

    allow_extra_args = True  # `parse_args` refuses them

    def invoke(self, ctx: click.Context) -> Any:
        refuse_overlap()
        try:
            return super().invoke(ctx)
        except OptionError as error:
            flags = {getattr(p, "field", p.name): p.opts[0] for p in self.params if isinstance(p, click.Option)}
            raise click.UsageError(error.shown(lambda name: flags.get(name, name)), ctx) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            extra = super().parse_args(ctx, args)
        except click.NoSuchOption as error:  # names that other tools use
            known = {flag for p in self.params for flag in p.opts}
            if (meant := _ELSEWHERE.get(error.option_name)) not in known:
                raise
            raise click.UsageError(f"No such option {error.option_name!r}. Did you mean {meant!r}?", ctx) from None
        if extra and not ctx.resilient_parsing:
            what, flag = _meaning(extra[0], Path(ctx.params.get("data") or "."))
            hint = f": pass {what} with {flag}" if any(flag in param.opts for param in self.params) else ""
            ctx.fail(f"unexpected argument {extra[0]}{hint}")
        return extra

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


def _meaning(argument: str, data: Path) -> tuple[str, str]:
    """What an argument seems to be, and the flag that takes it; empty if it looks like nothing."""
    from actrec.report import runs

    with contextlib.suppress(ValueError, OSError):
        runs.locate(argument, data / "runs")
        return "a run", "--run"
    if os.path.isdir(argument):
        return "a dataset folder", "--data"
    by_suffix = {".pt": ("a checkpoint", "--checkpoint"), ".txt": ("a list", "--list"), ".csv": ("a list", "--list")}
    return by_suffix.get(os.path.splitext(argument)[1].lower(), ("", ""))


class ConfigOption(click.Option):
    """A flag derived from a field of a dataclass.

    Args:
        heading: under which --help shows it.
        field: name of the field.
    """

    def __init__(self, *args: Any, heading: str, field: str, **attributes: Any):
        super().__init__(*args, **attributes)
        self.heading, self.field = heading, field

    def get_help_extra(self, ctx: click.Context) -> Any:
        """As click's, but a default that is shown as a text is shown as it is typed, without parentheses."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default
        return extra


def config_options(
    *kinds: type, only: Sequence[str] | None = None, without: Sequence[str] = (), heading: str | None = None
) -> Callable:
    """Gives a command the flags of dataclasses. It receives an instance of each, named like its class in lower case.

    Args:
        only: the fields that get a flag; all others keep their defaults.
        without: fields that get none.
        heading: under which --help shows them.  Default: that of the dataclass.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **flags: Any) -> Any:
            built = {}
            for kind in kinds:
                name = kind.__name__.lower()
                values = {f.name: flags.pop(f"{name}_{f.name}") for f in _fields(kind, only, without)}
                built[name] = _build(kind, values)
            return function(*args, **flags, **built)

        for kind in reversed(kinds):
            for f in reversed(_fields(kind, only, without)):
                name = f"{kind.__name__.lower()}_{f.name}"  # two dataclasses may have a field of the same name
                call = _option(kind, f, name, f.default, f.metadata["help"], heading)(call)
        return call

    return decorate


def config_changes(kind: type, *fields: str, default: str, heading: str | None = None) -> Callable:
    """Gives a command the flags of these fields of a dataclass, without their defaults.

    The command receives those that were given, as a dict by field, under the name `<class>_changes`.

    Args:
        default: what applies if a flag is not given, for `--help`.
        heading: as for `config_options`.
    """
    chosen = [f for f in _fields(kind, None, ()) if f.name in fields]
    prefix = kind.__name__.lower() + "_"

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **flags: Any) -> Any:
            values = {f.name: flags.pop(prefix + f.name) for f in chosen}
            given = {name: value for name, value in values.items() if value is not None}
            return function(*args, **flags, **{prefix + "changes": check_fields(kind, given)})

        for f in reversed(chosen):
            text = f"{_DEFAULT.sub('', f.metadata['help'])}  [default: {default}]"
            call = _option(kind, f, prefix + f.name, None, text, heading)(call)
        return call

    return decorate


def limit_options(function: Callable) -> Callable:
    """Gives a command the flags of `config.Limits`. The limits hold while it runs; it does not receive them."""

    @config_options(config.Limits)
    @functools.wraps(function)
    def call(*args: Any, limits: config.Limits, **flags: Any) -> Any:
        from actrec.data.limits import limited

        with limited(limits):
            return function(*args, **flags)

    return call


def storage_options(function: Callable) -> Callable:
    """Gives a command the flags of `config.Storage`, and uses them. It does not receive them."""

    @config_options(config.Storage)
    @functools.wraps(function)
    def call(*args: Any, storage: config.Storage, **flags: Any) -> Any:
        from actrec.data.storage import configure

        configure(storage.cache, storage.cache_bytes)
        return function(*args, **flags)

    return call


def source_and_target(
    src: Path | str | None, dst: Path | None, lists: Sequence[Path], what: str
) -> tuple[Path | str | Sequence[Path], Path]:
    """Where a command takes videos from, and its dataset folder. With --list, the only argument is the folder.

    Args:
        what: The results, for the message.
    """
    if not lists:
        return src or Path("videos"), dst or Path(".")
    if dst or not src:
        raise click.UsageError(f"with --list, expected one argument: DST, the folder for the {what} and their lists")
    return lists, FOLDER.convert(src, None, None)


def worker_options(function: Callable) -> Callable:
    """Gives a command --workers and --cluster. It receives `workers`, a `tools.make.jobs.Workers`."""

    @functools.wraps(function)
    def call(*args: Any, workers: int | None, cluster: str | None, **flags: Any) -> Any:
        from actrec.tools.make.jobs import Workers

        if workers and cluster:
            raise click.UsageError(
                "--workers together with --cluster: expected one of them; --workers is the number of threads on this "
                "machine"
            )
        return function(*args, workers=Workers(workers, cluster), **flags)

    return click.option(
        "--workers", type=click.IntRange(1), help="Number of videos processed at a time.  [default: one per core]"
    )(cluster_option(call))


def flag_of(f: dataclasses.Field) -> str:
    """The flag of a field."""
    return f.metadata.get("flag") or "--" + f.name.replace("_", "-")


def changed_flags(*sections: Any, without: Sequence[str] = ()) -> list[str]:
    """The flags of the fields of dataclasses that do not have their defaults.

    Args:
        without: fields that do not count.
    """
    return [
        flag_of(f)
        for section in sections
        for f in dataclasses.fields(section)
        if f.name not in without and getattr(section, f.name) != f.default
    ]


def flags_of_net(options: Mapping[str, bool | int | float | str | None]) -> list[str]:
    """The flags that set these options of a net. An option without a flag is shown as an argument in Python."""
    flags = {f.name: flag_of(f) for f in _fields(config.Net, None, ())}
    shown = []
    for name, value in options.items():
        if name not in flags:
            shown.append(f"{name}={value!r} (no flag: only in Python)")
        elif isinstance(value, bool):
            shown.append(flags[name] if value else f"--no-{flags[name][2:]}")
        else:
            shown.append(f"{flags[name]} {'(not set)' if value is None else value}")
    return shown


def _fields(kind: type, only: Sequence[str] | None, without: Sequence[str]) -> list[dataclasses.Field]:
    found = [f for f in dataclasses.fields(kind) if "help" in f.metadata]
    return [f for f in found if f.name not in without and (only is None or f.name in only)]


def _build(kind: type, values: dict[str, Any]) -> Any:
    try:
        return kind(**values)
    except OptionError as error:
        flags = {f.name: flag_of(f) for f in dataclasses.fields(kind)}
        raise click.UsageError(error.shown(lambda name: flags.get(name, name))) from None


def _option(kind: type, f: dataclasses.Field, name: str, default: Any, text: str, heading: str | None) -> Callable:
    flag = flag_of(f)
    declared = without_none(field_types(kind)[f.name])
    arguments: dict[str, Any] = {
        "default": default,
        "help": text,
        "metavar": f.metadata["metavar"],
        "show_default": default is not None,
        "cls": ConfigOption,
        "field": f.name,
        "heading": heading or _HEADINGS.get(kind.__name__, kind.__name__.removesuffix("Options") or "Options"),
    }
    if declared is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **arguments)
    if f.metadata["metavar"] == Size.name:
        return click.option(flag, name, type=Size(), **arguments)
    if typing.get_origin(declared) is tuple:
        members = typing.get_args(declared)
        numbers = Numbers(members[0], count=None if Ellipsis in members else len(members))
        if default is not None:
            arguments["show_default"] = ",".join(f"{value:.4g}" for value in default)
        return click.option(flag, name, type=numbers, **arguments)
    if typing.get_origin(declared) is typing.Literal:
        return click.option(flag, name, type=Choice(typing.get_args(declared)), **arguments)
    if declared is Path:
        declared = FOLDER if f.metadata["metavar"] == "DIR" else FILE
    return click.option(flag, name, type=declared, **arguments)


class Choice(click.Choice):
    """The values of a `Literal` type, which may be numbers."""

    def __init__(self, values: Sequence[Any]):
        super().__init__([str(value) for value in values])
        self._values = {str(value): value for value in values}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._values[super().convert(str(value), param, ctx)]


class Size(click.ParamType):
    """Width and height in pixels: "340x256"."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, _, height = value.lower().partition("x")
        if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
            self.fail(f"{value!r}: expected width and height in pixels, such as 340x256", param, ctx)
        return int(width), int(height)


class Numbers(click.ParamType):
    """Numbers separated by commas or blanks: "15,30,45".

    Args:
        kind: int or float.
        count: how many there are; None: one or more.
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
