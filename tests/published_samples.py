"""Small annotation files in the published format of each dataset, and functions that make lists of them."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from actrec.data.lists import read_list
from actrec.tools.datasets.table import DATASETS
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
        "1 video with a shorter name than expected, such as 'abcdefghijk.mp4' for 'abcdefghijk_000012_000022': "
        "listed with this name"
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


TRAIN = "label,youtube_id,time_start,time_end,split\n"

GOOD = "yoga,abcdefghijk,12,22,train\n"

NET = ACTIVITYNET.files["activity_net.v1-3.min.json"]
