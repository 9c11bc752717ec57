"""Flags of the command line, derived from the dataclasses of `actrec.config`, where names, types, defaults and help are
written once."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import os
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli import completion
from actrec.cli.ending import refuse_overlap
from actrec.cli.help_text import WithExamples
from actrec.data.storage.paths import is_local, is_url, shown, why_refused
from actrec.settings import OptionError, check_fields, expected_one_of, field_types, without_none

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from actrec.known_nets import OptionValue

_HEADINGS = {  # of the dataclasses that are not called so
    "Augment": "Augmentation",
    "Frame": "Clip",
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
_CLOSE = 0.7  # least similarity of a suggested flag: the cutoff of `difflib.get_close_matches`
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

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, param, incomplete)
        for item in found:
            item.type = "dir" if self._folder else "file"
        return found


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

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return FILE.shell_complete(ctx, param, incomplete)


class Argument(click.Argument):
    """A required argument.

    Args:
        expected: what is expected, for the message if the argument is missing.
    """

    def __init__(self, *args: Any, expected: str, **attributes: Any):
        super().__init__(*args, **attributes)
        self.expected = expected


class Option(click.Option):
    """A flag.

    Args:
        common: whether --help shows it, not only --help-all.
        heading: under which it is shown.
    """

    def __init__(self, *args: Any, common: bool = True, heading: str = "Options", **attributes: Any):
        super().__init__(*args, **attributes)
        self.common, self.heading = common, heading


FOLDER = NamedPath(folder=True)
SOURCE = SourcePath()
FILE = NamedPath()
cluster_option = click.option(
    "--cluster", metavar="ADDRESS", cls=Option, common=False, help="Use the workers of the Dask scheduler at ADDRESS."
)
data_option = click.option("--data", type=FOLDER, default=".", show_default=True, help="Dataset folder.")


class Command(WithExamples):
    """A command whose --help shows the flags of each dataclass under a heading, after its own.

    If some of its flags are not common, `--help` leaves them out, and `--help-all` shows all of them. An illegal option
    is wrong usage (exit code 2) wherever it is found, and is named by its flag.
    """

    allow_extra_args = True  # `parse_args` refuses them

    @functools.cached_property
    def _help_all(self) -> click.Option | None:
        options = [param for param in self.params if isinstance(param, click.Option)]
        if all(getattr(option, "common", True) for option in options):
            return None
        return click.Option(
            ["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_show_all,
            help=f"Show all {len(options)} options and exit.",
        )  # fmt: skip

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return params if self._help_all is None else [*params[:-1], self._help_all, *params[-1:]]

    def invoke(self, ctx: click.Context) -> Any:
        refuse_overlap()
        try:
            return super().invoke(ctx)
        except OptionError as error:
            raise click.UsageError(self.message_of(error, ctx), ctx) from None

    def message_of(self, error: OptionError, ctx: click.Context) -> str:
        """The message of an illegal option, with the names of flags."""
        options = [param for param in self.params if isinstance(param, click.Option)]
        flags = {getattr(p, "field", p.name): p.opts[0] for p in options} | {p.name: p.opts[0] for p in options}
        return error.shown(lambda name: flags.get(name, name))

    def _argument(self, flag: str) -> str:
        """The argument that is called like a flag, such as LIST for `--list`; empty if the command has none."""
        names = [str(p.metavar or p.name).strip("[].").upper() for p in self.params if isinstance(p, click.Argument)]
        return next((name for name in names if name == flag.lstrip("-").upper()), "")

    def _hint(self, flag: str, known: set[str], ctx: click.Context) -> str:
        """The end of the message about an unknown flag."""
        if argument := self._argument(flag):
            return f": pass {argument} without a flag, as in `{ctx.command_path} {argument}`"
        if (other := _ELSEWHERE.get(flag)) in known:  # a name that other tools use
            return f". Did you mean {other!r}?"
        close = difflib.get_close_matches(flag.strip("-"), [name.strip("-") for name in known], n=3, cutoff=_CLOSE)
        if close:
            return f". Did you mean {' or '.join(repr(f'--{name}') for name in close)}?"
        others = sorted(name for name, command in _commands(ctx) if any(flag in p.opts for p in command.params))
        return f": it is an option of {', '.join(f'`actrec {name}`' for name in others)}" if others else ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            extra = super().parse_args(ctx, args)
        except click.MissingParameter as error:
            if not isinstance(error.param, Argument):
                raise
            name = error.param.human_readable_name + "..." * (error.param.nargs == -1)
            raise click.UsageError(f"Missing argument {name!r}: expected {error.param.expected}", ctx) from None
        except click.NoSuchOption as error:  # its own message differs between releases of click
            known = {flag for p in self.params for flag in p.opts}
            hint = self._hint(error.option_name, known, ctx)
            raise click.UsageError(f"No such option {error.option_name!r}{hint}", ctx) from None
        if extra and not ctx.resilient_parsing:
            what, flag = _meaning(extra[0], Path(ctx.params.get("data") or "."))
            hint = f": pass {what} with {flag}" if any(flag in param.opts for param in self.params) else ""
            ctx.fail(f"unexpected argument {extra[0]}{hint}")
        return extra

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for param in self.get_params(ctx):
            if not (getattr(param, "common", True) or ctx.meta.get(_SHOWS_ALL)):
                continue
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                flags, text = record
                groups.setdefault(getattr(param, "heading", "Options"), []).append(
                    (flags.replace(" RANGE", ""), _RANGE.sub("", text))
                )
        names = [flags for records in groups.values() for flags, _ in records]
        width = max(len(name) for name in names if len(name) <= _WIDEST)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{flags:<{width}}", text) for flags, text in records], col_max=width)


def _commands(ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Loads all commands, without the subcommands of groups. Yields their names and the commands."""
    root = ctx.find_root().command
    if isinstance(root, click.Group):
        for name in root.list_commands(ctx):
            if (command := root.get_command(ctx, name)) is not None:
                yield name, command


