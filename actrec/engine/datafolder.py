"""A dataset folder as the commands see it: its lists with their indexes, class names, flip map, and its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from actrec.data.flow import flow_videos
from actrec.data.index import Index, build_index, cache_path, notices
from actrec.data.lists import (
    Video,
    advice,
    find_labels,
    label_columns,
    mirror,
    read_labels,
    read_list,
)
from actrec.data.lists.labeling import range_of_counts, refuse_gaps
from actrec.engine import runlog
from actrec.engine.failures import skipped_lines
from actrec.engine.runfolder import BEST, CHECKPOINTS, Data
from actrec.files import show
from actrec.words import some_of

Watch = Callable[[], AbstractContextManager[Callable[[int, int], None]]]  # gives a progress callback for one list
Log = Callable[[str], None]


@dataclass(frozen=True)
class IndexedList:
    """A list with its index."""

    path: Path
    videos: Sequence[Video]
    index: Index


def find_list(folder: Path, name: str, *, otherwise: str = "pass a list with --list") -> Path:
    """`train.txt` (or val, test) of a dataset folder, else its `videos_train.txt`.

    Args:
        otherwise: What the error message advises if there is no such list.

    Raises:
        FileNotFoundError: the folder contains neither.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; --data expects the folder that contains the lists")
    for candidate in (folder / f"{name}.txt", folder / f"videos_{name}.txt"):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"{folder}: contains no {name}.txt; `actrec extract-frames` creates it from videos/<class>/, or {otherwise}"
    )


def part_lists(folder: Path) -> list[Path]:
    """The training list of a dataset folder, and the validation and test lists that exist next to it.

    Raises:
        FileNotFoundError: there is no training list.
    """
    train = find_list(folder, "train")
    others = (train.with_name(train.name.replace("train", part)) for part in ("val", "test"))
    return [train, *(path for path in others if path.exists())]


def load_list(
    path: Path,
    *,
    workers: int | None,
    modality: str,
    watch: Watch,
    log: Log,
    image_range: tuple[float, float] | None = None,
    template: str | None = None,
    name_skipped: bool = True,
    read_only: bool = False,
) -> IndexedList:
    """Reads a list and its index, and probes the videos (or their optical flow) that the index does not know.

    Args:
        modality: rgb or flow.
        image_range: as the loaders get it, for the message.
        template: as the loaders get it.
        log: is told how many videos cannot be used, and how many have more than 8 bits, if there are any.
        name_skipped: whether up to ten of those that cannot be used are named.
        read_only: no file is written: neither the index nor the cache of the list.
    """
    flow = modality == "flow"
    rows = read_list(path, cache=not read_only)
    for line in rows.notices:
        log(f"{path}: {line}")
    videos: Sequence[Video] = rows
    if flow:
        videos = flow_videos(videos, path.parent)
    with watch() as progress:
        cache = cache_path(path, flow=flow)
        try:
            index = build_index(
                videos, cache=cache, workers=workers, progress=progress, flow=flow, template=template,
                read_only=read_only,
            )  # fmt: skip
        except ValueError as error:  # none of the videos can be used
            if looks := advice(path, "videos"):
                raise ValueError(f"{error}\n{path}: {looks}") from None
            raise
    if damage := index.why_probed_again:
        log(damage)
    if cut := index.describe_cut():
        log(f"{path}: {cut}")
    if unusable := index.unusable:
        reasons = [(videos[row].id, f"{videos[row].path}: {reason}") for row, reason in unusable.items()]
        for line in skipped_lines(str(path), len(videos), reasons, named=10 if name_skipped else 0):
            log(line)
    for line in notices([index], image_range):
        log(f"{path}: {line}")
    if image_range is not None and index.is_probed and not index.num_deep:
        log(f"{path}: --image-range has no effect: no image and no gray video has more than 8 bits")
    return IndexedList(path, videos, index)


def training_lists(folder: Path, train_list: Path | None, val_list: Path | None) -> tuple[Path, Path | None]:
    """The training list and the validation list of a run, as `training_data` uses them.

    Raises:
        FileNotFoundError: the folder contains no list that is needed.
    """
    train_path = train_list if train_list is not None else find_list(folder, "train")
    if val_list is None and train_list is None:
        advice = f"pass a list with --val-list; to train without validation, pass only --list {train_path}"
        val_list = find_list(folder, "val", otherwise=advice)
    return train_path, val_list


def training_data(
    folder: Path,
    *,
    train_list: Path | None,
    val_list: Path | None,
    workers: int | None,
    modality: str,
    watch: Watch,
    log: Log,
    image_range: tuple[float, float] | None = None,
    template: str | None = None,
    read_only: bool = False,
) -> Data:
    """The lists of a training run, with their class names and flip map.

    Args:
        train_list, val_list: by default those of the dataset folder. With a training list of its own, a run has no
            validation list unless one is given.
        read_only: as for `load_list`.

    Raises:
        OSError, ValueError: a list is missing, malformed, or disagrees with the other one on the classes.
    """
    train_path, val_list = training_lists(folder, train_list, val_list)
    settings: dict[str, Any] = {
        "workers": workers,
        "modality": modality,
        "watch": watch,
        "log": log,
        "image_range": image_range,
        "template": template,
        "read_only": read_only,
    }
    train = load_list(train_path, **settings)
    val = load_list(val_list, **settings) if val_list is not None else None
    classes = class_names(train_path, [train] if val is None else [train, val])
    if val is not None:
        refuse_other_classes(val.path, classes)
    _tell_labels(train, val, classes, log)
    return Data(
        train=train.videos,
        train_index=train.index,
        val=val.videos if val is not None else None,
        val_index=val.index if val is not None else None,
        classes=classes,
        flip_map=mirror.flips_of(train_path, classes),
        flips_from_names=not (train_path.parent / mirror.FILE).exists(),
        sources=(folder, train_path, val_list),
    )


