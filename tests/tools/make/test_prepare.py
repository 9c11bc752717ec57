import csv
import itertools
import shutil

import av
import numpy as np
import pytest

from actrec.config import ExtractOptions, PrepareOptions
from actrec.data.index import build_index, cache_path
from actrec.data.lists import read_list
from actrec.data.video.certificate import find_certificate
from actrec.data.video.encode import VideoWriter
from actrec.data.video.probe import probe_video
from actrec.tools.make import prepare as tool
from actrec.tools.make.extract_frames import extract_frames
from actrec.tools.make.jobs import Workers
from actrec.tools.make.prepare import prepare, prepare_video
from actrec.tools.make.record import PREPARED
from actrec.tools.make.savings import cost, pick_sample, psnr, table

SMALL = PrepareOptions(short_side=32, preset="ultrafast", encoder="cpu")
SPLIT = "split: drawn by class, 0.2 of the videos for validation, seed 0"


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "video.mp4"
    with VideoWriter(path, width=64, height=48, rate=10, options={"preset": "ultrafast"}) as video:
        for i in range(20):
            video.write(np.full((48, 64, 3), 20 + 10 * i, np.uint8))
    return path


def run(src, dst, options=SMALL, **more):
    return prepare(src, dst, options, sample=0, **more)


def rows(path):
    return path.read_text(encoding="utf-8").splitlines()


