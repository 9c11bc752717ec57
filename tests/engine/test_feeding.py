from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import actrec
from actrec.data.video.encode import VideoWriter
from actrec.engine.feeding import Feeding, measure

SLOW = Feeding(
    loader=10.0,
    net=40.0,
    both=9.0,
    waiting=0.7,
    decoding=12.0,
    decoded_per_clip=212.0,
    decoded_per_frame=26.5,
    encoded_per_clip=None,
    gop=250.0,
    from_start=0,
    files=20,
    gop16_per_clip=60.0,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "loader-bound: the net alone takes 4.0 times the clips that the loader gives; 212 decoded frames per "
             "clip, keyframes 250 frames apart: `actrec prepare --gop 16` would reduce that to about 60"),
        ({"loader": 67.8, "net": 9.3, "waiting": 0.05}, "net-bound: the loader alone gives 7.3 times the clips that"),
        ({"loader": 423.7, "net": 30.3, "waiting": 0.08}, "net-bound: the loader alone gives 14.0 times the clips"),
        ({"loader": 40.0}, "bound by both: the loader alone and the net alone are about equally fast; only a faster"),
        ({"loader": 35.0, "waiting": 0.0}, "bound by both: "),
        ({"loader": 48.0}, "bound by both: "),
        ({"from_start": 15, "gop": None}, "15 of 20 files can only be decoded from their start, 212 frames per clip"),
        ({"decoded_per_clip": None, "gop16_per_clip": None, "loader": 2.0}, "decoding is not what limits it"),
        ({"gop": 12.0, "gop16_per_clip": 210.0}, "decoding takes most of the time: smaller pictures"),
        ({"gop": None, "decoded_per_clip": None, "decoding": 80.0}, "decoding is not what limits it: more --workers"),
        ({"gop": None, "decoded_per_clip": None, "decoding": None, "engines": {"NVDEC": 0.93}}, "decoders are busy"),
    ],
)  # fmt: skip
def test_advice(changes, words):
    assert words in replace(SLOW, **changes).advice


def test_long_gops_are_measured_as_such(tmp_path):
    rng = np.random.default_rng(0)
    videos = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.mp4"
        with VideoWriter(path, width=64, height=48, rate=25, gop=100, options={"sc_threshold": "0"}) as video:
            for _ in range(100):
                video.write(rng.integers(0, 256, (48, 64, 3), np.uint8))
        videos.append(actrec.Video(name, str(path), None, None, (0,)))
    stages = []
    fed = measure(
        videos, "tsn_resnet18", actrec.Clip(frames=8), batch_size=2, size=32, seconds=0.3, progress=stages.append
    )
    assert stages == [1] * 5
    assert min(fed.loader, fed.net, fed.both, fed.decoding) > 0
    assert 0 < fed.waiting < 1
    assert (fed.gop, fed.from_start, fed.files) == (100, 0, 2)
    assert 88 <= fed.decoded_per_clip <= 100  # up to the frame in the last eighth
    assert fed.decoded_per_frame == pytest.approx(fed.decoded_per_clip / 8)
    assert 40 < fed.gop16_per_clip < 90


def test_nothing_to_measure(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    videos = [actrec.Video("a", str(tmp_path / "a.mp4"), None, None, (0,))]
    with pytest.raises(ValueError, match="the only video cannot be used"):
        measure(videos, "tsn_resnet18", actrec.Clip(frames=8), batch_size=1, size=32, seconds=0.1)
