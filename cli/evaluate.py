"""`actrec evaluate`"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from actrec import config
from actrec.cli.options import Command, Numbers, check_place, config_options, per_channel


@click.command(cls=Command)
@click.option("--data", type=click.Path(path_type=Path), default=".", help="Dataset folder.", show_default=True)
@click.option("--list", "list_path", type=click.Path(path_type=Path), help="List to score.  [default: DATA/val.txt]")
@click.option(
    "--run", "run_dir", type=click.Path(path_type=Path), help="Run folder.  [default: the newest in DATA/runs]"
)
@click.option("--checkpoint", "checkpoint_path", type=click.Path(path_type=Path), help="[default: best.pt of the run]")
@click.option("--weights", type=click.Path(path_type=Path), help="Score these weights of --backbone, without a run.")
@click.option("--size", type=click.IntRange(min=1), help="Height and width of the crops.  [default: as trained]")
@click.option("--mean", type=Numbers(float), help="RGB mean, or that of flow (one), in place of the checkpoint's.")
@click.option("--std", type=Numbers(float), help="Standard deviation, likewise.")
@click.option("--average", type=click.Choice(["logits", "probabilities"]), default="logits", show_default=True,
              help="What is averaged over a video's views.")  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), help="Scores.  [default: RUN/scores/<list>_<clips>x<crops>.npz]"
)
@click.option("--reference-files", is_flag=True, help="Also IBM's files: <name>_details.npy and <name>.csv.")
@click.option(
    "--topk-json", type=click.Path(path_type=Path), help="Also Hara's result file: the best classes per video."
)
@click.option("--topk", type=int, default=5, show_default=True, help="Classes per video in it; 0: all.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed as JSON.")
@config_options(config.Views, config.Loader, without=("crop_ratio", "batch_size", "repeats", "balanced", "keep_last"))
@config_options(config.Net)
@click.option("--crop-ratio", type=click.FloatRange(0, 1, min_open=True),
              help="The crop as a part of the resized short side; 1 takes all of it.  "
              f"[default: as validated; {config.Views.crop_ratio} of --weights]")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), help="Videos at a time.  [default: as many as make 32 views]")
@click.option("--frames", type=click.IntRange(min=1), help="Frames of a clip.  [default: as trained]")
@click.option("--stride", type=click.IntRange(min=1), help="Source frames between two.  [default: as trained]")
@click.option("--sampling", type=click.Choice(["uniform", "dense"]), help="[default: as trained]")
@click.option("--sampling-rule", type=click.Choice(["actrec", "ibm"]), help="[default: as trained]")
@click.option("--modality", type=click.Choice(["rgb", "flow"]), help="What --weights are of.  [default: rgb]")
@click.option("--multi-label", is_flag=True, help="--weights are of a net for several labels per video.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True,
              help="auto is float32 on the CPU, bfloat16 on GPUs that have it.")  # fmt: skip
def command(
    data: Path,
    list_path: Path | None,
    run_dir: Path | None,
    checkpoint_path: Path | None,
    weights: Path | None,
    size: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    average: str,
    out: Path | None,
    reference_files: bool,
    topk_json: Path | None,
    topk: int,
    json_path: Path | None,
    views: config.Views,
    loader: config.Loader,
    net: config.Net,
    crop_ratio: float | None,
    batch_size: int | None,
    frames: int | None,
    stride: int | None,
    sampling: str | None,
    sampling_rule: str | None,
    modality: str | None,
    multi_label: bool,
    device: str,
    precision: str,
) -> int:
    """Score a list: one score per video, averaged over clips x crops.

    The net and how to feed it come from the newest run's best checkpoint, unless told otherwise.
    """
    import torch

    from actrec.cli import dataset
    from actrec.cli.progress import Bar
    from actrec.engine import dist
    from actrec.engine import evaluate as engine
    from actrec.engine.devices import choose_device, choose_precision, memory_format
    from actrec.engine.runfolder import BEST
    from actrec.pipelines.loader import eval_loader

    if weights is not None and (checkpoint_path is not None or run_dir is not None):
        raise click.UsageError("--weights together with --run or --checkpoint: expected one of them")
    if modality is not None and weights is None:
        raise click.UsageError("--modality without --weights: a checkpoint knows its own")
    if multi_label and weights is None:
        raise click.UsageError("--multi-label without --weights: a checkpoint knows what it was trained on")
    if weights is None and (given := [f.name for f in fields(net) if getattr(net, f.name) != f.default]):
        raise click.UsageError(f"--{given[0].replace('_', '-')} without --weights: a checkpoint knows its own net")
    check_place(json_path)
    check_place(topk_json)
    if out is not None:
        if out.is_dir():
            raise click.UsageError(f"--out {out} is a folder: expected a file's name, such as {out / 'scores.npz'}")
        out.parent.mkdir(parents=True, exist_ok=True)
    list_path = list_path if list_path is not None else dataset.find_list(data, "val")
    if weights is None and checkpoint_path is None:
        run_dir = run_dir if run_dir is not None else dataset.newest_run(data, BEST)
        if run_dir is None:
            raise FileNotFoundError(f"{data / 'runs'}: no run with a {BEST}; `actrec train` makes one, --run names one")
        checkpoint_path = run_dir / BEST
    device = choose_device(device)
    click.get_current_context().with_resource(dist.joined(device))
    scored = _from_checkpoint(checkpoint_path) if weights is None else None
    modality = scored.clip.modality if scored is not None else modality or "rgb"
    with dist.first():
        found = dataset.load_list(list_path, workers=loader.workers, modality=modality)
    if scored is None:
        scored = _from_weights(net, weights, len(dataset.class_names(list_path, [found])), modality, multi_label)
    model, clip, classes = scored.net, scored.clip, scored.classes
    if classes is not None:
        dataset.refuse_other_classes(list_path, classes)
    changes = {"frames": frames, "stride": stride, "sampling": sampling, "rule": sampling_rule}
    try:
        clip = replace(clip, **{name: value for name, value in changes.items() if value is not None})
        views = replace(views, crop_ratio=crop_ratio if crop_ratio is not None else scored.crop_ratio)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    net_input = replace(
        model.input,
        size=size or model.input.size,
        mean=per_channel("mean", mean, model.input.mean),
        std=per_channel("std", std, model.input.std),
    )
    if precision == "auto":
        precision = choose_precision("auto", torch.device(device)) if device == "cuda" else "float32"
    batches = eval_loader(
        found.videos,
        clip,
        net_input,
        views=views,
        batch_size=batch_size or max(1, 32 // views.num_views),
        device=device,
        index=found.index,
        rank=dist.rank(),
        world=dist.world(),
        workers=loader.workers or dist.cores_of_process(),
        prefetch=loader.prefetch,
        channels_last=scored.channels_last,
        multi_label=model.options["num_classes"] if scored.multi_label else None,
    )
    with Bar("videos", total=len(found.videos) if not dist.rank() else None) as bar:
        model = model.to(device, memory_format=memory_format(model, scored.channels_last))
        own = engine.score(
            model, batches, average=average, precision=precision, progress=lambda n: bar.add(n * dist.world())
        )
    result = engine.check_scored(engine.merge(dist.gather(own), found.videos))
    if dist.rank():
        return 0

    name = f"{list_path.stem}_{views.clips}x{views.crops}"
    if checkpoint_path is not None and checkpoint_path.name != BEST:
        name += f"_{checkpoint_path.stem}"
    out = (
        out
        if out is not None
        else (run_dir or checkpoint_path and checkpoint_path.parent or data) / "scores" / f"{name}.npz"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    engine.save_scores(out, result)
    if reference_files:
        for path in engine.save_reference(out.parent, out.stem, result):
            click.echo(f"wrote {path}")
    if topk_json is not None:
        engine.save_topk_json(topk_json, result, classes or dataset.class_names(list_path, [found]), topk)
        click.echo(f"wrote {topk_json}")
    fingerprint = found.index.fingerprint()
    for id_, reason in list(result.missing.items())[:10]:
        click.echo(f"missing: {id_}: {reason}", err=True)
    if len(result.missing) > 10:
        click.echo(f"missing: … and {len(result.missing) - 10} more", err=True)
    if json_path is not None:
        json_path.write_text(json.dumps(_summary(result, out, fingerprint)) + "\n", encoding="utf-8")
    click.echo(f"data: {dataset.fingerprint_line(fingerprint)}")
    click.echo(f"scores -> {out}")
    click.echo(str(result))
    return 0


@dataclass(frozen=True)
class _Scored:
    """What is scored. Args: classes: their names; None where only weights are known."""

    net: Any
    clip: config.Clip
    classes: list[str] | None
    channels_last: bool
    multi_label: bool
    crop_ratio: float


def _from_checkpoint(path: Path) -> _Scored:
    """As trained."""
    from actrec.engine import checkpoint

    saved = checkpoint.load(path)
    return _Scored(
        checkpoint.build_net(saved),
        config.Clip(**saved["clip"]),
        saved["classes"],
        saved["channels_last"],
        saved.get("multi_label", False),
        saved.get("crop_ratio", config.Views.crop_ratio),
    )


def _from_weights(choice: config.Net, weights: Path, num_classes: int, modality: str, multi_label: bool) -> _Scored:
    """With the net's own clip."""
    from actrec.engine.build import build_net

    net = build_net(choice, num_classes=num_classes, modality=modality, weights=str(weights), new_head=False)
    return _Scored(net, config.Clip(modality=modality), None, True, multi_label, config.Views.crop_ratio)


def _summary(result, out: Path, fingerprint: dict) -> dict:
    own = {"map": result.map} if result.multi_label else {"mean_class": result.mean_class}
    accuracies = own | {"top1": result.top1, "top5": result.top5}
    return {
        **{name: value if value == value else None for name, value in accuracies.items()},  # JSON knows no nan
        "videos": result.num_videos,
        "missing": result.missing,
        "clamped": result.clamped,
        "scores": str(out),
        "data": fingerprint,
    }
