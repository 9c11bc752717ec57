"""Progress: a bar on a terminal and in a notebook, and at most one line every 30 seconds in a log file or pipe."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tqdm import tqdm

from actrec.cli.ending import note, tell

if TYPE_CHECKING:
    from actrec.engine.reporting import RunHeader
    from actrec.engine.runwarnings import RunWarning

INTERVAL = 30  # seconds between two lines, over all bars of the process
_last_line: float | None = None  # when the last line was printed; at first: when the first bar was created


def _bar_class() -> type[tqdm] | None:
    """The kind of bar that standard error can show; None if it can only show lines."""
    if sys.stderr.isatty():
        return tqdm
    if "ipykernel" not in sys.modules:  # the module of Jupyter's kernels, which also run in editors and on Colab
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a notebook without ipywidgets: tqdm then draws the bar as text
        from tqdm.auto import tqdm as auto
    return auto


class Bar:
    """A progress bar. Where no bar can be shown, it prints a line when the last line of any bar is 30 seconds old.

    Args:
        what: What is counted ("videos").
        total: How many there are; None if that is not known yet.
        title: What the work is a part of ("epoch 3/50"), if that must be said.
    """

    def __init__(self, what: str, total: int | None = None, *, title: str = ""):
        global _last_line
        self._what, self._total, self._title, self._done = what, total, title, 0
        self._began = time.monotonic()
        _last_line = self._began if _last_line is None else _last_line
        self._before: int | None = None  # what was done before the first call
        kind = _bar_class()
        self._bar = kind(total=total, unit=f" {what}", desc=title or None, leave=False) if kind is not None else None

    def add(self, count: int = 1, text: str = "") -> None:
        self.to(self._done + count, text=text)

    def to(self, done: int, total: int | None = None, failed: int = 0, *, text: str = "") -> None:
        """Sets the bar. What the first call reports was done before, and does not count for the rate.

        Args:
            failed: How many of those that are done have failed.
            text: Further figures, such as a loss.
        """
        self._total = total if total is not None else self._total
        if self._before is None:
            self._begin(done)
        shown = ", ".join(filter(None, (text, f"{failed} failed" if failed else "")))
        if self._bar is not None:
            self._bar.total = self._total
            if shown:
                self._bar.set_postfix_str(shown, refresh=False)
            self._bar.update(done - self._done)
        elif done > self._done:
            self._print(done, shown)
        self._done = done

    def _begin(self, done: int) -> None:
        self._before = self._done = done
        if self._bar is not None:
            self._bar.n = self._bar.initial = done

    def _print(self, done: int, shown: str) -> None:
        """Prints a line if it is time to: what is done, rate, time left, failures."""
        global _last_line
        now = time.monotonic()
        if _last_line is not None and now - _last_line < INTERVAL:
            return
        _last_line = now
        elapsed = now - self._began
        rate = (done - (self._before or 0)) / elapsed if elapsed >= 1 else None  # the first moment tells nothing
        line = f"{self._title} {self._what}".lstrip() + f": {done}" + (f"/{self._total}" if self._total else "")
        if self._total is not None and done < self._total and rate:
            line += f", {rate:.3g} {self._what.split()[0]}/s, {tqdm.format_interval((self._total - done) / rate)} left"
        note(line + (f", {shown}" if shown else ""))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class TrainReporter:
    """Shows a training run: one line per epoch, and a bar for the steps and for the validation of the epoch.

    Args:
        options: Further lines of the header.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = options
        self._bar: Bar | None = None
        self._title = ""
        self._validates = False

    def header(self, header: RunHeader) -> None:
        self.note("\n".join([*header.lines(), *self._options]))

    def line(self, text: str) -> None:
        self.close()
        tell(text)

    def note(self, text: str) -> None:
        note(text)

    def warning(self, warning: RunWarning) -> None:
        self.note(f"WARNING: {warning.message}")

    def epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
        self.close()
        self._title = f"epoch {epoch + 1}/{epochs}"
        self._bar, self._validates = Bar("steps", steps, title=self._title), False
        self._bar.to(done)

    def step(self, *, loss: float, top1: float, clips_per_second: float, waiting: float) -> None:
        text = f"{clips_per_second:.1f} clips/s, waiting {100 * waiting:.0f} %"
        if loss == loss:
            text = f"loss {loss:.3f}, top-1 {top1:.1f}, {text}"
        if self._bar is not None:
            self._bar.add(text=text)

    def validation(self, videos: int, done: int) -> None:
        if self._bar is None or not self._validates:
            self.close()
            self._bar, self._validates = Bar("videos", videos, title=f"{self._title} validation"), True
            self._bar.to(0)
        self._bar.to(done)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def watched(what: str = "videos") -> Iterator[Callable[[int, int], None]]:
    """A bar, as the callback of functions that report (done, total)."""
    with Bar(what) as bar:
        yield bar.to
