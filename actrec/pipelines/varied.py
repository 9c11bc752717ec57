"""Several variations of each video of a list from one decode, with other crops, resizing or colors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from actrec.config import Clip, Input
from actrec.data.index import Media
from actrec.data.lists import Video
from actrec.data.sampling.plan import EvalPlan
from actrec.pipelines.task import EvalTask


@dataclass(frozen=True)
class Look:
    """How the pictures of an evaluation are made.

    Args:
        options: arguments of `EvalTask` that differ. The frames, and the number and size of the crops must be the same.
        other_kernel: resize without antialiasing if the evaluation uses antialiasing, and with it otherwise.
        wrong_matrix: see `EvalPlan`.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    other_kernel: bool = False
    wrong_matrix: bool = False


class VariedTask(EvalTask):
    """A batch contains one video in all looks, in their order.

    Args:
        looks: at least one.
        others: as of `EvalTask`.
    """

    def __init__(self, videos: Sequence[Video], clip: Clip, net_input: Input, *, looks: Sequence[Look], **options: Any):
        super().__init__(videos, clip, net_input, batch_size=1, **options)
        self._looks = [
            (look, EvalTask(videos, clip, net_input, batch_size=1, **(options | dict(look.options)))) for look in looks
        ]
        self.batch_size = len(looks)

    def draws(self, epoch: int, step: int) -> np.ndarray:
        """See `TrainTask.draws`. The repetition is the number of the look."""
        return np.array([[self._rows[step], number] for number in range(len(self._looks))], np.int64)

    def plan(self, epoch: int, row: int, repeat: int, media: Media) -> EvalPlan:
        look, task = self._looks[repeat]
        plan = task.plan(epoch, row, 0, media)
        return replace(plan, antialias=plan.antialias != look.other_kernel, wrong_matrix=look.wrong_matrix)
