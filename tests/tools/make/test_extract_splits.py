"""Lists and labels of extracted datasets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from frame_extraction import SMALL, make_video, names, rows, tree
from numbered_videos import write
from timed_videos import VARIABLE, write_timed

from actrec.config import ExtractOptions, SplitOptions
from actrec.data.video.probe import probe_video
from actrec.tools.make.extract_frames import extract_frames
from actrec.tools.make.jobs import Workers
from actrec.words import decimal


@pytest.fixture(scope="session")
def one_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("one") / "video.mp4")


def test_class_folders_are_split(videos, tmp_path):
    src = videos(*names("{walk,run}/{1,2,3,4,5}.mp4"))
    made = extract_frames(src, tmp_path, SMALL)
    assert rows(tmp_path / "labels.txt") == ["run", "walk"]
    assert made.lists == {"train.txt": 8, "val.txt": 2}
    lines = rows(tmp_path / "train.txt") + rows(tmp_path / "val.txt")
    assert sorted(lines) == [
        f"frames/{name}/{i} 1 5 {label}" for label, name in enumerate(("run", "walk")) for i in range(1, 6)
    ]
    assert {line[-1] for line in rows(tmp_path / "val.txt")} == {"0", "1"}
    assert (made.done, made.skipped, made.frames, made.failed) == (10, 0, 50, ())
    assert len(tree(tmp_path / "frames")) == 50


def test_lists_do_not_depend_on_workers(videos, tmp_path):
    src = videos(*names("{walk,run}/{1,2,3,4,5}.mp4"))
    for workers in (1, 4):
        extract_frames(src, tmp_path / str(workers), SMALL, workers=Workers(workers))
    for name in ("train.txt", "val.txt", "labels.txt"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()


def test_groups_stay_together(videos, tmp_path):
    src = videos(*names("{a,b}/g{1,2,3,4}_c{1,2}.mp4"))
    split = SplitOptions(group_regex=r"(\w/g\d)_", val_fraction=0.25)
    extract_frames(src, tmp_path, SMALL, split=split)
    assert len(rows(tmp_path / "val.txt")) == 4
    train, val = ({line.split("_")[0] for line in rows(tmp_path / f"{part}.txt")} for part in ("train", "val"))
    assert not train & val
    with pytest.raises(ValueError, match="matches no path"):
        extract_frames(src, tmp_path / "x", SMALL, split=SplitOptions(group_regex="zzz"))


def test_train_and_val_folders(videos, tmp_path):
    src = videos("train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/a/1 1 5 0", "frames/b/1 1 5 1"]
    assert rows(tmp_path / "out" / "val.txt") == ["frames/a/1.mp4 1 5 0"]
    assert made.messages[-1].startswith("split: the folders train, val of")


@pytest.mark.parametrize("name", ["{}.txt", "videos_{}.txt"])
@pytest.mark.parametrize("place", [".", "videos"])
def test_split_lists(videos, tmp_path, name, place):
    src = videos("a/1.mp4", "b/1.mp4", "b/2.mp4", "b/3.mp4")
    prefix = "" if place == "videos" else "videos/"
    (tmp_path / place / name.format("train")).write_text(f"{prefix}b/2.mp4 1\n{prefix}a/1.mp4 0\n")
    (tmp_path / place / name.format("val")).write_text(f"{prefix}b/1.mp4 1\n")
    (tmp_path / place / "classes.txt").write_text("first\nsecond\n")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/b/2 1 5 1", "frames/a/1 1 5 0"]
    assert rows(tmp_path / "out" / "val.txt") == ["frames/b/1 1 5 1"]
    assert rows(tmp_path / "out" / "labels.txt") == ["first", "second"]
    assert "1 of 4 videos are in no list of the split: they are extracted, but not listed" in made.messages
    assert (tmp_path / "out" / "frames" / "b" / "3").is_dir()


def test_listed_videos_that_cannot_be_used_do_not_hide_unlisted_ones(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/3.mp4")
    for name in ("a/8.mp4", "b/9.mp4"):
        (src / name).write_bytes(b"")
    (tmp_path / "train.txt").write_text("videos/a/1.mp4 0\nvideos/a/8.mp4 0\nvideos/b/9.mp4 1\n")
    (tmp_path / "val.txt").write_text("videos/b/1.mp4 1\n")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert "2 of 4 videos are in no list of the split: they are extracted, but not listed" in made.messages
    assert len(made.failed) == 2


def test_lists_with_ranges_and_flat_videos(videos, tmp_path):
    src = videos("1.mp4", "two words.mp4")
    (src / "train.txt").write_text("1.mp4;2;3;0\ntwo words.mp4;3;99;1\n1.mp4;7;9;0\n")
    made = extract_frames(src, tmp_path, SMALL)
    assert rows(tmp_path / "train.txt") == ["frames/1 2 3 0", "frames/two words 3 5 1"]
    assert rows(tmp_path / "labels.txt") == ["0", "1"]
    assert made.failed == ((str(src / "1.mp4"), "train list: frames 7 to 9: the video has 5 frames"),)
    with pytest.raises(ValueError, match="--fps renumbers the frames"):
        extract_frames(src, tmp_path / "fps", ExtractOptions(fps=2))


def test_a_list_with_times_in_seconds(videos, one_video, tmp_path):
    rate = probe_video(one_video).rate
    src = videos("1.mp4", "2.mp4")
    lines = [f"1.mp4 {1 / rate:.6f}s {3 / rate:.6f}s 0", "2.mp4 0s 99s 1", f"1.mp4 {5 / rate:.6f}s 99s 0"]
    (src / "train.txt").write_text("\n".join(lines))
    made = extract_frames(src, tmp_path, SMALL)
    assert rows(tmp_path / "train.txt") == ["frames/1 2 3 0", "frames/2 1 5 1"]
    reason = f"train list: the row says {5 / rate:g} to 99 seconds, but the last frame ends at {decimal(5 / rate)}"
    assert made.failed == ((str(src / "1.mp4"), reason),)
    made = extract_frames(src, tmp_path / "fps", ExtractOptions(short_side=16, fps=2 * rate))
    assert rows(tmp_path / "fps" / "train.txt") == ["frames/1 3 6 0", "frames/2 1 10 1"]


def test_class_names_in_a_list(videos, tmp_path):
    src = videos("walk/1.mp4", "run/1.mp4")
    (tmp_path / "train.txt").write_text("videos/walk/1.mp4 walk\nvideos/run/1.mp4 run\n")
    extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/walk/1 1 5 1", "frames/run/1 1 5 0"]
    assert not (tmp_path / "out" / "val.txt").exists()


def test_lists_in_dst_take_precedence_over_src(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4")
    (tmp_path / "out").mkdir()
    for folder, number in ((tmp_path / "out", 1), (src, 2), (tmp_path, 2)):
        (folder / "videos_train.txt").write_text(f"{src}/a/{number}.mp4 0\n")
    extract_frames(src, tmp_path / "out", SMALL)
    assert rows(tmp_path / "out" / "train.txt") == ["frames/a/1 1 5 0"]


def test_a_foreign_list_is_renamed(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4")
    text = "videos/a/2.mp4 0\n"
    (tmp_path / "train.txt").write_text(text)
    made = extract_frames(src, tmp_path, SMALL)
    assert f"{tmp_path}/train.txt was not written by extract-frames: renamed to videos_train.txt" in made.messages
    assert (tmp_path / "videos_train.txt").read_text() == text
    assert rows(tmp_path / "train.txt") == ["frames/a/2 1 5 0"]
    again = extract_frames(src, tmp_path, SMALL)  # our own list is written anew
    assert not any("renamed to" in message for message in again.messages)
    assert rows(tmp_path / "train.txt") == ["frames/a/2 1 5 0"]
    (tmp_path / "train.txt").write_text("videos/a/1.mp4 0\n")
    with pytest.raises(ValueError, match=r"/videos_train.txt \(the list that decides the split\) differ: move"):
        extract_frames(src, tmp_path, SMALL)
    assert (tmp_path / "videos_train.txt").read_text() == text
    assert rows(tmp_path / "train.txt") == ["videos/a/1.mp4 0"]


@pytest.mark.parametrize("name", ["train.txt", "videos_train.txt"])
def test_reshuffle_is_refused_if_lists_decide(videos, tmp_path, name):
    src = videos("a/1.mp4", "a/2.mp4")
    (tmp_path / name).write_text("videos/a/2.mp4 0\n")
    with pytest.raises(ValueError, match=f"reshuffle: the split comes from {tmp_path}/{name}, .*move these files"):
        extract_frames(src, tmp_path, SMALL, split=SplitOptions(reshuffle=True))
    assert (tmp_path / name).read_text() == "videos/a/2.mp4 0\n"
    assert not (tmp_path / "frames").exists()


def test_lists_of_this_tool_are_drawn_anew(videos, tmp_path):
    src = videos(*names("{a,b}/{1,2,3}.mp4"))
    extract_frames(src, tmp_path, SMALL)
    again = extract_frames(src, tmp_path, SMALL, split=SplitOptions(seed=1, reshuffle=True))
    assert again.messages[0] == "split: drawn by class, 0.2 of the videos for validation, seed 1"


def test_a_class_folder_with_an_unusable_name_is_told(videos, tmp_path):
    src = videos("kicking /1.mp4", "kicking /2.mp4", "a/1.mp4", "b/1.mp4")
    made = extract_frames(src, tmp_path, SMALL)
    assert (
        "WARNING: class folder 'kicking ': 2 videos left out, because the name begins or ends with a blank: "
        "rename the folder"
    ) in made.messages
    assert len(made.failed) == 2


def test_lists_of_this_tool_are_not_used_as_a_split(videos, tmp_path):
    src = videos(*names("{a,b}/{1,2,3}.mp4"))
    first = extract_frames(src, tmp_path, SMALL)
    again = extract_frames(src, tmp_path, SMALL)
    assert first.messages[0] == "split: drawn by class, 0.2 of the videos for validation, seed 0"
    assert again.messages[0] == "split: 6 videos as in the existing lists (--reshuffle divides all anew)"
    other = extract_frames(src, tmp_path / "other", SMALL)  # whose parent of SRC holds our lists
    assert other.lists == first.lists
    videos("c/1.mp4", "c/2.mp4")
    assert sum(extract_frames(src, tmp_path, SMALL).lists.values()) == 8
    assert rows(tmp_path / "labels.txt") == ["a", "b", "c"]


def test_frames_folder_removed_starts_over(videos, tmp_path):
    src = videos(*names("a/{1,2}.mp4"))
    extract_frames(src, tmp_path, SMALL)
    shutil.rmtree(tmp_path / "frames")
    made = extract_frames(src, tmp_path, ExtractOptions(short_side=16))
    assert (made.done, made.failed) == (2, ())
    assert not (tmp_path / "videos_train.txt").exists()


def test_a_foreign_labels_file(videos, tmp_path):
    src = videos("a/1.mp4", "b/1.mp4")
    (tmp_path / "labels.txt").write_text("b\na\n")
    extract_frames(src, tmp_path, SMALL)
    assert sorted(rows(tmp_path / "train.txt")) == ["frames/a/1 1 5 1", "frames/b/1 1 5 0"]
    (tmp_path / "labels.txt").write_text("b\nx\n")
    with pytest.raises(ValueError, match="labels.txt does not contain the class 'a'"):
        extract_frames(src, tmp_path, SMALL)


def test_flips_are_copied(videos, tmp_path):
    src = videos("a/1.mp4", "b/1.mp4")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "flips.txt").write_text("a b\n")
    extract_frames(src, tmp_path / "out", SMALL)
    assert (tmp_path / "out" / "flips.txt").read_text() == "a b\n"


def test_missing_rows_and_files_elsewhere(videos, tmp_path, one_video):
    src = videos("a/1.mp4")
    (tmp_path / "train.txt").write_text(f"videos/a/1.mp4 0\nvideos/a/gone.mp4 0\n{one_video} 0\n")
    made = extract_frames(src, tmp_path / "out", SMALL)
    assert made.failed == (("videos/a/gone.mp4", "missing: train.txt lists it, but the file does not exist"),)
    assert "left out: 1 row of the split's lists with a file outside SRC" in made.messages
    (tmp_path / "train.txt").write_text("frames/a/1 0\n")
    with pytest.raises(ValueError, match="none of the listed videos"):
        extract_frames(src, tmp_path / "x", SMALL)


def test_videos_with_the_same_stem(videos, tmp_path):
    src = videos("a/1.mp4", "a/1.MP4", "a/deep/1.mp4", "a/x;y.mp4")
    level = SplitOptions(class_level=1)
    extract_frames(src, tmp_path, SMALL, split=level)
    assert sorted(p.name for p in (tmp_path / "frames" / "a").iterdir()) == ["1", "1.mp4", "a_deep_1.mp4", "x_y"]
    videos("a/0/1.mp4")  # sorted before the others, which keep their folders
    made = extract_frames(src, tmp_path, SMALL, split=level)
    assert (made.done, made.skipped) == (1, 4)
    assert (tmp_path / "frames" / "a" / "a_0_1.mp4").is_dir()


def test_other_files_are_ignored(videos, tmp_path):
    src = videos("a/1.mp4")
    for name in (".DS_Store", "a/notes.txt", "a/.hidden.mp4", "a/poster.jpg"):
        (src / name).write_text("x")
    (src / "a" / "circle").symlink_to(src)
    made = extract_frames(src, tmp_path, SMALL)
    assert (made.done, made.failed, made.messages[0]) == (1, (), "ignored files that are not videos: 1 .jpg, 1 .txt")


def test_src_and_dst_may_be_one_folder(videos):
    src = videos("a/1.mp4", "b/1.mp4")
    for _ in range(2):
        made = extract_frames(src, src, SMALL)
        assert (made.done + made.skipped, made.failed) == (2, ())


def test_broken_videos_take_no_place_in_the_split(videos, tmp_path):
    src = videos(*names("{a,b}/{1,2,3,4,5}.mp4"))
    for i in range(5):
        (src / f"a/bad{i}.mp4").write_bytes(b"what" * i)
        (src / f"b/note{i}.xyz").write_bytes(b"what" * 9)
    made = extract_frames(src, tmp_path, SMALL)
    assert made.lists == {"train.txt": 8, "val.txt": 2}
    assert made.table == ("class   train     val", "a           4       1", "b           4       1")
    assert [Path(path).name for path, _ in made.failed] == [f"bad{i}.mp4" for i in range(5)]
    assert "ignored files that are not videos: 5 .xyz" in made.messages
    before = set(rows(tmp_path / "val.txt"))
    videos(*names("a/new{1,2,3,4,5,6}.mp4"))
    assert extract_frames(src, tmp_path, SMALL).lists == {"train.txt": 13, "val.txt": 3}
    assert before < set(rows(tmp_path / "val.txt"))


def test_videos_that_lack_their_end_are_said(videos, tmp_path):
    src = videos("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4")
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    path = write(src / "a/1.mkv", list(noise), gop=1)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\x1c\x53\xbb\x6b") - 30])  # before its table of keyframes
    made = extract_frames(src, tmp_path, SMALL)
    assert made.failed == ()
    (said,) = [message for message in made.messages if "cut off" in message]
    assert said.startswith("1 video cut off at the end, and used up to there; the first: a/1.mkv: the file")


def test_times_of_a_variable_rate(tmp_path):
    (tmp_path / "videos").mkdir()
    write_timed(tmp_path / "videos/v.mp4", VARIABLE)
    (tmp_path / "videos/train.txt").write_text("v.mp4 0s 2s 0\nv.mp4 2s 4s 1\n")
    extract_frames(tmp_path / "videos", tmp_path, SMALL)
    assert rows(tmp_path / "train.txt") == ["frames/v 1 10 0", "frames/v 11 70 1"]
    extract_frames(tmp_path / "videos", tmp_path / "fps", ExtractOptions(short_side=16, fps=10))
    assert rows(tmp_path / "fps/train.txt") == ["frames/v 1 20 0", "frames/v 21 40 1"]
