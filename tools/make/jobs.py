"""Calls one function for many videos: on the cores of this machine, or on a Dask cluster.

The function itself checks which results exist. Therefore running the same command again continues an interrupted run. A
cluster may run a job twice, if a worker dies after its work was done; the second time changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from actrec.config import Limits
from actrec.data import storage
from actrec.data.limits import limits, set_limits
from actrec.data.storage import absolute, cancelling_pool, is_local, is_remote, split_member
from actrec.data.video.container import MediaError
from actrec.files import OutputError, write_csv, writing
from actrec.system import ExhaustedError, num_cores, raise_if_exhausted
from actrec.words import printable, text_of

_AHEAD = 4  # jobs handed out per worker: enough to keep it busy, few enough to cancel quickly
_PATIENCE = 10  # seconds within which a cluster must answer

Progress = Callable[[int, int, int], None]  # (done, total, failed so far), called first before any job is done
Stop = Callable[[], bool]


class Stopped(Exception):
    """The run was interrupted while this video was being processed."""


class ClusterError(OSError):
    """The cluster cannot be used."""


@dataclass(frozen=True)
class Workers:
    """What the jobs run on.

    Args:
        count: Number of threads on this machine; one per core by default.
        cluster: Address of a Dask scheduler to use instead. Its workers must see the same files under the same paths.
    """

    count: int | None = None
    cluster: str | None = None


def each(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    receive: Callable[[tuple, Any, str | None], None],
    workers: Workers = Workers(),  # noqa: B008 - frozen
    *,
    progress: Progress | None = None,
    done: int = 0,
) -> None:
    """Calls `function(*job, stop=stop)` for each job, several at a time, in their order.

    Args:
        function: A function of a module, with picklable arguments and result, because it may run in another process. It
            may raise MediaError, OSError, ValueError, MemoryError or cv2.error for a video that it cannot use. It
            should call `stop()` often, and raise Stopped if that returns True.
        receive: Called with (job, result, None), or with (job, None, reason) if the job failed, one at a time, in the
            order in which jobs end.
        done: Number of jobs that were done before; only for the progress.

    Raises:
        OutputError, ExhaustedError: The function raised it. All other jobs are stopped.
        ClusterError: The cluster does not exist or is lost, or Dask is not installed.
    """
    total, failed = done + len(jobs), 0
    with _cluster(workers.cluster) if workers.cluster is not None else _threads(workers.count) as (pool, width, stop):
        queue = iter(jobs)
        running: dict[Future, tuple] = {}
        if progress:
            progress(done, total, failed)
        while True:
            while len(running) < _AHEAD * max(width(), 1) and (job := next(queue, None)) is not None:
                arguments = map(_absolute, job) if workers.cluster is not None else job
                running[pool.submit(_within, limits(), storage.settings(), function, *arguments, stop=stop)] = job
            if not running:
                return
            ended = wait(running, timeout=_PATIENCE, return_when=FIRST_COMPLETED).done
            if not ended and not width():
                raise ClusterError(f"cluster {workers.cluster}: its workers are gone; finished videos are kept: run "
                                   "the same command again to continue")  # fmt: skip
            for future in sorted(ended, key=_failed):  # results are kept, whatever the other jobs raise
                job = running.pop(future)
                result, reason = _outcome(future, job)
                done, failed = done + 1, failed + (reason is not None)
                receive(job, result, reason)
                if progress:
                    progress(done, total, failed)


def write_failed(path: Path, failed: Sequence[tuple[str, str]]) -> None:
    """Writes a csv file of (path, reason), one line each. Removes the file if nothing has failed.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path):
        if failed:
            write_csv(path, ("path", "reason"), [[printable(text) for text in row] for row in failed])
        else:
            path.unlink(missing_ok=True)


