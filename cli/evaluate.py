"""`actrec evaluate`"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option, refuse_overlap
from actrec.cli.options import FILE, FOLDER, Command, config_changes, config_options, data_option, flag_of
from actrec.cli.runs import run_folder

_SHOWN = 10  # missing videos that are listed


@click.command(cls=Command)
@data_option
@click.option("--list", "list_path", type=FILE, help="List to score.  [default: DATA/val.txt]")
@click.option("--run", "run_dir", type=FOLDER, help="Run: a folder, or a name in DATA/runs.  [default: the newest]")
@click.option("--checkpoint", type=FILE, help="Checkpoint to score.  [default: best.pt of the run]")
@click.option("--weights", type=FILE, help="Score these weights of --backbone, without a run.")
@click.option("--out", type=OutputFile(make_folder=True),
              help="File for the scores.  [default: RUN/scores/<list>_<clips>x<crops>.npz]")  # fmt: skip
@click.option("--reference-files", is_flag=True, help="Also write IBM's files: <name>_details.npy and <name>.csv.")
@click.option("--topk-json", type=OutputFile(), help="Also write Hara's result file: the best classes of each video.")
@click.option("--topk", type=click.IntRange(0), default=5, show_default=True,
              help="Number of classes of a video in that file; 0: all.")  # fmt: skip
@json_option
@config_options(config.Scoring)
@config_options(config.Views, without=("crop_ratio",))
@config_changes(config.Views, "crop_ratio", default=f"as in validation; {config.Views.crop_ratio} with --weights")
@config_changes(config.Clip, "frames", "stride", "sampling", "rule", "modality", default="as trained")
@config_options(config.Frame)
@config_options(config.Loader, only=("workers", "prefetch"))
@config_options(config.Net)
@config_changes(config.Loss, "multi_label", default="as trained")
@config_options(config.Run, only=("device",))
def command(
    data: Path,
    list_path: Path | None,
    run_dir: Path | None,
    checkpoint: Path | None,
    weights: Path | None,
    out: Path | None,
    reference_files: bool,
    topk_json: Path | None,
    topk: int,
    json_path: Path | None,
    scoring: config.Scoring,
    views: config.Views,
    views_changes: dict[str, Any],
    clip_changes: dict[str, Any],
    frame: config.Frame,
    loader: config.Loader,
    net: config.Net,
    loss_changes: dict[str, Any],
    run: config.Run,
) -> int:
    """Score a list: one score per video, averaged over clips x crops.

    The net and its clips come from the best checkpoint of the newest run, unless you name another one.
    """
    from actrec.cli.progress import Bar, watched
    from actrec.data.index import cache_path, fingerprint_line
    from actrec.data.lists import find_labels
    from actrec.engine import datafolder, dist
    from actrec.engine import evaluate as scores
    from actrec.engine import scoring as engine
    from actrec.engine.devices import choose_device
    from actrec.engine.failures import with_name

    _check_weights(weights, run_dir or checkpoint, net, clip_changes | loss_changes)
    list_path = list_path or datafolder.find_list(data, "val")
    if run_dir is not None and checkpoint is None:
        run_dir = run_folder(run_dir, data)
    if weights is None:
        checkpoint = checkpoint or datafolder.best_checkpoint(data, run_dir)
    out = out or engine.scores_path(data, run_dir, checkpoint, list_path, views)
    refuse_overlap(
        {
            "--out": out,
            "--topk-json": topk_json,
            "--json": json_path,
            **({str(path): path for path in scores.reference_paths(out.parent, out.stem)} if reference_files else {}),
        },
        {
            "the list": list_path,
            "the checkpoint": checkpoint,
            "the index of the list": cache_path(list_path, flow=False),
            "the index of its optical flow": cache_path(list_path, flow=True),
            "the file of class names": find_labels(list_path.parent),
        },
    )
    device = choose_device(run.device)
    click.get_current_context().with_resource(dist.joined(device))
    trained = engine.from_checkpoint(checkpoint) if checkpoint is not None else None
    modality = trained.clip.modality if trained is not None else clip_changes.get("modality", "rgb")
    with dist.first():
        found = datafolder.load_list(
            list_path,
            workers=loader.workers,
            modality=modality,
            watch=watched,
            log=lambda text: click.echo(text, err=True),
        )
    if trained is None:
        assert weights is not None
        trained = engine.from_weights(
            net,
            weights,
            num_classes=len(datafolder.class_names(list_path, [found])),
            modality=modality,
            multi_label=loss_changes.get("multi_label", False),
        )
    trained = engine.with_clip(trained, clip_changes)
    if trained.classes is not None:
        datafolder.refuse_other_classes(list_path, trained.classes)
    views = engine.with_crop(views, trained, views_changes)
    with Bar("videos", total=len(found.videos) if not dist.rank() else None) as bar:
        result = engine.score_list(
            trained, found, views=views, scoring=scoring, loader=loader, frame=frame, device=device, progress=bar.add
        )
    if dist.rank():
        return 0
    try:
        written = engine.save(
            result,
            out,
            reference_files=reference_files,
            topk_json=topk_json,
            topk=topk,
            classes=trained.classes or datafolder.class_names(list_path, [found]),
        )
    except OSError:  # the result of long work is shown even if it cannot be stored
        click.echo(str(result))
        raise
    for video, reason in list(result.missing.items())[:_SHOWN]:
        click.echo(f"missing: {with_name(video, reason)}", err=True)
    if len(result.missing) > _SHOWN:
        click.echo(f"missing: … and {len(result.missing) - _SHOWN} more", err=True)
    fingerprint = found.index.fingerprint()
    return finish(
        *(f"wrote {path}" for path in written),
        f"data: {fingerprint_line(fingerprint)}",
        f"scores -> {out}",
        str(result),
        json_path=json_path,
        result=engine.summary(result, out, fingerprint),
    )


def _check_weights(weights: Path | None, trained: Path | None, net: config.Net, changes: dict[str, Any]) -> None:
    """Raises UsageError for flags that do not go together: --weights, and those that say what a checkpoint knows."""
    if weights is not None:
        if trained is not None:
            raise click.UsageError("--weights together with --run or --checkpoint: expected one of them")
        return
    known = [flag_of(f) for f in fields(net) if getattr(net, f.name) != f.default]
    known += [f"--{name.replace('_', '-')}" for name in ("modality", "multi_label") if name in changes]
    if known:
        raise click.UsageError(f"{known[0]} without --weights: a checkpoint contains this")
