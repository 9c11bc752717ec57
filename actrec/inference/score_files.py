"""The files that `actrec evaluate` writes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actrec import config
from actrec.data import score_file
from actrec.data.sampling.protocols import Protocol
from actrec.data.score_file import ScoreFile
from actrec.engine import evaluate as scores
from actrec.engine.runfolder import BEST
from actrec.files import sha256
from actrec.inference.model import Model


def scores_path(
    home: Path, model_path: Path, list_path: Path, views: config.Views | Protocol, changes: Mapping[str, Any]
) -> Path:
    """Where scores are stored by default: `scores/<list>_<clips>x<crops>.npz` in the folder `home`.
    With a protocol, the file name contains its name instead of clips and crops.

    The name also contains the name of the model's file, unless it is best.pt, and each change: `val_1x1_size-224.npz`.

    Args:
        changes: The options that the user changed, by flag without `--`.
    """
    parts = [list_path.stem, views.name if isinstance(views, Protocol) else f"{views.clips}x{views.crops}"]
    if model_path.name != BEST:
        parts.append(model_path.stem)
    return home / "scores" / ("_".join([*parts, *(_part(*change) for change in changes.items())]) + ".npz")


def _part(flag: str, value: Any) -> str:
    if isinstance(value, bool):
        return flag if value else f"no-{flag}"
    values = value if isinstance(value, tuple) else (value,)
    return f"{flag}-" + ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in values)


def made_from(model: Model, list_path: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the scores of a list depend on, as a score file stores it.

    Args:
        fingerprint: Of the index of the list.
    """
    rule = model.protocol
    return {
        "command": "evaluate",
        "model": os.path.abspath(model.source),
        "model_sha256": sha256(model.source),
        "list": os.path.abspath(list_path),
        "list_sha256": fingerprint["list"],
        "contents_sha256": fingerprint["contents"],
        "net": model.net.name,
        "net_options": dict(model.net.options),
        "multi_label": model.multi_label,
        **dataclasses.asdict(model.clip),
        "size": model.input.side,
        "mean": list(model.input.mean),
        "std": list(model.input.std),
        "clips": model.views.clips,
        "crops": model.views.crops,
        "crop_ratio": model.views.crop_ratio,
        "crop_rule": model.views.rule,
        "average": model.average,
        "precision": model.precision,
    } | (_of_protocol(rule, model.scoring.fps) if rule is not None else {})


def _of_protocol(rule: Protocol, fps: float | None) -> dict[str, Any]:
    """The values that a protocol sets instead of other options."""
    given = {} if fps is None or rule.target_fps is None else {"fps": fps}
    return given | {
        "protocol": rule.name,
        "frames": rule.clip_frames,
        "sampling": rule.sampling,
        "stride": rule.stride,
        "rule": None,
        "size": rule.crop,
        "mean": list(rule.mean),
        "std": list(rule.std),
        "clips": rule.clips,
        "crops": rule.crops,
        "crop_ratio": None,
        "crop_rule": rule.crop_rule,
    }


def save(
    result: scores.Result,
    content: ScoreFile,
    out: Path,
    *,
    reference_files: bool,
    topk_json: Path | None,
    topk: int,
    force: bool = True,
) -> list[Path]:
    """Writes the scores, and the files of other tools that are asked for. Returns the names of the latter.

    Args:
        force: As for `score_file.write`.

    Raises:
        OSError: a file cannot be written.
        ValueError: `out` contains other scores.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    score_file.write(out, content, force=force)
    written = scores.save_reference(out.parent, out.stem, result) if reference_files else []
    if topk_json is not None:
        scores.save_topk_json(topk_json, result, content.classes, topk)
        written = [*written, topk_json]
    return written


def summary(
    result: scores.Result, out: Path, fingerprint: Mapping[str, Any], rule: Protocol | None = None
) -> dict[str, Any]:
    """What `evaluate --json` writes, besides the analysis of the classes."""
    followed = {} if rule is None else {"protocol": rule.name, "left_out": result.left_out}
    return (
        followed
        | result.summary()
        | {
            "missing": result.missing,
            "clamped": result.clamped,
            "scores": str(out),
            "data": dict(fingerprint),
        }
    )
