"""Every format to every other: what is kept, what is said, what is refused; and bad input."""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from actrec.config import ConvertOptions
from actrec.data.lists import read_labels, read_list
from actrec.data.lists.formats import FORMATS, Annotations, Entry, Options
from actrec.data.lists.labels import write_labels
from actrec.data.video.encode import VideoWriter
from actrec.files import ListError
from actrec.tools.lists import convert as tool
from actrec.tools.lists.convert import convert_lists

NAMES = ("shaking hands", "walk", 'say "hi", loudly')
NASTY = ["a b", "it's", 'say "x"', "a;b", "a,b", "é 动作", "1 2 3", "#c", "x.mp4", "v_x", "-", "{part}", "a\tb", "7"]


def convert(src, dst, *, force=False, **options):
    return convert_lists(src, dst, ConvertOptions(**options), force=force)


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def content(path, root):
    """What a csv file says: the sorted rows of each part."""
    found = FORMATS.get("csv").read(path, Options(str(root), NAMES))
    return {part: sorted(rows, key=repr) for part, rows in found.parts.items()}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """`walk/clip.mp4` of 12 frames at 10 a second, and `run/folder` of 9 images, numbered from 1."""
    root = tmp_path_factory.mktemp("media")
    (root / "walk").mkdir()
    with VideoWriter(root / "walk/clip.mp4", width=64, height=48, rate=10) as video:
        for i in range(12):
            video.write(np.full((48, 64, 3), 10 * i, np.uint8))
    (root / "run/folder").mkdir(parents=True)
    for i in range(9):
        cv2.imwrite(str(root / f"run/folder/image_{i + 1:05d}.jpg"), np.full((24, 32, 3), 20 * i, np.uint8))
    write_labels(root / "labels.txt", ["run", "walk"])
    return root


# ---- there and back ----


def rows_for(name, folder):
    """Rows that the format can hold, if it can hold their paths."""
    form, rows = FORMATS.get(name), []
    for i in range(8):
        label, start, stop = i % len(NAMES), None, None
        path = f"/data/{folder}{i}/v{i}.mp4"
        if name == "kinetics":
            path = f"/data/{NAMES[label]}/v{i}_000010_000020.mp4"
        elif form.ranges and (form.needs_range or i % 2):
            start, stop = (1.25, 3.5) if "frames" not in form.ranges else (0, 7 + i)
        more = (2 if label < 2 else 0,) if form.several_labels and i % 4 == 0 else ()
        rows.append(Entry(path, start, stop, (label, *more), 29.97 if form.fps and i % 3 == 0 else None))
    return rows


def holds(name, folder):
    """Whether one of the format's separators is not in the path; where blanks separate, so does a tab."""
    form = FORMATS.get(name)
    if name == "actrec" and folder.startswith("#"):  # a comment
        return False
    return not form.separators or any(s not in folder and (s != " " or "\t" not in folder) for s in form.separators)


