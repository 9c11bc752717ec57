"""An S3 server of moto on loopback."""

import contextlib
import logging
from urllib.request import Request, urlopen

import pytest

from actrec.data.storage import remote


def use_server(monkeypatch, url):
    """Lets fsspec find the server, with credentials that are none."""
    remote._forget()  # file systems of another server
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "AKIDUMMY",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


@contextlib.contextmanager
def serve_bucket(bucket, objects):
    """Yields a client of boto3 while a server has a bucket with {key: content}."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    import boto3

    url = "http://{}:{}".format(*server.get_host_and_port())
    try:
        with pytest.MonkeyPatch.context() as patch:
            use_server(patch, url)
            client = boto3.client("s3")
            client.create_bucket(Bucket=bucket)
            for key, content in objects.items():
                client.put_object(Bucket=bucket, Key=key, Body=content)
            yield client
    finally:
        urlopen(Request(f"{url}/moto-api/reset", method="POST")).close()  # servers of one process share their buckets
        remote._forget()
        server.stop()
