"""Which images of a folder are its frames."""

import itertools
import os
import random

import cv2
import numpy as np
import pytest
from index_files import folder, video, write_image

from actrec.config import Clip, ConvertOptions, FlowOptions
from actrec.data.index import build_index, cache_path, folders, images_of, notices
from actrec.data.index.folders import arrange
from actrec.data.recent import Recent
from actrec.data.video.container import MediaError

EVEN = [f"frame{n:06d}.jpg" for n in range(1, 57, 5)]
NATURAL = [f"{n}.jpg" for n in range(1, 13)]
STAMPS = [f"{1403636579763555584 + 49_999_872 * i + i % 3 * 511}.png" for i in range(10)]
MIXED = [f"{n:05d}{suffix}" for n, suffix in zip(range(1, 9), itertools.cycle((".jpg", ".jpeg", ".JPG", ".png")))]
DECIMALS = ["0.033.jpg", "0.067.jpg", "0.1.jpg", "0.95.jpg", "1.0.jpg", "10.2.jpg"]
CLOCK = ["cam 2023-01-01_12-59-58.jpg", "cam 2023-01-01_12-59-59.jpg", "cam 2023-01-01_13-00-00.jpg"]
BURST = [f"IMG_20231231_235959{rest}.jpg" for rest in ("", "_1", "_2", "_10")] + ["IMG_20240101_000000.jpg"]


@pytest.mark.parametrize(
    ("names", "step", "missing"),
    [
        (NATURAL, 1, 0),
        (EVEN, 5, 0),
        ([f"{n:03d}.jpg" for n in (1, 2, 4, 5, 6, 10)], 1, 4),
        ([f"{n:03d}.jpg" for n in (0, 5, 10, 20, 25)], 5, 1),
        (["98.jpg", "99.jpg", "100.jpg", "102.jpg"], 1, 1),
        (["1.jpg", "02.jpg", "003.jpg"], 1, 0),
        (MIXED, 1, 0),
        (STAMPS, 0, 0),
        (["99999999999999999999.jpg", "100000000000000000000.jpg"], 1, 0),
        (["IMG_1.JPG", "img_2.jpg"], 1, 0),
        (DECIMALS, 0, 0),
        (["0.jpg", "0.5.jpg", "1.jpg", "1.5.jpg"], 5, 0),
        ([f"scene1.{n}.jpg" for n in range(1, 13)], 1, 0),
        ([f"1.{n}.jpg" for n in range(1, 13)], 1, 0),  # frames of video 1, not times
        (CLOCK, 0, 0),
        (BURST, 0, 0),
        (["only7.jpg"], 1, 0),
        ([f"frame ({n}).jpg" for n in range(1, 13)], 1, 0),  # Windows renamed them together
    ],
)
def test_images_are_ordered_by_their_numbers(names, step, missing):
    """Whatever order the file system gives, and whatever else is in the folder."""
    others = ["._00001.jpg", ".9.jpg", "Thumbs.db", "desktop.ini", "fps", "cover.jpg", "00001_x.jpg", "00001_y.jpg"]
    others += ["u_00001.jpg", "v_00001.jpg", "flow_x_2.png", "flow_y_2.png", "u_00002.jpg", "v_00002.jpg"]
    for seed in range(5):
        given = [*names, *others] if seed else list(names)
        random.Random(seed).shuffle(given)
        found = arrange("folder", given)
        assert list(found.names) == names
        assert (found.step, found.missing, found.unused) == (step, missing, 1 if seed else 0)
        assert list(found.numbers) == sorted(found.numbers)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            [f"{prefix}{n:05d}{suffix}" for n in range(12) for prefix, suffix in (("img_", ".jpg"), ("mask_", ".png"))],
            "several sequences of images, img_{:05d}.jpg (12 images) and mask_{:05d}.png (12 images): choose one, such "
            "as --template 'img_{:05d}.jpg'",
        ),
        (
            [f"{n}{suffix}" for n in range(3) for suffix in (".jpg", ".png", ".webp")],
            "{:01d}.jpg (3 images) and {:01d}.png (3 images) and 1 other: choose one",
        ),
        ([f"cam{cam}.{n:04d}.jpg" for cam in (1, 2) for n in range(5)], "cam1.{:04d}.jpg (5 images) and cam2."),
        (["a1.jpg", "b2.jpg"], "a{:01d}.jpg (1 image) and b{:01d}.jpg (1 image)"),
        (["1.jpg", "01.jpg", "2.jpg"], "the images 01.jpg and 1.jpg have the same number: remove one of them"),
        (
            ["u_1.jpg", "u_2.jpg", "v_1.jpg", "v_2.jpg"],
            "no numbered images such as 00001.jpg; it contains optical flow",
        ),
        (["._1.jpg", "cover.jpg"], "the folder contains no numbered images such as 00001.jpg"),
        ([f"f{n}_30fps.jpg" for n in (9, 10, 110)], "such as 00001.jpg; --template 'f{}_30fps.jpg' fits its images"),
        (
            [f"{{f}}{n}_96x64.jpg" for n in (9, 10, 110)],
            "the last numbers in the names of its images are not those of the frames: pass --template "
            "'{{f}}{}_96x64.jpg'",
        ),
    ],
)
def test_nothing_is_chosen_by_chance(names, said):
    messages = set()
    for seed in range(4):
        random.Random(seed).shuffle(names)
        with pytest.raises(MediaError) as caught:
            arrange("folder", names)
        messages.add(caught.value.reason)
    assert len(messages) == 1
    assert said in messages.pop()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("img_{:05d}.jpg", ["img_1.jpg", "img_02.jpg", "img_4.jpg"]),
        ("mask_{}.png", ["mask_00001.png", "mask_00002.png"]),
        ("{}.jpg,mask_{}.png,img_{}.jpg", ["mask_00001.png", "mask_00002.png"]),
        ("{{x}}{:d}_rgb.jpg", ["{x}1_rgb.jpg", "{x}3_rgb.jpg"]),
        ("{{{}}}1_rgb.jpg", "the folder contains no images with names like {{{}}}1_rgb.jpg (--template)"),
        ("{{x{:d}}}_a.jpg", ["{x1}_a.jpg", "{x2}_a.jpg"]),
        ("thumb{:1d}.jpg", "the folder contains no images with names like thumb{:1d}.jpg (--template)"),
    ],
)
def test_a_template_chooses_the_images(template, expected):
    names = ["img_4.jpg", "img_02.jpg", "img_1.jpg", "mask_00002.png", "mask_00001.png", "{x}3_rgb.jpg", "{x}1_rgb.jpg"]
    names += ["{x2}_a.jpg", "{x1}_a.jpg"]
    if isinstance(expected, str):
        with pytest.raises(MediaError) as caught:
            arrange("folder", names, template=template)
        assert caught.value.reason == expected
    else:
        assert list(arrange("folder", names, template=template).names) == expected


