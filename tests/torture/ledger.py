"""Counts what every try came to, and prints the table at the end."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from pathlib import Path

from torture.launch import Ended

GOOD = ("right", "named")
FAILURES = ("wrong silently", "refused", "traceback", "hang", "crash", "lost work", "leftover")
MEANING = {
    "right": "the result is the expected one",
    "named": "what cannot be used is named, with a non-zero exit code or a count",
    "wrong silently": "a result that differs from the expected one, or nothing, and nothing says so",
    "refused": "something that can be used was refused",
    "traceback": "a traceback in place of one line",
    "hang": "no end within the time limit",
    "crash": "ended by a signal",
    "lost work": "after an interruption or a fault, the same command did not give the complete result",
    "leftover": "temporary files, or child processes, remained after the command had ended",
}


class Ledger:
    """What was tried, by section: how often each column, the reasons of skipped checks, and each failure."""

    def __init__(self, log: Path | None = None):
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.failures: list[str] = []
        self.skipped: list[str] = []
        self._log, self._lock = log, threading.Lock()

    def add(self, section: str, column: str, what: str = "", count: int = 1) -> None:
        """Counts a try. `what` names it, for the list of failures."""
        assert column in MEANING, column
        with self._lock:
            self.counts[section][column] += count
            if column in FAILURES:
                self.failures.append(f"{section}: {column}: {what}")
                print(self.failures[-1], flush=True)
                if self._log:
                    with open(self._log, "a", encoding="utf-8") as file:
                        file.write(self.failures[-1] + "\n")

    def skip(self, what: str) -> None:
        """Records a check that this machine does not allow, with the reason."""
        with self._lock:
            self.skipped.append(what)

    def disaster(self, ended: Ended) -> str | None:
        """The column of a command that ended as no command may end; None for the others."""
        if ended.hung:
            return "hang"
        if ended.code < 0:
            return "crash"
        return "traceback" if "Traceback (most recent call last)" in ended.said else None

    @property
    def total(self) -> int:
        return sum(sum(counts.values()) for counts in self.counts.values())

    def table(self) -> list[str]:
        columns = (*GOOD, *FAILURES)
        width = max(map(len, [*self.counts, "total"]))
        lines = [" " * width + f"  {'tried':>6}" + "".join(f"  {name:>{max(5, len(name))}}" for name in columns)]
        all_counts = sum(self.counts.values(), Counter())
        for section, counts in [*self.counts.items(), ("total", all_counts)]:
            cells = "".join(f"  {counts[name]:>{max(5, len(name))}}" for name in columns)
            lines.append(f"{section:<{width}}  {sum(counts.values()):>6}{cells}")
        return [*lines, *(f"skipped: {what}" for what in self.skipped)]
