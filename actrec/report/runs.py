"""Reads run folders: the state and best scores of a run, and the comparison of two runs. Does not load torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from actrec import figures
from actrec.engine import runlog
from actrec.files import read_json
from actrec.registry import did_you_mean

DATA, ENVIRONMENT = "data.json", "environment.json"
_RUN_FILES = (runlog.CONFIG, runlog.NAME, "last.pt")  # a folder with one of these files is a run
_MEASURES = {"val_top1": "top-1", "val_map": "mAP"}
_LOSSES = {"train_loss": "train loss", "val_loss": "val loss"}


@dataclass(frozen=True)
class Run:
    """The content of a run folder, as far as it can be read.

    Args:
        config, data, environment: The JSON files of these names; empty if they cannot be read.
        epochs: The logged row of each epoch, in order.
        steps: The rows that were logged within epochs.
        broken: The files that are missing or cannot be read.
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
        """Number of finished epochs."""
        return self.epochs[-1]["epoch"] + 1 if self.epochs else 0

    @property
    def measure(self) -> str:
        """The name of the validation score: val_map if it was logged, else val_top1."""
        return "val_map" if any("val_map" in row for row in self.epochs) else "val_top1"

    @property
    def state(self) -> str:
        if self.broken:
            return f"broken: {', '.join(self.broken)}"
        if self.planned is not None and self.done >= self.planned:
            return "finished"
        if self._stopped_early:
            return "stopped early"
        if not self.done and not self.steps:
            return "just started"
        return f"in epoch {self.done + 1}"

    @property
    def _stopped_early(self) -> bool:
        """Whether the last epoch is a validated one, and `--early-stopping` has stopped the run after it."""
        options = self.config.get("run")
        patience = options.get("early_stopping") if isinstance(options, dict) else None
        if not runlog.is_count(patience) or not patience or not self.epochs or "best" not in self.epochs[-1]:
            return False
        best = max((row["epoch"] for row in self.epochs if row.get("best")), default=None)
        return best is not None and self.done - 1 - best >= patience

    def values(self, name: str) -> dict[int, float]:
        """The logged values of this name by epoch, without those that are not finite numbers."""
        return {row["epoch"]: row[name] for row in self.epochs if _finite(row.get(name))}


