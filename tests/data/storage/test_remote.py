"""Faults of servers and of the network, on a server that has them."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest
from range_server import FAULTS, RangeServer

from actrec.data import storage
from actrec.data.errors import ChangedError
from actrec.data.storage import remote
from actrec.data.storage.faults import seconds_of

pytest.importorskip("aiohttp")

RANGES = [(0, 1000), (500_000, 70_000), (2_999_990, 100), (3_000_000, 5), (7, 0)]


def right(url, data):
    """Whether ranges, the whole object and the status of an object are right."""
    crcs = [zlib.crc32(data[offset : offset + size]) for offset, size in RANGES]
    found = storage.read_ranges(url, RANGES, crcs)
    with storage.open_bytes(url) as file:
        return (
            file.read() == data
            and found == [data[o : o + n] for o, n in RANGES]
            and storage.stat(url).size == len(data)
        )


@pytest.mark.parametrize("fault", FAULTS)
def test_passing_faults(data, fault):
    with RangeServer({"a.mp4": data}) as server:
        storage.stat(server.url("a.mp4"))
        before = storage.statistics()
        server.fail_next.extend([fault] * 3)
        assert right(server.url("a.mp4"), data)
        retries = storage.statistics()["retries"] - before["retries"]
        if fault != "reset":  # aiohttp repeats some of these itself
            assert retries == (2 if fault == "short" else 3)  # after a short one, each range is a request of its own


def test_a_server_that_does_not_answer(data, monkeypatch):
    monkeypatch.setattr(remote, "TIMEOUT", 0.1)
    with RangeServer({"a.mp4": data}) as server:
        storage.stat(server.url("a.mp4"))
        server.fail_next.extend(["stall", "stall"])
        assert right(server.url("a.mp4"), data)


def test_a_server_that_stays_broken(data, monkeypatch):
    monkeypatch.setattr(remote, "_PATIENCE", 0.05)
    with RangeServer({"a.mp4": data}, failures=1.0, faults=("503",)) as server:
        url = server.url("a.mp4")
        with pytest.raises(storage.RemoteError) as error:
            storage.stat(url)
        assert str(error.value).startswith(f"{url}: the server answers 503 after ")
        assert "secret" not in str(error.value)
        assert server.requests["HEAD"] >= 5


def test_a_host_that_does_not_exist_is_given_up_soon(monkeypatch):
    monkeypatch.setattr(remote, "_PATIENCE_UNKNOWN", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.mp4"
    with pytest.raises(storage.RemoteError, match="refused the connection after [2-9] attempts"):
        storage.stat(url)
    before = storage.statistics()["requests"]
    with pytest.raises(storage.RemoteError, match="refused the connection"):
        storage.stat(url)
    assert storage.statistics()["requests"] == before + 1  # the second time only once
    with pytest.raises(storage.RemoteError, match="the host was not found"):
        storage.stat("http://nowhere.invalid/a.mp4")


def test_an_outage_is_told_and_does_not_take_its_time_for_each_object(data, monkeypatch, caplog):
    monkeypatch.setattr(remote, "_PATIENCE", 0.3)
    monkeypatch.setattr(remote, "_NOTICE", 0.0)
    with RangeServer({"a.mp4": data, "b.mp4": data, "c.mp4": data}) as server:
        urls = [server.url(f"{name}.mp4") for name in "abc"]
        storage.stat(urls[0])
    host = urls[0].split("/")[2]
    with pytest.raises(storage.RemoteError, match="refused the connection after \\d+ attempts"):
        storage.stat(urls[1])
    before = storage.statistics()["requests"]
    with pytest.raises(storage.RemoteError, match="refused the connection$"):
        storage.stat(urls[2])
    assert storage.statistics()["requests"] == before + 1
    assert [line.split(" (")[0] for line in caplog.messages] == [f"{host} does not answer"]
    remote._process.has_answered(host)
    assert caplog.messages[1:] == [f"{host} answers again"]
    with pytest.raises(storage.RemoteError, match="refused the connection after \\d+ attempts"):
        storage.stat(urls[2])


@pytest.mark.parametrize(
    "options",
    [
        {"ranges": False},
        {"head": 405},
        {"head": 403},
        {"etags": False},
        {"etags": False, "dates": False},
        {"ranges": False, "lengths": False},
        {"ranges": False, "lengths": False, "head": 405, "etags": False, "dates": False},
        {"encoding": "gzip"},
        {"encoding": "identity"},
        {"encoding": "if accepted"},
        {"encoding": "ranges"},
        {"head_body": True},
        {"unit": "Bytes"},
        {"latency": 0.01, "bandwidth": 100e6},
    ],
    ids=str,
)
@pytest.mark.parametrize("failures", [0.0, 0.3])
def test_odd_servers(data, options, failures):
    with RangeServer({"a.mp4": data}, failures=failures, seed=1, **options) as server:
        assert right(server.url("a.mp4"), data)
        assert server.most <= remote.IN_FLIGHT
        if options == {"encoding": "if accepted"}:
            assert any("=0-0" not in asked for _, _, asked in server.log if asked)  # it sends parts, uncompressed


@pytest.mark.parametrize("size", [1000, 4_000_000])
def test_a_size_that_contradicts_the_ranges(data, size):
    """The size in the answer to HEAD is wrong: neither is the object cut off, nor are bytes made up."""
    with RangeServer({"a.mp4": data}, head_size=size) as server:
        with pytest.raises(ChangedError, match="replaced"), storage.open_bytes(server.url("a.mp4")) as file:
            file.read()
        with pytest.raises(ChangedError, match="replaced"):
            storage.read_ranges(server.url("a.mp4"), [(0, 10)])


def test_redirects(data):
    with RangeServer({"a.mp4": data}) as server, RangeServer({}) as other:
        other.redirects["b.mp4"] = server.url("a.mp4") + "?X-Amz-Signature=hunter2"
        other.redirects["loop.mp4"] = other.url("loop.mp4")
        other.redirects["none.mp4"] = server.url("none.mp4") + "?X-Amz-Signature=hunter2"
        other.redirects["file.mp4"] = "file:///etc/passwd"
        assert right(other.url("b.mp4"), data)
        with pytest.raises(storage.RemoteError, match="redirects too often"):
            storage.stat(other.url("loop.mp4"))
        with pytest.raises(FileNotFoundError) as error:
            storage.stat(other.url("none.mp4"))
        assert "hunter2" not in str(error.value)
        with pytest.raises(storage.RemoteError, match="redirects to a URL that is not one of a web server$"):
            storage.open_bytes(other.url("file.mp4"))


@pytest.mark.parametrize(("status", "kind"), [("401", PermissionError), ("403", PermissionError),
                                              ("404", FileNotFoundError), ("410", FileNotFoundError),
                                              ("400", storage.RemoteError), ("451", storage.RemoteError)])  # fmt: skip
def test_what_is_not_repeated(data, status, kind):
    with RangeServer({"a.mp4": data}, failures=1.0, faults=(status,)) as server:
        with pytest.raises(kind) as error:
            storage.stat(server.url("a.mp4"))
        assert "secret" not in str(error.value)
        assert sum(server.requests.values()) <= 2


def test_an_object_that_changes_in_the_middle_of_a_download(data, monkeypatch):
    monkeypatch.setattr("actrec.data.storage.ranges.LARGEST", 300_000)
    for etags in (True, False):
        with RangeServer({"a.mp4": data}, etags=etags, latency=0.02) as server:
            url = server.url("a.mp4")
            if not etags:
                server.dates = False  # the size tells then
            storage.stat(url)
            threading.Timer(0.03, lambda: server.objects.update({"a.mp4": data[::-1] + b"x"})).start()
            with storage.open_bytes(url) as file:
                found = file.read()
            assert found == data[::-1] + b"x"


def test_a_host_that_is_slow_to_connect_delays_no_other_host(data, monkeypatch):
    """The file system of FTP connects when it is made."""
    begun, answer, real = threading.Event(), threading.Event(), remote.open_store

    def slow(url, scheme, **options):
        if scheme == "ftp":
            begun.set()
            assert answer.wait(60)
            raise storage.RemoteError(url, "no server")
        return real(url, scheme, **options)

    monkeypatch.setattr(remote, "open_store", slow)
    with RangeServer({"a.mp4": data}) as server, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(storage.stat, "ftp://slow/a.mp4")
        assert begun.wait(60)
        try:
            assert storage.stat(server.url("a.mp4")).size == len(data)
            assert not waiting.done()
        finally:
            answer.set()
        with pytest.raises(storage.RemoteError, match="no server"):
            waiting.result()


def test_an_object_that_changes_all_the_time(data):
    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        storage.stat(url)
        answer = server._answer

        def changing(head, writer):
            server.objects["a.mp4"] = os.urandom(1000)
            return answer(head, writer)

        server._answer = changing
        with pytest.raises(ChangedError, match="replaced several times"):
            storage.open_bytes(url)


def test_bytes_that_were_damaged_on_the_way(data):
    """The first answer is wrong, and the second is right."""
    with RangeServer({"a.mp4": data}) as server:
        url, ranges = server.url("a.mp4"), [(0, 1000), (2000, 1000)]
        crcs = [zlib.crc32(data[offset : offset + size]) for offset, size in ranges]
        storage.stat(url)
        etag = server._etag(data)
        server._etag = lambda found: etag
        server.objects["a.mp4"] = bytes(len(data))
        storage.prefetch(url, ranges)
        server.objects["a.mp4"] = data
        assert storage.read_ranges(url, ranges, crcs) == [data[:1000], data[2000:3000]]
        server.reset()
        assert storage.read_ranges(url, ranges, crcs) == [data[:1000], data[2000:3000]]
        assert not server.requests
        server.objects["a.mp4"] = bytes(len(data))
        with pytest.raises(ChangedError, match="1,000 bytes at 9,000 are not those of the index"):
            storage.read_ranges(url, [(9000, 1000)], [zlib.crc32(data[9000:10_000])])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_too(data):
    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        storage.stat(url)
        child = os.fork()
        if not child:
            signal.alarm(60)  # ends it if it hangs
            os._exit(0 if right(url, data) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert right(url, data)


def test_threads_fetch_a_whole_object_once(data):
    with RangeServer({"a.mp4": data}, latency=0.02) as server:
        url, found = server.url("a.mp4"), []

        def read():
            with storage.open_bytes(url) as file:
                found.append(file.read() == data)

        threads = [threading.Thread(target=read) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert found == [True] * 8
        assert server.sent == len(data)


@pytest.mark.parametrize(("several", "num_requests"), [("multipart", 1), ("whole", 9)])
def test_few_bytes_and_requests(data, several, num_requests):
    """The bytes between the ranges are at most 13 % of what is needed, or 5 % if all ranges are one request."""
    ranges = []
    for group in range(8):
        offset = group * 370_000
        for i in range(10):
            ranges.append((offset, 5000 + 100 * i))
            offset += ranges[-1][1] + (300 if i % 3 else 0)
    with RangeServer({"a.mp4": data}, several=several) as server:
        storage.stat(server.url("a.mp4"))
        server.reset()
        before = storage.statistics()["fetched"]
        found = storage.read_ranges(server.url("a.mp4"), ranges)
        assert found == [data[offset : offset + size] for offset, size in ranges]
        assert server.requests == {"GET": num_requests}
        needed = sum(size for _, size in ranges)
        assert storage.statistics()["fetched"] - before <= (1.06 if several == "multipart" else 1.13) * needed


@pytest.mark.parametrize("several", ["multipart", "backwards", "one"])
def test_several_ranges_in_one_request(data, several):
    """Servers may send the parts in another order, or join them."""
    with RangeServer({"a.mp4": data}, several=several) as server:
        for offset in range(0, 200_000, 50_000):
            wanted = [(offset, 1000), (offset + 1500, 1000)]
            server.reset()
            found = storage.read_ranges(server.url("a.mp4"), wanted)
            assert found == [data[offset : offset + 1000], data[offset + 1500 : offset + 2500]]
            assert server.requests["GET"] == 1


@pytest.mark.parametrize("several", ["whole", "first", "garbled", "403", "416", "501"])
def test_a_server_that_does_not_send_several_ranges(data, several):
    """After some attempts, it is asked for one range per request; after one, if it sent the whole object."""
    most = 1 if several == "whole" else remote._REFUSALS
    with RangeServer({"a.mp4": data}, several=several) as server:
        storage.stat(server.url("a.mp4"))
        for i in range(remote._REFUSALS + 2):
            wanted = [(300_000 * i, 1000), (300_000 * i + 200_000, 1000)]
            server.reset()
            found = storage.read_ranges(server.url("a.mp4"), wanted)
            assert found == [data[offset : offset + size] for offset, size in wanted]
            assert server.requests == {"GET": 3 if i < most else 2}


@pytest.mark.parametrize(("several", "most_extra"), [("whole", 1), ("first", remote._REFUSALS), ("multipart", 0)])
def test_threads_do_not_ask_an_unknown_host_at_once(data, several, most_extra):
    names = [f"{i}.mp4" for i in range(8)]
    wanted = [(i * 300_000, 1000) for i in range(10)]
    with RangeServer(dict.fromkeys(names, data), several=several, latency=0.02) as server:
        for name in names:
            storage.stat(server.url(name))
        server.reset()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda name: storage.read_ranges(server.url(name), wanted), names))
        assert found == [[data[offset : offset + size] for offset, size in wanted]] * 8
        assert server.requests["GET"] == (8 if several == "multipart" else 8 * 10 + most_extra)


def test_many_ranges(data):
    """A request asks for a limited number of them."""
    wanted = [(10_000 * i, 1000) for i in range(250)]
    with RangeServer({"a.mp4": data}) as server:
        storage.stat(server.url("a.mp4"))
        server.reset()
        assert storage.read_ranges(server.url("a.mp4"), wanted) == [data[o : o + n] for o, n in wanted]
        assert server.requests == {"GET": 3}


def test_an_object_that_is_replaced_is_noticed_in_several_ranges(data):
    wanted = [(0, 1000), (1_000_000, 1000)]
    with RangeServer({"a.mp4": data}) as server:
        url = server.url("a.mp4")
        storage.stat(url)
        server.objects["a.mp4"] = data[::-1]
        with pytest.raises(ChangedError, match="replaced"):
            storage.read_ranges(url, wanted)


def test_what_stays_in_messages(data):
    """A message of an error has one line."""
    with RangeServer({"a.mp4": data}, failures=1.0, faults=("400",)) as server, pytest.raises(ValueError) as error:
        storage.stat(server.url("a\nb.mp4"))
    assert "\n" not in str(error.value)


def test_a_file_system_without_coroutines(data, monkeypatch):
    import fsspec

    from actrec.data.storage import paths

    monkeypatch.setattr(paths, "REFUSED", paths.REFUSED - {"memory"})
    memory = fsspec.filesystem("memory")
    memory.pipe("/videos/a.mp4", data)
    assert right("memory://videos/a.mp4", data)
    memory.pipe("/videos/a.mp4", data[::-1])
    storage.refresh("memory://videos/a.mp4")
    assert right("memory://videos/a.mp4", data[::-1])
    with pytest.raises(FileNotFoundError):
        storage.stat("memory://videos/none.mp4")
    with pytest.raises(IsADirectoryError):
        storage.stat("memory://videos")
    memory.rm("/videos", recursive=True)


def test_an_empty_object():
    with RangeServer({"a.mp4": b""}) as server:
        url = server.url("a.mp4")
        assert storage.stat(url).size == 0
        assert storage.read_ranges(url, [(0, 10), (5, 5)]) == [b"", b""]
        with storage.open_bytes(url) as file:
            assert file.read() == b""


def test_a_proxy_of_the_environment(data, monkeypatch):
    """The proxy is a server of its own, which is asked in place of the host."""
    with RangeServer({"a.mp4": data}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url("").rstrip("/"))
        monkeypatch.delenv("no_proxy", raising=False)
        assert storage.stat("http://videos.invalid/a.mp4").size == len(data)


def test_pauses_that_servers_ask_for():
    assert seconds_of("7") == 7
    assert 90 < seconds_of(formatdate(time.time() + 100, usegmt=True)) <= 100
    assert seconds_of("Sat, 28 Nov 2020 10:00:00 GMT") == 0
    assert seconds_of("soon") == seconds_of(None) == 0
