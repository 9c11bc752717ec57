"""The public datasets that `actrec lists` makes lists of, one row each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actrec.config import Clip, Views


@dataclass(frozen=True)
class Dataset:
    """What is known of a dataset beforehand.

    Args:
        name: as `actrec lists` takes it.
        title: as its authors call it.
        num_classes: of the published annotations, or of the subset.
        reader: the module `actrec.tools.lists_<reader>` reads its annotation files.
        annotations: names of these files, as published.
        videos: names of its video files or frame folders.
        min_frames: videos with fewer are usually left out of training and validation; 0: none are.
        num_splits: how many splits are published.
        mirror: pairs of words that change places in a class name when its videos are mirrored.
        subset: the dataset is the part of another one that a list of class names picks out.
        class_list: a file of such names beside this module.
        clip: how its videos are usually sampled.
        views: how it is usually evaluated.
    """

    name: str
    title: str
    num_classes: int
    reader: str
    annotations: str
    videos: str
    min_frames: int = 0
    num_splits: int = 1
    mirror: tuple[tuple[str, str], ...] = ()
    subset: bool = False
    class_list: str | None = None
    clip: Clip = Clip(frames=16, stride=1, sampling="dense")
    views: Views = Views(clips=10, crops=3)

    @property
    def class_file(self) -> Path | None:
        """The list of class names that comes with actrec, None where there is none."""
        return Path(__file__).with_name(self.class_list) if self.class_list else None

    def flips(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """The lines of `flips.txt`: classes that are each other's mirror images, and with `-` those without one."""
        words = {one: other for pair in self.mirror for one, other in (pair, pair[::-1])}
        pattern = re.compile(rf"\b({'|'.join(words)})\b") if words else None
        lines, known = [], set(classes)
        for name in classes if pattern else ():
            other = pattern.sub(lambda match: words[match[0]], name)
            if other not in known:
                lines.append((name, "-"))
            elif name < other:
                lines.append((name, other))
        return lines


_SEGMENTS = Clip(frames=8, sampling="uniform")
_LONG = Clip(frames=32, stride=2, sampling="dense")
_LEFT_RIGHT = (("left", "right"),)
_KINETICS = dict(
    reader="kinetics",
    annotations="train.csv, val.csv (or validate.csv) and test.csv, or the same as .json",
    videos="<youtube id>_000012_000022.mp4",
    min_frames=30,
    clip=_LONG,
)
_SOMETHING = dict(reader="something", min_frames=3, mirror=_LEFT_RIGHT, clip=_SEGMENTS, views=Views(crops=3))
_SSV2 = dict(
    **_SOMETHING,
    annotations="something-something-v2-train.json, -validation.json, -test.json and -labels.json, "
    "or labels/train.json and so on",
    videos="<id>.webm",
)
_MOMENTS = dict(
    reader="moments",
    annotations="trainingSet.csv, validationSet.csv and moments_categories.txt",
    videos="<class>/<name>.mp4",
    clip=_SEGMENTS,
)

DATASETS = {
    row.name: row
    for row in (
        Dataset("kinetics400", "Kinetics-400", 400, **_KINETICS),
        Dataset("kinetics600", "Kinetics-600", 600, **_KINETICS),
        Dataset("kinetics700", "Kinetics-700", 700, **_KINETICS),
        Dataset("mini-kinetics", "mini-Kinetics", 200, **_KINETICS, subset=True, class_list="mini_kinetics400.txt"),
        Dataset(
            "ssv1",
            "Something-Something V1",
            174,
            **_SOMETHING,
            annotations="something-something-v1-train.csv, -validation.csv, -test.csv and -labels.csv",
            videos="<id>/00001.jpg",
        ),
        Dataset("ssv2", "Something-Something V2", 174, **_SSV2),
        Dataset("mini-ssv2", "mini-Something-Something V2", 87, **_SSV2, subset=True, class_list="mini_ssv2.txt"),
        Dataset("moments", "Moments in Time", 339, **_MOMENTS),
        Dataset("mini-moments", "mini-Moments in Time", 200, **_MOMENTS, subset=True),
        Dataset(
            "ucf101",
            "UCF101",
            101,
            reader="ucf101",
            annotations="trainlist01.txt, testlist01.txt and classInd.txt",
            videos="v_<class>_g01_c01.avi",
            num_splits=3,
        ),
        Dataset(
            "hmdb51",
            "HMDB51",
            51,
            reader="hmdb51",
            annotations="<class>_test_split1.txt, one for each class",
            videos="<name>.avi",
            num_splits=3,
        ),
        Dataset(
            "activitynet",
            "ActivityNet 1.3",
            200,
            reader="activitynet",
            annotations="activity_net.v1-3.min.json",
            videos="v_<youtube id>.mp4",
            min_frames=8,
        ),
        Dataset(
            "jester",
            "Jester",
            27,
            reader="jester",
            annotations="jester-v1-train.csv, -validation.csv, -test.csv and -labels.csv",
            videos="<id>/00001.jpg",
            mirror=(("Left", "Right"), ("Clockwise", "Counterclockwise")),
            clip=_SEGMENTS,
            views=Views(crops=3),
        ),
        Dataset(
            "diving48",
            "Diving48 V2",
            48,
            reader="diving48",
            annotations="Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json",
            videos="<vid_name>.mp4",
            clip=Clip(frames=16, sampling="uniform"),
            views=Views(crops=3),
        ),
    )
}
