import csv
import gzip
import os

import pytest
from range_server import RangeServer
from s3_server import serve_bucket
from shard_files import write_shard

from actrec.config import OptionError, ShardOptions
from actrec.data import storage
from actrec.data.lists import read_list
from actrec.data.storage import remote
from actrec.tools.lists import shards
from actrec.tools.lists.shards import make_shard_list, missing_path

VIDEO = b"v" * 2000


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(remote, "_LONGEST_PAUSE", 0.01)
    storage.configure(tmp_path.with_name(f"{tmp_path.name} cache"), 1 << 30)
    yield tmp_path
    storage.configure(None, 1 << 30)


def rows(path):
    return path.read_text(encoding="utf-8").splitlines()


def problems(out):
    with open(missing_path(out), newline="", encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def test_rows_in_the_order_of_shards_and_members(here):
    write_shard(here / "shards/t-1.tar", {"b.mp4": VIDEO, "b.cls": "4", "a.cls": "0", "a.mp4": VIDEO})
    write_shard(here / "shards/t-0.tar", {"sub dir/ü 1.webm": VIDEO, "sub dir/ü 1.cls": "2\n", "c.json": '{"label": 1}',
                                          "c.mkv": VIDEO, "./d.MP4": VIDEO, "./d.cls": "3", "._a.mp4": "note",
                                          "__meta__": "x"})  # fmt: skip
    out = here / "train.txt"
    made = make_shard_list(["shards/t-{0..1}.tar"], out)
    assert rows(out) == [
        "shards/t-0.tar::sub dir/ü 1.webm 2", "shards/t-0.tar::c.mkv 1", "shards/t-0.tar::d.MP4 3",
        "shards/t-1.tar::b.mp4 4", "shards/t-1.tar::a.mp4 0",
    ]  # fmt: skip
    assert (made.rows, made.shards, made.classes, made.problems, made.notes) == (5, 2, (), (), ())
    assert [video.labels for video in read_list(out)] == [(2,), (1,), (3,), (4,), (0,)]
    assert sorted(path.name for path in here.iterdir()) == ["shards", "train.txt"]
    make_shard_list([str(here / "shards/t-1.tar")], here / "lists/one.txt")
    assert rows(here / "lists/one.txt")[0] == f"{here}/shards/t-1.tar::b.mp4 4"


def test_class_names(here):
    write_shard(here / "t.tar", {"a.mp4": VIDEO, "a.cls": "walk", "b.mp4": VIDEO, "b.json": '{"category": "shake it"}'})
    made = make_shard_list(["t.tar"], here / "train.txt")
    assert (rows(here / "labels.txt"), rows(here / "train.txt")) == (
        ["shake it", "walk"], ["t.tar::a.mp4 1", "t.tar::b.mp4 0"],
    )  # fmt: skip
    assert (made.classes, made.labels) == (("shake it", "walk"), here / "labels.txt")
    write_shard(here / "v.tar", {"c.mp4": VIDEO, "c.cls": "walk", "d.mp4": VIDEO, "d.cls": "wallk"})
    made = make_shard_list(["v.tar"], here / "val.txt")
    assert (rows(here / "labels.txt"), rows(here / "val.txt")) == (["shake it", "walk"], ["v.tar::c.mp4 1"])
    assert problems(here / "val.txt") == [
        ("bad label", "v.tar::d.mp4", f"unknown class 'wallk': did you mean walk? (classes of {here}/labels.txt)"),
    ]  # fmt: skip


def test_names_with_numbers(here):
    """The numbers that samples state decide, and a sample that contradicts most others is left out."""
    write_shard(here / "t.tar", [
        *((f"{i}.{suffix}", text) for i in range(3) for suffix, text in (("mp4", VIDEO), ("cls", "1"),
                                                                        ("json", '{"class": "run"}'))),
        ("x.mp4", VIDEO), ("x.json", '{"class": "walk", "label_id": 0}'), ("y.mp4", VIDEO), ("y.json", '"walk"'),
        ("z.mp4", VIDEO), ("z.json", '{"class": "run", "label": 0}'),
    ])  # fmt: skip
    make_shard_list(["t.tar"], here / "train.txt")
    assert rows(here / "labels.txt") == ["walk", "run"]
    assert [row.split()[1] for row in rows(here / "train.txt")] == ["1", "1", "1", "0", "0"]
    (found,) = problems(here / "train.txt")
    assert found[:2] == ("bad label", "t.tar::z.mp4")
    assert "contradicting labels: it says 0, but 'run' is 1 in other samples" in found[2]


def test_contradictions_are_found_if_a_number_has_no_name(here):
    """Labels that count from 1, or a class without a sample, are no reason to drop the names or the check."""

    def shard(name, *labels):
        members = {}
        for i, (number, text) in enumerate(labels):
            members |= {f"{i}.mp4": VIDEO, f"{i}.cls": number, f"{i}.json": f'{{"label": "{text}"}}'}
        write_shard(here / name, members)

    shard("t.tar", ("1", "dog"), ("1", "dog"), ("2", "dog"), ("1", "cat"), ("3", "cow"))
    made = make_shard_list(["t.tar"], here / "train.txt")
    assert rows(here / "labels.txt") == ["0", "dog", "2", "cow"]
    assert [row.split()[1] for row in rows(here / "train.txt")] == ["1", "1", "3"]
    assert [reason for _, _, reason in made.problems] == [
        "contradicting labels: it says 2, but 'dog' is 1 in other samples",
        "contradicting labels: it says 1 and 'cat', but 1 is 'dog' in other samples",
    ]
    assert made.notes == ("2 labels without a name, such as 0: labels.txt has the number in place of the name",)
    shard("v.tar", ("1", "dog"), ("2", "dog"))
    made = make_shard_list(["v.tar"], here / "val.txt")
    assert [reason for _, _, reason in made.problems] == [
        f"contradicting labels: it says 2, but 'dog' is 1 (classes of {here}/labels.txt)"
    ]
    shard("many.tar", ("1000000", "dog"), ("1", "cat"), ("2", "cat"))
    made = make_shard_list(["many.tar"], here / "many/train.txt")
    assert (made.rows, made.classes, len(made.problems)) == (2, (), 1)
    assert made.notes[0].startswith("no class names are written: labels go up to 1,000,000, but only 2 have a name")
    write_shard(here / "some.tar", {"a.mp4": VIDEO, "a.cls": "0", "a.json": '"dog"', "b.mp4": VIDEO, "b.cls": "cow"})
    made = make_shard_list(["some.tar"], here / "some/train.txt")
    assert [reason for _, _, reason in made.problems] == [
        "class 'cow': no sample states its number, but others state numbers"
    ]


def test_options_and_urls_that_cannot_be(here):
    with pytest.raises(OptionError, match="field 'x' with label cls: only a .json member has fields"):
        ShardOptions(label="cls", field="x")
    with pytest.raises(ValueError, match=r"val-\*.tar: \* stands for names only in local paths; expected braces"):
        make_shard_list(["s3://b/val-*.tar"], here / "train.txt")


def test_several_labels(here):
    write_shard(here / "t.tar", {"a.mp4": VIDEO, "a.json": '{"labels": [2, 0]}', "b.mp4": VIDEO,
                                 "b.json": '{"labels": []}', "c.mp4": VIDEO, "c.json": '{"labels": [1]}'})  # fmt: skip
    made = make_shard_list(["t.tar"], here / "train.txt")
    assert rows(here / "train.txt") == ["t.tar::a.mp4 2,0", "t.tar::b.mp4 -", "t.tar::c.mp4 1"]
    assert not made.problems
    assert [video.labels for video in read_list(here / "train.txt")] == [(2, 0), (), (1,)]


def test_where_labels_are(here):
    write_shard(here / "t.tar", {"walk/a.mp4": VIDEO, "walk/a.txt": "7", "run/b.mp4": VIDEO, "run/b.txt": "5"})
    made = make_shard_list(["t.tar"], here / "plain.txt")
    assert rows(here / "plain.txt") == ["t.tar::walk/a.mp4", "t.tar::run/b.mp4"]
    assert made.notes == (
        "no sample has a label, so the list has only paths. If the labels are elsewhere, pass --label",
    )
    make_shard_list(["t.tar"], here / "txt.txt", ShardOptions(label="txt"))
    assert rows(here / "txt.txt") == ["t.tar::walk/a.mp4 7", "t.tar::run/b.mp4 5"]
    make_shard_list(["t.tar"], here / "folders/train.txt", ShardOptions(label="folder"))
    assert rows(here / "folders/train.txt") == [f"{here}/t.tar::walk/a.mp4 1", f"{here}/t.tar::run/b.mp4 0"]
    assert rows(here / "folders/labels.txt") == ["run", "walk"]


def test_what_cannot_be_used_is_named(here):
    good = write_shard(here / "t-0.tar", {
        "a.mp4": VIDEO, "a.cls": "1", "b.mp4": VIDEO, "b.webm": VIDEO, "b.cls": "1", "c.cls": "1", "d.mp4": VIDEO,
        "e.mp4": VIDEO, "e.cls": "-1", "f.mp4": VIDEO, "f.cls": "1", "f.json": '{"label": 2}', "g\nx.mp4": VIDEO,
        "g\nx.cls": "1",
    })  # fmt: skip
    write_shard(here / "t-1.tar", {})
    (here / "t-2.tar").write_bytes(gzip.compress(good.read_bytes()))
    cut = write_shard(here / "t-3.tar", {f"{i}.{end}": text for i in range(3) for end, text in
                                         (("cls", str(i)), ("mp4", VIDEO))})  # fmt: skip
    os.truncate(cut, 3 * 512 + 2048 + 3 * 512 + 1000)  # in the second video
    (here / "t-4.tar").write_text("this is no tar file\n" * 100)
    (here / "t-5.tar").touch()
    (here / "t-7.tar.gz").write_bytes(gzip.compress(good.read_bytes()))
    made = make_shard_list(["t-{0..6}.tar", "t-7.tar.gz"], here / "train.txt")
    assert rows(here / "train.txt") == ["t-0.tar::a.mp4 1", "t-3.tar::0.mp4 0"]
    found = {path: (kind, reason) for kind, path, reason in problems(here / "train.txt")}
    assert len(found) == len(made.problems) == 15
    assert found["t-0.tar::b"] == (
        "ambiguous",
        "the sample has 2 videos, .mp4 and .webm: choose one with --video",
    )
    assert found["t-0.tar::c"] == ("no video", "the sample has no video, only .cls")
    assert found["t-0.tar::d.mp4"] == ("no label", "the sample has no label, but others have one")
    assert found["t-0.tar::e"] == ("bad label", ".cls: label -1: expected 0 or more")
    assert found["t-0.tar::f"][0] == "bad label"
    assert found["t-0.tar::g\\nx.mp4"] == ("bad name", "its path contains a line break")
    assert found["t-1.tar"] == ("empty", "the shard is empty")
    assert "compressed" in found["t-2.tar"][1]
    assert [found[f"t-{i}.tar"][0] for i in (2, 4, 5)] == ["unreadable"] * 3
    assert found["t-3.tar"][0] == "damaged"
    assert "cut off" in found["t-3.tar"][1]
    assert found["t-3.tar::1.mp4"] == ("unreadable", "the archive is cut off within this member")
    assert found["t-3.tar::1"] == ("no video", "the sample has no video, only .cls")
    assert found["t-6.tar"] == ("missing", "no such file")
    assert found["t-7.tar.gz"] == (
        "unreadable", "compressed: members cannot be read one by one; expected a plain .tar",
    )  # fmt: skip
    made = make_shard_list(["t-0.tar"], here / "webm.txt", ShardOptions(video="webm"))
    assert rows(here / "webm.txt") == ["t-0.tar::b.webm 1"]


def test_names_that_occur_twice(here):
    write_shard(here / "t-0.tar", [("a.mp4", VIDEO), ("a.cls", "1"), ("b.mp4", VIDEO), ("b.cls", "0"),
                                   ("a.mp4", b"other")])  # fmt: skip
    write_shard(here / "t-1.tar", {"b.mp4": VIDEO, "b.cls": "0"})
    made = make_shard_list(["t-{0,1}.tar"], here / "train.txt")
    assert rows(here / "train.txt") == ["t-0.tar::b.mp4 0", "t-1.tar::b.mp4 0"]
    assert problems(here / "train.txt") == [("twice", "t-0.tar::a.mp4", "the shard has two members of this name")]
    assert made.notes == ("1 key in several shards, such as 'b': each sample is a row",)


def test_mixed_numbers_and_names(here):
    write_shard(here / "t.tar", {"a.mp4": VIDEO, "a.cls": "1", "b.mp4": VIDEO, "b.cls": "walk"})
    with pytest.raises(
        ValueError, match="labels are numbers in 1 sample and names in others, such as 'walk': expected"
    ):
        make_shard_list(["t.tar"], here / "train.txt")
    (here / "labels.txt").write_text("run\nwalk\n")
    make_shard_list(["t.tar"], here / "train.txt")
    assert rows(here / "train.txt") == ["t.tar::a.mp4 1", "t.tar::b.mp4 1"]


def test_lists_that_exist_and_nothing_usable(here):
    write_shard(here / "t.tar", {"a.mp4": VIDEO, "a.cls": "1"})
    write_shard(here / "u.tar", {"a.cls": "1"})
    (here / "train.txt").write_text("mine.mp4 1\n")
    with pytest.raises(ValueError, match="train.txt exists already: expected another name, or --force to replace it"):
        make_shard_list(["t.tar"], here / "train.txt")
    with pytest.raises(FileNotFoundError, match=r"x-0.tar: no such file \(2 more are missing\): expected tar archives"):
        make_shard_list(["x-{0..2}.tar"], here / "new.txt")
    with pytest.raises(
        ValueError, match="no sample of 1 shard can be used; the first: u.tar::a: the sample has no vid"
    ):
        make_shard_list(["u.tar"], here / "new.txt")
    assert not (here / "new.txt").exists()
    assert rows(here / "train.txt") == ["mine.mp4 1"]
    make_shard_list(["t.tar", "u.tar"], here / "train.txt", force=True)
    assert missing_path(here / "train.txt").exists()
    make_shard_list(["t.tar"], here / "train.txt", force=True)
    assert not missing_path(here / "train.txt").exists()  # it was about the list before


# ---- shards at URLs ----


def test_of_shards_at_urls_only_headers_and_labels_are_fetched(here):
    size = 300_000
    members = {f"{i}.{end}": text for i in range(6) for end, text in (("mp4", b"v" * size), ("cls", str(i)))}
    objects = {f"k400/t-{i}.tar": write_shard(here / "t.tar", members).read_bytes() for i in (0, 2)}
    with RangeServer(objects, failures=0.1) as server:
        top = server.url("k400/")
        made = make_shard_list([f"{top}t-{{0..2}}.tar"], here / "train.txt")
        assert rows(here / "train.txt") == [f"{top}t-{shard}.tar::{i}.mp4 {i}" for shard in (0, 2) for i in range(6)]
        assert made.problems == (("missing", f"{top}t-1.tar", "no such object"),)
        assert server.sent < 2 * 6 * size / 10
    assert [video.path for video in read_list(here / "train.txt")][0] == f"{top}t-0.tar::0.mp4"
    for url in ("s3://me:secret@bucket/t-{0..1}.tar", "https://host/t.tar?X-Amz-Signature=secret"):
        with pytest.raises(ValueError, match="not supported") as caught:
            make_shard_list([url], here / "new.txt")
        assert "secret" not in str(caught.value)


def test_a_bucket_that_does_not_exist(here):
    said = "^no sample of 1 shard can be used; the first: s3://other/t.tar: no such bucket"
    with serve_bucket("k400", {}), pytest.raises(ValueError, match=said):
        make_shard_list(["s3://other/t.tar"], here / "train.txt")


def test_a_server_that_does_not_answer(here, monkeypatch):
    monkeypatch.setattr(remote, "_PATIENCE_UNKNOWN", 0.1)
    with pytest.raises(ValueError, match=r"no sample of 1 shard can be used; the first: http://127.0.0.1:9/t.tar: the"):
        make_shard_list(["http://127.0.0.1:9/t.tar"], here / "train.txt")


def test_two_commands_at_once_do_not_number_classes_differently(here, monkeypatch):
    write_shard(here / "t.tar", {"a.mp4": VIDEO, "a.cls": "walk", "b.mp4": VIDEO, "b.cls": "run"})
    write_shard(here / "v.tar", {"a.mp4": VIDEO, "a.cls": "walk"})

    real = shards._labeled

    def meanwhile(*arguments):
        monkeypatch.setattr(shards, "_labeled", real)
        make_shard_list(["v.tar"], here / "val.txt")
        return real(*arguments)

    monkeypatch.setattr(shards, "_labeled", meanwhile)
    with pytest.raises(ValueError, match="another process"):
        make_shard_list(["t.tar"], here / "train.txt")
    assert rows(here / "labels.txt") == ["walk"]
    assert sorted(path.name for path in here.iterdir()) == ["labels.txt", "t.tar", "v.tar", "val.txt"]


def test_a_shard_under_several_names_counts_once(here):
    write_shard(here / "t-0.tar", {"a.mp4": VIDEO, "a.cls": "1"})
    made = make_shard_list(["t-*.tar", "./t-0.tar", "t-{0..0}.tar", str(here / "t-0.tar")], here / "train.txt")
    assert (made.rows, made.shards, made.notes) == (1, 1, ())


def test_a_field_that_no_sample_has(here):
    write_shard(here / "t.tar", {"a.mp4": VIDEO, "a.json": '{"label": 1}'})
    with pytest.raises(OptionError, match="lable"):
        make_shard_list(["t.tar"], here / "train.txt", ShardOptions(field="lable"))
    assert not (here / "train.txt").exists()
