import itertools
import os
import random

import numpy as np
import pytest

from actrec.data.lists import (
    Video,
    dialect,
    find_labels,
    read_flips,
    read_labels,
    read_list,
    write_labels,
    write_list,
)
from actrec.data.lists.labels import Classes
from actrec.data.lists.line import FORMS, SEPARATORS, Dialect, LineParser
from actrec.data.lists.splits import stratified_split
from actrec.files import ListError

NAMES = ["walk", "run", "shaking hands", "hands", "push; pull", "left, right", "a walk"]


def read(tmp_path, text, *, names=None, root="", file="train.txt"):
    path = tmp_path / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if names:
        write_labels(tmp_path / "labels.txt", names)
    return read_list(path, root=root)


def rows(videos):
    return [(v.path, v.start, v.stop, v.labels) for v in videos]


def message(tmp_path, text, **kwargs):
    with pytest.raises(ListError) as caught:
        read(tmp_path, text, **kwargs)
    return str(caught.value).replace(str(tmp_path) + os.sep, "")


# ---- formats ----


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
    assert rows(read(tmp_path, text)) == [("vidéo", 0, 30, (3,)), ("b", 0, 5, (4,))]


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


# ---- errors ----


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
        ("a 1 30 7", "train.txt:1: label 7: expected 0 to 6, as there are 7 classes"),
        ("a.mp4 7", "train.txt:1: label 7: expected 0 to 6, as there are 7 classes"),
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
        ("a 1 30\nb 1 30\nc x 30", "train.txt:3: 'c x 30' does not end in two frame numbers"),
        ("", "train.txt:1: the list is empty: expected one video on each line"),
        ("# only\n\n", "train.txt:1: the list is empty"),
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


# ---- fast and slow ----

PARTS = ["a", "b/c", "clip 2", "my clip", "x;y", "p,q", "walk", "é", "v.mp4", "3", "a walk"]
LABELS = ["0", "3", "3.0", "run", "shaking hands", "hands", "push; pull", "3,1", "run,walk", "left, right", "jump"]


@pytest.mark.parametrize("sep", SEPARATORS)
@pytest.mark.parametrize("form", FORMS)
def test_regular_lines_mean_what_the_rules_for_any_line_say(sep, form):
    rng = random.Random(0)
    taken = 0
    for _trial in range(400):
        parts = rng.sample(PARTS, rng.randint(1, len(PARTS)))
        labels = rng.sample(LABELS, rng.randint(1, 4))
        starts = rng.choice([["1"], ["1", "5"], ["0", "1"], ["1", "-2"], ["1", "+3", "٣"], ["1", "1_0"]])
        lines = []
        for _ in range(rng.randint(1, 6)):
            frames = [rng.choice(starts), str(rng.randint(4, 30))] if form.startswith("range") else []
            label = [rng.choice(labels)] if "label" in form else []
            lines.append(rng.choice([sep, sep, sep + " "]).join([rng.choice(parts), *frames, *label]).strip())
        classes = Classes(rng.choice([(), NAMES, NAMES[:2], ["run", "walk", "clip", "2 1", "jump", "a;b"]]))
        parser = LineParser(Dialect(sep, form), classes)
        for line in filter(None, lines):
            if (fast := parser._parse_regular(line)) is not None:
                taken += 1
                assert fast == parser._parse_any(line)
    assert taken > 100


# ---- writing ----


@pytest.mark.parametrize(
    ("separator", "videos", "text"),
    [
        (" ", [Video("a", "/r/a", 0, 30, (3,))], "a 1 30 3\n"),
        (" ", [Video("a", "/r/a", -1, 29, ())], "a 0 29\n"),
        (";", [Video("a", "/r/my a", 0, 30, (3, 7))], "my a;1;30;3;7\n"),
        (
            " ",
            [Video("a", "/r/a", 0.0, 1e-6, (3,)), Video("b", "/r/b", 2.5, 1e6, (3,))],
            "a 0s 0.000001s 3\nb 2.5s 1000000s 3\n",
        ),
        (" ", [Video("a", "/r/a", 0, 9, (3,)), Video("b", "/r/b", 0.5, 1.0, (3,))], "a 1 9 3\nb 0.5s 1s 3\n"),
        (",", [Video("a", "/else/a.mp4", None, None, (3,))], "/else/a.mp4,3\n"),
        ("\t", [Video("a", "/r/a.mp4", None, None, (3, 7))], "a.mp4\t3,7\n"),
        (" ", [Video("a", "/r/a b.mp4", None, None, ())], "a b.mp4\n"),
        (None, [Video("a", "/r/clip 1", 0, 30, (3,))], "clip 1;1;30;3\n"),
    ],
)
def test_write(tmp_path, separator, videos, text):
    write_list(tmp_path / "out.txt", videos, root="/r", separator=separator)
    assert (tmp_path / "out.txt").read_text() == text
    assert rows(read_list(tmp_path / "out.txt", root="/r")) == rows(videos)


