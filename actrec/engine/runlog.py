"""The logs and the configuration of a run. Reading them does not need torch.

`log.jsonl` has a row for each epoch, `steps.jsonl` one for every `log_every` steps. TensorBoard gets both.
`warnings.jsonl` has a row for each warning.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actrec.engine.stored import current_options
from actrec.files import atomic_write, read_json, read_text, writing

CONFIG = "config.json"
NAME, STEPS, WARNINGS = "log.jsonl", "steps.jsonl", "warnings.jsonl"
_NO_CURVE = ("epoch", "step", "best")


class RunLog:
    """Writes the logs of a run.

    Args:
        step: Number of finished optimizer steps. TensorBoard hides the points that it has of later steps.
    """

    def __init__(self, run: Path, *, tensorboard: bool, step: int = 0):
        self._run, self._writer = run, None
        with writing(run / STEPS):
            self._steps = open(run / STEPS, "a", encoding="utf-8")  # noqa: SIM115 - closed by `close`
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._writer = SummaryWriter(run / "tensorboard", purge_step=step + 1)

    def step(self, row: dict[str, Any]) -> None:
        """Writes a row of `steps.jsonl`."""
        with writing(self._run / STEPS):
            self._steps.write(_json(row))
            self._steps.flush()
        self._curves("step", row, row["step"])

    def epoch(self, row: dict[str, Any], step: int) -> None:
        """Writes a row of `log.jsonl`, after `step` steps of the run."""
        append(self._run, row)
        self._curves("epoch", row, step)

    def warning(self, row: dict[str, Any]) -> None:
        """Writes a row of `warnings.jsonl`."""
        append(self._run, row, WARNINGS)

    def close(self) -> None:
        with writing(self._run / STEPS):  # closing writes again what could not be written
            self._steps.close()
        if self._writer is not None:
            self._writer.close()

    def _curves(self, kind: str, row: dict[str, Any], step: int) -> None:
        if self._writer is not None:
            for name, value in row.items():
                if name not in _NO_CURVE and value is not None and math.isfinite(value):
                    self._writer.add_scalar(f"{kind}/{name}", value, step)


def append(run: Path, row: dict[str, Any], name: str = NAME) -> None:
    """Appends a row to `log.jsonl` or another log, and makes sure that it is on the disk."""
    with writing(run / name), open(run / name, "a", encoding="utf-8") as file:
        file.write(_json(row))
        file.flush()
        os.fsync(file.fileno())


def read(run: Path, name: str = NAME) -> list[dict[str, Any]]:
    """All complete rows. What is not a JSON object is left out: a crash can cut off a row.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not UTF-8 text.
    """
    path = run / name
    if not path.exists():
        return []
    rows = []
    for line in read_text(path).splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(row := json.loads(line), dict):
                rows.append(row)
    return rows


def read_config(run: Path) -> dict[str, Any]:
    """`config.json` with today's names of options.

    Raises:
        OSError: The file cannot be read.
        ListError: It is not a JSON object.
    """
    return current_options(read_json(run / CONFIG, dict))


def list_paths(run: Path, stored: object) -> tuple[Path, Path, Path | None] | None:
    """The dataset folder, the training list and the validation list of a run. They may not exist any more.

    Args:
        stored: The section `data` of its configuration.

    Returns:
        None for a run of an earlier version, which did not store them.
    """
    if not isinstance(stored, dict) or not all(isinstance(stored.get(name), str) for name in ("folder", "list")):
        return None
    folder, val = Path(os.path.normpath(run / stored["folder"])), stored.get("val_list")
    return folder, folder / stored["list"], folder / val if isinstance(val, str) else None


def val_list(run: Path) -> Path | None:
    """The validation list of a run; None if it has none, or if that is unknown."""
    try:
        found = list_paths(run, read_config(run).get("data"))
    except (OSError, ValueError):
        return None
    return found and found[2]


def cut(run: Path, *, epoch: int, step: int) -> None:
    """Removes the rows of `epoch` and later epochs, and of steps after `step`: a resumed run writes them again."""
    _rewrite(run / NAME, [row for row in read(run) if is_count(row.get("epoch")) and row["epoch"] < epoch])
    _rewrite(run / STEPS, [row for row in read(run, STEPS) if is_count(row.get("step")) and row["step"] <= step])


def find_best(run: Path, best: float, epoch: int) -> tuple[int, float, int, int]:
    """What a checkpoint of an earlier version does not say of its best epoch.

    Args:
        best: The best validation score until now, in percent.
        epoch: Number of finished epochs.

    Returns:
        The first epoch with this score, its validation loss, the number of other epochs with this score, and the epoch
        of the last validation. -1, nan, 0 and -1 if the log does not say it.
    """
    rows = [row for row in read(run) if is_count(row.get("epoch")) and row["epoch"] < epoch and "val_loss" in row]
    found = [row for row in rows if row.get("val_map", row.get("val_top1")) == best]
    if not found:
        return -1, math.nan, 0, -1
    loss = found[0]["val_loss"]
    loss = float(loss) if isinstance(loss, (int, float)) else math.nan
    return found[0]["epoch"], loss, len(found) - 1, rows[-1]["epoch"]


def keep_warnings(run: Path, warned: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """Removes the warnings that came after a checkpoint: a resumed run gives them again. Returns the others.

    Args:
        warned: The kinds of the warnings in the checkpoint, and their epochs. What is missing in `warnings.jsonl` is
            left out.
    """
    found = read(run, WARNINGS)
    keys = ("kind", "message", "epoch")
    rows = [
        {key: row[key] for key in keys}
        for row in found
        if all(key in row for key in keys)
        and isinstance(row["kind"], str)
        and isinstance(row["message"], str)
        and (row["kind"], row["epoch"]) in warned.items()
    ]
    if rows != found:
        _rewrite(run / WARNINGS, rows)
    return rows


def is_count(value: Any) -> bool:
    """Whether a value of a file is a number of epochs or steps."""
    return type(value) is int and 0 <= value < 2**53


def clear(run: Path) -> None:
    """Empties both logs."""
    for name in (NAME, STEPS):
        _rewrite(run / name, [])


def _json(row: dict[str, Any]) -> str:
    """A line of JSON, with null for nan and infinity, which JSON does not have."""
    numbers = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(numbers) + "\n"


def _rewrite(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_write(path) as file:
        file.writelines(map(_json, rows))
