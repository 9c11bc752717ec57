"""Whatever is done to the packets of a file: if it is still proven, a plain decode gives what is claimed."""

import random
from dataclasses import replace

import pytest
from numbered_videos import CLOSED_X265, numbered
from structures import decode, encode, judge

from actrec.data.video.structure import StructureCheck
from actrec.data.video.structure.units import UnitReader

FILES = {  # encoder, its options, and the file's name
    "h264": ("libx264", {"x264-params": "keyint=8:bframes=3:slices=2"}, "a.mp4"),
    "h264 with start codes": ("libx264", {"x264-params": "keyint=8:bframes=3:b-adapt=0:interlaced=1"}, "a.ts"),
    "hevc": ("libx265", {**CLOSED_X265, "g": "8", "bf": "3"}, "a.mp4"),
}


def flipped(rng, data, begin, end):
    """With one bit changed between two bytes."""
    i = min(rng.randrange(begin, end), len(data) - 1)
    return data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1 :]


def drop(rng, packets, i, j):
    return packets[:i] + packets[i + 1 :]


def swap_timestamps(rng, packets, i, j):
    packets[i], packets[j] = (packets[i][0], packets[j][1]), (packets[j][0], packets[i][1])
    return packets


def repeat_a_timestamp(rng, packets, i, j):
    packets[i] = (packets[i][0], packets[j][1])
    return packets


def reorder(rng, packets, i, j):
    packets[i], packets[j] = packets[j], packets[i]
    return packets


def repeat_a_packet(rng, packets, i, j):
    return packets[:i] + [(packets[i][0], packets[i][1] + rng.choice([-1, 1]))] + packets[i:]


def restart_the_clock(rng, packets, i, j):
    step = rng.randrange(-20000, 20000)
    return packets[:i] + [(data, pts + step) for data, pts in packets[i:]]


def cut_the_start(rng, packets, i, j):
    return packets[i:]


def cut_a_packet(rng, packets, i, j):
    packets[i] = (packets[i][0][: rng.randrange(1, len(packets[i][0]) + 1)], packets[i][1])
    return packets


def damage_a_header(rng, packets, i, j):
    packets[i] = (flipped(rng, packets[i][0], 0, 16), packets[i][1])
    return packets


def damage_a_picture(rng, packets, i, j):
    packets[i] = (flipped(rng, packets[i][0], 30, max(31, len(packets[i][0]))), packets[i][1])
    return packets


def join_two_packets(rng, packets, i, j):
    packets[i] = (packets[i][0] + packets[j][0], packets[i][1])
    return packets


MUTATIONS = [
    drop,
    swap_timestamps,
    repeat_a_timestamp,
    reorder,
    repeat_a_packet,
    restart_the_clock,
    cut_the_start,
    cut_a_packet,
    damage_a_header,
    damage_a_picture,
    join_two_packets,
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    frames = [numbered(n) for n in range(20)]
    return {
        kind: judge(encode(folder / f"{number}{name}", frames, codec, options))
        for number, (kind, (codec, options, name)) in enumerate(FILES.items())
    }


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_changed_file_is_in_doubt_or_still_decodes_as_claimed(files, kind, mutate):
    original = files[kind]
    assert original.doubt is None
    rng = random.Random(f"{kind} {mutate.__name__}")
    for _ in range(12):
        packets = [(data, pts) for data, pts, _ in original.packets]
        packets = mutate(rng, packets, rng.randrange(len(packets)), rng.randrange(len(packets)))
        check = StructureCheck(original.codec, original.extradata or b"", original.container, original.depth)
        for data, pts in packets:
            check.packet(data, pts, True)
        if check.doubt() is None:
            pictures = decode(replace(original, packets=[(data, pts, False) for data, pts in packets]))
            assert [pts for pts, *_ in pictures] == sorted({pts for _, pts in packets})
            assert len(pictures) == len(packets)
            assert len({size for _, size, _ in pictures}) == 1


@pytest.mark.parametrize("kind", ["h264", "hevc"])
def test_two_encodes_in_one_file(files, kind, tmp_path):
    """The second one has other parameter sets, which its keyframes bring along or not."""
    codec, options, name = FILES[kind]
    other = judge(encode(tmp_path / name, [numbered(n)[::2, ::2].copy() for n in range(8)], codec, options))
    original = files[kind]
    shift = max(pts for _, pts, _ in original.packets) + 1
    for sets in (b"", sets_of(other)):
        check = StructureCheck(kind, original.extradata, original.container, original.depth)
        for data, pts, _ in original.packets:
            check.packet(data, pts, True)
        assert check.doubt() is None
        for number, (data, pts, _) in enumerate(other.packets):
            check.packet(sets + data if not number else data, pts + shift, True)
        found = check.doubt()
        if sets:
            assert found == "a packet holds parameter sets that the container's header does not"
        if found is None:
            packets = original.packets + [(data, pts + shift, False) for data, pts, _ in other.packets]
            assert len(decode(replace(original, packets=packets))) == len(packets)


def sets_of(judged):
    """The parameter sets of a file's header, as units of a packet."""
    units = UnitReader(judged.extradata, judged.codec).header_units()
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize("kind", FILES)
def test_nothing_raises(files, kind):
    """Headers and packets of random bytes, and beginnings of real ones."""
    original, rng = files[kind], random.Random(kind)
    for _ in range(400):
        header = original.extradata or b""
        header = flipped(rng, header, 0, len(header))[: rng.randrange(len(header) + 9)] if header else b""
        check = StructureCheck(original.codec, header, original.container, original.depth)
        check.packet(original.packets[0][0], 0, True)
        for number, (data, *_) in enumerate(original.packets[1:4]):
            data = rng.choice([data[: rng.randrange(1, 60)], rng.randbytes(rng.randrange(1, 60)), bytes(number + 1)])
            assert check.packet(data, number + 1, True) is not None
        check.doubt()
    for header in (
        b"\x01",
        b"\x01" * 40,
        b"\x01" + bytes(40),
        b"\0\0\1\0\0\1",
        b"\x01\4\0\x1e\xff\xe1\0\2\0\0\1\0\2\0\0",
    ):
        check = StructureCheck(original.codec, header, original.container, original.depth)
        check.packet(original.packets[0][0], 0, True)
        assert check.doubt() is not None or not original.extradata
