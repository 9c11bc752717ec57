"""`actrec bench`"""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.core import ParameterSource

from actrec import config
from actrec.cli.options import Command, config_options


@click.command(cls=Command)
@click.option("--net", "names", multiple=True, required=True, help="Net to measure; may be given several times.")
@click.option("--list", "list_path", type=click.Path(path_type=Path), help="Feed the net from these videos.")
@click.option(
    "--videos", type=click.IntRange(min=1), default=256, show_default=True, help="Of the list, spread over it."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Of each measurement with --list.",
)
@config_options(config.Clip, config.Loader, without=("batch_size", "modality", "repeats", "balanced", "keep_last"))
@click.option("--size", type=click.IntRange(min=1), help="Height and width of the clips.  [default: each net's own]")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Clips of a step.")
@click.option("--steps", type=click.IntRange(min=1), default=2, show_default=True, help="Steps that a turn counts.")
@click.option("--turns", type=click.IntRange(min=1), default=5, show_default=True, help="Turns; the table has medians.")
@click.option("--temporal-stride/--no-temporal-stride", default=None, help="For nets that have this option.")
@click.option("--only-default", is_flag=True, help="Only the form that training uses by default on this device.")
@click.option("--compile", "compiled", is_flag=True, help="Also the default form through torch.compile.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed as JSON.")
def command(
    names: tuple[str, ...],
    list_path: Path | None,
    videos: int,
    seconds: float,
    clip: config.Clip,
    loader: config.Loader,
    size: int | None,
    batch_size: int,
    steps: int,
    turns: int,
    temporal_stride: bool | None,
    only_default: bool,
    compiled: bool,
    device: str,
    json_path: Path | None,
) -> int:
    """Measure how fast nets train on random clips, or with --list how fast your videos can be fed to a net.

    On random clips every net runs in every form (float32 or bfloat16, contiguous or channels-last) in turn, so that a
    busy machine slows all alike; ratios are medians over the turns. With a list: the loader alone, the net alone, both
    together and the decoding alone, in clips per second, and what limits training.
    """
    from dataclasses import replace

    from actrec.cli.progress import Bar
    from actrec.engine import bench
    from actrec.engine.devices import choose_device

    device = choose_device(device)
    options = {} if temporal_stride is None else {"temporal_stride": temporal_stride}
    if list_path is None:
        _refuse(("videos", "seconds", "stride", "sampling", "rule", "workers", "prefetch"), "goes with --list")
    else:
        _refuse(("steps", "turns", "only_default", "compiled"), "goes without --list")
        if len(names) > 1:
            raise click.UsageError("--list takes one --net")
        return _feeding(
            list_path, names[0], clip, loader, options=options, videos=videos, size=size, batch_size=batch_size,
            seconds=seconds, device=device, json_path=json_path,
        )  # fmt: skip
    frames = clip.frames
    default = bench.default_form(device)
    forms = [default] if only_default else list(bench.FORMS)
    if compiled:
        forms.append(replace(default, compiled=True))
    with Bar("turns", total=turns * len(names) * len(forms)) as bar:
        speeds = bench.training_speeds(
            [(name, form) for name in names for form in forms],
            options=options,
            frames=frames,
            size=size,
            batch_size=batch_size,
            steps=steps,
            turns=turns,
            device=device,
            progress=bar.add,
        )
    rows = []
    for speed in speeds:
        first = next(other for other in speeds if other.net == speed.net)
        same = next(other for other in speeds if other.form == speed.form)
        rows.append(
            {
                "net": speed.net,
                "form": f"{speed.form}{' (default)' if speed.form == default else ''}",
                "clips_per_second": round(speed.median, 3),
                "by_first_form": round(speed.ratio(first), 3),
                "by_first_net": round(speed.ratio(same), 3),
            }
        )
    click.echo(f"{'net':<24} {'form':<34} {'clips/s':>8} {'x ' + str(forms[0]):>22} {'x ' + names[0]:>18}")
    for row in rows:
        click.echo(
            f"{row['net']:<24} {row['form']:<34} {row['clips_per_second']:>8.2f} {row['by_first_form']:>22.2f} "
            f"{row['by_first_net']:>18.2f}"
        )
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _refuse(parameters: tuple[str, ...], why: str) -> None:
    """Raises UsageError for a flag that would be ignored."""
    context = click.get_current_context()
    for parameter in context.command.params:
        if parameter.name in parameters and context.get_parameter_source(parameter.name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def _feeding(
    list_path: Path,
    net: str,
    clip: config.Clip,
    loader: config.Loader,
    *,
    options: dict[str, bool],
    videos: int,
    size: int | None,
    batch_size: int,
    seconds: float,
    device: str,
    json_path: Path | None,
) -> int:
    from dataclasses import asdict

    from actrec.cli.dataset import load_list
    from actrec.cli.progress import Bar
    from actrec.engine.feeding import measure

    found = load_list(list_path, workers=loader.workers)
    usable = [i for i in range(len(found.videos)) if i not in found.index.broken]
    taken = [usable[int(i * len(usable) / videos)] for i in range(videos)] if videos < len(usable) else usable
    taken *= -(-batch_size // len(taken))  # a short list is repeated
    with Bar("stages", total=5) as bar:
        fed = measure(
            [found.videos[i] for i in taken],
            net,
            clip,
            certificates=[found.index.certificate(row)[1] for row in taken],
            options=options,
            batch_size=batch_size,
            size=size,
            workers=loader.workers,
            prefetch=loader.prefetch,
            seconds=seconds,
            device=device,
            progress=bar.add,
        )
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
        limit = f"; it could give at most {fed.loader / busy:.1f} clips/s" if busy > 0.05 else ""
        rows[name] = f"{100 * busy:.0f} % busy with the loader alone{limit}"
    for name, text in rows.items():
        click.echo(f"{name:<16} {text}")
    click.echo(fed.advice)
    if json_path is not None:
        json_path.write_text(json.dumps(asdict(fed) | {"advice": fed.advice}, indent=1) + "\n", encoding="utf-8")
    return 0
