"""Reads objects at URLs through fsspec: several requests in flight, with time limits, and retries after passing faults.

The requests of all threads run in the event loop of fsspec. Credentials come from the environment and from the
configuration of fsspec only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import hashlib
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from actrec.data.storage.faults import (
    FOLDER,
    BrokenError,
    HTTPStatusError,
    NoRangesError,
    ObjectChangedError,
    RemoteError,
    SeveralRangesError,
    fault_of,
    seconds_of,
)
from actrec.data.storage.paths import host_of, scheme_of, shown, why_refused
from actrec.data.storage.ranges import LARGEST, Pieces, grouped, merged, parse_multipart, split
from actrec.data.storage.stores import is_http, name_in, open_store

logger = logging.getLogger(__name__)

IN_FLIGHT = 96  # largest number of requests of this process at the same time; a clip may need fifty; aiohttp allows 100
_MOST_RANGES = 100  # in one request; Apache refuses more than 200, and some servers limit a header to 4 KB
_PROBE = 1.0  # seconds to wait for the first answer of a host to a request for several ranges
_REFUSALS = 3  # in a row, after which a host gets ordinary requests: one range each, and for S3 signed one by one
_AHEAD = 4  # parts of a download that are requested at the same time
TIMEOUT = 30.0  # seconds for which a request may wait for a connection, and for the next bytes
_SLOWEST = 50e3  # bytes per second; a slower download is aborted
_PATIENCE = 90.0  # seconds for which a request is retried, if the host has answered before
_PATIENCE_UNKNOWN = 15.0  # the same for a host that has never answered, because it may not exist
_LEAST = 5  # smallest number of attempts, even if they take longer than that, if the host has answered before
_NOTICE = 10.0  # seconds without an answer after which a warning names the host
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds
_LISTING = 1 << 28  # assumed bytes of the list of a large folder, for its time limit

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says about an object.

    Args:
        size: in bytes; None if the server does not say.
        version: 63 bits of a hash of its size and its ETag, or of its modification time if it has no ETag.
        tag: a hash of its ETag; 0 if it has none.
        ranges: whether the server answers range requests.
    """

    size: int | None
    version: int
    tag: int
    ranges: bool


class Counters:
    """What this process has read from URLs. All numbers but `requests` and `retries` are bytes.

    Attributes:
        needed: bytes that callers asked for.
        cached: those of the needed bytes that were in the cache.
        fetched: bytes that came over the network.
        requests: number of requests, including those for facts.
        retries: number of requests that repeated a failed one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Counter[str] = Counter()

    def add(self, **values: int) -> None:
        with self._lock:
            self._values.update(values)

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return {name: self._values[name] for name in ("needed", "cached", "fetched", "requests", "retries")}


counters = Counters()


# ---- requests of this process ----


class _Process:
    """The file systems of fsspec and the state of hosts, in one process. A forked process makes its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stores: dict[tuple[str, str, bool], Any] = {}
        self.opening: dict[tuple[str, str, bool], threading.Lock] = {}
        self.slots = asyncio.Semaphore(IN_FLIGHT)
        self.locks: dict[int, asyncio.Lock] = {}
        self.answered: set[str] = set()  # hosts that have answered
        self.silent: dict[str, float] = {}  # hosts that have not answered in time, and when
        self.named: set[str] = set()  # hosts with an outage that a warning has named
        self.sends_several: set[str] = set()  # hosts that have answered requests for several ranges
        self.probes: dict[str, asyncio.Lock] = {}
        self.refusals: Counter[str] = Counter()  # by host: fast requests that were not answered, in a row

    def has_answered(self, host: str) -> None:
        self.answered.add(host)
        self.silent.pop(host, None)
        if host in self.named:
            self.named.discard(host)
            logger.warning("%s answers again", host)

    def may_send_several(self, host: str) -> bool:
        return self.refusals[host] < _REFUSALS

    @contextlib.asynccontextmanager
    async def probe(self, host: str) -> AsyncIterator[None]:
        """Until a host has answered a request for several ranges, only one such request is made at a time.

        Otherwise a server that ignores ranges would begin to send many whole objects.
        """
        lock = self.probes.setdefault(host, asyncio.Lock())
        is_locked = False
        if host not in self.sends_several and self.may_send_several(host):
            with contextlib.suppress(asyncio.TimeoutError):
                is_locked = await asyncio.wait_for(lock.acquire(), _PROBE)
        if is_locked and (host in self.sends_several or not self.may_send_several(host)):  # since it has waited
            lock.release()
            is_locked = False
        try:
            yield
        finally:
            if is_locked:
                lock.release()

    def tell_outage(self, host: str, reason: str) -> None:
        if host not in self.named:
            self.named.add(host)
            logger.warning("%s does not answer (%s): each request is retried for %g seconds", host, reason, _PATIENCE)


