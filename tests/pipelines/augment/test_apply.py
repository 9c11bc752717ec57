"""What each augmentation does to the pictures of a clip, in a graph on the CPU, against numpy and OpenCV."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
from actrec.pipelines import augment
from actrec.pipelines.augment.auto_augment import OPERATIONS
from actrec.pipelines.dali import graph
from actrec.pipelines.dali.routes import PIXELS
from actrec.pipelines.loader import Loader
from actrec.pipelines.task import TrainTask

SIZE = 48
BYTES = Input(mean=(0.0,) * 3, std=(1 / 255,) * 3, frames=3, size=SIZE)  # normalized pictures are bytes
EVERYTHING = actrec.Augment(
    geometry="center", color_jitter=(0.4, 0.4, 0.4, 0.1), grayscale=0.2, blur=0.5, erasing=0.5,
    auto_augment="randaugment",
)  # fmt: skip
TRIVIAL = actrec.Augment(auto_augment="trivialaugment")
NOTHING = (OPERATIONS.index("identity"), 0, 0)
NEUTRAL = {  # numbers with which no augmentation changes anything
    "auto_augment": (NOTHING, NOTHING), "grayscale": False, "color_jitter": (1, 1, 1, 0), "blur": 0.0,
    "erasing": (0, 0, 0, 0),
}  # fmt: skip


def picture(seed: int) -> np.ndarray:
    """Smooth in parts and noisy in parts, of many colors, none clipped by a small change."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.integers(30, 225, (4, 4, 3)).astype(np.float32), (SIZE, SIZE))
    smooth[: SIZE // 3] += rng.integers(-20, 20, (SIZE // 3, SIZE, 3))
    return smooth.clip(20, 235).round().astype(np.uint8)


CLIP = np.stack([picture(seed) for seed in range(3)])


class Graph:
    """The training graph of pictures that are resized already, fed with random numbers of our choice."""

    def __init__(self, options: actrec.Augment, device: str = "cpu", net_input: Input = BYTES):
        self.augmentations = augment.active(options)
        device_id = 0 if device == "cuda" else None
        settings = graph.GraphSettings(device, device_id, threads=2, batch_size=8, dtype="float32")
        made = graph.train_graph(PIXELS, net_input, augmentations=self.augmentations, settings=settings)
        self.pipe = made.pipe
        self.pipe.build()

    def __call__(self, *draws: dict, clips=CLIP, flip: bool = False) -> list[np.ndarray]:
        clips = [clips] * len(draws) if isinstance(clips, np.ndarray) else clips
        for augmentation in self.augmentations:
            values = [np.asarray(drawn[augmentation.name], augmentation.dtype) for drawn in draws]
            self.pipe.feed_input(f"drawn_{augmentation.name}", values)
        self.pipe.feed_input("flip", [np.int32(flip)] * len(draws))
        self.pipe.feed_input("pictures", clips)
        output = self.pipe.run()[0].as_cpu()
        return [np.array(output.at(i)) for i in range(len(draws))]


def drawn(**changes) -> dict:
    return {**NEUTRAL, **changes}


def jitter(brightness=1.0, contrast=1.0, saturation=1.0, turns=0.0, **changes) -> dict:
    return drawn(color_jitter=(brightness, contrast, saturation, 360 * turns), **changes)


def operations(*chosen, num=2) -> dict:
    return drawn(auto_augment=(*chosen, NOTHING, NOTHING)[:num])


@pytest.fixture(scope="module")
def everything() -> Graph:
    return Graph(EVERYTHING)


@pytest.fixture(scope="module")
def trivial() -> Graph:
    return Graph(TRIVIAL)


def test_neutral_numbers_change_nothing(everything):
    for flip in (False, True):
        (changed,) = everything(drawn(), flip=flip)
        (plain,) = Graph(actrec.Augment())(drawn(), flip=flip)
        assert np.abs(changed - plain).max() <= 1e-3
    assert np.abs(plain - CLIP[:, :, ::-1]).max() <= 1e-3


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_brightness_contrast_and_saturation(everything, factor):
    floats = CLIP.astype(np.float64)
    gray = floats @ [0.299, 0.587, 0.114]
    changed = everything(jitter(brightness=factor), jitter(contrast=factor), jitter(saturation=factor))
    expected = (
        floats * factor, 128 + factor * (floats - 128), gray[..., None] + factor * (floats - gray[..., None])
    )  # fmt: skip
    for ours, wanted in zip(changed, expected, strict=True):
        assert np.abs(ours - wanted.clip(0, 255)).max() < 1.5


def test_contrast_comes_before_brightness_and_nothing_is_clipped_between(everything):
    (changed,) = everything(jitter(brightness=0.6, contrast=1.4))
    assert np.abs(changed - (0.6 * (128 + 1.4 * (CLIP.astype(float) - 128))).clip(0, 255)).max() < 1.5


@pytest.mark.parametrize("turns", [0.1, -0.1, 0.5])
def test_hue_turns_the_colors_and_leaves_the_luma(everything, turns):
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.321], [0.211, -0.523, 0.311]])
    cos, sin = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    turn = np.linalg.inv(to_yiq) @ [[1, 0, 0], [0, cos, sin], [0, -sin, cos]] @ to_yiq
    (changed,) = everything(jitter(turns=turns))
    assert np.abs(changed - (CLIP @ turn.T).clip(0, 255)).max() < 3
    red = np.full_like(CLIP, (200, 60, 60))
    (changed,) = everything(jitter(turns=1 / 3), clips=red)
    assert changed[0, 0, 0].argmax() == 1  # red, green, blue is the way round


