"""Trains for many epochs and watches the process: memory, threads and descriptors stay, and the log is complete."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
from torture.launch import Launcher, sample
from torture.ledger import Ledger
from torture.scenarios import TRAIN, copy

_STEPS = 2  # of an epoch
_GROWTH = 12e6  # bytes: what the allocator may keep


def soak(template: Path, folder: Path, launcher: Launcher, ledger: Ledger, epochs: int) -> None:
    """The second half of the run must not need more than the second quarter did."""
    here = copy(template, folder)
    arguments = [argument if i == 0 or TRAIN[i - 1] != "--epochs" else epochs for i, argument in enumerate(TRAIN)]
    running = launcher.start(arguments, here, limit=600)
    samples, over, log = [], threading.Event(), here / "new/run/log.jsonl"

    def watch() -> None:
        while not over.wait(0.02):
            if log.exists() and (found := sample(running.pid)) is not None:  # after the first epoch
                samples.append(found)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ended = running.end()
    over.set()
    watcher.join()
    if disaster := ledger.disaster(ended) or (ended.code and "lost work"):
        ledger.add("soak", disaster, f"{epochs} epochs: exit code {ended.code}: {ended.last_line}")
        return
    values = np.array(samples)
    quarter = len(values) // 4
    for i, (what, slack) in enumerate([("memory", _GROWTH), ("threads", 0), ("descriptors", 1)]):
        before, after = values[quarter : 2 * quarter, i], values[2 * quarter : -max(quarter // 10, 1), i]
        grown = np.median(after) - np.median(before)  # a file is open for a moment when a checkpoint is saved
        ledger.add("soak", "right" if grown <= slack else "leftover", f"{what} grew by {grown:,.0f} in {epochs} epochs")
    for name, expected in (("log.jsonl", epochs), ("steps.jsonl", _STEPS * epochs)):
        rows = [json.loads(line) for line in (here / "new/run" / name).read_text().splitlines()]
        is_complete = len(rows) == expected and all(np.isfinite(row.get("loss", 0.0)) for row in rows)
        ledger.add("soak", "right" if is_complete else "lost work", f"{name} has {len(rows)} of {expected} rows")
