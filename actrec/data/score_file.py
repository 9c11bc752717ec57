"""Score files (`.npz`): the scores of a list's videos, and what they were made from."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from actrec.files import atomic_write
from actrec.opening import check_regular, kind_of_file, open_npz
from actrec.system import is_systems_fault

PATHS = ("model", "list", "inputs", "fit")  # what is not compared: the content of these files counts, wherever they are
_ADVICE = "pass another name with --out, or --force to replace it"


@dataclass(frozen=True)
class ScoreFile:
    """The content of a score file.

    Args:
        ids: The scored videos.
        scores: (videos, classes) float32 logits. Their softmax gives probabilities, for several labels their sigmoid.
        labels: (videos,) int64, -1 for a video without a label; for several labels (videos, classes) bool.
        classes: The name of each class, or its number if the names are unknown.
        made_from: What the scores depend on: values that JSON can hold, by name. Empty if it is unknown.
    """

    ids: Sequence[str]
    scores: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]
    made_from: Mapping[str, Any] = field(default_factory=dict)

    @property
    def multi_label(self) -> bool:
        return self.labels.ndim == 2

    @property
    def has_names(self) -> bool:
        """Whether `classes` are more than numbers."""
        return list(self.classes) != numbers(len(self.classes))


def numbers(num_classes: int) -> list[str]:
    """Replacements for unknown class names: "0", "1", ..."""
    return [str(label) for label in range(num_classes)]


def write(path: str | os.PathLike[str], content: ScoreFile, *, force: bool = True) -> None:
    """Writes a score file, atomically. It contains no pickled objects.

    Args:
        force: Replace a file that contains other scores. Otherwise, the error of `refuse_other` is raised, also if
            another process has written the file while these scores were computed.

    Raises:
        OSError: The file cannot be written.
    """
    check = None if force else functools.partial(refuse_other, Path(path), content.made_from)
    with atomic_write(path, "wb", may_replace=check) as file:
        np.savez(
            file,
            ids=np.array(content.ids, str),
            scores=content.scores.astype(np.float32, copy=False),
            labels=content.labels,
            classes=np.array(content.classes, str),
            made_from=np.array(json.dumps(content.made_from)),
        )


def read(path: str | os.PathLike[str]) -> ScoreFile:
    """Reads a score file. Files that earlier versions wrote have only numbers as `classes`, and no `made_from`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a score file, or a video occurs twice.
    """
    name = os.fspath(path)
    if os.path.exists(path) and not os.path.isdir(path):
        check_regular(path)
    try:
        with open_npz(path) as found:
            arrays = {key: found[key] for key in found.files}
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ValueError(f"{name} is a folder: expected a score file, such as RUN/scores/val_1x1.npz") from None
    except Exception as error:  # numpy raises whatever the bytes lead it to
        if is_systems_fault(error):
            raise
        raise ValueError(f"{name}: {_unreadable(path)}") from None
    missing = [key for key in ("ids", "scores", "labels") if key not in arrays]
    if missing:
        raise ValueError(f"{name}: contains no array {missing[0]!r}: expected a score file of `actrec evaluate`")
    scores, labels = arrays["scores"], arrays["labels"]
    ids = [str(id_) for id_ in arrays["ids"]] if arrays["ids"].ndim == 1 else []
    if (
        scores.ndim != 2
        or len(ids) != len(scores)
        or labels.shape not in (scores.shape[:1], scores.shape)
        or scores.dtype.kind != "f"
        or labels.dtype.kind != ("i" if labels.ndim == 1 else "b")
        or (labels.ndim == 1 and len(labels) and labels.max() >= scores.shape[1])
    ):
        raise ValueError(
            f"{name}: `ids` {arrays['ids'].shape}, `scores` {scores.shape} and `labels` {labels.shape} do not fit "
            "together: expected a score file of `actrec evaluate`"
        )
    if len(set(ids)) < len(ids):
        twice = next(id_ for number, id_ in enumerate(ids) if id_ in ids[:number])
        raise ValueError(f"{name}: video {twice} occurs twice: expected every video once")
    classes = arrays.get("classes")
    if classes is not None and classes.shape != scores.shape[1:]:
        raise ValueError(f"{name}: `classes` {classes.shape} with `scores` {scores.shape}: expected a name per class")
    names = numbers(scores.shape[1]) if classes is None else [str(class_) for class_ in classes]
    return ScoreFile(ids, scores, labels, names, _made_from(arrays.get("made_from")))


def _unreadable(path: str | os.PathLike[str]) -> str:
    kind = kind_of_file(path)
    if kind in (None, "a binary file", "an archive", "an archive of numpy"):
        return "the file is damaged, or not a score file of `actrec evaluate`"
    return f"this is {kind}, not a score file of `actrec evaluate`"


def refuse_other(path: Path, made_from: Mapping[str, Any]) -> None:
    """Raises ValueError if the file exists and contains scores that were made from something else."""
    if not path.exists():
        return
    try:
        old = read(path).made_from
    except ValueError:
        raise ValueError(f"{path} exists and is not a score file: {_ADVICE}") from None
    refuse_change(path, old, made_from, "scores")


def refuse_change(path: Path, old: Mapping[str, Any], made_from: Mapping[str, Any], what: str) -> None:
    """Raises ValueError if the content of an existing file was made from something else, or if that is unknown.

    Args:
        old: What it was made from; empty if that is unknown.
        what: The content, for the message.
    """
    if not old:
        raise ValueError(f"{path} exists and does not say what its {what} were made from: {_ADVICE}")
    names = [name for name in {**old, **made_from} if name not in PATHS]
    other = [name for name in names if _differ(old.get(name), made_from.get(name))]
    if other:
        changes = ", ".join(_change(name, old, made_from) for name in other[:3]) + ", ..." * (len(other) > 3)
        raise ValueError(f"{path} exists and contains other {what} ({changes}): {_ADVICE}")


def _differ(old: Any, new: Any) -> bool:
    """None stands for what is unknown."""
    return old is not None and new is not None and json.dumps(old) != json.dumps(new)


def _change(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    of_path = name.removesuffix("_sha256")
    if of_path != name and old.get(of_path) and new.get(of_path):
        return f"{of_path} {old[of_path]}" + (
            f", now {new[of_path]}" if old[of_path] != new[of_path] else " has changed"
        )
    return f"{name} {_shown(old.get(name))}, now {_shown(new.get(name))}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _made_from(stored: np.ndarray | None) -> dict[str, Any]:
    if stored is None or stored.shape != ():
        return {}
    try:
        found = json.loads(str(stored))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
