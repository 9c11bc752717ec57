"""`actrec weights inspect` and `actrec weights convert`"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option
from actrec.cli.main import Group
from actrec.cli.options import FILE, Command, config_options

if TYPE_CHECKING:
    from actrec.nets.recognize import Guess


@click.group(cls=Group)
def command() -> None:
    """Tell which net the weights in a file belong to, or convert them to the net's own names."""


@command.command(cls=Command)
@click.argument("file", type=FILE)
@json_option
def inspect(file: Path, json_path: Path | None) -> int:
    """Show which nets the weights in FILE fit, the likeliest first, and the command that uses them.

    The exit code is 1 if they fit none.
    """
    from actrec.nets.recognize import recognize

    found = recognize(file)
    values = f"{found.num_values / 1e6:.1f} M values"
    lines = [f"{file}: {found.num_tensors} tensors, {values}, {', '.join(found.dtypes) or 'whole numbers'}"]
    if found.guesses:
        best = found.guesses[0]
        lines += [f"fits {_shown(guess)}" for guess in found.guesses]
        lines += [_frames(found.frames, best.net), _use(file, best, found.frames)]
    code = finish(*lines, json_path=json_path, result=asdict(found))
    if not found.guesses:
        raise ValueError(_misfit(file, found.nearest))
    return code


@command.command(cls=Command)
@click.argument("file", type=FILE)
@click.argument("out", type=OutputFile((".safetensors", ".pt", ".pth")))
@click.option("--backbone", help="Name of the net.  [default: the likeliest]")
@click.option("--classes", type=click.IntRange(min=1), help="Refuse a FILE with another number of classes.")
@config_options(config.WeightsOptions)
@config_options(config.Net, without=("backbone",))
def convert(
    file: Path,
    out: Path,
    backbone: str | None,
    classes: int | None,
    weightsoptions: config.WeightsOptions,
    net: config.Net,
) -> int:
    """Write the weights in FILE to OUT under the net's own names: .safetensors, .pt or .pth.

    Options of the net need --backbone. Without any, those that change the shapes of the weights are found.
    """
    from actrec.nets.convert import convert, save_weights
    from actrec.nets.recognize import recognize

    if net.options and backbone is None:
        raise click.UsageError(f"{', '.join(_flags(net.options))} without --backbone: a net's options need its name")
    found = recognize(file, backbone, **net.options)
    if not found.guesses:
        raise ValueError(_misfit(file, found.nearest, backbone))
    fitting = [guess for guess in found.guesses if weightsoptions.layout in ("auto", guess.layout)]
    best = next(iter(fitting or found.guesses))
    if classes not in (None, best.num_classes):
        raise ValueError(f"{file} has {best.num_classes} classes: expected {classes}, as --classes says")
    lines = [f"recognized as {_shown(best)}; pass --backbone for another net"] if backbone is None else []
    weights, account = convert(file, best, weightsoptions.layout, net.options)
    save_weights(out, weights)
    return finish(*lines, f"{account} -> {out}")


def _misfit(file: Path, nearest: str | None, backbone: str | None = None) -> str:
    fits = "fits no net here" if backbone is None else f"does not fit net {backbone!r}"
    return f"{file} {fits}{f'; nearest: {nearest}' if nearest else ', and none has similar names'}"


def _shown(guess: Guess) -> str:
    """`s3d (read as ibm, temporal_pool=avg): 400 classes, 3 channels`"""
    read = ", ".join([f"read as {guess.layout}", *(f"{name}={value}" for name, value in guess.options.items())])
    return f"{guess.net} ({read}): {guess.num_classes} classes, {guess.in_channels} channels"


def _frames(by_name: int | None, net: str) -> str:
    from actrec.nets import NETS

    if by_name is not None:
        return f"frames: {by_name}, according to the file name"
    return f"frames: {NETS.get(net).input.frames}, the net's default; neither the file nor its name contains the number"


def _use(file: Path, guess: Guess, frames: int | None) -> str:
    """The command, or the Python code for other inputs than RGB and optical flow, that uses the file."""
    from actrec.nets.recognize import implied_options

    if guess.in_channels not in (3, config.FLOW_CHANNELS):
        shown = "".join(f", {name}={value!r}" for name, value in guess.options.items())
        built = f'actrec.net("{guess.net}", num_classes={guess.num_classes}, in_channels={guess.in_channels}{shown})'
        return f'net = {built}; actrec.load_weights(net, "{file}")'
    options = {**implied_options(file, guess), **guess.options}
    flags = [*_flags(options), *([f"--frames {frames}"] if frames is not None else [])]
    flags += ["--modality flow"] if guess.in_channels == config.FLOW_CHANNELS else []
    return " ".join([f"actrec train --backbone {guess.net}", *flags, f"--weights {shlex.quote(str(file))} --new-head"])


def _flags(options: Mapping[str, bool | int | float | str | None]) -> list[str]:
    shown = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            shown.append(flag if value else f"--no-{flag[2:]}")
        else:
            shown.append(f"{flag} {value}")
    return shown
