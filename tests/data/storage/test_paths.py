"""What a path names, and which URLs are refused."""

from __future__ import annotations

import gc
import os
import socket

import pytest

from actrec.data import storage
from actrec.data.storage import remote
from actrec.data.storage.paths import is_url, shown


@pytest.mark.parametrize(
    "path",
    [
        *("a.mp4", "/a/b.mp4", "C:\\videos\\a.mp4", "C://videos/a.mp4", "a::b.mp4", "a: b.mp4", "://a", "s3:/bucket/a"),
        *("x.tar", "x.tar::", "what?.mp4", "a#1.mp4", "100%20.mp4", "ü//x.mp4", "", "x.tarry::a.mp4", "1a://b/c"),
    ],
)
def test_local_paths(path):
    assert storage.is_local(path)
    assert not storage.is_remote(path)
    assert storage.split_member(path) == (path, None)
    assert storage.why_refused(path) is None


@pytest.mark.parametrize(
    "path",
    [
        *("s3://bucket/a b?#%20ü.mp4", "S3://bucket/k.mp4", "gs://bucket/x/y.mp4", "https://host:8080/a.mp4?version=3"),
        *("HTTP://host/a", "abfs://container@account.dfs.core.windows.net/a.mp4", "hf://datasets/u/r@main/a.mp4"),
        *("http://[::1]:80/a[1.mp4", "s3://arn:aws:s3:us-east-1:1:accesspoint/x/a.mp4", "s3://bucket/a[.mp4"),
        *("s3://bucket/a::b.mp4", "s3://my-token-bucket/sig/token.mp4", "https://host/a?tokens=3", "hdfs://n:9/a"),
    ],
)
def test_urls(path):
    assert storage.is_remote(path)
    assert not storage.is_local(path)
    assert storage.split_member(path) == (path, None)
    assert storage.why_refused(path) is None
    assert storage.join("/lists", path) == path


@pytest.mark.parametrize(
    ("path", "archive", "member"),
    [
        ("x.tar::a.mp4", "x.tar", "a.mp4"),
        ("/d/X.TAR::dir/ü ::1.mp4", "/d/X.TAR", "dir/ü ::1.mp4"),
        ("s3://b/x.tar::a.tar::b.mp4", "s3://b/x.tar", "a.tar::b.mp4"),
        ("x.tar.gz::a.mp4", "x.tar.gz", "a.mp4"),
        ("a::b/x.tar::c.mp4", "a::b/x.tar", "c.mp4"),
        ("C:\\x.tar::a.mp4", "C:\\x.tar", "a.mp4"),
    ],
)
def test_members(path, archive, member):
    assert storage.split_member(path) == (archive, member)
    assert not storage.is_local(path)
    assert storage.is_remote(path) == is_url(archive)