_process = _Process()


def _forget() -> None:
    global _process
    _process = _Process()


def _after_fork() -> None:
    _forget()
    if (loops := sys.modules.get("fsspec.asyn")) is not None:
        loops.reset_lock()  # their thread does not exist here, which old releases do not notice


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _store(url: str) -> Any:
    """The file system of a URL.

    Raises:
        ValueError: The scheme is unknown, a package is missing, or the URL is refused.
    """
    if reason := why_refused(url):
        raise RemoteError(shown(url), reason)
    # One for each host, because some file systems connect when they are made. For S3, whether the URL names a version
    # of the object is an option of the file system.
    key = (scheme_of(url), host_of(url), "?versionId=" in url)
    with _process.lock:
        opening = _process.opening.setdefault(key, threading.Lock())
    with opening:
        if (store := _process.stores.get(key)) is None:
            store = _process.stores[key] = open_store(url, key[0], timeout=TIMEOUT, connections=IN_FLIGHT)
        return store


class Requests:
    """The requests of some threads, which another thread can end at once.

    A thread joins by calling `take_part`. After `cancel`, the requests of these threads raise CancelledError.
    """

    _of_thread = threading.local()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Future[Any]] = set()
        self._cancelled = False

    @staticmethod
    def of_current_thread() -> Requests | None:
        return getattr(Requests._of_thread, "requests", None)

    def take_part(self) -> None:
        """Adds the current thread, until it ends."""
        Requests._of_thread.requests = self

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            for future in self._running:
                future.cancel()

    @contextlib.contextmanager
    def includes(self, future: Future[Any]) -> Iterator[None]:
        with self._lock:
            self._running.add(future)
            if self._cancelled:
                future.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(future)