@pytest.mark.parametrize("folder", ["plain", *NASTY])
@pytest.mark.parametrize("name", FORMATS.names())
def test_csv_to_every_format_and_back(tmp_path, name, folder):
    wanted = {part: rows_for(name, folder) for part in ("train", "val")}
    (tmp_path / "a").mkdir()
    write_labels(tmp_path / "a/labels.txt", NAMES)
    FORMATS.get("csv").write(tmp_path / "a/all.csv", Annotations(wanted, NAMES), Options("/data", NAMES))
    if not holds(name, folder):
        with pytest.raises(ValueError, match=f"{name} cannot represent these rows"):
            convert(tmp_path / "a/all.csv", tmp_path / "b", target=name, root="/data")
        assert not list((tmp_path / "b").iterdir())
        return
    made = convert(tmp_path / "a/all.csv", tmp_path / "b", target=name, root="/data")
    assert made.rows == {"train": 8, "val": 8}
    assert not any("left out" in note or "became" in note for note in made.notes)
    back = convert(tmp_path / "b", tmp_path / "c/all.csv", source=name, root="/data")
    assert back.rows == made.rows
    assert content(tmp_path / "c/all.csv", "/data") == content(tmp_path / "a/all.csv", "/data")


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["csv", "hara", "activitynet"], 2)))
def test_what_quotes_holds_every_name(tmp_path, source, target):
    """Names with blanks, quotes, `;`, newlines and letters beyond ASCII; ranges by way of the rate."""
    names = [*NASTY, "a\nb", "c\rd", " lead", "trail ", "..", "\u2028"]
    kind = (2.0, 4.0) if source == "activitynet" else (50, 100)
    rows = [Entry(f"/data/{i}/{name}", *kind, (i % 3,), 25.0) for i, name in enumerate(names)]
    rows = [row._replace(fps=None) for row in rows] if source == "hara" else rows
    FORMATS.get(source).write(tmp_path / "a", Annotations({"val": rows}, NAMES), Options("/data", NAMES))
    if (source, target) == ("hara", "activitynet"):
        with pytest.raises(ValueError, match="none of the 20 videos can be used; the first: /data/0/a b: no such file"):
            convert(tmp_path / "a", tmp_path / "b.x", source=source, target=target, root="/data")
        return
    write_labels(tmp_path / "names.txt", NAMES)
    convert(tmp_path / "a", tmp_path / "b.x", source=source, target=target, root="/data", labels=tmp_path / "names.txt")
    found = FORMATS.get(target).read(tmp_path / "b.x", Options("/data", NAMES)).parts["val"]
    assert sorted((e.path, e.labels) for e in found) == sorted((e.path, e.labels) for e in rows)
    expected = {"csv": kind, "activitynet": (2.0, 4.0), "hara": (50, 100)}[target]
    assert {(e.start, e.stop) for e in found} == {expected}


def test_ut_interaction_to_every_format_and_back(tmp_path, shared_videos):
    """Real lists of real videos: paths, labels, parts and names survive; frames are those of the index."""
    source = shared_videos / "ut_interaction"
    root, names = source / "videos", read_labels(source / "classes.txt")
    for name in FORMATS:
        form = FORMATS.get(name)
        there, back = tmp_path / name, tmp_path / f"{name}_back"
        made = convert(source, there, target=name, target_root=root)
        assert made.rows == {"train": 83, "val": 37}
        assert bool(made.notes) == (form.needs_range in ("all", "labeled"))
        assert (there / "labels.txt" in made.files) == (form.class_names == "numbers")
        assert made.files[-1].name != "labels.txt" or read_labels(made.files[-1]) == names
        assert convert(there, back, source=name, target="csv", root=root).rows == made.rows
        for part in made.rows:
            wanted = read_list(source / f"{part}.txt")
            found = FORMATS.get("csv").read(back / f"{part}.csv", Options(str(root), tuple(names))).parts[part]
            assert [(e.path, e.labels) for e in found] == [(v.path, v.labels) for v in wanted]
            if form.ranges == {"frames"}:
                assert all(e.start == 0 and 50 < e.stop < 200 for e in found)
            elif form.ranges == {"seconds"}:
                assert all(e.start == 0.0 and 1.7 < e.stop <= 7 and isinstance(e.stop, float) for e in found)
            else:
                assert all(e.start is None for e in found)


def test_all_of_ut_interaction_in_one_file(tmp_path, shared_videos):
    source = shared_videos / "ut_interaction"
    for file, name in (("a.json", "hara"), ("b.csv", "csv")):
        made = convert(source, tmp_path / file, root=source)
        assert made.target == name
        assert made.rows == {"train": 83, "val": 37}
        convert(tmp_path / file, tmp_path / f"{name}/{{part}}.txt", root=source)
        for part in made.rows:
            assert [v.id.split(" ")[0] for v in read_list(tmp_path / name / f"{part}.txt")] == [
                v.id for v in read_list(source / f"{part}.txt")
            ]


# ---- frames, seconds, whole videos ----