def test_gray(everything):
    (changed,) = everything(jitter(saturation=1.4, turns=0.1, grayscale=True))
    assert np.abs(changed - (CLIP @ [0.299, 0.587, 0.114])[..., None]).max() < 1.5


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur(everything, sigma):
    (changed,) = everything(drawn(blur=sigma))
    expected = [
        cv2.GaussianBlur(f.astype(np.float32), (13, 13), sigma, borderType=cv2.BORDER_REFLECT_101) for f in CLIP
    ]
    assert np.abs(changed - np.stack(expected)).max() < 1.5
    assert (np.abs(changed - CLIP).max() > 5) == (sigma > 0.5)


def test_erasing_leaves_the_mean_and_all_else():
    net_input = Input(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), frames=3, size=SIZE)
    graphs = [Graph(options, net_input=net_input) for options in (actrec.Augment(), actrec.Augment(erasing=0.5))]
    for flip in (False, True):
        (expected,) = graphs[0](drawn(), flip=flip)
        erased, untouched = graphs[1](drawn(erasing=(10, 3, 7, 20)), drawn(), flip=flip)
        assert np.array_equal(untouched, expected)
        expected[:, 10:17, 3:23] = 0
        assert np.array_equal(erased, expected)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("kind", ["everything", "trivial"])
def test_every_operation_on_a_sequence_is_that_on_its_frames(request, kind, name):
    run = request.getfixturevalue(kind)
    op = OPERATIONS.index(name)
    chosen = [(op, magnitude, negated) for magnitude in (0, 15, 30) for negated in (0, 1)]
    draws = [operations(one, num=2 if kind == "everything" else 1) for one in chosen]
    whole = run(*draws)
    for i in range(len(CLIP)):
        for clip, frame in zip(whole, run(*draws, clips=CLIP[i : i + 1]), strict=True):
            assert np.array_equal(clip[i], frame[0])
    changes = [np.abs(clip - CLIP).mean() for clip in whole]
    if name == "identity":
        assert max(changes) < 1e-3
    else:
        assert min(changes[-2:]) > 1
    if name not in ("identity", "equalize", "auto_contrast"):
        assert max(changes[:2]) < 2
        assert changes[0] <= changes[2] <= changes[4]