_RANGE = re.compile(r"; [0-9x<>=]+(?=\])|  \[[0-9x<>=]+\]")  # such as `; x>=1`: the message of an illegal value says it
_WIDEST = 26  # columns of the flags, beside which their texts begin
_SHOWS_ALL = "actrec.help_all"  # key of `click.Context.meta`


def _show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_SHOWS_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


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


class ConfigOption(Option):
    """A flag derived from a field of a dataclass.

    Args:
        field: name of the field.
        of_net: whether its default depends on the net.
    """

    def __init__(self, *args: Any, field: str, of_net: bool = False, **attributes: Any):
        super().__init__(*args, **attributes)
        self.field, self.of_net = field, of_net

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As click's, with the default as it is typed, without parentheses, and `on` or `off` for a switch."""
        record = super().get_help_record(ctx)
        if record is None or (self.default is None and not self.of_net):
            return record
        default = _default_of_nets(self.field) if self.of_net else _typed(self.default)
        return record[0], f"{record[1]}  [default: {default}]" if default else record[1]


def _typed(value: Any) -> str:
    """The default of an option: `on`, `0.1`, `1,0.875`."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(_typed, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _default_of_nets(option: str) -> str:
    """The default of a net's option in all families that have it: `max`, or `0, 0.2 or 0.5, depending on the net`.

    Empty if no family states one.
    """
    from actrec.known_nets import known_nets

    values = {family.options.get(option) for family in known_nets().families} - {None}
    first, *others = map(_typed, sorted(values)) if values else [""]  # type: ignore[type-var] # they are of one type
    if not others:
        return first
    return f"{', '.join([first, *others[:-1]])} or {others[-1]}, depending on the net"


def config_options(
    *kinds: type,
    only: Sequence[str] | None = None,
    without: Sequence[str] = (),
    heading: str | None = None,
    unset: str | None = None,
) -> Callable:
    """Gives a command the flags of dataclasses. It receives an instance of each, named like its class in lower case.

    Args:
        only: the fields that get a flag; all others keep their defaults.
        without: fields that get none.
        heading: under which --help shows them.  Default: that of the dataclass.
        unset: what --help shows as the default of flags that have none.
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
                text = f.metadata["help"]
                if unset is not None and f.default is None:
                    text = f"{_DEFAULT.sub('', text)}  [default: {unset}]"
                call = _option(kind, f, name, f.default, text, heading, common=f.metadata["common"])(call)
        return call

    return decorate


