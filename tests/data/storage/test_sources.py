"""Reading sources: local files, members of archives, URLs."""

from __future__ import annotations

import errno
import io
import os
import random
import tarfile
import zlib
from pathlib import Path

import pytest
from range_server import RangeServer

from actrec.data import storage
from actrec.data.errors import ChangedError
from actrec.data.storage import sources
from actrec.data.storage.cache import Cache
from actrec.system import ExhaustedError

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
        assert [(name, size) for name, (_, size) in storage.list_archive(archive).members.items()] == [
            (n, len(d)) for n, d in parts
        ]
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


def test_a_damaged_copy_in_the_cache(data, cache):
    """Ranges with checksums are fetched anew, and the damaged copy is removed."""
    ranges = [(0, 1000), (2_000_000, 1000)]
    crcs = [zlib.crc32(one) for one in expected(data, ranges)]
    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        with storage.local_file(url) as file:
            path = Path(file.path)
        path.write_bytes(bytes(len(data)))
        assert storage.read_ranges(url, ranges, crcs) == expected(data, ranges)
        assert not path.exists()
        with storage.open_bytes(url) as opened:
            assert opened.read() == data


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_fetch_a_whole_object_once(data):
    with RangeServer({"a.mp4": data}, latency=0.05) as server:
        url = server.url("a.mp4")
        children = []
        for _ in range(3):
            if not (child := os.fork()):
                with storage.open_bytes(url) as file:
                    os._exit(0 if file.read() == data else 1)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
        assert server.sent == len(data)


def test_a_file_in_use_survives_a_full_cache(data, cache):
    """FFmpeg opens a file several times by its name."""
    with RangeServer({f"{i}.mp4": data[: 500_000 + i] for i in range(8)}) as server:
        storage.configure(cache, 2_000_000)
        with storage.local_file(server.url("0.mp4")) as held:
            for i in range(1, 8):
                with storage.local_file(server.url(f"{i}.mp4")) as file, open(file.path, "rb") as opened:
                    assert opened.read() == data[: 500_000 + i]
            assert Path(held.path).read_bytes() == data[:500_000]
        assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) <= 2_000_000


def test_a_cache_that_cannot_be_written(data, tmp_path):
    storage.configure(tmp_path / "c", 1 << 30)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "storage").write_text("")
    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        assert storage.read_ranges(url, [(5, 10)]) == [data[5:15]]
        with storage.local_file(url) as file:
            path = Path(file.path)
            assert path.read_bytes() == data
        assert not path.exists()
        with storage.open_bytes(url) as opened:
            assert opened.read() == data


def test_a_full_disk(data, monkeypatch, cache):
    """The run ends, because no other file would fit either."""

    def refuse(file, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        storage.stat(url)
        monkeypatch.setattr("actrec.data.storage.sources.write_all", refuse)
        with pytest.raises(ExhaustedError, match="there is no room for .*a.mp4: No space left on device"):
            storage.open_bytes(url)
        monkeypatch.undo()


def test_a_cache_that_is_no_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for path in ("file", "file/below"):
        with pytest.raises(ValueError, match="file is not a folder"):
            storage.configure(tmp_path / path, 1 << 30)
    monkeypatch.setattr(os, "access", lambda *given: False)
    with pytest.raises(ValueError, match="cannot be created, because .* is read-only"):
        storage.configure_storage(cache=tmp_path / "new")
    storage.configure_storage(cache=tmp_path, cache_size="2G")


def test_the_default_cache(cache_home, monkeypatch, tmp_path):
    """It is in $XDG_CACHE_HOME, which for tests is no folder of the user."""
    assert sources._default_cache() == cache_home / "actrec"
    monkeypatch.setenv("HOME", str(tmp_path))
    for home in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", home)
        assert sources._default_cache() == tmp_path / ".cache" / "actrec"


def test_what_was_prefetched_is_taken_from_memory_once(data, cache, monkeypatch):
    """Then it comes from the cache, and changed bytes are never taken."""
    ranges = [(5, 50), (100_000, 70_000), (2_000_000, 9)]
    expected = [data[offset : offset + size] for offset, size in ranges]
    crcs = [zlib.crc32(one) for one in expected]
    with RangeServer({"a.mp4": data}) as server:
        url, reads = server.url("a.mp4"), []
        read = Cache.read
        monkeypatch.setattr(Cache, "read", lambda *given, **options: reads.append(given) or read(*given, **options))
        storage.prefetch(url, ranges)
        reads.clear()
        assert storage.read_ranges(url, ranges, crcs) == expected
        assert not reads
        server.reset()
        assert storage.read_ranges(url, ranges, crcs) == expected
        assert len(reads) == 1
        storage.prefetch(url, ranges)
        assert not server.requests
        with pytest.raises(ChangedError):
            storage.read_ranges(url, ranges, [crcs[0] ^ 1, *crcs[1:]])


def test_prefetched_bytes_in_memory_are_bounded(data, monkeypatch):
    monkeypatch.setattr(sources, "_MOST_HANDED", 100_000)
    storage.configure(Path(storage.settings()[0]), 1 << 30)
    with RangeServer({f"{i}.mp4": data for i in range(10)}) as server:
        for i in range(10):
            storage.prefetch(server.url(f"{i}.mp4"), [(0, 40_000)])
        held = sources._get().handed._values.values()
        assert sum(len(part) for one in held for part in one.values()) <= 100_000
        assert all(storage.read_ranges(server.url(f"{i}.mp4"), [(0, 40_000)]) == [data[:40_000]] for i in range(10))
        assert server.requests["GET"] == 10
