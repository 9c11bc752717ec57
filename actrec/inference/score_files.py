"""The files that `actrec evaluate` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actrec import config
from actrec.engine import evaluate as scores
from actrec.engine.runfolder import BEST


def scores_path(home: Path, checkpoint_path: Path | None, list_path: Path, views: config.Views) -> Path:
    """Where scores are stored by default: `scores/<list>_<clips>x<crops>.npz` in the folder `home`."""
    name = f"{list_path.stem}_{views.clips}x{views.crops}"
    if checkpoint_path is not None and checkpoint_path.name != BEST:
        name += f"_{checkpoint_path.stem}"
    return home / "scores" / f"{name}.npz"


def save(
    result: scores.Result,
    out: Path,
    *,
    reference_files: bool,
    topk_json: Path | None,
    topk: int,
    classes: Sequence[str],
) -> list[Path]:
    """Writes the scores, and the files of other tools that are asked for. Returns the names of the latter.

    Raises:
        OSError: a file cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    scores.save_scores(out, result)
    written = scores.save_reference(out.parent, out.stem, result) if reference_files else []
    if topk_json is not None:
        scores.save_topk_json(topk_json, result, classes, topk)
        written = [*written, topk_json]
    return written


def summary(result: scores.Result, out: Path, fingerprint: dict[str, Any]) -> dict[str, Any]:
    """What `evaluate --json` writes."""
    own = {"map": result.map} if result.multi_label else {"mean_class": result.mean_class}
    return own | {
        "top1": result.top1,
        "top5": result.top5,
        "videos": result.num_videos,
        "missing": result.missing,
        "clamped": result.clamped,
        "scores": str(out),
        "data": fingerprint,
    }
