"""What run folders say of themselves: one run's state and best figures, and two runs side by side. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from actrec.engine import runlog
from actrec.files import read_json
from actrec.registry import did_you_mean

DATA, ENVIRONMENT = "data.json", "environment.json"
_BEGUN = (runlog.CONFIG, runlog.NAME, "last.pt")  # a folder with one of these is a run
PICTURES = (".png", ".pdf", ".svg")
_MEASURES = {"val_top1": "top-1", "val_map": "mAP"}
_LOSSES = {"train_loss": "train loss", "val_loss": "val loss"}


@dataclass(frozen=True)
class Run:
    """A run folder, as far as it can be read.

    Args:
        config, data, environment: the files of that name; empty if broken.
        epochs: what was logged of each, the first epoch first.
        steps: what was logged within epochs.
        broken: the files that are missing or cannot be read.
    """

    path: Path
    config: dict[str, Any]
    data: dict[str, Any]
    environment: dict[str, Any]
    epochs: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    broken: tuple[str, ...]

    @property
    def net(self) -> str:
        return self.config.get("net", {}).get("backbone", "")

    @property
    def planned(self) -> int | None:
        """Epochs of the whole run."""
        return self.config.get("optim", {}).get("epochs")

    @property
    def done(self) -> int:
        """Epochs that are behind it."""
        return self.epochs[-1]["epoch"] + 1 if self.epochs else 0

    @property
    def measure(self) -> str:
        """Of validation: val_map where it was logged, else val_top1."""
        return "val_map" if any("val_map" in row for row in self.epochs) else "val_top1"

    @property
    def state(self) -> str:
        if self.broken:
            return f"broken: {', '.join(self.broken)}"
        if self.done >= self.planned:
            return "finished"
        if not self.done and not self.steps:
            return "just begun"
        return f"in epoch {self.done + 1}"

    def values(self, name: str) -> dict[int, float]:
        """By epoch, what was logged under that name and is a finite number."""
        return {row["epoch"]: row[name] for row in self.epochs if _finite(row.get(name))}


@dataclass(frozen=True)
class Summary:
    """A run in a line.

    Args:
        measure: what best and last are of: top-1 or mAP, in percent.
        loss: the last that was logged in training.
        state: finished, in epoch N (it runs, or was stopped there), just begun, or broken: FILES.
    """

    name: str
    net: str
    epochs: int
    planned: int | None
    measure: str
    best: float | None
    last: float | None
    loss: float | None
    clips_per_second: float | None
    state: str


def find(folder: Path) -> list[Path]:
    """The run folders in a folder, the one that was written to last at the end; none if there is no such folder."""
    if not folder.is_dir():
        return []
    found = {path: times for path in folder.iterdir() if (times := _written(path))}
    return sorted(found, key=lambda path: (max(found[path]), path.name))


def locate(name: str, runs: Path) -> Path:
    """The run folder of that path, or of that name in `runs`.

    Raises:
        ValueError: there is none.
    """
    for path in (Path(name), runs / name):
        if _written(path):
            return path
    if Path(name).is_dir():
        raise ValueError(f"{name} is no run: it holds none of {', '.join(_BEGUN)}")
    known = [path.name for path in find(runs)]
    raise ValueError(f"no run {name!r}" + (did_you_mean(name, known) if known else f": {runs} holds no runs"))


def read(path: Path) -> Run:
    """Everything of a run folder but its weights."""
    broken: list[str] = []
    config = _read(runlog.CONFIG, lambda: runlog.read_config(path), broken)
    data, environment = (_read(name, partial(read_json, path / name, dict), broken) for name in (DATA, ENVIRONMENT))
    if runlog.CONFIG not in broken and not _has_epochs(config):
        broken.append(runlog.CONFIG)
        config = {}
    rows = {row["epoch"]: row for row in _rows(path, runlog.NAME, broken) if isinstance(row.get("epoch"), int)}
    steps = [row for row in _rows(path, runlog.STEPS, broken) if isinstance(row.get("epoch"), int)]
    return Run(path, config, data, environment, [rows[epoch] for epoch in sorted(rows)], steps, tuple(broken))


def summary(run: Run) -> Summary:
    scores = list(run.values(run.measure).values())
    losses = [row["loss"] for row in run.steps if _finite(row.get("loss")) and row["epoch"] >= run.done]
    return Summary(
        name=run.path.name,
        net=run.net,
        epochs=run.done,
        planned=run.planned,
        measure=_MEASURES[run.measure],
        best=max(scores, default=None),
        last=scores[-1] if scores else None,
        loss=(losses or list(run.values("train_loss").values()) or [None])[-1],
        clips_per_second=(list(run.values("clips_per_second").values()) or [None])[-1],
        state=run.state,
    )


def differences(a: Run, b: Run) -> list[tuple[str, Any, Any]]:
    """What two runs were made with that is not the same: options, data, versions.

    Returns:
        (name such as optim.lr, its value in A, in B), where a value is None or "-" if a run does not have it.
    """
    rows = []
    for one, other in ((a.config, b.config), (_data(a), _data(b)), (a.environment, b.environment)):
        flat, others = _flat(one), _flat(other)
        names = [*flat, *(name for name in others if name not in flat)]
        pairs = [(name, flat.get(name, "-"), others.get(name, "-")) for name in names]
        rows += [(name, left, right) for name, left, right in pairs if left != right]
    return rows + _other_class(a, b)


@dataclass(frozen=True)
class Curve:
    """A figure of two runs by epoch; None where a run has none.

    Args:
        name: train loss, val loss, top-1 or mAP.
        a, b: by epoch, from 0.
    """

    name: str
    a: dict[int, float]
    b: dict[int, float]

    def at(self, epoch: int) -> tuple[float | None, float | None, float | None]:
        """The figure of A, of B, and B's minus A's."""
        a, b = self.a.get(epoch), self.b.get(epoch)
        return a, b, b - a if a is not None and b is not None else None


def curves(a: Run, b: Run) -> list[Curve]:
    """The losses of both, and their top-1, or mAP if that is what both are measured by."""
    measure = a.measure if a.measure == b.measure else "val_top1"
    names = {**_LOSSES, measure: _MEASURES[measure]}
    return [Curve(name, a.values(key), b.values(key)) for key, name in names.items()]


def shown_epochs(found: Sequence[Curve], most: int = 20) -> list[int]:
    """Which epochs a table of curves shows: evenly chosen, the last always among them."""
    epochs = sorted({epoch for curve in found for epoch in (*curve.a, *curve.b)})
    if len(epochs) <= most:
        return epochs
    return [epochs[round(i * (len(epochs) - 1) / (most - 1))] for i in range(most)]


def check_picture(path: Path) -> None:
    """Raises ValueError if a picture of that name cannot be drawn."""
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"picture {path}: expected a name that ends in {', '.join(PICTURES)}")


def draw(file: Path, form: str, names: tuple[str, str], found: Sequence[Curve]) -> None:
    """The curves of two runs, one picture for each figure.

    Args:
        form: png, pdf or svg.
        names: of the runs.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(found), 4), layout="constrained")
    for axis, curve in zip(figure.subplots(1, len(found)), found):
        axis.set(title=curve.name, xlabel="epoch")
        axis.locator_params(axis="x", integer=True)
        for name, values in zip(names, (curve.a, curve.b)):
            if values:
                axis.plot([epoch + 1 for epoch in values], list(values.values()), label=name, marker=".")
        if curve.a or curve.b:
            axis.legend()
        else:
            axis.text(0.5, 0.5, "not logged", ha="center", va="center", transform=axis.transAxes)
    figure.savefig(file, dpi=120, format=form)


