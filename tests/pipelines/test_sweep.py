"""Windows over one video: the clips of list rows with these ranges, from a single decode."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from timed_videos import VARIABLE, write_timed

import actrec
from actrec.config import Clip, Input, Views, Windows
from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.container import MediaError
from actrec.data.video.read import verify_video
from actrec.engine.evaluate import score
from actrec.pipelines.sweep import Sweep

INPUT = Input(mean=(0.4, 0.5, 0.6), std=(0.3, 0.4, 0.5), frames=4, size=32)
UNIFORM, DENSE = Clip(frames=4), Clip(frames=4, stride=3, sampling="dense")
WINDOWS = Windows(every=0.2, window=0.8)  # 5 and 20 frames: each frame is in four windows


def whole(path) -> Video:
    return Video(str(path), str(path), None, None, ())


def clips_of(loader) -> dict[str, torch.Tensor]:
    """The views of each video. Batches are copied, because their memory is used again."""
    found = {}
    for batch in loader:
        found |= zip(batch.videos, batch.clips.clone().unflatten(0, (-1, batch.views)))
    return found


def assert_equals_evaluation(sweep: Sweep, *, certificate=None):
    index = build_index(sweep.videos, flow=sweep.media.flow)
    if certificate is not None:
        index.set_certificate(0, certificate)
    options = {"views": sweep._task.views, "index": index, "batch_size": 3, "channels_last": sweep._channels_last}
    expected = clips_of(actrec.eval_loader(sweep.videos, sweep.clip, sweep.input, **options))
    found = clips_of(sweep)
    assert list(found) == list(expected) == [video.id for video in sweep.videos]
    assert all(torch.equal(found[id_], expected[id_]) for id_ in expected)


@pytest.fixture
def folder(tmp_path, numbers):
    path = numbers.folder(tmp_path / "frames")
    (path / "fps").write_text("25\n")
    return path


@pytest.mark.parametrize("clip", [UNIFORM, DENSE], ids=["uniform", "dense"])
@pytest.mark.parametrize("views", [Views(), Views(clips=2, crops=3)], ids=["1x1", "2x3"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_windows_equal_list_rows(media_rows, folder, clip, views, channels_last):
    for path in [*(video.path for video in media_rows if video.id != "folder"), folder]:
        sweep = Sweep(whole(path), WINDOWS, clip, INPUT, views=views, batch_size=2, channels_last=channels_last)
        assert_equals_evaluation(sweep)
        assert sweep.skipped == {}
        assert sweep.decoded <= sweep.media.frames


def test_windows_of_a_certified_file_equal_list_rows(tmp_path, numbers):
    path = numbers.video(tmp_path / "a-h264_b.mp4")
    certificate = verify_video(path).certificate
    assert certificate is not None
    assert_equals_evaluation(Sweep(whole(path), WINDOWS, UNIFORM, INPUT), certificate=certificate)


def test_scores_equal_those_of_evaluate(tmp_path, numbers):
    torch.manual_seed(0)
    net = actrec.net("resnet3d_10", num_classes=3, widen=0.125)
    views = Views(clips=2, crops=3)
    sweep = Sweep(whole(numbers.video(tmp_path / "h264.mp4")), WINDOWS, DENSE, INPUT, views=views)
    found = score(net, sweep)
    expected = actrec.evaluate(net, actrec.eval_loader(sweep.videos, DENSE, INPUT, views=views, batch_size=1))
    assert found.ids == expected.ids
    assert np.array_equal(found.scores, expected.scores)


def test_each_frame_is_decoded_once_and_the_clips_show_the_planned_frames(tmp_path, numbers):
    path = numbers.video(tmp_path / "h264.mp4")
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=20, size=96)
    sweep = Sweep(whole(path), Windows(every=0.04, window=0.8), Clip(), net_input, views=Views(crop_ratio=1.0))
    clips = clips_of(sweep)
    assert sweep.ranges.tolist() == [[start, start + 20] for start in range(21)]
    assert np.allclose(sweep.times, sweep.ranges / 25)
    assert list(clips)[:2] == [f"{path} 1-20", f"{path} 2-21"]
    for (start, stop), views in zip(sweep.ranges.tolist(), clips.values()):
        assert numbers.read(views)[0].tolist() == list(range(start, stop))
    assert (sweep.decoded, sweep.delivered, sweep.media.frames) == (40, 40, 40)
    clips_of(sweep)  # again, from the start
    assert sweep.decoded == 80


def test_a_row_with_a_range_and_one_in_seconds(tmp_path, numbers):
    path = str(numbers.video(tmp_path / "h264.mp4"))
    for row in (Video("x", path, 10, 35, ()), Video("x", path, 0.4, 1.4, ())):
        sweep = Sweep(row, WINDOWS, UNIFORM, INPUT)
        assert sweep.ranges[0].tolist() == [0, 20]
        assert sweep.videos[0].id == f"{path} 11-30"
        assert_equals_evaluation(sweep)


@pytest.mark.parametrize("first", [0, 7])
def test_a_folder_that_is_not_numbered_from_one(tmp_path, numbers, first):
    path = tmp_path / "frames"
    path.mkdir()
    for i, image in enumerate(sorted(numbers.folder(tmp_path / "source").iterdir())):
        image.rename(path / f"{i + first:05d}.jpg")
    (path / "fps").write_text("25")
    sweep = Sweep(whole(path), WINDOWS, UNIFORM, INPUT)
    assert sweep.videos[0].start == first - 1
    assert_equals_evaluation(sweep)


@pytest.mark.parametrize("frames", [5, 12])
def test_flow(tmp_path, frames):
    noise = np.random.default_rng(0)
    for i in range(30):
        for axis in "xy":
            cv2.imwrite(str(tmp_path / f"{i + 1:05d}_{axis}.jpg"), noise.integers(0, 255, (40, 50), np.uint8))
    (tmp_path / "fps").write_text("10")
    clip = Clip(frames=4, modality="flow")
    options = {"clip": clip, "net_input": INPUT.with_channels(10), "views": Views(clips=2, crops=10)}
    windows = Windows(every=0.3, window=frames / 10)
    if frames == 5:
        with pytest.raises(ValueError, match="`window` of 5 frames with optical flow: expected at least 6"):
            Sweep(whole(tmp_path), windows, **options)
        return
    assert_equals_evaluation(Sweep(whole(tmp_path), windows, **options))


def test_a_video_shorter_than_a_window_is_one_window(tmp_path, numbers):
    sweep = Sweep(whole(numbers.video(tmp_path / "a-h264.mp4", frames=3)), WINDOWS, UNIFORM, INPUT)
    assert sweep.ranges.tolist() == [[0, 3]]
    assert_equals_evaluation(sweep)


def test_only_what_unfinished_windows_need_is_held(tmp_path, numbers):
    path = numbers.video(tmp_path / "a-h264.mp4", frames=400)
    sweep = Sweep(whole(path), Windows(every=0.2, window=0.8), Clip(frames=20), INPUT, batch_size=1, prefetch=1)
    held = [sweep.num_held for _ in sweep]
    assert len(held) == 77
    assert 0 < max(held) <= 20
    assert sweep.num_held == 0


def test_stopping_early_ends_the_thread_and_closes_the_file(tmp_path, numbers, monkeypatch):
    from actrec.pipelines import sweep as module

    open_files = []
    real = module.iter_wanted

    def counting(*args, **options):
        open_files.append(1)
        try:
            yield from real(*args, **options)
        finally:
            open_files.pop()

    monkeypatch.setattr(module, "iter_wanted", counting)
    path = numbers.video(tmp_path / "a-h264.mp4", frames=400)
    sweep = Sweep(whole(path), WINDOWS, UNIFORM, INPUT, batch_size=1)
    batches = iter(sweep)
    next(batches)
    assert open_files
    batches.close()
    assert not open_files
    assert sweep.decoded < 100
    assert len(clips_of(sweep)) == len(sweep.videos)  # a new iteration starts from the beginning


def test_a_file_that_ends_early(tmp_path, numbers):
    """The frames before are scored; the window at the end repeats the last frame; later ones are named."""
    whole_file = numbers.video(tmp_path / "a-vp9.webm", frames=200)
    torn = tmp_path / "torn-vp9.webm"
    sweep = Sweep(whole(whole_file), WINDOWS, UNIFORM, INPUT, batch_size=2)
    data = whole_file.read_bytes()
    torn.write_bytes(data)
    torn_sweep = Sweep(whole(torn), WINDOWS, UNIFORM, INPUT, batch_size=2)
    torn.write_bytes(data[: len(data) // 2])  # after the index has counted its frames
    found, expected = clips_of(torn_sweep), clips_of(sweep)
    assert 5 < len(found) < 30
    assert len(found) + len(torn_sweep.skipped) == len(torn_sweep.videos)
    for id_, clips in [*found.items()][:-5]:
        assert torch.equal(clips, expected[id_.replace("torn", "a")])
    assert torn_sweep.clamped > 0
    last = torn_sweep.decoded
    reasons = set(torn_sweep.skipped.values())
    assert reasons == {f"{torn}: it ends after frame {last} of 200 ({last / 25:.1f} s)"}
    evaluated = clips_of(actrec.eval_loader(torn_sweep.videos, UNIFORM, INPUT, index=torn_sweep.index))
    assert all(torch.equal(clips, evaluated[id_]) for id_, clips in found.items())


def test_a_torn_image_takes_only_its_windows_with_it(folder):
    sweep = Sweep(whole(folder), WINDOWS, Clip(frames=20), INPUT)
    (folder / "00013.jpg").write_bytes(b"no image")
    found = clips_of(sweep)
    assert [*found] == [video.id for video, (start, _) in zip(sweep.videos, sweep.ranges) if start > 12]
    assert len(sweep.skipped) == 3
    assert all("00013.jpg: not an image" in reason for reason in sweep.skipped.values())


def test_what_cannot_be_swept(tmp_path, numbers):
    with pytest.raises(MediaError, match="no such file"):
        Sweep(whole(tmp_path / "gone.mp4"), WINDOWS, UNIFORM, INPUT)
    path = numbers.folder(tmp_path / "frames")
    with pytest.raises(MediaError, match="frames per second, and the folder has no file `fps` that contains it"):
        Sweep(whole(path), WINDOWS, UNIFORM, INPUT)


def test_pictures_that_dali_finishes(tmp_path, numbers):
    """On a GPU, DALI crops and normalizes the pictures. The same route runs here, with a graph for the CPU."""
    pytest.importorskip("nvidia.dali")
    from actrec.pipelines.loader import _dali_feeder

    views = Views(clips=2, crops=3)
    path = numbers.video(tmp_path / "h264.mp4")
    expected = clips_of(Sweep(whole(path), WINDOWS, UNIFORM, INPUT, views=views, batch_size=2))
    sweep = Sweep(whole(path), WINDOWS, UNIFORM, INPUT, views=views, batch_size=2)
    sweep._workers_finish = False
    sweep._feeder = _dali_feeder(sweep.task, sweep.device, 1, "float32", None)
    found = clips_of(sweep)
    assert list(found) == list(expected)
    assert all(torch.allclose(found[id_], expected[id_], atol=1e-5) for id_ in expected)


def test_windows_of_a_variable_rate(tmp_path):
    path = write_timed(tmp_path / "v.mp4", VARIABLE)
    sweep = Sweep(whole(path), Windows(every=1, window=1), UNIFORM, INPUT)
    assert sweep.ranges.tolist() == [[0, 5], [5, 10], [10, 40], [40, 70]]
    assert sweep.times == pytest.approx(np.array([[0, 1], [1, 2], [2, 3], [3, 4]]), abs=1e-3)
    assert_equals_evaluation(sweep)
    part = Sweep(Video("v", str(path), 1.0, 3.0, ()), Windows(every=1, window=1), UNIFORM, INPUT)
    assert (part.media.start, part.ranges.tolist()) == (5, [[0, 5], [5, 35]])
    assert part.times == pytest.approx(np.array([[0, 1], [1, 2]]), abs=1e-3)


def test_windows_of_a_video_that_begins_late(tmp_path):
    path = write_timed(tmp_path / "v.mkv", [time + 500 for time in VARIABLE], sound=(0, 2))
    sweep = Sweep(whole(path), Windows(every=1, window=1), UNIFORM, INPUT)
    assert sweep.times[:, 0] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=1e-2)  # as rows of a list count
    assert sweep.ranges.tolist() == [[0, 5], [5, 10], [10, 40], [40, 70]]
