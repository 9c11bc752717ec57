"""Small videos with known pictures, and what they show."""

from __future__ import annotations

import numpy as np
import pytest

from actrec.data.video import sample
from actrec.data.video.encode import EncoderError
from actrec.data.video.sample import SAMPLES, difference, fault_of_decoding, pictures


@pytest.mark.parametrize("codec", SAMPLES)
def test_every_codec_is_decoded_as_it_was_encoded(codec):
    try:
        assert fault_of_decoding(codec) is None
    except EncoderError:
        pytest.skip("FFmpeg cannot encode it here")


def test_the_pictures_differ_by_more_than_what_is_tolerated():
    made = [picture.astype(np.float32) for picture in pictures()]
    assert min(np.abs(a - b).mean() for i, a in enumerate(made) for b in made[:i]) > 4 * sample.FAR


def test_differences():
    made = pictures()
    assert difference(made, made) is None
    assert difference([picture + 2 for picture in made], made) is None
    assert difference(made[::-1], made) == "the pixels are wrong, by 125 of 255 in the mean"
    assert difference([picture[..., ::-1] for picture in made], made).startswith("the pixels are wrong")
    assert difference(made[1:], made) == "5 pictures of (192, 256, 3) came out instead of 6"
    assert difference([], made) == "0 pictures of () came out instead of 6"


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(sample, "_has_decoder", lambda codec: False)
    assert fault_of_decoding("h264") == "FFmpeg has no decoder for it"
    monkeypatch.setattr(sample, "_has_decoder", lambda codec: True)
    monkeypatch.setattr(sample, "can_encode", lambda encoder: False)
    with pytest.raises(EncoderError, match="FFmpeg has no encoder libx264 here"):
        fault_of_decoding("h264")


def test_wrong_frames_are_noticed(monkeypatch):
    monkeypatch.setattr(sample, "iter_frames", lambda path: ((rgb, None) for rgb in reversed(pictures())))
    assert fault_of_decoding("h264").startswith("the pixels are wrong")