@dataclass(frozen=True)
class Summary:
    """A run in one line.

    Args:
        measure: What `best` and `last` measure: top-1 or mAP, in percent.
        loss: The last training loss that was logged.
        state: "finished", "stopped early" (by `early_stopping`), "in epoch N" (it is running, or was stopped there),
            "just started", or "broken: FILES".
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
    """The run folders in a folder, the most recently changed one last. Empty if there is no such folder."""
    if not folder.is_dir():
        return []
    found = {path: times for path in folder.iterdir() if (times := _written(path))}
    return sorted(found, key=lambda path: (max(found[path]), path.name))


def locate(name: str, runs: Path) -> Path:
    """The run folder with this path, or with this name in `runs`.

    Raises:
        ValueError: There is no such run.
    """
    for path in (Path(name), runs / name):
        if _written(path):
            return path
    if Path(name).is_dir():
        raise ValueError(f"{name} is not a run: it contains none of {', '.join(_RUN_FILES)}")
    known = [path.name for path in find(runs)]
    raise ValueError(
        f"no run {name!r}" + (did_you_mean(Path(name).name, known) if known else f": {runs} contains no runs")
    )


def read(path: Path) -> Run:
    """Reads everything in a run folder except its weights."""
    broken: list[str] = []
    config = _read(runlog.CONFIG, lambda: runlog.read_config(path), broken)
    data, environment = (_read(name, partial(read_json, path / name, dict), broken) for name in (DATA, ENVIRONMENT))
    if runlog.CONFIG not in broken and not _has_epochs(config):
        broken.append(runlog.CONFIG)
        config = {}
    rows = {row["epoch"]: row for row in _rows(path, runlog.NAME, broken) if runlog.is_count(row.get("epoch"))}
    steps = [row for row in _rows(path, runlog.STEPS, broken) if runlog.is_count(row.get("epoch"))]
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
        last=_last(scores),
        loss=_last(losses or list(run.values("train_loss").values())),
        clips_per_second=_last(list(run.values("clips_per_second").values())),
        state=run.state,
    )


def differences(a: Run, b: Run) -> list[tuple[str, Any, Any]]:
    """The options, data and versions in which two runs differ.

    Returns:
        Tuples of a name such as "optim.lr", its value in A and its value in B, which is None or "-" if a run does not
        have it.
    """
    rows = []
    for one, other in ((a.config, b.config), (_data(a), _data(b)), (a.environment, b.environment)):
        mine, others = flat(one), flat(other)
        names = [*mine, *(name for name in others if name not in mine)]
        pairs = [(name, mine.get(name, "-"), others.get(name, "-")) for name in names]
        rows += [(name, left, right) for name, left, right in pairs if left != right]
    return rows + _other_class(a, b)


@dataclass(frozen=True)
class Curve:
    """One quantity of two runs, by epoch.

    Args:
        name: train loss, val loss, top-1 or mAP.
        a, b: The values of run A and run B by epoch, from 0.
    """

    name: str
    a: dict[int, float]
    b: dict[int, float]

    def at(self, epoch: int) -> tuple[float | None, float | None, float | None]:
        """The value of A, the value of B, and B minus A. None where a run has no value."""
        a, b = self.a.get(epoch), self.b.get(epoch)
        return a, b, b - a if a is not None and b is not None else None


def curves(a: Run, b: Run) -> list[Curve]:
    """The losses of both runs, and their top-1, or mAP if both have it."""
    measure = a.measure if a.measure == b.measure else "val_top1"
    names = {**_LOSSES, measure: _MEASURES[measure]}
    return [Curve(name, a.values(key), b.values(key)) for key, name in names.items()]


def shown_epochs(found: Sequence[Curve], most: int = 20) -> list[int]:
    """The epochs that a table of curves shows: evenly spaced, and always the last one."""
    epochs = sorted({epoch for curve in found for epoch in (*curve.a, *curve.b)})
    if len(epochs) <= most:
        return epochs
    return [epochs[round(i * (len(epochs) - 1) / (most - 1))] for i in range(most)]


def save_picture(path: Path, names: tuple[str, str], found: Sequence[Curve]) -> None:
    """Plots the curves of two runs, one plot for each quantity, into a file with one of `figures.SUFFIXES`.

    Args:
        names: The names of the runs.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(found), 4), dpi=120, layout="constrained")
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
    figures.save(path, figure)


def _written(path: Path) -> list[float]:
    """When the files of a run were last changed; empty if the folder is not a run."""
    return [file.stat().st_mtime for name in _RUN_FILES if (file := path / name).is_file()]


def _read(name: str, read_file: Callable[[], dict[str, Any]], broken: list[str]) -> dict[str, Any]:
    try:
        return read_file()
    except (OSError, ValueError):
        broken.append(name)
        return {}


def _has_epochs(config: dict[str, Any]) -> bool:
    net, optim = config.get("net"), config.get("optim")
    named = isinstance(net, dict) and isinstance(net.get("backbone", ""), str)
    return named and isinstance(optim, dict) and runlog.is_count(optim.get("epochs"))


def _rows(path: Path, name: str, broken: list[str]) -> list[dict[str, Any]]:
    try:
        return runlog.read(path, name)
    except (OSError, ValueError):  # ValueError: the file is not UTF-8
        broken.append(name)
        return []


def _data(run: Run) -> dict[str, Any]:
    """The fingerprints of the lists, and the number of classes."""
    return {**run.data, "classes": len(_classes(run))}


def _other_class(a: Run, b: Run) -> list[tuple[str, str, str]]:
    """The first label that stands for another class in B."""
    pairs = enumerate(zip(_classes(a), _classes(b)))
    return [(f"class {label}", left, right) for label, (left, right) in pairs if left != right][:1]


def _classes(run: Run) -> list[str]:
    found = run.data.get("classes")
    return found if isinstance(found, list) else []


def flat(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested options by their whole names, such as "optim.lr"."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def _last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def _finite(value: Any) -> bool:
    # `math.isfinite` raises an error for larger integers.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
