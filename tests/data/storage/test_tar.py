"""Members of tar archives."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile

import pytest
from range_server import RangeServer

from actrec.data import storage
from actrec.data.errors import MediaError
from actrec.data.storage import tar


def archive_of(members, *, format=tarfile.PAX_FORMAT, **options) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, **options) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture(params=["local", "remote"])
def place(request, tmp_path):
    """Puts an archive somewhere and gives its path."""
    if request.param == "local":

        def put(content, name="x.tar"):
            (tmp_path / name).write_bytes(content)
            return str(tmp_path / name)

        yield put
    else:
        pytest.importorskip("aiohttp")
        with RangeServer({}) as server:

            def put(content, name="x.tar"):
                server.objects[name] = content
                return server.url(name)

            yield put


def read(path):
    with storage.open_bytes(path) as file:
        content = file.read()
    assert storage.stat(path).size == len(content)
    assert storage.read_ranges(path, [(2, 5)]) == [content[2:7]]
    return content


MEMBERS = [
    ("a.mp4", b"first"),
    ("dir/" + "long" * 60 + "/ü é 日本.mp4", b"second" * 1000),
    ("empty.json", b""),
    ("a" * 99 + ".mp4", b"third"),
    ("0/1.cls", b"7"),
]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_formats_and_names(place, format):
    archive = place(archive_of(MEMBERS, format=format))
    assert [(name, size) for name, (_, size) in storage.list_archive(archive).members.items()] == [
        (n, len(c)) for n, c in MEMBERS
    ]
    for name, content in MEMBERS:
        assert read(f"{archive}::{name}") == content


def test_ustar(place):
    members = [("a.mp4", b"first"), ("x" * 90 + "/" + "y" * 90, b"second")]
    archive = place(archive_of(members, format=tarfile.USTAR_FORMAT))
    for name, content in members:
        assert read(f"{archive}::{name}") == content


def test_the_last_of_two_members_counts(place):
    archive = place(archive_of([("a", b"old one"), ("b", b"other"), ("a", b"new"), ("./c", b"dot")]))
    assert read(f"{archive}::a") == b"new"
    assert read(f"{archive}::./b") == b"other"
    assert read(f"{archive}::c") == b"dot"
    assert list(storage.list_archive(archive).members) == ["b", "a", "c"]


def test_links(place):
    archive = place(
        archive_of(
            [
                *(("a", b"content"), ("hard", (tarfile.LNKTYPE, "a")), ("lost", (tarfile.LNKTYPE, "none"))),
                *(("soft", (tarfile.SYMTYPE, "a")), ("dir", (tarfile.DIRTYPE, "")), ("fifo", (tarfile.FIFOTYPE, ""))),
            ]
        )
    )
    assert read(f"{archive}::hard") == b"content"
    with pytest.raises(MediaError, match="a link to none"):
        read(f"{archive}::lost")
    with pytest.raises(MediaError, match="a symbolic link to a"):
        read(f"{archive}::soft")
    for name in ("dir", "fifo", "none"):
        with pytest.raises(FileNotFoundError, match="no such member"):
            read(f"{archive}::{name}")


def test_a_sparse_member_is_refused(tmp_path, place):
    (tmp_path / "holes").write_bytes(b"")
    os.truncate(tmp_path / "holes", 1 << 20)
    for options in (["--format=gnu"], ["--format=pax"]):
        made = subprocess.run(
            ["tar", *options, "--sparse", "-cf", "sparse.tar", "holes"], cwd=tmp_path, capture_output=True
        )
        if made.returncode:
            pytest.skip("no GNU tar")
        archive = place((tmp_path / "sparse.tar").read_bytes(), f"x{options[0]}.tar")
        with pytest.raises(MediaError, match="a sparse member"):
            read(f"{archive}::holes")


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz"])
def test_a_compressed_archive_is_refused(place, name):
    archive = place(gzip.compress(archive_of(MEMBERS)), name)
    with pytest.raises(MediaError, match="compressed with gzip, so its members cannot be read alone"):
        read(f"{archive}::a.mp4")
    with pytest.raises(MediaError, match="compressed with gzip"):
        storage.list_archive(archive)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "not a tar archive, but 0 bytes"), (b"x" * 2000, "not a tar archive"), (b"PK\x03\x04" * 300, "an archive")],
)
def test_what_is_no_archive(place, content, why):
    with pytest.raises(MediaError, match=why):
        storage.list_archive(place(content))


def test_an_archive_that_is_cut_off(place):
    content = archive_of([("a", b"1" * 1000), ("b", b"2" * 1000), ("c", b"3" * 1000)])
    members = storage.list_archive(place(content, "whole.tar")).members
    for i, cut in enumerate((members["c"][0] - 300, members["c"][0] + 10, members["c"][0] + 1024)):
        archive = place(content[:cut], f"{i}.tar")
        assert read(f"{archive}::a") == b"1" * 1000
        assert read(f"{archive}::b") == b"2" * 1000
        assert "cut off" in storage.list_archive(archive).damage
        if i < 2:
            with pytest.raises(MediaError, match="cut off"):
                read(f"{archive}::c")
        with pytest.raises(MediaError, match="no such member before"):
            read(f"{archive}::d")


def test_a_damaged_header(place):
    content = bytearray(archive_of([("a", b"1" * 1000), ("b", b"2" * 1000)]))
    content[1536 + 3] ^= 1
    archive = place(bytes(content))
    assert read(f"{archive}::a") == b"1" * 1000
    assert "damaged" in storage.list_archive(archive).damage


def test_a_header_that_claims_to_be_huge(place):
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    archive = place(archive_of([("a", b"1")])[:1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    assert read(f"{archive}::a") == b"1"
    assert "damaged" in storage.list_archive(archive).damage


@pytest.mark.parametrize("size", [-1, -512, -1024, -10_000])
def test_a_header_with_a_negative_size(place, size):
    """The member after one of -512 bytes would be itself, so the scan would not end."""
    header = bytearray(archive_of([("b", b"")])[:512])
    header[124:136] = size.to_bytes(12, "big", signed=True)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * ord(" "))
    archive = place(archive_of([("a", b"1")])[:1024] + bytes(header) + bytes(2048))
    assert read(f"{archive}::a") == b"1"
    table = storage.list_archive(archive)
    assert list(table.members) == ["a"]
    assert "damaged" in table.damage


@pytest.mark.parametrize("padding", [0, 512, 102_400])
def test_joined_archives(place, caplog, padding):
    """As by `cat a.tar b.tar`. Padding of any length says nothing."""
    parts = [archive_of([("a", b"1"), ("b", b"2" * 1000)]), archive_of([("c", b"3" * 99), ("a", b"4")])]
    archive = place((parts[0] + bytes(padding) + parts[1] + bytes(padding)) * 2)
    table = storage.list_archive(archive)
    assert (sorted(table.members), table.damage) == (["a", "b", "c"], "")
    assert [read(f"{archive}::{name}") for name in "abc"] == [b"4", b"2" * 1000, b"3" * 99]
    assert not caplog.records


def test_other_bytes_after_an_archive(place, caplog):
    content = archive_of([("a", b"1")])
    archive = place(content + b"signature" * 100)
    assert read(f"{archive}::a") == b"1"
    assert storage.list_archive(archive).damage == ""
    (record,) = caplog.records
    assert record.message.startswith(f"{archive}: 900 bytes after the end of the archive are ignored")


def test_a_joined_archive_that_is_damaged(place):
    parts = [archive_of([("a", b"1")]), archive_of([("b", b"2"), ("c", b"3")])]
    broken = bytearray(parts[1])
    broken[1024:1536] = b"x" * 512  # the header of c
    archive = place(parts[0] + broken)
    assert read(f"{archive}::b") == b"2"
    assert "damaged" in storage.list_archive(archive).damage


def test_a_missing_archive(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(f"{tmp_path}/none.tar::a.mp4")


def test_versions_of_members(place):
    first = place(archive_of([("a", b"1"), ("b", b"2")]))
    before = storage.stat(f"{first}::a")
    assert storage.stat(f"{first}::b").version != before.version
    place(archive_of([("a", b"9"), ("b", b"2")]))
    if os.path.exists(first):
        os.utime(first, ns=(1, 1))  # another time, however coarse the clock of the file system is
    storage.refresh(f"{first}::a")
    assert storage.stat(f"{first}::a").version != before.version
    assert read(f"{first}::a") == b"9"


def test_a_large_archive_is_read_once(tmp_path, monkeypatch, cache):
    path = tmp_path / "x.tar"
    path.write_bytes(archive_of([(f"{i:06d}.cls", b"7") for i in range(3000)], format=tarfile.USTAR_FORMAT))
    scans = []
    real = tar.scan
    monkeypatch.setattr(tar, "scan", lambda *given: scans.append(given) or real(*given))
    for _ in range(2):
        for i in range(0, 3000, 100):
            assert storage.stat(f"{path}::{i:06d}.cls").size == 1
    storage.configure(cache, 1 << 30)  # as in another process
    assert storage.stat(f"{path}::002999.cls").size == 1
    assert len(scans) == 1
    for file in (cache / "storage" / "objects").rglob("r-*"):  # damage
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    storage.configure(cache, 1 << 30)
    assert storage.stat(f"{path}::002999.cls").size == 1
    assert len(scans) == 2


def test_few_bytes_of_a_remote_archive(data):
    pytest.importorskip("aiohttp")
    parts = [(f"{i}.{kind}", part) for i in range(10) for kind, part in (("mp4", data[:200_000]), ("cls", b"7"))]
    with RangeServer({"x.tar": archive_of(parts)}) as server:
        archive = server.url("x.tar")
        storage.list_archive(archive)
        assert server.requests["GET"] <= 12
        assert server.sent < 60_000
        server.reset()
        with storage.open_bytes(f"{archive}::3.mp4") as file:
            assert file.read() == data[:200_000]
        assert server.sent == 200_000
        assert sum(server.requests.values()) == 1
