"""Notes about what the target format cannot represent, and refusals."""

from __future__ import annotations

import pytest
from list_conversion import NAMES, convert, put

from actrec.data.lists.formats import FORMATS, Annotations, Entry, Options


def test_losses_have_counts_and_an_example(tmp_path):
    put(tmp_path / "train.csv", "path,start,end,labels,fps\na,1,5,0;1,25\nb,2,5,1;0,\nc,,,1,\n")
    made = convert(tmp_path / "train.csv", tmp_path / "b.txt", target="pyslowfast")
    assert (tmp_path / "b.txt").read_text() == "a 0\nb 1\nc 1\n"
    assert made.notes == (
        f"2 rows: the range is left out, such as '{tmp_path}/a'",
        f"2 rows: the labels after the first are left out, such as '{tmp_path}/a'",
        f"1 row: the frame rate is left out, such as '{tmp_path}/a'",
    )


def test_rows_that_the_target_cannot_represent_are_refused(tmp_path):
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
def test_paths_that_text_formats_cannot_represent(tmp_path, name):
    rows = [Entry(f"/data/{name}", 0, 9, (0,))]
    FORMATS.get("hara").write(tmp_path / "a.json", Annotations({"train": rows}, NAMES), Options("/data"))
    for target in set(FORMATS) - {"csv", "hara", "activitynet", "kinetics"}:
        with pytest.raises(ValueError, match="cannot represent these rows") as caught:
            convert(tmp_path / "a.json", tmp_path / "out/b.txt", target=target, root="/data")
        assert "\n" not in str(caught.value)
        assert ".part-" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_another_separator_is_used_and_reported(tmp_path):
    put(tmp_path / "train.csv", "path,start,end,label\na b,1,5,0\n")
    made = convert(tmp_path / "train.csv", tmp_path / "b.txt", target="ibm")
    assert (tmp_path / "b.txt").read_text() == "a b;1;5;0\n"
    assert "the columns are separated by ';', because with ' '" in made.notes[-1]
    convert(tmp_path / "train.csv", tmp_path / "c.txt", target="ibm", separator="semicolon")
    with pytest.raises(ValueError, match="separator comma: ibm has space, semicolon"):
        convert(tmp_path / "train.csv", tmp_path / "c.txt", target="ibm", separator="comma")
    with pytest.raises(ValueError, match="ibm cannot represent these rows"):
        convert(tmp_path / "train.csv", tmp_path / "d.txt", target="ibm", separator="space")


def test_leakage_and_repeated_rows(tmp_path):
    put(tmp_path / "v/train.txt", "x/a.mp4 0\nx/b.mp4 0\nx/b.mp4 0\n")
    put(tmp_path / "v/val.txt", "x/../x/b.mp4 0\nlink.mp4 1\nc 0\n")
    put(tmp_path / "v/x/a.mp4", "")
    (tmp_path / "v/link.mp4").symlink_to(tmp_path / "v/x/a.mp4")
    made = convert(tmp_path / "v", tmp_path / "all.csv")
    assert made.notes[0].startswith("leakage: 2 files in several parts, such as ")
    assert made.notes[0].endswith(" in train and val")
    assert made.notes[1].startswith("1 row of train like an earlier row, such as ")
    assert made.rows == {"train": 3, "val": 3}


def test_ambiguous_numbers_give_a_note(tmp_path):
    put(tmp_path / "train.txt", "a 3 5\nb 2 9\n")
    assert "--from mmaction2-frames" in convert(tmp_path / "train.txt", tmp_path / "b.csv").notes[0]
    assert not convert(tmp_path / "train.txt", tmp_path / "c.csv", source="mmaction2-frames").notes
    put(tmp_path / "train.txt", "a 0 295 3\nb 50 121 4\n")
    assert "--from mmaction2-clips" in convert(tmp_path / "train.txt", tmp_path / "d.csv").notes[0]
