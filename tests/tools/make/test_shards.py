import errno
import json
import os
import shutil
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from numbered_videos import numbered, write
from range_server import RangeServer

from actrec.config import OptionError, PrepareOptions
from actrec.data import storage
from actrec.data.index import build_index, cache_path
from actrec.data.lists import read_list
from actrec.data.video.read import read_frames
from actrec.tools.lists.index import probe_list
from actrec.tools.lists.shards import make_shard_list
from actrec.tools.make import prepare as tool
from actrec.tools.make import shards as packing
from actrec.tools.make.jobs import Workers
from actrec.tools.make.prepare import prepare
from actrec.tools.make.shards import allot_members

FAST = {"short_side": 32, "preset": "ultrafast", "encoder": "cpu"}
NAMES = [f"{name}/{i}.mp4" for name in ("run", "walk") for i in range(6)]


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    return write(tmp_path_factory.mktemp("one") / "video.mp4", [numbered(i) for i in range(6)])


def run(src, dst, number=3, **more):
    return prepare(src, dst, PrepareOptions(**FAST, shards=number), sample=0, **more)


def rows(path):
    return path.read_text(encoding="utf-8").splitlines()


def tree(folder):
    """The files of a folder of results, with their content, but the records and the index."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".prepare_shards.json" and "index" not in path.name
    }


def content(shard):
    with tarfile.open(shard) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


# ---- what is written ----


def test_shards_of_both_lists(videos, tmp_path):
    src = videos(*NAMES)
    made = run(src, tmp_path)
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [
        "train-000000.tar", "train-000001.tar", "val-000000.tar",
    ]  # fmt: skip
    assert (made.done, made.shards, made.lists, made.failed) == (12, 3, {"train.txt": 10, "val.txt": 2}, ())
    plain = tmp_path / "plain"
    prepare(src, plain, PrepareOptions(**FAST), sample=0)
    members = {}
    for shard in sorted((tmp_path / "shards").iterdir()):
        found = content(shard)
        assert len(found) == 3 * 5 if shard.name.startswith("train") else 3 * 2
        assert [name.partition(".")[2] for name in found] == ["mp4", "cls", "json"] * (len(found) // 3)
        members |= {f"shards/{shard.name}::{name}": data for name, data in found.items()}
    for name in ("train.txt", "val.txt"):
        there = [row.rsplit(" ", 1) for row in rows(plain / name)]
        here = [row.rsplit(" ", 1) for row in sorted(rows(tmp_path / name), key=lambda row: row.partition("::")[2])]
        assert [(path.partition("::")[2], label) for path, label in here] == [
            (path.removeprefix("prepared/"), label) for path, label in there
        ]
        for (path, label), (original, _) in zip(here, there):
            stem = path.removesuffix(".mp4")
            assert members[path] == (plain / original).read_bytes()
            assert members[f"{stem}.cls"] == label.encode()
            assert json.loads(members[f"{stem}.json"]) == {"label": int(label), "class": ["run", "walk"][int(label)]}
    with tarfile.open(tmp_path / "shards/train-000000.tar") as tar:
        infos = {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in tar}
    assert infos == {(315532800, 0, 0, "", "", 0o644)}


def test_the_list_of_the_shards_is_the_same(videos, tmp_path):
    run(videos(*NAMES), tmp_path / "out")
    made = make_shard_list([str(tmp_path / "out/shards/train-{000000..000001}.tar")], tmp_path / "out/again.txt")
    assert rows(tmp_path / "out/again.txt") == rows(tmp_path / "out/train.txt")
    made = make_shard_list([str(tmp_path / "out/shards/train-*.tar")], tmp_path / "new/train.txt")
    assert (made.classes, made.problems) == (("run", "walk"), ())


def test_the_list_of_the_shards_has_the_videos_without_a_label(videos, tmp_path):
    src = videos("a/0.mp4", "a/1.mp4", "a/2.mp4")
    for name, lines in (("train", "0.mp4 1,0\n{}1.mp4 -\n"), ("test", "2.mp4\n")):
        (tmp_path / f"{name}.txt").write_text(f"{src}/a/" + lines.format(f"{src}/a/"))
    run([tmp_path / "train.txt", tmp_path / "test.txt"], tmp_path / "packed", number=2)
    for name, labels in (("train", {(1, 0), ()}), ("test", {()})):
        made = make_shard_list([f"{tmp_path}/packed/shards/{name}-*.tar"], tmp_path / f"again/{name}.txt")
        assert made.problems == ()
        assert {video.labels for video in read_list(tmp_path / f"again/{name}.txt")} == labels


def test_the_index_is_there_and_used(videos, tmp_path, monkeypatch):
    run(videos(*NAMES), tmp_path)
    monkeypatch.setattr("actrec.data.index.index.probe_path", lambda *_, **__: pytest.fail("it is probed again"))
    for name in ("train.txt", "val.txt"):
        path = tmp_path / name
        index = build_index(read_list(path), cache=cache_path(path))
        assert {index[i].frames for i in range(len(index))} == {6}
        assert not index.broken


def test_a_copy_of_the_folder_needs_no_new_index(videos, tmp_path, monkeypatch):
    run(videos(*NAMES), tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")  # with modification times, as cp -a
    shutil.rmtree(tmp_path / "out")
    for name in ("probe_path", "find_certificate"):
        monkeypatch.setattr(f"actrec.data.index.index.{name}", lambda *_, **__: pytest.fail("it is probed again"))
    path = tmp_path / "copy/train.txt"
    index = build_index(read_list(path), cache=cache_path(path))
    assert [index.certificate(i)[1] is not None for i in range(10)] == [True] * 10
    os.utime(tmp_path / "copy/shards/train-000000.tar", ns=(1, 1))
    monkeypatch.undo()
    index = build_index(read_list(path), cache=cache_path(path))
    assert [index[i].frames for i in range(10)] == [6] * 10


def test_the_same_bytes_with_any_number_of_workers(videos, tmp_path):
    src = videos(*NAMES)
    for workers in (1, 4):
        run(src, tmp_path / str(workers), workers=Workers(workers))
    assert tree(tmp_path / "1") == tree(tmp_path / "4")


def test_names_have_one_dot_and_several_labels_are_json(videos, tmp_path):
    src = videos("a/x.y.mp4", "a/x_y.mp4", "a.b/ü 1.mp4", "a/r.mp4")
    (tmp_path / "mine.txt").write_text(
        "videos/a/x.y.mp4 0,1\nvideos/a/x_y.mp4 1\nvideos/a.b/ü 1.mp4 -\nvideos/a/r.mp4 1\n"
    )
    run([tmp_path / "mine.txt"], tmp_path / "out", 1)
    found = content(tmp_path / "out/shards/mine-000000.tar")
    assert sorted(found) == ["a.b/ü 1.json", "a.b/ü 1.mp4", "a/r.cls", "a/r.mp4", "a/x_y.json", "a/x_y.mp4",
                             "a/x_y_mp4.cls", "a/x_y_mp4.mp4"]  # fmt: skip
    assert json.loads(found["a/x_y.json"]) == {"label": [0, 1]}
    assert json.loads(found["a.b/ü 1.json"]) == {"label": []}
    (tmp_path / "ranges.txt").write_text("videos/a/r.mp4 1 3 0\nvideos/a/r.mp4 4 6 1\nvideos/a/x_y.mp4 2 9 0\n")
    run([tmp_path / "ranges.txt"], tmp_path / "ranges", 2)
    lists = rows(tmp_path / "ranges/ranges.txt")
    assert sorted(row.split("::")[1] for row in lists) == ["a/r.mp4 1 3 0", "a/r.mp4 4 6 1", "a/x_y.mp4 2 9 0"]
    assert all(list(content(path)) in (["a/r.mp4"], ["a/x_y.mp4"]) for path in (tmp_path / "ranges/shards").iterdir())
    assert src.is_dir()


def test_numbers_of_shards(videos, tmp_path):
    src = videos(*NAMES)
    with pytest.raises(OptionError, match="shards 13: expected at most 12, the number of videos"):
        run(src, tmp_path, 13)
    with pytest.raises(OptionError, match="shards 1: expected at least 2, as each of the lists train, val has"):
        run(src, tmp_path, 1)
    with pytest.raises(OptionError, match="shards 0: expected from 1 to 999999"):
        run(src, tmp_path, 0)
    assert run(src, tmp_path, 12, dry_run=True) is None
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]
    assert run(src, tmp_path, 12).shards == 12
    with pytest.raises(ValueError, match="contains shards with other settings .shards was 12, now 3"):
        run(src, tmp_path, 3)
    with pytest.raises(ValueError, match="train.txt is the list of prepare --shards for"):
        prepare(src, tmp_path, PrepareOptions(**FAST), sample=0)


def test_foreign_shards_stay(videos, tmp_path):
    src = videos(*NAMES)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/train-000000.tar").write_text("mine")
    with pytest.raises(ValueError, match="contains shards with unknown settings: expected the same settings, or anot"):
        run(src, tmp_path)
    assert (tmp_path / "shards/train-000000.tar").read_text() == "mine"


@pytest.mark.parametrize("counts", [{"train": 100, "val": 10}, {"train": 7, "val": 7, "test": 1}, {"a": 1}])
def test_shards_have_equal_numbers_of_videos(counts):
    parts = {f"{part}{i}": part for part, count in counts.items() for i in range(count)}
    for number in range(len(counts), sum(counts.values()) + 1):
        places = allot_members([*parts], ["x"] * len(parts), {}, parts=parts, number=number)
        sizes = {}
        for name, place in places.items():
            assert place.startswith(f"{parts[name]}-")
            sizes[place.partition("::")[0]] = sizes.get(place.partition("::")[0], 0) + 1
        assert len(sizes) == number
        for part in counts:
            own = [size for shard, size in sizes.items() if shard.startswith(f"{part}-")]
            assert max(own) - min(own) <= 1


# ---- continuing ----


def test_few_prepared_videos_wait_for_slow_packing(videos, tmp_path, monkeypatch):
    """While a shard is packed, the worker prepares only the jobs that were handed out to it before."""
    src = videos(*NAMES)
    real_prepare, real_pack, prepared, staged = tool.prepare_video, packing.Shards.pack, threading.Semaphore(0), []

    def prepare_one(*args, **more):
        found = real_prepare(*args, **more)
        prepared.release()
        return found

    def slow(self, shard):
        while prepared.acquire(timeout=0.2):  # until the worker has nothing to do; if it is slow, it prepares less
            pass
        staged.append(sum(path.is_file() for path in (tmp_path / "shards/.videos").rglob("*.mp4")))
        return real_pack(self, shard)

    monkeypatch.setattr(tool, "prepare_video", prepare_one)
    monkeypatch.setattr(packing.Shards, "pack", slow)
    run(src, tmp_path, 4, workers=Workers(1))
    assert len(staged) == 4
    assert max(staged) <= 4 + 3  # the largest shard, and what else was handed out when its last video ended


def test_continues_after_an_interrupt(videos, tmp_path, monkeypatch):
    src = videos(*NAMES)
    run(src, tmp_path / "right", 4)
    real, prepared = tool.prepare_video, []

    def limited(path, *args, **more):
        if len(prepared) == 8:
            raise KeyboardInterrupt
        prepared.append(path)
        return real(path, *args, **more)

    monkeypatch.setattr(tool, "prepare_video", limited)
    with pytest.raises(KeyboardInterrupt):
        run(src, tmp_path / "out", 4, workers=Workers(1))
    shards = {path.name: path.stat() for path in (tmp_path / "out/shards").glob("*.tar")}
    assert len(shards) == 2
    monkeypatch.setattr(tool, "prepare_video", real)
    made = run(src, tmp_path / "out", 4)
    assert (made.done, made.skipped) == (4, 8)
    for name, before in shards.items():  # finished shards are not written again
        after = (tmp_path / "out/shards" / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert tree(tmp_path / "out") == tree(tmp_path / "right")
    made = run(src, tmp_path / "out", 4)
    assert (made.done, made.skipped, made.shards) == (0, 12, 4)
    assert tree(tmp_path / "out") == tree(tmp_path / "right")


def test_failures_are_named_and_tried_again(videos, tmp_path, monkeypatch):
    src = videos(*NAMES)
    run(src, tmp_path / "right")
    real = tool.prepare_video

    def failing(path, *args, **more):
        if path == src / "run/3.mp4":
            raise ValueError("no luck")
        return real(path, *args, **more)

    monkeypatch.setattr(tool, "prepare_video", failing)
    made = run(src, tmp_path / "out")
    assert made.failed == ((str(src / "run/3.mp4"), "no luck"),)
    assert sum(made.lists.values()) == 11
    assert sum(name.endswith(".mp4") for path in (tmp_path / "out/shards").iterdir() for name in content(path)) == 11
    monkeypatch.setattr(tool, "prepare_video", real)
    made = run(src, tmp_path / "out")
    assert (made.done, made.failed) == (1, ())
    assert tree(tmp_path / "out") == tree(tmp_path / "right")


def test_new_videos_new_labels_and_lost_originals(videos, tmp_path):
    src = videos(*NAMES)
    run(src, tmp_path / "out")
    before = {name: place for name, place in _places(tmp_path / "out").items()}
    os.link(src / "run/1.mp4", src / "run/new.mp4")
    (src / "dance").mkdir()
    for i in range(3):
        os.link(src / "run/1.mp4", src / f"dance/{i}.mp4")
    for i in range(4):
        (src / f"walk/{i}.mp4").unlink()
    made = run(src, tmp_path / "out")
    assert (made.done, made.failed) == (4, ())
    after = _places(tmp_path / "out")
    assert {name: after[name] for name in before} == before  # all stay where they are, even without original
    assert len(after) == 16
    shards = [content(path) for path in (tmp_path / "out/shards").iterdir()]
    labels = {name: data for shard in shards for name, data in shard.items() if name.endswith(".cls")}
    assert labels["run/1.cls"] == b"1"  # after dance
    assert labels["dance/1.cls"] == b"0"
    assert {row.rsplit(" ")[-1] for row in rows(tmp_path / "out/train.txt")} == {"0", "1", "2"}


def _places(folder):
    return {name: path.name for path in (folder / "shards").iterdir() for name in content(path) if name[-4:] == ".mp4"}


def test_a_damaged_shard_is_made_again(videos, tmp_path):
    src = videos(*NAMES)
    run(src, tmp_path)
    right = tree(tmp_path)
    shard = tmp_path / "shards/train-000001.tar"
    os.truncate(shard, 5000)
    made = run(src, tmp_path)
    assert made.done in (4, 5)  # those that were cut off
    assert made.skipped == 12 - made.done
    assert tree(tmp_path) == right


def test_a_full_disk(videos, tmp_path, monkeypatch):
    src = videos(*NAMES)
    run(src, tmp_path / "right")
    real = packing._write_tar

    def full(path: Path, *args):
        real(path, *args)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))

    monkeypatch.setattr(packing, "_write_tar", full)
    with pytest.raises(OSError, match="cannot be written .No space left on device") as caught:
        run(src, tmp_path / "out")
    assert caught.value.filename.endswith(".tar")
    assert not list((tmp_path / "out/shards").glob("*.tar"))
    monkeypatch.setattr(packing, "_write_tar", real)
    assert run(src, tmp_path / "out").failed == ()
    assert tree(tmp_path / "out") == tree(tmp_path / "right")


def test_all_videos_of_a_shard_fail(videos, tmp_path, monkeypatch):
    src = videos(*NAMES[:6])
    monkeypatch.setattr(tool, "prepare_video", _fail)
    made = run(src, tmp_path / "out", 2)
    assert (made.shards, len(made.failed), made.lists) == (0, 6, {"train.txt": 0, "val.txt": 0})
    assert "2 shards not written: none of its videos could be prepared" in made.messages


def _fail(*_, **__):
    raise ValueError("no luck")


# ---- in another place ----


def test_the_index_of_uploaded_shards_fetches_no_video(videos, tmp_path, monkeypatch):
    src = videos(*NAMES)
    run(src, tmp_path / "out")
    shards = {path.name: path.read_bytes() for path in (tmp_path / "out/shards").iterdir()}
    storage.configure(tmp_path / "cache", 1 << 30)
    try:
        with RangeServer({f"k400/{name}": data for name, data in shards.items()}) as server:
            new = tmp_path / "new/train.txt"
            make_shard_list([server.url("k400/") + "train-00000{0..1}.tar"], new)
            before = server.sent
            with monkeypatch.context() as patch:
                patch.setattr("actrec.data.index.index.probe_path", lambda *_, **__: pytest.fail("it is probed"))
                index = probe_list(new, Workers(2), original=tmp_path / "out/train.txt")
            assert server.sent - before < sum(map(len, shards.values())) / 2
            index = build_index(read_list(new), cache=cache_path(new))
            local = build_index(read_list(tmp_path / "out/train.txt"), cache=cache_path(tmp_path / "out/train.txt"))
            names = {video.path.partition("::")[2]: i for i, video in enumerate(read_list(tmp_path / "out/train.txt"))}
            for i, video in enumerate(read_list(new)):
                there = local[names[video.path.partition("::")[2]]]
                assert (index[i].frames, index[i].width, index[i].gop) == (there.frames, there.width, there.gop)
                _, certificate = index.certificate(i)
                pictures, wanted = [], []
                read_frames(video.path, [1, 4], lambda _, rgb, to=pictures: to.append(rgb.copy()), certificate)
                read_frames(there.path, [1, 4], lambda _, rgb, to=wanted: to.append(rgb.copy()))
                assert np.array_equal(pictures, wanted)
            # A video of the same name and size with another header is not taken for the same.
            other = bytearray(shards["train-000000.tar"])
            other[520] ^= 1  # in the header of its first video
            server.objects["k400/train-000000.tar"] = bytes(other)
            storage.configure(tmp_path / "other cache", 1 << 30)
            cache_path(new).unlink()
            again = probe_list(new, Workers(2), original=tmp_path / "out/train.txt", log=(said := []).append)
            assert said == [f"{new}: the records of 9 videos were copied from the index of {tmp_path}/out/train.txt"]
            assert len(again) == 10
    finally:
        storage.configure(None, 1 << 30)
