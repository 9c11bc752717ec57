"""Objects in S3, on a server of moto on loopback."""

from __future__ import annotations

import pytest
from range_server import RangeServer
from s3_server import serve_bucket, use_server

from actrec.data import storage
from actrec.data.errors import ChangedError
from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.storage import remote
from actrec.inference.inputs import find_inputs

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")


@pytest.fixture
def bucket(data):
    with serve_bucket("videos", {"k400/a ü #1.mp4": data}) as client:
        yield client


def test_an_object_of_s3(bucket, data):
    url = "s3://videos/k400/a ü #1.mp4"
    assert storage.stat(url).size == len(data)
    ranges = [(0, 10), (1_000_000, 70_000), (len(data) - 5, 100)]
    assert storage.read_ranges(url, ranges) == [data[:10], data[1_000_000:1_070_000], data[-5:]]
    with storage.open_bytes(url) as file:
        assert file.read() == data
    before = storage.stat(url)
    bucket.put_object(Bucket="videos", Key="k400/a ü #1.mp4", Body=data[::-1])
    storage.refresh(url)
    assert storage.stat(url) != before
    with storage.open_bytes(url.replace("s3://", "S3://")) as file:
        assert file.read() == data[::-1]


@pytest.mark.parametrize("failures", [0.01, 0.3])
def test_faults_of_s3(monkeypatch, data, failures):
    """The paths of a bucket are those of S3, so a plain server with faults does."""
    names = [f"videos/{i}.mp4" for i in range(5)]
    with RangeServer(
        dict.fromkeys(names, data), failures=failures, faults=("503", "429", "500", "cut", "reset")
    ) as server:
        use_server(monkeypatch, server.url("").rstrip("/"))
        for name in names:
            url, ranges = f"s3://{name}", [(i * 290_000, 5000) for i in range(10)]
            assert storage.read_ranges(url, ranges) == [data[offset : offset + size] for offset, size in ranges]
            with storage.open_bytes(url) as file:
                assert file.read() == data
        assert server.requests["GET"] > 55


