"""Videos in archives and at URLs give the same frames, prepared videos and flow as local files."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from numbered_videos import numbered, write
from range_server import RangeServer
from s3_server import serve_bucket

from actrec.config import ExtractOptions, FlowOptions, PrepareOptions, SplitOptions
from actrec.data import storage
from actrec.data.lists import read_list
from actrec.data.storage import remote
from actrec.tools.lists.from_folders import make_folder_lists
from actrec.tools.make.extract_flow import extract_flow
from actrec.tools.make.extract_frames import extract_frames
from actrec.tools.make.prepare import prepare
from actrec.tools.make.source import Source, class_of_path

NAMES = [f"{name}/{i}.mp4" for name in ("run", "walk") for i in range(3)]
FRAMES, FAST = ExtractOptions(short_side=32), PrepareOptions(short_side=32, preset="ultrafast", encoder="cpu")
HALF = SplitOptions(val_fraction=0.4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("originals") / "videos"
    for i, name in enumerate(NAMES):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write(root / name, [numbered(n + 20 * i) for n in range(4 + i)])
    with tarfile.open(root.parent / "all.tar", "w") as archive:
        for name in NAMES:
            archive.add(root / name, f"./{name}")
        archive.add(__file__, "readme.txt")
    return root


@pytest.fixture(scope="module")
def bucket(folder):
    """The URL of a bucket of S3 on loopback, with the videos in `k400/` and the archive."""
    objects = {f"k400/{name}": (folder / name).read_bytes() for name in NAMES}
    archive = (folder.parent / "all.tar").read_bytes()
    with serve_bucket("videos", {**objects, "k400/notes.txt": b"text", "all.tar": archive}):
        yield "s3://videos"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(remote, "_LONGEST_PAUSE", 0.01)
    storage.configure(tmp_path / "cache", 1 << 30)
    yield
    storage.configure(None, 1 << 30)


@pytest.fixture(scope="module")
def right(folder, tmp_path_factory):
    """What the local files give: {name of a file: content}."""
    out = tmp_path_factory.mktemp("right")
    extract_frames(folder, out / "frames", FRAMES, split=HALF)
    prepare(folder, out / "prepared", FAST, split=HALF, sample=0)
    return {name: tree(out / name) for name in ("frames", "prepared")}


def tree(root):
    """Every file but the records, which have paths of the videos, and the index, which has the times of files."""
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in files.items()
        if not path.name.startswith(".") and ".index." not in path.name
    }


# ---- whole folders and archives ----


@pytest.mark.parametrize("where", ["archive", "folder at a URL", "archive at a URL"])
def test_a_source_in_place_of_a_folder(folder, right, bucket, tmp_path, where):
    src = {"archive": folder.parent / "all.tar", "folder at a URL": f"{bucket}/k400/"}.get(where, f"{bucket}/all.tar")
    made = extract_frames(src, tmp_path / "frames", FRAMES, split=HALF)
    assert made.failed == ()
    assert "ignored files that are not videos: 1 .txt" in made.messages
    assert tree(tmp_path / "frames") == right["frames"]
    made = prepare(src, tmp_path / "prepared", FAST, split=HALF, sample=1)
    assert made.failed == ()
    assert tree(tmp_path / "prepared") == right["prepared"]
    made = prepare(src, tmp_path / "prepared", FAST, split=HALF, sample=0)
    assert (made.done, made.skipped) == (0, 6)
    assert extract_frames(src, tmp_path / "frames", FRAMES, split=HALF).skipped == 6
    made = prepare(src, tmp_path / "packed", PrepareOptions(short_side=32, preset="ultrafast", encoder="cpu", shards=2),
                   split=HALF, sample=0)  # fmt: skip
    assert (made.shards, made.failed) == (2, ())


def test_sources_that_cannot_be_used(bucket, folder, tmp_path):
    for src, kind, words in (
        (f"{bucket}/none/", FileNotFoundError, "no such folder"),
        ("s3://nobucket/", FileNotFoundError, "no such"),
        ("https://127.0.0.1:9/videos/", ValueError, "a web server does not list its files"),
        ("s3://me:secret@videos/k400/", ValueError, "a user or a password in a URL is not supported"),
        (tmp_path / "none.tar", FileNotFoundError, "none.tar: no such folder: expected a folder of videos"),
    ):
        with pytest.raises(kind, match=words) as caught:
            prepare(src, tmp_path / "out", FAST, sample=0)
        assert "secret" not in str(caught.value)
    (tmp_path / "text.tar").write_text("text " * 300)
    with pytest.raises(ValueError, match="not a tar archive"):
        extract_frames(tmp_path / "text.tar", tmp_path / "out", FRAMES)
    whole = folder.parent / "all.tar"
    (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[: _second_member(whole)])
    for make in (make_folder_lists, lambda src, dst: extract_frames(src, dst, FRAMES),
                 lambda src, dst: prepare(src, dst, FAST, sample=0)):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"cut\.tar: the archive can be read up to its end at byte .*: expected a complete"
        ):
            make(tmp_path / "cut.tar", tmp_path / "out")
    with tarfile.open(tmp_path / "flat.tar", "w") as archive:
        archive.add(folder / NAMES[0], "a.mp4")
    with pytest.raises(ValueError, match=r"flat\.tar::a\.mp4 is in no class folder: expected .*flat\.tar::<class>/"):
        make_folder_lists(tmp_path / "flat.tar", tmp_path / "out")
    with pytest.raises(ValueError, match="in no class folder.*`actrec lists shards` makes a list of its labels"):
        extract_frames(tmp_path / "flat.tar", tmp_path / "out", FRAMES)
    assert not (tmp_path / "out").exists()


def _second_member(path: Path) -> int:
    """Where the second member of an archive begins."""
    with tarfile.open(path) as archive:
        return archive.getmembers()[1].offset


def test_split_lists_of_an_archive(folder, tmp_path):
    """Lists in DST decide the split, as for a folder. They name members."""
    shutil.copy(folder.parent / "all.tar", tmp_path / "all.tar")
    (tmp_path / "train.txt").write_text(
        "all.tar::run/1.mp4 1 3 0\nall.tar::walk/2.mp4 2 4 1\nall.tar::none.mp4 1 2 0\n"
    )
    (tmp_path / "val.txt").write_text("all.tar::run/0.mp4 1 9 0\n")
    made = extract_frames(tmp_path / "all.tar", tmp_path, FRAMES)
    assert (tmp_path / "train.txt").read_text() == "frames/run/1 1 3 0\nframes/walk/2 2 4 1\n"
    assert (tmp_path / "val.txt").read_text() == "frames/run/0 1 4 0\n"
    assert (made.done, len(made.failed)) == (6, 0)


def test_lists_of_class_folders(folder, bucket, tmp_path):
    made = make_folder_lists(folder, tmp_path / "local", HALF)
    local = [(path.name, path.read_text()) for path in sorted((tmp_path / "local").iterdir())]
    for src, prefix in ((f"{bucket}/k400/", f"{bucket}/k400/"), (f"{bucket}/all.tar", f"{bucket}/all.tar::"),
                        (folder.parent / "all.tar", f"{folder.parent}/all.tar::")):  # fmt: skip
        out = tmp_path / prefix.replace("/", "_")
        assert make_folder_lists(src, out, HALF).lists == made.lists
        found = [(path.name, path.read_text()) for path in sorted(out.iterdir())]
        assert found == [(name, text.replace(f"{folder}/", prefix)) for name, text in local]


# ---- lists ----


def test_lists_with_members_and_urls(folder, right, bucket, tmp_path):
    shutil.copy(folder.parent / "all.tar", tmp_path / "all.tar")
    lines = [f"all.tar::{NAMES[0]} 0", f"{bucket}/all.tar::{NAMES[1]} 0", f"{bucket}/k400/{NAMES[2]} 0",
             f"{folder / NAMES[3]} 1", f"{bucket}/k400/none/x.mp4 1", "all.tar::none.mp4 1",
             f"{tmp_path}/none.tar::a.mp4 1"]  # fmt: skip
    (tmp_path / "mine.txt").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "labels.txt").write_text("run\nwalk\n")
    for tool, name, suffix in ((extract_frames, "frames", ""), (prepare, "prepared", ".mp4")):
        out = tmp_path / name
        more = {"sample": 0} if tool is prepare else {}
        made = tool([tmp_path / "mine.txt"], out, FRAMES if tool is extract_frames else FAST, **more)
        wanted = [f"{name}/{video.removesuffix('.mp4')}{suffix} {int(i > 2)}" for i, video in enumerate(NAMES[:4])]
        if tool is extract_frames:
            wanted = [line.rsplit(" ", 1)[0] + f" 1 {4 + i} {line[-1]}" for i, line in enumerate(wanted)]
        assert (out / "mine.txt").read_text().splitlines() == wanted
        if tool is prepare:
            assert made.before == sum((folder / video).stat().st_size for video in NAMES[:4])
        found = {os.path.basename(path): reason for path, reason in made.failed}
        assert found == {
            "x.mp4": "missing: no such object",
            "all.tar::none.mp4": "missing: no such archive, or no such member in it",
            "none.tar::a.mp4": "missing: mine.txt lists it, but the file does not exist",
        }
        for one, data in tree(out / name).items():
            assert data == right[name][f"{name}/{one}"]


def test_names_of_several_shards_do_not_collide(folder, tmp_path):
    for shard in ("a", "b"):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            archive.add(folder / NAMES[0], "1.mp4")
            archive.add(folder / NAMES[1], "walk/1.mp4")
    rows = [f"{shard}.tar::{member} 0\n" for shard in "ab" for member in ("1.mp4", "walk/1.mp4")]
    (tmp_path / "mine.txt").write_text("".join(rows))
    made = prepare([tmp_path / "mine.txt"], tmp_path / "out", FAST, sample=0)
    assert made.failed == ()
    paths = [video.path for video in read_list(tmp_path / "out/mine.txt")]
    assert [os.path.relpath(path, tmp_path / "out/prepared") for path in paths][:3] == [
        "a/1.mp4", "walk/1.mp4", "b/1.mp4",
    ]  # fmt: skip
    assert len(set(paths)) == 4
    assert all(os.path.isfile(path) for path in paths)
    for path, class_name in {"s3://b/x/walk/1.mp4": "walk", "/d/a.tar::walk/1.mp4": "walk", "/d/a.tar::1.mp4": "a",
                             "/d/run/1.mp4": "run", "/d/%C3%BC/1.mp4": "%C3%BC", "s3://b/%C3%BC/1.mp4": "%C3%BC",
                             "https://h/%C3%BC/1.mp4": "ü", "http://h/x.tar::%C3%BC/1.mp4": "%C3%BC",
                             "http://h/%C3%BC.tar::1.mp4": "ü"}.items():  # fmt: skip
        assert class_of_path(path) == class_name


def test_flow(folder, bucket, tmp_path):
    shutil.copy(folder.parent / "all.tar", tmp_path / "all.tar")
    shutil.copy(folder / NAMES[0], tmp_path / "a.mp4")
    (tmp_path / "train.txt").write_text(
        f"a.mp4 0\nall.tar::{NAMES[0]} 0\n{bucket}/k400/{NAMES[0]} 0\n{bucket}/all.tar::{NAMES[0]} 0\n"
    )
    made = extract_flow([tmp_path / "train.txt"], FlowOptions(preset="ultrafast"))
    assert (made.done, made.failed) == (4, ())
    folders = ["a.mp4", "all.tar/run/0.mp4", "s3/videos/k400/run/0.mp4", "s3/videos/all.tar/run/0.mp4"]
    assert tree(tmp_path / "flow") == {
        f"{place}/{name}": data for place in sorted(folders) for name, data in tree(tmp_path / "flow/a.mp4").items()
    }
    made = extract_flow([tmp_path / "train.txt"], FlowOptions(preset="ultrafast"))
    assert (made.done, made.skipped) == (0, 4)


# ---- faults ----


def test_faults_of_a_server_lose_nothing(folder, right, tmp_path):
    objects = {name: (folder / name).read_bytes() for name in NAMES}
    with RangeServer(objects, failures=0.3, seed=1) as server:
        (tmp_path / "mine.txt").write_text("".join(f"{server.url(name)} {name[0] == 'w':d}\n" for name in NAMES))
        made = extract_frames([tmp_path / "mine.txt"], tmp_path / "out", FRAMES)
    assert (made.done, made.failed) == (6, ())
    frames = {name: data for name, data in right["frames"].items() if name.startswith("frames/")}
    assert {f"frames/{name}": data for name, data in tree(tmp_path / "out/frames").items()} == frames


def test_a_server_that_is_gone_is_named_and_the_same_command_continues(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_PATIENCE", 0.2)
    monkeypatch.setattr(remote, "_PATIENCE_UNKNOWN", 0.2)
    objects = {name: (folder / name).read_bytes() for name in NAMES[:2]}
    with RangeServer({NAMES[0]: objects[NAMES[0]]}, faults=("503",)) as server:
        (tmp_path / "mine.txt").write_text("".join(f"{server.url(name)} 0\n" for name in objects))
        made = prepare([tmp_path / "mine.txt"], tmp_path / "out", FAST, sample=0)
        assert [(os.path.basename(path), reason) for path, reason in made.failed] == [
            ("1.mp4", "missing: no such object"),
        ]  # fmt: skip
        server.objects |= objects
        storage.configure(tmp_path / "other cache", 1 << 30)
        made = prepare([tmp_path / "mine.txt"], tmp_path / "out", FAST, sample=0)
        assert (made.done, made.skipped, made.failed) == (1, 1, ())


def test_paths_of_a_source():
    assert Source("videos") / "a.mp4" == Path("videos/a.mp4")
    assert Source("s3://b/c/") / "a/1.mp4" == "s3://b/c/a/1.mp4"
    assert Source("s3://b/x.tar") / "a/1.mp4" == "s3://b/x.tar::a/1.mp4"
    assert Source() / "s3://b/a.mp4" == "s3://b/a.mp4"
    assert Source() / "/d/a.tar::b.mp4" == "/d/a.tar::b.mp4"
    assert (Source("videos").parent, Source("s3://b/c").parent, Source("s3://b/c").folder) == (Path("."), None, None)