def test_frames_come_from_the_videos(tmp_path, media):
    put(tmp_path / "train.txt", "walk/clip.mp4 1\nrun/folder 0\n")
    shutil.copy(media / "labels.txt", tmp_path)
    made = convert(tmp_path / "train.txt", tmp_path / "out/train.txt", target="ibm", root=media)
    assert (tmp_path / "out/train.txt").read_text() == "walk/clip.mp4 1 12 1\nrun/folder 1 9 0\n"
    assert made.notes == (f"2 rows: the whole video became frame numbers, such as '{media}/walk/clip.mp4'",)
    convert(tmp_path / "train.txt", tmp_path / "out/frames.txt", target="mmaction2-frames", root=media)
    assert (tmp_path / "out/frames.txt").read_text() == "walk/clip.mp4 12 1\nrun/folder 9 0\n"
    convert(tmp_path / "train.txt", tmp_path / "out/all.json", root=media)
    data = json.loads((tmp_path / "out/all.json").read_text())
    assert data["labels"] == ["run", "walk"]
    assert data["database"] == {
        "clip": {"subset": "training", "annotations": {"label": "walk", "segment": [1, 13]}},
        "folder": {"subset": "training", "annotations": {"label": "run", "segment": [1, 10]}},
    }


def test_seconds_become_frames_and_frames_seconds(tmp_path, media):
    put(tmp_path / "train.csv", "path,start,end,label\nwalk/clip.mp4,3,8,walk\n")
    convert(tmp_path / "train.csv", tmp_path / "a.json", target="activitynet", root=media)
    value = json.loads((tmp_path / "a.json").read_text())["database"]["clip"]
    assert value["annotations"] == [{"segment": [0.2, 0.8], "label": "walk"}]
    assert value["video_path"] == f"{media}/walk/clip.mp4"
    text = (
        "path,start,end,label,fps\nwalk/clip.mp4,0.2s,0.8s,walk,10\nwalk/clip.mp4,1s,9s,walk,\ngone,1s,1.001s,walk,25\n"
    )
    put(tmp_path / "b/train.csv", text)
    made = convert(tmp_path / "b/train.csv", tmp_path / "b/train.txt", target="ibm", root=media, target_root=media)
    assert (tmp_path / "b/train.txt").read_text() == "walk/clip.mp4 3 8 0\nwalk/clip.mp4 11 12 0\ngone 26 26 0\n"
    assert [note.split(",")[0] for note in made.notes] == [
        "3 rows: the times became frame numbers", "2 rows: the frame rate is left out"
    ]  # fmt: skip
    put(tmp_path / "b/train.csv", "path,start,end\nwalk/clip.mp4,1.2s,9s\n")
    with pytest.raises(ValueError, match="the list says 1.2 to 9 seconds, but the video has only 1.2 seconds"):
        convert(tmp_path / "b/train.csv", tmp_path / "b/again.txt", target="ibm", root=media)


def test_times_stay_times_where_they_can(tmp_path):
    put(tmp_path / "train.txt", "a.mp4 0.5s 1.25s 0\nb.mp4 1s 2s 1\n")
    put(tmp_path / "labels.txt", "walk\nrun\n")
    for name in ("csv", "activitynet"):
        made = convert(tmp_path / "train.txt", tmp_path / f"{name}/train.x", target=name, root=tmp_path)
        assert not any("became" in note for note in made.notes)
        labels = tmp_path / "labels.txt"
        convert(tmp_path / f"{name}/train.x", tmp_path / f"{name}/train.txt", source=name, root=tmp_path, labels=labels)
        assert (tmp_path / f"{name}/train.txt").read_text() == (tmp_path / "train.txt").read_text()
    segment = {"segment": [30.025882995319815, 205.2318595943838], "label": "walk"}
    put(tmp_path / "x/a.json", json.dumps({"database": {"a": {"subset": "training", "annotations": [segment]}}}))
    convert(tmp_path / "x/a.json", tmp_path / "x/b.csv")  # every digit
    convert(tmp_path / "x/b.csv", tmp_path / "x/c.json", target="activitynet")
    assert json.loads((tmp_path / "x/c.json").read_text())["database"]["a"]["annotations"] == [segment]


