"""`actrec lists`"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actrec.cli.ending import finish, resumable, tell
from actrec.cli.main import Group
from actrec.cli.options import (
    FILE,
    FOLDER,
    SOURCE,
    Argument,
    Command,
    config_options,
    limit_options,
    storage_options,
    worker_options,
)
from actrec.cli.progress import Bar
from actrec.config import Clip, SplitOptions, Views
from actrec.files import show
from actrec.tools.datasets.table import DATASETS, Dataset
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.tools.lists.list_files import Made
    from actrec.tools.make.jobs import Workers


class _Datasets(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*DATASETS, "folders", "shards", "convert", "flips"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in DATASETS:
            return _command(DATASETS.get(name))
        if name in ("convert", "flips", "shards"):
            return importlib.import_module(f"actrec.cli.lists_{name}").command
        return super().get_command(ctx, name)


@click.group(
    cls=_Datasets,
    invoke_without_command=True,
    examples=["actrec lists folders videos/", "actrec lists ucf101 ucfTrainTestlist/ --videos UCF-101/"],
)
@click.pass_context
def command(ctx: click.Context) -> int:
    """Make the lists of a public dataset from its annotation files and the videos that you have.

    Without a dataset: show which datasets there are, and what each needs.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    width = max(map(len, DATASETS))
    lines = [
        f"{row.name:<{width}}  {row.num_classes:>3} classes  {row.annotations}{_needs(row)}"
        for row in map(DATASETS.get, DATASETS)
    ]
    return finish(
        *lines,
        f"{'folders':<{width}}   your classes  <class>/<video>, or train/<class>/<video> and val/<class>/…",
        f"{'shards':<{width}}   your classes  tar shards in WebDataset format",
    )


def _needs(dataset: Dataset) -> str:
    if not dataset.subset:
        return f"; {dataset.num_splits} splits" if dataset.num_splits > 1 else ""
    return "" if dataset.class_file else "; needs --classes FILE: actrec has no list of its classes"


def _out_options(function: Callable) -> Callable:
    function = click.option(
        "--force", is_flag=True, help="Replace the lists, labels.txt, flips.txt and missing.csv in OUT."
    )(function)
    return click.option("--out", type=FOLDER, default=".", show_default=True, help="Folder of the lists.")(function)


def _command(dataset: Dataset) -> click.Command:
    def run(
        annotations: tuple[Path, ...],
        videos: Path,
        out: Path,
        force: bool,
        classes: Path | None,
        probe: bool,
        min_frames: int | None,
        workers: Workers,
        split: int = 1,
    ) -> int:
        from actrec.tools.lists.published import Probe, make_lists

        if not probe and (min_frames is not None or workers.count or workers.cluster):
            raise click.UsageError(
                "--min-frames, --workers and --cluster without --probe: only --probe opens the files"
            )
        with resumable(), Bar("files") as found, Bar("videos") if probe else contextlib.nullcontext() as probed:
            made = make_lists(
                dataset,
                annotations,
                videos,
                out,
                split=split,
                class_file=classes,
                probe=Probe(min_frames, workers, probed.to) if probed is not None else None,
                force=force,
                progress=found.to,
                log=tell,
            )
        usual = f"actrec train {_clip(dataset.clip)}; actrec evaluate {_views(dataset.views)}"
        return finish(f"usual for {dataset.title}: {usual}", *_summary(made, out))

    run.__doc__ = f"""Lists of {dataset.title} in OUT: train.txt, val.txt and labels.txt.

    ANNOTATIONS are the published files, or folders that contain them: {dataset.annotations}{_published(dataset)}.
    VIDEOS contains {dataset.videos}, or frame folders of such names, at any depth. Missing videos are listed in
    missing.csv.
    """
    for option in reversed(_options(dataset)):
        run = option(run)
    classes = " --classes classes.txt" if dataset.subset and not dataset.class_file else ""
    call = f"actrec lists {dataset.name} annotations/{classes}"
    examples = [f"{call} --videos videos/", f"{call} --probe"]
    return click.command(name=dataset.name, cls=Command, short_help=f"Lists of {dataset.title}.", examples=examples)(
        run
    )


def _options(dataset: Dataset) -> list[Callable]:
    least = dataset.min_frames or "none"
    options: list[Callable] = [
        click.argument("annotations", nargs=-1, required=True, type=FILE, cls=Argument,
                       expected=dataset.annotations + _published(dataset)),
        click.option("--videos", type=FOLDER, default="videos", show_default=True,
                     help="Folder of the videos or frame folders."),
        _out_options,
        click.option("--classes", type=FILE,
                     help=f"Only the classes in this file, one per line.  [default: {_kept(dataset)}]"),
        click.option("--probe", is_flag=True, help="Open every file, instead of only checking that it exists."),
        click.option("--min-frames", type=click.IntRange(0), help="With --probe: leave shorter videos out of training "
                     f"and validation.  [default: {least}]"),
        worker_options,
    ]  # fmt: skip
    if dataset.num_splits > 1:
        split = click.IntRange(1, dataset.num_splits)
        options.append(
            click.option("--split", type=split, default=1, show_default=True, help="Number of the published split.")
        )
    return options


def _published(dataset: Dataset) -> str:
    return f" (published at {dataset.source})" if dataset.source else ""


def _kept(dataset: Dataset) -> str:
    if not dataset.subset:
        return "all"
    return f"those of {dataset.title}" if dataset.class_file else "none, this option is required"


@command.command(
    cls=Command,
    short_help="Lists of your own class folders.",
    examples=["actrec lists folders videos/", "actrec lists folders videos/ --out data/ --val-fraction 0.3"],
)
@click.argument("videos", type=SOURCE, default="videos")
@_out_options
@config_options(SplitOptions)
@limit_options
@storage_options
def folders(videos: Path | str, out: Path, force: bool, splitoptions: SplitOptions) -> int:
    """Write the lists of VIDEOS/<class>/<video> to OUT, without changing the videos.

    The split comes from folders called train, val or test. Without such folders, the validation videos of each class
    are drawn at random, and videos of existing lists stay in their list. Videos are files or frame folders. The first
    picture of every file is decoded: files that cannot be used are listed in missing.csv, with the reason. VIDEOS can
    also be a tar archive, the URL of a tar archive, or the URL of a folder. Videos at URLs are not fetched.
    """
    from actrec.tools.lists.from_folders import make_folder_lists

    with Bar("files") as bar:
        made = make_folder_lists(videos, out, splitoptions, force=force, progress=bar.to, log=tell)
    return finish(*_summary(made, out), failed=bool(made.missing))


def _clip(clip: Clip) -> str:
    dense = f" --sampling dense --stride {clip.stride}" if clip.sampling == "dense" else ""
    return f"--frames {clip.frames}{dense}"


def _views(views: Views) -> str:
    return f"--clips {views.clips} --crops {views.crops}"


def _summary(made: Made, out: Path) -> list[str]:
    lines = []
    missing = sum(made.missing.values())
    if made.first_missing:
        name, reason = made.first_missing
        counts = ", ".join(
            f"{count:,} of {part}" if part else f"{count:,} without a part" for part, count in made.missing.items()
        )
        all_reasons = f"; each with its reason in {out / 'missing.csv'}"
        lines.append(f"missing: {counts}; the first: {show(name)}: {reason}{all_reasons}")
    lists = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    number = sum(made.lists.values())
    return [
        *made.table,
        *lines,
        f"{counted(number, 'video')} of {counted(made.num_classes, 'class')} -> {out}: {lists}; {missing:,} missing",
    ]
