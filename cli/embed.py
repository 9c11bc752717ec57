"""`actrec embed`"""

from __future__ import annotations

import functools
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli.ending import (
    OutputFile,
    finish,
    json_option,
    name_missing,
    note,
    refuse_overlap,
    refuse_videos,
    resumable,
)
from actrec.cli.model import ModelChoice, model_options
from actrec.cli.options import Command, InputPath, NamedPath, cluster_option, config_changes, config_options
from actrec.words import counted

if TYPE_CHECKING:
    import numpy as np

    from actrec.inference.embed import Part, Task
    from actrec.inference.embeddings import Embeddings

_VIDEOS_OF_A_JOB = 8


@click.command(
    cls=Command,
    examples=[
        "actrec embed train.txt --out train.npz",
        "actrec embed videos/ --every 0.64 --layout opentad --out features/",
    ],
)
@click.argument("inputs", nargs=-1, required=True, type=InputPath(), metavar="LIST...")
@click.option("--out", required=True, type=NamedPath(),
              help="File for the features: .npz, .npy or .safetensors.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that contains other features.")
@config_changes(
    config.Windows,
    {"every": "no windows", "window": "with --every: 2, or as long as a dense clip"},
    common=True,
)
@config_options(config.Embedding)
@cluster_option
@json_option
@model_options
def command(
    inputs: tuple[Path | str, ...],
    out: Path,
    force: bool,
    windows_changes: dict[str, Any],
    embedding: config.Embedding,
    cluster: str | None,
    json_path: Path | None,
    choice: ModelChoice,
) -> int:
    """Compute features of videos.

    LIST is a list, a video, a folder or tar archive of videos, or a frame folder. Videos and archives can be URLs. The
    feature vector of a video is the input of the net's last layer, averaged over the views. With --every, each window
    of a video has its own feature vector.

    If you interrupt the command, run it again to continue.
    """
    from actrec.cli.progress import Bar
    from actrec.engine import dist
    from actrec.inference import embed, embeddings
    from actrec.inference.inputs import classes_of, find_inputs

    windows = _windows(windows_changes, embedding)
    _check_out(out, embedding)
    refuse_overlap({"the checkpoint": choice.path}, {"--out": out, "the file of ids": embeddings.beside(out)})
    work = None
    if cluster is not None:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            raise click.UsageError("--cluster in processes of torchrun: expected only one of them")
        work = functools.partial(_on_cluster, cluster, choice)
        choice = replace(choice, others=choice.others | {"device": "cpu"})  # the workers have devices of their own
    context = click.get_current_context()
    context.with_resource(dist.joined(choice.device))
    model = choice.load()
    task = embed.Task(find_inputs(inputs, labels=True), embedding.layer or model.feature_layer, windows)
    refuse_videos(task.videos)
    classes = classes_of(inputs)
    origin = embed.made_from(model, task, list(map(str, inputs)), embedding.dtype)
    if not force and embedding.layout is None:
        dist.by_first(lambda: embeddings.refuse_other(out, origin))
    parts = embeddings.parts_folder(out)
    dist.by_first(lambda: context.with_resource(embed.held(parts)))
    with resumable(), Bar("windows" if windows else "videos") as bar:
        found = embed.embed(model, task, folder=parts, progress=bar.to, work=work)
    if found is None:  # the first process writes
        return 0
    lines = _save(out, replace(found, classes=classes), embedding, windows, model.clip, origin)
    shutil.rmtree(parts, ignore_errors=True)
    for line in model.notices():
        note(line)
    lines += name_missing("not embedded", found.missing, len(task.videos), inputs)
    num_videos, channels = len(set(found.ids)), found.features.shape[1]
    what = (
        f"{counted(len(found), 'window')} of {counted(num_videos, 'video')}"
        if windows
        else counted(len(found), "video")
    )
    return finish(
        *lines,
        f"{what}, {channels} features each",
        json_path=json_path,
        result={
            "model": str(choice.path),
            "layer": embed.find_layer(model.net, embedding.layer)[0],
            "windows": asdict(windows) if windows else None,
            "out": str(out),
            "rows": len(found),
            "videos": num_videos,
            "features": channels,
            "missing": found.missing,
        },
        failed=bool(found.missing),
    )


def _save(
    out: Path,
    found: Embeddings,
    options: config.Embedding,
    windows: config.Windows | None,
    clip: config.Clip,
    origin: dict[str, Any],
) -> list[str]:
    """Writes the features. Returns the lines that say so."""
    from actrec.inference import embeddings

    if options.layout is None:
        return [f"wrote {path}" for path in embeddings.save(out, found, dtype=options.dtype, made_from=origin)]
    assert windows is not None
    described = embeddings.save_layout(out, found, options.layout, windows, clip, dtype=options.dtype)
    lines = [f"wrote {out / '*.npy'} and {out / embeddings.FEATURES_JSON}"]
    if not described["same_fps"]:
        lines.append("the videos have different numbers of frames per second: see `videos` in the JSON file")
    return lines


def _windows(changes: dict[str, Any], embedding: config.Embedding) -> config.Windows | None:
    """Raises UsageError for an option that needs --every."""
    needed_by = "--window" if "window" in changes else "--layout" if embedding.layout is not None else None
    if "every" not in changes and needed_by is not None:
        raise click.UsageError(f"{needed_by} without --every: expected the seconds from one window to the next")
    return config.Windows(**changes) if changes else None


def _check_out(out: Path, embedding: config.Embedding) -> None:
    """Raises UsageError if the result cannot be written there."""
    from actrec.inference.embeddings import SUFFIXES

    if embedding.layout is None:
        context = click.get_current_context()
        (param,) = (param for param in context.command.params if param.name == "out")
        OutputFile(SUFFIXES).convert(out, param, context)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise click.UsageError(f"--out {out}: exists already; with --layout expected the name of a new folder")
    elif not out.absolute().parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no folder {out.parent}")


def _on_cluster(
    address: str,
    choice: ModelChoice,
    task: Task,
    before: Sequence[np.ndarray],
    missing: dict[str, str],
    receive: Callable[[Part], None],
) -> None:
    """Embeds on the workers of a Dask scheduler, which must see the same files under the same paths."""
    from actrec.data import storage
    from actrec.inference.embed import embed_job, remaining
    from actrec.tools.make.jobs import Workers, each

    path, options = choice.arguments
    absolute = {k: Path(os.path.abspath(v)) if isinstance(v, Path) else v for k, v in options.items()}
    model = pickle.dumps((Path(os.path.abspath(path)), absolute))
    rows = remaining(task, before)
    size = _VIDEOS_OF_A_JOB if task.windows is None else 1
    jobs = []
    for group in (rows[i : i + size] for i in range(0, len(rows), size)):
        videos = [task.videos[row] for row in group]
        of_group = replace(task, videos=[video._replace(path=storage.absolute(video.path)) for video in videos])
        jobs.append((model, group, of_group))

    def take(job: tuple, result: Any, reason: str | None) -> None:
        if reason is not None:
            missing.update({video.id: reason for video in job[2].videos})
            return
        parts, reasons = result
        missing.update(reasons)
        for part in parts:
            receive(part)

    each(embed_job, jobs, take, Workers(cluster=address))
