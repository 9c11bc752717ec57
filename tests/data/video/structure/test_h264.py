"""What an H.264 stream must not do, in streams that are written bit by bit."""

import pytest

from actrec.data.video.structure import StructureCheck
from actrec.data.video.structure.h264 import x264_unit

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
P, B, INTRA = 5, 6, 7  # all slices of a picture are of this type
IDR, SLICE = 0x65, 0x41  # headers of NAL units; a slice of a picture to which none refers begins with 0x01


def ue(value):
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def se(value):
    return ue(2 * value - 1 if value > 0 else -2 * value)


def unit(header, *parts):
    """A NAL unit with the bit that ends it, and emulation prevention."""
    bits = "".join(parts) + "1"
    bits += "0" * (-len(bits) % 8)
    data = bytes([header]) + int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")


def sps(*, number=0, order_type=0, frames_only=1, size=8, delay=None):
    """Baseline. frame_num and the low bits of picture order counts have four bits each."""
    order = {0: ue(0), 1: "1" + se(0) + se(0) + ue(0), 2: ""}[order_type]
    frames = "1" if frames_only else "00"
    restriction = "0" if delay is None else "1" + "0" * 8 + "11" + ue(2) + ue(1) + ue(10) + ue(10) + ue(delay) + ue(4)
    return unit(
        0x67,
        f"{77:08b}{0:08b}{30:08b}",
        ue(number) + ue(0) + ue(order_type) + order + ue(4) + "0" + ue(size - 1) + ue(size - 1) + frames + "1" + "0",
        restriction,
    )


def pps(*, number=0, owner=0, redundant=0, qp=0):
    return unit(0x68, ue(number) + ue(owner) + "00" + ue(0) * 3 + "000" + se(qp) + se(0) * 2 + f"01{redundant}")


def prefixed(*units):
    return b"".join(len(data).to_bytes(4, "big") + data for data in units)


def avcc(*sets):
    kinds = [[data for data in sets if data[0] & 31 == kind] for kind in (7, 8)]
    header = b"\x01\x4d\x00\x1e\xff"
    for mask, units in zip((0xE0, 0), kinds, strict=True):
        header += bytes([mask | len(units)]) + b"".join(len(data).to_bytes(2, "big") + data for data in units)
    return header


def picture(
    header, kind, frame_num, order=0, *, first=0, order_type=0, lists=None, marking="0", field=None, pps_id=0, qp=0
):
    """A slice. `order` is the low part of the picture order count, which advances by two per picture."""
    is_idr = header & 31 == 5
    parts = [ue(first), ue(kind), ue(pps_id), f"{frame_num % 16:04b}", "" if field is None else field]
    parts += [ue(0) if is_idr else "", f"{order % 16:04b}" if order_type == 0 else ""]
    lists = "0" * (2 if kind == B else 1) if lists is None else lists
    parts += ["1" if kind == B else "", "" if kind == INTRA else "0" + lists]
    parts += [("00" if is_idr else marking) if header & 0x60 else "", se(qp), "1" * 30]
    return unit(header, *parts)


def judge(packets, *, extradata=None, container=MP4, depth=0):
    """Args: packets: (NAL units, timestamp)."""
    check = StructureCheck("h264", avcc(sps(), pps()) if extradata is None else extradata, container, depth)
    for units, pts in packets:
        units = units if isinstance(units, tuple) else (units,)
        check.packet(prefixed(*units), pts, True)
    return check.doubt()


START = (picture(IDR, INTRA, 0), 0)
PLAIN = [START, *((picture(SLICE, P, n, 2 * n), n) for n in range(1, 40))]  # the counts wrap around at 16


def test_a_plain_stream_is_proven():
    assert judge(PLAIN) is None
    assert judge([]) == "it has no packets"
    assert judge(PLAIN, container="mpeg") == "files of this kind are not judged by their structure"


def test_picture_order_counts_wrap_around_backwards():
    """A B-frame before the wrap follows a P-frame after it in decoding order."""
    frames = [START]
    for n in range(1, 20):
        frames += [(picture(SLICE, P, n, 4 * n), 2 * n), (picture(1, B, n + 1, 4 * n - 2), 2 * n - 1)]
    assert judge(frames, depth=1) is None
    assert judge(frames, depth=0) == "pictures are reordered more than the file says"
    assert judge(frames, extradata=avcc(sps(delay=1), pps())) is None
    assert judge(frames, extradata=avcc(sps(delay=0), pps()), depth=1) is None


def test_reordering_is_counted_in_pictures():
    """P1 P2 P3 are shown in the order 3, 2, 1: two pictures come before the last one and are shown after it."""
    frames = [START, *((picture(SLICE, P, n, 8 - 2 * n), 4 - n) for n in (1, 2, 3))]
    assert judge(frames, depth=2) is None
    assert judge(frames, depth=1) == "pictures are reordered more than the file says"