def test_times_are_written_to_the_nanosecond(tmp_path):
    write_list(tmp_path / "out.txt", [Video("a", "/r/a", 1 / 3, 2 / 3, (3,))], root="/r")
    assert (tmp_path / "out.txt").read_text() == "a 0.333333333s 0.666666667s 3\n"


def test_segments_of_a_file_have_their_own_ids(tmp_path):
    found = read(tmp_path, "a 1s 2s 3\na 2s 3.5s 3\na 2s 3.5s 4")
    assert [video.id for video in found] == ["a 1s-2s", "a 2s-3.5s", "a 2s-3.5s#2"]


def test_write_without_range(tmp_path):
    write_list(tmp_path / "out.txt", [Video("a", f"{tmp_path}/a", 0, 30, (3,))], with_range=False)
    assert (tmp_path / "out.txt").read_text() == "a 3\n"


@pytest.mark.parametrize(
    ("videos", "separator", "words"),
    [
        ([], " ", "there is no video to write"),
        ([Video("a", "/r/a", 0, 1, ())], "|", r"separator '\|': expected"),
        ([Video("a", "/r/a\nb", 0, 1, ())], " ", "expected no line break"),
        ([Video("a", "/r/a\0b", 0, 1, ())], " ", "no zero byte"),
        ([Video("a", "other/a", 0, 1, ())], " ", "is relative and not below '/r/'"),
        ([Video("a", "/r/clip 1", 0, 30, (3,))], " ", "path 'clip 1', range .* would read back as"),
        ([Video("a", "/r/clip 7", 0, 3, (3,))] * 2 + [Video("a", "/r/a ", 0, 3, (3,))], " ", "would read back as"),
        ([Video("a", "/r/#a", 0, 30, (3,)), Video("a", "/r/b", 0, 30, (3,))], " ", "would read back as"),
        ([Video("a", "/r/b", 0, 30, (3,)), Video("a", "/r/#a", 0, 30, (3,))], " ", "# would read back as a co"),
        ([Video("a", "/r/a", 0, 30, (3,)), Video("a", "/r/b", None, None, (3,))], " ", "path 'b' has no range"),
        ([Video("a", "/r/a.mp4", None, None, (3, 7))], ",", "would read back as"),
        ([Video("a", "/r/a", 5, 5, (3,))], " ", "end 5 comes before start 6"),
        ([Video("a", "/r/a", 5.0, 5.0, (3,))], " ", "end 5s does not come after start 5s"),
        ([Video("a", "/r/a", 5, 7.5, (3,))], " ", "range 5 to 7.5: expected both in frames, or in seconds"),
        ([Video("a", "/r/a", 5.5, 7, (3,))], " ", "range 5.5 to 7: expected both"),
        ([Video("a", "/r/a", float("nan"), 7.5, (3,))], " ", "would not read back"),
        ([Video("a", "/r/\udce9", 0, 1, ())], " ", "cannot be written as UTF-8"),
        ([Video("a", "/r/\ufeffa", 0, 1, ())], " ", "byte order mark"),
    ],
)  # fmt: skip
def test_write_refuses(tmp_path, videos, separator, words):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(ValueError, match=words):
        write_list(tmp_path / "out.txt", videos, root="/r", separator=separator)
    assert os.listdir(tmp_path) == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "old"


