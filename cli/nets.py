"""`actrec nets`"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli.completion import net_names
from actrec.cli.ending import finish, json_option
from actrec.cli.options import Command, config_options, flags_of_net, meaning_in_net
from actrec.registry import did_you_mean
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.config import Input
    from actrec.known_nets import Details

_OF_TRAINING = ("backbone", "dropout", "drop_path", "checkpointing", "eps_of")  # they change neither cost nor shapes


@click.command(
    cls=Command,
    examples=[
        "actrec nets",
        "actrec nets s3d",
        "actrec nets videomae_b --frames 32 --size 112 --depth 6",
    ],
)
@click.argument("name", required=False, shell_complete=net_names)
@click.option(
    "--benchmark",
    is_flag=True,
    help="Show the published trainings on mini datasets (arXiv:2010.11757), of all nets or of NAME.",
)
@click.option("--markdown", is_flag=True, help="Print the page docs/nets.md.")
@config_options(config.Clip, only=("frames",), heading="Clips and options of NAME")
@config_options(config.Frame, only=("size",), heading="Clips and options of NAME")
@config_options(config.Net, without=_OF_TRAINING, heading="Clips and options of NAME")
@json_option
def command(
    name: str | None,
    benchmark: bool,
    markdown: bool,
    json_path: Path | None,
    clip: config.Clip,
    frame: config.Frame,
    net: config.Net,
) -> int:
    """List the nets by family, or show one: cost, input, options, weights, published accuracies.

    With --frames, --size or options of the net, the command shows the cost of this form of the net.
    """
    given = {"frames": clip.frames, "size": frame.size, **net.options}
    flags = flags_of_net({option: value for option, value in given.items() if value is not None})
    if flags and (benchmark or markdown or not name):
        raise click.UsageError(f"{', '.join(flags)}: expected with NAME, and without --benchmark and --markdown")
    if markdown:
        if name or benchmark or json_path:
            raise click.UsageError("--markdown with other arguments: expected none, it prints the page of all nets")
        from actrec.nets import page

        click.echo(page.markdown(), nl=False)
        return 0
    lines, result = _benchmark(name) if benchmark else _net(name, given) if name else _families()
    return finish(*lines, json_path=json_path, result=result)


def _families() -> tuple[list[str], list[dict[str, Any]]]:
    from actrec.known_nets import known_nets

    families = known_nets().families
    width = max(len(family.label) for family in families)
    lines = []
    for family in families:
        lines.append(
            f"{family.label:<{width}}  {family.input.frames:>2} x {_size(family.input)}  "
            f"{family.paper}  weights: {', '.join(family.weights)}"
        )
    return lines, [
        {
            "names": family.names,
            "paper": family.paper,
            "input": asdict(family.input),
            "weights": family.weights,
        }
        for family in families
    ]


def _net(name: str, given: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    from actrec.known_nets import accuracy

    net = _details(name, given)
    own = net.input
    lines = [f"{net.name}  {net.paper}"]
    lines.append(f"cost: {net.params / 1e6:.2f} M parameters, {net.flops / 1e9:.2f} GFLOPs (multiply-adds)")
    normalized = f"mean {_numbers(own.mean)}, std {_numbers(own.std)}"
    lines.append(f"input: {counted(own.frames, 'frame')} of {_size(own)}, {normalized}")
    lines.append(f"takes: {_clips(net)}")
    lines.append(f"learning rate: {config.Optim().settled(net.lr).lr:g} by default, with AdamW")
    lines.append(f"weights: {', '.join(net.weights)}")
    lines.append(f"layers: {', '.join(net.layers)}")
    options = {name: value for name, value in net.options.items() if name not in ("num_classes", "in_channels")}
    if options:
        lines.append("options, with their defaults:")
        flags, meanings = flags_of_net(options), [meaning_in_net(option) for option in options]
        width = max(map(len, flags))
        lines += [f"  {flag:<{width}}  {meaning}".rstrip() for flag, meaning in zip(flags, meanings)]
    if net.published:
        lines.append("published:")
    for published in net.published:
        protocol = f", protocol {published.protocol}" if published.protocol else ""
        lines.append(f"  {accuracy(published)}{protocol}")
    return lines, asdict(net)


def _details(name: str, given: Mapping[str, Any]) -> Details:
    """Details of one of actrec's own nets from the stored table, or of another net, which is measured.

    Args:
        given: its options, and `frames` and `size` of the clips; None if not given. With any, it is measured, too.
    """
    from actrec.known_nets import known_nets

    known = known_nets().nets
    options = {option: value for option, value in given.items() if value is not None}
    if name in known and not options:
        return known[name]
    if (
        name not in known and ":" not in name and "actrec.nets" not in sys.modules
    ):  # no program has registered other nets
        raise ValueError(f"unknown net {name!r}{did_you_mean(name, known)}")
    from actrec import nets
    from actrec.nets import catalog

    frames, size = options.pop("frames", None), options.pop("size", None)
    options |= nets.clip_options(name, frames=frames, size=size)
    return catalog.describe(nets.outline(name, **options), frames=frames, size=size)


def _size(own: Input) -> str:
    return "x".join(map(str, own.shape))


def _clips(net: Details) -> str:
    """Which clips the net accepts."""
    size = f"{net.min_size}x{net.min_size} pixels"
    if net.exact:
        others = "; any clips with --global-pooling" if "global_pooling" in net.options else ""
        return f"only clips of {counted(net.min_frames, 'frame')} of {size}{others}"
    multiple = f", a multiple of {net.frames_multiple}" if net.frames_multiple > 1 else ""
    return f"clips from {counted(net.min_frames, 'frame')}{multiple}, from {size}"


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _benchmark(name: str | None) -> tuple[list[str], list[dict[str, Any]]]:
    from actrec.known_nets import known_nets

    rows = known_nets().mini_benchmark
    if name is not None:
        _details(name, {})
        having = sorted({row["net"] for row in rows})
        rows = [row for row in rows if row["net"] == name]
        if not rows:
            raise ValueError(f"nothing of net {name!r} in the mini benchmark: expected one of {', '.join(having)}")
    lines = [f"{'dataset':<16} {'net':<16} frames stride  top-1  top-5   GFLOPs  M params"]
    for row in rows:
        options = dict(row["options"])
        stride = "yes" if options.pop("temporal_stride") else "no"
        others = "".join(f"  {option}={value}" for option, value in options.items())
        lines.append(
            f"{row['dataset']:<16} {row['net']:<16} {row['frames']:>6} {stride:>6} {row['top1']:>6.2f} "
            f"{row['top5']:>6.2f} {row['flops'] / 1e9:>8.2f} {row['params'] / 1e6:>9.2f}{others}"
        )
    return lines, rows