def test_single_images_are_no_frames_and_counted():
    thumbs = [f"{n:05d}_thumb1.jpg" for n in range(1, 13)]
    found = arrange("folder", [f"{n:05d}.jpg" for n in range(1, 13)] + thumbs + ["poster.png", "1.txt"])
    assert (len(found.names), found.names[0], found.unused) == (12, "00001.jpg", 12 + 1)


def test_flow_of_images_that_windows_renamed():
    names = [f"frame ({n}){rest}.jpg" for n in range(1, 12) for rest in ("", "_x", "_y")]
    assert list(arrange("folder", names).names) == [f"frame ({n}).jpg" for n in range(1, 12)]
    assert list(arrange("folder", names, flow=True).names) == [f"frame ({n})_x.jpg" for n in range(1, 12)]


GAPS = [f"{n:05d}.jpg" for n in (1, 2, 3, 6, 7, 10, 11, 12)]


@pytest.mark.parametrize(
    ("names", "start", "stop", "expected"),  # numbers of the images that a row `start + 1` to `stop` has
    [
        (GAPS, 0, 12, [1, 2, 3, 6, 7, 10, 11, 12]),
        (GAPS, 2, 6, [3, 6]),
        (GAPS, 3, 10, [6, 7, 10]),
        (GAPS, 5, 9, [6, 7]),
        (GAPS, 3, 5, "the list says frames 4 to 5, but the folder has none of these images (it has 1 to 12)"),
        (GAPS, 0, 13, "the list says frames 1 to 13, but there are 1 to 12"),
        (EVEN, 0, 56, list(range(1, 57, 5))),
        (EVEN, 0, 60, list(range(1, 57, 5))),  # the video had 60 frames
        (EVEN, 5, 20, [6, 11, 16]),
        (EVEN, 0, 61, "the list says frames 1 to 61, but there are 1 to 56 in steps of 5"),
        ([f"{n}.jpg" for n in range(5, 61, 5)], 0, 60, list(range(5, 61, 5))),
        (["3.jpg", "17.jpg", "18.jpg", "40.jpg"], 0, 30, [3, 17, 18]),  # key frames
    ],
)
def test_ranges_of_lists_are_numbers_in_names(tmp_path, names, start, stop, expected):
    path = folder(tmp_path / "a", *names)
    index = build_index([video(path, start, stop), video(path)])
    if isinstance(expected, str):
        assert index.broken == {0: expected}
        return
    media = index[0]
    shown = [os.path.basename(media.images(i)[0]) for i in range(media.frames)]
    assert shown == [name for name in names if int("".join(filter(str.isdigit, name))) in expected]
    assert media.bounds(media.start, media.start + media.frames) == (expected[0] - 1, expected[-1])