def test_what_is_written_reads_back(tmp_path):
    rng = random.Random(1)
    alphabet = [
        "a",
        "b",
        "walk",
        " ",
        " ",
        ";",
        ",",
        "\t",
        "é",
        "中",
        "\u3000",
        "#",
        "1",
        "23",
        "/",
        ".",
        "-",
        "\r",
        "'",
    ]
    path = tmp_path / "out.txt"
    written = 0
    for _trial in range(1500):
        names = rng.choice([[], NAMES])
        ranged, num_labels = rng.random() < 0.6, rng.choice([0, 1, 1, 1, 2, 3])
        videos = []
        for _ in range(rng.randint(1, 6)):
            name = "".join(rng.choices(alphabet, k=rng.randint(1, 8)))
            start = rng.randint(-1, 40)
            video = (f"/r/{name}", start, start + rng.randint(1, 50)) if ranged else (f"/r/{name}", None, None)
            videos.append(Video("", *video, tuple(rng.choices(range(5), k=num_labels))))
        try:
            write_list(path, videos, root="/r", labels=names, separator=rng.choice([None, *SEPARATORS]))
        except ValueError:
            continue
        written += 1
        assert rows(read_list(path, root="/r", labels=names)) == rows(videos)
    assert written > 200


def test_names_with_spaces_can_be_written(tmp_path):
    rng = random.Random(2)
    for _trial, sep in itertools.product(range(50), [";", "\t"]):
        words = [" ".join(rng.choices(["my", "clip", "12", "é", "(x)", "a,b"], k=3)) + f" {i}" for i in range(9)]
        videos = [Video(w, f"/r/{w}", 0, rng.randint(1, 99), (rng.randrange(5),)) for w in words]
        write_list(tmp_path / "out.txt", videos, root="/r", separator=sep)
        assert read_list(tmp_path / "out.txt", root="/r") == videos


# ---- class names ----


def test_read_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff\r\nwalk\r\n\r\n shaking hands \r\n#tag\r\nnaïve".encode())
    assert read_labels(path) == ["walk", "shaking hands", "#tag", "naïve"]
    path.write_text("walk\nrun\n\nwalk\nrun\n")
    with pytest.raises(ListError) as caught:
        read_labels(path)
    assert [line.split("labels.txt:")[1] for line in str(caught.value).splitlines()] == [
        "4: class name 'walk' is also on line 1: expected it once",
        "5: class name 'run' is also on line 2: expected it once",
    ]
    path.write_text("\n")
    with pytest.raises(ListError, match="labels.txt:1: there is no class name"):
        read_labels(path)


def test_write_labels(tmp_path):
    path = tmp_path / "labels.txt"
    write_labels(path, NAMES)
    assert read_labels(path) == NAMES
    for names in (["a", ""], [" a"], ["a\nb"], ["a", "\udce9"], ["a\0"]):
        with pytest.raises(ValueError, match="class name .* of label .: expected text"):
            write_labels(path, names)
    with pytest.raises(ValueError, match="class name 'a' is also on line 1"):
        write_labels(path, ["a", "a"])
    with pytest.raises(ValueError, match="there is no class name"):
        write_labels(path, [])
    with pytest.raises(ValueError, match="byte order mark"):
        write_labels(path, ["\ufeffa"])
    assert read_labels(path) == NAMES


# ---- flips ----

SIDES = ["wave left", "wave right", "jump", "turn left", "turn right", "spell", "wave"]


def flips(tmp_path, text, names=SIDES):
    (tmp_path / "flips.txt").write_text(text)
    return read_flips(tmp_path / "flips.txt", names)


@pytest.mark.parametrize("sep", [" ", ";", "\t", " ; ", ",", ", "])
def test_flips(tmp_path, sep):
    text = f"# mirror images\n\nwave left{sep}wave right\n4{sep}3\nspell{sep}-\nturn left{sep}turn right\n"
    assert flips(tmp_path, text) == (1, 0, 2, 4, 3, -1, 6)


def test_no_flips(tmp_path):
    assert flips(tmp_path, "") == tuple(range(7))
    assert flips(tmp_path, "jump jump") == tuple(range(7))


