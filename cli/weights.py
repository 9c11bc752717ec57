"""`actrec weights inspect` and `actrec weights convert`"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli.completion import net_names
from actrec.cli.ending import OutputFile, finish, json_option
from actrec.cli.main import Group
from actrec.cli.options import FILE, Command, config_options, flags_of_net
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.nets.recognize import Guess, Recognized, TrainedWith


@click.group(
    cls=Group,
    examples=["actrec weights inspect s3d.pt", "actrec weights convert s3d.pt s3d.safetensors"],
)
def command() -> None:
    """Tell which net the weights in a file belong to, or convert them to the net's own names."""


@command.command(
    cls=Command,
    short_help="Identify a weights file.",
    examples=["actrec weights inspect s3d.pt", "actrec weights inspect own.pt --backbone mypackage.nets:small"],
)
@click.argument("file", type=FILE)
@click.option("--backbone", shell_complete=net_names,
              help="Compare only with this net. A net of your own (package.module:function) needs it.")  # fmt: skip
@config_options(config.WeightsOptions, only=("entry",))
@json_option
def inspect(file: Path, backbone: str | None, weightsoptions: config.WeightsOptions, json_path: Path | None) -> int:
    """Show which nets the weights in FILE fit, the most likely first, and the command that uses them.

    The exit code is 1 if they fit none.
    """
    from actrec.nets import NETS
    from actrec.nets.recognize import recognize
    from actrec.nets.weights_file import entry_note

    found = recognize(file, backbone, entry=weightsoptions.entry)
    million = found.num_values / 1e6
    values = f"{million:.1f} M values" if million >= 0.1 else counted(found.num_values, "value")
    lines = [f"{file}: {counted(found.num_tensors, 'tensor')}, {values}, {', '.join(found.dtypes) or 'whole numbers'}"]
    lines += filter(None, [entry_note(file, found.entry, found.others)])
    if found.guesses:
        best = found.guesses[0]
        lines += [f"fits {_shown(guess)}" for guess in found.guesses]
        if found.trained_with is None and (unshown := NETS.get(best.net).unshown):
            lines.append(f"not visible in the file: {unshown}")
        lines += [_clips(found, best), _use(file, best, found.frames, found.trained_with)]
        if found.trained_with is not None:
            lines.append("for other classes, add --new-head")
        lines += _published(file, best)
    code = finish(*lines, json_path=json_path, result=asdict(found))
    if not found.guesses:
        raise ValueError(_misfit(file, found.nearest, backbone))
    return code


@command.command(
    cls=Command,
    short_help="Rewrite a weights file under a net's own names.",
    examples=[
        "actrec weights convert s3d.pt s3d.safetensors",
        "actrec weights convert hara.pth own.pt --backbone resnet3d_50 --classes 400",
    ],
)
@click.argument("file", type=FILE)
@click.argument("out", type=OutputFile((".safetensors", ".pt", ".pth")))
@click.option("--backbone", shell_complete=net_names, help="Name of the net.  [default: the most likely one]")
@click.option(
    "--classes", type=click.IntRange(min=1), help="Expected number of classes; a FILE with another number is refused."
)
@config_options(config.WeightsOptions)
@config_options(config.Clip, only=("frames",), heading="Net", unset="found in FILE")
@config_options(config.Frame, only=("size",), heading="Net", unset="found in FILE")
@config_options(config.Net, without=("backbone",), unset="found in FILE")
def convert(
    file: Path,
    out: Path,
    backbone: str | None,
    classes: int | None,
    weightsoptions: config.WeightsOptions,
    clip: config.Clip,
    frame: config.Frame,
    net: config.Net,
) -> int:
    """Write the weights in FILE to OUT under the net's own names: .safetensors, .pt or .pth.

    Options of the net need --backbone. Without such options, the command finds those that change the shapes of the
    weights. --frames and --size are options of nets that are built for clips of one size.
    """
    from actrec.nets.convert import convert, save_weights
    from actrec.nets.recognize import recognize

    given = {"frames": clip.frames, "size": frame.size, **net.options}
    options = {name: value for name, value in given.items() if value is not None}
    if options and backbone is None:
        raise click.UsageError(f"{', '.join(flags_of_net(options))} without --backbone: a net's options need its name")
    found = recognize(file, backbone, entry=weightsoptions.entry, **options)
    if not found.guesses:
        raise ValueError(_misfit(file, found.nearest, backbone))
    fitting = [guess for guess in found.guesses if weightsoptions.layout in ("auto", guess.layout)]
    best = next(iter(fitting or found.guesses))
    if classes not in (None, best.num_classes):
        raise ValueError(f"{file} has {_classes(best)}: expected {classes}, as --classes says")
    lines = [f"recognized as {_shown(best)}; pass --backbone for another net"] if backbone is None else []
    weights = convert(file, best, weightsoptions.layout, options, entry=weightsoptions.entry)
    save_weights(out, weights)
    return finish(*lines, f"{weights.account} -> {out}")


