from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

from actrec.data.index import build_index, cache_path
from actrec.data.lists import read_labels, read_list
from actrec.data.video.encode import VideoWriter
from actrec.tools.datasets.table import DATASETS

CLASSES = "1 Archery\n2 Surfing\n"
TRAIN = "Archery/v_Archery_g08_c01.avi 1\nSurfing/v_Surfing_g08_c01.avi 2\nSurfing/v_Surfing_g09_c01.avi 2\n"
TEST = "Archery/v_Archery_g01_c01.avi\n"


def make_video(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path.with_suffix(".mp4"), width=32, height=32, rate=10) as video:
        for i in range(frames):
            video.write(np.full((32, 32, 3), 10 * i, np.uint8))
    path.with_suffix(".mp4").rename(path)


@pytest.fixture
def ucf(tmp_path, monkeypatch):
    """A folder with annotations and videos of 4 to 7 frames, one broken."""
    (tmp_path / "splits").mkdir()
    for name, text in (("classInd.txt", CLASSES), ("trainlist01.txt", TRAIN), ("testlist01.txt", TEST)):
        (tmp_path / "splits" / name).write_text(text)
    make_video(tmp_path / "videos/Archery/v_Archery_g08_c01.avi", 4)
    make_video(tmp_path / "videos/Surfing/v_Surfing_g08_c01.avi", 7)
    make_video(tmp_path / "videos/Archery/v_Archery_g01_c01.avi", 6)
    (tmp_path / "videos/Surfing/v_Surfing_g09_c01.avi").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table(run):
    code, out, _ = run("lists")
    assert code == 0
    assert [line.split()[0] for line in out] == [*DATASETS, "folders", "shards"]
    assert out[list(DATASETS).index("kinetics400")].split()[1:3] == ["400", "classes"]
    assert "; 3 splits" in out[list(DATASETS).index("ucf101")]
    assert "needs --classes FILE" in out[list(DATASETS).index("mini-moments")]


@pytest.mark.parametrize("name", [*DATASETS, "folders", "shards"])
def test_every_dataset_has_help(run, name):
    code, out, _ = run("lists", name, "--help")
    assert code == 0
    assert ("--split" in " ".join(out)) == (name in ("ucf101", "hmdb51"))


@pytest.mark.parametrize("name", list(DATASETS))
def test_without_files_the_message_says_which_and_where(run, name):
    code, out, err = run("lists", name)
    assert (code, out) == (2, [])
    dataset = DATASETS.get(name)
    assert err[-1].startswith(f"Error: Missing argument 'ANNOTATIONS...': expected {dataset.annotations}")
    assert dataset.source in err[-1]
    assert dataset.source.startswith("http") or name == "ssv1"  # it is no longer published


def test_lists(run, ucf):
    code, out, err = run("lists", "ucf101", "splits")
    assert (code, err) == (0, [])
    assert out == [
        "UCF101 has 101 classes, these annotations 2",
        "usual for UCF101: actrec train --frames 16 --sampling dense --stride 1; actrec evaluate --clips 10 --crops 3",
        "class     train     val",
        "Archery       1       1",
        "Surfing       2       0",
        "4 videos of 2 classes -> .: train.txt 3, val.txt 1; 0 missing",
    ]
    assert len(read_list("train.txt")) == 3
    assert read_labels("labels.txt") == ["Archery", "Surfing"]
    assert not list(ucf.glob("*.npy"))
    code, _, err = run("lists", "ucf101", "splits")
    assert (code, err) == (1, ["Error: . already contains labels.txt, train.txt, val.txt: expected another "
                               "folder with --out, or --force to replace them"])  # fmt: skip


def test_extract_frames_takes_the_lists_as_its_split(run, ucf):
    (ucf / "videos/Surfing/v_Surfing_g09_c01.avi").unlink()
    assert run("lists", "ucf101", "splits")[0] == 0
    code, out, _ = run("extract-frames")
    assert code == 0
    assert out[-1].endswith("train.txt 2, val.txt 1")
    assert [video.path for video in read_list("val.txt")] == ["frames/Archery/v_Archery_g01_c01"]
    assert read_labels("labels.txt") == ["Archery", "Surfing"]


def test_probe(run, ucf):
    code, out, _ = run("lists", "ucf101", "splits", "--probe", "--min-frames", "5", "--out", "made", "--workers", "1")
    assert code == 0
    assert out[-1] == "2 videos of 2 classes -> made: train.txt 1, val.txt 1; 2 missing"
    assert out[-2] == (
        "missing: 2 of train.txt; the first: 'Archery/v_Archery_g08_c01.avi': 4 frames, fewer than 5; each with its "
        "reason in made/missing.csv"
    )
    rows = list(csv.reader((ucf / "made/missing.csv").read_text().splitlines()))[1:]
    assert [row[1] for row in rows] == ["Archery/v_Archery_g08_c01.avi", "Surfing/v_Surfing_g09_c01.avi"]
    assert rows[0] == ["train", "Archery/v_Archery_g08_c01.avi", "Archery", "4 frames, fewer than 5"]
    assert "not a video" in rows[1][3] or "Invalid data" in rows[1][3], rows[1]
    probed = []
    index = build_index(read_list("made/train.txt"), cache=cache_path(ucf / "made/train.txt"),
                        progress=lambda done, total: probed.append(done))  # fmt: skip
    assert index[0].frames == 7
    assert probed == []  # it was kept beside the list