def test_missing_images_are_counted_and_named(tmp_path):
    folder(tmp_path / "gaps", *GAPS)
    folder(tmp_path / "even", *EVEN)
    folder(tmp_path / "plain", "1.jpg", "2.jpg", "cover.jpg")
    rows = [video(tmp_path / "even"), video(tmp_path / "gaps", 0, 7), video(tmp_path / "gaps"),
            video(tmp_path / "gaps", 9, 12), video(tmp_path / "plain")]  # fmt: skip
    for _ in range(2):
        index = build_index(rows, cache=cache_path(tmp_path / "list.txt"))
        assert index.images_of_folders("missing") == {f"{tmp_path}/gaps": 4}
        assert images_of([index, index]) == {
            "missing": "4 images of 1 frame folder, judging by their numbers; the first: "
            f"{tmp_path}/gaps lacks 4 to 5, 8 to 9",
            "unused": f"1 image of 1 frame folder, not part of the sequence of frames; the first: {tmp_path}/plain",
        }
        assert len(notices([index], None)) == 2
    assert folders.describe_gaps([1, 3, 4, 8, 10, 12, 14], 1) == "2, 5 to 7, 9 and 2 other gaps"


def test_a_missing_image_takes_its_time(tmp_path):
    path = folder(tmp_path / "a", *GAPS)
    (path / "fps").write_text("10")
    media = build_index([video(path, 0.4, 1.0)])[0]
    assert [os.path.basename(media.images(i)[0]) for i in range(media.frames)] == [
        "00006.jpg",
        "00007.jpg",
        "00010.jpg",
    ]
    whole = build_index([video(path)])[0].times
    assert whole.borders.tolist() == pytest.approx([0, 0.1, 0.2, 0.5, 0.6, 0.9, 1.0, 1.1, 1.2])


def test_a_folder_that_changes_is_noticed(tmp_path, monkeypatch):
    path, cache = folder(tmp_path / "a", *GAPS), cache_path(tmp_path / "list.txt")
    index = build_index([video(path)], cache=cache)
    first = index[0]
    assert first.frames == 8
    monkeypatch.setattr(folders, "_recent", Recent(1))
    (path / "00006.jpg").unlink()
    with pytest.raises(MediaError, match="images were added or removed after the folder was probed"):
        first.image(0)
    again = build_index([video(path)], cache=cache)[0]
    left = [name for name in GAPS if name != "00006.jpg"]
    assert [os.path.basename(again.image(i)) for i in range(again.frames)] == left
    write_image(path / "00006.jpg")
    assert build_index([video(path)], cache=cache)[0].frames == 8


def test_another_template_is_another_record(tmp_path):
    path = folder(tmp_path / "a", "img_1.jpg", "img_2.jpg", "mask_1.png", "mask_2.png", "mask_3.png")
    cache = cache_path(tmp_path / "list.txt")
    other = video(folder(tmp_path / "b", "1.jpg"))
    assert list(build_index([video(path), other], cache=cache).broken) == [0]
    for template, name, frames in (("img_{}.jpg", "img_2.jpg", 2), ("mask_{}.png", "mask_2.png", 3)) * 2:
        media = build_index([video(path)], cache=cache, template=template)[0]
        assert (media.frames, media.image(1)) == (frames, str(path / name))
    assert list(build_index([video(path), other], cache=cache).broken) == [0]


def test_verification_finds_a_bad_image_after_a_gap(tmp_path):
    path = folder(tmp_path / "a", *GAPS)
    (path / "00011.jpg").write_bytes(b"no image")
    index = build_index([video(path), video(folder(tmp_path / "b", *MIXED))], cache=cache_path(tmp_path / "list.txt"))
    index.verify_all(lambda function, jobs, receive: [receive(job, function(*job, stop=None), None) for job in jobs])
    index.find_broken()
    assert list(index.broken) == [0]
    assert index.broken[0].startswith("1 of 8 images is broken; the first: 00011.jpg: ")


def test_deep_images_after_others_are_known(tmp_path):
    path = folder(tmp_path / "a", "1.jpg", "2.jpg")
    cv2.imwrite(str(path / "3.png"), np.full((8, 12, 3), 40000, np.uint16))
    media = build_index([video(path)])[0]
    assert (media.bits, media.codec, media.frames) == (16, "png", 3)


def test_memory_for_names_is_bounded(tmp_path, monkeypatch):
    recent = Recent(20, lambda images: len(images.names))
    monkeypatch.setattr(folders, "_recent", recent)
    rows = [video(folder(tmp_path / f"v{i}", *GAPS)) for i in range(5)]
    for media in build_index(rows):
        assert media.image(3).endswith("00006.jpg")
    assert (len(recent._values), recent._total) == (2, 16)


@pytest.mark.parametrize(
    ("template", "is_legal"),
    [
        ("img_{:05d}.jpg", True),
        ("{}.JPG", True),
        ("{{a}}{:d}_rgb.webp", True),
        ("a_{}.jpg,b_{}.png", True),
        ("img_%05d.jpg", False),
        ("img_{:05d}", False),
        ("img_{:05d}{}.jpg", False),
        ("a/{}.jpg", False),
        ("{}.jpg,", False),
        ("{0.__class__}.jpg", False),
        ("{:x}.jpg", False),
        ("", False),
    ],
)
def test_templates_are_checked(template, is_legal):
    for options in (Clip, FlowOptions, ConvertOptions):
        if is_legal:
            assert options(template=template).template == template
        else:
            with pytest.raises(
                ValueError, match="^template .*: expected the name of an image with {:05d} or {} in place"
            ):
                options(template=template)
