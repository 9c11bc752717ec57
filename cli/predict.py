"""`actrec predict`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option, name_missing, note, refuse_overlap, refuse_videos
from actrec.cli.model import ModelChoice, model_options
from actrec.cli.options import FILE, Command, InputPath, Option, config_options
from actrec.cli.predict_stream import check_stream, predict_stream
from actrec.cli.predict_timeline import VIDEOS, Outputs, predict_timeline, refuse_without_timeline
from actrec.figures import SUFFIXES
from actrec.words import column_width, padded, printable

_TOPK = 5
_TIMELINE, _STREAM, _WINDOWS = "Long videos", "Live sources", "Windows (--timeline, --stream)"


@click.command(
    cls=Command,
    examples=[
        "actrec predict videos/ --clips 10 --json answers.json",
        "actrec predict match.mp4 --timeline --every 0.5 --plot match.png",
    ],
)
@click.argument("inputs", nargs=-1, type=InputPath(), metavar="[INPUT...]")
@click.option(
    "--stream",
    "source",
    cls=Option,
    heading=_STREAM,
    metavar="URL|DEVICE",
    help="Camera or network stream to predict while it runs.",
)
@click.option(
    "--topk", type=click.IntRange(0), default=_TOPK, show_default=True, help="Number of classes to print; 0: all."
)
@click.option(
    "--csv", "csv_path", type=OutputFile((".csv",)), help="Also write a table of the videos, or of the windows."
)
@json_option
@click.option(
    "--timeline", cls=Option, heading=_TIMELINE, is_flag=True, help="Find when classes occur, in sliding windows."
)
@config_options(config.Windows, heading=_WINDOWS)
@config_options(config.Segments, heading=_TIMELINE)
@config_options(config.Stream, heading=_STREAM)
@click.option(
    "--truth",
    cls=Option,
    heading=_TIMELINE,
    type=FILE,
    help="True segments, for mAP: CSV (video,start,end,class).",
)
@click.option("--render", cls=Option, heading=_TIMELINE, type=OutputFile(VIDEOS),
              help="Write a copy of the video that shows the result.")  # fmt: skip
@click.option("--plot", cls=Option, heading=_TIMELINE, type=OutputFile(SUFFIXES),
              help="Write a picture of the classes over time.")  # fmt: skip
@model_options(protocols=True)
def command(
    inputs: tuple[Path | str, ...],
    source: str | None,
    topk: int,
    csv_path: Path | None,
    json_path: Path | None,
    timeline: bool,
    windows: config.Windows,
    stream: config.Stream,
    segments: config.Segments,
    truth: Path | None,
    render: Path | None,
    plot: Path | None,
    choice: ModelChoice,
) -> int:
    """Predict the classes of videos.

    INPUT is a video, a folder or tar archive of videos, a frame folder, or a list. Videos and archives can be URLs. The
    net comes from the best checkpoint of the newest run, unless you name another one.

    --timeline prints segments: the parts of a long video that show a class, as start, end, class and score. --stream
    prints a line of JSON every --every seconds, with the prediction for the newest frames.
    """
    from actrec.cli.progress import Bar
    from actrec.engine import dist
    from actrec.files import write_csv
    from actrec.inference.inputs import find_inputs

    outputs = Outputs(csv_path, json_path, truth, render, plot)
    check_stream(source, stream, {"INPUT": inputs, "--timeline": timeline, "--csv": csv_path})
    if not timeline:
        own = windows if source is None else config.Windows()
        refuse_without_timeline(segments, own, {"--truth": truth, "--render": render, "--plot": plot})
    elif topk != _TOPK and render is None:
        raise click.UsageError(f"--topk {topk} with --timeline: it only sets the number of classes that --render draws")
    if timeline or source is not None:
        choice = choice.without_protocol("--timeline" if timeline else "--stream")
    refuse_overlap({"the checkpoint": choice.path})
    if source is not None:
        return predict_stream(choice.load(), source, windows, stream, topk=topk, json_path=json_path)
    click.get_current_context().with_resource(dist.joined(choice.device))
    model = choice.load()
    videos = find_inputs(inputs)
    refuse_videos(videos)
    if timeline:
        if dist.world() > 1:
            raise click.UsageError(f"--timeline in {dist.world()} processes: expected one")
        return predict_timeline(model, videos, windows, segments, outputs, topk=topk, source=choice.path, inputs=inputs)
    with Bar("videos", total=len(videos) if not dist.rank() else None) as bar:
        result = model.score(videos, progress=bar.add)
    if dist.rank():
        return 0
    unused = result.missing | result.left_out
    best = dict(zip(result.ids, model.best_classes(result, topk)))
    width = column_width(model.class_names)
    ids = column_width(best)
    for video, found in best.items():
        if topk == 1 < len(best):
            (name, probability), *_ = found
            click.echo(f"{padded(video, ids)}  {padded(name, width)}  {probability:6.1%}")
            continue
        click.echo(printable(video))
        for name, probability in found:
            click.echo(f"  {padded(name, width)}  {probability:6.1%}")
    for line in model.notices():
        note(line)
    lines = name_missing("not predicted", unused, len(videos), inputs)
    if result.left_out:
        note("--protocol none predicts videos that a protocol leaves out")
    if csv_path is not None:
        rows = ((video, name, f"{value:.6g}") for video, found in best.items() for name, value in found)
        write_csv(csv_path, ("video", "class", "probability"), rows)
    return finish(
        *lines,
        json_path=json_path,
        result={
            "model": str(choice.path),
            "videos": [
                {"video": v, "classes": [{"class": n, "probability": p} for n, p in f]} for v, f in best.items()
            ],
            "missing": unused,
        }
        | ({"protocol": model.protocol.name} if model.protocol is not None else {}),
        failed=bool(unused),
    )
