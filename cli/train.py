"""`actrec train`"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import click

import actrec
from actrec import config
from actrec.cli.options import Command, Numbers, check_place, config_options, per_channel


@click.command(cls=Command)
@click.option("--data", type=click.Path(path_type=Path), default=".", help="Dataset folder.", show_default=True)
@click.option("--list", "list_path", type=click.Path(path_type=Path), help="Training list.  [default: DATA/train.txt]")
@click.option("--val-list", type=click.Path(path_type=Path), help="Validation list.  [default: DATA/val.txt]")
@click.option(
    "--run", "run_dir", type=click.Path(path_type=Path), help="Run folder.  [default: DATA/runs/<date>_<net>]"
)
@click.option("--resume", is_flag=True, help="Continue the run (without --run: the newest of this net).")
@click.option("--weights", type=click.Path(path_type=Path), help="Weights to start from.")
@click.option("--new-head", is_flag=True, help="The weights are of other classes: begin with a fresh last layer.")
@click.option("--size", type=click.IntRange(min=1), help="Height and width of the clips.  [default: the net's own]")
@click.option("--mean", type=Numbers(float), help="RGB mean, or that of flow (one), in place of the net's own.")
@click.option("--std", type=Numbers(float), help="Standard deviation, likewise.")
@click.option("--preview", type=click.Path(path_type=Path), help="Write a picture of the first batch, train nothing.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed last as JSON.")
@config_options(config.Net, config.Clip, actrec.Augment, config.Loader, config.Optim, config.Loss, config.Run)
def command(
    data: Path,
    list_path: Path | None,
    val_list: Path | None,
    run_dir: Path | None,
    resume: bool,
    weights: Path | None,
    new_head: bool,
    size: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    preview: Path | None,
    json_path: Path | None,
    net: config.Net,
    clip: config.Clip,
    augment: config.Augment,
    loader: config.Loader,
    optim: config.Optim,
    loss: config.Loss,
    run: config.Run,
) -> int:
    """Train a net on the lists of a dataset folder.

    Leaves last.pt, best.pt, the log and what made them in the run folder. Ctrl-C finishes the step, saves, and
    --resume continues as if nothing had happened.
    """
    from actrec.cli.progress import TrainReporter
    from actrec.engine import dist
    from actrec.engine.devices import choose_device
    from actrec.engine.train import train

    if new_head and weights is None:
        raise click.UsageError("--new-head without --weights: a fresh net's head is new")
    check_place(json_path)
    recipe = config.Recipe(net, clip, augment, loader, optim, loss, run)
    net_input = _input(net, clip, size, mean, std)
    if preview is not None:
        _preview(preview, recipe, _lists(data, list_path, val_list, loader.workers, clip.modality), net_input)
        return 0
    click.get_current_context().with_resource(dist.joined(choose_device(run.device)))
    with dist.first():
        lists = _lists(data, list_path, val_list, loader.workers, clip.modality)
    if run_dir is None:
        named = net.backbone.replace(":", ".") + ("_flow" if clip.modality == "flow" else "")
        run_dir = Path(dist.once("run", lambda: str(_default_run(data, named, resume))))
    reporter = TrainReporter()
    try:
        trained = train(
            recipe,
            lists,
            run_dir,
            reporter=reporter,
            weights=str(weights) if weights is not None else None,
            new_head=new_head,
            net_input=net_input,
            resume=resume,
        )
    finally:
        reporter.close()
    if dist.rank():
        return 130 if trained.interrupted else 0
    if trained.interrupted:
        click.echo(f"stopped in epoch {trained.epochs + 1}: the same command with --run {run_dir} --resume continues")
        return 130
    _say(trained, run_dir, json_path)
    return 0


def _lists(data: Path, list_path: Path | None, val_list: Path | None, workers: int | None, modality: str):
    from actrec.cli import dataset
    from actrec.engine.runfolder import Data

    train_path = list_path if list_path is not None else dataset.find_list(data, "train")
    if val_list is None and list_path is None:
        val_list = dataset.find_list(data, "val")
    train = dataset.load_list(train_path, workers=workers, modality=modality)
    val = dataset.load_list(val_list, workers=workers, modality=modality) if val_list is not None else None
    classes = dataset.class_names(train_path, [train] if val is None else [train, val])
    if val is not None:
        dataset.refuse_other_classes(val.path, classes)
    return Data(
        train=train.videos,
        train_index=train.index,
        val=val.videos if val is not None else None,
        val_index=val.index if val is not None else None,
        classes=classes,
        flip_map=dataset.flip_map(train_path, classes),
    )


def _input(net: config.Net, clip: config.Clip, size: int | None, mean, std) -> config.Input:
    from actrec import nets

    in_channels = config.FLOW_CHANNELS if clip.modality == "flow" else 3
    own = nets.input_of(net.backbone, in_channels=in_channels, **net.options)
    return replace(
        own,
        frames=clip.frames or own.frames,
        size=size or own.size,
        mean=per_channel("mean", mean, own.mean),
        std=per_channel("std", std, own.std),
    )


def _preview(path: Path, recipe, lists, net_input: config.Input) -> None:
    import cv2
    import torch

    from actrec.engine import loss
    from actrec.engine.build import make_loaders
    from actrec.engine.preview import contact_sheet, label_names
    from actrec.engine.train import check

    check(recipe, lists)
    loader, _ = make_loaders(
        lists, recipe.clip, net_input, recipe.augment, recipe.loader, recipe.loss, recipe.run, torch.device("cpu")
    )
    batch = next(iter(loader))
    if not len(batch):
        raise ValueError(f"no video of the first batch could be decoded; {next(iter(loader.skipped.values()))}")
    size = batch.clips.shape[-1]
    mix = loss.plan_mix(recipe.augment, seed=recipe.run.seed, epoch=0, step=0, size=size)
    if mix is not None:
        loss.mix(batch.clips, loss.targets(batch.labels, len(lists.classes)), mix)
    sheet = contact_sheet(batch, net_input)
    try:
        written = cv2.imwrite(str(path), sheet[:, :, ::-1])
    except cv2.error:
        raise ValueError(f"{path}: expected a name that ends in .png or .jpg") from None
    if not written:
        raise OSError(f"{path}: cannot be written")
    for video, names in zip(batch.videos, label_names(batch.labels, lists.classes)):
        click.echo(f"{names:<24} {video}")
    click.echo(f"{len(batch)} clips -> {path}, one per row, top to bottom as listed")


def _default_run(data: Path, net: str, resume: bool) -> Path:
    from actrec.cli.dataset import newest_run

    runs = data / "runs"
    if resume and (found := newest_run(data, "config.json", net=net)) is not None:
        return found
    name = f"{date.today().isoformat()}_{net}"
    taken = {path.name for path in runs.glob(f"{name}*")}
    return runs / next(n for i in range(1, 10_000) if (n := name if i == 1 else f"{name}-{i}") not in taken)


def _say(trained, run_dir: Path, json_path: Path | None) -> None:
    if trained.skipped:
        first = next(iter(trained.skipped.items()))
        click.echo(f"{len(trained.skipped)} videos could not be decoded; the first: {first[0]}: {first[1]}", err=True)
    best = f", best {trained.metric} {trained.best:.2f}" if trained.best == trained.best else ""
    if json_path is not None:
        said = {"run": str(run_dir), **asdict(trained), "best": trained.best if trained.best == trained.best else None}
        json_path.write_text(json.dumps(said) + "\n", encoding="utf-8")
    click.echo(f"{trained.epochs} epochs{best} -> {run_dir}/best.pt, {run_dir}/last.pt")