def test_kinetics_takes_whole_seconds(tmp_path, media):
    put(tmp_path / "train.txt", "walk/clip.mp4 1\n")
    shutil.copy(media / "labels.txt", tmp_path)
    made = convert(tmp_path / "train.txt", tmp_path / "k/train.csv", target="kinetics", root=media)
    assert (tmp_path / "k/train.csv").read_text().splitlines()[1] == "walk,clip,0,2,train"
    assert any("whole seconds" in note for note in made.notes)
    (entry,) = FORMATS.get("kinetics").read(tmp_path / "k/train.csv", Options(str(media))).parts["train"]
    assert entry[:3] == (f"{media}/walk/clip.mp4", 0.0, 2.0)


def test_a_folder_without_rate_has_no_times(tmp_path, media):
    put(tmp_path / "train.csv", "path,label\nrun/folder,run\n")
    with pytest.raises(ValueError, match="run/folder: the frame rate is unknown"):
        convert(tmp_path / "train.csv", tmp_path / "a.json", target="activitynet", root=media)


def test_rows_without_a_range_among_others_get_one(tmp_path, media):
    put(tmp_path / "train.csv", "path,start,end,label\nwalk/clip.mp4,,,1\nrun/folder,2,4,0\n")
    convert(tmp_path / "train.csv", tmp_path / "train.txt", root=media)
    assert (tmp_path / "train.txt").read_text() == "walk/clip.mp4 1 12 1\nrun/folder 2 4 0\n"


def test_videos_that_vanished(tmp_path, media):
    put(tmp_path / "train.txt", "walk/clip.mp4 1\ngone.mp4 0\nwalk 0\n")
    with pytest.raises(ValueError) as caught:
        convert(tmp_path / "train.txt", tmp_path / "b.txt", target="ibm", root=media)
    assert str(caught.value).startswith("2 of 3 videos cannot be used, and ibm needs their frames; the first: ")
    assert not (tmp_path / "b.txt").exists()
    convert(tmp_path / "train.txt", tmp_path / "b.csv", root=media)  # nobody asks for them


# ---- what is lost is said ----


def test_losses_have_counts_and_an_example(tmp_path):
    put(tmp_path / "train.csv", "path,start,end,labels,fps\na,1,5,0;1,25\nb,2,5,1;0,\nc,,,1,\n")
    made = convert(tmp_path / "train.csv", tmp_path / "b.txt", target="pyslowfast")
    assert (tmp_path / "b.txt").read_text() == "a 0\nb 1\nc 1\n"
    assert made.notes == (
        f"2 rows: the range is left out, such as '{tmp_path}/a'",
        f"2 rows: the labels after the first are left out, such as '{tmp_path}/a'",
        f"1 rows: the frame rate is left out, such as '{tmp_path}/a'",
    )


def test_what_a_target_cannot_hold_is_refused_and_nothing_written(tmp_path):
    put(tmp_path / "a/train.csv", 'path,start,end,label\n"a b",3,5,0\n')
    for target, fault in {
        "mmaction2-frames": "starts at image 3: mmaction2-frames needs rows that start at image 1",
        "mmaction2-clips": "cannot represent these rows: the file could not be read back (1: offset 'b': expected",
        "hara": "hara stores class names, and there is no labels.txt: expected --labels FILE",
    }.items():
        with pytest.raises(ValueError) as caught:
            convert(tmp_path / "a/train.csv", tmp_path / "b/out.txt", target=target)
        assert fault in str(caught.value)
        assert "\n" not in str(caught.value)
    put(tmp_path / "a/zero.txt", "a 0 5 0\n")
    with pytest.raises(
        ValueError, match="starts at image 0: mmaction2-clips needs rows that start at image 1 or a later one"
    ):
        convert(tmp_path / "a/zero.txt", tmp_path / "b/out.txt", target="mmaction2-clips")
    assert not (tmp_path / "b").exists() or not list((tmp_path / "b").iterdir())


