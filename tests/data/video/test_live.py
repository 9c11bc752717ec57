"""Live sources, served over loopback."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import numpy as np
import pytest
from live_servers import RATE, encoded, http_server, paced, rtsp_server, tcp_server, until_closed
from numbered_videos import number_of, numbered, write

from actrec.data.video import live
from actrec.data.video.container import MediaError
from actrec.data.video.live import LiveSource, shown

BROKEN = "the connection was lost (Input/output error)"
LONG = 20.0  # seconds that a test waits at most for what takes a fraction of a second


def tiny(rgb):
    """What the tests keep of a frame: its number."""
    return np.array(number_of(rgb))


def open_live(address, prepare=tiny, *, frames=1000, timeout=LONG, retry=LONG, **options):
    return LiveSource(address, prepare, frames=frames, timeout=timeout, retry=retry, **options)


def wait(source, count):
    """Waits until `count` frames are decoded."""
    assert source.wait(count - 2, time.monotonic() + LONG)
    return source.snapshot()


def numbers(snapshot):
    return [int(frame.data) for frame in snapshot.frames]


def test_frames_arrive_in_order_and_at_once():
    pieces = encoded(range(30))

    def serve(connection, _):
        paced(connection.sendall, pieces)
        until_closed(connection)

    with tcp_server(serve) as address, open_live(address) as source:
        frames = wait(source, 28).frames[:28]  # MPEG-TS holds the last two back
        found = source.snapshot()
    assert [frame.data for frame in frames] == [frame.number for frame in frames] == list(range(28))
    assert [round((frame.stream_time - frames[0].stream_time) * RATE) for frame in frames] == list(range(28))
    assert (found.skipped, found.reconnects) == (0, 0)
    assert {(frame.width, frame.height) for frame in found.frames} == {(128, 64)}


def test_rtsp():
    asked = []
    with tcp_server(lambda connection, number: asked.append(number)) as other:
        control = f"{other.replace('tcp', 'rtsp')}/track0"  # another server than the one that the user named
        with rtsp_server(encoded(range(30)), control=control) as address:
            camera = address.replace("tcp://", "rtsp://me:secret@")
            with open_live(camera) as source:
                assert numbers(wait(source, 20))[:20] == list(range(20))
    assert asked == []


def test_udp():
    pieces, stop = encoded(range(25)), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for piece in itertools.cycle(pieces):
                for start in range(0, len(piece), 7 * 188):
                    sender.sendto(piece[start : start + 7 * 188], ("127.0.0.1", port))
                if stop.wait(1 / RATE):
                    return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with open_live(f"udp://127.0.0.1:{port}") as source:
            found = numbers(wait(source, 15))[:10]
    finally:
        stop.set()
        thread.join()
    assert np.isin(np.diff(found) % 25, (1, 2)).all()  # the first one is where the reader came in


def test_only_the_frames_of_the_time_asked_for_are_kept():
    pieces = encoded(range(60))

    def serve(connection, _):
        connection.sendall(b"".join(pieces))
        until_closed(connection)

    with tcp_server(serve) as address:
        with LiveSource(address, tiny, seconds=0.4, timeout=LONG) as source:
            found = wait(source, 58)
        assert found.full
        assert numbers(found)[-10:] == numbers(found)
        assert len(found.frames) == 10
        with open_live(address, frames=7) as source:
            found = wait(source, 58)
        assert found.full
        assert len(found.frames) == 7


@pytest.mark.parametrize("stalls", [True, False], ids=["stalls", "vanishes"])
def test_a_source_that_is_lost_is_opened_again(stalls):
    told = []

    def serve(connection, number):
        first = 100 * min(number, 2)
        connection.sendall(b"".join(encoded(range(first, first + 20))))
        if stalls or number:
            until_closed(connection)

    with tcp_server(serve) as address, open_live(address, timeout=2.0 if stalls else LONG, tell=told.append) as source:
        deadline = time.monotonic() + LONG
        seen = -1
        while not source.snapshot().reconnects:
            assert source.wait(seen, deadline)
            seen = source.snapshot().decoded - 1
        found = source.snapshot()
    hundreds = {number // 100 for number in numbers(found)}
    assert hundreds in ({1}, {2})  # no window spans the gap
    assert told[0].endswith(f"{'for 2 seconds' if stalls else 'the source has ended'}; trying again for 20 seconds")
    assert told[1] == f"{address}: frames arrive"


def read_to_end(source):
    deadline = time.monotonic() + LONG
    while source.wait(source.snapshot().decoded - 1, deadline):
        pass


def ends(address, *, timeout=0.4, retry=0.7):
    """The error with which a source ends, and the seconds until then."""
    start = time.monotonic()
    with open_live(address, timeout=timeout, retry=retry) as source, pytest.raises(MediaError) as raised:
        read_to_end(source)
    assert time.monotonic() - start < LONG / 2
    return str(raised.value).removeprefix(f"{address}: ")


def test_a_source_that_never_starts_is_given_up():
    with tcp_server(lambda connection, _: until_closed(connection)) as silent:
        assert ends(silent) == "nothing arrived for 0.4 seconds"
    assert ends(silent).startswith("the source cannot be opened (")  # nobody listens there any more


def test_garbage_is_no_stream():
    noise = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes()

    def serve(connection, _):
        connection.sendall(noise)
        until_closed(connection)

    with tcp_server(serve) as address:
        assert ends(address)


def test_garbage_in_between_costs_only_the_frames_around_it():
    noise = np.random.default_rng(0).integers(0, 256, 50_000, np.uint8).tobytes()

    def serve(connection, _):
        connection.sendall(b"".join(encoded(range(20))) + noise + b"".join(encoded(range(20, 60), first=0.8)))
        until_closed(connection)

    with tcp_server(serve) as address, open_live(address) as source:
        found = wait(source, 50)
    assert {*range(15), *range(30, 50)} <= set(numbers(found))
    assert found.reconnects == 0


def test_time_goes_on_where_timestamps_jump():
    def serve(connection, _):
        for number, first in enumerate((500.0, 90.0, 4000.0)):
            paced(connection.sendall, encoded(range(20 * number, 20 * number + 20), first=first))
        until_closed(connection)

    with tcp_server(serve) as address, open_live(address) as source:
        found = wait(source, 57)
    assert set(range(57)) - set(numbers(found)) <= {19, 20, 39, 40}  # at the joints
    steps = np.diff([frame.time for frame in found.frames])
    assert (steps > 0).all()
    assert np.median(steps) == pytest.approx(1 / RATE)
    assert steps.sum() < LONG
    assert len({round(frame.stream_time, -1) for frame in found.frames}) >= 3
    assert max(frame.lag for frame in found.frames) < 2
    assert found.skipped == 0


def test_a_stream_without_timestamps():
    def serve(connection, _):
        connection.sendall(b"".join(encoded(range(200), container="h264")))
        until_closed(connection)

    with tcp_server(serve) as address, open_live(address) as source:
        found = wait(source, 190)
    assert numbers(found)[:190] == list(range(190))
    assert (np.diff([frame.time for frame in found.frames]) > 0).all()


def test_a_reader_that_is_too_slow_skips_to_the_newest_keyframe(monkeypatch):
    """Frames take 80 ms and come every 40 ms."""
    monkeypatch.setattr(live, "_LATE", 0.2)
    monkeypatch.setattr(live, "_FAR", 0.4)
    pieces = encoded(range(250), gop=5)

    def slow(rgb):
        time.sleep(0.08)
        return tiny(rgb)

    def jumps(found):
        return np.flatnonzero(np.diff(numbers(found)) > 1)

    def serve(connection, _):
        paced(connection.sendall, pieces)
        until_closed(connection)

    with tcp_server(serve) as address, open_live(address, slow) as source:
        seen, deadline = -1, time.monotonic() + LONG
        while len(jumps(found := source.snapshot())) < 2:
            assert source.wait(seen, deadline)
            seen = source.snapshot().decoded - 1
    assert found.skipped >= 5
    assert found.decoded == len(found.frames)
    assert {numbers(found)[i + 1] % 5 for i in jumps(found)} == {0}  # continued at keyframes
    assert numbers(found)[-1] >= found.decoded + found.skipped - 5  # those in the decoder are not counted yet
    assert max(frame.lag for frame in found.frames) > 0.2


def test_lag_forgets_that_clocks_differ():
    meter, late = live._Lag(), []
    for i in range(200):  # a source whose clock is slower by a tenth, and a reader that mostly waits
        now = meter._since + 0.04 if i == 0 else now + 0.044  # noqa: F821
        late.append(meter.measure(0.04 * i, now, waited=0.04))
    assert max(late) < 0.2
    meter, late = live._Lag(), []
    start = time.monotonic()
    for i in range(200):  # a reader that never waits
        late.append(meter.measure(0.04 * i, start + 0.044 * i, waited=0.0))
    assert late[-1] == pytest.approx(199 * 0.004)


def test_a_recording_is_read_at_its_own_speed_and_ends(tmp_path):
    recording = write(tmp_path / "a.mkv", [numbered(n) for n in range(25)]).read_bytes()
    files = {"/a.mkv": recording, "/live.ts": lambda send: paced(send, encoded(range(25)))}
    with http_server(files) as address:
        start = time.monotonic()
        with open_live(f"{address}/a.mkv") as source:
            read_to_end(source)
            assert source.ended
            assert numbers(source.snapshot()) == list(range(25))
        assert time.monotonic() - start > 0.9
        assert ends(f"{address}/live.ts", timeout=LONG, retry=0.0) in (
            "the source has ended",
            "the connection was lost (Input/output error)",
        )
        assert ends(f"{address}/none.ts", retry=0.0) == "the source cannot be opened (Server returned 404 Not Found)"


def test_playlists_open_nothing_but_http(tmp_path):
    segment = b"".join(encoded(range(50)))
    secret = tmp_path / "secret.ts"
    secret.write_bytes(segment)
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
    local = f"{head}file://{secret}\n#EXT-X-ENDLIST\n".encode()
    sdp = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 33\r\n"
    files = {
        "/good.m3u8": f"{head}good.ts\n#EXT-X-ENDLIST\n".encode(),
        "/good.ts": segment,
        "/local.m3u8": local,
        "/a.sdp": sdp,
        "/list.txt": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
    }
    with http_server(files) as address:
        with open_live(f"{address}/good.m3u8") as source:
            assert numbers(wait(source, 20))[:20] == list(range(20))
        for name in ("local.m3u8", "a.sdp", "list.txt"):
            assert ends(f"{address}/{name}", timeout=2.0, retry=0.0)
    with tcp_server(lambda connection, _: connection.sendall(local)) as address:
        assert ends(address, timeout=2.0, retry=0.0)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("file:///etc/passwd", "expected a camera, such as /dev/video0 or 0, or one of rtsp://"),
        ("concat:http://a|http://b", "expected a camera"),
        ("", "expected a camera"),
        ("rtsp://", "expected a camera"),
        (__file__, "a file is no live source"),
        ("ftp://me:secret@host/a", "stream 'ftp://me:***@host/a': expected"),
    ],
)
def test_other_sources_are_refused(source, expected):
    with pytest.raises(ValueError, match="stream ") as raised:
        open_live(source)
    assert expected in str(raised.value)


def test_missing_cameras_and_passwords():
    with pytest.raises(FileNotFoundError, match="/dev/video987: there is no such camera"):
        open_live("/dev/video987")
    assert shown("rtsp://me:secret@host:554/a") == "rtsp://me:***@host:554/a"
    assert shown("http://host:80/a@b") == "http://host:80/a@b"
    assert shown("rtsp://host/a?channel=1&password=secret") == "rtsp://host/a?channel=1&password=***"
    assert shown("http://host/a.m3u8?auth_token=secret&n=2") == "http://host/a.m3u8?auth_token=***&n=2"
