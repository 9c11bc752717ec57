import os
import random

import pytest
from list_files import NAMES, message, read, rows

from actrec.data.lists import Video, dialect, find_labels, read_list, write_list
from actrec.files import LineReader, ListError


@pytest.mark.parametrize("sep", [" ", ";", "\t", ",", "  ", " ; ", ", "])
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("a/b", "1", "30", "3"), ("a/b", 0, 30, (3,))),
        (("a/b", "0", "29", "3"), ("a/b", -1, 29, (3,))),
        (("a/b", "7", "7", "3.0"), ("a/b", 6, 7, (3,))),
        (("a/b", "1", "30"), ("a/b", 0, 30, ())),
        (("a/b", "1", "30", "3", "6"), ("a/b", 0, 30, (3, 6))),
        (("a/b", "1", "30", "walk"), ("a/b", 0, 30, (0,))),
        (("a/b", "1", "30", "walk", "2", "run"), ("a/b", 0, 30, (0, 2, 1))),
        (("a/b", "1", "30", "shaking hands"), ("a/b", 0, 30, (2,))),
        (("a b/c d", "1", "30", "shaking hands"), ("a b/c d", 0, 30, (2,))),
        (("a/b", "12.5s", "30s", "3"), ("a/b", 12.5, 30.0, (3,))),
        (("a/b", "0s", "0.040s"), ("a/b", 0.0, 0.04, ())),
        (("a/b", "1s", "2s", "3", "4"), ("a/b", 1.0, 2.0, (3, 4))),
        (("a/b", "1s", "2s", "shaking hands"), ("a/b", 1.0, 2.0, (2,))),
        (("a/b.mp4", "3"), ("a/b.mp4", None, None, (3,))),
        (("a/b.mp4", "run"), ("a/b.mp4", None, None, (1,))),
        (("my file.mp4", "shaking hands"), ("my file.mp4", None, None, (2,))),
        (("my file.mp4", "hands"), ("my file.mp4", None, None, (3,))),
        (("my file.mp4", "left, right"), ("my file.mp4", None, None, (5,))),
        (("my file.mp4", "push; pull"), ("my file.mp4", None, None, (4,))),
        (("a/b.mp4",), ("a/b.mp4", None, None, ())),
        (("my file.mp4",), ("my file.mp4", None, None, ())),
    ],
)
def test_forms(tmp_path, sep, columns, expected):
    line = sep.join(columns)
    assert rows(read(tmp_path, f"{line}\n", names=NAMES)) == [expected]


@pytest.mark.parametrize("sep", [" ", ";", "\t"])
@pytest.mark.parametrize("frames", [(), ("1", "30")])
@pytest.mark.parametrize(
    ("text", "labels"), [("3,4", (3, 4)), ("run,walk", (1, 0)), ("shaking hands,0", (2, 0)), ("1,3.0,run", (1, 3, 1))]
)
def test_labels_joined_by_commas(tmp_path, sep, frames, text, labels):
    (video,) = read(tmp_path, sep.join(["a/b", *frames, text]), names=NAMES)
    assert video == ("a/b", "a/b", 0 if frames else None, 30 if frames else None, labels)


