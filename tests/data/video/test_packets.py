"""Which packets frames need, and how those of members of archives are read."""

import io
import tarfile

import numpy as np
import pytest
from numbered_videos import check_first_pass, checksums, numbered, plain_decode, read, write

from actrec.data.video import packets
from actrec.data.video.certificate import find_certificate
from actrec.data.video.container import ChangedError
from actrec.data.video.excerpt import read_excerpt
from actrec.data.video.packets import needed_ranges


@pytest.fixture
def path(tmp_path):
    options = {"sc_threshold": "0", "b-pyramid": "none"}
    return write(tmp_path / "a.mp4", [numbered(n) for n in range(60)], gop=12, bframes=2, options=options)


def archived(path):
    archive = path.with_name("a.tar")
    with tarfile.open(archive, "w") as file:
        for name in ("before.mp4", path.name):
            file.add(path, name)
    return archive, f"{archive}::{path.name}"


def test_the_ranges_of_some_frames(path):
    certificate = find_certificate(path).certificate
    data = path.read_bytes()
    keys = set(np.searchsorted(certificate.pts, certificate.key_pts).tolist())
    assert keys == {0, 12, 24, 36, 48}
    for wanted, with_droppable, count in (([24], False, 1), ([24, 25], True, 3), ([0, 12, 48], False, 3)):
        ranges, crcs = needed_ranges(certificate, wanted, with_droppable=with_droppable)
        assert crcs is None
        assert ranges == sorted(ranges)
        assert len(ranges) == count
        places = dict(zip(certificate.packets["offset"].tolist(), certificate.packets["size"].tolist()))
        assert all(places[offset] == size for offset, size in ranges)
        assert all(offset + size <= len(data) for offset, size in ranges)


def test_no_other_bytes_are_read(path, monkeypatch):
    certificate, seen = find_certificate(path).certificate, []
    real = packets.read_at
    monkeypatch.setattr(packets, "read_at", lambda file, *part: seen.append(part) or real(file, *part))
    read(path, [5, 30, 59], certificate)
    assert sorted(seen) == needed_ranges(certificate, [5, 30, 59])[0]


def test_a_member_of_an_archive_is_read_by_its_packets(path, monkeypatch):
    archive, member = archived(path)
    expected = checksums(plain_decode(path))
    assert check_first_pass_of(member, expected)
    certificate = find_certificate(member).certificate
    calls, real = [], packets.read_ranges
    monkeypatch.setattr(packets, "read_ranges", lambda *args: calls.append(args) or real(*args))
    assert checksums(read(member, [5, 30, 59], certificate)[0]) == [expected[i] for i in (5, 30, 59)]
    assert calls == [(member, *needed_ranges(certificate, [5, 30, 59]))]  # together
    monkeypatch.setattr(packets, "_AT_ONCE", 1)
    assert checksums(read(member, [5, 30, 59], certificate)[0]) == [expected[i] for i in (5, 30, 59)]
    assert len(calls) == 4  # a long video is read part by part
    excerpt = read_excerpt(member, [5, 30, 59], certificate)
    shown = plain_decode(io.BytesIO(excerpt.data))
    assert checksums([shown[i] for i in excerpt.positions]) == [expected[i] for i in (5, 30, 59)]


def check_first_pass_of(member, expected):
    class Named(str):
        name = member

    return check_first_pass(Named(member), expected)


def test_other_bytes_in_an_archive_are_noticed(path):
    archive, member = archived(path)
    certificate = find_certificate(member).certificate
    data = bytearray(archive.read_bytes())
    offset, size = needed_ranges(certificate, [30])[0][-1]
    at = data.rindex(path.read_bytes()[offset : offset + size])
    data[at + size // 2] ^= 1
    archive.write_bytes(data)
    with pytest.raises(ChangedError, match="the file has changed"):
        read(member, [30], certificate)