def largest_first(jobs: Iterable[tuple], path: Callable[[tuple], Path | str]) -> list[tuple]:
    """Sorts jobs by the size of their files, so that no core processes a long video alone at the end.

    Objects at URLs come last: their servers are not asked for sizes.
    """
    return sorted(jobs, key=lambda job: (-local_size(path(job)), str(path(job))))


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[tuple[Executor, Callable[[], int], Stop]]:
    count, stop, before = count or num_cores(), threading.Event(), cv2.getNumThreads()
    cv2.setNumThreads(1)  # one thread for each video: the pool uses all cores
    try:
        with cancelling_pool(count) as pool:
            try:
                yield pool, lambda: count, stop.is_set
            except BaseException:
                stop.set()
                raise
    finally:
        cv2.setNumThreads(before)


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[tuple[Executor, Callable[[], int], Stop]]:
    try:
        import distributed
        from distributed.comm import connect
    except ImportError:
        raise ClusterError("--cluster needs Dask: pip install 'actrec[cluster]'") from None

    async def knock() -> None:
        (await connect(address, timeout=_PATIENCE)).abort()

    try:
        asyncio.run(knock())  # a Client that finds no scheduler reports that later and in many lines
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError, MemoryError):  # MemoryError: another protocol is spoken there
        raise ClusterError(
            f"cluster {address}: no Dask scheduler answers there: expected the address that `dask scheduler` prints, "
            "such as tcp://10.0.0.1:8786"
        ) from None
    with client:
        if not client.nthreads():
            raise ClusterError(f"cluster {address}: it has no workers; `dask worker {address}` starts one")
        try:
            client.run(_ready_worker)
        except Exception as error:  # it would happen to every video
            raise ClusterError(
                f"cluster {address}: its workers cannot import actrec ({error}): expected the same version "
                "installed there"
            ) from None
        pool = client.get_executor(pure=False)
        try:
            yield pool, lambda: sum(client.nthreads().values()), _never
        except BaseException:
            pool.shutdown(wait=False)
            raise


def _within(
    limits: Limits, cache: tuple[Path | None, int], function: Callable[..., Any], *arguments: Any, stop: Stop
) -> Any:
    """Calls a function with the settings of the process that submitted it, which is another one on a cluster."""
    set_limits(limits)
    if storage.settings() != cache:
        storage.configure(*cache)
    return function(*arguments, stop=stop)


def _absolute(argument: Any) -> Any:
    """Workers have their own working directories, so paths must be absolute."""
    if isinstance(argument, str) and not is_local(argument):
        return absolute(argument)
    return Path(os.path.abspath(argument)) if isinstance(argument, Path) else argument


def _ready_worker() -> None:
    """Runs once in each worker process, and fails if actrec is not installed there."""
    cv2.setNumThreads(1)


def _never() -> bool:
    return False


def _failed(future: Future) -> bool:
    return future.cancelled() or future.exception() is not None


def _outcome(future: Future, job: tuple) -> tuple[Any, str | None]:
    try:
        return future.result(), None
    except (OutputError, ExhaustedError):
        raise
    except CancelledError:
        raise ClusterError(
            "the cluster is lost; finished videos are kept: run the same command again to continue"
        ) from None
    except FileNotFoundError:
        if stored := next((one for one in job if isinstance(one, str) and not is_local(one)), None):
            is_object = split_member(stored)[1] is None
            return None, f"missing: {'no such object' if is_object else 'no such archive, or no such member in it'}"
        return None, "missing: it was removed after the run began"
    except MediaError as error:
        return None, error.reason
    except (OSError, ValueError, MemoryError, cv2.error) as error:
        if isinstance(error, OSError):
            raise_if_exhausted(error.filename or "a video", error)
        text = " ".join(text_of(error).split())
        for one in (one for one in job if isinstance(one, (str, Path))):  # the reason is shown next to the path
            text = text.removeprefix(f"{one}: ").removeprefix(f"{_absolute(one)}: ")
        return None, text or type(error).__name__
    except Exception as error:
        if type(error).__name__ != "KilledWorker":
            raise
        return None, "every worker that tried it died: out of memory?"


def size_of(path: Path | str) -> int:
    """The size of a file or object in bytes; 0 if it is missing, which the job itself reports."""
    try:
        return storage.stat(path).size
    except (OSError, MediaError):
        return 0


def local_size(path: Path | str) -> int:
    """The size of a file in bytes; 0 if it is missing, and for a URL, whose server is not asked."""
    return 0 if isinstance(path, str) and is_remote(path) else size_of(path)
