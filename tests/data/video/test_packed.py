"""Certificates as bytes."""

import random
from dataclasses import replace

import numpy as np
import pytest
from numbered_videos import VP9, certificate_of, numbered, write, write_as_old_x264

from actrec.data.video.packed import pack, unpack


def assert_same(one, other):
    for name in ("pts", "key_pts", "key_dts", "packets", "crcs"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert (one.stream, one.preamble) == (other.stream, other.preamble)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"bframes": 3}),
        ("a.mkv", {"bframes": 3}),
        ("a.ts", {}),
        ("one.mp4", {}),
        ("a.webm", {"codec": "libvpx-vp9", "options": VP9}),
    ],
)
def test_all_of_a_certificate_is_kept(tmp_path, name, options):
    source = "a.mp4" if name.endswith(".ts") else name
    path = write(tmp_path / source, [numbered(n) for n in range(1 if "one" in name else 60)], gop=12, **options)
    found = certificate_of(path)
    if name.endswith(".ts"):  # its packets are not stored in one piece
        found = replace(found, stream=None, packets=found.packets.copy())
        found.packets["offset"] = -1
    crcs = np.random.default_rng(0).integers(0, 2**32, len(found.pts), np.uint32)
    for certificate in (found, replace(found, crcs=crcs)):
        assert_same(unpack(pack(certificate)), certificate)
    assert len(pack(found)) < 300 + 4 * len(found.pts)
    assert abs(len(pack(replace(found, crcs=crcs))) - len(pack(found)) - 4 * len(found.pts)) < 8


def test_what_the_first_packet_says_is_kept(tmp_path):
    certificate = certificate_of(write_as_old_x264(tmp_path / "a.mp4"))
    assert unpack(pack(certificate)).preamble == certificate.preamble != b""


def test_long_and_uneven_numbers_are_kept(tmp_path):
    certificate = certificate_of(write(tmp_path / "a.mp4", [numbered(n) for n in range(30)], gop=10))
    packets = certificate.packets.copy()
    packets["pts"] = packets["pts"] * 10**12 - 5
    packets["offset"] += 2**40
    changed = replace(
        certificate,
        packets=packets,
        pts=certificate.pts * 10**12 - 5,
        key_pts=certificate.key_pts * 10**12 - 5,
        key_dts=certificate.key_dts - 2**50,
    )
    assert_same(unpack(pack(changed)), changed)


def test_other_bytes_are_refused(tmp_path):
    data = pack(certificate_of(write(tmp_path / "a.mp4", [numbered(n) for n in range(30)], gop=10)))
    for wrong in (b"", b"hello", data[:-1], data[1:], data[: len(data) // 2]):
        with pytest.raises(ValueError, match="not a packed certificate"):
            unpack(wrong)
    shuffled = bytearray(data)
    for _ in range(300):  # never another error
        shuffled[random.Random(0).randrange(len(data))] ^= 1 << random.Random(1).randrange(8)
        try:
            unpack(bytes(shuffled))
        except ValueError:
            continue