@pytest.mark.parametrize("sep", [" ", ";", "\t"])
@pytest.mark.parametrize("frames", [(), ("1", "30"), ("1s", "2.5s")])
def test_a_row_of_no_class_among_others(tmp_path, sep, frames):
    lines = [sep.join([path, *frames, text]) for path, text in (("a", "3,4"), ("b - c", "-"), ("d", "0"))]
    videos = read(tmp_path, "\n".join(lines), root="/r")
    assert [(v.path, v.labels) for v in videos] == [("/r/a", (3, 4)), ("/r/b - c", ()), ("/r/d", (0,))]
    write_list(tmp_path / "again.txt", videos, root="/r", separator=sep)
    assert read_list(tmp_path / "again.txt", root="/r") == videos
    mixed = "\n".join(lines).replace("3,4", "3,-")
    assert "train.txt:1: class name '-': expected a number" in message(tmp_path, mixed)
    (named,) = read(tmp_path, sep.join(["a", *frames, "-"]), names=["-", "walk"])
    assert named.labels == (0,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c 1 1 30 3\nc 2 1 25 4\nc 3 1 9 4", [("c 1", 0, 30, (3,)), ("c 2", 0, 25, (4,)), ("c 3", 0, 9, (4,))]),
        ("my 1,1,30,3\nmy 2,1,9,4", [("my 1", 0, 30, (3,)), ("my 2", 0, 9, (4,))]),
        ("a 3, 7\nb 3,4", [("a", None, None, (3, 7)), ("b", None, None, (3, 4))]),
        ("a.mp4, 7\nb.mp4, 4", [("a.mp4", None, None, (7,)), ("b.mp4", None, None, (4,))]),
        ("clip 2 3\nb.mp4 4\n", [("clip 2", None, None, (3,)), ("b.mp4", None, None, (4,))]),
        ("clip 2 1 30\nwalk 1 20\n", [("clip 2", 0, 30, ()), ("walk", 0, 20, ())]),
        ("my clip,1,30,3\nb,1,30,4", [("my clip", 0, 30, (3,)), ("b", 0, 30, (4,))]),
        ("a;b 1 30 3\nc 1 30 4", [("a;b", 0, 30, (3,)), ("c", 0, 30, (4,))]),
        ("a,b;1;30;3", [("a,b", 0, 30, (3,))]),
        ("a;b;1;30;3\nc;1;30;4", [("a;b", 0, 30, (3,)), ("c", 0, 30, (4,))]),
        ("a\nb c\nd 3", [("a", None, None, ()), ("b c", None, None, ()), ("d 3", None, None, ())]),
        ("my clip\nyour clip", [("my clip", None, None, ()), ("your clip", None, None, ())]),
    ],
)  # fmt: skip
def test_the_whole_file_decides(tmp_path, text, expected):
    assert rows(read(tmp_path, text)) == expected


def test_one_misspelt_range_of_thousands_is_named(tmp_path):
    lines = [f"v{i} 1 30 3" for i in range(3000)]
    lines[2500] = "v2500 1 3O 3"
    assert message(tmp_path, "\n".join(lines)).startswith("train.txt:2501: 'v2500 1 3O 3' does not end in two frame")


