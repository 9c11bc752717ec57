"""Samples of every published format, written by hand, and rows malformed in each way that a format can be."""

import json
import os
import random

import pytest

from actrec.data.lists.formats import FORMATS, Annotations, Entry, Options, guess_format, guess_part
from actrec.files import ListError

NAMES = ("walk", "shaking hands", "push; pull")
ROOT = "/data"


def read(tmp_path, name, content, *, file="train.txt", root=ROOT, **options):
    path = tmp_path / file
    content = content if isinstance(content, (str, bytes)) else json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return FORMATS.get(name).read(path, Options(root, **options))


def rows(annotations, part=""):
    return [(e.path.removeprefix(ROOT + "/"), e.start, e.stop, e.labels) for e in annotations.parts[part]]


def message(tmp_path, *args, **kwargs):
    with pytest.raises(ListError) as caught:
        read(tmp_path, *args, **kwargs)
    return str(caught.value).replace(str(tmp_path) + os.sep, "")


# ---- one video a line ----


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("ibm", "a/1 1 30 3\nb 5 9 4\n", [("a/1", 0, 30, (3,)), ("b", 4, 9, (4,))]),
        ("ibm", "a b;1;30;3\n/x/c;1;4;0", [("a b", 0, 30, (3,)), ("/x/c", 0, 4, (0,))]),
        ("ibm", "7 1 30\n8 1 9\n", [("7", 0, 30, ()), ("8", 0, 9, ())]),
        ("ibm", "a 1 30 3.0 4\n", [("a", 0, 30, (3, 4))]),
        ("ibm", "a 0 29 3\r\n\r\n", [("a", -1, 29, (3,))]),
        ("mmaction2-frames", "a/1 163 1\nb 122 1 3 5\n", [("a/1", 0, 163, (1,)), ("b", 0, 122, (1, 3, 5))]),
        ("mmaction2-frames", "a 163\n", [("a", 0, 163, ())]),
        ("mmaction2-clips", "a 12 163 3\na 0 295 4\n", [("a", 12, 175, (3,)), ("a", 0, 295, (4,))]),
        ("mmaction2-video", "a/0.mp4 1\nb.mp4 2 3\nc.mp4\n",
         [("a/0.mp4", None, None, (1,)), ("b.mp4", None, None, (2, 3)), ("c.mp4", None, None, ())]),
        ("mmaction2-video", "a b.mp4,1\nc.mp4,2\n", [("a b.mp4", None, None, (1,)), ("c.mp4", None, None, (2,))]),
        ("pyslowfast", "a.mp4 1\nb.mp4 0", [("a.mp4", None, None, (1,)), ("b.mp4", None, None, (0,))]),
        ("pyslowfast", "a b.mp4,1\n", [("a b.mp4", None, None, (1,))]),
        ("actrec", "a b.mp4 shaking hands\n", [("a b.mp4", None, None, (1,))]),
    ],
)  # fmt: skip
def test_lines(tmp_path, name, text, expected):
    names = NAMES if name == "actrec" else ()
    assert rows(read(tmp_path, name, text, names=names)) == expected


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("ibm", "a 1 30 3\nb 1\n", "train.txt:2: 'b 1': expected 'path start end label', with blanks between them"),
        ("ibm", "a b 1 30 3\nc 1 30 3", "train.txt:1: start 'b': expected a whole number"),
        ("ibm", "a 1 30 run\n", "train.txt:1: label 'run': expected a number"),
        ("ibm", "a 1 30 3.5\n", "train.txt:1: label 3.5: expected a whole number"),
        ("ibm", "a 1 30 -1\n", "train.txt:1: label -1: expected 0 or more"),
        ("ibm", "a 9 3 0\n", "train.txt:1: end 3 comes before start 9"),
        ("ibm", "a 1 99999999999 0\n", "train.txt:1: end 99999999999: expected 0 to"),
        ("ibm", "a 1 x 3\nb 2 y 3\n", "train.txt:1: end 'x': expected a whole number\ntrain.txt:2: end 'y'"),
        ("ibm", "\n \n", "train.txt:1: the list is empty"),
        ("ibm", b"\xff\xfea\0", "train.txt:1: the file is UTF-16: expected UTF-8"),
        ("ibm", b"a 1 30 3\n\xff 1 30 3\n", "train.txt:2: byte 0xff at position 1 is not UTF-8"),
        ("ibm", b"a\0 1 30 3\n", "train.txt:1: the line holds a zero byte"),
        ("mmaction2-frames", "a\n", "train.txt:1: 'a': expected 'path total label'"),
        ("mmaction2-frames", "a 0 1\n", "train.txt:1: total 0: expected 1 to"),
        ("mmaction2-clips", "a 5 1\nb 5\n", "train.txt:2: 'b 5': expected 'path offset total label'"),
        ("mmaction2-clips", "a -5 10 1\n", "train.txt:1: offset -5: expected 0 to"),
        ("mmaction2-clips", "a 2147483647 10 1\n", "train.txt:1: last frame 2147483657: expected at most"),
        ("mmaction2-video", "a run\n", "train.txt:1: label 'run': expected a number"),
        ("pyslowfast", "a 1 2\n", "train.txt:1: 'a 1 2': expected 'path label', with blanks between them"),
        ("pyslowfast", ",1\n", "train.txt:1: there is no path"),
        ("actrec", "a.mp4 runn\nb.mp4 walk\nc.mp4 walk\n", "train.txt:1: unknown class 'runn'"),
    ],
)
def test_bad_lines(tmp_path, name, text, fault):
    options = {"separator": ","} if text == ",1\n" else {}
    assert message(tmp_path, name, text, names=NAMES if name == "actrec" else (), **options).startswith(fault)


