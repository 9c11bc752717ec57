import itertools
import os
import random

import pytest
from list_files import NAMES, read, rows

from actrec.data.lists import Video, read_list, write_list
from actrec.data.lists.line import SEPARATORS


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
        ([Video("a", "/r/# a", 0, 30, (3,)), Video("a", "/r/b", 0, 30, (3,))], " ", "would read back as"),
        ([Video("a", "/r/b", 0, 30, (3,)), Video("a", "/r/# a", 0, 30, (3,))], " ", "# and a blank would read"),
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
