"""Scoring a list with a trained net: what `actrec evaluate` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from actrec import config, nets
from actrec.engine import checkpoint, dist
from actrec.engine import evaluate as scores
from actrec.engine.build import build_net
from actrec.engine.datafolder import IndexedList
from actrec.engine.devices import choose_precision, move
from actrec.engine.runfolder import BEST
from actrec.pipelines.loader import eval_loader

_VIEWS_OF_A_BATCH = 32


@dataclass(frozen=True)
class Trained:
    """A trained net and how to feed it.

    Args:
        classes: their names; None if only weights are known.
        crop_ratio: as in validation.
    """

    net: nets.Backbone
    clip: config.Clip
    classes: list[str] | None
    channels_last: bool
    multi_label: bool
    crop_ratio: float


def from_checkpoint(path: Path) -> Trained:
    """The net of a checkpoint, fed as in its training.

    Raises:
        OSError, ValueError: it cannot be read, or is no checkpoint.
    """
    saved = checkpoint.load(path)
    return Trained(
        checkpoint.build_net(saved),
        config.Clip(**saved["clip"]),
        saved["classes"],
        saved["channels_last"],
        saved.get("multi_label", False),
        saved.get("crop_ratio", config.Views.crop_ratio),
    )


def from_weights(
    choice: config.Net, weights: Path, *, num_classes: int, modality: config.Modality, multi_label: bool
) -> Trained:
    """A net with the weights of a file, fed with its default clips.

    Raises:
        OSError, ValueError: as `build_net`.
    """
    net = build_net(choice, num_classes=num_classes, modality=modality, weights=str(weights), new_head=False)
    return Trained(net, config.Clip(modality=modality), None, True, multi_label, config.Views.crop_ratio)


def score_list(
    trained: Trained,
    found: IndexedList,
    *,
    views: config.Views,
    scoring: config.Scoring,
    loader: config.Loader,
    frame: config.Frame,
    device: str,
    progress: Callable[[int], None],
) -> scores.Result:
    """Scores all videos of a list. In several processes, each scores its part, and all of them get the whole result.

    Args:
        device: cpu or cuda.
        progress: called with the number of videos scored since the last call, in all processes together.

    Raises:
        ValueError: options, net and list do not fit, or no video could be scored.
    """
    net, precision = trained.net, str(scoring.precision)
    if precision == "auto":
        precision = choose_precision("auto", torch.device(device)) if device == "cuda" else "float32"
    batches = eval_loader(
        found.videos,
        trained.clip,
        frame.applied_to(net.input),
        views=views,
        batch_size=scoring.batch_size or max(1, _VIEWS_OF_A_BATCH // views.num_views),
        device=device,
        index=found.index,
        rank=dist.rank(),
        world=dist.world(),
        workers=loader.workers or dist.cores_of_process(),
        prefetch=loader.prefetch,
        channels_last=trained.channels_last,
        multi_label=cast(int, net.options["num_classes"]) if trained.multi_label else None,
    )
    own = scores.score(
        move(net, torch.device(device), channels_last=trained.channels_last),
        batches,
        average=scoring.average,
        precision=precision,
        progress=lambda n: progress(n * dist.world()),
    )
    return scores.check_scored(scores.merge(dist.gather(own), found.videos))


def with_clip(trained: Trained, changes: dict[str, Any]) -> Trained:
    """The same net, with other clips.

    Raises:
        OptionError: the changed options do not go together.
    """
    return replace(trained, clip=replace(trained.clip, **changes))


def with_crop(views: config.Views, trained: Trained, changes: dict[str, Any]) -> config.Views:
    """These views, with the crop ratio of the validation unless another one is given."""
    return replace(views, **({"crop_ratio": trained.crop_ratio} | changes))


def scores_path(
    folder: Path, run_dir: Path | None, checkpoint_path: Path | None, list_path: Path, views: config.Views
) -> Path:
    """Where scores are stored by default: `scores/<list>_<clips>x<crops>.npz` in the run, or in the dataset folder."""
    name = f"{list_path.stem}_{views.clips}x{views.crops}"
    if checkpoint_path is not None and checkpoint_path.name != BEST:
        name += f"_{checkpoint_path.stem}"
    home = run_dir or (checkpoint_path.parent if checkpoint_path is not None else folder)
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