def test_the_ranges_of_a_clip_are_signed_once(monkeypatch, data):
    """With the present version of signatures, and with the token of a session."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret-token")
    ranges = [(i * 290_000, 5000) for i in range(10)]
    with RangeServer({"videos/a ü #1.mp4": data}) as server:
        use_server(monkeypatch, server.url("").rstrip("/"))
        monkeypatch.setattr(remote, "_s3_part", None)
        found = storage.read_ranges("s3://videos/a ü #1.mp4", ranges)
        assert found == [data[offset : offset + size] for offset, size in ranges]
        targets = [target for target in server.targets if "X-Amz-Signature" in target]
        assert len(targets) == 10
        assert len(set(targets)) == 1
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in targets[0]
        assert "X-Amz-Security-Token=secret-token" in targets[0]


def test_a_store_that_refuses_signed_urls(monkeypatch, data):
    """It gets ordinary requests, and soon only those."""
    ranges = [(i * 290_000, 5000) for i in range(10)]
    with RangeServer(dict.fromkeys(("videos/a.mp4", "videos/b.mp4"), data), refused="X-Amz-Signature") as server:
        use_server(monkeypatch, server.url("").rstrip("/"))
        for name, num_requests in (("a", 20), ("b", 10)):
            storage.stat(f"s3://videos/{name}.mp4")
            server.reset()
            found = storage.read_ranges(f"s3://videos/{name}.mp4", ranges)
            assert found == [data[offset : offset + size] for offset, size in ranges]
            assert server.requests["GET"] == num_requests


def test_a_replaced_object_is_noticed_in_several_ranges(bucket, data):
    url = "s3://videos/replaced.mp4"
    bucket.put_object(Bucket="videos", Key="replaced.mp4", Body=data)
    storage.stat(url)
    bucket.put_object(Bucket="videos", Key="replaced.mp4", Body=data[::-1])
    with pytest.raises(ChangedError, match="replaced"):
        storage.read_ranges(url, [(i * 290_000, 5000) for i in range(10)])


def test_a_changed_object_of_s3(bucket, data, tmp_path):
    url = "s3://videos/changed.mp4"
    bucket.put_object(Bucket="videos", Key="changed.mp4", Body=data)
    storage.stat(url)
    bucket.put_object(Bucket="videos", Key="changed.mp4", Body=data[::-1])
    with pytest.raises(ChangedError, match="replaced"):
        storage.read_ranges(url, [(0, 10)])
    bucket.put_object(Bucket="videos", Key="changed.mp4", Body=data[:1000])
    with storage.open_bytes(url) as file:
        assert file.read() == data[:1000]


def test_wrong_credentials(monkeypatch):
    with RangeServer({}, failures=1.0, faults=("403",)) as server:
        use_server(monkeypatch, server.url("").rstrip("/"))
        with pytest.raises(PermissionError, match="check the credentials in the environment") as error:
            storage.stat("s3://videos/a.mp4")
        assert "very-secret" not in str(error.value)
        assert "AKIDUMMY" not in str(error.value)


def test_what_is_missing_or_forbidden(bucket, monkeypatch):
    for url in ("s3://videos/none.mp4", "s3://none/a.mp4"):
        with pytest.raises(FileNotFoundError):
            storage.stat(url)
        with pytest.raises(FileNotFoundError):
            storage.read_ranges(url, [(0, 10)])
    with pytest.raises(IsADirectoryError):
        storage.stat("s3://videos/k400")
    with pytest.raises(FileNotFoundError):
        storage.list_folder("s3://videos/k40/")


def test_a_folder_of_s3_as_input(bucket):
    for name in ("b/x.mp4", "b/c/y.AVI", "b/notes.txt", "bb.mp4"):
        bucket.put_object(Bucket="videos", Key=name, Body=b"x")
    found = [video.path for video in find_inputs(["s3://videos/b/"])]
    assert found == ["s3://videos/b/c/y.AVI", "s3://videos/b/x.mp4"]
    bucket.put_object(Bucket="videos", Key="n/notes.txt", Body=b"x")
    with pytest.raises(ValueError, match="s3://videos/n/: contains no video"):
        find_inputs(["s3://videos/n/"])
    names = ["s3://videos/none/", "s3://videos/none.tar", "s3://nobucket/none.tar"]
    assert [video.path for video in find_inputs([*names, "good.mp4"])] == [*names, "good.mp4"]


def test_versions_of_an_object(bucket, data):
    """A URL with ?versionId= names an old version, also after a URL of the same bucket without it."""
    bucket.put_bucket_versioning(Bucket="videos", VersioningConfiguration={"Status": "Enabled"})
    contents = [data, data[::-1], data[:2_000_000]]
    ids = [bucket.put_object(Bucket="videos", Key="a.mp4", Body=one)["VersionId"] for one in contents]
    for url, content in [
        ("s3://videos/a.mp4", contents[2]),
        *((f"s3://videos/a.mp4?versionId={version}", one) for version, one in zip(ids, contents)),
    ]:
        assert storage.stat(url).size == len(content)
        ranges = [(i * 290_000, 5000) for i in range(6)]
        assert storage.read_ranges(url, ranges) == [content[offset : offset + size] for offset, size in ranges]
        with storage.open_bytes(url) as file:
            assert file.read() == content


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("AWS_ENDPOINT_URL", "127.0.0.1:9000", "the endpoint is not a URL: check AWS_ENDPOINT_URL"),
        ("AWS_CONFIG_FILE", "malformed", "the configuration file of AWS is malformed"),
        ("AWS_PROFILE", "none", "no valid credentials were found in the environment"),
    ],
)
def test_settings_that_are_wrong(bucket, monkeypatch, tmp_path, name, value, why):
    (tmp_path / "malformed").write_text("[profile x\nregion")
    remote._forget()
    monkeypatch.setenv(name, str(tmp_path / value) if value == "malformed" else value)
    with pytest.raises((storage.RemoteError, PermissionError), match=why):
        storage.stat("s3://videos/a.mp4")


def test_an_index_names_a_missing_bucket(bucket):
    with pytest.raises(ValueError, match="s3://none/a.mp4: no such bucket$"):
        build_index([Video.of("s3://none/a.mp4")])


def test_a_bucket_that_cannot_exist(bucket):
    with pytest.raises(storage.RemoteError, match="a name that S3 does not allow"):
        storage.stat("s3://Videos!/a.mp4")
