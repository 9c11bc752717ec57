"""`actrec bench`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from actrec import config
from actrec.cli.completion import net_names
from actrec.cli.ending import finish, json_option, note
from actrec.cli.options import FILE, Command, config_options, limit_options, storage_options

if TYPE_CHECKING:
    from actrec.engine.feeding import Feeding


@click.command(
    cls=Command,
    examples=[
        "actrec bench --net tiny3d --net s3d",
        "actrec bench --net tiny3d --list train.txt",
    ],
)
@click.option("--net", "names", multiple=True, required=True, shell_complete=net_names,
              help="Net to measure. Repeatable.")  # fmt: skip
@click.option("--list", "list_path", type=FILE, help="Feed the net with the videos of this list.")
@click.option("--only-default", is_flag=True, help="Only measure the form that training uses by default here.")
@click.option("--compile", "compiled", is_flag=True, help="Also measure the default form with torch.compile.")
@json_option
@config_options(config.Bench)
@config_options(config.Clip, without=("modality",))
@config_options(config.Frame, only=("size",))
@config_options(config.Loader, only=("workers", "prefetch"), heading="Run")
@config_options(config.Net, only=("temporal_stride",))
@config_options(config.Run, only=("device",))
@limit_options
@storage_options
def command(
    names: tuple[str, ...],
    list_path: Path | None,
    only_default: bool,
    compiled: bool,
    json_path: Path | None,
    bench: config.Bench,
    clip: config.Clip,
    frame: config.Frame,
    loader: config.Loader,
    net: config.Net,
    run: config.Run,
) -> int:
    """Measure how fast nets train on random clips, or with --list how fast your videos can be fed to a net.

    Without --list, every net trains in every form (float32 or bfloat16, contiguous or channels-last). They take turns,
    so that other load on the machine affects all of them alike. Ratios are medians over the turns.

    With --list, the command measures the loader alone, the net alone, both together and decoding alone, in clips per
    second. It then says what limits training.
    """
    from actrec.cli.progress import Bar, watched
    from actrec.engine import bench as engine
    from actrec.engine import datafolder, feeding
    from actrec.engine.devices import choose_device

    device = choose_device(run.device)
    options = net.options
    if list_path is not None:
        _refuse(("steps", "turns", "only_default", "compiled"), "with --list: it applies to random clips only")
        if len(names) > 1:
            raise click.UsageError(f"--net {' --net '.join(names)} with --list: expected one net")
        found = datafolder.load_list(
            list_path,
            workers=loader.workers,
            modality="rgb",
            watch=watched,
            log=note,
        )
        rows = feeding.spread(found.index, bench.videos, bench.batch_size)
        with Bar("stages", total=5) as bar:
            fed = feeding.measure(
                [found.videos[row] for row in rows],
                names[0],
                clip,
                certificates=[found.index.certificate(row)[1] for row in rows],
                options=options,
                batch_size=bench.batch_size,
                size=frame.size,
                workers=loader.workers,
                prefetch=loader.prefetch,
                seconds=bench.seconds,
                device=device,
                progress=bar.add,
            )
        return finish(*_fed_lines(fed), json_path=json_path, result=asdict(fed) | {"advice": fed.advice})
    _refuse(("videos", "seconds", "stride", "sampling", "rule", "workers", "prefetch"), "without --list")
    forms = engine.forms(device, only_default=only_default, compiled=compiled)
    with Bar("turns", total=bench.turns * len(names) * len(forms)) as bar:
        speeds = engine.training_speeds(
            [(name, form) for name in names for form in forms],
            options=options,
            frames=clip.frames,
            size=frame.size,
            batch_size=bench.batch_size,
            steps=bench.steps,
            turns=bench.turns,
            device=device,
            progress=bar.add,
        )
    table = engine.table(speeds, device)
    return finish(
        f"{'net':<24} {'form':<34} {'clips/s':>8} {'x ' + str(forms[0]):>22} {'x ' + names[0]:>18}",
        *(
            f"{row['net']:<24} {row['form']:<34} {row['clips_per_second']:>8.2f} {row['by_first_form']:>22.2f} "
            f"{row['by_first_net']:>18.2f}"
            for row in table
        ),
        json_path=json_path,
        result=table,
    )


def _refuse(parameters: tuple[str, ...], why: str) -> None:
    """Raises UsageError for a flag that would have no effect."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
        if given and getattr(parameter, "field", parameter.name) in parameters:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def _fed_lines(fed: Feeding) -> list[str]:
    rows = {
        "loader alone": f"{fed.loader:.1f} clips/s",
        "net alone": f"{fed.net:.1f} clips/s",
        "both together": f"{fed.both:.1f} clips/s, waiting for the loader {100 * fed.waiting:.0f} % of the time",
    }
    if fed.decoding is not None:
        share = 100 * fed.loader / fed.decoding
        rows["decoding alone"] = f"{fed.decoding:.1f} clips/s; the loader reaches {share:.0f} % of it"
    if fed.decoded_per_clip is not None:
        rows["decoded frames"] = f"{fed.decoded_per_clip:.1f} per clip, {fed.decoded_per_frame:.1f} per delivered frame"
    if fed.encoded_per_clip is not None:
        rows["encoded bytes"] = f"{fed.encoded_per_clip / 1e6:.2f} MB per clip, decoded by DALI"
    if fed.gop is not None:
        rows["keyframes"] = f"{fed.gop:.0f} frames apart; {fed.from_start} of {fed.files} files decode from the start"
    elif fed.from_start:
        rows["keyframes"] = f"{fed.from_start} of {fed.files} files decode from the start"
    for name, busy in fed.engines.items():
        limit = f"; its limit is {fed.loader / busy:.1f} clips/s" if busy > 0.05 else ""
        rows[name] = f"{100 * busy:.0f} % busy with the loader alone{limit}"
    return [*(f"{name:<16} {text}" for name, text in rows.items()), fed.advice]
