"""One optimizer step: forward, loss, backward, sum of the gradients of all processes, update.

Nothing here waits for the GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from actrec import config
from actrec.data.sampling import streams
from actrec.engine import dist, loss
from actrec.engine.devices import autocast
from actrec.engine.ema import WeightAverage
from actrec.engine.optim import Schedule, lay_out_gradients
from actrec.nets.outside import logits_of
from actrec.pipelines.loader import Batch
from actrec.words import counted


@dataclass(frozen=True)
class StepResult:
    """An optimizer step that was taken. Its sums are still on the device.

    Args:
        sums: (2,) float64, loss and hits, summed over the clips of this process.
        clips: Number of clips in all processes.
        clamped: Number of planned frames after the end of their video, in all processes.
        videos: The videos of this process's clips.
    """

    sums: Tensor
    clips: int
    clamped: int
    videos: list[str]


class Stepper:
    """Takes optimizer steps: `add` for each batch of a step, then `finish`.

    Losses are summed over clips and divided by the number of clips in all processes. So each clip has the same weight
    in any process, and clips that could not be decoded have none. Randomness in the net (dropout) depends on (seed,
    epoch, batch, rank) only.

    Args:
        net: On its device.
        repeats: Number of clips in a row that are of the same video.
        clips_per_step: Planned number of clips, in all processes.
        clip_gradient: Largest norm of the gradient; None does not limit it.
        average: A moving average of the weights, which each step updates.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        augment: config.Augment,
        loss: config.Loss,
        run: config.Run,
        num_classes: int,
        repeats: int = 1,
        clips_per_step: int,
        clip_gradient: float | None,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        average: WeightAverage | None,
        device: torch.device,
        precision: str,
    ):
        self._net, self._num_classes, self._repeats = net, num_classes, repeats
        self._augment, self._loss, self._seed, self._sync_bn = augment, loss, run.seed, run.sync_bn
        self._clips_per_step, self._clip_gradient = clips_per_step, clip_gradient
        self._optimizer, self._schedule, self._average = optimizer, schedule, average
        self._device, self._precision = device, precision
        self._parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        self._collected = self._nothing()

    def add(self, batch: Batch, epoch: int, number: int) -> None:
        """Adds the gradients of a batch.

        Args:
            number: Of the batch in its epoch.
        """
        before = self._collected
        sums = before.sums if self._skips(batch) else before.sums + self._backward(batch, epoch, number)
        clips, clamped = before.clips + len(batch), before.clamped + batch.clamped
        self._collected = StepResult(sums, clips, clamped, before.videos + batch.videos)

    def _skips(self, batch: Batch) -> bool:
        """Whether this process computes nothing for a batch.

        A synchronized batch norm needs all processes, also those without a clip, if one of them has clips.
        """
        return not any(dist.total([len(batch)])) if self._sync_bn else not len(batch)

    def _backward(self, batch: Batch, epoch: int, number: int) -> Tensor:
        """Adds to the gradients. Returns loss and hits, summed over the batch."""
        torch.manual_seed(_seed(self._seed, epoch, number))
        clips, targets = batch.clips.double() if self._precision == "float64" else batch.clips, batch.labels
        mix = loss.plan_mix(self._augment, seed=self._seed, epoch=epoch, step=number, size=clips.shape[-1])
        if mix is not None:
            clips, targets = loss.mix(clips, loss.targets(targets, self._num_classes), mix, repeats=self._repeats)
        logits = self._logits(clips)
        loss_sum = loss.per_clip_loss(logits, targets, self._loss).sum()
        self.scaler.scale(loss_sum / self._clips_per_step).backward()
        with torch.no_grad():
            return torch.stack([loss_sum.double(), loss.hits(logits, targets).double()])

    def _logits(self, clips: Tensor) -> Tensor:
        try:
            with autocast(self._device.type, self._precision):
                return logits_of(self._net, clips)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                "batch norm cannot train on a single value per channel, and a process got a batch of "
                f"{counted(len(clips), 'clip')}: pass a larger --batch-size or --size, omit --keep-last, or pass "
                "--freeze-norm all"
            ) from None

    def finish(self, *flags: bool) -> tuple[StepResult, list[bool]]:
        """Updates the weights with the gradients that were added.

        Args:
            flags: Returned is for each one whether it is true in any process.
        """
        own = self._collected
        clips, clamped, *any_flags = dist.total([own.clips, own.clamped, *flags])
        if clips:
            # A process without clips has not used the scaler yet in this step, and could not update it.
            self.scaler.scale(torch.zeros((), device=self._device))
            self._update(int(clips))
        self._optimizer.zero_grad(set_to_none=True)
        self._schedule.step()
        self._collected = self._nothing()
        return StepResult(own.sums, int(clips), int(clamped), own.videos), [bool(flag) for flag in any_flags]

    def _update(self, clips: int) -> None:
        dist.sum_gradients(self._parameters)
        lay_out_gradients(self._parameters)
        if clips != self._clips_per_step:
            for parameter in self._parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(self._clips_per_step / clips)
        if self._clip_gradient is not None:
            self.scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip_gradient)
        self.scaler.step(self._optimizer)
        self.scaler.update()
        if self._average is not None:
            self._average.update(self._net)

    def _nothing(self) -> StepResult:
        return StepResult(torch.zeros(2, dtype=torch.float64, device=self._device), 0, 0, [])


def read_sums(steps: Sequence[StepResult]) -> list[list[float]]:
    """[loss, hits] of each step, summed over the clips of all processes. Waits for the device."""
    return dist.sum_tensor(torch.stack([step.sums for step in steps])).tolist() if steps else []


def _seed(seed: int, epoch: int, number: int) -> int:
    sequence = np.random.SeedSequence([seed, epoch, number, dist.rank()], spawn_key=streams.NET)
    return int(sequence.generate_state(1, np.uint64)[0])