def tree(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_ranges_after_the_end(tmp_path, one_video):
    """The video has 20 frames at 10 per second."""
    (tmp_path / "list.txt").write_text(
        f"{one_video} 1 300 0\n{one_video} 3 9 0\n{one_video} 31 60 0\n{one_video} 50s 60s 0\n"
    )
    made = run([tmp_path / "list.txt"], tmp_path / "out")
    name = f"prepared/{one_video.parent.name}/video.mp4"
    assert rows(tmp_path / "out/list.txt") == [f"{name} 1 300 0", f"{name} 3 9 0"]
    assert "1 row cut at the last frame of the video" in " ".join(made.messages)
    assert {reason for _, reason in made.failed} == {
        "list list: the list says frames 31 to 60, but there are 1 to 20",
        "list list: the list says 50 to 60 seconds, but the last frame ends at 2",
    }


# ---- folders ----


def test_class_folders(videos, tmp_path, one_video):
    src = videos(*(f"{name}/{i}.avi" for name in ("walk", "run") for i in range(5)))
    made = run(src, tmp_path)
    assert tree(tmp_path / "prepared") == sorted(f"{name}/{i}.mp4" for name in ("walk", "run") for i in range(5))
    assert made.lists == {"train.txt": 8, "val.txt": 2}
    assert rows(tmp_path / "labels.txt") == ["run", "walk"]
    lines = rows(tmp_path / "train.txt") + rows(tmp_path / "val.txt")
    assert sorted(lines) == [
        f"prepared/{name}/{i}.mp4 {label}" for label, name in enumerate(("run", "walk")) for i in range(5)
    ]
    assert (made.done, made.skipped, made.frames, made.failed) == (10, 0, 200, ())
    assert made.before == 10 * one_video.stat().st_size
    assert made.after == sum(file.stat().st_size for file in (tmp_path / "prepared").rglob("*.mp4"))
    assert made.messages == (SPLIT, "encoder: libx264")
    for video in read_list(tmp_path / "train.txt"):
        assert probe_video(video.path).frames == 20
    frames = extract_frames(src, tmp_path / "frames_of_them", ExtractOptions(short_side=32))
    assert frames.lists == made.lists  # the same split


def test_ranges_and_names_stay(videos, tmp_path):
    src = videos("1.mp4", "two words.mkv", "1.mov", "naïve;ü\nx.mp4")
    (src / "train.txt").write_text("1.mp4\t2\t3\t0\ntwo words.mkv\t3\t99\t1\n1.mov\t7\t9\t0\n")
    made = run(src, tmp_path)
    assert rows(tmp_path / "train.txt") == [
        "prepared/1.mp4.mp4 2 3 0", "prepared/two words.mp4 3 99 1", "prepared/1.mp4 7 9 0",
    ]  # fmt: skip
    assert (made.failed, rows(tmp_path / "labels.txt")) == ((), ["0", "1"])
    assert "prepared/naïve_ü_x.mp4" in tree(tmp_path)
    assert "1 of 4 videos are in no list of the split: they are prepared, but not listed" in made.messages
    with pytest.raises(ValueError, match="--fps renumbers the frames"):
        run(src, tmp_path / "fps", PrepareOptions(fps=2))


def test_seconds_stay_at_another_frame_rate(videos, tmp_path):
    (videos("a/1.mp4") / "mine.txt").write_text("a/1.mp4 0.5s 1.25s 0\n")
    options = PrepareOptions(short_side=32, preset="ultrafast", encoder="cpu", fps=5)
    made = run([tmp_path / "videos" / "mine.txt"], tmp_path / "out", options)
    assert (made.frames, rows(tmp_path / "out" / "mine.txt")) == (10, ["prepared/a/1.mp4 0.5s 1.25s 0"])


def test_other_settings_are_refused(videos, tmp_path):
    src = videos("a/1.mp4")
    run(src, tmp_path)
    with pytest.raises(ValueError, match=r"other settings \(gop was 16, now 8; crf was 23, now 26; codec was h264, "):
        run(src, tmp_path, PrepareOptions(short_side=32, preset="ultrafast", encoder="cpu", gop=8, codec="hevc"))
    (tmp_path / PREPARED.record).unlink()
    with pytest.raises(ValueError, match="videos with unknown settings"):
        run(src, tmp_path)


def test_lists_of_another_tool(videos, tmp_path):
    src = videos(*(f"{name}/{i}.mp4" for name in ("a", "b") for i in range(5)))
    extract_frames(src, tmp_path, ExtractOptions(short_side=32))
    with pytest.raises(
        ValueError, match=r"train.txt is the list of extract-frames for .*/frames: expected another DST"
    ):
        run(src, tmp_path)
    assert not (tmp_path / "prepared").exists()
    made = run(src, tmp_path / "out")  # SRC's parent holds lists of frames, which say nothing of videos
    assert (made.messages[0], made.lists) == (SPLIT, {"train.txt": 8, "val.txt": 2})
    frames = extract_frames(tmp_path / "out" / "prepared", tmp_path / "again", ExtractOptions(short_side=32))
    assert f"split: {tmp_path}/out/train.txt and {tmp_path}/out/val.txt" in frames.messages  # of these very videos
    names = [line.replace("prepared/", "frames/").replace(".mp4 ", " 1 20 ") for line in rows(tmp_path / "out/val.txt")]
    assert rows(tmp_path / "again" / "val.txt") == names


def test_src_and_dst_may_be_one_folder(videos):
    src = videos("a/1.mp4", "b/1.mp4")
    for _ in range(2):
        made = run(src, src)
        assert (made.done + made.skipped, made.failed) == (2, ())


# ---- continuing, failing ----


def test_videos_with_damaged_frames_are_named_and_used(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (path := tmp_path / "videos" / "walk" / f"{name}.mp4").parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, width=64, height=48, rate=10, gop=4, options={"preset": "ultrafast"}) as video:
            for _ in range(20):
                video.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
        with av.open(str(path)) as container:
            packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        data = bytearray(path.read_bytes())
        for packet in packets[4 : 4 + 4 * "abc".index(name) : 4]:
            middle, length = data.index(packet) + len(packet) // 2, len(packet) // 4
            data[middle : middle + length] = bytes(length)
        path.write_bytes(data)
    wanted = (
        "2 videos with frames that decode with errors, used as far as they decode: walk/b.mp4 (1 frame), walk/c.mp4 (2 "
    )
    for made in (
        run(tmp_path / "videos", tmp_path / "p"),
        extract_frames(tmp_path / "videos", tmp_path / "f", ExtractOptions()),
    ):
        assert [message for message in made.messages if message.startswith(wanted)]
        assert (made.done, made.failed) == (3, ())


def test_continues_after_an_interrupt(videos, tmp_path, monkeypatch):
    src = videos(*(f"a/{i}.mp4" for i in range(6)))
    calls = itertools.count(1)

    def interrupted(*job, stop):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return prepare_video(*job, stop=stop)

    with monkeypatch.context() as patch:
        patch.setattr(tool, "prepare_video", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(src, tmp_path, workers=Workers(1))
    left = len(tree(tmp_path / "prepared"))
    assert 2 <= left < 6
    assert not (tmp_path / "train.txt").exists()
    (tmp_path / "prepared" / "a" / f".part-999999999-{'0' * 32}").mkdir()  # of a run that was killed
    made = prepare(src, tmp_path, SMALL)
    assert (made.done, made.skipped, made.frames) == (6 - left, left, 20 * (6 - left))
    assert made.after == sum(file.stat().st_size for file in (tmp_path / "prepared").rglob("*.mp4"))
    assert sorted(p.name for p in (tmp_path / "prepared" / "a").iterdir()) == [f"{i}.mp4" for i in range(6)]
    assert made.messages[-1] == f"{left} of 6 videos exist already"  # and no sample is compared again


def test_failures(videos, tmp_path, monkeypatch):
    src = videos("a/1.mp4", "a/2.mp4", "a/3.mp4")
    (src / "a" / "bad, very.mp4").write_text("no video")

    def wrong(made, *_):
        return "frame 3 differs from frame 3 of the original" if made.stat().st_size else None

    with monkeypatch.context() as patch:
        patch.setattr("actrec.tools.make.prepared_video.find_fault", wrong)
        made = run(src, tmp_path)
    assert made.lists == {"train.txt": 0, "val.txt": 0}
    assert tree(tmp_path / "quarantine") == ["a/1.mp4", "a/2.mp4", "a/3.mp4"]
    reason = f"frame 3 differs from frame 3 of the original: the file was moved to {tmp_path}/quarantine/a/"
    with open(tmp_path / "failed.csv", newline="") as file:
        *found, broken = list(csv.reader(file))[1:]
    assert found == [[str(src / f"a/{i}.mp4"), f"{reason}{i}.mp4"] for i in (1, 2, 3)]
    assert broken[0] == str(src / "a" / "bad, very.mp4")
    assert broken[1].startswith("not a video")
    (src / "a" / "bad, very.mp4").unlink()
    made = run(src, tmp_path)
    assert (made.done, made.failed) == (3, ())
    assert tree(tmp_path / "quarantine") == []
    assert not (tmp_path / "failed.csv").exists()


# ---- lists ----


def test_lists_are_written_again(videos, tmp_path):
    videos("a/1.mp4", "b/1.mp4", "c.mp4")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text(
        "../videos/a/1.mp4 1 10 run\n../videos/a/1.mp4 11 20 walk\n../videos/gone.mp4 1 2 run\n"
    )
    (lists / "val.txt").write_text(f"{tmp_path}/videos/b/1.mp4 3 18 walk\n{tmp_path}/videos/c.mp4 1 20 run\n")
    (lists / "labels.txt").write_text("walk\nrun\n")
    (lists / "flips.txt").write_text("walk run\n")
    sources = [lists / "train.txt", lists / "val.txt"]
    made = run(sources, tmp_path / "out")
    assert tree(tmp_path / "out" / "prepared") == ["a/1.mp4", "b/1.mp4", "videos/c.mp4"]
    assert rows(tmp_path / "out" / "train.txt") == ["prepared/a/1.mp4 1 10 1", "prepared/a/1.mp4 11 20 0"]
    assert rows(tmp_path / "out" / "val.txt") == ["prepared/b/1.mp4 3 18 0", "prepared/videos/c.mp4 1 20 1"]
    assert rows(tmp_path / "out" / "labels.txt") == ["walk", "run"]
    assert rows(tmp_path / "out" / "flips.txt") == ["walk run"]
    assert made.failed == ((f"{lists}/../videos/gone.mp4", "missing: train.txt lists it, but the file does not exist"),)
    assert run(sources, tmp_path / "out").skipped == 3
    with pytest.raises(ValueError, match="--fps renumbers the frames"):
        run(sources, tmp_path / "fps", PrepareOptions(fps=2))


def test_a_list_without_class_names(videos, tmp_path):
    (videos("a/1.mp4") / "mine.txt").write_text("a/1.mp4 3,5\n")
    run([tmp_path / "videos" / "mine.txt"], tmp_path / "out")
    index = ["mine.txt.index.npy", "mine.txt.index.packets"]
    assert tree(tmp_path / "out") == [".prepare.json", "mine.txt", *index, "prepared/a/1.mp4"]
    assert rows(tmp_path / "out" / "mine.txt") == ["prepared/a/1.mp4 3,5"]


def test_the_index_has_certificates_that_packets_alone_do_not_earn(videos, tmp_path, monkeypatch):
    """H.264 without CABAC decodes fastest. Its packets do not show damage, so the index has decoded the files."""
    monkeypatch.setattr(tool, "_LONG", 3)
    src = videos(*(f"{name}/{i}.mp4" for name in "ab" for i in range(3)))
    made = run(src, tmp_path / "out", PrepareOptions(encoder="cpu"))
    assert made.lists == {"train.txt": 4, "val.txt": 2}
    assert "making the index of train.txt: decoding 4 prepared videos" in made.messages
    assert not any("index of val.txt" in message for message in made.messages)
    for name in ("probe_path", "verify_path", "find_certificate"):
        monkeypatch.setattr(f"actrec.data.index.index.{name}", lambda *_, **__: pytest.fail("it is probed again"))
    for name in ("train.txt", "val.txt"):
        path = tmp_path / "out" / name
        index = build_index(read_list(path), cache=cache_path(path))
        for i in range(len(index)):
            assert index.certificate(i)[1] is not None
            assert find_certificate(index.path(i)).doubt == "damage inside its pictures would not be seen"


def test_lists_that_are_refused(videos, tmp_path):
    videos("a/1.mp4")
    for folder, label in (("x", "run"), ("y", "walk"), ("z", "run")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.txt").write_text("../videos/a/1.mp4 0\n")
        (tmp_path / folder / "labels.txt").write_text(f"{label}\n")
    (tmp_path / "z" / "x.txt").write_text("nothing.mp4 0\n")
    x, y, z = (tmp_path / name for name in "xyz")
    for lists, dst, words in (
        ([x / "x.txt", z / "x.txt"], tmp_path / "out", "another list is also named x"),
        ([x / "x.txt", y / "y.txt"], tmp_path / "out", "the class names in their folders differ"),
        ([x / "x.txt"], x, "the new list would replace this list: expected another DST"),
        ([z / "x.txt"], tmp_path / "out", "none of the listed videos exists, not even .*nothing.mp4"),
    ):
        with pytest.raises(ValueError, match=words):
            run(lists, dst)
    with pytest.raises(FileNotFoundError, match=r"gone.txt: no such file"):
        run([x / "gone.txt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- the trade ----


def test_a_dry_run_leaves_nothing(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4")
    (src / "a" / "empty.mp4").touch()
    before = tree(tmp_path)
    assert prepare(src, tmp_path, SMALL, dry_run=True) is None
    said = []
    prepare(src, tmp_path, SMALL, dry_run=True, sample=3, log=said.append)
    assert tree(tmp_path) == before
    assert said[2] == f"cannot be used: {src}/a/empty.mp4: the file is empty (0 bytes)"
    assert [line.split()[0] for line in said[3:]] == ["sample", "a/1.mp4", "a/2.mp4"]
    assert "64x48 -> 42x32" in said[4]


def test_the_measured_costs(one_video, tmp_path):
    made = tmp_path / "a.mp4"
    prepare_video(one_video, made, tmp_path / "bad.mp4", SMALL)
    found = cost(made)
    assert (found.width, found.height, found.bytes) == (42, 32, made.stat().st_size)
    assert found.sparse > 0
    assert found.dense > 0
    assert psnr(one_video, made) > 35
    shutil.copy(one_video, tmp_path / "other.mp4")
    with VideoWriter(tmp_path / "off.mp4", width=42, height=32, rate=10, options={"crf": "4"}) as video:
        for i in range(20):
            video.write(
                np.full((32, 42, 3), 30 + 10 * i, np.uint8)
            )  # ten gray levels too many, 219 / 255 of it in luma
    assert psnr(one_video, tmp_path / "off.mp4") == pytest.approx(20 * np.log10(255 / (10 * 219 / 255)), abs=0.5)


def test_the_sample_is_spread_over_sizes(tmp_path):
    paths = [tmp_path / str(i) for i in range(10)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes((7 * i) % 10))
    assert [path.stat().st_size for path in pick_sample(paths, 3)] == [1, 5, 8]
    assert len(pick_sample(paths, 99)) == 10
    assert pick_sample(paths, 0) == []
    assert len(list(table([]))) == 1
