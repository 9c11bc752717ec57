"""`actrec train`"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import actrec
from actrec import config
from actrec.cli.completion import run_names
from actrec.cli.ending import finish, json_option, note, refuse_overlap, tell
from actrec.cli.options import FILE, FOLDER, NamedPath, config_options, data_option, limit_options, storage_options
from actrec.cli.resuming import TrainCommand, origin_of_options
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.engine.reporting import TrainResult


class ListFile(NamedPath):
    """A list. A folder and an empty name are refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value or Path(value).is_dir():
            self.fail(
                f"{str(value)!r} is not a list; to train without validation, pass the training list with --list and no "
                "--val-list",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


@click.command(
    cls=TrainCommand,
    examples=[
        "actrec train --data data/ --dry-run",
        "actrec train --backbone s3d --weights s3d.pt --new-head --epochs 30",
    ],
)
@data_option
@click.option("--list", "list_path", type=ListFile(), help="Training list.  [default: DATA/train.txt]")
@click.option("--val-list", type=ListFile(), help="Validation list.  [default: DATA/val.txt]")
@click.option(
    "--run",
    "run_dir",
    type=FOLDER,
    shell_complete=run_names,
    help="Run folder.  [default: DATA/runs/<date>_<net>]",
)
@click.option("--resume", is_flag=True,
              help="Continue --run, or the newest run.")  # fmt: skip
@click.option("--config", "config_path", type=FILE, help="Start with the options of another run.")
@click.option("--dry-run", is_flag=True, help="Only show what it would do, with time and memory.")
@click.option("--weights", type=FILE, help="Weights to start from.")
@click.option("--new-head", is_flag=True, help="Start with a new last layer, for other classes.")
@json_option
@config_options(
    config.Net, config.Clip, config.Frame, actrec.Augment, config.Loader, config.Optim, config.Loss, config.Run
)
@limit_options
@storage_options
def command(
    data: Path,
    list_path: Path | None,
    val_list: Path | None,
    run_dir: Path | None,
    resume: bool,
    config_path: Path | None,
    dry_run: bool,
    weights: Path | None,
    new_head: bool,
    json_path: Path | None,
    net: config.Net,
    clip: config.Clip,
    frame: config.Frame,
    augment: config.Augment,
    loader: config.Loader,
    optim: config.Optim,
    loss: config.Loss,
    run: config.Run,
) -> int:
    """Train a net on the lists of a dataset folder.

    The run folder gets the checkpoints last.pt and best.pt, and the log. Ctrl-C finishes the step and saves. Pass
    --resume, without other options, to continue exactly where the run stopped.
    """
    from actrec.cli.progress import TrainReporter, watched
    from actrec.data.lists import find_labels
    from actrec.engine import datafolder, dist, runfolder
    from actrec.engine import train as engine
    from actrec.engine.build import net_input, settled
    from actrec.engine.devices import choose_device

    if new_head and weights is None and not resume:
        raise click.UsageError("--new-head without --weights: a net that starts without weights has a new head anyway")
    fed = net_input(net, clip, frame)
    recipe = settled(config.Recipe(net, clip, augment, loader, optim, loss, run))
    train_path, val_path = datafolder.training_lists(data, list_path, val_list)
    refuse_overlap(
        {
            "the training list": train_path,
            "the validation list": val_path,
            "the file of class names": find_labels(train_path.parent),
        }
    )
    click.get_current_context().with_resource(dist.joined(choose_device(run.device)))
    with dist.first():
        found = datafolder.training_data(
            data,
            train_list=list_path,
            val_list=val_list,
            workers=loader.workers,
            modality=clip.modality,
            image_range=clip.image_range,
            template=clip.template,
            read_only=dry_run,
            watch=watched,
            log=dist.only_first(note),  # all processes find the same
        )
    if run_dir is None:
        named = net.backbone.replace(":", ".") + ("_flow" if clip.modality == "flow" else "")
        run_dir = Path(dist.once("run", lambda: str(datafolder.new_run(data, named))))
    refuse_overlap({f"{name} of the run": run_dir / name for name in runfolder.FILES})
    origin = origin_of_options(click.get_current_context())
    reporter = TrainReporter(origin.lines() if origin is not None else ())
    shown = shlex.quote(str(run_dir))
    start: dict[str, Any] = {
        "reporter": reporter,
        "weights": str(weights) if weights is not None else None,
        "new_head": new_head,
        "net_input": fed,
    }
    try:
        if dry_run:
            header, measured = engine.dry_run(recipe, found, run_dir, **start)
            if dist.rank():
                return 0
            result = {**asdict(header), "run_dir": str(run_dir), **asdict(measured)}
            return finish(*measured.lines(), json_path=json_path, result=result)
        trained = engine.train(recipe, found, run_dir, resume=resume, **start)
    except BrokenPipeError:  # such as `| head`
        note(f"stopped, because standard output was closed: pass --run {shown} --resume to continue")
        raise
    finally:
        reporter.close()
    if dist.rank():
        return 130 if trained.interrupted else 0
    if trained.interrupted:
        tell(f"stopped in epoch {trained.epochs + 1}: pass --run {shown} --resume to continue")
        return 130
    if trained.num_skipped:  # they were named when they were found
        count = f"{counted(trained.num_videos, 'video')}, {trained.num_skipped:,} skipped"
        note(f"training list: {count}: {run_dir / runfolder.SKIPPED} lists them all")
    code = finish(*_summary(trained, run_dir), json_path=json_path, result={"run": str(run_dir), **asdict(trained)})
    note(f"next: actrec evaluate --run {shown}{' --list LIST' if val_path is None else ''}")
    note(f"      actrec report {shown}")
    note(f"      actrec predict VIDEO --run {shown}")
    return code


def _summary(trained: TrainResult, run_dir: Path) -> list[str]:
    """The lines that are printed at the end of a run."""
    from actrec.engine.classes import table

    best = f", best {trained.metric} {trained.best:.2f}" if trained.best == trained.best else ""
    count = counted(trained.epochs, "epoch")
    files = [str(path) for name in ("best.pt", "last.pt") if (path := run_dir / name).exists()]
    return [
        *([f"stopped early after {count}: {_no_better(trained)}"] if trained.stopped_early else []),
        trained.describe_best(),
        *(table(trained.classes) if trained.classes else []),
        f"{count}{best} -> {', '.join(files)}",
    ]


def _no_better(trained: TrainResult) -> str:
    assert trained.best_epoch is not None
    return f"the last {counted(trained.epochs - 1 - trained.best_epoch, 'epoch')} had no better validation result"