def _published(file: Path, guess: Guess) -> list[str]:
    """The accuracies that were published for a file with this name, with the commands that measure them."""
    from actrec.report.reproduce import published_file

    lines = []
    for each in published_file(file, guess.net, guess.num_classes):
        command = each.command.replace(each.published.file, shlex.quote(str(file)))
        lines += [f"published: {each.published.dataset} {each.accuracy}; this command measures it:", command]
    return lines


def _misfit(file: Path, nearest: str | None, backbone: str | None = None) -> str:
    fits = "fits no net here" if backbone is None else f"does not fit net {backbone!r}"
    return f"{file} {fits}{f'; nearest: {nearest}' if nearest else ', and none has similar names'}"


def _shown(guess: Guess) -> str:
    """`s3d (read as ibm, temporal_pool=avg): 400 classes, 3 channels`"""
    read = ", ".join([f"read as {guess.layout}", *(f"{name}={value}" for name, value in guess.options.items())])
    removed = f", without the prefix {guess.prefix} of all names" if guess.prefix else ""
    channels = f"no {guess.without}" if guess.without is not None else counted(guess.in_channels, "channel")
    return f"{guess.net} ({read}): {_classes(guess)}, {channels}{removed}"


def _classes(guess: Guess) -> str:
    return counted(guess.num_classes, "class") if guess.num_classes is not None else "no last layer"


def _clips(found: Recognized, guess: Guess) -> str:
    """The length of the clips, and their size if the net is built for clips of one size, and where they come from."""
    from actrec.nets import NETS

    entry, shown = NETS.get(guess.net), guess.shown
    if (trained := found.trained_with) is not None:
        return f"frames: {trained.frames}{_of_pixels(trained.size)}, according to the checkpoint"
    if "frames" in shown:
        return f"frames: {shown['frames']}{_of_pixels(shown.get('size'))}, according to the shapes"
    if found.frames is not None:
        return f"frames: {found.frames}, according to the file name"
    own, sized = entry.input, "size" in entry.options
    default = f"{own.frames}{_of_pixels(own.size)}, the net's defaults" if sized else f"{own.frames}, the net's default"
    return f"frames: {default}; neither the file nor its name contains {'these numbers' if sized else 'the number'}"


def _of_pixels(size: Any) -> str:
    """` of 224x224 pixels`; empty if the size (height, or height and width) is not known."""
    height, width = size if isinstance(size, tuple) else (size, size)
    return f" of {height}x{width} pixels" if size is not None else ""


def _use(file: Path, guess: Guess, frames: int | None, trained: TrainedWith | None = None) -> str:
    """The command that uses the file, or Python code for other inputs than RGB and optical flow and for a file that is
    of use only together with another one.

    Args:
        frames: Of a clip, according to the file's name.
        trained: The input in a checkpoint of actrec. It continues with its own classes.
    """
    from actrec.nets.recognize import implied_options

    if guess.in_channels not in (3, config.FLOW_CHANNELS) or guess.without is not None:
        shown = "".join(f", {name}={value!r}" for name, value in guess.options.items())
        num_classes = "" if guess.num_classes is None else f"num_classes={guess.num_classes}, "
        built = f'actrec.net("{guess.net}", {num_classes}in_channels={guess.in_channels}{shown})'
        own_head = ", new_head=True" if guess.num_classes is None else ""
        other = f'actrec.load_weights(net, "{guess.without}.pt", new_head=True); ' if guess.without is not None else ""
        return f'net = {built}; {other}actrec.load_weights(net, "{file}"{own_head})'
    options = {**implied_options(file, guess), **guess.options}
    unneeded = ("eps_of",) if trained is None else ("eps_of", "frames", "size")  # loading the file sets `eps_of`
    options = {name: value for name, value in options.items() if name not in unneeded}
    flags = flags_of_net(options)
    if trained is not None:
        flags += [f"--frames {trained.frames}", f"--size {trained.size}"]
    elif frames is not None and "frames" not in options:
        flags.append(f"--frames {frames}")
    flags += ["--modality flow"] if guess.in_channels == config.FLOW_CHANNELS else []
    new_head = ["--new-head"] if trained is None else []
    start = f"actrec train --backbone {guess.net}"
    return " ".join([start, *flags, f"--weights {shlex.quote(str(file))}", *new_head])
