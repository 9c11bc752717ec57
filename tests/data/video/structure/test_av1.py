"""AV1, by changes to what an encoder writes."""

import pytest
from numbered_videos import numbered
from structures import encode, judge

from actrec.data.video.structure import StructureCheck
from actrec.data.video.structure.av1 import _units

OPTIONS = {"preset": "12", "svtav1-params": "lp=1:keyint=6"}
DELIMITER = b"\x12\x00"
FRAMES = [numbered(n) for n in range(12)]


def obu(kind, payload, *, layer=None):
    """Args: layer: (temporal, spatial), in an extension of the header."""
    header = bytes([kind << 3 | 2]) if layer is None else bytes([kind << 3 | 6, layer[0] << 5 | layer[1] << 3])
    assert len(payload) < 128
    return header + bytes([len(payload)]) + payload


@pytest.fixture(scope="module")
def packets(tmp_path_factory):
    path = encode(tmp_path_factory.mktemp("av1") / "a.mp4", FRAMES, "libsvtav1", OPTIONS)
    return [data for data, *_ in judge(path).packets]


def doubt(packets):
    check = StructureCheck("av1", b"", "mov,mp4,m4a,3gp,3g2,mj2", 0)
    for pts, data in enumerate(packets):
        check.packet(data, pts, True)
    return check.doubt(intact=True)


def test_streams(packets):
    assert doubt(packets) is None
    assert doubt([DELIMITER + data for data in packets]) is None
    assert doubt(packets[6:]) is None
    assert doubt(packets[1:]) == "it does not begin with a keyframe that resets the decoder"
    assert doubt([packets[0][packets[0].index(b"\x0a") + 2 :], *packets[1:]]) is not None


def sequence_of(data):
    kind, _, start, end = next(unit for unit in _units(data) if unit[0] == 1)
    return data[start:end]


def test_units(packets):
    first, second = packets[:2]
    value = "a header holds a value that is not allowed"
    sizes = "the sizes in a packet do not add up"
    sequence = sequence_of(first)
    for data, expected in [
        (DELIMITER, "a packet shows no picture"),
        (second + second, "a packet shows 2 pictures"),
        (obu(3, b"\x80") + obu(15, b"\0\0"), None),  # shows a stored frame
        (obu(6, b"\x80"), value),
        (second + obu(15, b"\x80"), None),
        (second + obu(5, b"\x01\0\0\0\0\x80"), None),
        (second + obu(5, b"\x04\xb5"), "it has registered user data"),
        (second + obu(9, b"\0"), "it has units of type 9"),
        (second + b"\x7a\x05\0", sizes),
        (second + b"\x7a\xff\xff\xff\xff\xff", sizes),
        (b"\x80" + second, value),
        (obu(1, sequence) + second, None),
        (obu(1, sequence[:-1] + b"\xff") + second, "its sequence header changes"),
        (second + obu(15, b"\x80", layer=(0, 1)), "it has several layers"),
    ]:
        assert doubt([first, data]) == expected, data
