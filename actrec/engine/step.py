"""One step of the optimizer: forward, loss, backward, the gradients of all processes, update. No waiting for a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from actrec.config import Recipe
from actrec.data.sampling import streams
from actrec.engine import dist, loss
from actrec.engine.devices import autocast
from actrec.engine.ema import Average
from actrec.engine.optim import Schedule, lay_out_gradients
from actrec.pipelines.loader import Batch


@dataclass(frozen=True)
class Taken:
    """A step that was taken, its numbers still where they were computed.

    Args:
        sums: (2,) loss and hits, summed over this process's clips.
        clips, clamped: of all processes: clips that were there, frames past a video's end.
        videos: of this process's clips.
    """

    sums: Tensor
    clips: int
    clamped: int
    videos: list[str]


class Stepper:
    """Takes steps.

    Losses are summed over clips and divided by how many there were in all processes: a clip weighs the same wherever it
    is, and one that could not be decoded weighs nothing. What is random in the net is decided by (seed, epoch, batch,
    rank) alone.

    Args:
        net: on its device.
        ema: an average of the net's weights to keep up to date.
    """

    def __init__(
        self,
        net: nn.Module,
        recipe: Recipe,
        *,
        num_classes: int,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        ema: Average | None,
        device: torch.device,
        precision: str,
    ):
        self._net, self._recipe, self._num_classes = net, recipe, num_classes
        self._optimizer, self._schedule, self._ema = optimizer, schedule, ema
        self._device, self._precision = device, precision
        self._parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self._planned = recipe.loader.batch_size * recipe.optim.accumulate
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        self._forget()

    def add(self, batch: Batch, epoch: int, step: int) -> None:
        """Adds the gradients of a batch, the `step`-th of its epoch."""
        self._clips, self._clamped = self._clips + len(batch), self._clamped + batch.clamped
        self._videos += batch.videos
        if self._recipe.run.sync_bn:  # needs every process, but one clip at least
            if not any(dist.total([len(batch)])):
                return
        elif not len(batch):
            return
        torch.manual_seed(_seed(self._recipe.run.seed, epoch, step))
        clips = batch.clips.double() if self._precision == "float64" else batch.clips
        targets, seed = batch.labels, self._recipe.run.seed
        mix = loss.plan_mix(self._recipe.augment, seed=seed, epoch=epoch, step=step, size=clips.shape[-1])
        if mix is not None:
            clips, targets = loss.mix(clips, loss.targets(targets, self._num_classes), mix)
        logits = self._logits(clips)
        losses = loss.per_clip_loss(logits, targets, self._recipe.loss).sum()
        self.scaler.scale(losses / self._planned).backward()
        with torch.no_grad():
            self._sums += torch.stack([losses.double(), loss.hits(logits, targets).double()])

    def _logits(self, clips: Tensor) -> Tensor:
        try:
            with autocast(self._device.type, self._precision):
                return self._net(clips)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"a batch norm saw a single value per channel, of {len(clips)} clips: expected more in every batch of "
                "every process (--batch-size, no --keep-last), larger ones, or --freeze-norm all"
            ) from None

    def finish(self, *flags: bool) -> tuple[Taken, list[bool]]:
        """Updates the weights by what was added.

        Args:
            flags: what this process wishes; returned is whether any process does.
        """
        clips, clamped, *wishes = dist.total([self._clips, self._clamped, *flags])
        if clips:
            self.scaler.scale(torch.zeros((), device=self._device))  # it must have scaled something, clips or none
            self._update(int(clips))
        self._optimizer.zero_grad(set_to_none=True)
        self._schedule.step()
        taken = Taken(self._sums, int(clips), int(clamped), self._videos)
        self._forget()
        return taken, [bool(wish) for wish in wishes]

    def _update(self, clips: int) -> None:
        dist.sum_gradients(self._parameters)
        lay_out_gradients(self._parameters)
        if clips != self._planned:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(self._planned / clips)
        if self._recipe.optim.clip_gradient is not None:
            self.scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._recipe.optim.clip_gradient)
        self.scaler.step(self._optimizer)
        self.scaler.update()
        if self._ema is not None:
            self._ema.update(self._net)

    def _forget(self) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64, device=self._device)
        self._clips = self._clamped = 0
        self._videos: list[str] = []


def read(taken: Sequence[Taken]) -> list[list[float]]:
    """[loss, hits] of each step, summed over all processes' clips. Waits for the device."""
    return dist.sum_tensor(torch.stack([step.sums for step in taken])).tolist() if taken else []


def _seed(seed: int, epoch: int, step: int) -> int:
    sequence = np.random.SeedSequence([seed, epoch, step, dist.rank()], spawn_key=streams.NET)
    return int(sequence.generate_state(1, np.uint64)[0])