def _written(path: Path) -> list[float]:
    """When the files of a run were last written; none if the folder is no run."""
    return [file.stat().st_mtime for name in _BEGUN if (file := path / name).is_file()]


def _read(name: str, read_file: Callable[[], dict[str, Any]], broken: list[str]) -> dict[str, Any]:
    try:
        return read_file()
    except (OSError, ValueError):
        broken.append(name)
        return {}


def _has_epochs(config: dict[str, Any]) -> bool:
    parts = [config.get("net"), config.get("optim")]
    return all(isinstance(part, dict) for part in parts) and isinstance(parts[1].get("epochs"), int)


def _rows(path: Path, name: str, broken: list[str]) -> list[dict[str, Any]]:
    try:
        return [row for row in runlog.read(path, name) if isinstance(row, dict)]
    except (OSError, ValueError):  # ValueError: not UTF-8
        broken.append(name)
        return []


def _data(run: Run) -> dict[str, Any]:
    """Lists by their fingerprints, and how many classes there are."""
    return {**run.data, "classes": len(_classes(run))}


def _other_class(a: Run, b: Run) -> list[tuple[str, str, str]]:
    """The first label that is another class in B."""
    pairs = enumerate(zip(_classes(a), _classes(b)))
    return [(f"class {label}", left, right) for label, (left, right) in pairs if left != right][:1]


def _classes(run: Run) -> list[str]:
    found = run.data.get("classes")
    return found if isinstance(found, list) else []


def _flat(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in content.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
