"""Classes of the lists: mini datasets, files of class names, and flips.txt."""

from __future__ import annotations

import pytest
from published_samples import (
    JESTER,
    KINETICS,
    MOMENTS,
    SSV2,
    UCF101,
    lists_in,
    make,
)

from actrec.data.lists import read_flips, read_labels
from actrec.tools.datasets.table import DATASETS


def kinetics_of(classes, part):
    rows = "".join(f'"{name}",{part[0]}{i:010d},0,10,{part}\n' for i, name in enumerate(classes))
    return f"label,youtube_id,time_start,time_end,split\n{rows}"


def test_mini_kinetics_is_known_by_its_class_names(tmp_path, shared_spec):
    wanted = sorted(read_labels(shared_spec / "mini_kinetics400_classes.txt"))
    assert read_labels(DATASETS.get("mini-kinetics").class_file) == wanted
    classes = ["abseiling", *wanted, "zumba"]
    files = {f"{part}.csv": kinetics_of(classes, part) for part in ("train", "val")}
    files["test.csv"] = "youtube_id,time_start,time_end,split\ntbcdefghijk,7,17,test\n"
    videos = [f"{part[0]}{i:010d}_000000_000010.mp4" for part in ("train", "val") for i in range(202)]
    made, said = make(tmp_path, "mini-kinetics", files, videos)
    assert made.lists == {"train.txt": 200, "val.txt": 200}
    assert read_labels(tmp_path / "out/labels.txt") == wanted
    assert [label for _, label in lists_in(tmp_path)["val"]] == list(range(200))
    assert said == ["1 test videos have no class: they are left out"]


def test_a_mini_set_of_other_annotations(tmp_path):
    with pytest.raises(ValueError) as error:
        make(tmp_path, "mini-kinetics", KINETICS.files, KINETICS.videos)
    assert str(error.value) == (
        "199 of the 200 classes of mini-Kinetics are not in these annotations, such as 'answering questions': expected "
        "train.csv, val.csv (or validate.csv) and test.csv, or the .json files of these names"
    )


def test_mini_ssv2_is_known_by_its_class_names(tmp_path, shared_spec):
    wanted = sorted(read_labels(shared_spec / "mini_ssv2_classes.txt"))
    assert read_labels(DATASETS.get("mini-ssv2").class_file) == wanted
    classes = [*wanted, "Pushing something from right to left"]
    files = {
        "something-something-v2-train.json": [
            {"id": str(i), "template": name.replace("something", "[something]")} for i, name in enumerate(classes)
        ]
    }
    made, _ = make(tmp_path, "mini-ssv2", files, [f"{i}.webm" for i in range(len(classes))])
    assert made.lists == {"train.txt": 87}
    flips = read_flips(tmp_path / "out/flips.txt", wanted)
    alone = [wanted[i] for i, mirror in enumerate(flips) if mirror == -1]
    assert alone == [
        "Pulling something from right to left",
        "Pushing something from left to right",
        "Turning the camera right while filming something",
    ]


def test_mini_moments_needs_a_class_file(tmp_path):
    with pytest.raises(
        ValueError, match="mini-Moments in Time needs the names of its 200 classes: expected --classes FILE"
    ):
        make(tmp_path, "mini-moments", MOMENTS.files, MOMENTS.videos)
    (tmp_path / "classes.txt").write_text("\nbarking\n")
    made, _ = make(tmp_path, "mini-moments", MOMENTS.files, MOMENTS.videos, class_file=tmp_path / "classes.txt")
    assert lists_in(tmp_path)["train"] == [("training/barking/yt-1_2.mp4", 0)]
    assert read_labels(tmp_path / "out/labels.txt") == ["barking"]
    assert not made.missing  # what is of other classes is not missed


def test_a_class_file_with_unknown_names(tmp_path):
    (tmp_path / "classes.txt").write_text("barkng\nadult+female+singing\nrunning\n")
    with pytest.raises(ValueError) as error:
        make(tmp_path, "moments", MOMENTS.files, MOMENTS.videos, class_file=tmp_path / "classes.txt")
    assert str(error.value).splitlines() == [
        f"{tmp_path}/classes.txt: unknown class 'barkng': did you mean barking?",
        f"{tmp_path}/classes.txt: unknown class 'running': expected one of adult+female+singing, barking",
    ]
    assert not (tmp_path / "out").exists()


def test_flips(tmp_path):
    make(tmp_path, "jester", JESTER.files, JESTER.videos)
    assert (tmp_path / "out/flips.txt").read_text() == "Swiping Left\tSwiping Right\nTurning Hand Clockwise\t-\n"
    assert read_flips(tmp_path / "out/flips.txt", JESTER.labels) == (0, 2, 1, -1)
    make(tmp_path, "ssv2", SSV2.files, SSV2.videos, force=True)
    assert read_flips(tmp_path / "out/flips.txt", SSV2.labels) == (1, 0, 2)
    make(tmp_path, "ucf101", UCF101.files, UCF101.videos, force=True)
    assert not (tmp_path / "out/flips.txt").exists()
    assert not (tmp_path / "out/test.txt").exists()