def test_rows_outside_of_the_sample_decide_too(tmp_path):
    lines = [f"v{i} 1 30 3" for i in range(3000)]
    lines[2500] = "clip 7 1 30 3"
    lines[2501] = "clip 1 1 30 3"
    assert 2500 % (3000 // dialect.SAMPLE) != 0
    assert [v.path for v in read(tmp_path, "\n".join(lines))[2500:2502]] == ["clip 7", "clip 1"]


def test_comments_blanks_bom_and_crlf(tmp_path):
    text = b"\xef\xbb\xbf# a comment\r\n\r\nvid\xc3\xa9o 1 30 3\r\n   \r\n#x 1 2 3\r\nb 1 5 4"
    found = read(tmp_path, text)
    assert rows(found) == [("vidéo", 0, 30, (3,)), ("#x", 0, 2, (3,)), ("b", 0, 5, (4,))]
    assert found.num_comments == 1


def test_a_line_like_a_comment_is_a_row_if_its_file_exists(tmp_path):
    text = "# clap/1.mp4 0\n#\n# clap/2.mp4 0\n#clap/3.mp4 1\na 1\n# one more 2 words\n"
    (tmp_path / "list.txt").write_text(text)
    assert [video.id for video in read_list(tmp_path / "list.txt")] == ["#clap/3.mp4", "a"]
    (tmp_path / "# clap").mkdir()
    (tmp_path / "# clap/1.mp4").touch()
    found = read_list(tmp_path / "list.txt")
    assert [video.id for video in found] == ["# clap/1.mp4", "#clap/3.mp4", "a"]
    assert found.num_comments == 3


def test_a_number_is_a_number_even_where_classes_are_called_so(tmp_path):
    assert read(tmp_path, "a 1\nb 0", names=["1", "0"])[0].labels == (1,)


def test_labels_are_found_beside_the_list(tmp_path):
    (tmp_path / "classes.txt").write_text("walk\nrun\n")
    assert find_labels(tmp_path).name == "classes.txt"
    assert read(tmp_path, "a run")[0].labels == (1,)
    (tmp_path / "labels.txt").write_text("run\nwalk\n")
    assert find_labels(tmp_path).name == "labels.txt"
    assert read(tmp_path, "a run")[0].labels == (0,)
    assert read_list(tmp_path / "train.txt", labels=["x", "y", "run"])[0].labels == (2,)
    assert find_labels(tmp_path / "none") is None


def test_root(tmp_path, monkeypatch):
    text = "a 1 2 3\n/abs/b 1 2 3\n"
    assert [v.path for v in read(tmp_path, text, root="/data")] == ["/data/a", "/abs/b"]
    assert [v.path for v in read(tmp_path, text, root=None)] == [f"{tmp_path}/a", "/abs/b"]
    assert [v.id for v in read(tmp_path, text, root="/data")] == ["a", "/abs/b"]
    monkeypatch.chdir(tmp_path)
    assert [v.path for v in read_list("train.txt")] == ["a", "/abs/b"]


def test_ids(tmp_path):
    text = "a 1 30 3\na 31 60 3\nb 1 30 3\na 1 30 3\na 1 30 4\na#2 1 30 3"
    assert [v.id for v in read(tmp_path, text)] == ["a 1-30", "a 31-60", "b", "a 1-30#2", "a 1-30#3", "a#2"]
    assert [v.id for v in read(tmp_path, "a\na\na#2\na\na#2#2")] == ["a", "a#3", "a#2", "a#4", "a#2#2"]


@pytest.mark.parametrize("seed", range(20))
def test_ids_are_unique(tmp_path, seed):
    rng = random.Random(seed)
    paths = [rng.choice(["a", "a#2", "a 1-2", "a 1-2#2"]) for _ in range(40)]
    videos = read(tmp_path, "".join(f"{path};1;{rng.choice([2, 3])}\n" for path in paths) + "plain;1;2")
    assert len({v.id for v in videos}) == len(videos) == 41


def test_label():
    assert Video("a", "a", None, None, (3,)).label == 3
    assert Video("a", "a", None, None, ()).label == -1
    assert Video("a", "a", None, None, (3, 4)).label == -1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1 30 3\nb 30 1 3", "train.txt:2: end 1 comes before start 30: expected the first and the last frame"),
        ("a 30 1 3", "train.txt:1: end 1 comes before start 30"),
        ("a 30 1", "train.txt:1: end 1 comes before start 30"),
        ("a;30;1;3", "train.txt:1: end 1 comes before start 30: expected the first and the last frame"),
        ("a 1 30 3\nb -1 3 3", "train.txt:2: start -1: expected 0 or more"),
        ("a 1s 2s 3\nb 3s 2.5s 3", "train.txt:2: end 2.5s does not come after start 3s: expected a later time"),
        ("a 1s 2s 3\nb 3 5s 3", "train.txt:2: start 3 and end 5s: expected two frame numbers, or two times such as"),
        ("a 1s 2s 3\nb 1s 2s rum", "train.txt:2: unknown class 'rum': did you mean run"),
        ("a 1s 2s 3\nb -1s 2s 3", "'b -1s 2s 3' does not end in two frame numbers"),
        ("a 1 30 -3", "train.txt:1: label -3: expected 0 or more"),
        ("a -3", "train.txt:1: label -3: expected 0 or more"),
        ("a 1 30 7", "train.txt:1: label 7: expected 0 to 6, as there are 7 classes, and labels count from 0"),
        ("a.mp4 7", "train.txt:1: label 7: expected 0 to 6, as there are 7 classes, and labels count from 0"),
        ("a 1 30 3.5", "train.txt:1: label 3.5: expected a whole number"),
        ("a 1 30 rum", "train.txt:1: unknown class 'rum': did you mean run"),
        ("a.mp4 rum", "train.txt:1: unknown class 'rum': did you mean run"),
        ("a 1 30 shaking handz", "train.txt:1: unknown class 'shaking handz': did you mean shaking hands"),
        ("a.mp4 shaking handz", "unknown class 'shaking handz': did you mean shaking hands"),
        ("a.mp4;shaking handz", "unknown class 'shaking handz': did you mean shaking hands"),
        ("a 1 30 3\nb 1 30", "train.txt:2: 'b 1 30' does not end in two frame numbers and a label: expected"),
        ("a 1 30\nb 1 30\nc 1", "'c 1' does not end in two frame numbers: expected 'path start end', with blanks"),
        ("a.mp4 3\nb.mp4 4\nc.mp4", "train.txt:3: 'c.mp4' has no label: expected 'path label', with blanks between"),
        ("a;1;2;3\n;1;30;3", "train.txt:2: there is no path: expected it in the first column"),
        ("a 1 3000000000 3", "train.txt:1: end 3000000000: expected at most 2147483647"),
        ("a 1 30 0\nb 1 30 0\nc 1 30 0\nd 1 3O 0", "train.txt:4: 'd 1 3O 0' does not end in two frame numbers and a"),
        ("a 1s 2s 0\nb 0.5 1.5 0\nc 1s 2s 0", "train.txt:2: 'b 0.5 1.5 0' does not end in two frame numbers and a la"),
        ("a 1s 2s 0\nb 0.5s 2,5s 0\nc 1s 2s 0", r"as in most lines (write 2.5s instead of 2,5s)"),
        ("a 1s 2s\nb 0.5s 2,5s\nc 1s 2s", r"as in most lines (write 2.5s instead of 2,5s)"),
        ("a 1 30\nb 1 30\nc x 30", "train.txt:3: 'c x 30' does not end in two frame numbers"),
        ("", "train.txt:1: the list is empty: expected one video on each line"),
        ("# only\n\n# this\n", "train.txt:1: the list holds only comments (2 lines): expected one video on each line"),
        (b"a 1 30 3\ncaf\xe9 1 30 3", "train.txt:2: byte 0xe9 at position 4 is not UTF-8: save the file as UTF-8"),
        (b"a 1 30 3\nb\0 1 30 3", "train.txt:2: the line holds a zero byte: expected text"),
        (b"\xff\xfea\0", "train.txt:1: the file is UTF-16: expected UTF-8"),
        ("a 1 30 3\n" + "b" * 9000, "train.txt:2: the line holds 9000 characters: expected text, at most 8192"),
    ],
)  # fmt: skip
def test_bad_lines(tmp_path, text, words):
    assert words in message(tmp_path, text, names=NAMES)


