"""Lists of every public dataset, made of small annotation files in the published format."""

from __future__ import annotations

import pytest
from published_samples import (
    DIVING48,
    HMDB51,
    SAMPLES,
    UCF101,
    lists_in,
    make,
    missing_in,
)

from actrec.data.lists import read_labels
from actrec.tools.datasets.table import DATASETS
from actrec.tools.lists.list_files import WRITTEN


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_published_formats(tmp_path, name, sample):
    made, said = make(tmp_path, name, sample.files, sample.videos)
    assert lists_in(tmp_path) == sample.lists
    assert read_labels(tmp_path / "out/labels.txt") == sample.labels
    assert missing_in(tmp_path) == sample.missing
    assert made.lists == {f"{part}.txt": len(rows) for part, rows in sample.lists.items()}
    assert made.num_classes == len(sample.labels)
    assert sum(made.missing.values()) == len(sample.missing)
    row = DATASETS.get(name)
    counts = f"{row.title} has {row.num_classes} classes, these annotations {len(sample.labels)}"
    assert said == [counts, *sample.messages]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_the_other_splits(tmp_path):
    make(tmp_path, "ucf101", UCF101.files, UCF101.videos, split=2)
    assert lists_in(tmp_path) == {
        "train": [("UCF-101/Archery/v_Archery_g01_c01.avi", 0)],
        "val": [("UCF-101/Archery/v_Archery_g08_c01.avi", 0)],
    }
    assert read_labels(tmp_path / "out/labels.txt") == UCF101.labels


def test_a_missing_split(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such list of HMDB51; expected <class>_test_split3.txt"):
        make(tmp_path, "hmdb51", HMDB51.files, HMDB51.videos, split=3)
    with pytest.raises(FileNotFoundError, match="no such list of UCF101; expected trainlist03.txt, testlist03.txt"):
        make(tmp_path / "more", "ucf101", UCF101.files, UCF101.videos, split=3)


def test_frames_of_diving48_where_files_are_not_cut(tmp_path):
    files = dict(DIVING48.files)
    files["Diving48_V2_train.json"] = [
        {"vid_name": "-mmq0PT-u8k_00155", "label": 1, "start_frame": 10, "end_frame": 48},
        {"vid_name": "-mmq0PT-u8k_00156", "label": 0, "start_frame": 0, "end_frame": 70},
    ]
    make(tmp_path, "diving48", files, DIVING48.videos)
    assert lists_in(tmp_path)["train"] == [
        ("rgb/-mmq0PT-u8k_00155.mp4", 0, 10, 48), ("rgb/-mmq0PT-u8k_00156.mp4", 1, 0, 70),
    ]  # fmt: skip


def test_every_dataset_is_tested_here():
    assert {DATASETS.get(name).read for name, _ in SAMPLES} == {DATASETS.get(name).read for name in DATASETS}
    assert WRITTEN[0] == "labels.txt"  # renamed first
