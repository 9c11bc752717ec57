"""`actrec weights inspect` and `actrec weights convert`"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from actrec import config
from actrec.cli.main import Group
from actrec.cli.options import Command, config_options

LAYOUTS = ("auto", "actrec", "ibm", "hara", "torchvision", "torchvision2d", "tsm", "mmaction2")
SUFFIXES = (".safetensors", ".pt", ".pth")


@click.group(cls=Group)
def command() -> None:
    """Tell which net a weights file is of, or convert it to the net's own names."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed as JSON.")
def inspect(file: Path, json_path: Path | None) -> int:
    """Show which nets the weights in FILE fit, the likeliest first, and the command that uses them.

    Exit code 1 if they fit none.
    """
    from actrec.nets.recognize import recognize

    found = recognize(file)
    if json_path is not None:
        json_path.write_text(json.dumps(dataclasses.asdict(found)) + "\n", encoding="utf-8")
    values = f"{found.num_values / 1e6:.1f} M values"
    click.echo(f"{file}: {found.num_tensors} tensors, {values}, {', '.join(found.dtypes) or 'whole numbers'}")
    if not found.guesses:
        raise ValueError(_misfit(file, found.nearest))
    for guess in found.guesses:
        click.echo(f"fits {_shown(guess)}")
    best = found.guesses[0]
    click.echo(_frames(found.frames, best.net))
    click.echo(_use(file, best, found.frames))
    return 0


@command.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--backbone", help="Name of the net.  [default: the likeliest]")
@click.option("--layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="How FILE names them.")
@click.option("--classes", type=click.IntRange(min=1), help="Refuse a FILE of another number of classes.")
@config_options(config.Net, without=("backbone",))
def convert(file: Path, out: Path, backbone: str | None, layout: str, classes: int | None, net: config.Net) -> int:
    """Write the weights in FILE to OUT under the net's own names: .safetensors, .pt or .pth.

    The options need --backbone; without any, those that shape the weights are found.
    """
    from actrec import nets
    from actrec.nets.recognize import recognize
    from actrec.nets.weights import load_weights

    options = net.options
    if options and backbone is None:
        raise click.UsageError(f"{', '.join(_flags(options))} without --backbone: a net's options need its name")
    _check_destination(out)
    found = recognize(file, backbone, **options)
    if not found.guesses:
        raise ValueError(_misfit(file, found.nearest, backbone))
    fitting = [guess for guess in found.guesses if layout in ("auto", guess.layout)]
    best = next(iter(fitting or found.guesses))
    if classes not in (None, best.num_classes):
        raise ValueError(f"{file} has {best.num_classes} classes, not {classes}: leave out --classes, or name its own")
    if backbone is None:
        click.echo(f"taken for {_shown(best)}; --backbone names another")
    converted = nets.net(
        best.net, num_classes=best.num_classes, in_channels=best.in_channels, **{**best.options, **options}
    )
    account = load_weights(converted, file, layout=layout)
    _write(out, converted.state_dict())
    click.echo(f"{account} -> {out}")
    return 0


def _check_destination(out: Path) -> None:
    if out.suffix not in SUFFIXES:
        raise ValueError(f"{out}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out}: there is no folder {out.parent}")


def _write(out: Path, weights: Mapping) -> None:
    import safetensors.torch
    import torch

    from actrec.files import atomic_write

    try:
        with atomic_write(out, "wb") as file:
            if out.suffix == ".safetensors":
                file.write(safetensors.torch.save(dict(weights)))
            else:
                torch.save({"state_dict": dict(weights)}, file)
    except OSError as error:  # its name is that of a temporary file
        raise OSError(f"{out}: cannot be written: {error.strerror or error}") from None


def _misfit(file: Path, nearest: str | None, backbone: str | None = None) -> str:
    fits = "fits no net here" if backbone is None else f"does not fit net {backbone!r}"
    return f"{file} {fits}{f'; nearest: {nearest}' if nearest else ': its names are others'}"


def _shown(guess) -> str:
    """`s3d (read as ibm, temporal_pool=avg): 400 classes, 3 channels`"""
    read = ", ".join([f"read as {guess.layout}", *(f"{name}={value}" for name, value in guess.options.items())])
    return f"{guess.net} ({read}): {guess.num_classes} classes, {guess.in_channels} channels"


def _frames(by_name: int | None, net: str) -> str:
    from actrec.nets import NETS

    if by_name is not None:
        return f"frames: {by_name}, by the file's name"
    return f"frames: {NETS.get(net).input.frames}, the net's own; neither the file nor its name tells"


def _use(file: Path, guess, frames: int | None) -> str:
    """What uses the file: the command line trains on RGB and on stacks of optical flow."""
    if guess.in_channels not in (3, config.FLOW_CHANNELS):
        options = "".join(f", {name}={value!r}" for name, value in guess.options.items())
        built = f'actrec.net("{guess.net}", num_classes={guess.num_classes}, in_channels={guess.in_channels}{options})'
        return f'net = {built}; actrec.load_weights(net, "{file}")'
    options = {**_untold(file, guess), **guess.options}
    flags = [*_flags(options), *([f"--frames {frames}"] if frames is not None else [])]
    flags += ["--modality flow"] if guess.in_channels == config.FLOW_CHANNELS else []
    return " ".join([f"actrec train --backbone {guess.net}", *flags, f"--weights {shlex.quote(str(file))} --new-head"])


def _untold(file: Path, guess) -> dict[str, bool]:
    """Options that change no weight, as the owners of published files have them."""
    from actrec.nets import NETS

    strided = NETS.get(guess.net).options.get("temporal_stride", False)
    without = guess.layout in ("tsm", "mmaction2") or (guess.layout == "ibm" and "-ts" not in file.name)
    return {"temporal_stride": False} if strided and without else {}


def _flags(options: Mapping[str, bool | int | float | str]) -> list[str]:
    shown = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            shown.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            shown.append(f"--{flag} {value}")
    return shown