def _tell_labels(train: IndexedList, val: IndexedList | None, classes: Sequence[str], log: Log) -> None:
    """Logs how many videos each class has, and what is suspicious."""
    for item in (train, val):
        if item is not None:
            counts = _usable_per_class(item, len(classes))
            log(f"{item.path}: {range_of_counts(counts, classes)}")
    if classes == [str(label) for label in range(len(classes))] and 0 not in label_columns(train.videos)[0]:
        empty = np.flatnonzero(np.bincount(label_columns(train.videos)[0], minlength=len(classes)) == 0).tolist()
        which = f"label {empty[0]}" if len(empty) == 1 else f"labels {some_of(list(map(str, empty)))}"
        so = "this class has" if len(empty) == 1 else "these classes have"
        log(f"WARNING: no video of {train.path} has the {which}: labels count from 0, so {so} no videos")
    if len(classes) == 1 and label_columns(train.videos)[1].all():  # with several labels, a video may have none
        log(f"WARNING: {train.path} has a single class: its name is {show(classes[0])}, and every answer will be right")


def _usable_per_class(item: IndexedList, num_classes: int) -> list[int]:
    labels, per_row = label_columns(item.videos)
    usable = np.ones(len(item.videos), bool)
    usable[list(item.index.unusable)] = False
    return np.bincount(labels[np.repeat(usable, per_row)], minlength=num_classes).tolist()


def class_names(path: Path, lists: Sequence[IndexedList]) -> list[str]:
    """The class names next to a list, or the numbers up to the largest label if there are none.

    Raises:
        ValueError: there are neither names nor labels.
    """
    found = find_labels(path.parent)
    if found is not None:
        return read_labels(found)
    labels = np.concatenate([label_columns(item.videos)[0] for item in lists])
    if not len(labels):
        raise ValueError(f"{path}: no video has a label; expected lines such as `folder start end label`")
    refuse_gaps(labels, str(path))
    return [str(i) for i in range(labels.max() + 1)]


def refuse_other_classes(path: Path, classes: Sequence[str]) -> None:
    """Raises ValueError if the names next to a list give its labels another meaning than the net's classes have."""
    found = find_labels(path.parent)
    if found is None:
        return
    for label, (here, there) in enumerate(zip(read_labels(found), classes)):
        if here != there:
            raise ValueError(f"{found}: label {label} is {here!r}, but the net was trained with {there!r}")


def newest_run(
    folder: Path, files: Sequence[str], *, net: str | None = None, modality: str | None = None
) -> Path | None:
    """The folder in `runs/` with the newest of these files. None if no folder contains one of them.

    Args:
        net, modality: Only runs of this net, and with this modality, according to their `config.json`.
    """
    found = [path for name in files for path in (folder / "runs").glob(f"*/{name}")]
    newest_first = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path.parent for path in newest_first if _trains(path.parent, net, modality)), None)


def _trains(run_dir: Path, net: str | None, modality: str | None) -> bool:
    """Whether this is a run of the net, as far as its configuration can be read."""
    if net is None and modality is None:
        return True
    try:
        stored = runlog.read_config(run_dir)
        return net in (None, stored["net"]["backbone"]) and modality in (None, stored["clip"].get("modality", "rgb"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def run_to_resume(folder: Path, net: str | None, modality: str | None) -> Path:
    """The newest run in `runs/` that has a checkpoint; of this net and modality if they are given.

    Raises:
        ValueError: There is none.
    """
    found = newest_run(folder, CHECKPOINTS, net=net, modality=modality)
    if found is None:
        which = (f" of {net}" if net else "") + (" with modality flow" if modality == "flow" else "")
        raise ValueError(
            f"{folder / 'runs'} contains no run{which} with a checkpoint to continue from: omit --resume to begin one"
        )
    return found


def best_checkpoint(folder: Path, run_dir: Path | None, *, advice: str = "") -> Path:
    """`best.pt` of a run, by default of the newest run of a dataset folder.

    Args:
        advice: The end of the message if there is none.

    Raises:
        FileNotFoundError: the folder has no such run.
    """
    run_dir = run_dir if run_dir is not None else newest_run(folder, (BEST,))
    if run_dir is None:
        raise FileNotFoundError(f"{folder / 'runs'}: no run with a {BEST}; `actrec train` creates one{advice}")
    return run_dir / BEST


def new_run(folder: Path, net: str) -> Path:
    """A run folder that does not exist yet: `runs/<date>_<net>`, with a number if it is taken."""
    runs = folder / "runs"
    name = f"{date.today().isoformat()}_{net}"
    taken = {path.name for path in runs.glob(f"{name}*")}
    return runs / next(n for i in range(1, 10_000) if (n := name if i == 1 else f"{name}-{i}") not in taken)