@pytest.mark.parametrize("text", ["a 1 30 jump", "a.mp4 jump", "a;jump"])
def test_class_name_without_labels_txt(tmp_path, text):
    words = "class name 'jump': expected a number, as there is no labels.txt or classes.txt"
    assert words in message(tmp_path, text)


def test_every_bad_line_is_reported_at_once(tmp_path):
    lines = [f"v{i} 1 30 {-1 if i % 2 else 3}" for i in range(100)]
    found = message(tmp_path, "\n".join(["# first", *lines])).splitlines()
    assert found[0] == "train.txt:3: label -1: expected 0 or more"
    assert [int(line.split(":")[1]) for line in found[:-1]] == list(range(3, 43, 2))
    assert found[-1] == "… and 30 more"


def test_bytes_and_values_are_reported_together(tmp_path):
    found = message(tmp_path, b"a 1 30 3\nb 9 3 3\n\xff 1 3 3\nc 1 30 3").splitlines()
    assert [line.split(": ")[0] for line in found] == ["train.txt:2", "train.txt:3"]


def test_the_path_is_shown_as_given(tmp_path, monkeypatch):
    read(tmp_path, "a 1 30 3")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.txt").write_text("a 9 3 3")
    with pytest.raises(ListError, match=r"^\./train\.txt:1: "):
        read_list("./train.txt")


