"""Options of `actrec train` that the user does not pass come from the run with --resume, or from --recipe or --config.

Options that the user passes must agree with the run. They take precedence over a recipe and a configuration, of which
options are not used that have no meaning with those of the user.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import actrec
from actrec import config
from actrec.cli.ending import note
from actrec.cli.options import Command, ConfigOption
from actrec.cli.runs import run_folder
from actrec.engine.stored import current_options
from actrec.files import read_json
from actrec.recipes import RECIPES, Option, options_beside, options_of
from actrec.settings import OptionError, check_fields, show
from actrec.words import counted, some_of

_SECTIONS = {
    kind.__name__.lower(): kind
    for kind in (
        config.Net, config.Clip, config.Frame, actrec.Augment, config.Loader, config.Optim, config.Loss, config.Run,
    )
}  # fmt: skip


_ORIGIN = "actrec.origin"  # key of `click.Context.meta`


@dataclass(frozen=True)
class Origin:
    """Where the options are from that the user did not pass.

    Args:
        name: of the file or recipe.
        filled: the parameters of the command that are from it.
        left_out: its options that are not used, as the user would type them, by the option of the user that is the
            reason.
    """

    name: str
    filled: frozenset[str]
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The line in the header of a run that says which options are not used; none if all are."""
        if not self.left_out:
            return []
        reasons = [f"{', '.join(options)} (because of {cause})" for cause, options in self.left_out.items()]
        return [f"options as in {self.name}, without {'; '.join(reasons)}"]


def origin_of_options(ctx: click.Context) -> Origin | None:
    """Where options are from that the user did not pass; None if they have their defaults."""
    return ctx.meta.get(_ORIGIN)


class TrainCommand(Command):
    """Fills in the options of the run with --resume, or those of --recipe or --config, before they are checked
    together."""

    def message_of(self, error: OptionError, ctx: click.Context) -> str:
        """As of all commands. Options of the message that the user did not pass are said to be from the file."""
        text, origin = super().message_of(error, ctx), origin_of_options(ctx)
        named: set[str] = set()
        error.shown(lambda name: named.add(name) or name)  # type: ignore[func-returns-value]
        found = [
            param.opts[0]
            for param in self.params
            if isinstance(param, ConfigOption)
            and named & {param.field, param.name}
            and origin is not None
            and param.name in origin.filled
            and ctx.params[param.name] != param.default
        ]
        if origin is None or not found:
            return text
        return f"{text} ({' and '.join(found)} {'is' if len(found) == 1 else 'are'} from {origin.name})"

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.get("resume") and ctx.params.get("dry_run"):
            raise click.UsageError("--dry-run with --resume: it shows a new run; omit --resume")
        if ctx.params.get("resume") and ctx.params.get("config_path"):
            raise click.UsageError("--config with --resume: a run continues with its own options; omit one of the two")
        if ctx.params.get("resume"):
            _fill(ctx)
        elif ctx.params.get("config_path"):
            if ctx.get_parameter_source("run_recipe") is ParameterSource.COMMANDLINE:
                raise click.UsageError("--config with --recipe: both set options; omit one of the two")
            _start_from(ctx, ctx.params["config_path"])
        elif ctx.params.get("run_recipe"):
            _fill_recipe(ctx)
        return super().invoke(ctx)


def _fill_recipe(ctx: click.Context) -> None:
    """Replaces the parameters that the user did not pass by those of the recipe.

    Raises:
        ValueError: The net that the user chose is unknown.
    """
    from actrec.nets import NETS

    recipe = ctx.params["run_recipe"]
    used, lost = options_of(recipe, _chosen(ctx), lambda backbone: NETS.get(backbone).options, _SECTIONS)
    own = {(section, name): value for section, values in RECIPES[recipe].items() for name, value in values.items()}
    _take_over(ctx, f"--recipe {recipe}", own, used, lost)


def _take_over(
    ctx: click.Context,
    name: str,
    own: Mapping[Option, Any],
    used: Mapping[Option, Any],
    lost: Mapping[Option, Option],
) -> None:
    """Replaces parameters by the options of a recipe or run, and keeps in mind which of them are not used.

    Args:
        name: of the recipe or run.
        own: all of its options.
        used, lost: as `options_beside` returns them.
    """
    values = {"_".join(option): value for option, value in used.items()}
    params = {str(param.name): param for param in ctx.command.params if isinstance(param, ConfigOption)}
    left_out: dict[str, list[str]] = {}
    for option, cause in lost.items():
        param, reason = params["_".join(option)], params["_".join(cause)]
        if own[option] != param.default:
            shown = _typed(reason, ctx.params[str(reason.name)])
            left_out.setdefault(shown, []).append(_typed(param, own[option]))
    ctx.params |= values
    ctx.meta[_ORIGIN] = Origin(name, frozenset(values), left_out)


