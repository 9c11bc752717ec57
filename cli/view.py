"""`actrec view`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import actrec
from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option, name_missing, note, refuse_overlap, refuse_videos
from actrec.cli.options import FILE, Command, changed_flags, config_options, data_option, limit_options, storage_options
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.engine.datafolder import IndexedList
    from actrec.inference.view import Shown


@click.command(
    cls=Command,
    examples=[
        "actrec view",
        "actrec view val.txt --eval --clips 3 --out val.png",
    ],
)
@click.argument("list_path", required=False, type=FILE, metavar="[LIST]")
@click.option("--out", type=OutputFile((".png", ".jpg", ".jpeg", ".mp4")), default="view.png", show_default=True,
              help="Picture or video (.mp4) to write. An existing file is replaced.")  # fmt: skip
@click.option("--videos", "num_videos", type=click.IntRange(1, 100), default=6, show_default=True,
              help="Number of videos to show.")  # fmt: skip
@click.option("--epoch", type=click.IntRange(1), default=1, show_default=True,
              help="Epoch whose clips are shown, counted from 1.")  # fmt: skip
@click.option("--eval", "evaluation", is_flag=True, help="Show the clips and crops of evaluation instead of training.")
@json_option
@data_option
@config_options(config.Net, only=("backbone",))
@config_options(config.Clip, config.Frame, actrec.Augment, config.Views)
@config_options(config.Loader, only=("batch_size", "repeats", "balanced", "keep_last", "workers"))
@config_options(config.Loss, only=("multi_label",))
@config_options(config.Run, only=("seed", "device"))
@limit_options
@storage_options
def command(
    list_path: Path | None,
    out: Path,
    num_videos: int,
    epoch: int,
    evaluation: bool,
    json_path: Path | None,
    data: Path,
    net: config.Net,
    clip: config.Clip,
    frame: config.Frame,
    augment: config.Augment,
    views: config.Views,
    loader: config.Loader,
    loss: config.Loss,
    run: config.Run,
) -> int:
    """Show the clips that the net gets, and their crops on the frames of the videos.

    Pass the same options as to `actrec train`: the command shows the first clips of an epoch of this training. LIST is
    DATA/train.txt by default, or DATA/val.txt with --eval.
    """
    from actrec.cli.progress import watched
    from actrec.data.lists import find_labels, mirror
    from actrec.engine import datafolder
    from actrec.engine.build import net_input
    from actrec.engine.devices import choose_device
    from actrec.engine.runfolder import Data
    from actrec.inference.drawing import write_picture
    from actrec.inference.view import evaluation_view, sheet, training_view, write_film

    _refuse_unused(evaluation, epoch, augment, loader, views)
    fed = net_input(net, clip, frame)
    list_path = list_path or datafolder.find_list(
        data, "val" if evaluation else "train", otherwise="name a list: `actrec view LIST`"
    )
    refuse_overlap({"the list": list_path, "the file of class names": find_labels(list_path.parent)})
    found = datafolder.load_list(
        list_path,
        workers=loader.workers,
        modality=clip.modality,
        image_range=clip.image_range,
        template=clip.template,
        watch=watched,
        log=note,
    )
    refuse_videos(found.videos)
    classes, device = _classes(found), choose_device(run.device)
    if evaluation:
        view = evaluation_view(
            found.videos, found.index, clip, fed, views, classes=classes, num_videos=num_videos,
            multi_label=loss.multi_label, seed=run.seed, device=device, workers=loader.workers,
        )  # fmt: skip
    else:
        flips = mirror.flips_of(list_path, classes) if classes else None
        view = training_view(
            Data(found.videos, found.index, None, None, classes, flips), clip, fed, augment, loader, loss, run,
            num_videos=num_videos, epoch=epoch - 1, device=device,
        )  # fmt: skip
    known = {found.videos[row].id for row in found.index.unusable}  # the list has named them
    name_missing("not shown", {id_: why for id_, why in view.skipped.items() if id_ not in known}, len(found.videos))
    if not view.clips:
        raise ValueError(f"{list_path}: no video that can be shown")
    if out.suffix.lower() == ".mp4":
        write_film(out, view.clips)
    else:
        write_picture(out, sheet(view.clips))
    return finish(
        *map(_line, view.clips),
        f"{counted(len(view.clips), 'clip')} of {list_path} -> {out}",
        json_path=json_path,
        result={
            "list": str(list_path),
            "epoch": None if evaluation else epoch,
            "clips": [_as_json(shown) for shown in view.clips],
            "missing": view.skipped,
        },
    )


def _refuse_unused(
    evaluation: bool, epoch: int, augment: config.Augment, loader: config.Loader, views: config.Views
) -> None:
    """Raises UsageError for options of training with --eval, and for options of evaluation without it."""

    unused = ["--epoch"] if epoch > 1 else []
    if evaluation and (unused := unused + changed_flags(augment, loader, without=("workers",))):
        raise click.UsageError(f"{unused[0]} with --eval: it affects training only")
    if not evaluation and (unused := changed_flags(views)):
        raise click.UsageError(f"{unused[0]} without --eval: it affects evaluation only")


def _classes(found: IndexedList) -> list[str]:
    """The class names of a list. An unlabeled list without names can be shown too, and has none."""
    from actrec.data.lists import find_labels
    from actrec.engine.datafolder import class_names

    if find_labels(found.path.parent) is None and not any(video.labels for video in found.videos):
        return []
    return class_names(found.path, [found])


def _line(shown: Shown) -> str:
    frames = f"frames {shown.frames[0]} to {shown.frames[-1]}"
    note = f", {shown.note}" if shown.note else ""
    return f"{shown.classes:<24} {shown.video}  {frames}{note}"


def _as_json(shown: Shown) -> dict[str, Any]:
    return {
        "video": shown.video,
        "classes": shown.classes,
        "note": shown.note,
        "frames": shown.frames.tolist(),
        "size": list(shown.size),
        "crops": [{"box": [round(value, 3) for value in crop.box], "flipped": crop.flip} for crop in shown.crops],
    }
