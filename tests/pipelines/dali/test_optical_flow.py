from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.config import FLOW_PAIRS, FlowOptions, Input
from actrec.data.flow import y_of
from actrec.data.index import build_index
from actrec.pipelines.dali import optical_flow as hardware
from actrec.pipelines.loader import Loader
from actrec.pipelines.task import TrainTask
from actrec.tools.make.extract_flow import dis, flow_of_video

INPUT = Input(mean=(0.5,) * 10, std=(0.5,) * 10, frames=4, size=24)
WHOLE = actrec.Augment(geometry="center", flip=False)
DECODERS = ["workers", "dali"]
CLIPS = [
    actrec.Clip(frames=4, modality="flow"),
    actrec.Clip(frames=3, stride=2, sampling="dense", modality="flow"),
]


def write_pairs(folder, pairs, picture):
    """A folder of flow; picture(i, axis) makes x and y of pair i."""
    folder.mkdir()
    for i in range(pairs):
        x = str(folder / f"{i + 1:05d}_x.jpg")
        for j, path in enumerate((x, y_of(x))):
            cv2.imwrite(path, picture(i, j), [cv2.IMWRITE_JPEG_QUALITY, 100])
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory, make_rows):
    """Twelve pairs, whose x is 10 + 4 i and whose y is 2 more; and such a video of three."""
    root = tmp_path_factory.mktemp("flat")

    def picture(i, axis):
        return np.full((24, 30), 10 + 4 * i + 2 * axis, np.uint8)

    return make_rows(write_pairs(root / "a", 12, picture), write_pairs(root / "b", 3, picture))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, make_rows):
    root, rng = tmp_path_factory.mktemp("noisy"), np.random.default_rng(0)
    folders = [write_pairs(root / name, 9, lambda *_: rng.integers(0, 255, (24, 30), np.uint8)) for name in "abcdef"]
    return make_rows(*folders)


def values(clips_NCTHW) -> np.ndarray:
    """(N, T, 10): the bytes that flat clips show."""
    assert (clips_NCTHW.amax((-1, -2)) - clips_NCTHW.amin((-1, -2))).max() < 0.01
    return ((clips_NCTHW.mean((-1, -2)) * 0.5 + 0.5) * 255).round().int().permute(0, 2, 1).cpu().numpy()


def stacks(positions: np.ndarray, last: int) -> np.ndarray:
    """(clips, T, 10): what the flat videos' clips must show."""
    pairs = np.minimum(positions[..., None] + np.arange(FLOW_PAIRS), last)
    return (10 + 4 * pairs[..., None] + np.array([0, 2])).reshape(*positions.shape, 2 * FLOW_PAIRS)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("clip", CLIPS, ids=["uniform", "dense"])