def test_numbers_are_checked_against_names(tmp_path):
    assert "label 3: expected 0 to 2" in message(tmp_path, "ibm", "a 1 30 3\n", names=NAMES)
    assert "label 'walk': expected a number" in message(tmp_path, "ibm", "a 1 30 walk\n", names=NAMES)


# ---- tables ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\na.mp4,3\n", [("a.mp4", None, None, (3,))]),
        ('label;path\r\n3;"a;""b"".mp4"\r\n', [('a;"b".mp4', None, None, (3,))]),
        ("path\tstart\tend\na b\t1\t30\nc\t\t\n", [("a b", 0, 30, ()), ("c", None, None, ())]),
        ("end, start ,PATH\n30,1,a\n", [("a", 0, 30, ())]),
        ("path,start,stop\na,1,30\n", [("a", 1, 30, ())]),
        ("path,start,end\na,1.5s,30s\n", [("a", 1.5, 30.0, ())]),
        ("path,labels\na,3;7\nb,\n", [("a", None, None, (3, 7)), ("b", None, None, ())]),
        ('path,label\n"a\nb\r",0\n', [("a\nb\r", None, None, (0,))]),
        ("\ufeffpath\n/x/é 动作\n\n", [("/x/é 动作", None, None, ())]),
    ],
)
def test_csv(tmp_path, text, expected):
    assert rows(read(tmp_path, "csv", text)) == expected