def test_counts_of_type_2_ascend_in_decoding_order():
    extradata = avcc(sps(order_type=2), pps())
    frames = [(picture(IDR, INTRA, 0, order_type=2), 0)]
    frames += [(picture(SLICE, P, n, order_type=2), n) for n in range(1, 40)]
    assert judge(frames, extradata=extradata) is None
    frames[3], frames[4] = (frames[3][0], frames[4][1]), (frames[4][0], frames[3][1])
    assert judge(frames, extradata=extradata) == "the order of output is not the order of the timestamps"


ORDER = "the order of output is not the order of the timestamps"
VALUE = "a header holds a value that is not allowed"
RESET = "its picture order counts are reset between keyframes"
NEXT = (picture(SLICE, P, 1, 2), 1)


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        (PLAIN[1:], "it does not begin with a keyframe that resets the decoder"),
        ([*PLAIN[:5], *PLAIN[6:]], "pictures are missing"),
        ([START, (picture(SLICE, P, 0, 2), 1)], "pictures are missing"),
        ([START, (picture(IDR, INTRA, 1), 1)], "pictures are missing"),
        ([START, (picture(SLICE, P, 1, 2), 0)], ORDER),
        ([START, (picture(SLICE, P, 1, 14), 1)], ORDER),  # a count of -2
        ([START, NEXT, (picture(SLICE, P, 2, 2), 2)], "two pictures have the same place in the order of output"),
        ([START, NEXT, (picture(IDR, INTRA, 0), 1)], "the timestamps go back at a keyframe"),
        ([START, (picture(SLICE, P, 1, 2, marking="1" + ue(5) + ue(0)), 1)], RESET),
        ([START, (picture(SLICE, P, 1, 2, marking="1" + ue(1) + ue(0) + ue(0)), 1)], None),
        ([START, (picture(SLICE, P, 1, 2, marking="1" + ue(7) + ue(0)), 1)], VALUE),
        ([START, (picture(SLICE, P, 1, 2, qp=60), 1)], VALUE),
        ([START, (picture(SLICE, P, 1, 2, lists="1" + ue(0) + ue(15) + ue(3)), 1)], None),
        ([START, (picture(SLICE, P, 1, 2, lists="1" + ue(0) + ue(16) + ue(3)), 1)], VALUE),
        ([START, (picture(SLICE, P, 1, 2, lists="1" + (ue(0) + ue(0)) * 2 + ue(3)), 1)], VALUE),
        ([START, (picture(SLICE, 8, 1, 2), 1)], "it has slices of an unusual type"),
        ([START, (picture(IDR, P, 0), 1)], "it has slices of an unusual type"),
        ([START, (picture(0x05, INTRA, 0), 1)], "a NAL unit has a wrong header"),
        ([START, (picture(0xC1, P, 1, 2), 1)], "a NAL unit has a wrong header"),
        ([START, (picture(SLICE, P, 1, 2, pps_id=1), 1)], "a parameter set is missing"),
        ([START, (picture(SLICE, P, 1, 2, first=3), 1)], "a packet does not begin with the first macroblock"),
        ([START, ((picture(SLICE, P, 1, 2), picture(SLICE, P, 1, 2, first=9)), 1)], None),
        ([START, ((picture(SLICE, P, 1, 2), picture(SLICE, P, 2, 4)), 1)], "a packet holds more than one picture"),
        (
            [START, ((picture(SLICE, P, 1, 2), picture(IDR, INTRA, 0, first=9)), 1)],
            "a packet holds more than one picture",
        ),
        ([START, (b"\x09\x10", 1)], "a packet holds no picture"),
        ([START, (b"\x41\x80", 1)], "a header is cut off"),
        ([START, ((b"\x0a\x00", NEXT[0]), 1)], "it has NAL units of type 10"),
        ([START, ((b"\x6e\x00\x00\x03", NEXT[0]), 1)], "it has NAL units of type 14"),
        ([START, ((b"\x42\x80", NEXT[0]), 1)], "it has NAL units of type 2"),
        ([START, ((sps(), pps(), NEXT[0]), 1)], None),
        ([START, ((sps(size=9), NEXT[0]), 1)], "a packet holds parameter sets that the container's header does not"),
        ([START, ((b"\x06\x13\x01\x00\x80", NEXT[0]), 1)], "it has film grain"),
        ([START, ((b"\x06\x2f\x01\x00\x80", NEXT[0]), 1)], "its pictures state how they are turned"),
        ([START, (NEXT[0] + b"\0\0\1\x41", 1)], "a NAL unit contains a start code"),
    ],
)
def test_doubts(packets, expected):
    assert judge(packets) == expected