def config_changes(
    kind: type, defaults: Mapping[str, str], *, heading: str | None = None, common: bool = False
) -> Callable:
    """Gives a command the flags of some fields of a dataclass, without their defaults.

    The command receives those that were given, as a dict by field, under the name `<class>_changes`.

    Args:
        defaults: what applies if a flag is not given, for `--help`, by field.
        heading: as for `config_options`.
        common: whether --help shows them, not only --help-all.
    """
    chosen = [f for f in _fields(kind, None, ()) if f.name in defaults]
    prefix = kind.__name__.lower() + "_"

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args: Any, **flags: Any) -> Any:
            values = {f.name: flags.pop(prefix + f.name) for f in chosen}
            given = {name: value for name, value in values.items() if value is not None}
            return function(*args, **flags, **{prefix + "changes": check_fields(kind, given)})

        for f in reversed(chosen):
            text = f"{_DEFAULT.sub('', f.metadata['help'])}  [default: {defaults[f.name]}]"
            call = _option(kind, f, prefix + f.name, None, text, heading, common=common)(call)
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


def flags_of_net(options: Mapping[str, OptionValue]) -> list[str]:
    """The flags that set these options of a net. An option without a flag is shown as an argument in Python."""
    flags = {f.name: flag_of(f) for f in _of_nets()}
    shown = []
    for name, value in options.items():
        if name not in flags or isinstance(value, tuple):
            shown.append(f"{name}={value!r} (no flag: only in Python)")
        elif isinstance(value, bool):
            shown.append(flags[name] if value else f"--no-{flags[name][2:]}")
        else:
            shown.append(f"{flags[name]} {'(not set)' if value is None else value}")
    return shown


def meaning_in_net(option: str) -> str:
    """What an option of a net means; empty if it has no flag."""
    return next((_DEFAULT.sub("", f.metadata["help"]) for f in _of_nets() if f.name == option), "")


def _of_nets() -> list[dataclasses.Field]:
    """The fields whose flags set options of nets. `--frames` and `--size` also set options of nets."""
    clip = [*_fields(config.Clip, ("frames",), ()), *_fields(config.Frame, ("size",), ())]
    return [*_fields(config.Net, None, ()), *clip]


def _fields(kind: type, only: Sequence[str] | None, without: Sequence[str]) -> list[dataclasses.Field]:
    found = [f for f in dataclasses.fields(kind) if "help" in f.metadata]
    return [f for f in found if f.name not in without and (only is None or f.name in only)]


def _build(kind: type, values: dict[str, Any]) -> Any:
    """An instance of a dataclass. Errors name the parameters: two dataclasses may have a field of the same name."""
    try:
        return kind(**values)
    except OptionError as error:
        own = {f.name: f"`{kind.__name__.lower()}_{f.name}`" for f in dataclasses.fields(kind)}
        raise OptionError(error.shown(lambda name: own.get(name, name))) from None


def _option(
    kind: type, f: dataclasses.Field, name: str, default: Any, text: str, heading: str | None, *, common: bool
) -> Callable:
    flag = flag_of(f)
    declared = without_none(field_types(kind)[f.name])
    arguments: dict[str, Any] = {
        "default": default,
        "help": text,
        "metavar": f.metadata["metavar"],
        "common": common,
        "of_net": kind is config.Net and default is None and "[default:" not in text,
        "cls": ConfigOption,
        "field": f.name,
        "heading": heading or _HEADINGS.get(kind.__name__, kind.__name__.removesuffix("Options") or "Options"),
    }
    if f.metadata["complete"] is not None:
        arguments["shell_complete"] = completion.BY_NAME[f.metadata["complete"]]
    if declared is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **arguments)
    if kind is config.Frame and f.name == "size":
        return click.option(flag, name, type=Side(), **arguments)
    if f.metadata["metavar"] == Size.name:
        return click.option(flag, name, type=Size(), **arguments)
    if typing.get_origin(declared) is tuple:
        members = typing.get_args(declared)
        numbers = Numbers(members[0], count=None if Ellipsis in members else len(members))
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
        if str(value) not in self._values:
            self.fail(f"{value!r}: {expected_one_of(value, list(self._values))}", param, ctx)
        return self._values[str(value)]


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


class Side(click.ParamType):
    """Height and width in pixels of square clips: "224", or "224x224" as other tools write it."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        numbers = str(value).lower().replace("x", ",").split(",")
        if not all(number.strip().isascii() and number.strip().isdigit() for number in numbers):
            self.fail(f"{value!r}: expected a whole number", param, ctx)
        if len(set(map(int, numbers))) > 1:
            self.fail(f"{value!r}: expected one number, because the clips of a loader are square", param, ctx)
        return int(numbers[0])


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
