"""Lists of other tools that are given as lists of actrec: the message names the format and a command that works."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from index_files import folder

from actrec.data.lists import ListError, advice, read_list

KINETICS = "run,abc,5,15,train\nwave hands,--,1,11,train\n"
HARA = {"labels": ["run", "wave"], "database": {
    "a": {"subset": "training", "annotations": {"label": "wave", "segment": [1, 3]}},
    "b": {"subset": "training", "annotations": {"label": "run", "segment": [1, 3]}},
}}  # fmt: skip
LISTS = {  # file: its content, what it is said to be, and the labels of the two videos after its conversion
    "tsm.txt": ("a 20 1\nb 21 0\n", "a list of TSM or mmaction2", [(1,), (0,)]),
    "mixed.txt": ("a 20 1\nb 21 25\na 22 5\n", "a list of TSM or mmaction2", [(1,), (25,), (5,)]),
    "clips.txt": ("a 30 10 1\nb 61 20 0\n", "a list of mmaction2 (path, first frame", [(1,), (0,)]),
    "kinetics.csv": ("label,youtube_id,time_start,time_end,split\n" + KINETICS, "a table of Kinetics", [(0,), (1,)]),
    "no header.csv": (KINETICS, "a table of Kinetics", [(0,), (1,)]),
    "index.csv": (",path,label\n0,a,0\n1,b,1\n", "a table with a header", [(0,), (1,)]),
    "order.csv": ("group,label,path\n7,1,a\n7,0,b\n", "a table with a header", [(1,), (0,)]),
    "float.csv": ("path,label\na,1.0\nb,\n", "a table with a header", [(1,), ()]),
    "names.tsv": ("path\tlabel\na\twave\nb\trun\n", "a table with a header", [(1,), (0,)]),
    "range.csv": ("path,start,end,label\na,1.0,8.0,1\nb,1.0,9.0,0\n", "a table with a header", [(1,), (0,)]),
    "hara.json": (json.dumps(HARA, indent=1), "an annotation file of Hara's tools or of ActivityNet", [(1,), (0,)]),
}


@pytest.mark.parametrize("file", LISTS)
@pytest.mark.parametrize("command", [["index"], ["train", "--backbone", "s3d", "--list"]], ids=["index", "train"])
def test_the_command_in_the_message_converts_the_list(run, tmp_path, monkeypatch, file, command):
    monkeypatch.chdir(tmp_path)
    text, kind, labels = LISTS[file]
    (tmp_path / file).write_text(text)
    code, _, err = run(*command, file)
    assert code == 1
    (said,) = err
    assert said.startswith(f"Error: {file}: ")
    assert f"look like {kind}" in said or f"looks like {kind}" in said
    (line,) = re.findall(r"`actrec (lists convert .*)`", said)
    line = line.replace("VIDEOS", ".")
    code, _, err = run(*shlex.split(line))
    assert code == 0, err
    target = tmp_path / shlex.split(line)[3]
    converted = read_list(target / "train.txt" if target.is_dir() else target)
    assert [video.labels for video in converted] == labels


def test_ranges_after_the_last_frame_may_be_numbers_of_frames_and_labels(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        folder(tmp_path / name, *(f"{i:05d}.jpg" for i in range(1, 21)))
    (tmp_path / "tsm.txt").write_text("a 20 25\nb 20 23\n")
    for command in (["index"], ["train", "--backbone", "s3d", "--list"]):
        code, _, err = run(*command, "tsm.txt")
        assert code == 1
        assert "tsm.txt: rows such as 'a 20 25' look like a list of TSM or mmaction2" in err[-1]
        assert "`actrec lists convert tsm.txt tsm_actrec.txt --from mmaction2-frames`" in err[-1]


def test_the_suggested_file_does_not_exist_yet(tmp_path):
    (tmp_path / "a.csv").write_text("path,label\na,1\n")
    (tmp_path / "a.txt").touch()
    assert f"convert {tmp_path}/a.csv {tmp_path}/a_actrec.txt`" in advice(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"id": "1", "template": "Putting [something]"}]', "it is a JSON file, not a list; `actrec lists --help`"),
        ('{\n "a": 1\n}\n', "it is a JSON file, not a list"),
        ("original_vido_id video_id frame_id path labels\na 0 0 b 1\n", "a list of frames of PySlowFast"),
        ("video_name,class\na.mp4,run\n", "it looks like a table with the header 'video_name,class': name the columns"),
    ],
)
def test_other_files(tmp_path, text, said):
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(ListError) as caught:
        read_list(tmp_path / "l.txt")
    assert str(caught.value).startswith(f"{tmp_path}/l.txt: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_numbered_classes(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 Archery\n3 BabyCrawling\n")
    code, _, err = run("train", "--backbone", "s3d", "--list", "classInd.txt")
    assert code == 1
    assert err[-1].startswith("classInd.txt: it looks like a file of class names with numbers: expected a list")


@pytest.mark.parametrize(
    "text",
    ["path 1\nb 0\n", "[a] b.mp4 1\n", "{x}.mp4 1\n", "path/to,video 1\n", "a 3 20 1\nb 1 30 0\n", "1 2\n2 3\n",
     "my path,label/a.mp4 1\n"],
)  # fmt: skip
def test_lists_of_actrec_are_read(tmp_path, text):
    (tmp_path / "l.txt").write_text(text)
    assert advice(tmp_path / "l.txt") is None
    assert len(read_list(tmp_path / "l.txt")) == text.count("\n")


def test_a_single_wrong_range_is_a_mistake(tmp_path):
    (tmp_path / "l.txt").write_text("a 1 20\nb 30 3\nc 1 20\n")
    with pytest.raises(ListError, match=r"l.txt:2: end 3 comes before start 30"):
        read_list(tmp_path / "l.txt")
