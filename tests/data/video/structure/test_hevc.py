"""HEVC, by changes to what an encoder writes."""

import pytest
from numbered_videos import CLOSED_X265, numbered
from structures import encode, judge

from actrec.data.video.structure import StructureCheck
from actrec.data.video.structure.units import UnitReader

FRAMES = [numbered(n) for n in range(24)]
CLOSED = {"x265-params": "log-level=error:open-gop=0:keyint=8:bframes=3:b-adapt=0:scenecut=0:ref=2"}
TRAIL_R, RADL_R, RASL_R, CRA = 1, 7, 9, 21


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    return judge(encode(tmp_path_factory.mktemp("hevc") / "a.mp4", FRAMES, "libx265", CLOSED))


def doubt(judged, packets, depth=None):
    """Args: packets: (bytes, timestamp)."""
    check = StructureCheck("hevc", judged.extradata, judged.container, judged.depth if depth is None else depth)
    for data, pts, *_ in packets:
        check.packet(data, pts, True)
    return check.doubt()


def kinds(judged, data):
    return [data[start] >> 1 for start, _ in UnitReader(judged.extradata, "hevc").split(data)[0]]


def changed(judged, data, *, kind=None, header=None):
    """With another type, or another second byte of the header, of its last unit."""
    start, _ = UnitReader(judged.extradata, "hevc").split(data)[0][-1]
    first = data[start] if kind is None else kind << 1
    return data[:start] + bytes([first, data[start + 1] if header is None else header]) + data[start + 2 :]


def prefixed(*units):
    return b"".join(len(data).to_bytes(4, "big") + data for data in units)


def test_the_order_does_not_depend_on_the_container(closed):
    """The sequence parameter set states how many pictures are reordered."""
    assert closed.doubt is None
    for depth in (0, 5):
        assert doubt(closed, closed.packets, depth) is None


def test_pictures_that_others_refer_to_are_needed(closed):
    """FFmpeg drops a picture if a reference is missing."""
    for number, (data, *_) in enumerate(closed.packets):
        rest = closed.packets[:number] + closed.packets[number + 1 :]
        kind = kinds(closed, data)[-1]
        found = doubt(closed, rest)
        if number == 0:
            assert found == "it does not begin with a keyframe that resets the decoder"
        elif kind in (0, RADL_R - 1, RASL_R - 1):  # no other one refers to it
            assert found is None
        elif kind == TRAIL_R and any(kinds(closed, after[0])[-1] < 16 for after in closed.packets[number + 1 :][:1]):
            assert found == "pictures are missing"


def test_types_of_pictures(closed):
    first, second, *_ = closed.packets
    for data, expected in [
        (changed(closed, second[0], kind=RASL_R), "it has pictures that are skipped"),
        (changed(closed, second[0], kind=16), "it has NAL units of type 16"),  # a broken link
        (changed(closed, second[0], header=0x09), "it has several layers"),
        (changed(closed, second[0], header=0x00), "a NAL unit has a wrong header"),
        (second[0] + prefixed(b"\x4a\x01"), "it has NAL units of type 37"),  # the end of the stream
        (second[0] + prefixed(b"\x7c\x01\x19\x08"), None),  # Dolby Vision
        (second[0] + prefixed(b"\x4e\x01\x04\x01\xb5\x80"), "it has registered user data"),
        (second[0] + prefixed(b"\x4e\x01\x13\x01\x00\x80"), "it has film grain"),
        (second[0] + prefixed(b"\x4e\x01\x2f\x01\x00\x80"), "its pictures state how they are turned"),
        (second[0] + second[0], "a packet holds more than one picture"),
        (prefixed(b"\x46\x01\x50"), "a packet holds no picture"),
        (prefixed(b"\x44\x01\xc1") + second[0], "a packet holds parameter sets that the container's header does not"),
    ]:
        assert doubt(closed, [first, (data, second[1])]) == expected


def test_timestamps(closed):
    packets = [(data, pts) for data, pts, _ in closed.packets]
    order = "the order of output is not the order of the timestamps"
    swapped = [(packets[0][0], packets[1][1]), (packets[1][0], packets[0][1]), *packets[2:]]
    assert doubt(closed, swapped) == order
    assert doubt(closed, [(data, number) for number, (data, _) in enumerate(packets)]) == order
    repeated = [*packets, *packets]
    assert doubt(closed, repeated) == order
    later = [*packets, *((data, pts + 1_000_000) for data, pts in packets)]
    assert doubt(closed, later) is None


def test_two_slices_or_a_part_of_one(closed, tmp_path):
    options = {"x265-params": "log-level=error:slices=2:bframes=0"}
    frames = [rgb.repeat(2, 0).repeat(2, 1) for rgb in FRAMES[:4]]
    judged = judge(encode(tmp_path / "a.mp4", frames, "libx265", options))
    data = judged.packets[1][0]
    places = UnitReader(judged.extradata, "hevc").split(data)[0]
    assert len(places) == 2
    assert judged.doubt is None
    second = data[places[1][0] - 4 :]
    assert doubt(judged, [judged.packets[0], (second, judged.packets[1][1])]) == (
        "a packet does not begin with the first block"
    )


@pytest.mark.parametrize("end", [0, 1, 10, 22, 23, 30, 60])
def test_headers_that_are_cut_off(closed, end):
    check = StructureCheck("hevc", closed.extradata[:end], closed.container, 2)
    for data, pts, _ in closed.packets:
        check.packet(data, pts, True)
    assert check.doubt() is not None


def test_open_groups_have_one_sync_packet(tmp_path):
    options = {**CLOSED_X265, "x265-params": "log-level=error:open-gop=1:keyint=8:scenecut=0:bframes=3"}
    judged = judge(encode(tmp_path / "a.mp4", FRAMES, "libx265", options))
    assert CRA in {kinds(judged, data)[-1] for data, *_ in judged.packets}
    assert [is_sync for *_, is_sync in judged.packets] == [True] + [False] * 23
    assert judged.doubt is None
    place = next(i for i, (data, *_) in enumerate(judged.packets) if kinds(judged, data)[-1] == CRA)
    assert doubt(judged, judged.packets[place:]) == "it does not begin with a keyframe that resets the decoder"
