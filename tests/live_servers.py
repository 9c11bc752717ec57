"""Servers of live video for the tests: on loopback, in threads, paced by the clock where a test needs real time."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
from numbered_videos import HEIGHT, WIDTH, numbered

RATE = 25


class _Sink(io.RawIOBase):
    def __init__(self):
        self.written = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.written += bytes(data)
        return len(data)

    def take(self):
        taken = bytes(self.written)
        self.written.clear()
        return taken


def square(number):
    """A frame of WIDTH x WIDTH pixels that shows its number."""
    return numbered(number).repeat(WIDTH // HEIGHT, axis=0)


def encoded(numbers: Sequence[int], *, container="mpegts", first=0.0, gop=5, rate=RATE, frame=numbered) -> list[bytes]:
    """A stream of numbered frames, cut after each frame.

    Args:
        first: Timestamp of the first frame, in seconds.
    """
    sink, pieces = _Sink(), []
    with av.open(sink, "w", format=container, options={"flush_packets": "1"}) as file:
        # Large pictures, because FFmpeg reads tens of kilobytes before it knows a format.
        options = {"tune": "zerolatency", "preset": "ultrafast", "crf": "1", "g": str(gop), "sc_threshold": "0"}
        stream = file.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, _ = frame(0).shape
        stream.pix_fmt = "yuv420p"
        for i, number in enumerate(numbers):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame(number)), format="rgb24")
            picture.pts, picture.time_base = i + round(first * rate), Fraction(1, rate)
            file.mux(stream.encode(picture))
            pieces.append(sink.take())
        file.mux(stream.encode(None))
    pieces[-1] += sink.take()
    return pieces


def paced(send: Callable[[bytes], object], pieces: Sequence[bytes], *, rate: int = RATE) -> None:
    """Sends a piece every 1 / rate seconds."""
    start = time.monotonic()
    for i, piece in enumerate(pieces):
        time.sleep(max(0.0, start + i / rate - time.monotonic()))
        send(piece)


def until_closed(connection: socket.socket) -> None:
    """Waits until the other side closes the connection."""
    with contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


@contextlib.contextmanager
def tcp_server(serve: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """The address of a server that calls `serve(connection, its number)` for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def answer(connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):  # the client has gone
            serve(connection, number)

    def run() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                connections.append(listener.accept()[0])
                threading.Thread(target=answer, args=(connections[-1], len(connections) - 1), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for opened in (listener, *connections):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()


def rtsp_server(pieces: Sequence[bytes], *, control: str = "track0") -> contextlib.AbstractContextManager[str]:
    """The address of a camera that sends MPEG-TS over RTSP, in the same TCP connection.

    Args:
        control: The address of its only stream, as its description names it.
    """
    description = f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:{control}\r\n"
    answers = {
        "OPTIONS": "Public: DESCRIBE, SETUP, PLAY\r\n\r\n",
        "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(description)}\r\n\r\n{description}",
        "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        "PLAY": "Session: 1\r\n\r\n",
    }

    def serve(connection: socket.socket, _: int) -> None:
        lines, verb, count = connection.makefile("r", newline="\r\n"), "", itertools.count()
        while verb != "PLAY":
            verb, sequence = lines.readline().split()[0], "0"
            while line := lines.readline().strip():
                sequence = line.removeprefix("CSeq: ") if line.startswith("CSeq: ") else sequence
            connection.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{answers[verb]}".encode())

        def send(piece: bytes) -> None:
            for start in range(0, len(piece), 7 * 188):
                number = next(count)
                packet = struct.pack("!BBHII", 0x80, 33, number, number, 1) + piece[start : start + 7 * 188]
                connection.sendall(b"$\0" + struct.pack("!H", len(packet)) + packet)

        paced(send, pieces)
        until_closed(connection)

    return tcp_server(serve)


@contextlib.contextmanager
def http_server(files: dict[str, bytes | Callable[[Callable[[bytes], object]], None]]) -> Iterator[str]:
    """The address of a server of files (with range requests), and of live streams: functions that get `send`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            found = files.get(self.path)
            if found is None:
                self.send_error(404)
            elif callable(found):
                self.send_response(200)
                self.end_headers()
                found(self.wfile.write)
            else:
                self._send(found)

        def _send(self, data: bytes) -> None:
            start, _, stop = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            part = data[int(start) : int(stop) + 1 if stop else None]
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if "Range" in self.headers:
                self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}")
            self.end_headers()
            self.wfile.write(part)

        def handle(self):
            with contextlib.suppress(OSError):
                super().handle()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
