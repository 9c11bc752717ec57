"""Objects in S3, on a server of moto on loopback."""

from __future__ import annotations

import logging

import pytest

from actrec.data import storage

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch, data):
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "AKIDUMMY",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="videos")
    client.put_object(Bucket="videos", Key="k400/a ü #1.mp4", Body=data)
    return client


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


def test_what_is_missing_or_forbidden(bucket, monkeypatch):
    for url in ("s3://videos/none.mp4", "s3://none/a.mp4"):
        with pytest.raises(FileNotFoundError):
            storage.stat(url)
        with pytest.raises(FileNotFoundError):
            storage.read_ranges(url, [(0, 10)])
    with pytest.raises(IsADirectoryError):
        storage.stat("s3://videos/k400")
