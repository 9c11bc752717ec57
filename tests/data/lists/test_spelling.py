"""Paths of lists that other systems and editors wrote."""

import unicodedata

import pytest

from actrec.data.lists import Video, read_list, write_list
from actrec.data.lists.spelling import why_missing


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c0").mkdir()
    for name in ("v0.mp4", "my clip.mp4", unicodedata.normalize("NFC", "vidéo.mp4"), "a\\b.mp4"):
        (tmp_path / "c0" / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("c0\\v0.mp4", "c0/v0.mp4"),
        (".\\c0\\v0.mp4", "./c0/v0.mp4"),
        ("./c0\\v0.mp4", "./c0/v0.mp4"),
        ("c0/my\u00a0clip.mp4", "c0/my clip.mp4"),
        ("c0/\u200bv0.mp4", "c0/v0.mp4"),
        ("c0\\v0\ufeff.mp4", "c0/v0.mp4"),
        ("c0/" + unicodedata.normalize("NFD", "vidéo.mp4"), unicodedata.normalize("NFC", "c0/vidéo.mp4")),
    ],
)
def test_a_path_gets_the_spelling_that_exists(folder, written, read):
    (folder / "list.txt").write_text(f"{written} 0\nc0/v0.mp4 1\n")
    found = read_list(folder / "list.txt")
    assert [(video.id, video.path, video.labels) for video in found] == [
        (read, f"{folder}/{read}", (0,)),
        ("c0/v0.mp4", f"{folder}/c0/v0.mp4", (1,)),
    ] or read == "c0/v0.mp4"
    assert found[0].path == f"{folder}/{read}"
    assert found.respelled == (1, written, read)
    assert found.notices == [
        f"1 path read in the spelling that exists; the first: {written!r} is read as {read!r}",
    ]


def test_a_path_that_exists_or_has_no_other_spelling_stays(folder):
    (folder / "list.txt").write_text("c0/a\\b.mp4 0\nc1\\gone.mp4 1\n")
    found = read_list(folder / "list.txt")
    assert [video.id for video in found] == ["c0/a\\b.mp4", "c1\\gone.mp4"]
    assert found.notices == []
    write_list(folder / "again.txt", found)
    assert read_list(folder / "again.txt") == found


@pytest.mark.parametrize(
    ("data", "paths", "labels"),
    [
        (b"a.mp4 0\rb.mp4 1\r", ["a.mp4", "b.mp4"], [0, 1]),
        (b"a.mp4 0\rb.mp4 1", ["a.mp4", "b.mp4"], [0, 1]),
        ("a.mp4\u00a00\nb.mp4\u00a01\n".encode(), ["a.mp4", "b.mp4"], [0, 1]),
        ("a.mp4\u30000\nb.mp4 1\n".encode(), ["a.mp4", "b.mp4"], [0, 1]),
        ("a.mp4 0\n\ufeffb.mp4 1\n".encode(), ["a.mp4", "b.mp4"], [0, 1]),
        ("a.mp4 0\u200b\nb.mp4 1 \ufeff\n".encode(), ["a.mp4", "b.mp4"], [0, 1]),
        ("my\u202fclip.mp4\nb.mp4\n".encode(), ["my\u202fclip.mp4", "b.mp4"], [-1, -1]),
    ],
)
def test_line_ends_and_blanks_of_other_editors(tmp_path, data, paths, labels):
    (tmp_path / "list.txt").write_bytes(data)
    found = read_list(tmp_path / "list.txt")
    assert [video.id for video in found] == paths
    assert [video.label for video in found] == labels


def test_a_carriage_return_within_a_line_is_a_part_of_it(tmp_path):
    write_list(tmp_path / "list.txt", [Video("", str(tmp_path / "a\rb.mp4"), None, None, (1,))])
    assert read_list(tmp_path / "list.txt")[0].path == str(tmp_path / "a\rb.mp4")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/l/gone.mp4", ""),
        ("/l/c0\\v0.mp4", " (the path contains backslashes: expected slashes between folders)"),
        ("/l/D:\\data\\v0.mp4", " (the path is one of Windows: expected a path of this system)"),
        ("/l/C:/data/v0.mp4", " (the path is one of Windows: expected a path of this system)"),
        ("/l/a\u200b.mp4", " (the path contains the invisible character U+200B)"),
        ("/l/a\u00a0b.mp4", " (the path contains the special blank U+00A0)"),
        ("/l/~/a.mp4", " (`~` has no meaning in a list: expected the whole path)"),
        ("/l/x.zip::a.mp4", " (only members of tar archives can be read)"),
        ('/l/"a.mp4"', " (nothing is quoted in a list: expected the path without quotation marks)"),
        ("/l/https:/x.org/a.mp4", " (a URL begins with https://)"),
    ],
)
def test_what_is_unusual_in_the_path_of_a_missing_file(path, hint):
    assert why_missing(path) == f"no such file or folder{hint}"


def test_a_missing_member_of_a_remote_archive():
    said = "the archive has no such member"
    assert why_missing("s3://b/x.tar::a.mp4", said) == said
    assert why_missing("s3://b/x.tar::a.mp4", "no such object") == "no such archive"
    assert why_missing("s3://b/a.mp4", "no such object") == "no such object"
    assert why_missing("s3://b/a.mp4", "no such bucket") == "no such bucket"
    assert why_missing("s3://b/x.ZIP::a.mp4") == "no such object (only members of tar archives can be read)"