@pytest.mark.parametrize("name", ["new\nline", "bad\udcff"])
def test_paths_that_lines_cannot_hold(tmp_path, name):
    rows = [Entry(f"/data/{name}", 0, 9, (0,))]
    FORMATS.get("hara").write(tmp_path / "a.json", Annotations({"train": rows}, NAMES), Options("/data"))
    for target in set(FORMATS) - {"csv", "hara", "activitynet", "kinetics"}:
        with pytest.raises(ValueError, match="cannot represent these rows") as caught:
            convert(tmp_path / "a.json", tmp_path / "out/b.txt", target=target, root="/data")
        assert "\n" not in str(caught.value)
        assert ".part-" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_another_separator_is_taken_and_said(tmp_path):
    put(tmp_path / "train.csv", "path,start,end,label\na b,1,5,0\n")
    made = convert(tmp_path / "train.csv", tmp_path / "b.txt", target="ibm")
    assert (tmp_path / "b.txt").read_text() == "a b;1;5;0\n"
    assert "the columns are separated by ';', because with ' '" in made.notes[-1]
    convert(tmp_path / "train.csv", tmp_path / "c.txt", target="ibm", separator="semicolon")
    with pytest.raises(ValueError, match="separator comma: ibm has space, semicolon"):
        convert(tmp_path / "train.csv", tmp_path / "c.txt", target="ibm", separator="comma")
    with pytest.raises(ValueError, match="ibm cannot represent these rows"):
        convert(tmp_path / "train.csv", tmp_path / "d.txt", target="ibm", separator="space")


# ---- what looks wrong is warned of ----


def test_leakage_and_twins(tmp_path):
    put(tmp_path / "v/train.txt", "x/a.mp4 0\nx/b.mp4 0\nx/b.mp4 0\n")
    put(tmp_path / "v/val.txt", "x/../x/b.mp4 0\nlink.mp4 1\nc 0\n")
    put(tmp_path / "v/x/a.mp4", "")
    (tmp_path / "v/link.mp4").symlink_to(tmp_path / "v/x/a.mp4")
    made = convert(tmp_path / "v", tmp_path / "all.csv")
    assert made.notes[0].startswith("leakage: 2 files are in several parts, such as ")
    assert made.notes[0].endswith(" in train and val")
    assert made.notes[1].startswith("1 rows of train repeat another row, such as ")
    assert made.rows == {"train": 3, "val": 3}


def test_numbers_that_may_mean_something_else(tmp_path):
    put(tmp_path / "train.txt", "a 3 5\nb 2 9\n")
    assert "--from mmaction2-frames" in convert(tmp_path / "train.txt", tmp_path / "b.csv").notes[0]
    assert not convert(tmp_path / "train.txt", tmp_path / "c.csv", source="mmaction2-frames").notes
    put(tmp_path / "train.txt", "a 0 295 3\nb 50 121 4\n")
    assert "--from mmaction2-clips" in convert(tmp_path / "train.txt", tmp_path / "d.csv").notes[0]


# ---- parts, names, places ----


def test_parts(tmp_path):
    put(tmp_path / "all.csv", "path,label,split\na,0,train\nb,1,val\nc,0,train\n")
    with pytest.raises(ValueError, match="a list of actrec contains one part, not train, val: expected a folder"):
        convert(tmp_path / "all.csv", tmp_path / "b.txt")
    convert(tmp_path / "all.csv", tmp_path / "v_{part}.txt")
    assert (tmp_path / "v_train.txt").read_text() == "a 0\nc 0\n"
    assert (tmp_path / "v_val.txt").read_text() == "b 1\n"
    assert convert(tmp_path / "all.csv", tmp_path / "only.txt", part="val").rows == {"val": 1}
    assert convert(tmp_path / "v_{part}.txt", tmp_path / "again.csv").rows == {"train": 2, "val": 1}
    assert convert(tmp_path / "v_{part}.txt", tmp_path / "val.csv", part="val").rows == {"val": 1}
    with pytest.raises(ValueError, match="there is no part 'test': expected one of train, val"):
        convert(tmp_path / "all.csv", tmp_path / "b.txt", part="test")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="expected lists such as .*/nothing/train.txt"):
        convert(tmp_path / "nothing", tmp_path / "b.txt")


def test_a_part_that_nobody_knows(tmp_path):
    put(tmp_path / "list.txt", "a 1 5 0\n")
    put(tmp_path / "labels.txt", "walk\n")
    for dst in ("a.json", "out/{part}.txt"):
        with pytest.raises(ValueError, match="the part is unknown"):
            convert(tmp_path / "list.txt", tmp_path / dst)
    assert convert(tmp_path / "list.txt", tmp_path / "a.json", part="val").rows == {"val": 1}
    assert convert(tmp_path / "list.txt", tmp_path / "a.txt").rows == {"": 1}


