"""An HTTP server of objects on loopback, with latency and faults, for tests and benchmarks.

with RangeServer({"a.mp4": data}, latency=0.05, failures=0.01) as server:
    read(server.url("a.mp4"))
    server.requests, server.sent
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import itertools
import random
import re
import threading
from collections import Counter
from collections.abc import Mapping
from urllib.parse import quote, unquote

_md5 = functools.lru_cache(1000)(lambda data: hashlib.md5(data).hexdigest())  # not anew for each request
FAULTS = ("503", "429", "500", "cut", "reset", "short", "garbage")


class RangeServer:
    """Serves bytes by GET and HEAD, in a thread.

    Args:
        objects: The bytes by name. It may be changed while the server runs.
        latency: Seconds before each answer.
        failures: Fraction of requests that fail, each with the next one of `faults`.
        faults: "503" and "429" (with Retry-After: 0), other status codes; "cut": the connection ends within the body;
            "reset": before the answer; "garbage": the answer is not HTTP; "short": fewer bytes than asked for, with a
            correct Content-Length; "stall": no answer at all.
        seed: of the requests that fail.
        bandwidth: Bytes per second of each connection.
        ranges: Whether Range is obeyed.
        several: What is sent if several ranges are asked for: "multipart", "whole" (status 200), "first" (only the
            first range), "one" (a single range that contains all of them), "backwards" (multipart, the last range
            first), "garbled" (multipart with a part that is not what it says), or a status code.
        head: Status of the answer to HEAD requests, if they are not allowed.
        head_size: Content-Length of the answer to HEAD requests, if it is wrong.
        head_body: Whether the answer to HEAD requests has a body, against the rules.
        etags, dates: Whether answers have an ETag, a Last-Modified.
        lengths: Whether answers have a Content-Length; otherwise they are chunked.
        unit: of ranges, as Content-Range names it.
        encoding: Content-Encoding that answers claim to have, and have for gzip. "if accepted": gzip, for clients that
            accept it. "ranges": gzip, and ranges are those of the compressed bytes.
        refused: Requests whose target contains this get the status 403.

    Attributes:
        targets: what each request asked for, as it was sent.
        requests: number of requests, by method.
        sent: bytes of all bodies.
        log: (method, path, value of Range) of each request.
        fail_next: faults of the next requests, before `failures` counts.
        broken: names of objects of which all requests fail with 503.
        most: largest number of requests at the same time.
    """

    def __init__(
        self,
        objects: Mapping[str, bytes],
        *,
        latency: float = 0.0,
        failures: float = 0.0,
        faults: tuple[str, ...] = FAULTS,
        seed: int = 0,
        bandwidth: float = 0.0,
        ranges: bool = True,
        several: str = "multipart",
        head: int = 200,
        head_size: int | None = None,
        head_body: bool = False,
        etags: bool = True,
        dates: bool = True,
        lengths: bool = True,
        unit: str = "bytes",
        encoding: str = "",
        refused: str = "",
    ):
        self.objects = dict(objects)
        self.redirects: dict[str, str] = {}
        self.latency, self.failures, self.bandwidth = latency, failures, bandwidth
        self.ranges, self.head, self.etags, self.dates, self.lengths = ranges, head, etags, dates, lengths
        self.head_size, self.head_body, self.unit = head_size, head_body, unit
        self.encoding, self.several, self.refused = encoding, several, refused
        self.targets: list[str] = []
        self.fail_next: list[str] = []
        self.broken: set[str] = set()
        self.log: list[tuple[str, str, str]] = []
        self.requests: Counter[str] = Counter()
        self.sent, self.most = 0, 0
        self._faults, self._random = itertools.cycle(faults), random.Random(seed)
        self._active = 0
        self._port = 0
        self._started = threading.Event()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{quote(name)}"

    def reset(self) -> None:
        """Counts from 0 again."""
        self.log.clear()
        self.targets.clear()
        self.requests.clear()
        self.sent = self.most = 0

    def __enter__(self) -> RangeServer:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1000)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        # A connection that is being accepted when the server closes would be left open.
        while accepting := asyncio.all_tasks() - self._tasks - {asyncio.current_task()}:
            await asyncio.wait(accepting)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted connections are closed in the next turn

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._answer_all(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # of a task that was canceled before its start, too

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self._active += 1
                self.most = max(self.most, self._active)
                try:
                    if not await self._answer(head.decode("latin-1"), writer):
                        return
                finally:
                    self._active -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> bool:
        """Answers a request. Whether the connection stays open."""
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        name = unquote(re.sub("^http://[^/]*", "", target).partition("?")[0].lstrip("/"))  # whole URLs come to a proxy
        asked = re.search(r"^range: *bytes=(\d+)-(\d*)((?:,\d+-\d+)*)\r$", head, re.IGNORECASE | re.MULTILINE)
        self.requests[method] += 1
        self.targets.append(target)
        self.log.append((method, name, asked[0].strip() if asked else ""))
        if self.latency:
            await asyncio.sleep(self.latency)
        fault = self.fail_next.pop(0) if self.fail_next else ""
        if not fault and self.failures and self._random.random() < self.failures:
            fault = next(self._faults)
        fault = "503" if name in self.broken else fault
        if fault == "reset":
            return False
        if fault == "garbage":
            writer.write(b"nothing that HTTP allows\r\n\r\n")
            await writer.drain()
            return False
        if fault == "stall":
            await asyncio.sleep(3600)
        if fault.isdigit():
            return await self._send(writer, method, int(fault), {"Retry-After": "0"}, b"a fault with secret words")
        if self.refused and self.refused in target:
            return await self._send(writer, method, 403, {}, b"")
        if name in self.redirects:
            return await self._send(writer, method, 302, {"Location": self.redirects[name]}, b"")
        if method == "HEAD" and self.head != 200:
            return await self._send(writer, method, self.head, {}, b"")
        if (data := self.objects.get(name)) is None:
            return await self._send(writer, method, 404, {}, b"nothing here")
        headers = {}
        if self.etags:
            headers["ETag"] = self._etag(data)
        if self.dates:
            headers["Last-Modified"] = "Sat, 28 Nov 2026 10:00:00 GMT"
        status = 200
        accepts = re.search(r"^accept-encoding:.*(gzip|\*)", head, re.IGNORECASE | re.MULTILINE) is not None
        is_encoded = self.encoding and (self.encoding != "if accepted" or accepts)
        if is_encoded:
            headers["Content-Encoding"] = "gzip" if self.encoding in ("if accepted", "ranges") else self.encoding
            data = gzip.compress(data, 1) if headers["Content-Encoding"] == "gzip" else data
        if is_encoded and self.encoding != "ranges":
            pass
        elif asked and self.ranges and asked[3] and self.several not in ("first", "one"):
            if self.several.isdigit():
                return await self._send(writer, method, int(self.several), {}, b"")
            if self.several != "whole":
                status, data = 206, self._multipart(data, re.findall(r"(\d+)-(\d+)", asked[0]), headers)
        elif asked and self.ranges:
            stop = re.findall(r"\d+", asked[0])[-1] if self.several == "one" else asked[2]
            first, last = int(asked[1]), min(int(stop or len(data) - 1), len(data) - 1)
            if first >= len(data):
                return await self._send(writer, method, 416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            headers["Content-Range"] = f"{self.unit} {first}-{last}/{len(data)}"
            status, data = 206, data[first : last + 1]
        if fault == "short" and method == "GET":
            data = data[: len(data) // 2]
        return await self._send(writer, method, status, headers, data, cut=fault == "cut")

    def _multipart(self, data: bytes, asked: list[tuple[str, str]], headers: dict[str, str]) -> bytes:
        """The parts that were asked for, as RFC 9110 describes them."""
        headers["Content-Type"] = 'multipart/byteranges; boundary="a:b"'
        parts = []
        for first, last in asked:
            part = data[int(first) : int(last) + 1]
            place = f"{first}-{int(first) + len(part) - 1}/{len(data)}"
            if self.several == "garbled" and len(parts) == 1:
                part = part[1:]
            head = f"--a:b\r\nContent-Type: video/mp4\r\nContent-Range: {self.unit} {place}\r\n\r\n"
            parts.append(head.encode() + part + b"\r\n")
        return b"\r\n" + b"".join(parts[::-1] if self.several == "backwards" else parts) + b"--a:b--\r\n"

    def _etag(self, data: bytes) -> str:
        return f'"{_md5(data)}"'

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        method: str,
        status: int,
        headers: dict[str, str],
        data: bytes,
        *,
        cut: bool = False,
    ) -> bool:
        headers = dict(headers)
        chunked = not self.lengths and status < 300
        headers |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(data))}
        if method == "HEAD" and self.head_size is not None:
            headers["Content-Length"] = str(self.head_size)
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if method == "HEAD" and not self.head_body:
            await writer.drain()
            return True
        if cut:
            data = data[: len(data) // 2]
        self.sent += len(data)
        if chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        step = 1 << 16
        for begin in range(0, len(data), step):
            writer.write(data[begin : begin + step])
            await writer.drain()
            if self.bandwidth:
                await asyncio.sleep(step / self.bandwidth)
        await writer.drain()
        return not cut
