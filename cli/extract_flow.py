"""`actrec extract-flow`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import finish, name_first, note, resumable
from actrec.cli.options import (
    FILE,
    Command,
    config_options,
    data_option,
    limit_options,
    storage_options,
    worker_options,
)
from actrec.config import FlowOptions, Run
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.tools.make.jobs import Workers


@click.command(
    name="extract-flow",
    cls=Command,
    examples=[
        "actrec extract-flow",
        "actrec extract-flow train.txt val.txt --preset fast",
    ],
)
@click.argument("lists", nargs=-1, type=FILE)
@data_option
@config_options(FlowOptions)
@config_options(Run, only=("device",))
@worker_options
@limit_options
@storage_options
def command(lists: tuple[Path, ...], data: Path, flowoptions: FlowOptions, run: Run, workers: Workers) -> int:
    """Compute the optical flow of the videos of LISTS (default: train.txt, val.txt and test.txt of --data).

    The flow of a frame folder is stored in it, as 00001_x.jpg and 00001_y.jpg next to 00001.jpg. The flow of a video
    file is stored in flow/<its path>/ next to the list.

    `actrec train --modality flow` takes the same lists. The CPU computes the flow by dense inverse search, and
    a GPU with its optical flow hardware.

    If you interrupt the command, run it again to continue. Videos that fail are listed in failed_flow.csv, and the exit
    code is 1.
    """
    from actrec.cli.progress import Bar
    from actrec.data.flow import FOLDER
    from actrec.engine.datafolder import part_lists
    from actrec.engine.devices import choose_flow
    from actrec.tools.make.extract_flow import FAILED, extract_flow

    if workers.cluster and run.device == "cuda":
        raise click.UsageError("--device cuda together with --cluster: expected one of them; a cluster uses its CPUs")
    chosen = list(lists) or part_lists(data)
    with resumable(), Bar("videos") as bar:
        estimate, method = choose_flow("cpu" if workers.cluster else run.device, log=note)
        made = extract_flow(chosen, flowoptions, estimate=estimate, method=method, workers=workers, progress=bar.to)
    if made.missing:
        images, folders = counted(sum(made.missing.values()), "image"), counted(len(made.missing), "frame folder")
        note(
            f"missing: {images} in {folders}, judging by their numbers; the first: {next(iter(made.missing))}. Flow "
            "is computed from each image to the next existing one."
        )
    folder = chosen[0].parent
    why = f"; why: {folder / FAILED}" if made.failed else ""
    counts = (
        f"{counted(made.pairs, 'pair')}, {counted(made.skipped, 'video')} done before, {len(made.failed)} failed{why}"
    )
    where = f"beside frames, of video files in {folder / FOLDER}/"
    name_first(made.failed)
    return finish(
        f"{counted(made.done + made.skipped, 'video')} -> optical flow {where} ({counts})", failed=bool(made.failed)
    )