def test_missing_files(tmp_path):
    (tmp_path / "train.txt").write_text("a 1 2 3")
    with pytest.raises(FileNotFoundError, match=r"trian\.txt: no such file: did you mean train\.txt"):
        read_list(tmp_path / "trian.txt")
    with pytest.raises(FileNotFoundError, match="no such file: the folder .*nowhere.* does not exist"):
        read_list(tmp_path / "nowhere" / "train.txt")
    (tmp_path / "folder").mkdir()
    for name in ("train.csv", "folders"):
        with pytest.raises(FileNotFoundError, match="no such file$"):
            read_list(tmp_path / name)
    with pytest.raises(ValueError, match="class name 'a' occurs twice"):
        read_list(tmp_path / "train.txt", labels=["a", "b", "a"])


def test_long_and_strange_values_are_shown_short_and_escaped(tmp_path):
    found = message(tmp_path, "a 1 30 3\nb 1 30 3\nc\x1b[31m" + "x" * 500)
    assert "\x1b" not in found
    assert len(found) < 400


# ---- blocks ----


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_is_read_in_blocks(tmp_path, block, end):
    lines = ["\ufeff# é", "", "a 1 30 3", " b\t", "中 1 2 3", "x\0", "y" * 9000]
    (tmp_path / "list.txt").write_bytes("\n".join(lines).encode() + b"\n\xff" + end.encode())
    with LineReader(tmp_path / "list.txt", block=block) as reader:
        for _ in range(2):
            found = [line for lines in reader for line in lines]
            assert found[:5] == ["# é", "", "a 1 30 3", "b", "中 1 2 3"]
            assert found[5:8] == ["", "", ""]
            assert len(found) == 8 + bool(end)
            assert len(reader.problems) == 3
    with pytest.raises(ListError) as caught:
        reader.problems.raise_any()
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["6", "7", "8"]


def test_a_list_from_a_pipe_of_the_shell():
    reader, writer = os.pipe()
    with open(writer, "w") as file:
        file.write("a 1 30 3\nb 1 2 4\n")
    assert rows(read_list(f"/dev/fd/{reader}", root="/r")) == [("/r/a", 0, 30, (3,)), ("/r/b", 0, 2, (4,))]
    os.close(reader)


def test_a_list_that_is_a_named_pipe_or_a_device_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(OSError, match="a pipe, not a file"):
        read_list(tmp_path / "list.txt")
    with pytest.raises(OSError, match="a device, not a file"):
        read_list("/dev/zero")


def test_a_long_list_is_read_like_a_short_one(tmp_path):
    lines = [f"class {i % 7}/v_{i};{i + 1};{i + 9};{i % 7},3" for i in range(100_000)]
    found = read(tmp_path, "\n".join(lines))
    assert len(found) == 100_000
    assert found[99_999][1:] == ("class 4/v_99999", 99_999, 100_008, (4, 3))


@pytest.mark.parametrize("joint", [",", ", "])
def test_thousands_of_labels_in_a_row_are_refused(tmp_path, joint):
    """Labels are cut off one after the other."""
    text = "a.mp4 " + joint.join(["1"] * 2500) + "\nb.mp4 1\n"
    assert "train.txt:1: " in message(tmp_path, text)


def test_a_line_without_a_path(tmp_path):
    assert "train.txt:2: ',3' does not end in two frame numbers" in message(tmp_path, "c 2 9 1\n,3\nd 1 2 3\n")


def test_a_folder_is_no_list(tmp_path):
    with pytest.raises(ListError, match="this is a folder: expected a list with a video on each line$"):
        read_list(tmp_path)
    (tmp_path / "val.txt").touch()
    with pytest.raises(ListError, match=f"on each line, such as {tmp_path}/val.txt$"):
        read_list(tmp_path)


def test_labels_that_count_from_one(tmp_path):
    (tmp_path / "labels.txt").write_text("run\nwalk\n")
    (tmp_path / "list.txt").write_text("a.mp4 1\nb.mp4 2\n")
    with pytest.raises(ListError, match="label 2: expected 0 to 1, as there are 2 classes, and labels count from 0$"):
        read_list(tmp_path / "list.txt")