def test_csv_with_class_names_parts_and_rates(tmp_path):
    text = "path,label,split,fps,author\na,walk,training,25,me\nb,shaking hands,val,,\nc,walk,,29.97,\n"
    found = read(tmp_path, "csv", text, part="test")
    assert found.names == ("shaking hands", "walk")
    assert found.parts == {
        "train": [Entry("/data/a", None, None, (1,), 25.0)],
        "val": [Entry("/data/b", None, None, (0,))],
        "test": [Entry("/data/c", None, None, (1,), 29.97)],
    }
    assert found.notes == ("columns that were left out: 'author'",)
    assert read(tmp_path, "csv", "path,label,label_id\na,walk,7\n").notes == ("columns that were left out: 'label_id'",)
    assert read(tmp_path, "csv", text, names=NAMES).parts["val"][0].labels == (1,)
    assert read(tmp_path, "csv", "path,label\na,push; pull\n").names == ("push; pull",)
    assert read(tmp_path, "csv", "path,labels\na,run;walk\nb,run\n").names == ("run", "walk")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name,label\na,3\n", "train.txt:1: there is no column 'path': expected a header with path, and found"),
        ("path,path\na,3\n", "train.txt:1: column 'path' occurs twice"),
        ("path,end,start,stop\na,1,2,3\n", "train.txt:1: columns 'end' and 'stop': expected one of them"),
        ("path,label,labels\na,1,2\n", "train.txt:1: columns 'label' and 'labels': expected one of them"),
        ("path,lable\na,3\n", "train.txt:1: unknown column 'lable': did you mean label"),
        ("path,strt,stop,label\na,1,2,3\n", "train.txt:1: unknown column 'strt': did you mean start"),
        (
            "path,start,end\na,1\nb,x,2\n",
            "train.txt:2: 2 columns: expected 3, as in the header\ntrain.txt:3: start 'x'",
        ),
        ("path,start\na,1\n", "train.txt:1: expected both columns 'start' and 'end'"),
        ("path,label\na,3\nb\nc,1,2\n", "train.txt:3: 1 columns: expected 2, as in the header\ntrain.txt:4: 3 columns"),
        ("path,start,end\na,1,\n", "train.txt:2: start '1' and end '': expected two frames, or two times"),
        ("path,start,end\na,1s,30\n", "train.txt:2: start '1s' and end '30': expected two frames, or two times"),
        ("path,start,end\na,1.5,30\n", "train.txt:2: start '1.5': expected a whole number"),
        ("path,start,end\na,9,3\n", "train.txt:2: end 3 does not come after start 9"),
        ("path,start,end\na,9s,9s\n", "train.txt:2: end 9s does not come after start 9s"),
        ("path,start,stop\na,9,9\n", "train.txt:2: stop 9 does not come after start 9"),
        ("path,label\n,3\n", "train.txt:2: path '': expected the name of a file or folder"),
        ("path,labels\na,3;\n", "train.txt:2: class name '': expected a number"),
        ("path,split\na,trian\n", "train.txt:2: part 'trian': did you mean train"),
        ("path,fps\na,0\nb,fast\nc,nan\n", "train.txt:2: fps '0': expected a number of frames per second\ntrain.txt:3"),
        ('path,label\n"a,3\n', "train.txt:2: not a CSV file from here on"),
        ('path,label\n"a"b,3\n', "train.txt:2: not a CSV file from here on"),
        ("path,label\n", "train.txt:2: the list is empty"),
        ("", "train.txt:1: there is no column 'path'"),
        (b"path\na\n\xe9\n", "train.txt:3: byte 0xe9 is not UTF-8"),
        (b"\xfe\xff\0p", "train.txt: the file is UTF-16"),
    ],
)
def test_bad_csv(tmp_path, text, fault):
    assert message(tmp_path, "csv", text).startswith(fault)


def test_csv_with_classes_that_are_not_known(tmp_path):
    text = "path,label\na,walk\nb,wlak\nc,9\n"
    assert message(tmp_path, "csv", text, names=NAMES).splitlines() == [
        "train.txt:3: unknown class 'wlak': did you mean walk?",
        "train.txt:4: label 9: expected 0 to 2, as there are 3 classes",
    ]


KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
abseiling,-3B32lodo2M,59,69,train,0
"air drumming",_dbcJuKJQNs,40,50,train,0
"""


def test_kinetics(tmp_path):
    found = read(tmp_path, "kinetics", KINETICS, file="train.csv")
    assert found.names == ("abseiling", "air drumming")
    assert rows(found, "train") == [
        ("abseiling/-3B32lodo2M_000059_000069.mp4", None, None, (0,)),
        ("air drumming/_dbcJuKJQNs_000040_000050.mp4", None, None, (1,)),
    ]
    assert "2 clips missing" in found.notes[0]
    found = read(tmp_path, "kinetics", "youtube_id,time_start,time_end,split\nabc,0,10.0,test\n")
    assert rows(found, "test") == [("test/abc_000000_000010.mp4", None, None, ())]


def test_kinetics_looks_where_the_clips_are(tmp_path):
    (tmp_path / "train" / "abseiling" / "-3B32lodo2M_000059_000069").mkdir(parents=True)
    (tmp_path / "air drumming").mkdir()
    (tmp_path / "air drumming" / "_dbcJuKJQNs.webm").touch()
    found = read(tmp_path, "kinetics", KINETICS, root=str(tmp_path))
    assert [(e.path.removeprefix(f"{tmp_path}/"), e.start, e.stop) for e in found.parts["train"]] == [
        ("train/abseiling/-3B32lodo2M_000059_000069", None, None),  # a frame folder
        ("air drumming/_dbcJuKJQNs.webm", 40.0, 50.0),  # the whole video
    ]
    assert not found.notes


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("label,youtube_id,time_start\na,b,1\n", "train.txt:1: there is no column 'time_end'"),
        ("label,youtube_id,time_start,time_end,split\na,,1,2,train\n", "train.txt:2: youtube_id ''"),
        ("label,youtube_id,time_start,time_end,split\na,../b,1,2,train\n", "train.txt:2: youtube_id '../b'"),
        ("label,youtube_id,time_start,time_end,split\na,b,1.5,2,train\n", "train.txt:2: time_start '1.5': expected"),
        ("label,youtube_id,time_start,time_end,split\na,b,9,9,train\n", "train.txt:2: time_end 9 does not come after"),
        ("label,youtube_id,time_start,time_end,split\na,b,1,2,tain\n", "train.txt:2: part 'tain'"),
        ("label,youtube_id,time_start,time_end,split\na,b,1,2\n", "train.txt:2: 4 columns: expected 5"),
    ],
)  # fmt: skip
def test_bad_kinetics(tmp_path, text, fault):
    assert message(tmp_path, "kinetics", text).startswith(fault)


def test_kinetics_with_a_class_that_is_not_known(tmp_path):
    text = KINETICS.replace("abseiling", "absailing")
    assert "unknown class 'absailing': did you mean abseiling" in message(
        tmp_path, "kinetics", text, names=("abseiling", "air drumming")
    )


# ---- Hara's JSON ----


def hara(**database):
    return {"labels": ["walk", "run"], "database": database}


def video(subset="training", **annotations):
    return {"subset": subset, "annotations": annotations}


@pytest.mark.parametrize(
    "key",
    ["-3B32lodo2M_000059_000069", "v_ApplyEyeMakeup_g08_c01", "April_09_brush_hair_u_nm_np1_ba_goo_0", "yt-a_12"],
    ids=["kinetics", "ucf101", "hmdb51", "mit"],
)
def test_hara(tmp_path, key):
    content = hara(**{key: video(label="run", segment=[1, 31]), "b": video("validation", label="walk", segment=[5, 9])})
    content["database"]["c"] = {"subset": "testing", "annotations": {"segment": [1, 8]}}
    content["database"]["d"] = {"subset": "testing", "annotations": {}, "video_path": "/x/y.mp4"}
    found = read(tmp_path, "hara", content)
    assert found.names == ("walk", "run")
    assert rows(found, "train") == [(f"run/{key}", 0, 30, (1,))]
    assert rows(found, "val") == [("walk/b", 4, 8, (0,))]
    assert rows(found, "test") == [("test/c", 0, 7, ()), ("/x/y.mp4", None, None, ())]


def test_hara_finds_folders_and_files_and_reads_n_frames(tmp_path):
    for name in ("run/folder", "run/old"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "run/old/n_frames").write_text("12\n")
    (tmp_path / "run/file.avi").touch()
    content = hara(**{key: video(label="run") for key in ("folder", "old", "file")})
    found = read(tmp_path, "hara", content, root=str(tmp_path)).parts["train"]
    assert [(e.path.removeprefix(f"{tmp_path}/"), e.start, e.stop) for e in found] == [
        ("run/folder", None, None), ("run/old", 0, 12), ("run/file.avi", None, None)
    ]  # fmt: skip


def test_hara_rows_without_a_frame_are_counted(tmp_path):
    (tmp_path / "run/c").mkdir(parents=True)
    (tmp_path / "run/c/n_frames").write_text("0")
    content = hara(a=video(label="run", segment=[1, 1]), b=video(label="run", segment=[1, 5]), c=video(label="run"))
    found = read(tmp_path, "hara", content, root=str(tmp_path))
    assert len(found.parts["train"]) == 1
    assert found.notes == ("2 rows without a frame left out, such as a",)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"labels": []', "train.txt:1: not JSON: "),
        ("[" * 100_000, "train.txt: the JSON cannot be read"),
        ('{"a": %s}' % ("1" * 5000), "train.txt: the JSON cannot be read"),
        ([1], "train.txt: the file contains list '[1]': expected an object"),
        ({"labels": ["a"]}, 'train.txt: expected {"database"'),
        ({"database": {}}, 'train.txt: expected "labels", a list of class names'),
        ({"labels": [1], "database": {}}, 'train.txt: expected "labels", a list of class names'),
        ({"labels": ["a", "a"], "database": {"b": video(label="a")}}, "train.txt: class name 'a' occurs twice"),
        (hara(), "train.txt: there is no row with frames"),
        (hara(a=3), "train.txt: 'a': '3': expected {\"subset\""),
        (hara(a={"annotations": {}}), "train.txt: 'a': part 'None'"),
        (hara(a=video("trainig", label="run")), "train.txt: 'a': part 'trainig': did you mean training"),
        (hara(a={"subset": "training", "annotations": [1]}), "train.txt: 'a': annotations: expected"),
        (hara(a=video(label="rnu"), b=video(label=["run"])), "train.txt: 'a': unknown class 'rnu': did you mean run"),
        (hara(a=video(label="run", segment=[1])), "train.txt: 'a': segment '[1]': expected two frame numbers"),
        (hara(a=video(label="run", segment=[1, 2.5])), "train.txt: 'a': segment '[1, 2.5]': expected two"),
        (hara(a=video(label="run", segment=[True, 5])), "train.txt: 'a': segment '[True, 5]': expected two frame"),
        (hara(a=video(label="run", segment=[9, 3])), "train.txt: 'a': segment [9, 3]: expected the first"),
        (hara(a=video(label="run", segment=[-1, 3])), "train.txt: 'a': segment [-1, 3]: expected the first frame"),
        (hara(a=video(label="run", segment=[0, 30])), "train.txt: 'a': segment [0, 30] counts from 0, as for HDF5"),
        (hara(a={"subset": "training", "video_path": 3}), "train.txt: 'a': path '3': expected the name of a file"),
        (hara(**{"": video(label="run")}), "train.txt: '': path '': expected the name of a file"),
        ('{"labels": ["a"], "database": {"x": {"subset": "training"}, "x": {"subset": "training"}}}',
         "train.txt: key 'x' occurs twice"),
        (b"\x89HDF\r\n\x1a\n", "train.txt: HDF5 files are not supported: expected a list"),
    ],
)  # fmt: skip
def test_bad_hara(tmp_path, content, fault):
    assert message(tmp_path, "hara", content).startswith(fault)


def test_bad_value_files(tmp_path):
    (tmp_path / "run/a").mkdir(parents=True)
    (tmp_path / "run/a/n_frames").write_text("many")
    fault = message(tmp_path, "hara", hara(a=video(label="run")), root=str(tmp_path))
    assert fault == "train.txt: 'a': run/a/n_frames holds 'many': expected a number"


TAXONOMY = [
    {"nodeId": 0, "nodeName": "Root", "parentId": None},
    {"nodeId": 1, "nodeName": "Sports", "parentId": 0},
    {"nodeId": 2, "nodeName": "Surfing", "parentId": 1},
    {"nodeId": 3, "nodeName": "Knitting", "parentId": 0},
]


def activitynet(*annotations, taxonomy=TAXONOMY, **value):
    content = {"database": {"abc": {"subset": "training", "annotations": list(annotations)} | value}}
    return content | ({"taxonomy": taxonomy} if taxonomy else {})


def test_activitynet(tmp_path):
    first, second = ({"segment": [1.5, 4.25], "label": "Knitting"}, {"segment": [8, 9], "label": "Surfing"})
    content = activitynet(first, {"segment": [3.0, 3.0], "label": "Surfing"}, second, fps=25)
    content["database"]["xyz"] = {"subset": "testing", "annotations": [], "duration": 3.2}
    found = read(tmp_path, "activitynet", content)
    assert found.names == ("Surfing", "Knitting")
    assert found.parts == {
        "train": [Entry("/data/v_abc", 1.5, 4.25, (1,), 25.0), Entry("/data/v_abc", 8.0, 9.0, (0,), 25.0)],
        "test": [Entry("/data/v_xyz", None, None, ())],
    }
    assert found.notes == ("1 row without a frame left out, such as abc",)
    assert read(tmp_path, "activitynet", activitynet(first, second, taxonomy=None)).names == ("Knitting", "Surfing")


def test_activitynet_reads_fps_files_and_finds_videos(tmp_path):
    (tmp_path / "v_abc").mkdir()
    (tmp_path / "v_abc/fps").write_text("29.97\n")
    content = activitynet({"segment": [1, 2], "label": "Surfing"})
    (entry,) = read(tmp_path, "activitynet", content, root=str(tmp_path)).parts["train"]
    assert entry.fps == 29.97
    (tmp_path / "v_abc").rename(tmp_path / "away")
    (tmp_path / "abc.mkv").touch()
    (entry,) = read(tmp_path, "activitynet", content, root=str(tmp_path)).parts["train"]
    assert entry == Entry(f"{tmp_path}/abc.mkv", 1.0, 2.0, (0,))


@pytest.mark.parametrize(
    ("annotation", "value", "fault"),
    [
        ({"label": "Surfing"}, {}, "segment 'None': expected where it starts and stops, in seconds"),
        ({"label": "Surfing", "segment": [1, "2"]}, {}, "segment \"[1, '2']\": expected where it starts and stops"),
        ({"label": "Surfing", "segment": [2, 1]}, {}, "segment '[2, 1]': expected where it starts and stops"),
        ({"label": "Surfing", "segment": [-1, 1]}, {}, "segment '[-1, 1]': expected where it starts and stops"),
        ({"label": "Surfing", "segment": [1, float("nan")]}, {}, "segment '[1, nan]': expected where it starts"),
        ({"label": "Sports", "segment": [1, 2]}, {}, "unknown class 'Sports'"),
        ({"segment": [1, 2]}, {}, "unknown class 'None'"),
        ("Surfing", {}, "annotations: expected [{"),
        (
            {"label": "Surfing", "segment": [1, 2]},
            {"fps": "fast"},
            "fps 'fast': expected a number of frames",
        ),
    ],
)
def test_bad_activitynet(tmp_path, annotation, value, fault):
    found = message(tmp_path, "activitynet", activitynet(annotation, **value))
    assert found.startswith(f"train.txt: 'abc': {fault}")


# ---- which format ----


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("train.txt", "a b.mp4 walk\n", "actrec"),
        ("train.txt", "a 1 30 3\nb 1 20 4\n", "actrec"),
        ("train.txt", "a 1 30 3\nb 1 20 40\n", "actrec"),
        ("train.csv", "a.mp4 3\n", "actrec"),
        ("train.csv", "label;path\n1;a\n", "csv"),
        ("train.csv", "a b.mp4,walk\n", "actrec"),
        ("path 1.txt", "path 1 30 3\n", "actrec"),
        ("x.csv", KINETICS, "kinetics"),
        ("x.txt", json.dumps(hara(a=video(label="run"))), "hara"),
        ("x.json", "\ufeff " + json.dumps(activitynet()), "activitynet"),
        ("x.json", json.dumps(activitynet(taxonomy=None), indent=1), "activitynet"),
    ],
)
def test_the_content_tells_the_format(tmp_path, file, content, expected):
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert guess_format(tmp_path / file) == expected


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("train.txt", "a 163 1\nb 122 3\n", "can be read in several ways: expected --from and one of mmaction2-frames"),
        ("train.txt", "a 12 163 3\nb 98 7 2\n", "several ways: expected --from and one of mmaction2-clips"),
        ("train.csv", "video,class,author\na.mp4,b,c\n", "expected a column 'path', or those of Kinetics"),
        ("train.csv", "file,label\na.mp4,3\n", "with the header 'file,label': expected a column 'path'"),
        ("train.csv", "original_vido_id video_id frame_id path labels\n", "PySlowFast's lists of frames"),
        ("x.json", '[{"id": "1", "template": "Putting [something]"}]', 'JSON without "database"'),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "HDF5 files are not supported"),
    ],
)
def test_what_cannot_be_told(tmp_path, file, content, fault):
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as caught:
        guess_format(tmp_path / file)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("name", "part"),
    [("train.txt", "train"), ("kinetics-400_val.csv", "val"), ("videos_validation.txt", "val"), ("testing.csv", "test"),
     ("training_v2.txt", "train"), ("all.txt", ""), ("train_val.txt", ""), ("contest.txt", "")],
)  # fmt: skip
def test_the_name_tells_the_part(tmp_path, name, part):
    assert guess_part(tmp_path / name) == part


# ---- there and back ----

NASTY = ["a b", "it's", 'say "x"', "a;b", "a,b", "é 动作", "1 2 3", "#c", " lead", "trail ", "a\nb", "c\rd", "t\tb",
         "..", "x.mp4", "v_x", "x_000001_000011", "-", "{part}", "%s", "a\\n", "\ufeffb", "\u2028"]  # fmt: skip
PLAIN = ["a", "b/c", "v_d.avi", "é", "x_000001_000011.mp4", "%05d", "a-b_c"]


def random_annotations(rng, name, names):
    """What a format can hold: paths are nasty where it quotes them."""
    form = FORMATS.get(name)
    pool = NASTY if form.class_names in ("either", "table") else PLAIN
    parts = {}
    for part in ("train", "val", "test") if form.parts else ("train",):
        entries = []
        for i in range(rng.randint(1, 6)):
            label = (rng.randrange(len(names)),)
            path = f"{ROOT}/{part}{i}/{rng.choice(pool)}"
            start = stop = fps = None
            if name == "kinetics":
                path = f"{ROOT}/{names[label[0]]}/{part}{i}_000010_000020.mp4"
            elif form.ranges and (form.needs_range or rng.random() < 0.5):
                kind = rng.choice(sorted(form.ranges))
                start = rng.randint(form.first, min(form.last, 50)) if kind == "frames" else round(rng.random(), 3)
                stop = start + rng.randint(1, 50) if kind == "frames" else round(start + 1.5, 3)
            if form.several_labels and rng.random() < 0.3:
                label += (rng.randrange(len(names)),)
            if form.fps and rng.random() < 0.5:
                fps = rng.choice([25.0, 29.97])
            entries.append(Entry(path, start, stop, label, fps))
        parts[part] = entries
    return Annotations(parts, names)


@pytest.mark.parametrize("name", FORMATS.names())
def test_there_and_back(tmp_path, name):
    rng = random.Random(7)
    for names in (NAMES, ("7", "run", "say \"hi\", 'ho'"), tuple(f"class {i}" for i in range(50))):
        for _ in range(20):
            wanted = random_annotations(rng, name, names)
            (part, *more) = wanted.parts
            options = Options(
                rng.choice([ROOT, "/elsewhere"]) if name != "kinetics" else ROOT, names, "" if more else part
            )
            FORMATS.get(name).write(tmp_path / "list", wanted, options)
            found = FORMATS.get(name).read(tmp_path / "list", options)
            assert {part: list(rows) for part, rows in found.parts.items()} == wanted.parts
            assert tuple(found.names) == names