def test_operations_are_what_their_names_say(everything):
    def operated(name, magnitude, negated=0):
        (clip,) = everything(operations(NOTHING, (OPERATIONS.index(name), magnitude, negated)))
        return clip

    shift = round(SIZE * 100 / 224)
    assert np.abs(operated("translate_x", 30)[:, :, shift:] - CLIP[:, :, :-shift]).max() < 1e-3
    assert np.abs(operated("translate_x", 30)[:, :, :shift] - 128).max() < 1e-3
    assert np.abs(operated("translate_y", 30, 1)[:, :-shift] - CLIP[:, shift:]).max() < 1e-3
    assert np.abs(operated("brightness", 10) - (1.3 * CLIP).clip(0, 255)).max() < 1
    assert np.abs(operated("brightness", 10, 1) - 0.7 * CLIP).max() < 1
    assert np.array_equal(operated("posterize", 30).round(), CLIP & 0b11110000)
    assert np.array_equal(operated("solarize", 30).round(), 255 - CLIP)
    equal = np.stack([np.dstack([cv2.equalizeHist(channel) for channel in cv2.split(f)]) for f in CLIP])
    assert np.abs(operated("equalize", 3) - equal).max() < 1.5
    low, high = CLIP.min((1, 2), keepdims=True).astype(float), CLIP.max((1, 2), keepdims=True)
    assert np.abs(operated("auto_contrast", 3) - 255 * (CLIP - low) / (high - low)).max() < 1.5
    turned = cv2.getRotationMatrix2D((SIZE / 2 - 0.5, SIZE / 2 - 0.5), 30, 1)
    inner = slice(SIZE // 3, -SIZE // 3)
    expected = np.stack([cv2.warpAffine(f, turned, (SIZE, SIZE)) for f in CLIP])[:, inner, inner]
    assert np.abs(operated("rotate", 30)[:, inner, inner] - expected).mean() < 2


def test_operations_come_one_after_the_other(everything):
    solarize, translate = (OPERATIONS.index("solarize"), 30, 0), (OPERATIONS.index("translate_x"), 30, 0)
    last, first = everything(operations(translate, solarize), operations(solarize, translate))
    assert last[0, 0, 0].tolist() == pytest.approx([127] * 3)
    assert first[0, 0, 0].tolist() == pytest.approx([128] * 3)


def random_draws() -> list[dict]:
    return [augment.draw(augment.active(EVERYTHING), size=SIZE, key=(i,)) for i in range(8)]


def test_a_clip_does_not_depend_on_its_batch(everything):
    draws = random_draws()
    clips = [np.roll(CLIP, i, axis=2) for i in range(8)]
    together = everything(*draws, clips=clips)
    for i in range(8):
        (alone,) = everything(draws[i], clips=[clips[i]])
        assert np.array_equal(alone, together[i])


@pytest.mark.gpu
def test_a_gpu_does_the_same(everything):
    on_gpu = Graph(EVERYTHING, "cuda")
    chosen = [operations((op, 20, 1)) for op in range(len(OPERATIONS))]
    for draws in (random_draws(), chosen[:7], chosen[7:]):
        for one, ours, theirs in zip(draws, everything(*draws), on_gpu(*draws), strict=True):
            assert np.abs(ours - theirs).mean() < 1, one


# in the loader

INPUT = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=SIZE)


SHORT = replace(EVERYTHING, rand_ops=1)  # the graph is built in half the time


def batches(videos, augment=SHORT, **options) -> dict[str, torch.Tensor]:
    loader = actrec.train_loader(videos, actrec.Clip(), INPUT, augment=augment, seed=5, **options)
    found = {id_: clip for batch in loader for id_, clip in zip(batch.videos, batch.clips)}
    assert not loader.skipped
    return found


@pytest.fixture(scope="module")
def stills(tmp_path_factory, make_rows):
    """Folders that show one picture all the time."""
    root = tmp_path_factory.mktemp("stills")
    for number in range(6):
        (root / str(number)).mkdir()
        for i in range(8):
            cv2.imwrite(str(root / str(number) / f"{i + 1:05d}.jpg"), picture(number))
    return make_rows(*(root / str(number) for number in range(6)))


@pytest.mark.parametrize("decoder", ["workers", "dali"])
def test_all_frames_of_a_clip_look_the_same(stills, decoder):
    plain = batches(stills, actrec.Augment(geometry="center"), batch_size=3, decoder=decoder)
    for id_, clip in batches(stills, batch_size=3, decoder=decoder).items():
        assert clip.shape == (3, 4, SIZE, SIZE)
        assert (clip - clip[:, :1]).abs().max() == 0
        assert (clip - plain[id_]).abs().mean() > 0.02


