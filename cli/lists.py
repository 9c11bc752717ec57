"""`actrec lists`"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path

import click

from actrec.cli.main import Group
from actrec.cli.options import worker_options
from actrec.cli.progress import Bar
from actrec.config import Clip, SplitOptions, Views
from actrec.tools.datasets.table import DATASETS, Dataset

SPLIT = SplitOptions()


class _Datasets(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*DATASETS, "folders", "convert"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in DATASETS:
            return _command(DATASETS.get(name))
        if name == "convert":
            return importlib.import_module("actrec.cli.lists_convert").command
        return super().get_command(ctx, name)


@click.group(cls=_Datasets, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Make the lists of a public dataset out of its annotation files and the videos that are there.

    Without a dataset: which ones there are, and what each needs.
    """
    if ctx.invoked_subcommand is None:
        width = max(map(len, DATASETS))
        for row in map(DATASETS.get, DATASETS):
            click.echo(f"{row.name:<{width}}  {row.num_classes:>3} classes  {row.annotations}{_needs(row)}")
        click.echo(f"{'folders':<{width}}   your classes  <class>/<video>, or train/<class>/<video> and val/<class>/…")


def _needs(dataset: Dataset) -> str:
    if not dataset.subset:
        return f"; {dataset.num_splits} splits" if dataset.num_splits > 1 else ""
    return "" if dataset.class_file else "; needs --classes FILE: there is no list of its classes here"


def _out_options(function: Callable) -> Callable:
    function = click.option("--force", is_flag=True, help="Replace the lists, labels.txt, flips.txt and missing.csv "
                            "in OUT.")(function)  # fmt: skip
    return click.option("--out", type=click.Path(path_type=Path), default=".", show_default=True,
                        help="Folder of the lists.")(function)  # fmt: skip


def _command(dataset: Dataset) -> click.Command:
    def run(
        annotations: tuple[Path, ...],
        videos: Path,
        out: Path,
        force: bool,
        classes: Path | None,
        probe: bool,
        min_frames: int | None,
        workers,
        split: int = 1,
    ) -> int:
        from actrec.tools.lists.published import Probe, make_lists

        if not probe and (min_frames is not None or workers.count or workers.cluster):
            raise click.UsageError("--min-frames, --workers and --cluster go with --probe: only that looks into files")
        try:
            with Bar("files") as found, Bar("videos") if probe else contextlib.nullcontext() as probed:
                look = Probe(min_frames, workers, probed.to) if probe else None
                made = make_lists(
                    dataset, annotations, videos, out,
                    split=split, class_file=classes, probe=look, force=force, progress=found.to, log=click.echo,
                )  # fmt: skip
        except KeyboardInterrupt:
            click.echo("interrupted: the same command goes on from here")
            return 130
        usual = f"actrec train {_clip(dataset.clip)}; actrec evaluate {_views(dataset.views)}"
        click.echo(f"usual for {dataset.title}: {usual}")
        return _tell(made, out)

    run.__doc__ = f"""Lists of {dataset.title} in OUT: train.txt, val.txt and labels.txt.

    ANNOTATIONS are the files as published, or folders that hold them: {dataset.annotations}. VIDEOS holds
    {dataset.videos}, or frame folders of such names, at any depth; what is not there is in missing.csv.
    """
    for option in reversed(_options(dataset)):
        run = option(run)
    return click.command(name=dataset.name)(run)


def _options(dataset: Dataset) -> list[Callable]:
    least = dataset.min_frames or "none"
    options = [
        click.argument("annotations", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option("--videos", type=click.Path(path_type=Path), default="videos", show_default=True,
                     help="Folder of the videos or frame folders."),
        _out_options,
        click.option("--classes", type=click.Path(path_type=Path),
                     help=f"Only the classes of this file, one on each line.  [default: {_kept(dataset)}]"),
        click.option("--probe", is_flag=True, help="Look into every file, not only whether it is there."),
        click.option("--min-frames", type=click.IntRange(0), help="With --probe: leave shorter videos out of training "
                     f"and validation.  [default: {least}]"),
        worker_options,
    ]  # fmt: skip
    if dataset.num_splits > 1:
        split = click.IntRange(1, dataset.num_splits)
        options.append(
            click.option("--split", type=split, default=1, show_default=True, help="Which of the published splits.")
        )
    return options


def _kept(dataset: Dataset) -> str:
    if not dataset.subset:
        return "all"
    return f"those of {dataset.title}" if dataset.class_file else "none, it has to be given"


@command.command()
@click.argument("videos", type=click.Path(path_type=Path), default="videos")
@_out_options
@click.option("--val-fraction", default=SPLIT.val_fraction, show_default=True, help="Part for validation.")
@click.option("--group-regex", help="Videos whose path has the same match (its first group) stay on one side.")
@click.option("--seed", default=SPLIT.seed, show_default=True, help="Decides the split.")
def folders(videos: Path, out: Path, force: bool, val_fraction: float, group_regex: str | None, seed: int) -> int:
    """Lists of VIDEOS/<class>/<video> in OUT, without touching the videos.

    The split comes from folders train and val below VIDEOS, else it is drawn, class by class. Videos are files or frame
    folders.
    """
    from actrec.tools.lists.from_folders import make_folder_lists

    try:
        split = SplitOptions(val_fraction, seed, group_regex)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with Bar("files") as bar:
        made = make_folder_lists(videos, out, split, force=force, progress=bar.to, log=click.echo)
    return _tell(made, out)


def _clip(clip: Clip) -> str:
    dense = f" --sampling dense --stride {clip.stride}" if clip.sampling == "dense" else ""
    return f"--frames {clip.frames}{dense}"


def _views(views: Views) -> str:
    return f"--clips {views.clips} --crops {views.crops}"


def _tell(made, out: Path) -> int:
    missing = sum(made.missing.values())
    if missing:
        counts = ", ".join(f"{count:,} of {name}" for name, count in made.missing.items())
        click.echo(f"missing: {counts}; each with its reason in {out / 'missing.csv'}")
    lists = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    click.echo(
        f"{sum(made.lists.values()):,} videos of {made.num_classes} classes -> {out}: {lists}; {missing:,} missing"
    )
    return 0
