"""VP8 and VP9, by changes to what encoders write."""

import pytest
from numbered_videos import VP9, numbered
from structures import encode, judge

from actrec.data.video.structure import StructureCheck
from actrec.data.video.structure.bits import DoubtError
from actrec.data.video.structure.vp8 import Vp8Check, _Decoder

FRAMES = [numbered(n) for n in range(12)]


@pytest.fixture(scope="module")
def packets(tmp_path_factory):
    """{codec: packets of two groups of six pictures}"""
    folder = tmp_path_factory.mktemp("vpx")
    options = {"g": "6", **VP9}
    found = {
        codec: judge(encode(folder / f"{codec}.webm", FRAMES, f"lib{encoder}", options)).packets
        for codec, encoder in (("vp8", "vpx"), ("vp9", "vpx-vp9"))
    }
    return {codec: [data for data, *_ in group] for codec, group in found.items()}


def doubt(codec, packets, times=None):
    check = StructureCheck(codec, b"", "matroska,webm", 0)
    for pts, data in zip(times or range(len(packets)), packets, strict=True):
        check.packet(data, pts, True)
    return check.doubt(intact=True)


@pytest.mark.parametrize("codec", ["vp8", "vp9"])
def test_order_and_beginning(packets, codec):
    group = packets[codec]
    assert doubt(codec, group) is None
    assert doubt(codec, group[6:]) is None
    assert doubt(codec, group[1:]) == "it does not begin with a keyframe that resets the decoder"
    for times in ([0, 1, 1, *range(3, 12)], [0, 2, 1, *range(3, 12)]):
        assert doubt(codec, group, times) == "the order of output is not the order of the timestamps"


@pytest.mark.parametrize("codec", ["vp8", "vp9"])
def test_packets_that_are_too_short(packets, codec):
    group = packets[codec]
    for end in (1, 2, 5, 9, 12):
        assert doubt(codec, [group[0], group[1][:end]]) is not None


def test_hidden_pictures_of_vp8(packets):
    first, second, *_ = packets["vp8"]
    assert doubt("vp8", [first, bytes([second[0] & ~16]) + second[1:]]) == "it has pictures that are not shown"


def test_sizes_of_vp8(packets):
    group = list(packets["vp8"])
    group[6] = group[6][:6] + b"\x40\x00" + group[6][8:]
    assert doubt("vp8", group) == "its pictures have several sizes"


def test_a_map_of_segments_must_be_set_after_a_keyframe():
    """VP8: FFmpeg would take the one from before the keyframe."""
    check = Vp8Check()
    for bits in (0b1100, 0b1000, 0b0000):  # segments with a map, with the map before, and none
        check._parse_segments(_Decoder(equally_likely(bits, 4)))
    with pytest.raises(DoubtError, match="it uses segments that it has not set"):
        check._parse_segments(_Decoder(equally_likely(0b1000, 4)))


def equally_likely(bits, count):
    """What the boolean entropy decoder reads as these bits, then zeros (found by trying)."""
    for value in range(1 << 16):
        data = value.to_bytes(2, "big") + bytes(30)
        if _Decoder(data).take(count + 8) == bits << 8:
            return data
    raise AssertionError(bits)


def test_superframes_of_vp9(shared_videos):
    """Each holds a frame that is not shown, and one that is."""
    found = judge(shared_videos / "peer/ssv2_example_id_166766.mp4").packets
    group = [data for data, *_ in found]
    number = next(i for i, data in enumerate(group) if data[-1] >> 5 == 6)
    whole = group[number]
    size = int.from_bytes(whole[-1 - (1 + (whole[-1] >> 3 & 3)) * 2 :][: 1 + (whole[-1] >> 3 & 3)], "little")
    assert doubt("vp9", group) is None
    hidden = [*group[:number], whole[:size], *group[number + 1 :]]
    assert doubt("vp9", hidden) == "a packet shows no picture"
    longer = [*group[:number], whole[:-2] + bytes([255, whole[-1]]), *group[number + 1 :]]
    assert doubt("vp9", longer) == "the sizes in a packet do not add up"
    shown = group[number + 1]
    twice = shown + shown + b"\xc9" + len(shown).to_bytes(2, "little") * 2 + b"\xc9"
    assert doubt("vp9", [*group[: number + 1], twice]) == "a packet shows 2 pictures"
    again = bytes([0b10001000])  # shows a stored frame
    assert doubt("vp9", [*group[: number + 1], again]) is None
    assert doubt("vp9", [again]) == "it does not begin with a keyframe that resets the decoder"


def test_headers_of_vp9(packets):
    first, second, *_ = packets["vp9"]
    value = "a header holds a value that is not allowed"
    assert doubt("vp9", [first, b"\x42" + second[1:]]) == value  # another frame marker
    assert doubt("vp9", [first, second[:-1] + b"\xc0"]) == value  # ends like a superframe
    assert doubt("vp9", [first[:1] + b"\0" + first[2:]]) == value  # another synchronization code
    assert doubt("vp9", [first, bytes([second[0] | 0x20]) + second[1:]]) is not None  # another profile
