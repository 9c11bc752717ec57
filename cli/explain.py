"""`actrec explain`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.ending import OutputFile, finish, json_option, note, refuse_overlap, refuse_videos
from actrec.cli.model import ModelChoice, model_options
from actrec.cli.options import Command, InputPath


@click.command(
    cls=Command,
    examples=[
        "actrec explain a.mp4",
        "actrec explain a.mp4 --class kicking --clips 3 --out kicking.mp4",
    ],
)
@click.argument("path", type=InputPath(), metavar="INPUT")
@click.option("--class", "class_", metavar="CLASS", help="Name or number of the class.  [default: the predicted one]")
@click.option(
    "--layer", help="Module whose output gives the heat map.  [default: the last one with enough time steps and places]"
)
@click.option("--out", type=OutputFile((".png", ".jpg", ".jpeg", ".mp4")), default="explain.png", show_default=True,
              help="Picture of the clips, or video (.mp4), to write. An existing file is replaced.")  # fmt: skip
@json_option
@model_options(batches=False)
def command(
    path: Path | str,
    class_: str | None,
    layer: str | None,
    out: Path,
    json_path: Path | None,
    choice: ModelChoice,
) -> int:
    """Show where and when a video contains evidence for a class (Grad-CAM).

    INPUT is a video, a frame folder, or a list with one video. The net comes from the best checkpoint of the newest
    run, unless you name another one. The class and its probability are those of `actrec predict`.
    """
    from actrec.cli.progress import Bar
    from actrec.inference.drawing import write_picture
    from actrec.inference.explain import FEATURES, explain
    from actrec.inference.heatmap import sheet, write_film
    from actrec.inference.inputs import find_inputs

    refuse_overlap({"the checkpoint": choice.path})
    videos = find_inputs([path])
    if len(videos) != 1:
        raise click.UsageError(f"{path} stands for {len(videos)} videos: expected one video")
    refuse_videos(videos)
    model = choice.load()
    explanation = explain(model, videos[0], class_, layer=layer)
    if out.suffix.lower() == ".mp4":
        with Bar("frames", total=explanation.media.positions) as bar:
            write_film(out, explanation, progress=bar.add)
    else:
        write_picture(out, sheet(explanation))
    lines = []
    if not explanation.maps.any():
        lines.append(f"this layer contains no evidence for {explanation.name}: the heat map is empty")
    if layer is None and explanation.layer != FEATURES:
        shape = "x".join(map(str, explanation.shape))
        lines.append(f"layer {explanation.layer}, map of {shape}: the last one with several time steps and 4x4 places")
    if explanation.finer:
        layers = ", ".join(f"{name} ({'x'.join(map(str, shape))})" for name, shape in explanation.finer.items())
        lines.append(f"the heat map has a single time step; layers with more, for --layer: {layers}")
    for line in model.notices():
        note(line)
    return finish(
        *lines,
        f"{explanation.name} {explanation.probability:.1%} -> {out}",
        json_path=json_path,
        result={
            "model": str(choice.path),
            "video": explanation.video,
            "class": explanation.name,
            "label": explanation.label,
            "probability": explanation.probability,
            "layer": explanation.layer,
            "map": list(explanation.shape),
            "box": [round(value, 3) for value in explanation.box],
            "clips": [
                {"frames": frames, "evidence": [round(value, 6) for value in evidence]}
                for frames, evidence in zip(explanation.frames.tolist(), explanation.evidence.tolist())
            ],
        },
    )
