"""Answers to requests for several ranges."""

from __future__ import annotations

import random

import pytest

from actrec.data.storage.ranges import grouped, parse_multipart

DATA = random.Random(0).randbytes(5000)
TYPE = "multipart/byteranges; boundary=THIS"


def part(first: int, last: int, *, more: str = "", line: str = "--THIS") -> bytes:
    head = f"{line}\r\nContent-Type: video/mp4\r\n{more}Content-Range: bytes {first}-{last}/5000\r\n\r\n"
    return head.encode() + DATA[first : last + 1] + b"\r\n"


END = b"--THIS--\r\n"


def test_parts():
    body = b"\r\n" + part(10, 99) + part(200, 1999, more="X-Other: 1\r\n") + END
    assert parse_multipart(TYPE, "", body) == [(10, DATA[10:100]), (200, DATA[200:2000])]
    assert parse_multipart('Multipart/Byteranges; x=1; boundary="THIS"', "", body[2:]) == parse_multipart(
        TYPE, "", body
    )
    assert parse_multipart("video/mp4", "bytes 10-99/5000", DATA[10:100]) == [(10, DATA[10:100])]


def test_a_boundary_within_the_bytes_of_a_video():
    inner = b"\r\n--THIS\r\nContent-Range: bytes 0-0/5000\r\n\r\nx\r\n--THIS--\r\n"
    head = f"--THIS\r\nContent-Range: bytes 7-{6 + len(inner)}/5000\r\n\r\n".encode()
    assert parse_multipart(TYPE, "", head + inner + b"\r\n" + END) == [(7, inner)]


@pytest.mark.parametrize(
    ("kind", "place", "body"),
    [
        ("", "", part(10, 99) + END),
        ("video/mp4", "", part(10, 99) + END),
        ("multipart/byteranges", "", part(10, 99) + END),  # no boundary
        ("multipart/byteranges; boundary=OTHER", "", part(10, 99) + END),
        (TYPE, "", b""),
        (TYPE, "", END),
        (TYPE, "", part(10, 99)[:-10]),  # cut off
        (TYPE, "", part(10, 99)),  # nothing after it shows that the part ends here
        (TYPE, "", part(10, 99).replace(b"10-99", b"10-98") + END),
        (TYPE, "", part(10, 99).replace(b"10-99", b"99-10") + END),
        (TYPE, "", part(10, 99).replace(b"10-99", b"10-99999999999999999") + END),
        (TYPE, "", part(10, 99).replace(b"Content-Range", b"Content-Place") + END),
        (TYPE, "", part(10, 99, more="X: " + 5000 * "x" + "\r\n") + END),
        ("video/mp4", "bytes 10-99/5000", DATA[10:99]),
    ],
)
def test_malformed_answers(kind, place, body):
    assert parse_multipart(kind, place, body) == []


def test_any_cut_or_changed_byte_gives_no_wrong_offset():
    """What is returned has the size that its header states, however the answer is damaged."""
    body, rng = part(10, 99) + part(200, 299) + END, random.Random(1)
    for _ in range(2000):
        damaged = bytearray(body[: rng.randrange(len(body) + 1)])
        if damaged:
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        for offset, data in parse_multipart(TYPE, "", bytes(damaged)):
            assert offset >= 0
            assert data
            assert bytes(damaged).find(data) > 0


def test_groups():
    ranges = [(i * 100, 10) for i in range(25)] + [(5000, 8 << 20), (1 << 24, 1)]
    groups = list(grouped(ranges, 10))
    assert [len(group) for group in groups] == [10, 10, 5, 1, 1]
    assert [one for group in groups for one in group] == ranges
    assert list(grouped([], 10)) == []
