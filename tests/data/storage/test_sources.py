"""Reading sources: local files, members of archives, URLs."""

from __future__ import annotations

import io
import random
import tarfile
import zlib

import pytest
from range_server import RangeServer

from actrec.data import storage
from actrec.data.errors import ChangedError

pytest.importorskip("aiohttp")


def tar_of(members, *, format=tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def some_ranges(size, number, seed=0):
    rng = random.Random(seed)
    return [(rng.randrange(size), rng.randrange(1, 9000)) for _ in range(number)]


def expected(data, ranges):
    return [data[offset : offset + size] for offset, size in ranges]


@pytest.mark.parametrize("failures", [0.0, 0.01, 0.3])
def test_ranges_are_right(data, failures):
    ranges = some_ranges(len(data), 200)
    crcs = [zlib.crc32(one) for one in expected(data, ranges)]
    with RangeServer({"a.mp4": data}, failures=failures) as server:
        url = server.url("a.mp4")
        assert storage.read_ranges(url, ranges) == expected(data, ranges)
        server.reset()
        assert storage.read_ranges(url, ranges, crcs) == expected(data, ranges)
        assert not server.requests  # all from the cache
        with storage.local_file(url) as file, open(file.path, "rb") as opened:
            assert opened.read() == data
            assert file.path.endswith(".mp4")
        server.reset()
        with storage.open_bytes(url) as opened:
            opened.seek(-5, 2)
            assert opened.read() == data[-5:]
        assert storage.read_ranges(url, ranges) == expected(data, ranges)
        assert not server.requests
        assert storage.stat(url).size == len(data)


def test_a_member_of_a_remote_archive(data):
    parts = [("clips/a.mp4", data[:1_000_000]), ("a.cls", b"7"), ("b.mp4", data[1_000_000:]), ("b.cls", b"8")]
    with RangeServer({"x.tar": tar_of(parts)}) as server:
        archive = server.url("x.tar")
        assert [(name, size) for name, _, size in storage.list_members(archive)] == [(n, len(d)) for n, d in parts]
        assert server.sent < 20_000
        for name, content in parts:
            path = f"{archive}::{name}"
            assert storage.is_remote(path)
            assert storage.stat(path).size == len(content)
            ranges = some_ranges(len(content), 5)
            assert storage.read_ranges(path, ranges) == expected(content, ranges)
            with storage.open_bytes(path) as file:
                assert file.read() == content


def test_a_member_of_a_local_archive(data, tmp_path):
    parts = [("clips/a.mp4", data[:1_000_000]), ("ü" * 90 + ".mp4", data[1_000_000:])]
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar_of(parts))
    for name, content in parts:
        path = f"{archive}::{name}"
        assert not storage.is_remote(path)
        assert not storage.is_local(path)
        assert storage.stat(path).size == len(content)
        ranges = some_ranges(len(content), 5)
        assert storage.read_ranges(path, ranges) == expected(content, ranges)
        with storage.open_bytes(path) as file:
            assert file.read() == content
        with storage.open_bytes(path, buffering=0) as file:
            file.seek(10)
            assert file.read(5) == content[10:15]


def test_a_changed_object_is_noticed(data):
    ranges = [(0, 1000), (500_000, 1000)]
    crcs = [zlib.crc32(one) for one in expected(data, ranges)]
    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        before = storage.stat(url)
        server.objects["a.mp4"] = data[::-1]
        with pytest.raises(ChangedError, match="replaced"):
            storage.read_ranges(url, ranges, crcs)
        assert storage.stat(url) != before
        with pytest.raises(ChangedError, match="changed"):
            storage.read_ranges(url, ranges, crcs)


def test_a_missing_object():
    with RangeServer({}) as server:
        with pytest.raises(FileNotFoundError, match="no such object"):
            storage.stat(server.url("a.mp4"))
        assert sum(server.requests.values()) == 1
