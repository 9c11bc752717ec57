from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from actrec.data.flow import flow_folder, flow_videos, y_of
from actrec.data.index import build_index, cache_path, images_of
from actrec.data.lists import Video, read_list
from actrec.data.video.read import MediaError


def write_flow(folder: Path, pairs: int, *, template: str = "{:05d}_{}.jpg", first: int = 1, size=(32, 24)) -> Path:
    """x of pair i is 10 + 4 i everywhere, y 2 more."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(pairs):
        for j, axis in enumerate("xy"):
            picture = np.full(size[::-1], 10 + 4 * i + 2 * j, np.uint8)
            cv2.imwrite(str(folder / template.format(first + i, axis)), picture)
    return folder


def row(path: Path, start=None, stop=None) -> Video:
    return Video(path.name, str(path), start, stop, ())


def reason(path: Path, start=None, stop=None, *, flow=True) -> str:
    with pytest.raises(MediaError) as error:
        build_index([row(path, start, stop)], lazy=True, flow=flow)[0]
    return error.value.reason


@pytest.mark.parametrize(
    ("x", "y"),
    [("00001_x.jpg", "00001_y.jpg"), ("a_x.b/1_x.JPG", "a_x.b/1_y.JPG"), ("1_X.png", "1_Y.png")],
)
def test_y_of(x, y):
    assert y_of(x) == y


def test_flow_lies_beside_frames_and_that_of_files_in_a_tree_of_its_own(tmp_path):
    (tmp_path / "frames/run/a").mkdir(parents=True)
    (tmp_path / "a.mp4").touch()
    root = str(tmp_path)
    assert flow_folder(f"{root}/frames/run/a", root) == f"{root}/frames/run/a"
    assert flow_folder(f"{root}/a.mp4", root) == f"{root}/flow/a.mp4"
    assert flow_folder(f"{root}/frames/run/gone", root) == f"{root}/flow/frames/run/gone"
    assert flow_folder("/elsewhere/a.mp4", root) == f"{root}/flow/elsewhere/a.mp4"
    assert flow_folder(f"{root}/../b/a.mp4", root) == f"{root}/flow{os.path.abspath(f'{root}/../b/a.mp4')}"
    (tmp_path / "list.txt").write_text("a.mp4 2 7 0\nframes/run/a 1 3 1\n")
    videos = flow_videos(read_list(tmp_path / "list.txt", labels=()), tmp_path)
    assert videos == [
        Video("a.mp4", f"{root}/flow/a.mp4", 1, 7, (0,)),
        Video("frames/run/a", f"{root}/frames/run/a", 0, 3, (1,)),
    ]
    assert cache_path(tmp_path / "list.txt", flow=True) == tmp_path / "list.txt.flow.index.npy"


@pytest.mark.parametrize(
    ("start", "stop", "expected"),  # of ten frames, so nine pairs: (start, pairs, places to begin)
    [
        (None, None, (0, 9, 5)),
        (0, 10, (0, 9, 5)),
        (0, 12, (0, 9, 5)),  # containers overstate, and lists follow them
        (2, 8, (2, 5, 1)),
        (2, 5, (2, 2, 1)),
        (8, 10, (8, 1, 1)),
    ],
)
def test_lists_count_frames(tmp_path, start, stop, expected):
    folder = write_flow(tmp_path / "a", 9)
    found = build_index([row(folder, start, stop)], flow=True)[0]
    assert (found.start, found.frames, found.positions) == expected
    assert (found.width, found.height, found.codec) == (32, 24, "jpg")


def test_the_images_of_a_stack(tmp_path):
    folder = write_flow(tmp_path / "a", 7, template="im_{:d}_{}.png", first=0)
    found = build_index([row(folder, 1, 6)], flow=True)[0]  # frames 1 to 6 with a first one numbered 0: position -1
    shown = [os.path.relpath(path, folder) for path in found.images(0)]
    assert shown == [f"im_{n}_{axis}.png" for n in (2, 3, 4, 5, 5) for axis in "xy"]


def test_flow_and_frames_in_one_folder_do_not_disturb_each_other(tmp_path):
    folder = write_flow(tmp_path / "a", 4)
    for i in range(5):
        cv2.imwrite(str(folder / f"{i + 1:05d}.jpg"), np.zeros((24, 32, 3), np.uint8))
    assert build_index([row(folder)])[0].frames == 5
    assert build_index([row(folder)])[0].images(2) == [str(folder / "00003.jpg")]
    assert build_index([row(folder)], flow=True)[0].frames == 4


def test_what_is_wrong_is_said(tmp_path):
    folder = write_flow(tmp_path / "a", 9)
    assert reason(folder, 3, 4) == "the list says frames 4 to 4: optical flow needs two"
    assert reason(folder, 10, 12) == "the list says frames 11 to 12, but there are 1 to 10"
    assert reason(folder, flow=False) == (
        "the folder contains no numbered images such as 00001.jpg; it contains optical flow, which only modality flow "
        "can use"
    )
    assert reason(tmp_path) == (
        "the folder contains no optical flow such as 00001_x.jpg: `actrec extract-flow` computes it"
    )
    assert reason(tmp_path / "none") == "there is no such folder: `actrec extract-flow` computes it"
    (tmp_path / "a.mp4").touch()
    assert reason(tmp_path / "a.mp4").startswith("a file, not a folder of optical flow: ")
    cv2.imwrite(str(folder / "00001_y.jpg"), np.zeros((8, 8), np.uint8))
    assert reason(folder) == "00001_y.jpg is 8x8, 00001_x.jpg 32x24"
    for y in folder.glob("*_y.jpg"):
        y.unlink()
    assert reason(folder) == "9 images of optical flow, but no x image has a y image with its number"


def test_flow_with_gaps_and_with_unequal_numbers_of_images(tmp_path):
    folder = write_flow(tmp_path / "a", 9)
    for name in ("00004_x.jpg", "00004_y.jpg", "00006_y.jpg", "00009_x.jpg"):
        (folder / name).unlink()
    index = build_index([row(folder), row(folder, 2, 7), row(folder, 3, 5)], flow=True)
    media = [index[i] for i in range(2)]
    assert [(m.start, m.frames) for m in media] == [(0, 6), (2, 2)]
    shown = [os.path.basename(path) for path in media[0].images(1)]
    assert shown == [f"{n:05d}_{axis}.jpg" for n in (2, 3, 5, 7, 8) for axis in "xy"]
    shown = [os.path.basename(path) for path in media[1].images(0)]  # frames 3 to 7: flow from 3 and 5, not from 7
    assert shown[::2] == [f"{n:05d}_x.jpg" for n in (3, 5, 5, 5, 5)]
    assert index.broken == {2: "the list says frames 4 to 5: optical flow needs two"}
    assert images_of([index]) == {
        "missing": f"2 images of 1 frame folder, judging by their numbers; the first: {folder} lacks 4, 6",
        "unused": f"2 images of 1 frame folder, x or y images without the other one; the first: {folder}",
    }


@pytest.mark.parametrize(
    ("x", "y"), [("flow_x_{:05d}.jpg", "flow_y_{:05d}.jpg"), ("u_{}.png", "v_{}.png"), ("x{}.jpg", "y{}.jpg")]
)
def test_flow_of_other_tools(tmp_path, x, y):
    for n in range(1, 12):
        for template, value in ((x, 100 + n), (y, 200 + n)):
            cv2.imwrite(str(tmp_path / template.format(n)), np.full((24, 32), value, np.uint8))
        cv2.imwrite(str(tmp_path / f"img_{n:05d}.jpg"), np.full((24, 32, 3), n, np.uint8))
    flow, frames = build_index([row(tmp_path)], flow=True)[0], build_index([row(tmp_path)])[0]
    assert (flow.frames, frames.frames) == (11, 11)
    shown = [os.path.basename(path) for path in flow.images(7)]
    assert shown == [template.format(n) for n in (8, 9, 10, 11, 11) for template in (x, y)]
    assert frames.image(1).endswith("img_00002.jpg")


def test_a_template_chooses_the_flow_of_some_frames(tmp_path):
    for prefix in ("img_", "mask_"):
        write_flow(tmp_path, 5, template=prefix + "{:05d}_{}.jpg")
    assert reason(tmp_path).startswith(
        "the folder contains several sequences of images, img_{:05d}_x.jpg (5 images) and mask_{:05d}_x.jpg (5 images)"
    )
    for template in ("mask_{:05d}.png", "mask_{}_x.jpg"):
        found = build_index([row(tmp_path)], flow=True, template=template)[0]
        assert os.path.basename(found.images(0)[1]) == "mask_00001_y.jpg"
