"""The scores of windows that slide over a long video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from actrec.config import Segments
from actrec.data.index import Media
from actrec.data.lists import Video
from actrec.data.times import FrameTimes
from actrec.engine.evaluate import probabilities
from actrec.inference.segments import Segment, moments_of, segments_of
from actrec.words import counted, some_of


@dataclass(frozen=True, repr=False)
class Timeline:
    """Scores of the windows of one video, as `Model.timeline` returns them.

        timeline = model.timeline("match.mp4")
        for start, end, label, score in timeline.segments():
            print(f"{start:.1f} to {end:.1f} s: {timeline.classes[label]}, {score:.2f}")

    Args:
        video: The row of the list, or a row for the file.
        media: What is known of the video: number of frames, size, rate.
        classes: The name of each class.
        times: (windows, 2) float64, start and end in seconds, from the timestamps of the video. Time 0 is that of the
            file; of a row that starts after the first frame of its file, it is the start of the row.
        ranges: (windows, 2) int64, the same as half-open frame ranges.
        scores: (windows, classes) float32 logits, as `Result.scores` of `evaluate` for a list with these ranges.
        multi_label: Several classes may be shown at the same time.
        missing: For each window that could not be scored, its id and the reason. It has no row in the arrays.
        clamped: Number of planned frames after the last frame of the video. They were replaced by the last frame.
        decoded: Number of frames of a video file that were decoded: each of them once.
    """

    video: Video
    media: Media
    classes: Sequence[str]
    times: np.ndarray
    ranges: np.ndarray
    scores: np.ndarray
    multi_label: bool
    missing: dict[str, str] = field(default_factory=dict)
    clamped: int = 0
    decoded: int = 0

    def __repr__(self) -> str:
        length = (self.times[:, 1] - self.times[:, 0]).max()
        frames, rate, seconds = self.media.frames, self.media.rate, self.frame_times.end - self.frame_times.begins
        missing = f", {len(self.missing)} cannot be used" if self.missing else ""
        return "\n".join(
            (
                f"timeline of {self.video.id}",
                f"  video    {seconds:.2f} s, {counted(frames, 'frame')} at {rate:g} per second",
                f"  windows  {len(self)} of {length:.2f} s{missing}",
                f"  classes  {len(self.classes)}: {some_of(self.classes)}",
                "  see      .segments(), .times, .probabilities",
            )
        )

    @cached_property
    def frame_times(self) -> FrameTimes:
        """When each frame of the video is shown."""
        return self.media.times

    @cached_property
    def probabilities(self) -> np.ndarray:
        """(windows, classes) float64."""
        return probabilities(self.scores, multi_label=self.multi_label)

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Start and end of each moment, (M, 2), and its probabilities (M, classes): see `moments_of`."""
        return moments_of(self.times, self.probabilities)

    def segments(self, options: Segments | None = None) -> list[Segment]:
        """The parts of the video that show a class, in order of their start.

            timeline.segments(actrec.config.Segments(threshold=0.7))

        Args:
            options: When a part counts as a segment; the defaults of `actrec.config.Segments` if not given.
        """
        return segments_of(self.times, self.probabilities, options or Segments(), multi_label=self.multi_label)

    def __len__(self) -> int:
        return len(self.times)