def test_names_go_with_the_numbers(tmp_path):
    database = {"x": {"subset": "training", "annotations": {"label": "walk", "segment": [1, 5]}}}
    put(tmp_path / "a.json", json.dumps({"labels": ["run", "walk"], "database": database}))
    convert(tmp_path / "a.json", tmp_path / "new/train.txt")
    assert read_labels(tmp_path / "new/labels.txt") == ["run", "walk"]
    put(tmp_path / "names.txt", "walk\njump\nrun\n")
    convert(tmp_path / "a.json", tmp_path / "other/train.txt", labels=tmp_path / "names.txt")
    assert read_labels(tmp_path / "other/labels.txt") == ["walk", "jump", "run"]
    assert read_list(tmp_path / "other/train.txt")[0].label == 0
    with pytest.raises(ValueError, match="contains other class names than the new lists"):
        convert(tmp_path / "a.json", tmp_path / "other/val.txt")
    assert sorted(os.listdir(tmp_path / "other")) == ["labels.txt", "train.txt"]
    put(tmp_path / "names.txt", "walk\n")
    with pytest.raises(ValueError, match="class 'run' is not in the file of --labels"):
        convert(tmp_path / "a.json", tmp_path / "b.txt", labels=tmp_path / "names.txt")


def test_labels_are_written_beside_numbers_only(tmp_path):
    src = put(tmp_path / "a/train.csv", "path,label\na,walk\nb,run\n")
    put(tmp_path / "out/mult.txt", "a 1 30 0 3 5\n")
    made = convert(src, tmp_path / "out/b.csv")
    assert (made.files, made.notes) == ((tmp_path / "out/b.csv",), ())
    assert not (tmp_path / "out/labels.txt").exists()
    made = convert(src, tmp_path / "out/b.txt")
    labels = tmp_path / "out/labels.txt"
    assert made.files == (tmp_path / "out/b.txt", labels)
    assert made.notes == (f"{labels} is new and applies to all lists of this folder, such as mult.txt",)
    assert convert(src, tmp_path / "out/c.txt").files == (tmp_path / "out/c.txt",)
    put(tmp_path / "a/classes.txt", "walk\nrun;jump\nrun\n")
    made = convert(src, tmp_path / "new/d.csv")  # a name that no cell can hold: numbers
    assert made.files == (tmp_path / "new/d.csv", tmp_path / "new/labels.txt")
    put(tmp_path / "a/classes.txt", "walk\nrun\n")
    (note,) = convert(src, tmp_path / "new/e.csv").notes
    assert note.startswith("csv stores neither the order of the classes nor classes without a row")


@pytest.mark.parametrize(
    "text", ["path,label\na,foo\nb,zip\n", "label,youtube_id,time_start,time_end,split\nfoo,a,1,2,train\n"]
)
def test_labels_of_other_lists(tmp_path, text):
    put(tmp_path / "train.csv", text)
    labels = put(tmp_path / "labels.txt", "zip\n")
    made = convert(tmp_path / "train.csv", tmp_path / "out/train.txt")
    assert made.notes[-1].startswith(
        f"{labels} does not contain 'foo', a class of {tmp_path}/train.csv: it was ignored"
    )
    assert read_labels(tmp_path / "out/labels.txt")[0] == "foo"
    with pytest.raises(ListError) as caught:
        convert(tmp_path / "train.csv", tmp_path / "out/val.txt", labels=labels)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/train.csv:2: unknown class 'foo': expected one of zip", f"the class names are those of {labels}"
    ]  # fmt: skip
    labels.write_text("zip\nfoo\n")
    assert convert(tmp_path / "train.csv", tmp_path / "new/train.txt").rows
    assert read_labels(tmp_path / "new/labels.txt") == ["zip", "foo"]


