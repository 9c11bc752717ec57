"""Progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from tqdm import tqdm

from actrec.words import printable_lines

_QUIET = 5  # seconds: work that takes less prints no lines


class Bar:
    """A progress bar. Without a terminal it prints a line after each tenth, once the work has taken some seconds.

    Args:
        what: what is counted ("videos").
    """

    def __init__(self, what: str, total: int | None = None):
        self._what, self._total, self._done, self._tenth = what, total, 0, 0
        self._began = time.monotonic()
        self._before: int | None = None  # what was done before the first call
        self._bar = tqdm(total=total, unit=f" {what}", leave=False) if sys.stderr.isatty() else None

    def add(self, count: int = 1) -> None:
        self.to(self._done + count)

    def to(self, done: int, total: int | None = None, failed: int = 0) -> None:
        """Sets the bar. What the first call reports was done before, and does not count for the rate."""
        self._total = total if total is not None else self._total
        if self._before is None:
            self._begin(done)
        if self._bar is not None:
            self._bar.total = self._total
            if failed:
                self._bar.set_postfix_str(f"{failed} failed", refresh=False)
            self._bar.update(done - self._done)
        elif self._total and self._total >= 10 and done * 10 // self._total > self._tenth:
            self._tenth = done * 10 // self._total
            if time.monotonic() - self._began > _QUIET:
                click.echo(self._line(done, failed), err=True)
        self._done = done

    def _begin(self, done: int) -> None:
        self._before = self._done = done
        if self._bar is not None:
            self._bar.n = self._bar.initial = done

    def _line(self, done: int, failed: int) -> str:
        """The line for output without a terminal: done, rate, time left, failures."""
        rate = (done - (self._before or 0)) / max(time.monotonic() - self._began, 1e-9)
        line = f"{self._what}: {done}/{self._total}"
        if self._total is not None and done < self._total and rate:
            line += f", {rate:.3g}/s, {tqdm.format_interval((self._total - done) / rate)} left"
        return line + (f", {failed} failed" if failed else "")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class TrainReporter:
    """Shows a training run: one line per epoch, and a bar on a terminal or a line every 30 s without one."""

    def __init__(self):
        self._bar: tqdm | None = None
        self._printed = time.monotonic()
        self._where = ""
        self._done = self._steps = self._before = 0
        self._began = self._printed

    def line(self, text: str) -> None:
        self.close()
        click.echo(printable_lines(text))

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        self.close()
        self._where, self._steps, self._done = f"epoch {epoch + 1}/{epochs}", steps, done
        self._began, self._before = time.monotonic(), done
        if sys.stderr.isatty():
            self._bar = tqdm(total=steps, initial=done, desc=self._where, unit="step", leave=False)

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None:
        self._done += 1
        text = f"{clips_per_second:.1f} clips/s waiting {100 * waiting:.0f} %"
        if loss == loss:
            text = f"loss {loss:.3f} top-1 {top1:.1f} {text}"
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._printed > 30:
            self._printed = time.monotonic()
            each = (self._printed - self._began) / (self._done - self._before)
            left = tqdm.format_interval(each * (self._steps - self._done))
            click.echo(f"{self._where} step {self._done}/{self._steps}  {text}  {left} left", err=True)

    def validation(self, videos: int, done: int) -> None:
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(total=videos, desc=f"{self._where} validation", unit="video", leave=False)
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._printed > 30:
            self._printed = time.monotonic()
            click.echo(f"{self._where} validation {done}/{videos}", err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def watched(what: str = "videos") -> Iterator[Callable[[int, int], None]]:
    """A bar, as the callback of functions that report (done, total)."""
    with Bar(what) as bar:
        yield bar.to