def test_probe_of_segments(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "videos/v_abc.mp4", 20)  # two seconds
    segments = [{"segment": times, "label": "Archery"} for times in ([0.5, 1.5], [1.5, 2.5], [0, 0.1], [5, 9])]
    database = {"abc": {"subset": "training", "annotations": segments}}
    (tmp_path / "activity_net.v1-3.min.json").write_text(json.dumps({"database": database}))
    code, out, _ = run("lists", "activitynet", "activity_net.v1-3.min.json", "--probe", "--min-frames", "5")
    assert code == 0
    assert (tmp_path / "train.txt").read_text().splitlines() == [
        "videos/v_abc.mp4 0.5s 1.5s 0", "videos/v_abc.mp4 1.5s 2.5s 0",
    ]  # fmt: skip
    rows = list(csv.reader((tmp_path / "missing.csv").read_text().splitlines()))[1:]
    assert [row[1] for row in rows] == ["abc (0 to 0.1)", "abc (5 to 9)"]
    assert rows[0][3] == "1 frame, fewer than 5"


def test_a_list_of_broken_videos_alone(run, ucf):
    (ucf / "videos/Archery/v_Archery_g01_c01.avi").write_bytes(b"no video")
    code, out, _ = run("lists", "ucf101", "splits", "--probe")
    assert code == 0
    assert "val.txt: none of its videos can be used, so this list is not written" in out
    assert out[-1] == "2 videos of 2 classes -> .: train.txt 2; 2 missing"


def test_an_interrupt_while_probing(run, ucf, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("actrec.tools.lists.published.probe_all", interrupt)
        code, _, err = run("lists", "ucf101", "splits", "--probe")
    assert (code, err[-1]) == (130, "interrupted: run the same command again to continue")
    assert not list(ucf.glob("*.txt"))
    assert run("lists", "ucf101", "splits", "--probe")[0] == 0


def test_probe_finds_nothing_of_use(run, ucf):
    (ucf / "splits/testlist01.txt").unlink()
    code, _, err = run("lists", "ucf101", "splits", "--probe", "--min-frames", "99", "--out", "made")
    assert code == 1
    assert err[-1].startswith(
        "Error: none of the 3 videos can be used; the first: 'Archery/v_Archery_g08_c01.avi': 4 f"
    )
    assert not list((ucf / "made").glob("*.txt"))


def test_the_test_list_may_be_short(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_video(tmp_path / "videos/abc.mp4", 2)
    make_video(tmp_path / "videos/abd.mp4", 2)
    (tmp_path / "train.json").write_text('[{"id": "abc", "template": "Opening [something]"}]')
    (tmp_path / "test.json").write_text('[{"id": "abd"}]')
    code, out, _ = run("lists", "ssv2", "train.json", "test.json", "--probe")
    assert code == 0
    assert out[-1] == "1 video of 1 class -> .: test.txt 1; 1 missing"


def test_folders(run, ucf):
    code, out, _ = run("lists", "folders", "--val-fraction", "0.5")
    assert code == 1
    assert out[-1] == "3 videos of 2 classes -> .: train.txt 2, val.txt 1; 1 missing"
    assert out[-2] == (
        "missing: 1 without a part; the first: 'Surfing/v_Surfing_g09_c01.avi': not a video, but a text file; each "
        "with its reason in missing.csv"
    )
    assert ",Surfing/v_Surfing_g09_c01.avi,,not a video, but a text file" in (ucf / "missing.csv").read_text().replace(
        '"', ""
    )
    (ucf / "videos/Surfing/v_Surfing_g09_c01.avi").unlink()
    code, out, _ = run("lists", "folders", "videos", "--group-regex", "_(g08)_", "--force")
    assert code == 0
    assert "groups: 1, and 1 video in no group, divided one by one" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ucf101"], 2, "Error: Missing argument 'ANNOTATIONS...'"),
        (["ucf10", "splits"], 2, "Error: no command 'ucf10': did you mean ucf101?"),
        (["ucf101", "splits", "--split", "4"], 2, "Error: Invalid value for '--split': 4 is not in the range"),
        (["ucf101", "splits", "--min-frames", "4"], 2, "Error: --min-frames, --workers and --cluster without --pro"),
        (["ucf101", "splits", "--workers", "4"], 2, "Error: --min-frames, --workers and --cluster without --probe"),
        (["ucf101", "nowhere"], 1, "Error: nowhere: no such file or folder; expected trainlist01.txt"),
        (["ucf101", "splits", "--videos", "nowhere"], 1, "Error: nowhere"),
        (
            ["ucf101", "splits", "--videos", "splits"],
            1,
            "Error: splits: none of the 4 videos exists, not even 'v_Arc",
        ),
        (["ucf101", "splits", "--classes", "nowhere"], 1, "Error: nowhere: no such file"),
        (
            ["ucf101", "splits", "--out", "splits/classInd.txt"],
            2,
            "Error: Invalid value for '--out': splits/classInd.txt is a file",
        ),
        (["hmdb51", "splits"], 1, "Error: splits: no annotation files of HMDB51; expected <class>_test_split1.txt"),
        (["mini-moments", "splits"], 1, "Error: splits: no annotation files of mini-Moments in Time"),
        (["folders", "nowhere"], 1, "Error: nowhere"),
        (["folders", "--val-fraction", "2"], 2, "Error: --val-fraction 2.0: expected a number above 0 and below 1"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_mistakes_end_in_one_clear_line(run, ucf, arguments, code, said):
    before = sorted(os.listdir())
    found, _, err = run("lists", *arguments)
    assert found == code
    assert err[-1].startswith(said), err
    assert sorted(os.listdir()) == before
