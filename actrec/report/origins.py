"""What score files were made from: which of them the page shows, and whether they can be compared. numpy only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actrec import config
from actrec.data import score_file
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.files import sha256
from actrec.report.runs import Run, flat
from actrec.words import counted

_BEST = "best.pt"
_TRAINED = {  # options of scores, and where `config.json` has their values in training
    "frames": "input.frames",
    "stride": "clip.stride",
    "sampling": "clip.sampling",
    "rule": "clip.rule",
    "modality": "clip.modality",
    "image_range": "clip.image_range",
    "template": "clip.template",
    "size": "input.size",
    "mean": "input.mean",
    "std": "input.std",
    "multi_label": "loss.multi_label",
    "crop_ratio": "run.crop_ratio",
}
_VALIDATION = {
    "clips": config.Views.clips,
    "crops": config.Views.crops,
    "crop_rule": config.Views.rule,
    "average": config.Scoring.average,
}
_OF_PROTOCOL = ("frames", "stride", "sampling", "rule", "size", "mean", "std", "crop_ratio", *_VALIDATION)
_OWN = ("model_sha256", "contents_sha256", "net", "net_options", *score_file.PATHS)  # may differ between runs


def choose(found: Sequence[Run]) -> list[Path | None]:
    """The score file in `RUN/scores` that the page shows for each run; None if there is none.

    Scores of the validation list by best.pt, with the views of the validation in training, are preferred to others,
    then newer ones to older ones. Files that all runs have with the same settings come first.
    """
    candidates = [_candidates(run) for run in found]
    others = [settings for settings in candidates if settings]
    for wanted in others[0].values() if others else ():
        if wanted and all(wanted in settings.values() for settings in others):
            return [next((path for path, own in settings.items() if own == wanted), None) for settings in candidates]
    return [next(iter(settings), None) for settings in candidates]


def _candidates(run: Run) -> dict[Path, dict[str, Any]]:
    """The score files of a run with their settings, the most suitable one first."""
    paths = sorted((run.path / "scores").glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    origins = {path: _origin(path) for path in paths}
    origins = {path: origin for path, origin in origins.items() if other_model(run, origin) is None}
    validation = {path: origin for path, origin in origins.items() if _is_validation(run, path, origin)}
    origins = validation or origins

    def rank(path: Path) -> tuple[bool, bool]:
        is_other = file_name(origins[path], "model") != _BEST
        return is_other or bool(changes(run, origins[path])), is_other

    return {path: settings(run, origins[path]) for path in sorted(origins, key=rank)}


def _origin(path: Path) -> Mapping[str, Any]:
    try:
        return score_file.read(path).made_from
    except (OSError, ValueError):
        return {}


def _is_validation(run: Run, path: Path, origin: Mapping[str, Any]) -> bool:
    known = _list_of(run, "val"), origin.get("list_sha256")
    return known[0] == known[1] if all(known) else "val" in path.stem


def _list_of(run: Run, name: str) -> Any:
    """The fingerprint of a list of the training."""
    found = run.data.get(name)
    return found.get("list") if isinstance(found, dict) else None


def other_model(run: Run, origin: Mapping[str, Any]) -> str | None:
    """The file of the net that made the scores, if it is not a checkpoint of the run. A run may have been moved."""
    model = origin.get("model")
    if not isinstance(model, str) or Path(model).parent.resolve() == run.path.resolve():
        return None
    own = run.path / Path(model).name
    if own.is_file():
        return model if sha256(own) != origin.get("model_sha256") else None
    return model if Path(model).parent.name != run.path.resolve().name else None


def changes(run: Run, origin: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The options in which scores differ from the validation in training: (value, value in training)."""
    trained = flat(run.config)
    expected = _VALIDATION | {name: trained[key] for name, key in _TRAINED.items() if key in trained}
    return {name: (origin[name], value) for name, value in expected.items() if name in origin and origin[name] != value}


def settings(run: Run, origin: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same in the scores of two runs to compare them. Empty if it is unknown.

    An option with its value in training is left out: two nets may be trained with different clips.
    """
    if not origin:
        return {}
    left_out = {*_OWN, *_TRAINED, *_VALIDATION}
    shown = {name: value for name, value in origin.items() if name not in left_out}
    changed = {name: value for name, (value, _) in changes(run, origin).items()}
    return {"model": file_name(origin, "model")} | shown | changed


def differences(names: Sequence[str], known: Sequence[Mapping[str, Any]]) -> str | None:
    """In what the scores of runs differ, in words; None if they can be compared.

    Args:
        names: The names of the runs.
        known: The settings of each.
    """
    if len(known) < 2:
        return None
    for name, own in zip(names, known):
        if not own:
            return f"the score file of {name} does not say what its scores were made from"
    parts = []
    for option in dict.fromkeys(option for own in known for option in own):
        values = [_text(own[option]) if option in own else "as in training" for own in known]
        if any(own.get(option) != known[0].get(option) for own in known):
            parts.append(f"{option.replace('_sha256', ' fingerprint')}: {' / '.join(values)}")
    return "; ".join(parts) or None


def notes(run: Run, origin: Mapping[str, Any]) -> list[str]:
    """Why the figures of scores cannot be compared with the validation in training."""
    found = []
    scored, val = origin.get("list_sha256"), _list_of(run, "val")
    if scored and val and scored != val:
        is_train = scored == _list_of(run, "train")
        which = "the training list, not the validation list," if is_train else "not the validation list"
        found.append(f"The scored list {file_name(origin, 'list')} is {which} of the run.")
    if different := _changes_text(run, origin):
        found.append(f"The scores were made with other options than the validation in training: {different}.")
    return found


def views(run: Run, origin: Mapping[str, Any]) -> str:
    """How the scores were made, such as "10 clips x 3 crops", with the options that differ from those in training."""
    clips, crops = origin.get("clips"), origin.get("crops")
    if not isinstance(clips, int) or not isinstance(crops, int):
        return "unknown"
    others = _changes_text(run, {name: value for name, value in origin.items() if name not in ("clips", "crops")})
    return f"{counted(clips, 'clip')} x {counted(crops, 'crop')}" + (f", {others}" if others else "")


def file_name(origin: Mapping[str, Any], name: str) -> str:
    """The name of the model's or the list's file."""
    return Path(origin[name]).name if isinstance(origin.get(name), str) else "unknown"


def _changes_text(run: Run, origin: Mapping[str, Any]) -> str:
    rule = origin.get("protocol")
    own = [] if rule is None else [f"protocol {_text(rule)}"]
    return ", ".join(  # a validation in training has one view, and so nothing to average
        own
        + [
            f"{name} {_text(value)}" + (f" ({_text(there)} in training)" if there is not None else "")
            for name, (value, there) in changes(run, origin).items()
            if rule is None or not _follows(rule, name, value)
        ]
    )


def _follows(rule: Any, name: str, value: Any) -> bool:
    """Whether an option has the value that the protocol of an evaluation gives it."""
    known = PROTOCOLS.get(rule) if isinstance(rule, str) else None
    if known is not None and name in ("mean", "std"):
        return value == list(getattr(known, name))
    if known is not None and name == "average":
        return value in known.reduction
    return name in _OF_PROTOCOL


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) < 60 else text[:12]
