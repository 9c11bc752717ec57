"""`actrec evaluate`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.ending import OutputFile, finish, json_option, refuse_overlap
from actrec.cli.model import ModelChoice, model_options
from actrec.cli.options import FILE, Command

_SHOWN = 10  # missing videos that are listed


@click.command(cls=Command)
@click.option("--list", "list_path", type=FILE, help="List to score.  [default: DATA/val.txt]")
@click.option("--out", type=OutputFile(make_folder=True),
              help="File for the scores.  [default: RUN/scores/<list>_<clips>x<crops>.npz]")  # fmt: skip
@click.option("--reference-files", is_flag=True, help="Also write IBM's files: <name>_details.npy and <name>.csv.")
@click.option("--topk-json", type=OutputFile(), help="Also write Hara's result file: the best classes of each video.")
@click.option("--topk", type=click.IntRange(0), default=5, show_default=True,
              help="Number of classes of a video in that file; 0: all.")  # fmt: skip
@json_option
@model_options
def command(
    list_path: Path | None,
    out: Path | None,
    reference_files: bool,
    topk_json: Path | None,
    topk: int,
    json_path: Path | None,
    choice: ModelChoice,
) -> int:
    """Score a list: one score per video, averaged over clips x crops.

    The net and its clips come from the best checkpoint of the newest run, unless you name another one.
    """
    from actrec.cli.progress import Bar, watched
    from actrec.data.index import cache_path, fingerprint_line
    from actrec.data.lists import find_labels
    from actrec.engine import datafolder, dist
    from actrec.engine import evaluate as scores
    from actrec.engine.failures import with_name
    from actrec.inference import score_files

    list_path = list_path or datafolder.find_list(choice.data, "val")
    checkpoint = None if choice.weights is not None else choice.path
    out = out or score_files.scores_path(choice.home, checkpoint, list_path, choice.views)
    refuse_overlap(
        {
            "--out": out,
            "--topk-json": topk_json,
            "--json": json_path,
            **({str(path): path for path in scores.reference_paths(out.parent, out.stem)} if reference_files else {}),
        },
        {
            "the list": list_path,
            "the checkpoint": choice.path,
            "the index of the list": cache_path(list_path, flow=False),
            "the index of its optical flow": cache_path(list_path, flow=True),
            "the file of class names": find_labels(list_path.parent),
        },
    )
    click.get_current_context().with_resource(dist.joined(choice.device))
    model = choice.load()
    with dist.first():
        found = datafolder.load_list(
            list_path,
            workers=choice.others["loader"].workers,
            modality=model.clip.modality,
            watch=watched,
            log=lambda text: click.echo(text, err=True),
        )
    if model.classes is not None:
        datafolder.refuse_other_classes(list_path, model.classes)
    with Bar("videos", total=len(found.videos) if not dist.rank() else None) as bar:
        result = scores.check_scored(model.score(found.videos, index=found.index, progress=bar.add))
    if dist.rank():
        return 0
    try:
        written = score_files.save(
            result,
            out,
            reference_files=reference_files,
            topk_json=topk_json,
            topk=topk,
            classes=model.classes or datafolder.class_names(list_path, [found]),
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
        result=score_files.summary(result, out, fingerprint),
    )
