import os

import pytest
from list_files import NAMES, message, read, rows

from actrec.data.lists import Video, number_files, read_list, write_list
from actrec.data.lists.labeling import refuse_contradictions, shared_videos

PATHS = [
    "s3://bucket/k400/train/a.mp4",
    "s3://bucket/a b.mp4",
    "https://host.org:8080/x.mp4?v=2&w=a=b",
    "https://host.org/a;b.mp4",
    "https://host.org/a,b.mp4",
    "https://host.org/a%23b.mp4",
    "gs://bucket/#a.mp4",
    "s3://bucket/ü/ä.mp4",
    "s3://bucket/a\\b.mp4",
    "s3://bucket/shards/000123.tar::a.mp4",
    "s3://bucket/shards/000123.tar::./deep/a b.mp4",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("separator", [" ", ";", "\t", ","])
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("3",), (None, None, (3,))),
        (("shaking hands",), (None, None, (2,))),
        (("1", "30", "3"), (0, 30, (3,))),
        (("1s", "2.5s", "3"), (1.0, 2.5, (3,))),
        (("1", "30"), (0, 30, ())),
    ],
)
def test_urls_in_rows(tmp_path, path, separator, columns, expected):
    lines = [separator.join([text, *columns]) for text in (path, "local/b.mp4", "shards/0.tar::c.mp4")]
    found = read(tmp_path, "\n".join(lines), root="/r", names=NAMES)
    assert rows(found) == [(p, *expected) for p in (path, "/r/local/b.mp4", "/r/shards/0.tar::c.mp4")]
    assert [video.id for video in found] == [path, "local/b.mp4", "shards/0.tar::c.mp4"]
    assert number_files(found)[0].tolist() == [0, 1, 2]


def test_a_list_of_urls_alone(tmp_path):
    found = read(tmp_path, "".join(f"{path}\n" for path in PATHS[:4]))
    assert [video.path for video in found] == PATHS[:4]


def test_relative_to_a_url(tmp_path):
    found = read(tmp_path, "a.mp4 0\n/x/b.mp4 1\ngs://other/c.mp4 2\n", root="s3://bucket/k400")
    assert [video.path for video in found] == ["s3://bucket/k400/a.mp4", "/x/b.mp4", "gs://other/c.mp4"]


def test_write_reads_back(tmp_path):
    videos = [Video("", path, 0, 30, (i,)) for i, path in enumerate([*PATHS[:2], "/r/s/0.tar::x/y.mp4", "/r/a.mp4"])]
    write_list(tmp_path / "out.txt", videos, root="/r")
    assert (tmp_path / "out.txt").read_text().splitlines()[2:] == ["s/0.tar::x/y.mp4 1 30 2", "a.mp4 1 30 3"]
    assert rows(read_list(tmp_path / "out.txt", root="/r")) == rows(videos)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://me:hush@host.org/a.mp4", "a user or a password"),
        ("https://host.org/a.mp4?X-Amz-Signature=hush", "a signature or token"),
        ("file:///data/hush.mp4", "file:// is not supported"),
    ],
)
def test_urls_that_no_list_may_have(tmp_path, url, words):
    text = message(tmp_path, f"s3://bucket/a.mp4 0\n{url} 1\n")
    assert text.startswith("train.txt:2: ")
    assert words in text
    assert "hush" not in text
    lines = f"s3://bucket/a.mp4 1 5 0\ns3://bucket/b.mp4 1 5 0\ns3://bucket/c.mp4 1 5 1\n{url} x\n"
    assert "hush" not in message(tmp_path, lines)  # also where the columns are wrong


def test_the_same_member_under_two_names(tmp_path):
    os.makedirs(tmp_path / "s")
    (tmp_path / "s/0.tar").write_bytes(b"")
    one, other = (Video("", f"{tmp_path}/{name}", None, None, (0,)) for name in ("s/0.tar::a", "s/./0.tar::./a"))
    assert list(shared_videos([one], [other])) == [(other, one)]
    with pytest.raises(ValueError, match="two rows with the same frames"):
        refuse_contradictions([one, other._replace(id="x", labels=(1,))])


def test_different_keys_are_different_objects():
    one, other = (Video("", f"s3://bucket/{name}", None, None, (0,)) for name in ("a/b.mp4", "a/./b.mp4"))
    assert not list(shared_videos([one], [other]))