def test_a_frame_is_x_and_y_of_five_consecutive_flows(flat, clip, decoder):
    check_stacks(flat, clip, decoder, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("decoder", ["auto", "workers"])
def test_a_frame_is_x_and_y_of_five_consecutive_flows_on_a_gpu(flat, decoder):
    check_stacks(flat, CLIPS[0], decoder, "cuda")


def check_stacks(videos, clip, decoder, device):
    loader = actrec.train_loader(
        videos, clip, INPUT, augment=WHOLE, batch_size=2, decoder=decoder, device=device, seed=1
    )
    for epoch in range(2):
        (batch,) = loader
        assert batch.clips.shape == (2, 10, clip.frames, 24, 24)
        for shown, id_ in zip(values(batch.clips), batch.videos):
            row = "ab".index(id_)
            positions = loader.plan(epoch, row).frames
            assert positions.max() <= (7 if id_ == "a" else 0)  # 12 pairs leave eight places to begin
            assert shown.tolist() == stacks(positions, 11 if id_ == "a" else 2).tolist()
    views = actrec.Views(clips=2, crops=3, crop_ratio=1)
    (batch,) = actrec.eval_loader(videos, clip, INPUT, views=views, decoder=decoder, device=device)
    sampler = actrec.samplers.uniform if clip.sampling == "uniform" else actrec.samplers.dense
    stride = {} if clip.sampling == "uniform" else {"stride": clip.stride}
    expected = stacks(sampler(num_frames=8, frames=clip.frames, clips=2, **stride), 11)
    assert values(batch.clips[:6]).tolist() == np.tile(expected, (3, 1, 1)).tolist()


def mirrored(clips_NCTHW):
    """The clips of the mirror image: all that moved to the left moves to the right."""
    flipped = clips_NCTHW.flip(-1).clone()
    flipped[:, ::2] *= -1
    return flipped


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_mirrored_clip_moves_the_other_way(noisy, decoder, channels_last):
    check_mirrored(noisy, decoder, channels_last, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("decoder", ["auto", "workers"])
def test_a_mirrored_clip_moves_the_other_way_on_a_gpu(noisy, decoder):
    check_mirrored(noisy, decoder, True, "cuda")


def check_mirrored(videos, decoder, channels_last, device):
    common = {"decoder": decoder, "device": device, "channels_last": channels_last}
    flips, flip = [], actrec.Augment(geometry="center")
    loader = actrec.train_loader(videos, CLIPS[0], INPUT, augment=flip, batch_size=6, **common)
    plain = actrec.train_loader(videos, CLIPS[0], INPUT, augment=WHOLE, batch_size=6, **common)
    for batch, unflipped in zip(loader, plain):
        for i, id_ in enumerate(batch.videos):
            flips.append(loader.plan(0, "abcdef".index(id_)).flip)
            expected = mirrored(unflipped.clips[i : i + 1]) if flips[-1] else unflipped.clips[i : i + 1]
            assert torch.allclose(batch.clips[i : i + 1], expected, atol=1e-6)
    assert {*flips} == {True, False}
    views = actrec.Views(clips=2, crops=10, crop_ratio=0.8)
    (batch,) = actrec.eval_loader(videos[:2], CLIPS[0], INPUT, views=views, **common)
    clips = batch.clips.unflatten(0, (2, 5, 2, 2))  # video, crop, whether mirrored, clip
    for each in clips.flatten(0, 1):
        assert torch.allclose(each[1], mirrored(each[0]), atol=1e-6)


def test_both_decoders_and_types_show_the_same(noisy):
    net_input = Input(mean=(0.5,) * 10, std=(0.25,) * 10, frames=4, size=16)
    found = []
    for options in ({"decoder": "workers"}, {"decoder": "dali"}, {"decoder": "workers", "dtype": "float16"}):
        loader = actrec.train_loader(noisy, CLIPS[0], net_input, batch_size=6, seed=3, **options)
        found.append(next(iter(loader)).clips)
    assert (found[0] - found[1]).abs().mean() < 2 / 255 / 0.25
    assert (found[0] - found[2]).abs().max() < 0.01


def test_in_parts(noisy):
    task = TrainTask(noisy, CLIPS[0], INPUT, augment=actrec.Augment(), batch_size=3, seed=2)
    whole, parts = (Loader(task, decoder="dali", budget=budget) for budget in (None, 3 * 10 * 24 * 30))
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one.clips, other.clips)


def test_zero_motion_stays_zero_with_another_mean(noisy):
    net_input = Input(mean=(0.25,) * 10, std=(0.5,) * 10, frames=4, size=24)
    loader = actrec.train_loader(noisy, CLIPS[0], net_input, augment=actrec.Augment(geometry="center"), batch_size=6)
    plain = actrec.train_loader(noisy, CLIPS[0], net_input, augment=WHOLE, batch_size=6)
    (batch,), (unflipped,) = loader, plain
    pixels, expected = batch.clips * 0.5 + 0.25, (unflipped.clips * 0.5 + 0.25).flip(-1)
    expected[:, ::2] = 1 - expected[:, ::2]
    i = next(i for i, id_ in enumerate(batch.videos) if loader.plan(0, "abcdef".index(id_)).flip)
    assert torch.allclose(pixels[i], expected[i], atol=1e-6)


def test_an_image_that_vanishes_takes_its_video_alone(flat, tmp_path, make_rows):
    folder = write_pairs(tmp_path / "c", 6, lambda *_: np.zeros((24, 30), np.uint8))
    loader = actrec.eval_loader([*flat, *make_rows(folder)], CLIPS[0], INPUT)
    (folder / "00004_y.jpg").unlink()
    (batch,) = loader
    assert batch.videos == ["a", "b"]
    assert loader.skipped == {"c": f"{folder / '00004_y.jpg'}: the image is missing"}


def test_channels_that_do_not_fit(flat):
    colors = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=24)
    with pytest.raises(ValueError, match=r"3 and 3 channels with modality flow: expected 10, .*in_channels=10\)"):
        actrec.train_loader(flat, CLIPS[0], colors)
    with pytest.raises(ValueError, match="10 and 10 channels with modality rgb: expected 3"):
        actrec.train_loader(flat, actrec.Clip(), INPUT)
    uneven = Input(mean=(0.5,) * 9 + (0.4,), std=(0.5,) * 10, frames=4, size=24)
    with pytest.raises(ValueError, match="differ from channel to channel"):
        actrec.train_loader(flat, CLIPS[0], uneven)
    with pytest.raises(
        ValueError, match=r"modality flow with an index of another one: expected build_index\(…, flow=True\)"
    ):
        actrec.train_loader(flat, CLIPS[0], INPUT, batch_size=2, index=build_index(flat, lazy=True))
    with pytest.raises(ValueError, match="modality 'audio': expected one of rgb, flow"):
        actrec.Clip(modality="audio")