def test_flip_problems(tmp_path):
    text = (
        "wave left;wave rihgt\njump\nspell -\nspell jump\n9 1\nturn left turn rigth\n- jump\nx y\nturn left turn right"
    )
    with pytest.raises(ListError) as caught:
        flips(tmp_path, text)
    found = [line.split("flips.txt:")[1] for line in str(caught.value).splitlines()]
    assert len(found) == 7
    assert "1: unknown class 'wave rihgt': did you mean wave right" in found[0]
    assert "2: 'jump': expected two class names" in found[1]
    assert "4: class 'spell' has the mirror image - on line 3 and 'jump' here: expected one" in found[2]
    assert "5: label 9: expected 0 to 6" in found[3]
    assert "6: unknown class 'turn rigth': did you mean turn right" in found[4]
    assert "7: unknown class '-'" in found[5]
    assert "8: unknown class 'x'" in found[6]


def test_flips_with_two_readings(tmp_path):
    names = ["a", "a b", "b c", "c"]
    with pytest.raises(ListError, match="can be read as 'a', 'b c' or 'a b', 'c': put a tab or ; between"):
        flips(tmp_path, "a b c", names)
    assert flips(tmp_path, "a b;c", names) == (0, 3, 2, 1)


# ---- splits ----


def split(class_of_group, rows_of_group, fraction, seed=0):
    """Groups of one class each: (labels, groups, True for validation)."""
    labels = np.repeat(class_of_group, rows_of_group)
    groups = np.repeat([f"g{i}" for i in range(len(class_of_group))], rows_of_group)
    return labels, groups, stratified_split(labels.tolist(), groups.tolist(), val_fraction=fraction, seed=seed)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(
    ("num_classes", "num_groups", "most_rows"), [(1, 7, 1), (5, 40, 1), (5, 40, 6), (30, 70, 3), (3, 3, 4)]
)
@pytest.mark.parametrize("seed", range(3))
def test_split_invariants(fraction, num_classes, num_groups, most_rows, seed):
    rng = np.random.default_rng(seed)
    class_of_group = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num_groups - num_classes)])
    labels, groups, val = split(class_of_group, rng.integers(1, most_rows + 1, num_groups), fraction, seed)
    assert val.dtype == bool
    assert val.shape == labels.shape
    assert not set(groups[val]) & set(groups[~val])
    for c in range(num_classes):
        mine = labels == c
        num = len(set(groups[mine]))
        assert (~val[mine]).any()
        assert val[mine].any() == (num > 1)
        if num > 2:
            assert abs(val[mine].sum() - fraction * mine.sum()) <= max(1, most_rows)
    order = rng.permutation(len(labels))
    again = stratified_split(labels[order].tolist(), groups[order].tolist(), val_fraction=fraction, seed=seed)
    assert (again == val[order]).all()


def test_split_is_exact_where_groups_permit():
    labels, _, val = split(np.arange(100) % 10, np.ones(100, int), 0.25)
    assert val.sum() == 25  # two or three of each class
    assert set(np.bincount(labels[val])) == {2, 3}
    _, _, val = split(np.zeros(3, int), [3, 3, 4], 0.4)
    assert val.sum() == 4


def test_split_depends_on_the_seed():
    same = [split(np.arange(100) % 10, np.ones(100, int), 0.3, seed)[2].tobytes() for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_split_with_groups_of_several_classes():
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels, groups = rng.integers(0, 6, 200), rng.integers(0, 25, 200).astype(str)
        val = stratified_split(labels.tolist(), groups.tolist(), val_fraction=0.2, seed=1)
        assert not set(groups[val]) & set(groups[~val])
        assert all(val[labels == c].any() and not val[labels == c].all() for c in range(6))
        assert 0.15 < val.mean() < 0.25


def test_split_where_classes_contradict_each_other():
    groups, labels = ["1", "2", "2", "3", "3", "1"], [0, 0, 1, 1, 2, 2]
    assert stratified_split(labels, groups, val_fraction=0.3, seed=0).sum() in (2, 4)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_fraction(fraction):
    with pytest.raises(ValueError, match="val_fraction .*: expected a number above 0 and below 1"):
        stratified_split([0, 0], ["a", "b"], val_fraction=fraction, seed=0)


def test_split_lengths():
    with pytest.raises(ValueError, match="2 labels and 1 groups: expected as many"):
        stratified_split([0, 0], ["a"], val_fraction=0.5, seed=0)
    with pytest.raises(ValueError, match="at least one"):
        stratified_split([], [], val_fraction=0.5, seed=0)
