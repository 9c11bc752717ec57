"""How fast nets train: clips per second on random clips, in several forms."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch

from actrec import config, nets
from actrec.engine.devices import autocast, choose_precision, move
from actrec.nets.outside import logits_of

CLASSES = 16


@dataclass(frozen=True)
class Form:
    """How a net is computed.

    Args:
        precision: float32 or bfloat16 (autocast).
        channels_last: Memory format of weights and clips.
        compiled: With `torch.compile`.
    """

    precision: str
    channels_last: bool
    compiled: bool = False

    def __str__(self) -> str:
        compiled = " compiled" if self.compiled else ""
        return f"{self.precision} {'channels-last' if self.channels_last else 'contiguous'}{compiled}"


FORMS = tuple(Form(precision, last) for precision in ("float32", "bfloat16") for last in (False, True))


@dataclass(frozen=True)
class Speed:
    """Training clips per second, one value for each turn."""

    net: str
    form: Form
    turns: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.turns)

    def ratio(self, other: Speed) -> float:
        """This speed divided by the other one: the median over the turns."""
        return statistics.median(a / b for a, b in zip(self.turns, other.turns))


def default_form(device: str) -> Form:
    """The form in which training computes on a device by default."""
    return Form(choose_precision("auto", torch.device(device)), channels_last=config.Run().channels_last)


def forms(device: str, *, only_default: bool = False, compiled: bool = False) -> list[Form]:
    """The forms to compare on a device.

    Args:
        only_default: only the one that training uses by default.
        compiled: also that one with torch.compile.
    """
    default = default_form(device)
    chosen = [default] if only_default else list(FORMS)
    return [*chosen, replace(default, compiled=True)] if compiled else chosen


def table(speeds: Sequence[Speed], device: str) -> list[dict[str, str | float]]:
    """A row for each speed, with its ratios to the first form of the same net and to the first net of the same form."""
    default = default_form(device)
    rows: list[dict[str, str | float]] = []
    for speed in speeds:
        first = next(other for other in speeds if other.net == speed.net)
        same = next(other for other in speeds if other.form == speed.form)
        rows.append(
            {
                "net": speed.net,
                "form": f"{speed.form}{' (default)' if speed.form == default else ''}",
                "clips_per_second": round(speed.median, 3),
                "by_first_form": round(speed.ratio(first), 3),
                "by_first_net": round(speed.ratio(same), 3),
            }
        )
    return rows


def training_speeds(
    cases: Sequence[tuple[str, Form]],
    *,
    options: dict[str, bool | int | float | str] | None = None,
    frames: int | None = None,
    size: int | None = None,
    batch_size: int = 8,
    steps: int = 2,
    turns: int = 5,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[Speed]:
    """Trains all nets in each turn, one after the other. The first step of a net in a turn is not counted.

    Args:
        cases: Names of nets, and their forms.
        options: Options of all nets.
        frames, size: Of the clips; by default the net's own.
        steps: Optimizer steps (SGD with momentum) that are counted in each turn.
        progress: Called with 1 after each net in each turn.

    Raises:
        ValueError: As `actrec.net`, and if the clips do not fit a net.
    """
    device = torch.device(device)
    made = [Case(name, form, options or {}, frames, size, batch_size, device) for name, form in cases]
    speeds: list[list[float]] = [[] for _ in cases]
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(turns):
        for case, found in zip(made, speeds):
            case.step()  # compiles, and allocates memory that the other nets have used
            wait()
            started = time.perf_counter()
            for _ in range(steps):
                case.step()
            wait()
            found.append(steps * batch_size / (time.perf_counter() - started))
            if progress:
                progress(1)
    return [Speed(name, form, tuple(found)) for (name, form), found in zip(cases, speeds)]


class Case:
    """A net in a form, with its optimizer and a batch of random clips.

    Attributes:
        input: The input of the net.
    """

    def __init__(self, name: str, form: Form, options, frames, size, batch_size: int, device: torch.device):
        torch.manual_seed(0)
        self.form, self.device = form, device
        options = {**options, **nets.clip_options(name, frames=frames, size=size)}
        net = nets.net(name, num_classes=CLASSES, **options).train()
        net = move(net, device, channels_last=form.channels_last)
        self.input = replace(net.input, frames=frames or net.input.frames, size=size or net.input.size)
        layout = torch.channels_last_3d if form.channels_last else torch.contiguous_format
        clips = torch.randn(batch_size, net.in_channels, self.input.frames, *self.input.shape)
        self.clips = clips.to(device, memory_format=layout)
        self.labels = torch.randint(CLASSES, (batch_size,), device=device)
        self.optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
        self.net: torch.nn.Module = cast(torch.nn.Module, torch.compile(net)) if form.compiled else net

    def step(self, clips: torch.Tensor | None = None) -> None:
        """Takes one training step on these clips, by default on random ones."""
        clips = self.clips if clips is None else clips
        with autocast(self.device.type, self.form.precision):
            logits = logits_of(self.net, clips)
        loss = torch.nn.functional.cross_entropy(logits.float(), self.labels[: len(clips)])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