def moving(frames, x, *, width=96, height=64):
    noise = np.random.default_rng(0).integers(0, 255, (height // 4, width // 4 + 40)).astype(np.uint8)
    whole = cv2.resize(noise, (width + 160, height), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(whole[:, 80 - i * x : 80 - i * x + width]) for i in range(frames)]


def test_the_flow_of_the_mirror_image_is_the_mirrored_flow(tmp_path, make_rows):
    """From the pictures to the clips: what the loader mirrors is what mirrored pictures would have given."""
    pictures = moving(6, 3)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, turned in zip(folders, (False, True)):
        folder.mkdir()
        for i, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"{i + 1:05d}.png"), picture[:, ::-1] if turned else picture)
        flow_of_video(folder, folder, FlowOptions(), dis)
    net_input = Input(mean=(0.5,) * 10, std=(0.5,) * 10, frames=1, size=64)
    clip = actrec.Clip(frames=1, modality="flow")
    views = actrec.Views(crops=10, crop_ratio=1)
    (batch,) = actrec.eval_loader(make_rows(*folders), clip, net_input, views=views)
    plain, turned = batch.clips.unflatten(0, (2, 10))
    center, its_mirror_image, of_mirrored = plain[8], plain[9], turned[8]
    assert center[::2].mean() == pytest.approx(3 / 20, abs=0.01)
    assert of_mirrored[::2].mean() == pytest.approx(-3 / 20, abs=0.01)
    assert (its_mirror_image - of_mirrored).abs().mean() < 0.01


# ---- the GPU's flow ----


class Backwards:
    """A pipeline as DALI's: of each pixel of the later picture, at half the resolution, where it came from."""

    def __init__(self):
        self.lengths = []

    def feed_input(self, name, samples):
        (self._pictures,) = samples
        assert self._pictures.shape[-1] == 3
        self.lengths.append(len(self._pictures))

    def run(self):
        estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        gray = np.ascontiguousarray(self._pictures[..., 0])
        flows = [estimator.calc(later, earlier, None)[::2, ::2] for earlier, later in zip(gray, gray[1:])]
        return [self._Output(np.stack(flows))]

    class _Output:
        def __init__(self, flows):
            self._flows = flows

        def as_cpu(self):
            return self

        def at(self, i):
            assert i == 0
            return self._flows


def test_the_hardware_is_asked_for_flow_in_the_direction_of_opencv(monkeypatch):
    pipe = Backwards()
    monkeypatch.setattr(hardware, "_pipeline", lambda grid, device_id: pipe)
    pictures = moving(40, 2)
    flows = list(hardware.HardwareFlow()(iter(pictures)))
    assert pipe.lengths == [2, 32, 9]  # one picture of a chunk begins the next
    assert len(flows) == 39
    for flow, expected in zip(flows, dis(iter(pictures))):
        assert flow.shape == (64, 96, 2)
        assert np.abs(flow - expected).mean() < 0.2
    assert np.mean([flow[..., 0].mean() for flow in flows]) == pytest.approx(2, abs=0.1)
    assert list(hardware.HardwareFlow()(iter(pictures[:1]))) == []


def test_a_gpu_without_flow_is_named(monkeypatch):
    def none(grid, device_id):
        raise RuntimeError("Failed to create Optical Flow\ncontext")

    monkeypatch.setattr(hardware, "_pipeline", none)
    with pytest.raises(ValueError, match=r"offers no optical flow \(Failed to create Optical Flow context\): --device"):
        hardware.HardwareFlow()


@pytest.mark.gpu
def test_the_hardware_sees_what_moves():
    flows = list(hardware.HardwareFlow()(iter(moving(40, 3))))
    assert len(flows) == 39
    inner = np.stack(flows)[:, 16:-16, 16:-16]
    assert inner[..., 0].mean() == pytest.approx(3, abs=0.3)
    assert inner[..., 1].mean() == pytest.approx(0, abs=0.3)