def test_a_local_file_that_is_called_like_a_member(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.tar::a.mp4").write_bytes(b"content")
    assert storage.is_local("x.tar::a.mp4")
    with storage.open_bytes("x.tar::a.mp4") as file:
        assert file.read() == b"content"
    with storage.local_file("x.tar::a.mp4") as found:
        assert found == storage.LocalFile("x.tar::a.mp4", 0, None)


def test_ordinary_paths_need_no_disk(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("asks the disk")

    for name in ("stat", "lstat", "open"):
        monkeypatch.setattr(os, name, refuse)
    for path in ("a.mp4", "/x/y.tar", "s3://bucket/a.mp4", "s3://bucket/x.tar::a.mp4", "a: b"):
        storage.is_local(path)
        storage.is_remote(path)
        storage.split_member(path)


@pytest.mark.parametrize(
    ("folder", "path", "joined"),
    [
        ("/lists", "a.mp4", "/lists/a.mp4"),
        ("/lists", "/a.mp4", "/a.mp4"),
        ("/lists", "x.tar::a.mp4", "/lists/x.tar::a.mp4"),
        ("", "a.mp4", "a.mp4"),
        ("s3://bucket/lists/", "x.tar::a.mp4", "s3://bucket/lists/x.tar::a.mp4"),
        ("s3://bucket/lists", "https://host/a", "https://host/a"),
    ],
)
def test_join(folder, path, joined):
    assert storage.join(folder, path) == joined


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"https://user:{SECRET}@host/a.mp4", "a user or a password in a URL"),
        (f"s3://KEY:{SECRET}@bucket/a.mp4", "a user or a password in a URL"),
        (f"sftp://{SECRET}@host/a.mp4", "a user or a password in a URL"),
        (f"https://b.s3.amazonaws.com/a.mp4?X-Amz-Credential=x&X-Amz-Signature={SECRET}", "a signature or token"),
        (f"https://storage.googleapis.com/b/a.mp4?X-Goog-Signature={SECRET}", "a signature or token"),
        (f"https://acc.blob.core.windows.net/c/a.mp4?sv=2024&sig={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?access_token={SECRET}", "a signature or token"),
        (f"https://host/x.tar?token={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?v=1&Signature={SECRET}&Expires=1", "a signature or token"),
        (f"https://host/a.mp4?private_token={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?v=1;OAuth-Token={SECRET}", "a signature or token"),
        (f"https://host/a.mp4;%74oken={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?secret_key={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?subscription-key={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?key=AIza{SECRET}", "a signature or token"),
        (f"https://host?token={SECRET}", "a signature or token"),
        (f"https://host/a.mp4;jsessionid={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?hdnts=exp=1~acl=*~hmac={SECRET}", "a signature or token"),
        (f"https://host/a.mp4?t=eyJ{SECRET}", "a signature or token"),
        (f"https://host/a#access_token={SECRET}", "expected %23"),
        (f"https://user:x/{SECRET}@host/a.mp4", "a user or a password in a URL"),
        (f"https://user:x?{SECRET}@host/a.mp4", "a user or a password in a URL"),
        (f"abfs://user:{SECRET}@host/a.mp4", "a user or a password in a URL"),
        (f"zip://a.mp4::s3://KEY:{SECRET}@bucket/x.zip", "zip:// is not supported"),
        ("file:///data/a.mp4", "file:// is not supported: expected the path alone"),
        ("memory://a.mp4", "memory:// is not supported"),
        ("simplecache::s3://bucket/a.mp4", "simplecache:: in front of a URL"),
        ("zip://a.mp4::s3://bucket/x.zip", "zip:// is not supported"),
        ("s3:///a.mp4", "nothing between"),
        ("https://host/a#1.mp4", "expected %23"),
        ("https://host:99999/a.mp4", "host:99999 is malformed: expected a host or a bucket, or HOST:PORT"),
        ("https://[::1/a.mp4", "[::1 is malformed"),
        ("s3://buck[et/a.mp4", "buck[et is malformed"),
        ("hdfs://host]/a.mp4", "host] is malformed"),
    ],
)
def test_refused_urls(url, why):
    reason = storage.why_refused(url)
    assert reason is not None
    assert why in reason
    assert "\n" not in reason
    assert SECRET not in reason
    assert SECRET not in shown(url)
    assert storage.is_remote(url)
    for function in (storage.stat, storage.open_bytes, lambda url: storage.read_ranges(url, [(0, 1)])):
        with pytest.raises(storage.RemoteError) as error:
            function(url)
        assert why in str(error.value)
        assert SECRET not in str(error.value)
        assert SECRET not in repr(error.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s4://bucket/a.mp4", "s4:// is unknown: expected s3://, gs://, https:// or another scheme of fsspec"),
        ("htps://host/a.mp4", "did you mean"),
    ],
)
def test_unknown_schemes(url, why):
    with pytest.raises(storage.RemoteError, match=why):
        storage.stat(url)


def test_a_missing_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(storage.RemoteError, match=r"pip install 'actrec\[remote\]'"):
        storage.stat("newstore://bucket/a.mp4")


@pytest.mark.parametrize(
    ("scheme", "package", "installed"),
    [
        ("abfs", "adlfs", "adlfs"),
        ("hf", "huggingface_hub", "huggingface_hub"),
        ("oci", "ocifs", "ocifs"),
        ("sftp", "paramiko", "paramiko"),
        ("smb", "smbprotocol", "smbprotocol"),
        ("s3", "s3fs", "actrec[remote]"),
    ],
)
def test_a_missing_package_of_a_scheme(monkeypatch, scheme, package, installed):
    import fsspec
    from fsspec.registry import known_implementations

    def missing(scheme):
        raise ImportError(known_implementations[scheme]["err"])

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    monkeypatch.setattr(remote, "_process", remote._Process())
    with pytest.raises(storage.RemoteError) as error:
        storage.stat(f"{scheme}://bucket/a.mp4")
    assert str(error.value).endswith(f"{scheme}:// needs the package {package}: pip install '{installed}'")


def test_schemes_that_are_opened_with_their_host(monkeypatch, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(remote, "_PATIENCE_UNKNOWN", 0.01)
    for scheme in ("ftp", "webhdfs"):
        with pytest.raises(storage.RemoteError, match="refused the connection|did not answer in time"):
            storage.stat(f"{scheme}://{host}/a.mp4")
    gc.collect()
    assert capfd.readouterr().err == ""