def _chosen(ctx: click.Context) -> dict[Option, Any]:
    """The options that the user passed."""
    options = {str(param.name) for param in ctx.command.params if isinstance(param, ConfigOption)}
    found = {}
    for name in _given(ctx) & options:
        section, _, option = name.partition("_")
        found[section, option] = ctx.params[name]
    return found


def _given(ctx: click.Context) -> set[str]:
    """The parameters that the user passed."""
    return {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _fill(ctx: click.Context) -> None:
    """Replaces the parameters that the user did not pass by those of the run.

    Raises:
        UsageError: A parameter that the user passed differs from that of the run, and would change the result.
        ValueError: There is no such run, or it has no checkpoint, or its options cannot be read.
    """
    from actrec.engine import dist, runfolder
    from actrec.engine.devices import choose_device

    params = ctx.params
    given = _given(ctx)
    ctx.with_resource(dist.joined(choose_device(params["run_device"])))
    named = [params[name] if name in given else None for name in ("net_backbone", "clip_modality")]
    asked, data = params["run_dir"], params["data"]
    run_dir = Path(dist.once("run", lambda: str(_run_to_resume(data, asked, *named))))
    stored, source = dist.by_first(lambda: runfolder.stored_config(run_dir))
    if source.name != "config.json" and not dist.rank():
        note(f"{run_dir / 'config.json'} cannot be read: the options are those in {source}")
    different = _different_weights(run_dir, params["weights"]) if "weights" in given else []
    for param in ctx.command.params:
        if not isinstance(param, ConfigOption):
            continue
        name = str(param.name)
        section, _, field = name.partition("_")
        if section not in _SECTIONS:  # limits, which a run does not store
            continue
        value = _stored_value(stored, section, field, source)
        if name not in given:
            params[name] = value
            continue
        if name == "clip_frames" and value is None:
            value = (stored.get("input") or {}).get("frames")
        if params[name] != value and (section, field) not in runfolder.MAY_CHANGE | {("optim", "epochs")}:
            different.append(f"{_typed(param, value)} (now {_typed(param, params[name])})")
    if different:
        raise click.UsageError(
            f"{run_dir} was started with {', '.join(different)}: omit these flags to continue it, or choose another "
            "--run to begin a new run",
            ctx,
        )
    filled = {str(param.name) for param in ctx.command.params if isinstance(param, ConfigOption)} - given
    ctx.meta[_ORIGIN] = Origin(str(run_dir), frozenset(filled))
    params["run_dir"] = run_dir
    _fill_lists(params, given, stored.get("data"))


def _start_from(ctx: click.Context, path: Path) -> None:
    """Replaces the options that the user did not pass by those of another run.

    Lists, run folder and weights are not taken over, and no options that have no meaning with those of the user. The
    size, mean and standard deviation count only where they differ from what the net has by itself.

    Raises:
        ValueError, OSError: The file is not the configuration of a run, or an option has an illegal value.
    """
    from actrec.engine import runlog

    path = path / runlog.CONFIG if path.is_dir() else path
    stored = current_options(read_json(path, dict))
    if not any(isinstance(stored.get(section), dict) for section in _SECTIONS):
        raise ValueError(f"{path}: not the configuration of a run: expected the config.json of a run folder")
    for section in (*_SECTIONS, "input"):
        if not isinstance(value := stored.get(section) or {}, dict):
            raise ValueError(f"{path}: {section} {show(value)}: expected an object {{…}}")
    stored |= {"input": _changed_input(stored), "optim": _changed_optim(stored)}
    own: dict[Option, Any] = {}
    for param in ctx.command.params:
        section, _, option = str(param.name).partition("_")
        if isinstance(param, ConfigOption) and section in _SECTIONS:
            own[section, option] = _stored_value(stored, section, option, path)
    chosen, net = _chosen(ctx), own["net", "backbone"]
    same_net = chosen.get(("net", "backbone"), net) == net
    used, lost = options_beside(own, chosen, [f.name for f in fields(config.Net)] if same_net else [], _SECTIONS)
    _take_over(ctx, str(path), own, used, lost)
    if os.environ.get("RANK", "0") != "0":  # the first process of torchrun tells it
        return
    if other := _unknown(stored):
        note(f"{path}: {counted(len(other), 'option')} that this version does not have: {some_of(other)}; ignored")


def _changed_input(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored size, mean and standard deviation, as far as they are not the net's own."""
    from actrec import nets

    choice, clip, found = (stored.get(name) or {} for name in ("net", "clip", "input"))
    try:
        values: dict[str, Any] = {f.name: choice.get(f.name) for f in fields(config.Net)}
        net = config.Net(**values | {"backbone": choice["backbone"]})
        channels = config.FLOW_CHANNELS if clip.get("modality") == "flow" else 3
        own = nets.input_of(net.backbone, in_channels=channels, **net.options)
    except (ValueError, KeyError, TypeError, ImportError):  # a net that this version or this machine does not have
        return dict(found)
    plain = {"size": own.size, "mean": list(own.mean), "std": list(own.std)}
    return {name: found[name] for name, value in plain.items() if name in found and found[name] != value}


def _changed_optim(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The stored options of the optimizer, without a learning rate that is only the default of the net."""
    from actrec.nets import NETS

    found = dict(stored.get("optim") or {})
    try:
        lr = NETS.get((stored.get("net") or {})["backbone"]).lr
        default = config.Optim(optimizer=found["optimizer"]).settled(lr).lr
    except (ValueError, KeyError, TypeError):  # a net that this version or this machine does not have
        return found
    return {name: value for name, value in found.items() if name != "lr" or value != default}


def _unknown(stored: Mapping[str, Any]) -> list[str]:
    """The stored options that this version does not have, as `section.option`."""
    known = {name: {f.name for f in fields(kind)} for name, kind in _SECTIONS.items() if name != "frame"}
    known["input"] = {f.name for f in fields(config.Input)}
    found = []
    for section, values in stored.items():
        if section == "data":
            continue
        if section not in known or not isinstance(values, dict):
            found.append(section)
        else:
            found += [f"{section}.{name}" for name in values if name not in known[section]]
    return found


def _stored_value(stored: Mapping[str, Any], section: str, field: str, source: Path) -> Any:
    """The value of an option in a stored configuration. What older versions did not store has its default.

    Raises:
        ValueError: It is not legal.
    """
    values = stored.get("input" if section == "frame" else section)
    value = next(f.default for f in fields(_SECTIONS[section]) if f.name == field)
    value = values.get(field, value) if isinstance(values, dict) else value
    value = tuple(value) if isinstance(value, list) else value
    if section == "frame" and isinstance(value, tuple) and len(value) != 3:
        value = value[:1]  # the channels of optical flow have the same
    try:
        return check_fields(_SECTIONS[section], {field: value})[field]
    except OptionError as error:
        raise ValueError(f"{source}: {'input' if section == 'frame' else section}: {error}") from None


def _typed(param: ConfigOption, value: Any) -> str:
    """An option as the user types it."""
    if isinstance(value, bool):
        return param.opts[0] if value or not param.secondary_opts else param.secondary_opts[0]
    return f"no {param.opts[0]}" if value is None else f"{param.opts[0]} {show(value).strip(chr(39))}"


def _different_weights(run_dir: Path, given: Path) -> list[str]:
    """What is to be said if the run did not start from these weights."""
    from actrec.engine import runfolder
    from actrec.files import read_json, sha256

    try:
        origin = read_json(run_dir / runfolder.ENVIRONMENT, dict)["weights"]
        if origin is not None and str(given) != origin["file"] and sha256(given) != origin["sha256"]:
            return [f"--weights {origin['file']} (now --weights {given})"]
    except (OSError, ValueError, KeyError, TypeError):  # unknown; they are not needed to continue
        return []
    return [f"no --weights (now --weights {given})"] if origin is None else []


def _fill_lists(params: dict[str, Any], given: set[str], stored: Any) -> None:
    """Sets --data, --list and --val-list. Whether their content is that of the run is checked later.

    Raises:
        UsageError: The dataset folder is not where it was.
    """
    from actrec.engine import runlog

    paths = runlog.list_paths(params["run_dir"], stored)
    if paths is None:  # a run of an earlier version
        return
    if "data" not in given:
        params["data"] = paths[0]
        if not params["data"].is_dir():
            raise click.UsageError(
                f"{params['data']}: the dataset folder of {params['run_dir']} is missing: pass its new place with "
                "--data"
            )
    for name, key in (("list_path", "list"), ("val_list", "val_list")):
        if name not in given and isinstance(stored.get(key), str):
            params[name] = params["data"] / stored[key]


def _run_to_resume(data: Path, run_dir: Path | None, net: str | None, modality: str | None) -> Path:
    """The run that --resume continues.

    Raises:
        ValueError: There is no such run, or it has no checkpoint.
    """
    from actrec.engine import datafolder, runfolder

    if run_dir is None:
        return datafolder.run_to_resume(data, net, modality)
    found = run_folder(run_dir, data)
    if not runfolder.has_checkpoint(found):
        raise ValueError(f"{found} has no checkpoint to continue from: omit --resume to begin the run")
    return found
