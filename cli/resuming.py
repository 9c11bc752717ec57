"""Options of `actrec train` that the user does not pass come from the run with --resume, or from a --recipe.

Options that the user passes must agree with the run. They take precedence over the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import actrec
from actrec import config
from actrec.cli.ending import note
from actrec.cli.options import Command, ConfigOption
from actrec.cli.runs import run_folder
from actrec.recipes import options_of
from actrec.settings import OptionError, check_fields, show

_SECTIONS = {
    kind.__name__.lower(): kind
    for kind in (
        config.Net, config.Clip, config.Frame, actrec.Augment, config.Loader, config.Optim, config.Loss, config.Run,
    )
}  # fmt: skip


class TrainCommand(Command):
    """Fills in the options of the run with --resume, or those of --recipe, before they are checked together."""

    def invoke(self, ctx: click.Context) -> Any:
        if ctx.params.get("resume"):
            _fill(ctx)
        elif ctx.params.get("run_recipe"):
            _fill_recipe(ctx)
        return super().invoke(ctx)


def _fill_recipe(ctx: click.Context) -> None:
    """Replaces the parameters that the user did not pass by those of the recipe.

    Raises:
        ValueError: The net that the user chose is unknown.
    """
    from actrec.nets import NETS

    chosen = {}
    for name in _given(ctx):
        section, _, field = name.partition("_")
        chosen[section, field] = ctx.params[name]
    found = options_of(ctx.params["run_recipe"], chosen, lambda backbone: NETS.get(backbone).options)
    ctx.params |= {f"{section}_{field}": value for (section, field), value in found.items()}


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
    params["run_dir"] = run_dir
    _fill_lists(params, given, stored.get("data"))


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
        raise ValueError(f"{source}: {section}: {error}") from None


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
