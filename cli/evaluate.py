"""`actrec evaluate`"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option, name_missing, note, refuse_overlap, refuse_videos
from actrec.cli.model import ModelChoice, model_options
from actrec.cli.options import FILE, Choice, Command, Option, flag_of
from actrec.figures import SUFFIXES

if TYPE_CHECKING:
    from actrec.inference.model import Model
    from actrec.report.analysis import Analysis
    from actrec.report.reproduce import Checkpoint

_SHOWN = 10  # confusions that are listed


@click.command(
    cls=Command,
    examples=[
        "actrec evaluate",
        "actrec evaluate --run runs/2026-11-28_s3d --clips 10 --crops 3 --per-class",
    ],
)
@click.option(
    "--list", "list_path", type=FILE, help="List to score.  [default: the validation list of the run, or DATA/val.txt]"
)
@click.option("--out", type=OutputFile(make_folder=True),
              help="File for the scores.  [default: RUN/scores/<list>_<clips>x<crops>.npz]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that contains other scores.")
@click.option("--sensitivity", "measure_sensitivity", is_flag=True,
              help="Also measure which details change top-1.")  # fmt: skip
@click.option("--per-class", is_flag=True,
              help="Also print tables of the classes and confusions.")  # fmt: skip
@click.option("--confusion", "confusions", multiple=True, type=OutputFile((".csv", *SUFFIXES)),
              help="Confusion matrix, .csv or a picture. Repeatable.")  # fmt: skip
@click.option("--confusion-order", cls=Option, common=False,
              type=Choice(["similar", "labels"]), default="similar", show_default=True,
              help="Order of the classes in the picture. similar: often confused classes are neighbors.")  # fmt: skip
@click.option(
    "--reference-files",
    cls=Option,
    common=False,
    is_flag=True,
    help="Also write IBM's files: <name>_details.npy and <name>.csv.",
)
@click.option(
    "--topk-json",
    cls=Option,
    common=False,
    type=OutputFile(),
    help="Also write Hara's result file: the best classes of each video.",
)
@click.option("--topk", cls=Option, common=False, type=click.IntRange(0), default=5, show_default=True,
              help="Number of classes of a video in that file; 0: all.")  # fmt: skip
@json_option
@model_options(protocols=True)
def command(
    list_path: Path | None,
    out: Path | None,
    force: bool,
    measure_sensitivity: bool,
    per_class: bool,
    confusions: tuple[Path, ...],
    confusion_order: str,
    reference_files: bool,
    topk_json: Path | None,
    topk: int,
    json_path: Path | None,
    choice: ModelChoice,
) -> int:
    """Score the videos of a list, and print accuracies.

    The score of a video is the average over its clips and crops. The net and its clips come from the best checkpoint of
    the newest run, unless you name another one. Videos that cannot be used are named and left out, and the exit code is
    1.
    """
    from actrec.cli.progress import Bar, watched
    from actrec.data import score_file
    from actrec.data.index import fingerprint_line
    from actrec.data.index.notices import surprises_line
    from actrec.engine import datafolder, dist
    from actrec.engine import evaluate as scores
    from actrec.files import check_writable
    from actrec.inference import score_files
    from actrec.inference.sensitivity import Sensitivity, passes, sensitivity
    from actrec.report.analysis import Analysis

    chosen = list_path is None
    list_path = list_path or _list_of_run(choice) or _list_of_folder(choice)
    # A protocol changes the default of --out, but not its folder.
    own = score_files.scores_path(choice.home, choice.path, list_path, choice.views, _changes(choice))
    _refuse_overlap(list_path, choice, out or own, reference_files=reference_files)
    click.get_current_context().with_resource(dist.joined(choice.device))
    model = choice.load()
    if out is None:
        out = score_files.scores_path(
            choice.home, choice.path, list_path, model.protocol or choice.views, _changes(choice)
        )
        _refuse_overlap(list_path, choice, out, reference_files=reference_files)
    if chosen and not dist.rank():
        note(f"list: {list_path}")
    check_writable(out)
    with dist.first():
        found = datafolder.load_list(
            list_path,
            workers=choice.others["loader"].workers,
            modality=model.clip.modality,
            image_range=model.clip.image_range,
            template=model.clip.template,
            watch=watched,
            log=dist.only_first(note),  # all processes find the same
            name_skipped=False,  # all are named at the end
        )
    refuse_videos(found.videos)
    model = model.with_classes_of(list_path, found.videos)
    fingerprint = found.index.fingerprint()
    origin = score_files.made_from(model, list_path, fingerprint)
    if not force:
        dist.by_first(lambda: score_file.refuse_other(out, origin))
    times = len(passes(model)) if measure_sensitivity else 1
    varied: Sensitivity | None = None
    with Bar("videos", total=times * len(found.videos) if not dist.rank() else None) as bar:
        if measure_sensitivity:
            varied = sensitivity(model, found.videos, index=found.index, progress=bar.add)
            result = varied.result
        else:
            result = scores.check_scored(model.score(found.videos, index=found.index, progress=bar.add))
    if found.index.surprises:
        note(f"{list_path}: {surprises_line(found.index.surprises)}")
    if dist.rank():
        return 1 if result.missing else 0  # as the first process, which names them
    content = score_file.ScoreFile(result.ids, result.scores, result.labels, list(model.class_names), origin)
    analysis = Analysis(content)
    try:
        written = score_files.save(
            result, content, out, reference_files=reference_files, topk_json=topk_json, topk=topk, force=force
        )
        lines = _write_confusions(analysis, confusions, by_similarity=confusion_order == "similar")
    except (OSError, ValueError):  # the result of long work is shown even if it cannot be stored
        click.echo(str(result))
        raise
    name_missing("missing", result.missing, len(found.videos))
    if model.protocol is not None:
        name_missing(f"left out by {model.protocol.name}", result.left_out, len(found.videos))
    published = _published(choice, model)
    return finish(
        *(_tables(analysis) if per_class else ()),
        *([*varied.table(), varied.conclusion()] if varied else ()),
        *lines,
        *(f"wrote {path}" for path in written),
        f"fingerprint: {fingerprint_line(fingerprint)}",
        f"scores -> {out}",
        *(
            f"published for {choice.path.name}: {each.published.dataset} {each.accuracy} "
            f"(protocol {each.published.protocol})"
            for each in published
        ),
        str(result),
        json_path=json_path,
        result=score_files.summary(result, out, fingerprint, model.protocol)
        | analysis.summary()
        | ({"sensitivity": varied.summary()} if varied else {})
        | ({"published": [asdict(each.published) for each in published]} if published else {}),
        failed=bool(result.missing),
    )


def _published(choice: ModelChoice, model: Model) -> list[Checkpoint]:
    """The accuracies that were published for a weights file with this name: those of the protocol, if there are any."""
    from actrec.report.reproduce import published_file

    if choice.weights is None:
        return []
    found = published_file(choice.weights, model.net.name, model.num_classes)
    same = [each for each in found if model.protocol is not None and each.published.protocol == model.protocol.name]
    return same or found


def _list_of_run(choice: ModelChoice) -> Path | None:
    """The validation list of the run; None if it is unknown or missing, or if --data names another folder."""
    from actrec.engine import runlog

    given = click.get_current_context().get_parameter_source("data") is ParameterSource.COMMANDLINE
    if given or choice.weights is not None:
        return None
    try:
        found = runlog.val_list(choice.path.parent)
    except FileNotFoundError:  # there is no run: a missing list is said first
        return None
    if found is not None and not found.is_file():
        note(f"{found}, the validation list of the run, is missing")
        return None
    return found


def _list_of_folder(choice: ModelChoice) -> Path:
    """`val.txt` of the dataset folder.

    Raises:
        FileNotFoundError: there is none. The message says so if the run had no validation list either.
    """
    from actrec.engine import datafolder, runlog

    advice = "pass a list with --list"
    if choice.weights is None:
        with contextlib.suppress(FileNotFoundError):  # there is no run: a missing list is said first
            if runlog.val_list(choice.path.parent) is None:
                advice += f" ({choice.path.parent} has no validation list)"
    return datafolder.find_list(choice.data, "val", otherwise=advice)


def _refuse_overlap(list_path: Path, choice: ModelChoice, out: Path, *, reference_files: bool) -> None:
    """Raises UsageError if an output file would replace an input or another output."""
    from actrec.data.index import cache_path
    from actrec.data.lists import find_labels
    from actrec.engine.evaluate import reference_paths

    others = reference_paths(out.parent, out.stem) if reference_files else ()
    refuse_overlap(
        {
            "the list": list_path,
            "the checkpoint": choice.path,
            "the index of the list": cache_path(list_path, flow=False),
            "the index of its optical flow": cache_path(list_path, flow=True),
            "the file of class names": find_labels(list_path.parent),
        },
        {"--out": out, **{str(path): path for path in others}},
    )


def _changes(choice: ModelChoice) -> dict[str, Any]:
    """The options that the user changed and that affect the scores, by flag without `--`."""
    others, changes = choice.others, dict[str, Any]()
    net = choice.net.options if choice.weights is not None else {}
    for kind, values in (
        (config.Net, net),
        (config.Clip, others["clip"]),
        (config.Frame, vars(others["frame"])),
        (config.Views, {name: value for name, value in others["views"].items() if name not in ("clips", "crops")}),
        (config.Scoring, {name: getattr(others["scoring"], name) for name in ("average", "precision")}),
    ):
        by_name = {f.name: f for f in fields(kind)}
        changes |= {flag_of(by_name[n])[2:]: v for n, v in values.items() if v != by_name[n].default}
    return changes | ({"multi-label": True} if others["multi_label"] else {})


def _tables(analysis: Analysis) -> list[str]:
    """The lines of --per-class."""
    from actrec.report.analysis import table

    if not analysis.num_videos:
        return ["no table of the classes: no video has a label"]
    lines = table(analysis.classes)
    if analysis.confusions is None:
        return lines
    if analysis.confusions:
        pairs = [
            f"  {pair.label} -> {pair.predicted}: {pair.count} ({pair.fraction:.0%} of {pair.label})"
            for pair in analysis.confusions[:_SHOWN]
        ]
        lines += ["most frequent confusions (label -> prediction: videos)", *pairs]
    return [*lines, f"expected calibration error {analysis.calibration_error:.2f} %"]


def _write_confusions(analysis: Analysis, paths: Sequence[Path], *, by_similarity: bool) -> list[str]:
    """Writes the files of --confusion. Returns the lines that say so, or why there is no confusion matrix."""
    from actrec.report import confusion

    if not paths:
        return []
    if not analysis.num_videos:
        return ["no confusion matrix: no video has a label"]
    if (matrix := analysis.matrix) is None:
        return ["no confusion matrix: the videos may have several labels"]
    for path in paths:
        confusion.save(path, matrix, analysis.names, by_similarity=by_similarity)
    return [f"wrote {path}" for path in paths]
