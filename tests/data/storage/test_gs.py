"""Objects of Google Cloud Storage, on a server that answers as it does."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest
from range_server import RangeServer

from actrec.data import storage
from actrec.data.storage import remote

pytest.importorskip("gcsfs")


def test_an_object_of_gs(monkeypatch, data, capfd):
    import fsspec

    remote._forget()
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    with RangeServer({}) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url("").rstrip("/"))
        server.objects["storage/v1/b/videos/o/k/a.mp4"] = json.dumps(
            {"name": "k/a.mp4", "bucket": "videos", "size": str(len(data)), "etag": "CJ==", "generation": "7"}
        ).encode()
        server.objects["download/storage/v1/b/videos/o/k/a.mp4"] = data
        url, ranges = "gs://videos/k/a.mp4", [(5, 50), (1_000_000, 70_000)]
        assert storage.stat(url).size == len(data)
        server.fail_next.append("503")
        assert storage.read_ranges(url, ranges) == [data[offset : offset + size] for offset, size in ranges]
        with storage.open_bytes(url) as file:
            assert file.read() == data
        with pytest.raises(FileNotFoundError, match="no such object"):
            storage.stat("gs://videos/none.mp4")
    assert capfd.readouterr().err == ""


def test_the_metadata_server_is_not_asked_again(monkeypatch, tmp_path):
    """Without credentials, the object is read as anybody may read it."""
    import google.auth
    from gcsfs.credentials import GoogleCredentials

    def none(**options):
        raise google.auth.exceptions.DefaultCredentialsError

    monkeypatch.setattr(google.auth, "default", none)
    asked: list[object] = []
    monkeypatch.setattr(GoogleCredentials, "_connect_cloud", asked.append)
    monkeypatch.setattr(GoogleCredentials, "tokens", {})
    monkeypatch.setattr(remote, "_process", remote._Process())
    assert remote._store("gs://videos/a.mp4").credentials.method == "anon"
    assert not asked


@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_does_not_answer(monkeypatch, silent):
    """gcsfs alone sets no time limit, and tries each request six times, with pauses of 32 seconds in all."""
    import fsspec

    monkeypatch.setattr(remote, "_process", remote._Process())
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    for name, seconds in {"TIMEOUT": 0.3, "_PATIENCE": 0.3, "_PATIENCE_UNKNOWN": 0.3}.items():
        monkeypatch.setattr(remote, name, seconds)
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as endpoint:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(endpoint.accept()[0])
                    if not silent:
                        connections[-1].close()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{endpoint.getsockname()[1]}")
        before, begun = storage.statistics()["requests"], time.monotonic()
        with pytest.raises(storage.RemoteError, match="did not answer in time" if silent else "connection was broken"):
            storage.stat("gs://bucket/a.mp4")
        attempts = storage.statistics()["requests"] - before
        assert time.monotonic() - begun < 20
        assert attempts <= len(connections) <= 4 * attempts  # aiohttp connects again if a connection was closed
        endpoint.shutdown(socket.SHUT_RDWR)
        server.join(10)
    for one in connections:
        one.close()
