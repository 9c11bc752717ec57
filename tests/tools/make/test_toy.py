import filecmp

import av
import numpy as np
import pytest

from actrec.config import ToyOptions
from actrec.tools.make.toy import make_toy, scene_of
from actrec.tools.make.toy_scenes import CLASSES, FLIPS, MOTIONS, draw_scene, frames

PAIRS = {
    ("moves_right", "moves_left"),
    ("grows", "shrinks"),
    ("turns_clockwise", "turns_counterclockwise"),
    ("opens", "closes"),
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("toy"), ToyOptions(train_per_class=2, val_per_class=1))


@pytest.fixture(scope="module")
def rows(toy):
    """(name, label) of every video of both lists."""
    lines = [line for split in ("train", "val") for line in (toy.root / f"videos_{split}.txt").read_text().splitlines()]
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def motion_of(name):
    return next(motion for motion in MOTIONS if name in (motion.forwards, motion.backwards))


def test_lists_labels_and_flips(toy, rows):
    labels = (toy.root / "labels.txt").read_text().splitlines()
    assert labels == sorted(labels) == list(toy.classes)
    assert len(labels) == 8
    assert (toy.num_train, toy.num_val) == (16, 8)
    wanted = [(f"videos/{name}/train_{index:03d}.mp4", label) for label, name in enumerate(labels) for index in (0, 1)]
    wanted += [(f"videos/{name}/val_000.mp4", label) for label, name in enumerate(labels)]
    assert rows == wanted
    assert (toy.root / "flips.txt").read_text() == "moves_left moves_right\nturns_clockwise turns_counterclockwise\n"


def test_every_file_is_listed(toy, rows):
    found = {path.relative_to(toy.root).as_posix() for path in toy.root.rglob("*") if path.is_file()}
    assert found == {name for name, _ in rows} | {"videos_train.txt", "videos_val.txt", "labels.txt", "flips.txt"}


def test_the_files_are_real_videos(toy, rows):
    sizes, tags, most_keys = set(), set(), 0
    for name, _ in rows:
        with av.open(str(toy.root / name)) as container:
            stream = container.streams.video[0]
            context, rate = stream.codec_context, stream.average_rate
            decoded = list(container.decode(stream))
        assert (context.name, context.pix_fmt, context.color_range) == ("h264", "yuv420p", 1)
        assert rate in (24, 25, 30)
        assert 2 <= len(decoded) / rate <= 4
        assert 160 <= context.width <= 340
        assert 120 <= context.height <= 256
        assert any(frame.pict_type == av.video.frame.PictureType.B for frame in decoded)
        keys = [number for number, frame in enumerate(decoded) if frame.key_frame]
        assert max(np.diff([*keys, len(decoded)])) <= 2 * rate
        most_keys = max(most_keys, len(keys))
        sizes.add((context.width, context.height))
        tags.add((context.color_primaries, context.color_trc, context.colorspace))
    assert most_keys in (2, 3)  # x264 may put one more where the picture changes much
    assert len(sizes) > 5
    assert tags == {(6, 6, 6), (1, 1, 1)}


def test_same_seed_same_files(toy, rows, tmp_path):
    make_toy(tmp_path, ToyOptions(train_per_class=1, val_per_class=1))
    same = [name for name, _ in rows if (tmp_path / name).exists()]
    assert len(same) == 16
    assert filecmp.cmpfiles(toy.root, tmp_path, same, shallow=False) == (same, [], [])


def test_a_video_depends_on_its_key_only():
    keys = [
        (split, name, index, seed)
        for split in ("train", "val")
        for name in CLASSES
        for index in (0, 1)
        for seed in (0, 1)
    ]
    starts = {scene_of(split, name, index, seed=seed).start for split, name, index, seed in keys}
    assert len(starts) == len(keys)
    assert scene_of("val", "opens", 7, seed=3).start == scene_of("val", "opens", 7, seed=3).start


@pytest.mark.parametrize("motion", MOTIONS, ids=lambda motion: motion.forwards)
def test_the_classes_of_a_pair_are_time_reversed(motion):
    assert (motion.forwards, motion.backwards) in PAIRS
    scene = draw_scene(motion, np.random.default_rng(5))
    forwards = np.stack(list(frames(motion.forwards, scene)))
    backwards = np.stack(list(frames(motion.backwards, scene)))
    np.testing.assert_array_equal(forwards, backwards[::-1])
    assert forwards.dtype == np.uint8
    assert forwards.shape == (scene.num_frames, scene.height, scene.width, 3)


def track(motion, number):
    """What the pixels are drawn from, of many scenes: columns x0, x1, y0, y1, diameters, angles and openings."""
    rng = np.random.default_rng(number)
    rows = []
    for _ in range(4000):
        start, end = motion.ends(rng)
        turn = end.angle - start.angle
        rows.append((start.x, end.x, start.y, end.y, start.diameter, end.diameter, turn, start.opening, end.opening))
    return np.array(rows)


def played(motion, name, number):
    rows = track(motion, number)
    if name == motion.forwards:
        return rows
    return rows[:, [1, 0, 3, 2, 5, 4, 6, 8, 7]] * [1, 1, 1, 1, 1, 1, -1, 1, 1]


