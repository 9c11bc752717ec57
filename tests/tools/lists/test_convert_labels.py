"""Parts and class names of converted lists."""

from __future__ import annotations

import json
import os

import pytest
from list_conversion import convert, put

from actrec.data.lists import read_labels, read_list
from actrec.files import ListError


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


def test_an_unknown_part_is_refused(tmp_path):
    put(tmp_path / "list.txt", "a 1 5 0\n")
    put(tmp_path / "labels.txt", "walk\n")
    for dst in ("a.json", "out/{part}.txt"):
        with pytest.raises(ValueError, match="the part is unknown"):
            convert(tmp_path / "list.txt", tmp_path / dst)
    assert convert(tmp_path / "list.txt", tmp_path / "a.json", part="val").rows == {"val": 1}
    assert convert(tmp_path / "list.txt", tmp_path / "a.txt").rows == {"": 1}


def test_labels_follow_the_class_names(tmp_path):
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


def test_labels_txt_is_written_only_for_lists_with_numbers(tmp_path):
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
