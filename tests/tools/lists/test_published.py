"""Every converter on small annotation files in its dataset's published format, and on malformed ones."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actrec.data.lists import read_flips, read_labels, read_list
from actrec.tools.datasets.table import DATASETS
from actrec.tools.lists.list_files import WRITTEN
from actrec.tools.lists.published import make_lists


@dataclass
class Sample:
    """Annotation files by name, videos that are there, and what has to come out."""

    files: dict
    videos: list[str]
    labels: list[str]
    lists: dict[str, list[tuple]]  # (path below the videos, label, start, stop)
    missing: list[tuple] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


KINETICS = Sample(
    files={
        "train.csv": "label,youtube_id,time_start,time_end,split\n"
        'yoga,abcdefghijk,12,22,train\n"air drumming",-bcdefghij_,0,10,train\n'
        '"cooking, on a fire",gone_______,5,15,train\n',
        "val.csv": "label,youtube_id,time_start,time_end,split,is_cc\nyoga,zbcdefghijk,100,110,validate,0\n",
        "test.csv": "youtube_id,time_start,time_end,split\ntbcdefghijk,7,17,test\n",
    },
    videos=[
        "train/yoga/abcdefghijk_000012_000022.mp4",
        "train/air_drumming/-bcdefghij__000000_000010.mkv",
        "val/yoga/zbcdefghijk_000100_000110.mp4",
        "test/tbcdefghijk_000007_000017.mp4",
    ],
    labels=["air drumming", "cooking, on a fire", "yoga"],
    lists={
        "train": [
            ("train/yoga/abcdefghijk_000012_000022.mp4", 2),
            ("train/air_drumming/-bcdefghij__000000_000010.mkv", 0),
        ],
        "val": [("val/yoga/zbcdefghijk_000100_000110.mp4", 2)],
        "test": [("test/tbcdefghijk_000007_000017.mp4", None)],
    },
    missing=[("train", "gone________000005_000015", "cooking, on a fire", "no such file")],
)
KINETICS_JSON = Sample(
    files={
        "train.json": {
            "abcdefghijk": {
                "annotations": {"label": "yoga", "segment": [12.0, 22.0]},
                "duration": 10.0,
                "subset": "train",
                "url": "https://www.youtube.com/watch?v=abcdefghijk",
            }
        },
        "validate.json": {"zbcdefghijk": {"annotations": {"label": "yoga", "segment": [3, 13]}, "subset": "validate"}},
        "test.json": {"tbcdefghijk": {"annotations": {"segment": [7.0, 17.0]}, "duration": 10.0, "subset": "test"}},
    },
    videos=["abcdefghijk.mp4", "zbcdefghijk_000003_000013/img_00001.jpg", "tbcdefghijk_000007_000017.mp4"],
    labels=["yoga"],
    lists={
        "train": [("abcdefghijk.mp4", 0)],
        "val": [("zbcdefghijk_000003_000013", 0)],
        "test": [("tbcdefghijk_000007_000017.mp4", None)],
    },
    messages=[
        "1 videos have a shorter name than expected, such as 'abcdefghijk.mp4' for 'abcdefghijk_000012_000022': "
        "they are listed with this name"
    ],
)
FEATHER = "Something falling like a feather or paper"
SSV1 = Sample(
    files={
        "something-something-v1-train.csv": f"100218;{FEATHER}\n24413;Unfolding something\n",
        "something-something-v1-validation.csv": "7;Unfolding something\n",
        "something-something-v1-test.csv": "8\n",
        "something-something-v1-labels.csv": f"Unfolding something\n{FEATHER}\n",
    },
    videos=[f"20bn-something-something-v1/{n}/00001.jpg" for n in (100218, 24413, 7, 8)],
    labels=[FEATHER, "Unfolding something"],
    lists={
        "train": [("20bn-something-something-v1/100218", 0), ("20bn-something-something-v1/24413", 1)],
        "val": [("20bn-something-something-v1/7", 1)],
        "test": [("20bn-something-something-v1/8", None)],
    },
)
LEFT, RIGHT = "Pushing something from left to right", "Pushing something from right to left"
SSV2 = Sample(
    files={
        "something-something-v2-train.json": [
            {"id": "78687", "label": "pushing a box from left to right", "placeholders": ["a box"],
             "template": "Pushing [something] from left to right"},
            {"id": 42326, "label": "mug falling", "template": "[Something] falling", "placeholders": ["mug"]},
        ],
        "something-something-v2-validation.json": [
            {"id": "74225", "label": "…", "template": "Pushing [something] from right to left", "placeholders": []}
        ],
        "something-something-v2-test.json": [{"id": "1420"}],
        "something-something-v2-labels.json": {LEFT: "0", RIGHT: "1", "Something falling": "2"},
    },
    videos=["78687.webm", "42326.webm", "74225.webm", "1420.webm"],
    labels=[LEFT, RIGHT, "Something falling"],
    lists={
        "train": [("78687.webm", 0), ("42326.webm", 2)],
        "val": [("74225.webm", 1)],
        "test": [("1420.webm", None)],
    },
)  # fmt: skip
SSV2_LATER = Sample(
    files={
        "train.json": SSV2.files["something-something-v2-train.json"],
        "validation.json": SSV2.files["something-something-v2-validation.json"],
        "test.json": SSV2.files["something-something-v2-test.json"],
        "test-answers.csv": "1420;Something falling\n",
        "labels.json": SSV2.files["something-something-v2-labels.json"],
    },
    videos=SSV2.videos,
    labels=SSV2.labels,
    lists=SSV2.lists | {"test": [("1420.webm", 2)]},
)
MOMENTS = Sample(
    files={
        "trainingSet.csv": "adult+female+singing/yt-1_2.mp4,adult+female+singing,3,1\nbarking/yt-1_2.mp4,barking,4,0\n",
        "validationSet.csv": '"barking/a, b.mp4",barking,2,1\n',
        "moments_categories.txt": "barking,0\nadult+female+singing,1\n",
    },
    videos=[
        "training/adult+female+singing/yt-1_2.mp4", "training/barking/yt-1_2.mp4", "validation/barking/a, b.mp4",
    ],
    labels=["adult+female+singing", "barking"],
    lists={
        "train": [("training/adult+female+singing/yt-1_2.mp4", 0), ("training/barking/yt-1_2.mp4", 1)],
        "val": [("validation/barking/a, b.mp4", 1)],
    },
)  # fmt: skip
UCF101 = Sample(
    files={
        "classInd.txt": "1 Archery\r\n2 HammerThrow\r\n3 Hammering\r\n",
        "trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\r\nHammering/v_Hammering_g08_c01.avi 3\r\n",
        "testlist01.txt": "Archery/v_Archery_g01_c01.avi\r\nHammerThrow/v_HammerThrow_g01_c01.avi\r\n",
        "trainlist02.txt": "Archery/v_Archery_g01_c01.avi 1\n",
        "testlist02.txt": "Archery/v_Archery_g08_c01.avi\n",
    },
    videos=[
        "UCF-101/Archery/v_Archery_g08_c01.avi",
        "UCF-101/Archery/v_Archery_g01_c01.avi",
        "UCF-101/Hammering/v_Hammering_g08_c01.avi",
        "v_HammerThrow_g01_c01.avi",
    ],
    labels=["Archery", "HammerThrow", "Hammering"],
    lists={
        "train": [("UCF-101/Archery/v_Archery_g08_c01.avi", 0), ("UCF-101/Hammering/v_Hammering_g08_c01.avi", 2)],
        "val": [("UCF-101/Archery/v_Archery_g01_c01.avi", 0), ("v_HammerThrow_g01_c01.avi", 1)],
    },
)
HMDB51 = Sample(
    files={
        "brush_hair_test_split1.txt": "April_09_brush_hair_0.avi 1 \nMy hair, brushed!_1.avi 2 \nothers_2.avi 0 \n",
        "cartwheel_test_split1.txt": "#20_cartwheel.avi 1 \n",
        "cartwheel_test_split2.txt": "#20_cartwheel.avi 2 \n",
    },
    videos=[
        "brush_hair/April_09_brush_hair_0.avi", "brush_hair/My hair, brushed!_1.avi", "brush_hair/others_2.avi",
        "cartwheel/#20_cartwheel.avi",
    ],
    labels=["brush_hair", "cartwheel"],
    lists={
        "train": [("brush_hair/April_09_brush_hair_0.avi", 0), ("cartwheel/#20_cartwheel.avi", 1)],
        "val": [("brush_hair/My hair, brushed!_1.avi", 0)],
    },
)  # fmt: skip
ACTIVITYNET = Sample(
    files={
        "activity_net.v1-3.min.json": {
            "taxonomy": [
                {"parentId": None, "parentName": None, "nodeId": 0, "nodeName": "Root"},
                {"parentId": 0, "parentName": "Root", "nodeId": 1, "nodeName": "Long jump"},
                {"parentId": 0, "parentName": "Root", "nodeId": 2, "nodeName": "Archery"},
            ],
            "database": {
                "--abcdefghi": {
                    "duration": 82.75, "subset": "training", "resolution": "320x240", "url": "…",
                    "annotations": [
                        {"segment": [0.01, 12.5], "label": "Archery"},
                        {"segment": [30, 40.125], "label": "Long jump"},
                        {"segment": [0, 0], "label": "Long jump"},
                    ],
                },
                "val_abcdefg": {
                    "duration": 9.0, "subset": "validation",
                    "annotations": [{"segment": [1, 2.5], "label": "Archery"}],
                },
                "tst_abcdefg": {"duration": 9.0, "subset": "testing", "annotations": []},
            },
            "version": "VERSION 1.3",
        }
    },
    videos=["v1-3/train_val/v_--abcdefghi.mp4", "v1-3/train_val/v_val_abcdefg.mkv", "v1-3/test/v_tst_abcdefg.mp4"],
    labels=["Archery", "Long jump"],
    lists={
        "train": [
            ("v1-3/train_val/v_--abcdefghi.mp4", 0, 0.01, 12.5),
            ("v1-3/train_val/v_--abcdefghi.mp4", 1, 30.0, 40.125),
        ],
        "val": [("v1-3/train_val/v_val_abcdefg.mkv", 0, 1.0, 2.5)],
        "test": [("v1-3/test/v_tst_abcdefg.mp4", None)],
    },
    missing=[("train", "--abcdefghi (0 to 0)", "Long jump", "its segment is empty (0 to 0 s)")],
)  # fmt: skip
JESTER = Sample(
    files={
        "jester-v1-train.csv": "34870;Swiping Left\n56557;No gesture\n",
        "jester-v1-validation.csv": "9223;Swiping Right\n",
        "jester-v1-test.csv": "107090\n",
        "jester-v1-labels.csv": "Swiping Left\nSwiping Right\nTurning Hand Clockwise\nNo gesture\n",
    },
    videos=[f"20bn-jester-v1/{n}/00001.jpg" for n in (34870, 56557, 9223, 107090)],
    labels=["No gesture", "Swiping Left", "Swiping Right", "Turning Hand Clockwise"],
    lists={
        "train": [("20bn-jester-v1/34870", 1), ("20bn-jester-v1/56557", 0)],
        "val": [("20bn-jester-v1/9223", 2)],
        "test": [("20bn-jester-v1/107090", None)],
    },
)
DIVING48 = Sample(
    files={
        "Diving48_V2_train.json": [
            {"vid_name": "-mmq0PT-u8k_00155", "label": 1, "start_frame": 0, "end_frame": 48},
            {"vid_name": "-mmq0PT-u8k_00156", "label": 0, "start_frame": 0, "end_frame": 70},
        ],
        "Diving48_V2_test.json": [{"vid_name": "2x00lRzlTVQ_00000", "label": 1, "start_frame": 0, "end_frame": 9}],
        "Diving48_vocab.json": [["Forward", "15som", "NoTwis", "PIKE"], ["Back", "15som", "05Twis", "FREE"]],
        "Diving48_train.json": "the first version",
    },
    videos=["rgb/-mmq0PT-u8k_00155.mp4", "rgb/-mmq0PT-u8k_00156.mp4", "rgb/2x00lRzlTVQ_00000.mp4"],
    labels=["Back 15som 05Twis FREE", "Forward 15som NoTwis PIKE"],
    lists={
        "train": [("rgb/-mmq0PT-u8k_00155.mp4", 0), ("rgb/-mmq0PT-u8k_00156.mp4", 1)],
        "val": [("rgb/2x00lRzlTVQ_00000.mp4", 0)],
    },
)
SAMPLES = [
    ("kinetics400", KINETICS), ("kinetics600", KINETICS), ("kinetics700", KINETICS_JSON), ("ssv1", SSV1),
    ("ssv2", SSV2), ("ssv2", SSV2_LATER), ("moments", MOMENTS), ("ucf101", UCF101), ("hmdb51", HMDB51),
    ("activitynet", ACTIVITYNET), ("jester", JESTER), ("diving48", DIVING48),
]  # fmt: skip
SAMPLE = dict(reversed(SAMPLES))


def write(folder: Path, files: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, (str, bytes)) else json.dumps(content)
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def touch(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def make(tmp_path, name, files, videos, **options):
    """The made lists and what was said."""
    said = []
    made = make_lists(
        DATASETS.get(name), [write(tmp_path / "annotations", files)], touch(tmp_path / "videos", videos),
        tmp_path / "out", log=said.append, **options,
    )  # fmt: skip
    return made, said


def lists_in(tmp_path):
    return {
        part: [
            (os.path.relpath(video.path, tmp_path / "videos"), video.labels[0] if video.labels else None)
            + ((video.start, video.stop) if video.start is not None else ())
            for video in read_list(tmp_path / f"out/{part}.txt")
        ]
        for part in ("train", "val", "test")
        if (tmp_path / f"out/{part}.txt").exists()
    }


def missing_in(tmp_path):
    path = tmp_path / "out/missing.csv"
    return [tuple(row) for row in csv.reader(path.read_text().splitlines())][1:] if path.exists() else []


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


def test_a_split_that_is_not_there(tmp_path):
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


# ---- mini sets and classes ----


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
        "train.csv, val.csv (or validate.csv) and test.csv, or the same as .json"
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


# ---- malformed annotations ----

TRAIN = "label,youtube_id,time_start,time_end,split\n"
GOOD = "yoga,abcdefghijk,12,22,train\n"
NET = ACTIVITYNET.files["activity_net.v1-3.min.json"]


def clip(segment, label="yoga", **more):
    return {"a": {"annotations": {"label": label, "segment": segment}} | more}


def net(annotations):
    return NET | {"database": {"a": {"subset": "training", "annotations": annotations}}}


def dive(**more):
    return [{"vid_name": "a", "label": 0, "start_frame": 0, "end_frame": 9} | more]


# (dataset, file): (its content, the message after the file's name)
MALFORMED = {
    ("kinetics400", "train.csv"): [
        ("", "1: the first line has no label and no youtube_id and no time_start and no time_end: expected"),
        (GOOD, "1: the first line has no label and no youtube_id and no time_start"),
        ("label,youtube_id,time_start\n", "1: the first line has no time_end: expected the columns label,youtube_id,"),
        (f"{TRAIN}{GOOD}yoga,a,1,2\n", "3: 4 columns: expected 5 as in the first line"),
        (f"{TRAIN}{GOOD}yoga,a,1,2,train,0\n", "3: 6 columns: expected 5 as in the first line"),
        (f'{TRAIN}"yoga,a,1,2,train\n{GOOD}', "2: '\"yoga,a,1,2,train': expected values between commas, quotes"),
        (f"{TRAIN}yoga,a,one,2,train\n", "2: from 'one' to '2': expected whole seconds"),
        (f"{TRAIN}yoga,a,-1,2,train\n", "2: from '-1' to '2': expected whole seconds"),
        (f"{TRAIN}yoga,a,,,train\n", "2: from '' to '': expected whole seconds"),
        (f"{TRAIN}yoga,a,22,12,train\n", "2: from second 22 to 12: expected a start before the end"),
        (f"{TRAIN}yoga,a,1,2,trian\n", "2: split 'trian': expected train, val or test"),
        (f"{TRAIN},a,1,2,train\n", "2: video 'a_000001_000002' has no class: expected its name"),
        (f"{TRAIN}yoga,,1,2,train\n", "2: video '': expected its name"),
        (f"{TRAIN}yoga,a/b,1,2,train\n", "2: video 'a/b_000001_000002': expected its name"),
        (f"{TRAIN}{GOOD}ski,abcdefghijk,12,22,train\n", "3: 'abcdefghijk_000012_000022' has class 'ski' here and"),
        (TRAIN.encode() + b"caf\xe9,a,1,2,train\n", "2: byte 0xe9 at position 4 is not UTF-8"),
        ("\ufeff".encode("utf-16"), "1: the file is UTF-16: expected UTF-8"),
        (f"{TRAIN}yo\0ga,a,1,2,train\n", "2: the line holds a zero byte"),
    ],
    ("kinetics400", "val.csv"): [
        (f"{TRAIN}yogi,abcdefghijk,12,22,val\n", "2: unknown class 'yogi': did you mean yoga?"),
    ],
    ("kinetics700", "train.json"): [
        ("", "1: not JSON: Expecting value at column 1"),
        ("{\n'a': 1}", "2: not JSON: Expecting property name"),
        (b'{"a\n\xe9": 1}', "2: byte 0xe9 is not UTF-8: save the file as UTF-8"),
        ("[" * 100_000, " the JSON cannot be read"),
        ("[1, 2]", " the file contains list '[1, 2]': expected an object {…}"),
        ('{"a": {}, "b": {}, "a": {}}', " key 'a' occurs twice: expected it once"),
        ({"a": []}, "key 'a': expected annotations with a segment [start, end] and a label"),
        (clip([1]), "key 'a': expected annotations with a segment [start, end] and a label"),
        (clip([1.5, 3]), "key 'a': from '1.5' to '3': expected whole seconds"),
        (clip([1, 3], 3), "key 'a': class '3': expected a name"),
        (clip([1, 3], None), "key 'a': video 'a_000001_000003' has no class: expected its name"),
        (clip([1, 3], subset="all"), "key 'a': split 'all': expected train, val or test"),
    ],
    ("ssv1", "something-something-v1-train.csv"): [
        ("1;Unfolding something\n2\n", "2: '2': expected id;class"),
        ("1,Unfolding something\n", "1: '1,Unfolding something': expected id;class"),
        ("2;\n", "1: video '2' has no class: expected its name"),
        (";Unfolding something\n", "1: video '': expected its name"),
        ("1;Unfolding somthing\n", "1: unknown class 'Unfolding somthing': did you mean Unfolding something?"),
        (f"1;Unfolding something\n1;{FEATHER}\n", f"2: '1' has class '{FEATHER}' here and 'Unfolding something' at"),
    ],
    ("ssv1", "something-something-v1-labels.csv"): [
        ("Unfolding something\n" * 2, "2: class 'Unfolding something' occurs twice: expected each class once"),
    ],
    ("ssv2", "something-something-v2-train.json"): [
        ({"id": "1"}, " the file contains dict"),
        (["1"], "entry 1: '1': expected an object with 'id'"),
        ([{"id": "1", "label": "x"}], "entry 1 ('1'): video '1' has no class: expected its name"),
        ([{"template": LEFT}], "entry 1 ('None'): video '': expected its name"),
        ([{"id": [1], "template": LEFT}], "entry 1 ('[1]'): video '': expected its name"),
        ([{"id": True, "template": LEFT}], "entry 1 ('True'): video '': expected its name"),
        ([{"id": "1\n2", "template": LEFT}], "entry 1 ('1\\n2'): video '1\\n2': expected its name"),
        ([{"id": 1, "template": 5}], "entry 1 ('1'): class '5': expected a name"),
        ([{"id": 1, "template": LEFT[:-1]}], f"entry 1 ('1'): unknown class '{LEFT[:-1]}': did you mean {LEFT}"),
    ],
    ("ssv2", "something-something-v2-labels.json"): [
        ([LEFT], " the file contains list"),
        ({"a\nb": "0"}, "key 'a\\nb': class 'a\\nb': expected its name"),
    ],
    ("ssv2", "test-answers.csv"): [("1420\n", "1: '1420': expected id;class")],
    ("moments", "trainingSet.csv"): [
        ("barking/a.mp4\n", "1: 'barking/a.mp4': expected class/file.mp4,class,yes,no"),
        ("barking/a.mp4,barking,1\n", "1: 'barking/a.mp4,barking,1': expected class/file.mp4,class,yes,no"),
        ("barking/a.mp4,barking,one,2\n", "1: 'barking/a.mp4,barking,one,2': expected class/file.mp4,class,yes,no"),
        (",barking,1,2\n", "1: video '': expected its name"),
        ("barking/a.mp4,,1,2\n", "1: video 'barking/a.mp4' has no class: expected its name"),
        ("barking/a.mp4,parking,1,2\n", "1: unknown class 'parking'"),
        ('"barking/a.mp4,barking\n', "1: '\"barking/a.mp4,barking': expected values between commas, quotes in pairs"),
    ],
    ("moments", "moments_categories.txt"): [
        ("barking\n", "1: 'barking': expected class,number"),
        (",1\n", "1: class '': expected its name"),
        ("barking,0\nbarking,1\n", "2: class 'barking' occurs twice: expected each class once"),
    ],
    ("ucf101", "trainlist01.txt"): [
        ("Archery/v.avi\n", "1: 'Archery/v.avi': expected class/file.avi number"),
        ("v.avi 1\n", "1: 'v.avi 1': expected class/file.avi number"),
        ("Archery/v.avi 2\n", "1: 'Archery/v.avi 2': number 2 is 'HammerThrow' in classInd.txt"),
        ("Archery/v.avi 9\n", "1: 'Archery/v.avi 9': number 9 is None in classInd.txt"),
    ],
    ("ucf101", "testlist01.txt"): [
        ("v.avi\n", "1: 'v.avi': expected class/file.avi"),
        ("Archery/\n", "1: 'Archery/': expected class/file.avi"),
        ("Archrey/v.avi\n", "1: unknown class 'Archrey': did you mean Archery?"),
    ],
    ("ucf101", "classInd.txt"): [
        ("Archery\n", "1: 'Archery': expected number class"),
        ("1 Archery\n1 Hammering\n", "2: '1 Hammering': expected number class, each number once"),
        ("1 Archery\n2 Archery\n", "2: class 'Archery' occurs twice"),
    ],
    ("hmdb51", "cartwheel_test_split1.txt"): [
        ("a.avi\n", "1: 'a.avi': expected file.avi and 0, 1 or 2"),
        ("a.avi 3\n", "1: 'a.avi 3': expected file.avi and 0, 1 or 2"),
        (" 1\n", "1: '1': expected file.avi and 0, 1 or 2"),
        ("a.avi 1\na.avi 1\nb.avi one\n", "3: 'b.avi one': expected file.avi and 0, 1 or 2"),
    ],
    ("activitynet", "activity_net.v1-3.min.json"): [
        ({}, " there is no object 'database'"),
        (NET | {"database": []}, " there is no object 'database'"),
        (NET | {"taxonomy": [{"nodeId": 1}]}, " taxonomy: expected a list of objects with nodeId"),
        (NET | {"taxonomy": 3}, " taxonomy: expected a list of objects"),
        (NET | {"database": {"a": 3}}, "key 'a': subset 'None': expected training, validation or testing"),
        (NET | {"database": {"a": {"subset": "trian"}}}, "key 'a': subset 'trian': expected training"),
        (net({}), "key 'a': annotations: expected a list of objects with segment and label"),
        (net([3]), "key 'a': annotations: expected a list of objects with segment and label"),
        (net([{"label": "Archery"}]), "key 'a', segment 1: 'None': expected [start, end] in seconds"),
        (net([{"label": "Archery", "segment": [1]}]), "key 'a', segment 1: '[1]': expected [start, end] in seconds"),
        (net([{"label": "Archery", "segment": [-1, 2]}]), "key 'a', segment 1: '[-1, 2]': expected [start, end]"),
        (net([{"label": "Archery", "segment": [1, "2"]}]), "key 'a', segment 1: \"[1, '2']\": expected [start, end]"),
        (net([{"label": "Archery", "segment": [1, float("nan")]}]), "key 'a', segment 1: '[1, nan]': expected [start"),
        (net([{"label": "Archery", "segment": [1, float("inf")]}]), "key 'a', segment 1: '[1, inf]': expected [start"),
        (net([{"label": "Archery", "segment": [1, 10**400]}]), "key 'a', segment 1: '[1, 1000"),
        (net([{"segment": [1, 2]}]), "key 'a', segment 1: video 'a' has no class: expected its name"),
        (net([{"label": "Archrey", "segment": [1, 2]}]), "key 'a', segment 1: unknown class 'Archrey': did you mean"),
        (net([{"label": "Root", "segment": [1, 2]}]), "key 'a', segment 1: unknown class 'Root': expected one"),
    ],
    ("jester", "jester-v1-train.csv"): [
        ("34870\n", "1: '34870': expected id;class"),
        ("34870;Swiping Lefty\n", "1: unknown class 'Swiping Lefty': did you mean Swiping Left"),
        ("3;Swiping Left\n3;Swiping Right\n", "2: '3' has class 'Swiping Right' here and 'Swiping Left' at"),
    ],
    ("jester", "jester-v1-labels.csv"): [
        ("Swiping Left\n\nSwiping Left\n", "3: class 'Swiping Left' occurs twice: expected each class once"),
    ],
    ("diving48", "Diving48_vocab.json"): [
        ({"a": 1}, " the file contains dict"),
        (["Back"], " expected a list of lists of words, such as"),
        ([["Back"], ["Back"]], "entry 2: class 'Back' occurs twice: expected each class once"),
    ],
    ("diving48", "Diving48_V2_train.json"): [
        (dive(label=2), "entry 1 ('a'): label 2: expected 0 to 1"),
        (dive(label=-1), "entry 1 ('a'): label -1: expected 0 to 1"),
        (dive(label="0"), "entry 1 ('a'): label '0': expected 0 to 1"),
        (dive(label=None), "entry 1 ('a'): label None: expected 0 to 1"),
        (dive(end_frame=0), "entry 1 ('a'): start_frame 0, end_frame 0: expected two numbers, the smaller one first"),
        (dive(start_frame=0.5), "entry 1 ('a'): start_frame 0.5, end_frame 9: expected two numbers"),
        (dive(end_frame=None), "entry 1 ('a'): start_frame 0, end_frame None: expected two numbers"),
        (dive(vid_name=None), "entry 1 ('None'): video '': expected its name"),
        (dive() + dive(label=1), "entry 2 ('a'): 'a' has class 'Back 15som 05Twis FREE' here and 'Forward 15som"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [(*place, *case) for place, cases in MALFORMED.items() for case in cases],
    ids=lambda value: str(value)[:40],
)
def test_malformed(tmp_path, name, file, content, message):
    sample = SAMPLE[name]
    with pytest.raises(ValueError) as error:
        make(tmp_path, name, sample.files | {file: content}, sample.videos)
    first = str(error.value).splitlines()[0]
    assert first.startswith(f"{tmp_path}/annotations/{file}:{message}"), first
    assert not (tmp_path / "out").exists()


def test_all_malformed_rows_are_told_together(tmp_path):
    files = dict(KINETICS.files)
    files["train.csv"] = TRAIN + GOOD + "yoga,a,x,2,train\n" + "yoga,b,2\n"
    files["val.csv"] = TRAIN + "yogi,c,1,2,val\n" * 30
    with pytest.raises(ValueError) as error:
        make(tmp_path, "kinetics400", files, KINETICS.videos)
    lines = str(error.value).splitlines()
    assert [line.rpartition("/")[2].split(": ")[0] for line in lines[:3]] == ["train.csv:3", "train.csv:4", "val.csv:2"]
    assert lines[-1] == "… and 12 more"


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_whatever_is_cut_off_or_slipped_in_is_no_crash(tmp_path, name, sample):
    """Only the errors that users see as lines may come out."""
    for file, content in sample.files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        for position in range(0, len(text), max(1, len(text) // 5)):
            for broken in (text[:position], f'{text[:position]}"\n{text[position:]}'):
                with contextlib.suppress(ValueError, OSError):
                    make(tmp_path, name, sample.files | {file: broken}, sample.videos, force=True)


# ---- which files ----


def test_files_may_be_named_one_by_one(tmp_path):
    folder = write(tmp_path / "annotations", KINETICS.files)
    videos = touch(tmp_path / "videos", KINETICS.videos)
    made = make_lists(DATASETS.get("kinetics400"), [folder / "train.csv"], videos, tmp_path / "out")
    assert made.lists == {"train.txt": 2}
    made = make_lists(DATASETS.get("kinetics400"), [folder, folder / "val.csv"], videos, tmp_path / "out", force=True)
    assert made.lists == {"train.txt": 2, "val.txt": 1, "test.txt": 1}


@pytest.mark.parametrize("name", DATASETS.names())
def test_no_annotation_files(tmp_path, name):
    dataset = DATASETS.get(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").touch()
    with pytest.raises(FileNotFoundError, match="no annotation files of .*; expected"):
        make_lists(dataset, [tmp_path / "empty"], tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder; expected"):
        make_lists(dataset, [tmp_path / "nowhere"], tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="notes.md is not an annotation file of .*: expected"):
        make_lists(dataset, [tmp_path / "notes.md"], tmp_path, tmp_path / "out")


def test_json_beside_the_same_csv_is_not_read(tmp_path):
    made, _ = make(tmp_path, "kinetics700", KINETICS.files | {"train.json": "no JSON"}, KINETICS.videos)
    assert made.lists["train.txt"] == 2


def test_another_version_of_activitynet_beside_it_is_not_read(tmp_path):
    files = ACTIVITYNET.files | {"activity_net.v1-2.min.json": "no JSON"}
    made, _ = make(tmp_path, "activitynet", files, ACTIVITYNET.videos)
    assert made.lists["train.txt"] == 2


def test_diving48_needs_its_vocabulary(tmp_path):
    files = {name: content for name, content in DIVING48.files.items() if "vocab" not in name}
    with pytest.raises(FileNotFoundError, match="no Diving48_vocab.json, which names the classes"):
        make(tmp_path, "diving48", files, DIVING48.videos)


def test_without_published_class_names_training_tells(tmp_path):
    files = {name: content for name, content in JESTER.files.items() if "labels" not in name}
    with pytest.raises(ValueError, match="validation.csv:1: unknown class 'Swiping Right': did you mean Swiping Left"):
        make(tmp_path, "jester", files, JESTER.videos)
    del files["jester-v1-train.csv"]
    (tmp_path / "annotations/jester-v1-train.csv").unlink()
    made, said = make(tmp_path, "jester", files, JESTER.videos)
    assert made.num_classes == 1
    assert said == ["Jester has 27 classes, these annotations 1"]


@pytest.mark.parametrize(("train", "what"), [([], "video"), ([{"id": "1420"}], "class")])
def test_annotations_of_nothing(tmp_path, train, what):
    name = f"something-something-v2-{'test' if train else 'train'}.json"
    with pytest.raises(ValueError, match=f"the annotations of Something-Something V2 contain no {what}: expected"):
        make(tmp_path, "ssv2", {name: train}, SSV2.videos)


def test_test_sets_of_which_some_classes_are_known(tmp_path):
    test = [{"id": "1420"}, {"id": "78687"}]
    made, said = make(tmp_path, "ssv2", SSV2_LATER.files | {"test.json": test}, SSV2.videos)
    assert lists_in(tmp_path)["test"] == [("1420.webm", 2)]
    assert "1 test videos have no class: they are left out" in said


def test_unreadable_annotations(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError, match="Diving48_vocab.json"):
        make(tmp_path, "diving48", DIVING48.files, DIVING48.videos)


# ---- duplicates, leakage, missing files ----


def test_repeated_rows_are_taken_once(tmp_path):
    files = dict(KINETICS.files)
    files["train.csv"] += GOOD * 2
    made, said = make(tmp_path, "kinetics400", files, KINETICS.videos)
    assert made.lists["train.txt"] == 2
    assert "2 rows repeat an earlier row: they are listed once" in said
    files["train.csv"] += GOOD.replace("yoga", "air drumming")
    said = []
    with pytest.raises(ValueError, match="has class 'air drumming' here and 'yoga' at"):
        make_lists(DATASETS.get("kinetics400"), [write(tmp_path / "annotations", files)], tmp_path / "videos",
                   tmp_path / "out", force=True, log=said.append)  # fmt: skip
    assert "2 rows repeat an earlier row: they are listed once" in said


def test_one_segment_may_show_two_actions(tmp_path):
    database = json.loads(json.dumps(NET))
    database["database"]["val_abcdefg"]["annotations"] += [{"segment": [1, 2.5], "label": "Long jump"}]
    make(tmp_path, "activitynet", {"activity_net.v1-3.min.json": database}, ACTIVITYNET.videos)
    assert [label for _, label, *_ in lists_in(tmp_path)["val"]] == [0, 1]


def test_the_same_video_in_two_lists_is_told(tmp_path):
    files = dict(KINETICS.files)
    files["val.csv"] += "yoga,abcdefghijk,12,22,val,0\nyoga,-bcdefghij_,0,10,val,0\n"
    made, said = make(tmp_path, "kinetics400", files, [*KINETICS.videos, "val/yoga/abcdefghijk_000012_000022.mp4"])
    assert made.lists["val.txt"] == 2  # the second one lies in the folder of another class
    path = "val/yoga/abcdefghijk_000012_000022.mp4"
    assert f"leakage: 1 rows of val are also videos of train, such as {path!r}" in said


def test_videos_that_are_not_there(tmp_path):
    made, said = make(tmp_path, "kinetics400", KINETICS.files, KINETICS.videos[:2])
    assert made.lists == {"train.txt": 2}
    assert made.missing == {"train.txt": 1, "val.txt": 1, "test.txt": 1}
    assert "val.txt: none of its videos can be used, so this list is not written" in said
    assert [row[0] for row in missing_in(tmp_path)] == ["train", "val", "test"]


def test_no_video_is_there(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        make(tmp_path, "kinetics400", KINETICS.files, [])
    assert str(error.value) == (
        f"{tmp_path}/videos: none of the 5 videos exists, not even 'abcdefghijk_000012_000022'; expected "
        "<youtube id>_000012_000022.mp4, at any depth"
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError):
        make_lists(DATASETS.get("kinetics400"), [tmp_path / "annotations"], tmp_path / "nowhere", tmp_path / "out")


# ---- strange names ----

STRANGE = ["two words", "semi;colon", 'it\'s "quoted"', "Füße 動画", "tab\there", "comma, here", "per%cent", "a" * 200]


def test_strange_names(tmp_path):
    names = [name for name in STRANGE if ";" not in name]  # which ends an id in this format
    files = {"jester-v1-train.csv": "".join(f"{name};No gesture\n" for name in names)}
    make(tmp_path, "jester", files, [f"my videos; all/{name}.mp4" for name in names])
    assert lists_in(tmp_path) == {"train": [(f"my videos; all/{name}.mp4", 0) for name in names]}


def test_strange_names_in_json(tmp_path):
    entries = [{"id": name, "template": "Opening [something]"} for name in STRANGE]
    make(tmp_path, "ssv2", {"train.json": entries}, [f"{name}.webm" for name in STRANGE])
    assert lists_in(tmp_path) == {"train": [(f"{name}.webm", 0) for name in STRANGE]}


def test_names_that_no_list_can_hold(tmp_path):
    files = {"trainlist01.txt": "A/one.avi 1\nA/two.avi 1\nA/three.avi 1\nA/#four.avi 1\nA/five.avi 1\n"}
    videos = touch(tmp_path / "videos", ["line\nbreak/one.avi", "three.avi", "#four.avi", " /five.avi"])
    folder = os.fsencode(videos) + b"/caf\xe9"
    os.mkdir(folder)
    Path(os.fsdecode(folder), "two.avi").touch()
    annotations = write(tmp_path / "annotations", files)
    make_lists(DATASETS.get("ucf101"), [annotations], videos, videos)
    assert (videos / "train.txt").read_text() == "three.avi 0\n"
    rows = [tuple(row) for row in csv.reader((videos / "missing.csv").read_text().splitlines())]
    assert rows == [
        ("list", "video", "class", "reason"),
        ("train", "A/one.avi", "A", "its path holds a line break"),
        ("train", "A/two.avi", "A", "its path is not UTF-8"),
        ("train", "A/#four.avi", "A", "its path begins or ends with a blank, or begins with #"),
        ("train", "A/five.avi", "A", "its path begins or ends with a blank, or begins with #"),
    ]


# ---- writing ----


def test_lists_that_are_there_are_not_replaced_unasked(tmp_path):
    make(tmp_path, "ucf101", UCF101.files, UCF101.videos)
    (tmp_path / "out/notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ValueError, match=r"out holds labels.txt, train.txt, val.txt already: --force replaces all"):
        make(tmp_path, "jester", JESTER.files, JESTER.videos)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    make(tmp_path, "jester", JESTER.files, JESTER.videos, force=True)
    assert read_labels(tmp_path / "out/labels.txt") == JESTER.labels
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["labels.txt", "train.txt", "val.txt", "flips.txt", "missing.csv"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, name):
    files = SSV2.files | {"something-something-v2-test.json": [{"id": "1420"}, {"id": "gone"}]}
    make(tmp_path, "ssv2", SSV2.files, SSV2.videos[:2])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    fsync, full = os.fsync, []

    def fail(descriptor):
        if len(full) == ["labels.txt", "train.txt", "val.txt", "test.txt", "flips.txt", "missing.csv"].index(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        full.append(1)
        fsync(descriptor)

    monkeypatch.setattr("actrec.files.sync_folder", lambda folder: None)
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left on device") as error:
        make(tmp_path, "ssv2", files, SSV2.videos, force=True)
    assert error.value.filename == str(tmp_path / "out")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match="cannot be written"):
        make(tmp_path, "ucf101", UCF101.files, UCF101.videos)
    assert (tmp_path / "out").read_text() == "mine"


def test_paths_below_the_lists_are_relative(tmp_path, monkeypatch):
    write(tmp_path / "annotations", UCF101.files)
    touch(tmp_path / "videos", UCF101.videos)
    monkeypatch.chdir(tmp_path)
    make_lists(DATASETS.get("ucf101"), [Path("annotations")], Path("videos"), Path("."))
    assert Path("train.txt").read_text().splitlines()[0] == "videos/UCF-101/Archery/v_Archery_g08_c01.avi 0"
    make_lists(DATASETS.get("ucf101"), [Path("annotations")], Path("videos"), Path("lists"))
    assert Path("lists/train.txt").read_text().startswith(f"{tmp_path}/videos/UCF-101/")


def test_what_a_killed_run_has_left_goes(tmp_path):
    left = tmp_path / f"out/.part-999999999-{'0' * 32}-{platform.node()}"
    left.mkdir(parents=True)
    make(tmp_path, "ucf101", UCF101.files, UCF101.videos)
    assert not left.exists()


def test_every_dataset_is_tested_here():
    assert {DATASETS.get(name).read for name, _ in SAMPLES} == {DATASETS.get(name).read for name in DATASETS}
    assert WRITTEN[0] == "labels.txt"  # renamed first
