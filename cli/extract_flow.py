"""actrec extract-flow: optical flow of a list's videos."""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.extract_frames import Size
from actrec.cli.options import worker_options
from actrec.cli.progress import Bar
from actrec.data.flow import FOLDER
from actrec.tools.make.extract_flow import FAILED, PRESETS, Extracted, FlowOptions, extract_flow

FLOW = FlowOptions()
PARTS = ("train", "val", "test")


@click.command(name="extract-flow", context_settings={"show_default": True})
@click.argument("lists", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), default=".", help="Dataset folder, whose lists are the default."
)
@click.option("--bound", default=FLOW.bound, help="Pixels of motion that become the darkest and the brightest value.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default=FLOW.preset, help="Quality of the CPU's flow.")
@click.option("--short-side", default=FLOW.short_side, help="Of video files; smaller ones stay as they are.")
@click.option("--upscale", is_flag=True, help="Enlarge smaller videos to the short side, too.")
@click.option("--resize", type=Size(), help="Exact size, instead of --short-side.")
@click.option("--quality", default=FLOW.quality, help="Of the JPEGs, 1 to 100.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="cuda: a GPU's flow hardware."
)
@worker_options
def command(lists, data, bound, preset, short_side, upscale, resize, quality, device, workers):
    """Optical flow of the videos of LISTS (default: train.txt, val.txt and test.txt of --data).

    \b
    Flow of a frame folder: 00001_x.jpg and 00001_y.jpg beside its 00001.jpg.
    Flow of a video file: in flow/<its path>/ beside the list.

    `actrec train --modality flow` takes the same lists. The CPU computes dense inverse search, a GPU its own hardware's
    flow; auto takes the GPU where there is one.

    Interrupted? The same command goes on where it stopped. What fails is in failed_flow.csv, and the exit code is 1.
    """
    try:
        options = FlowOptions(short_side, resize, upscale, quality, bound, preset)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    lists = lists or _lists(data)
    estimate, method = _estimate(device, workers.cluster)
    try:
        with Bar("videos") as bar:
            made = extract_flow(lists, options, estimate=estimate, method=method, workers=workers, progress=bar.to)
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on from here")
        raise SystemExit(130) from None
    click.echo(_summary(made, lists[0].parent))
    if made.failed:
        raise SystemExit(1)


def _lists(data: Path) -> list[Path]:
    from actrec.cli.dataset import find_list

    found = [find_list(data, "train")]
    return found + [
        path for part in PARTS[1:] if (path := found[0].with_name(found[0].name.replace(PARTS[0], part))).exists()
    ]


def _estimate(device: str, cluster: str | None):
    """Who computes flow: a GPU where there is one, None for the CPU; and what the settings call it."""
    if cluster and device == "cuda":
        raise click.UsageError("--device cuda with --cluster: a cluster computes on its processors")
    if device == "cpu" or cluster:
        return None, "dis"
    from actrec.engine.devices import choose_device

    if choose_device(device) == "cpu":
        return None, "dis"
    from actrec.pipelines.dali.optical_flow import HardwareFlow

    try:
        return HardwareFlow(), "nvidia"
    except ValueError as error:
        if device == "cuda":
            raise
        click.echo(f"{error}; the CPU takes over", err=True)
        return None, "dis"


def _summary(made: Extracted, folder: Path) -> str:
    why = f"; why: {folder / FAILED}" if made.failed else ""
    counts = f"{made.pairs:,} pairs, {made.skipped:,} videos done before, {len(made.failed)} failed{why}"
    where = f"beside frames, of video files in {folder / FOLDER}/"
    return f"{made.done + made.skipped:,} videos -> optical flow {where} ({counts})"