def test_class_names_of_several_tables_are_numbered_together(tmp_path):
    put(tmp_path / "train.csv", "path,label\na,walk\nb,run\n")
    put(tmp_path / "val.csv", "path,label\nc,walk\n")
    convert(tmp_path, tmp_path / "out")
    assert read_labels(tmp_path / "out/labels.txt") == ["run", "walk"]
    assert read_list(tmp_path / "out/val.txt")[0].label == 1
    put(tmp_path / "val.csv", "path,label\nc,1\n")
    with pytest.raises(ValueError, match="some lists contain class names and others numbers"):
        convert(tmp_path, tmp_path / "out2")


def test_bad_rows_are_told_together(tmp_path):
    put(tmp_path / "train.txt", "a 1 5 0\nb 9 3 0\nc 1 5 0\nd 1 5 -1\n")
    with pytest.raises(ListError) as caught:
        convert(tmp_path / "train.txt", tmp_path / "b.json", source="ibm")
    assert len(str(caught.value).splitlines()) == 2


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")
    with pytest.raises(ValueError, match="the list would replace itself"):
        convert(src, tmp_path / "x/../train.txt")
    with pytest.raises(ValueError, match="not a regular file"):
        convert(src, Path(os.devnull))
    before = put(tmp_path / "out.csv", "what was there")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot be written .No space left on device.") as caught:
        convert(src, before, force=True)
    assert caught.value.filename == str(before)
    assert before.read_text() == "what was there"
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "train.txt"]


def test_lists_that_are_there_are_not_replaced_unasked(tmp_path):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")
    precious = put(tmp_path / "out/train.txt", "what was there")
    with pytest.raises(ValueError) as caught:
        convert(src, tmp_path / "out")
    fault = f"{precious} already exists: expected another name for B, or --force to replace it"
    assert str(caught.value) == fault
    assert precious.read_text() == "what was there"
    convert(src, tmp_path / "out", force=True)
    assert precious.read_text() == f"{tmp_path}/a 1 5 0\n"


def test_a_read_only_file_system(tmp_path, monkeypatch):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", "inner")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="cannot be written .Read-only file system.") as caught:
        convert(src, tmp_path / "out.csv")
    assert caught.value.filename == str(tmp_path / "out.csv")


def test_nothing_is_replaced_if_one_of_the_files_fails(tmp_path):
    put(tmp_path / "all.csv", 'path,label,split\na,0,train\n"new\nline",0,val\n')
    put(tmp_path / "out/train.txt", "what was there")
    with pytest.raises(ValueError, match="val.txt: actrec cannot represent these rows"):
        convert(tmp_path / "all.csv", tmp_path / "out", force=True)
    assert (tmp_path / "out/train.txt").read_text() == "what was there"
    assert os.listdir(tmp_path / "out") == ["train.txt"]


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    put(tmp_path / "v/train.txt", "a 1 5 0\n")
    put(tmp_path / "v/val.txt", "b 1 5 0\n")

    def stop(path, annotations, options):
        if "val" in annotations.parts:
            raise KeyboardInterrupt
        FORMATS.get("csv").write(path, annotations, options)

    monkeypatch.setitem(FORMATS._entries, "ibm", tool.replace(FORMATS.get("csv"), write=stop))
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "v", tmp_path / "out", target="ibm")
    assert not os.listdir(tmp_path / "out")


def test_a_row_that_reads_back_differently_is_refused(tmp_path, monkeypatch):
    src = put(tmp_path / "train.txt", "a 1 5 0\n")
    broken = tool.replace(FORMATS.get("ibm"), write=lambda path, *_: path.write_text("a 1 6 0\n"))
    monkeypatch.setitem(FORMATS._entries, "ibm", broken)
    with pytest.raises(ValueError, match="0 to 5, labels .0. would read back as .*0 to 6, labels .0."):
        convert(src, tmp_path / "b.txt", target="ibm")


def test_options_are_checked():
    with pytest.raises(ValueError, match="source 'hra': did you mean hara"):
        convert_lists(Path("a.txt"), Path("b.csv"), ConvertOptions(source="hra"))
    with pytest.raises(ValueError, match="part 'tset': expected one of train, val, test"):
        ConvertOptions(part="tset")
    with pytest.raises(ValueError, match="separator ';': expected one of space, comma, semicolon, tab"):
        ConvertOptions(separator=";")