def distance(one, other):
    """Kolmogorov and Smirnov's: the largest difference of two distribution functions."""
    values = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return np.abs(shares[0] - shares[1]).max()


@pytest.mark.parametrize("name", CLASSES)
def test_mirrored_videos_match_flips_txt(name):
    other = {**dict(FLIPS), **{two: one for one, two in FLIPS}}.get(name, name)
    mirrored = played(motion_of(name), name, 1) * [-1, -1, 1, 1, 1, 1, -1, 1, 1]
    real = played(motion_of(other), other, 2)
    # 4000 against 4000 of the same distribution differ by more than 0.05 once in ten thousand times.
    assert max(distance(*columns) for columns in zip(mirrored.T, real.T)) < 0.05
    # and so do their combinations, of which x1 - x0 is what these classes are about
    assert distance(mirrored[:, 1] - mirrored[:, 0], real[:, 1] - real[:, 0]) < 0.05


def test_the_motion_matches_the_class_name():
    steps = {name: played(motion_of(name), name, 1) for name in CLASSES}
    assert (steps["moves_right"][:, 1] - steps["moves_right"][:, 0]).min() > 0.35
    assert (steps["grows"][:, 5] / steps["grows"][:, 4]).min() > 1.5
    assert (steps["opens"][:, 8] - steps["opens"][:, 7]).min() > 0.5
    turns = steps["turns_clockwise"][:, 6]
    assert 75 <= turns.min() <= turns.max() <= 165
    assert all(rows[:, 4:6].min() > 0.24 for rows in steps.values())


def test_clockwise_is_clockwise():
    """The figure's pixels, read as a polygon's center of mass seen from the middle, go round by the right hand."""
    motion = motion_of("turns_clockwise")
    scene = next(
        scene
        for scene in (draw_scene(motion, np.random.default_rng(seed)) for seed in range(1000))
        if scene.figure == "comet" and not scene.outline and not scene.distractors
    )
    middle = np.array([scene.width - 1, scene.height - 1]) / 2
    short = min(scene.width, scene.height)
    headings = []
    for number, rgb in enumerate(frames("turns_clockwise", scene)):
        time = number / (scene.num_frames - 1)
        part = (1 - scene.ease) * time + scene.ease * time * time * (3 - 2 * time)
        at = [a + part * (b - a) for a, b in ((scene.start.x, scene.end.x), (scene.start.y, scene.end.y))]
        far_from_ground = np.abs(rgb.astype(int) - np.array(rgb[0, 0], dtype=int)).sum(axis=2) > 100
        y, x = np.nonzero(far_from_ground)
        heading = np.array([x.mean(), y.mean()]) - middle - short * np.array(at)
        headings.append(np.degrees(np.arctan2(heading[1], heading[0])))  # y down: grows clockwise on the screen
    total = np.unwrap(headings, period=360)
    assert abs((total[-1] - total[0]) - (scene.end.angle - scene.start.angle)) < 20


def test_the_figure_stands_out():
    for seed in range(50):
        scene = draw_scene(MOTIONS[seed % 4], np.random.default_rng(seed))
        ink = np.dot(scene.tones[0], (0.299, 0.587, 0.114))
        ground = scene.ground @ np.array([0.299, 0.587, 0.114])
        assert np.abs(ground - ink).min() > 55


def test_progress_counts_the_videos(tmp_path):
    seen = []
    make_toy(
        tmp_path,
        ToyOptions(train_per_class=1, val_per_class=1),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 16) for done in range(1, 17)]


def test_an_interrupted_call_leaves_complete_videos_and_can_be_repeated(tmp_path):
    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    options = ToyOptions(train_per_class=1, val_per_class=1)
    make_toy(tmp_path, options)
    with pytest.raises(KeyboardInterrupt):
        make_toy(tmp_path, options, progress=interrupt)
    assert {path.name for path in tmp_path.iterdir()} == {"videos"}
    assert not list(tmp_path.rglob(".actrec-*"))
    make_toy(tmp_path, options)
    assert len((tmp_path / "videos_train.txt").read_text().splitlines()) == 8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train_per_class": 0}, "train_per_class 0: expected at least 1"),
        ({"val_per_class": -2}, "val_per_class -2: expected at least 1"),
        ({"seed": -1}, "seed -1: expected at least 0"),
    ],
)
def test_wrong_counts(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        make_toy(tmp_path / "toy", ToyOptions(**options))
    assert not list(tmp_path.iterdir())


def test_root_is_a_file(tmp_path):
    (tmp_path / "toy").write_text("")
    with pytest.raises(NotADirectoryError, match="toy is a file: expected a folder"):
        make_toy(tmp_path / "toy")
    with pytest.raises(NotADirectoryError, match="cannot be written"):
        make_toy(tmp_path / "toy" / "below")


def test_another_dataset_is_not_replaced(tmp_path):
    (tmp_path / "videos_train.txt").write_text("mine.mp4 0\n")
    with pytest.raises(FileExistsError, match="holds videos_train.txt of another dataset"):
        make_toy(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["videos_train.txt"]
