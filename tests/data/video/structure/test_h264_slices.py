"""The patterns for ordinary slices accept only headers that the parser accepts too, and read the same values."""

import random
from dataclasses import replace

import pytest
from numbered_videos import numbered
from structures import encode, judge

from actrec.data.video.structure import StructureCheck
from actrec.data.video.structure.bits import DoubtError, first_bits
from actrec.data.video.structure.h264 import H264Check
from actrec.data.video.structure.h264_sets import Pps, Sps
from actrec.data.video.structure.h264_slices import OrdinarySlices

SPS = Sps(1, 4, 0, 6, True, True, True, 2, 8)
PPS = Pps(True, False, (3, 1), True, False, 26, True)
HEADERS = (0x01, 0x21, 0x41, 0x61, 0x25, 0x65)


def parser(sps, pps):
    check = H264Check(b"", 0)
    check._sps, check._pps = sps, pps
    return check


def parsed(check, unit):
    """What the parser makes of a slice, as `H264Check._picture` calls it."""
    for size in (16, 40, 2000):
        try:
            return check._parse_slice(first_bits(unit, 0, len(unit), size, 1), unit[0])
        except DoubtError:
            if size >= len(unit):
                return None
    return None


def code(value):
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def random_slice(rng):
    """A slice with plausible fields in a random number, so that many of them are nearly or entirely correct."""
    fields = ["1", code(rng.choice([0, 1, 2, 5, 6, 7])), code(rng.choice([0, 0, 0, 1, 3]))]
    fields += [f"{rng.getrandbits(10):010b}" for _ in range(1)]
    for _ in range(rng.randrange(40)):
        fields.append(
            rng.choice([rng.choice("01"), "1", code(rng.randrange(4)), code(rng.choice([3, 14, 15, 31, 127]))])
        )
    bits = "".join(fields) + f"{rng.getrandbits(400):0400b}"
    return bytes([rng.choice(HEADERS)]) + int(bits[:400], 2).to_bytes(50, "big")


SETS = {
    "x264's": (SPS, PPS),
    "without CABAC, weights and filter options": (
        SPS,
        replace(PPS, cabac=False, weighted_p=False, has_deblocking=False),
    ),
    "weights in B slices, gray": (replace(SPS, chroma_format=0), replace(PPS, weighted_b=True, num_refs=(2, 2))),
    "frames in a file of fields": (replace(SPS, frames_only=False), PPS),
    "no B slices in fields": (replace(SPS, frames_only=False, direct_8x8=False), PPS),
    "counts of type 2": (replace(SPS, order_type=2, order_bits=0), PPS),
    "differences of bottom fields": (SPS, replace(PPS, has_bottom_order=True)),
    "an unusual quantization": (replace(SPS, bit_depth=10), replace(PPS, qp=2)),
    "too many references": (SPS, replace(PPS, num_refs=(20, 20))),
    "long frame numbers": (replace(SPS, frame_num_bits=16, order_bits=16), PPS),
}


@pytest.mark.parametrize("name", SETS)
def test_a_pattern_accepts_only_what_the_parser_reads_in_the_same_way(name):
    sps, pps = SETS[name]
    sets = {0: pps, 1: replace(pps, qp=40, num_refs=(1, 1))}
    ordinary, check = OrdinarySlices(sps, sets), parser(sps, sets)
    rng, num_read = random.Random(name), 0
    for _ in range(4000):
        unit = random_slice(rng)
        if (found := ordinary.read(unit, 0, len(unit))) is not None:
            num_read += 1
            assert found == parsed(check, unit), unit.hex()
    assert num_read > 50 or name in ("differences of bottom fields", "too many references")


@pytest.mark.parametrize(
    "options", ["bframes=3:b-pyramid=normal:ref=4", "ref=5:bframes=0", "weightp=2:qp=10", "cabac=0", "keyint=1"]
)
def test_nearly_all_slices_of_an_encoder_are_ordinary(tmp_path, options, monkeypatch):
    path = encode(tmp_path / "a.mp4", [numbered(n) for n in range(40)], "libx264", {"x264-params": options})
    judged = judge(path)
    assert judged.doubt is None
    read, parse, counts = OrdinarySlices.read, H264Check._parse_slice, {"read": 0, "parsed": 0}

    def counted_read(self, *args):
        found = read(self, *args)
        counts["read"] += found is not None
        return found

    def counted_parse(self, *args):
        counts["parsed"] += 1
        return parse(self, *args)

    monkeypatch.setattr(OrdinarySlices, "read", counted_read)
    monkeypatch.setattr(H264Check, "_parse_slice", counted_parse)
    check = StructureCheck(judged.codec, judged.extradata or b"", judged.container, judged.depth)
    for data, pts, is_key in judged.packets:
        check.packet(data, pts, is_key)
    assert check.doubt() is None
    assert counts["read"] >= 30
    assert counts["parsed"] <= 10
