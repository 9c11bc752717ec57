"""Repeated rows, leakage between lists, and missing videos."""

from __future__ import annotations

import json

import pytest
from published_samples import (
    ACTIVITYNET,
    GOOD,
    KINETICS,
    NET,
    lists_in,
    make,
    missing_in,
    write,
)

from actrec.tools.datasets.table import DATASETS
from actrec.tools.lists.published import make_lists


def test_repeated_rows_are_listed_once(tmp_path):
    files = dict(KINETICS.files)
    files["train.csv"] += GOOD * 2
    made, said = make(tmp_path, "kinetics400", files, KINETICS.videos)
    assert made.lists["train.txt"] == 2
    assert "2 rows like an earlier row: listed once" in said
    files["train.csv"] += GOOD.replace("yoga", "air drumming")
    said = []
    with pytest.raises(ValueError, match="has class 'air drumming' here and 'yoga' at"):
        make_lists(DATASETS.get("kinetics400"), [write(tmp_path / "annotations", files)], tmp_path / "videos",
                   tmp_path / "out", force=True, log=said.append)  # fmt: skip
    assert "2 rows like an earlier row: listed once" in said


def test_one_segment_may_show_two_actions(tmp_path):
    database = json.loads(json.dumps(NET))
    database["database"]["val_abcdefg"]["annotations"] += [{"segment": [1, 2.5], "label": "Long jump"}]
    make(tmp_path, "activitynet", {"activity_net.v1-3.min.json": database}, ACTIVITYNET.videos)
    assert [label for _, label, *_ in lists_in(tmp_path)["val"]] == [0, 1]


def test_the_same_video_in_two_lists_is_reported(tmp_path):
    files = dict(KINETICS.files)
    files["val.csv"] += "yoga,abcdefghijk,12,22,val,0\nyoga,-bcdefghij_,0,10,val,0\n"
    made, said = make(tmp_path, "kinetics400", files, [*KINETICS.videos, "val/yoga/abcdefghijk_000012_000022.mp4"])
    assert made.lists["val.txt"] == 2  # the second one lies in the folder of another class
    path = "val/yoga/abcdefghijk_000012_000022.mp4"
    assert f"leakage: 1 row of val with a video of train, such as {path!r}" in said


def test_missing_videos(tmp_path):
    made, said = make(tmp_path, "kinetics400", KINETICS.files, KINETICS.videos[:2])
    assert made.lists == {"train.txt": 2}
    assert made.missing == {"train.txt": 1, "val.txt": 1, "test.txt": 1}
    assert "val.txt: none of its videos can be used, so this list is not written" in said
    assert [row[0] for row in missing_in(tmp_path)] == ["train", "val", "test"]


def test_all_videos_missing(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        make(tmp_path, "kinetics400", KINETICS.files, [])
    assert str(error.value) == (
        f"{tmp_path}/videos: none of the 5 videos exists, not even 'abcdefghijk_000012_000022'; expected "
        "<youtube id>_000012_000022.mp4, at any depth"
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError):
        make_lists(DATASETS.get("kinetics400"), [tmp_path / "annotations"], tmp_path / "nowhere", tmp_path / "out")
