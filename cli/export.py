"""`actrec export`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from actrec import config
from actrec.cli.ending import finish, json_option
from actrec.cli.model import ModelChoice, model_options
from actrec.cli.options import FOLDER, Command, config_options


@click.command(
    cls=Command,
    examples=[
        "actrec export --out exported",
        "actrec export --run runs/2026-11-28_s3d --out exported --force",
    ],
)
@click.option("--out", required=True, type=FOLDER, help="Folder to write. It must be new or empty.")
@click.option("--force", is_flag=True, help="Replace an earlier export in this folder.")
@config_options(config.Export)
@json_option
@model_options(scores=False)
def command(
    out: Path,
    force: bool,
    export: config.Export,
    json_path: Path | None,
    choice: ModelChoice,
) -> int:
    """Export a net as ONNX, for programs without actrec.

    Writes model.onnx, labels.txt, input.json (how to pass frames to the net) and classify.py, an example program that
    needs only PyAV, numpy and onnxruntime. The input of model.onnx is decoded frames of any size. The model resizes,
    crops and normalizes them as `actrec evaluate` does. Needs `pip install 'actrec[export]'`.
    """
    from actrec.inference.export import check_folder, check_packages

    check_packages()
    check_folder(out, force=force, advice="pass --force to replace the export in it")
    model = choice.load()
    found = model.export(out, pt2=export.pt2, force=force)
    lines = [f"model.onnx: opset {found.opset}, logits differ by {found.onnx_difference:.1e} of the largest one"]
    if found.pt2_difference is not None:
        lines.append(f"model.pt2: logits differ by {found.pt2_difference:.1e} of the largest one")
    lines.append(f"{model.net.name} from {choice.path} -> {out}")
    return finish(*lines, json_path=json_path, result={"model": str(choice.path), "out": str(out), **asdict(found)})
