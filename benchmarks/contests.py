"""Contestants that do the same work take turns; ratios of their rates are taken within each turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

Turn = Callable[[], int]


@dataclass
class Contest:
    """Contestants that make the same clips.

    Args:
        unit: what is counted.
        settings: for each contestant, the ways to run it; the fastest in a trial is kept.
        targets: ratio of `base` to a contestant that is to be reached; "fastest" is the fastest peer.
        base: the contestant of which the speed relative to each other one is told.
        no_peers: contestants that are no peers of the base, such as the floor.
        different: for each way that was checked, in how many of the files it gives other pictures than a plain decode
            (files that differ, files). A way without such files is preferred.
        name: what the contestants make.
    """

    unit: str
    settings: dict[str, dict[str, Turn]]
    targets: dict[str, float] = field(default_factory=dict)
    base: str = "actrec"
    no_peers: tuple[str, ...] = ("floor",)
    different: dict[str, tuple[int, int]] = field(default_factory=dict)
    name: str = ""
    chosen: dict[str, str] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)

    def run(self, turns: int) -> None:
        for contestant, ways in self.settings.items():
            trials = {way: rate for way, turn in ways.items() if (rate := self._try(contestant, way, turn)) is not None}
            right = {way: rate for way, rate in trials.items() if not self._differs(way)} or trials
            if right:
                self.chosen[contestant] = max(right, key=right.__getitem__)
        self.rates = {contestant: [] for contestant in self.chosen}
        for _ in range(turns):
            for contestant, way in self.chosen.items():
                self.rates[contestant].append(_rate(self.settings[contestant][way]))
        self.settings = {}  # processes of the peers end

    def _try(self, contestant: str, way: str, turn: Turn) -> float | None:
        """The rate of a way in a trial; None if a peer fails."""
        try:
            _rate(turn)  # warm: processes, page cache
            rate = _rate(turn)
        except Exception as error:  # each library has errors of its own
            if contestant == self.base:
                raise
            click.echo(f"  trial  {contestant:<22} {way:<40} fails: {type(error).__name__}: {error}")
            return None
        click.echo(f"  trial  {contestant:<22} {way:<40} {rate:8.2f} {self.unit}/s")
        return rate

    def ratio(self, contestant: str) -> float:
        return statistics.median(a / b for a, b in zip(self.rates[self.base], self.rates[contestant]))

    def markdown(self) -> str:
        checked = bool(self.different)
        lines = [
            f"### {self.name}",
            "",
            f"| contestant | setting | {self.unit}/s (median) | {self.unit}/s (lowest - highest) "
            f"| **speed of {self.base} relative to it** |" + checked * " files with other pictures |",
            "|---|---|---|---|---|" + checked * "---|",
        ]
        for contestant, found in self.rates.items():
            way = self.chosen[contestant]
            lines.append(
                f"| {contestant} | {way} | {statistics.median(found):.2f} | "
                f"{min(found):.2f} - {max(found):.2f} | {self.ratio(contestant):.2f} |" + checked * self._cell(way)
            )
        return "\n".join([*lines, "", *self._summary()])

    def _summary(self) -> list[str]:
        peers = [c for c in self.rates if c != self.base and c not in self.no_peers]
        lines = []
        right = [peer for peer in peers if not self._differs(self.chosen[peer])]
        if right:
            best = min(right, key=self.ratio)
            lines.append(f"Relative to the fastest peer ({best}): **{self.ratio(best):.2f}**{self._target('fastest')}.")
        wrong = [peer for peer in peers if peer not in right]
        if wrong:
            best = min(wrong, key=self.ratio)
            lines.append(f"Relative to the fastest peer that gives other pictures ({best}): {self.ratio(best):.2f}.")
        lines += [
            f"Relative to {contestant}: **{self.ratio(contestant):.2f}**{self._target(contestant)}."
            for contestant in self.rates
            if contestant in self.no_peers or contestant in self.targets
        ]
        return lines

    def _differs(self, way: str) -> bool:
        return self.different.get(way, (0, 0))[0] > 0

    def _cell(self, way: str) -> str:
        differing, files = self.different.get(way, (0, 0))
        return f" {differing} of {files} |" if files else " |"

    def _target(self, contestant: str) -> str:
        return f" (target {self.targets[contestant]})" if contestant in self.targets else ""


def _rate(turn: Turn) -> float:
    begun = time.perf_counter()
    count = turn()
    return count / (time.perf_counter() - begun)