def test_a_keyframe_that_drops_pictures():
    keyframe = bytearray(picture(IDR, INTRA, 0))
    bits = f"{int.from_bytes(keyframe[1:], 'big'):0{8 * len(keyframe) - 8}b}"
    at = len(ue(0) + ue(INTRA) + ue(0) + "0000" + ue(0) + "0000")
    dropping = unit(IDR, bits[:at] + "1" + bits[at + 1 : -8])
    assert judge([(dropping, 0), NEXT]) is None  # none is there yet
    assert judge([START, NEXT, (dropping, 2)]) == "a keyframe drops pictures that were not shown"


FIELD = "its pictures are stored as fields"


@pytest.mark.parametrize(("field", "expected"), [("0", None), ("10", FIELD), ("11", FIELD)])
def test_fields(field, expected):
    extradata = avcc(sps(frames_only=0), pps())
    frames = [(picture(IDR, INTRA, 0, field="0"), 0), (picture(SLICE, P, 1, 2, field=field), 1)]
    assert judge(frames, extradata=extradata) == expected


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ((sps(), sps(), pps(), pps()), None),
        ((sps(), sps(number=1), pps()), "the container's header does not hold one sequence parameter set"),
        ((sps(), sps(size=9), pps()), "the container's header does not hold one sequence parameter set"),
        ((sps(), pps(), pps(number=1)), None),
        ((sps(), pps(), pps(qp=1)), "two parameter sets have the same number"),
        ((sps(), pps(owner=1)), "a parameter set is missing"),
        ((pps(),), "a parameter set is missing"),
        ((sps(),), "a parameter set is missing"),
        ((sps(), pps(redundant=1)), "it allows redundant pictures"),
        ((sps(order_type=1), pps()), "its picture order counts are of type 1"),
    ],
)
def test_parameter_sets_of_the_header(sets, expected):
    assert judge([START, NEXT], extradata=avcc(*sets)) == expected


@pytest.mark.parametrize(
    "extradata", [b"", b"\x01", b"\x01\x4d\0\x1e\xff\xe1\0\x09\x67", b"\0\0\0\1", b"\0\0\1\x67\x4d"]
)
def test_headers_that_are_cut_off(extradata):
    assert judge([START, NEXT], extradata=extradata) is not None


def test_packets_that_are_cut_off():
    data = prefixed(NEXT[0])
    for end in range(1, len(data) + 2):
        check = StructureCheck("h264", avcc(sps(), pps()), MP4, 0)
        check.packet(prefixed(START[0]), 0, True)
        check.packet((data + b"\0")[:end], 1, False)
        assert (check.doubt() is None) == (end == len(data))


def test_start_codes():
    """As in MPEG-TS."""
    header = b"".join(b"\0\0\0\1" + data for data in (sps(), pps()))
    check = StructureCheck("h264", header, "mpegts", 0)
    facts = check.packet(header + b"\0\0\1" + START[0], 0, True)
    assert facts.is_sync
    assert not facts.parameter_sets
    assert not check.packet(b"\0\0\1" + NEXT[0] + b"\0\0", 1, True).is_sync
    assert check.doubt() is None
    check.packet(b"\xff\0\0\1" + NEXT[0], 2, True)
    assert check.doubt() == "a packet does not begin with a start code"


def test_facts():
    extradata = avcc(sps(), pps())
    check = StructureCheck("h264", extradata, MP4, 0)
    assert check.packet(prefixed(START[0]), 0, True).is_sync
    assert not check.packet(prefixed(START[0]), 1, False).is_sync  # the container does not mark it
    assert check.packet(prefixed(picture(1, P, 1, 2)), 2, False).is_non_reference
    facts = check.packet(prefixed(sps(size=9), pps(), picture(SLICE, P, 1, 4)), 3, False)
    assert facts.parameter_sets == {sps(size=9)}
    assert not facts.is_non_reference
    assert (
        check.packet(x264_unit(b"x264 - core 120", extradata) + prefixed(NEXT[0]), 4, False).x264 == b"x264 - core 120"
    )
    assert check.packet(x264_unit(b"x264 - core 160", extradata) + prefixed(NEXT[0]), 5, False).x264 == b""


@pytest.mark.parametrize("extradata", [avcc(sps(), pps()), b"\x01" + bytes(3) + b"\xfd", b""])
def test_the_unit_with_the_build_is_read_back(extradata):
    """The length in front of it has four or two bytes, or there is a start code."""
    check = StructureCheck("h264", extradata, MP4, 0)
    assert check.packet(x264_unit(b"x264 - core 148", extradata), 0, True).x264 == b"x264 - core 148"


@pytest.mark.parametrize(
    ("codec", "unit"), [("h264", b"\x06\x13\x02\x11\x22\x80"), ("hevc", b"\x4e\x01\x13\x01\x11\x80")]
)
def test_film_grain_is_seen(codec, unit):
    """Its noise depends on the number of keyframes before."""
    check = StructureCheck(codec, b"", "mpegts", 0)
    assert check.packet(b"\0\0\0\1" + unit, 0, True).has_film_grain
    assert not check.packet(b"\0\0\0\1" + unit.replace(b"\x13", b"\x05"), 0, True).has_film_grain