@contextlib.contextmanager
def cancelling_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads whose jobs and requests end at once when an error or an interrupt ends the block."""
    requests = Requests()
    with ThreadPoolExecutor(workers, initializer=requests.take_part) as pool:
        try:
            yield pool
        except BaseException:
            requests.cancel()
            pool.shutdown(cancel_futures=True)
            raise


def _run(work: Callable[[], Awaitable[_T]]) -> _T:
    """Runs a coroutine in the event loop of fsspec and waits for its result."""
    from fsspec.asyn import get_loop

    async def begun() -> _T:
        return await work()

    future: Future[_T] = asyncio.run_coroutine_threadsafe(begun(), get_loop())
    requests = Requests.of_current_thread()
    try:
        with requests.includes(future) if requests is not None else contextlib.nullcontext():
            return future.result()
    except BaseException:
        future.cancel()
        raise


async def _repeated(url: str, work: Callable[[], Awaitable[_T]], *, size: int = 0) -> _T:
    """The result of a request, which is retried after faults that may pass.

    Args:
        size: Expected bytes of the response, which decide the time limit.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError, RemoteError: as the public functions do.
    """
    process, host = _process, host_of(url)
    begun, attempts = time.monotonic(), 0
    while True:
        attempts += 1
        try:
            async with process.slots:
                counters.add(requests=1, retries=int(attempts > 1))
                result = await asyncio.wait_for(work(), 2 * TIMEOUT + size / _SLOWEST)
            process.has_answered(host)
            return result
        except (NoRangesError, ObjectChangedError, SeveralRangesError):
            process.has_answered(host)
            raise
        except Exception as error:
            fault = fault_of(url, error)
        if fault.answered:
            process.has_answered(host)
        if fault.final is not None:
            raise fault.final from None
        known = host in process.answered
        spent = time.monotonic() - begun
        patience = _PATIENCE if known else _PATIENCE_UNKNOWN
        if not fault.answered and time.monotonic() - process.silent.get(host, -1e9) < _PATIENCE:
            patience = 0.0
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempts - 1, 20)) * random.uniform(0.5, 1.0)
        pause = max(pause, min(fault.pause, 3 * _LONGEST_PAUSE))
        if spent + pause > patience and (attempts >= _LEAST or not patience or (not known and spent > 2 * patience)):
            if not fault.answered:
                process.silent[host] = time.monotonic()
            times = f" after {attempts} attempts" if attempts > 1 else ""
            raise RemoteError(url, f"{fault.reason}{times}") from None
        if known and spent > _NOTICE and not fault.answered:
            process.tell_outage(host, fault.reason)
        await asyncio.sleep(pause)


# ---- single requests ----


@contextlib.asynccontextmanager
async def _http(store: Any, method: str, url: str, **headers: str) -> Any:
    """The response of a server. Raises HTTPStatusError unless its status is below 300."""
    import aiohttp

    session = await store.set_session()
    known = dict(store.kwargs)
    known["headers"] = {**known.pop("headers", {}), "Accept-Encoding": "identity", **headers}
    known.setdefault("timeout", aiohttp.ClientTimeout(total=None, connect=TIMEOUT, sock_read=TIMEOUT))
    async with session.request(method, store.encode_url(name_in(store, url)), allow_redirects=True, **known) as answer:
        if answer.status >= 300:
            raise HTTPStatusError(answer.status, seconds_of(answer.headers.get("Retry-After")))
        yield answer


def version_of(tag: str, size: int | None) -> int:
    data = repr((tag, size)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1


def _tag_of(headers: Any) -> str:
    return str(headers.get("ETag", "")).removeprefix("W/").strip()


def _check_tag(tag: int, found: str) -> None:
    """Raises ObjectChangedError if an answer has another ETag than the facts."""
    if tag and found and hash(found) != tag:
        raise ObjectChangedError


def _check_facts(facts: Facts, headers: Any) -> None:
    """Raises ObjectChangedError if an answer states another ETag or another size of the whole object than the facts."""
    _check_tag(facts.tag, _tag_of(headers))
    total = headers.get("Content-Range", "").rpartition("/")[2]
    if total.isdecimal() and facts.size not in (None, int(total)) and not _is_encoded(headers):
        raise ObjectChangedError


def _is_encoded(headers: Any) -> bool:
    return headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def _http_facts_of(headers: Any, size: int | None, ranges: bool) -> Facts:
    tag = _tag_of(headers)
    version = version_of(tag or str(headers.get("Last-Modified") or headers.get("Content-MD5") or ""), size)
    return Facts(size, version, hash(tag) if tag else 0, ranges)


async def _http_head(store: Any, url: str) -> Facts | None:
    """None if the server allows no HEAD requests, does not tell the size, or sends a body after the headers."""
    from aiohttp import ClientResponseError
    from aiohttp.http_exceptions import HttpProcessingError

    try:
        async with _http(store, "HEAD", url) as answer:
            length = answer.headers.get("Content-Length", "")
            if not length.isdigit() or length == "0" or _is_encoded(answer.headers):  # some say 0 in place of nothing
                return None
            return _http_facts_of(answer.headers, int(length), answer.headers.get("Accept-Ranges") != "none")
    except HTTPStatusError as error:
        if error.status in (400, 401, 403, 405, 501):  # the GET request decides whether access is refused
            return None
        raise
    except ClientResponseError as error:
        if isinstance(error.__cause__, HttpProcessingError):
            return None
        raise


async def _http_first_byte(store: Any, url: str) -> Facts:
    """The facts by a GET request."""
    try:
        async with _http(store, "GET", url, Range="bytes=0-0") as answer:
            if answer.status == 206 and not _is_encoded(answer.headers):
                total = answer.headers.get("Content-Range", "").rpartition("/")[2]
                return _http_facts_of(answer.headers, int(total) if total.isdigit() else None, True)
            length = answer.headers.get("Content-Length", "")
            is_known = length.isdigit() and not _is_encoded(answer.headers)
            return _http_facts_of(answer.headers, int(length) if is_known else None, False)
    except HTTPStatusError as error:
        if error.status == 416:  # an empty object has no first byte
            return Facts(0, version_of("", 0), 0, True)
        raise


_VERSIONS = (  # what file systems of fsspec call an ETag, a checksum or the time of the last change
    *("ETag", "etag", "generation", "md5Hash", "content_md5", "checksum", "LastModified", "last_modified", "mtime"),
    *("updated", "modified", "created"),
)


async def _facts(store: Any, url: str) -> Facts:
    if is_http(store):
        if (found := await _repeated(url, lambda: _http_head(store, url))) is not None:
            return found
        return await _repeated(url, lambda: _http_first_byte(store, url))
    info = await _repeated(url, lambda: _info(store, url))
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, FOLDER, url)
    tag = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    size = int(info["size"]) if info.get("size") is not None else None
    return Facts(size, version_of(tag, size), hash(tag) if "ETag" in info and tag else 0, True)


async def _info(store: Any, url: str) -> dict[str, Any]:
    path = name_in(store, url)
    if not store.async_impl:
        return await _in_turn(store, store.info, path)
    return await store._info(path, **({"refresh": True} if scheme_of(url) in ("s3", "s3a") else {}))


async def _in_turn(store: Any, function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
    """Calls a function of a file system that has no coroutines, one call at a time: FTP has a single connection."""
    lock = _process.locks.setdefault(id(store), asyncio.Lock())  # stores are kept as long as the process
    async with lock:
        return await asyncio.to_thread(function, *arguments, **options)


async def _part(store: Any, url: str, start: int, size: int, facts: Facts, signed: str = "") -> bytes:
    """Exactly these bytes.

    Args:
        facts: of the object.
        signed: as `_signed` returns it.
    """
    if not is_http(store):
        path = name_in(store, url)
        if hasattr(store, "_call_s3"):
            found = await _signed_part(store, url, signed, start, size, facts.tag) if signed else None
            data = await _s3_part(store, path, start, size, facts.tag) if found is None else found
        elif store.async_impl:
            data = await store._cat_file(path, start=start, end=start + size)
        else:
            data = await _in_turn(store, store.cat_file, path, start=start, end=start + size)
    else:
        async with _http(store, "GET", url, Range=f"bytes={start}-{start + size - 1}") as answer:
            _check_facts(facts, answer.headers)
            if answer.status == 200 and not (start == 0 and answer.headers.get("Content-Length") == str(size)):
                raise NoRangesError
            if _is_encoded(answer.headers):
                raise NoRangesError
            wanted = f"bytes {start}-{start + size - 1}/"
            place = answer.headers.get("Content-Range", wanted).lower()
            if answer.status == 206 and not place.startswith(wanted):
                if place.startswith(f"bytes {start}-"):
                    raise ObjectChangedError  # the object ends before
                raise BrokenError("the server sends other bytes than those that were asked for")
            data = await answer.read()
    if len(data) != size:
        counters.add(fetched=len(data))
        raise BrokenError(f"the server sends {len(data):,} bytes in place of {size:,}")
    counters.add(fetched=size)
    return data


async def _several(store: Any, url: str, ranges: Sequence[tuple[int, int]], facts: Facts) -> list[tuple[int, bytes]]:
    """Exactly these ranges, by one request: (offset, bytes) of each.

    Not every server answers such a request (RFC 9110, section 14.2), and some ignore it or send other ranges.

    Raises:
        SeveralRangesError: The answer does not contain all ranges.
    """
    asked = ",".join(f"{start}-{start + size - 1}" for start, size in ranges)
    most = sum(size for _, size in ranges) + 1000 * len(ranges)
    body = bytearray()
    try:
        async with _http(store, "GET", url, Range=f"bytes={asked}") as answer:
            _check_facts(facts, answer.headers)
            if answer.status == 200:
                raise SeveralRangesError(ignored=True)
            if answer.status != 206 or _is_encoded(answer.headers) or (answer.content_length or 0) > most:
                raise SeveralRangesError
            async for data in answer.content.iter_any():
                body += data
                if len(body) > most:
                    raise SeveralRangesError
            kind, place = answer.headers.get("Content-Type", ""), answer.headers.get("Content-Range", "")
    except HTTPStatusError as error:
        if error.status == 501 or (
            400 <= error.status < 500 and error.status not in (404, 408, 409, 410, 423, 425, 429)
        ):
            raise SeveralRangesError from None  # a request for one range shows whether access is refused
        raise
    finally:
        counters.add(fetched=len(body))
    pieces = Pieces(parse_multipart(kind, place, bytes(body)))
    found = [(start, pieces.read(start, size)) for start, size in ranges]
    complete = [(start, data) for start, data in found if data is not None]
    if len(complete) < len(ranges):
        raise SeveralRangesError
    return complete


async def _signed(store: Any, url: str) -> str:
    """A URL that gives access to an object of S3 for an hour. "" if a request has to be made in the ordinary way.

    An ordinary request is checked, routed and signed by about 2,000 lines of Python; this URL is signed once for all
    ranges of a clip. It is only kept in memory.
    """
    if not hasattr(store, "_call_s3") or store.s3_additional_kwargs or store.req_kw:
        return ""
    if _process.refusals[host_of(url)] >= _REFUSALS:
        return ""
    with contextlib.suppress(Exception):  # the ordinary request tells what is wrong
        events = (await store.get_s3(store.split_path(name_in(store, url))[0])).meta.events
        events.register_first("choose-signer.s3.GetObject", _current_signature, unique_id="actrec")
        signed = str(await store._url(name_in(store, url), expires=3600))
        if "X-Amz-Signature=" in signed or "?" not in signed:  # not the old version of signatures
            return signed
    return ""


def _current_signature(signature_version: Any, **_: Any) -> str | None:
    """The version of the signatures of requests also for URLs, where botocore takes an old one that AWS gives up."""
    text = str(signature_version)
    return text if text.endswith("-query") else None


async def _signed_part(store: Any, url: str, signed: str, start: int, size: int, tag: int) -> bytes | None:
    """A part, through the connections of the client of S3. None if an ordinary request should be made."""
    from botocore.awsrequest import AWSPreparedRequest

    client = await store.get_s3(store.split_path(name_in(store, url))[0])
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if session is None:
        return None
    request = AWSPreparedRequest("GET", signed, {"Range": f"bytes={start}-{start + size - 1}"}, None, True)
    answer = await session.send(request)
    try:
        if answer.status_code in (429, 500, 502, 503, 504):
            raise HTTPStatusError(answer.status_code, seconds_of(answer.headers.get("retry-after")))
        if answer.status_code != 206:
            _process.refusals[host_of(url)] += 1
            return None
        _process.refusals[host_of(url)] = 0
        _check_tag(tag, answer.headers.get("etag", ""))
        return bytes(await answer.content)
    finally:
        answer.raw.close()  # if all was read, the connection is used again


async def _s3_part(store: Any, path: str, start: int, size: int, tag: int) -> bytes:
    """Reads a part as `s3fs` does, and compares the ETag."""
    bucket, key, version = store.split_path(path)
    which = {"VersionId": version} if version else {}
    asked = f"bytes={start}-{start + size - 1}"
    answer = await store._call_s3("get_object", Bucket=bucket, Key=key, Range=asked, **which)
    body = answer["Body"]
    try:
        _check_tag(tag, answer.get("ETag", ""))
        return bytes(await body.read())
    finally:
        body.close()


# ---- what the other modules use ----


def facts_of(url: str) -> Facts:
    """What the server says of an object.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: as `os.stat` does.
        RemoteError: The server cannot be reached, or the URL is refused.
    """
    store = _store(url)
    return _run(lambda: _facts(store, url))


def list_folder(url: str) -> list[str]:
    """The URLs of the objects in a folder, at any depth, in ascending order.

    Raises:
        FileNotFoundError, PermissionError: There is none, or access is refused.
        RemoteError: The server cannot be reached or lists no folders, or the URL is refused.
    """
    store = _store(url)
    if is_http(store):
        raise RemoteError(url, "a web server does not list its files: expected the URLs of videos")
    folder = store._strip_protocol(url).rstrip("/") + "/"

    async def names() -> list[str]:
        found = store._find(folder) if store.async_impl else _in_turn(store, store.find, folder)
        return list(await found)

    found = _run(lambda: _repeated(url, names, size=_LISTING))
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such folder", url)
    return sorted(f"{url.rstrip('/')}/{name.removeprefix(folder)}" for name in found)


def fetch(url: str, ranges: Sequence[tuple[int, int]], facts: Facts) -> list[tuple[int, bytes]]:
    """The bytes of some (offset, size) ranges and of small gaps between them, as (offset, bytes), ascending.

    A web server is asked for many ranges by one request. If it does not answer such requests, the ranges are merged
    into few, and each of them is one request.

    Args:
        facts: of the object.

    Raises:
        FileNotFoundError, PermissionError, RemoteError: It cannot be read.
        NoRangesError: The server sends whole objects only.
        ObjectChangedError: The object has another ETag or size.
    """
    store, process, host, signed = _store(url), _process, host_of(url), ""

    async def one(start: int, size: int) -> list[tuple[int, bytes]]:
        return [(start, await _repeated(url, lambda: _part(store, url, start, size, facts, signed), size=size))]

    async def several(group: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
        if len(group) == 1:
            return await one(*group[0])
        size = sum(length for _, length in group)
        return await _repeated(url, lambda: _several(store, url, group, facts), size=size)

    async def few() -> list[tuple[int, bytes]] | None:
        """By few requests; None if the server does not send several ranges in one answer."""
        groups = list(grouped(split(merged(ranges, one_request=True)), _MOST_RANGES))
        if all(len(group) == 1 for group in groups):
            return await _together([one(*group[0]) for group in groups])
        async with process.probe(host):
            if not process.may_send_several(host):
                return None
            try:
                found = await _together([several(group) for group in groups])
            except SeveralRangesError as error:
                is_final = error.ignored and host not in process.sends_several  # another try would fetch all again
                process.refusals[host] += _REFUSALS if is_final else 1
                return None
            process.refusals[host] = 0
            process.sends_several.add(host)
            return found

    async def all_of_them() -> list[tuple[int, bytes]]:
        nonlocal signed
        if is_http(store) and (found := await few()) is not None:
            return found
        parts = split(merged(ranges))
        if len(parts) > 2:
            signed = await _signed(store, url)
        return await _together([one(*part) for part in parts])

    return _run(all_of_them)


async def _together(works: Sequence[Coroutine[Any, Any, list[_T]]]) -> list[_T]:
    """The results of all, in order. After an error of one, the others are cancelled."""
    if len(works) == 1:
        return await works[0]
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return [one for found in await asyncio.gather(*tasks) for one in found]
    finally:
        for task in tasks:
            task.cancel()


def download(url: str, facts: Facts, offset: int, size: int | None, write: Callable[[bytes], object]) -> None:
    """Passes the bytes of an object, or of a part of it, to `write`, in order.

    Args:
        facts: of the object.
        size: of the part; None for an object of unknown size.
        write: is called in other threads, one call at a time.

    Raises:
        FileNotFoundError, PermissionError, RemoteError: It cannot be read.
        ObjectChangedError: The object is not the one of `facts`, for example because it was replaced meanwhile.
        OSError: what `write` raises.
    """
    store = _store(url)

    async def parts() -> None:
        assert size is not None
        waiting: list[asyncio.Task[bytes]] = []
        todo = split([(offset, size)])[::-1]
        try:
            while todo or waiting:
                while todo and len(waiting) < _AHEAD:
                    start, length = todo.pop()
                    work = _repeated(url, functools.partial(_part, store, url, start, length, facts), size=length)
                    waiting.append(asyncio.ensure_future(work))
                await asyncio.to_thread(write, await waiting[0])
                del waiting[0]
        finally:
            for task in waiting:
                task.cancel()

    async def stream() -> None:
        """The whole object by one request. After a fault, the bytes that were already written are read and skipped."""
        done = 0

        async def attempt() -> None:
            nonlocal done
            position = 0
            async for data in _stream(store, url, facts.tag):
                position += len(data)
                counters.add(fetched=len(data))
                begin = position - len(data)
                last = position if size is None else min(position, offset + size)
                new = data[max(0, offset + done - begin) : max(0, last - begin)]
                if new:
                    await asyncio.to_thread(write, new)
                    done += len(new)
            if facts.size is not None and position != facts.size:
                raise BrokenError(f"the server sends {position:,} bytes in place of {facts.size:,}")

        await _repeated(url, attempt, size=facts.size or 1 << 40)

    async def all_of_it() -> None:
        if facts.ranges and size is not None:
            await parts()
        else:
            await stream()
        if not facts.tag or not (is_http(store) or hasattr(store, "_call_s3")):
            # The responses did not state their version.
            now = await _facts(store, url)
            if now.version != facts.version:
                raise ObjectChangedError

    _run(all_of_it)


async def _stream(store: Any, url: str, tag: int) -> Any:
    if is_http(store):
        async with _http(store, "GET", url) as answer:
            _check_tag(tag, _tag_of(answer.headers))
            async for data in answer.content.iter_chunked(LARGEST >> 3):
                yield data
    elif store.async_impl:
        yield await store._cat_file(name_in(store, url))
    else:
        yield await _in_turn(store, store.cat_file, name_in(store, url))