def test_workers_and_batches_change_nothing(stills):
    expected = batches(stills, batch_size=6, workers=1)
    assert len(expected) == 6
    for options in ({"batch_size": 1, "workers": 3}, {"batch_size": 4, "keep_last": True}):
        found = batches(stills, **options)
        assert found.keys() == expected.keys()
        assert all(torch.equal(clip, expected[id_]) for id_, clip in found.items())


def test_who_decodes_changes_little(media_rows):
    apart = [batches(media_rows, batch_size=6, decoder=decoder) for decoder in ("workers", "dali")]
    for id_, clip in apart[0].items():
        assert (clip - apart[1][id_]).abs().mean() < 0.03, id_


COLORS = replace(EVERYTHING, auto_augment="none")


def test_a_clip_that_is_decoded_in_parts_looks_the_same_all_over(media_rows):
    def clips(budget=None):
        task = TrainTask(media_rows, actrec.Clip(), INPUT, augment=COLORS, batch_size=6)
        (batch,) = Loader(task, decoder="dali", budget=budget)
        return batch.clips

    assert torch.equal(clips(), clips(budget=3 * 96 * 96 * 5))


@pytest.mark.gpu
def test_a_loader_does_the_same_on_a_gpu(stills, media_rows):
    for videos in (stills, media_rows):
        expected = batches(videos, COLORS, batch_size=3)
        for id_, clip in batches(videos, COLORS, batch_size=3, device="cuda").items():
            assert (clip.cpu() - expected[id_]).abs().mean() < 0.03, id_


def test_a_resumed_loader_gives_the_same_batches(stills):
    def loader():
        return actrec.train_loader(stills, actrec.Clip(), INPUT, augment=SHORT, batch_size=2, seed=3)

    first = loader()
    whole = [batch for _ in range(2) for batch in first]
    second = loader()
    second.load_state_dict({"epoch": 1, "step": 1})
    resumed = list(second)
    assert len(resumed) == 2
    for one, other in zip(resumed, whole[4:], strict=True):
        assert one.videos == other.videos
        assert torch.equal(one.clips, other.clips)
    assert not torch.equal(whole[0].clips, whole[3].clips)


def test_each_clip_of_a_repeated_video_looks_its_own_way(stills):
    loader = actrec.train_loader(stills, actrec.Clip(), INPUT, augment=COLORS, batch_size=4, repeats=2)
    for batch in loader:
        for first, second in batch.clips.unflatten(0, (2, 2)):
            assert (first - second).abs().mean() > 0.01


@pytest.fixture(scope="module")
def flow_rows(tmp_path_factory, make_rows):
    from actrec.data.flow import y_of

    folder = tmp_path_factory.mktemp("flow")
    for i in range(9):
        x = str(folder / f"{i + 1:05d}_x.jpg")
        for path, value in ((x, 40), (y_of(x), 220)):
            cv2.imwrite(path, np.full((SIZE, SIZE), value, np.uint8))
    return make_rows(folder)


@pytest.mark.parametrize("decoder", ["workers", "dali"])
def test_flow_is_blurred_and_erased(flow_rows, decoder):
    augment = actrec.Augment(geometry="center", flip=False, blur=1.0, erasing=1.0)
    loader = actrec.train_loader(
        flow_rows, actrec.Clip(modality="flow"), INPUT.with_channels(10), augment=augment, batch_size=1, decoder=decoder
    )
    (batch,) = loader
    y, x, h, w = loader.plan(0, 0).drawn["erasing"].astype(int)
    expected = torch.empty(10, 4, SIZE, SIZE)
    expected[::2], expected[1::2] = 40 / 127.5 - 1, 220 / 127.5 - 1
    expected[:, :, y : y + h, x : x + w] = 0
    assert (batch.clips[0] - expected).abs().max() < 0.02


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"color_jitter": (0.4, 0.4, 0.4, 0.1)}, "color_jitter"),
        ({"grayscale": 0.2}, "grayscale"),
        ({"auto_augment": "trivialaugment"}, "auto_augment"),
    ],
)
def test_flow_has_no_colors(flow_rows, setting, name):
    with pytest.raises(ValueError, match=f"^{name} with modality flow: flow has no colors"):
        actrec.train_loader(
            flow_rows, actrec.Clip(modality="flow"), INPUT.with_channels(10), augment=actrec.Augment(**setting),
            batch_size=1,
        )  # fmt: skip
