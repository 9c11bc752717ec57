"""Protocols choose the frames and crops of the programs that published the numbers."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

import actrec
from actrec.data.sampling.protocols import PROTOCOLS

# In the goldens these rates are written as decimals.
RATES = {"23.976": "24000/1001", "29.97": "30000/1001", "59.94": "60000/1001", "28.05": "2160/77"}


@pytest.fixture(scope="module")
def goldens(shared_spec: Path) -> dict:
    return json.loads((shared_spec / "golden_protocols.json").read_text())


def rate(text: str) -> Fraction:
    return Fraction(RATES.get(text, text))


def test_every_protocol_of_the_goldens_is_known(goldens):
    assert set(PROTOCOLS) == set(goldens["protocols"])


def test_frames_equal_the_goldens(goldens):
    wrong = []
    for name, golden in goldens["protocols"].items():
        for num_frames, fps, clips, *_ in goldens["temporal"][golden["temporal"]]:
            frames = actrec.protocol(name).frames(num_frames, rate(fps))
            if ([] if frames is None else frames.tolist()) != clips:
                wrong.append((name, num_frames, fps))
    assert not wrong


def test_crops_equal_the_goldens(goldens):
    wrong = []
    for name, golden in goldens["protocols"].items():
        for width, height, resized, crop, crops, *_ in goldens["spatial"][golden["spatial"]]:
            geometry = actrec.protocol(name).geometry(width, height)
            if geometry != (tuple(resized), tuple(crop), [(x, y, bool(flip)) for x, y, flip in crops]):
                wrong.append((name, width, height))
    assert not wrong
