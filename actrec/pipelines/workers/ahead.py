"""Fetches the bytes at URLs that the next samples need, before they are decoded.

Waiting for a network needs no CPU time. So a few threads fetch the bytes of more samples than the decode workers work
on, and the decode workers get samples whose bytes are in the cache. Local files go directly to the decode workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from actrec.data.storage import Requests, is_remote
from actrec.system import num_cores

# Files of URLs that are fetched at the same time. A core decodes about 15 clips/s, and a clip takes up to 3 answers of
# 50 ms each, so that about 2 for each core keep the decode workers busy.
FETCHES = min(64, max(8, 2 * num_cores()))
_SAMPLES = 2 * FETCHES  # samples whose fetch is started before their batch is needed
_T = TypeVar("_T")

Group = tuple[list[int], "Future[Any] | None"]  # places in a batch; what is fetched for them, None for local files


class Ahead:
    """The draws of the next batches, grouped by file, whose URLs are fetched in the background. A context manager.

    Args:
        path_of: the path of a row of the list.
        fetch: called in a fetch thread with the epoch and the draws (row, repeat) of one URL. None: nothing is fetched.
    """

    def __init__(self, path_of: Callable[[int], str], fetch: Callable[[int, list[list[int]]], Any] | None):
        self._path_of, self._fetch = path_of, fetch
        self._pool: ThreadPoolExecutor | None = None  # until a URL is drawn
        self._requests = Requests()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._pool is not None:
            self._pool.shutdown()

    def stop(self) -> None:
        """Ends all requests."""
        self._requests.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def run(self, epoch: int, steps: Iterator[list[list[int]]]) -> Iterator[tuple[list[list[int]], list[Group]]]:
        """Yields the draws of each step and their groups.

        As soon as a URL was drawn, it takes draws in advance, so many that all fetch threads have work.
        """
        waiting: deque[tuple[list[list[int]], list[Group]]] = deque()
        while True:
            while not waiting or (self._pool is not None and sum(len(draws) for draws, _ in waiting) < _SAMPLES):
                draws = next(steps, None)
                if draws is None:
                    break
                waiting.append((draws, self._start(epoch, draws)))
            if not waiting:
                return
            yield waiting.popleft()

    def _start(self, epoch: int, draws: list[list[int]]) -> list[Group]:
        of_file: dict[str, list[int]] = {}
        for place, (row, _) in enumerate(draws):
            of_file.setdefault(self._path_of(row), []).append(place)
        groups: list[Group] = []
        for path, places in of_file.items():
            future = None
            if self._fetch is not None and is_remote(path):
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(FETCHES, "actrec-fetch", self._requests.take_part)
                future = self._pool.submit(self._fetch, epoch, [draws[place] for place in places])
            groups.append((places, future))
        return groups


def then(before: Future[Any], pool: Executor, function: Callable[[Any], _T]) -> Future[_T]:
    """Calls a function in a pool with the result of another future. No thread of the pool waits for this future."""
    result: Future[_T] = Future()

    def call() -> None:
        if not result.set_running_or_notify_cancel():
            return
        try:
            result.set_result(function(before.result()))
        except BaseException as error:
            result.set_exception(error)

    def begin(_: Future[Any]) -> None:
        try:
            pool.submit(call)
        except RuntimeError:  # the pool was shut down
            result.cancel()

    before.add_done_callback(begin)
    return result
