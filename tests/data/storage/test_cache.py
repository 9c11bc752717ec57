"""The cache on the disk: its size, damage, several processes, disks that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from actrec.data.storage import cache as cache_module
from actrec.data.storage.cache import Cache, name_of, suffix_of

NAME = name_of("https://host/a.mp4", 7)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "store"


def file_of(folder, kind) -> Path:
    (found,) = (folder / "objects").rglob(f"{kind}-*")
    return found


def stored(cache, name=NAME, content=b"whole" * 1000, suffix=".mp4"):
    def fill(file):
        file.write(content)
        return cache_module.zlib.crc32(content)

    with cache.store(name, suffix, fill, len(content)) as path:
        assert path.read_bytes() == content
    return content


def whole(cache, name=NAME, suffix=".mp4"):
    with cache.whole(name, suffix) as path:
        return None if path is None else path.read_bytes()


def used(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_ranges_come_back(folder, data):
    cache = Cache(folder, 1 << 30)
    assert cache.read(NAME, [(0, 10)]) == [None]
    cache.add(NAME, [(100, data[100:200_000]), (500_000, data[500_000:500_100])])
    cache.add(NAME, [(200_000, data[200_000:200_010])])
    ranges = [(100, 10), (0, 200), (65_000, 130_000), (199_990, 20), (199_990, 30), (500_050, 50), (500_050, 51)]
    for one in (cache, Cache(folder, 1 << 30)):
        for check in (True, False):
            found = one.read(NAME, ranges, check=check)
            assert [None if got is None else got == data[o : o + n] for got, (o, n) in zip(found, ranges)] == [
                *(True, None, True, True, None, True, None)
            ]


def test_random_ranges_are_right_or_missing(folder, data):
    cache, rng = Cache(folder, 1 << 30), random.Random(3)
    for _ in range(200):
        offset, size = rng.randrange(1_000_000), rng.randrange(1, 100_000)
        if rng.random() < 0.5:
            cache.add(NAME, [(offset, data[offset : offset + size])])
            assert cache.read(NAME, [(offset, size)]) == [data[offset : offset + size]]
        else:
            assert cache.read(NAME, [(offset, size)])[0] in (None, data[offset : offset + size])


def test_a_torn_end_is_dropped_and_written_over(folder, data):
    Cache(folder, 1 << 30).add(NAME, [(0, data[:1000]), (1000, data[1000:3000])])
    path = file_of(folder, "r")
    for cut in (1, 1999, 2001, 2010):
        size = path.stat().st_size
        os.truncate(path, size - cut)
        cache = Cache(folder, 1 << 30)
        assert cache.read(NAME, [(0, 1000), (1000, 2000)]) == [data[:1000], None]
        cache.add(NAME, [(1000, data[1000:3000])])
        assert cache.read(NAME, [(0, 1000), (1000, 2000)]) == [data[:1000], data[1000:3000]]
        assert path.stat().st_size == size


@pytest.mark.parametrize("place", [0, 5, 20, 30, 60, 500])
def test_damage_in_ranges_is_noticed(folder, data, place):
    Cache(folder, 1 << 30).add(NAME, [(0, data[:1000])])
    path = file_of(folder, "r")
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)
    cache = Cache(folder, 1 << 30)
    assert cache.read(NAME, [(0, 1000)]) == [None]
    cache.add(NAME, [(0, data[:1000])])
    for one in (cache, Cache(folder, 1 << 30)):
        assert one.read(NAME, [(0, 1000)]) == [data[:1000]]


def test_damage_of_a_whole_object_is_noticed(folder):
    content = stored(Cache(folder, 1 << 30))
    assert whole(Cache(folder, 1 << 30)) == content
    path = file_of(folder, "w")
    path.write_bytes(content[:-1] + b"x")
    assert whole(Cache(folder, 1 << 30)) is None
    for text in ("", "x y", "5000", "5000 1 2", "\0" * 20, "4999 1"):
        stored(Cache(folder, 1 << 30))
        file_of(folder, "s").write_text(text)
        assert whole(Cache(folder, 1 << 30)) is None
    stored(Cache(folder, 1 << 30))
    file_of(folder, "s").unlink()
    assert whole(Cache(folder, 1 << 30)) is None
    stored(Cache(folder, 1 << 30))
    os.truncate(file_of(folder, "w"), 17)
    assert whole(Cache(folder, 1 << 30)) is None


def test_the_size_is_kept_and_what_was_used_last_stays(folder, data):
    cache = Cache(folder, 2_000_000)
    names = [name_of("a", i) for i in range(100)]
    for i, name in enumerate(names):
        cache.add(name, [(0, data[:50_000])])
        old = time.time() - 1000 + i
        os.utime(cache._path(name, "r"), (old, old))
        if i % 10 == 0:
            stored(cache, name_of("w", i), data[:100_000])
        cache._used.clear()
        assert cache.read(names[0], [(0, 50_000)]) == [data[:50_000]]  # is used all the time
        assert used(folder) <= 2_000_000
    assert cache.read(names[-1], [(0, 50_000)]) == [data[:50_000]]
    assert cache.read(names[1], [(0, 50_000)]) == [None]
    assert used(folder) > 1_000_000


def test_many_processes_keep_the_size_together(folder):
    caches = [Cache(folder, 2_000_000) for _ in range(64)]  # a process has one each
    for i in range(3000):
        caches[i % len(caches)].add(name_of(str(i // 40), 0), [(i, bytes(3000))])
        if i % 100 == 0:
            assert used(folder) <= 2_200_000


def test_a_file_in_use_is_not_removed(folder, data):
    cache = Cache(folder, 1_000_000)
    stored(cache, content=data[:100_000])
    path = file_of(folder, "w")
    os.utime(path, (0, 0))
    with cache.whole(NAME, ".mp4") as held:
        os.utime(path, (0, 0))
        for i in range(40):
            cache.add(name_of("b", i), [(0, data[:50_000])])
        assert held is not None
        assert held.read_bytes() == data[:100_000]
    os.utime(path, (0, 0))
    for i in range(40):
        cache.add(name_of("c", i), [(0, data[:50_000])])
    assert not path.exists()
    assert not list((folder / "objects").rglob("s-*"))


def test_objects_of_threads_leave_the_cache_within_its_size(folder, data):
    cache, size = Cache(folder, 1_000_000), 150_000
    started = threading.Barrier(12)

    def fetch(i):
        def fill(file):
            started.wait()  # nobody has written anything when room is made
            file.write(data[:size])
            return cache_module.zlib.crc32(data[:size])

        with cache.store(name_of("t", i), ".mp4", fill, size):
            pass

    threads = [threading.Thread(target=fetch, args=(i,)) for i in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert 0 < used(folder / "objects") <= 1_000_000


def test_the_size_is_kept_after_objects_in_use_are_closed(folder, data):
    cache = Cache(folder, 1_000_000)
    names = [name_of("u", i) for i in range(10)]
    with contextlib.ExitStack() as stack:
        with contextlib.ExitStack() as fetched:
            for name in names:
                fetched.enter_context(cache.store(name, ".mp4", lambda file: file.write(data[:150_000]), 150_000))
                assert stack.enter_context(cache.whole(name, ".mp4"))
        assert used(folder / "objects") > 1_000_000
    assert 0 < used(folder / "objects") <= 1_000_000


def test_an_object_larger_than_the_cache_exists_while_it_is_used(folder, data):
    cache = Cache(folder, 1_000_000)
    stored(cache, content=data)
    assert used(folder) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_processes_and_threads(folder, data):
    """Each reads only right bytes while all of them add and remove."""

    def work(seed):
        cache, rng = Cache(folder, 3_000_000), random.Random(seed)
        for _ in range(150):
            name = name_of("a", rng.randrange(5))
            offset, size = rng.randrange(1_000_000), rng.randrange(1, 60_000)
            (found,) = cache.read(name, [(offset, size)])
            if found is None:
                cache.add(name, [(offset, data[offset : offset + size])])
            elif found != data[offset : offset + size]:
                os._exit(1)

    children = []
    for seed in range(2):
        if not (child := os.fork()):
            threads = [threading.Thread(target=work, args=(2 * seed + i,)) for i in range(2)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]


KILLED = """
import os, sys, random
from pathlib import Path
from actrec.data.storage.cache import Cache, name_of
data = random.Random(0).randbytes(3_000_000)
cache = Cache(Path(sys.argv[1]), 1 << 30)
print("ready", flush=True)
i = 0
while True:
    offset = i * 7001 % 2_900_000
    cache.add(name_of("a", i % 3), [(offset, data[offset : offset + 90_000])])
    def fill(file):
        for _ in range(100):
            file.write(data[:10_000])
        return 1
    with cache.fetching(name_of("b", i)), cache.store(name_of("b", i), ".mp4", fill, 1_000_000):
        pass
    i += 1
"""


def test_kill_9_in_a_write(folder, data):
    for i in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.05 + 0.05 * i)
            process.send_signal(signal.SIGKILL)
    cache = Cache(folder, 1 << 30)
    for number in range(3):
        for i in range(0, 400):
            offset = i * 7001 % 2_900_000
            (found,) = cache.read(name_of("a", number), [(offset, 90_000)])
            assert found in (None, data[offset : offset + 90_000])
    cache.make_room()
    assert not list((folder / "unfinished").iterdir())
    assert not list((folder / "fetching").iterdir())
    begun = time.monotonic()
    with cache.fetching(name_of("b", 0)):
        assert time.monotonic() - begun < 5


def test_only_one_fetches_a_whole_object(folder):
    cache, inside, order = Cache(folder, 1 << 30), threading.Lock(), []

    def fetch():
        with cache.fetching(NAME):
            assert inside.acquire(blocking=False)
            if whole(cache) is None:
                order.append("fetched")
                time.sleep(0.05)
                stored(cache)
            inside.release()

    threads = [threading.Thread(target=fetch) for _ in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert order == ["fetched"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_cannot_be_written(folder, data, monkeypatch, number):
    cache = Cache(folder, 1 << 30)
    for i in range(20):
        cache.add(name_of("a", i), [(0, data[:50_000])])
    before = used(folder)

    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache_module, "write_all", refuse)
    cache.add(NAME, [(0, data[:1000])])
    assert cache.read(NAME, [(0, 1000)]) == [None]
    if number == errno.EROFS:
        assert used(folder) >= before
    else:
        assert 0 < used(folder) < before
    monkeypatch.undo()
    cache.add(NAME, [(0, data[:1000])])  # not yet
    assert cache.read(NAME, [(0, 1000)]) == [None]
    cache._broken_until = 0
    cache.add(NAME, [(0, data[:1000])])
    assert cache.read(NAME, [(0, 1000)]) == [data[:1000]]


def test_no_room_for_a_whole_object(folder, data):
    cache, attempts = Cache(folder, 1 << 30), []

    def fill(file):
        attempts.append(file)
        if len(attempts) < 3:
            raise OSError(errno.ENOSPC, "no space")
        file.write(data)
        return 5

    with cache.store(NAME, ".mp4", fill, len(data)) as path:
        assert path.read_bytes() == data
        assert folder not in path.parents
    assert not path.exists()
    attempts.extend([0] * -100)
    with pytest.raises(OSError, match="no space"), cache.store(NAME, "", always_full, 5):
        pass


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_folder_is_deleted_while_an_object_is_fetched(folder, data, times):
    cache, attempts = Cache(folder, 1 << 30), []

    def fill(file):
        attempts.append(file)
        file.write(data)
        if len(attempts) <= times:
            shutil.rmtree(folder, ignore_errors=True)
        return cache_module.zlib.crc32(data)

    with cache.store(NAME, ".mp4", fill, len(data)) as path:
        assert path.read_bytes() == data
    assert len(attempts) == min(times + 1, 3)
    assert whole(cache) == (data if times == 1 else None)  # the third file was not in the cache


def always_full(file):
    raise OSError(errno.ENOSPC, "no space")


def test_a_folder_that_cannot_be_created(tmp_path, data):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "store", 1 << 30)
    cache.add(NAME, [(0, data[:10])])
    assert cache.read(NAME, [(0, 10)]) == [None]
    assert stored(cache)
    with cache.fetching(NAME):
        assert whole(cache) is None


def test_a_cache_that_cannot_be_written_is_named_once(tmp_path, data, caplog):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        cache = Cache(tmp_path / "file" / "storage", 1 << 30)
        cache.add(NAME, [(0, data[:10])])
        assert stored(cache)
    place = tmp_path / "file"
    expected = f"the cache {place} cannot be written (Not a directory): the work continues without it"
    assert caplog.messages == [expected]


@pytest.mark.parametrize("missing", ["fcntl", "pread"])
def test_without_calls_of_posix(folder, data, monkeypatch, missing):
    if missing == "fcntl":
        monkeypatch.setattr(cache_module, "fcntl", None)
        monkeypatch.setattr("actrec.system.fcntl", None)
    else:
        monkeypatch.delattr(os, "pread")
    cache = Cache(folder, 1 << 30)
    cache.add(NAME, [(0, data[:10_000])])
    assert cache.read(NAME, [(5, 10)]) == [None if missing == "fcntl" else data[5:15]]
    content = stored(cache)
    assert whole(Cache(folder, 1 << 30)) == content
    with cache.fetching(NAME):
        pass
    cache.make_room()


def test_suffixes():
    assert suffix_of("https://host/a.MP4") == ".mp4"
    assert suffix_of("s3://bucket/a.b/c") == ""
    assert suffix_of("x.tar::dir/ü.webm") == ".webm"
    assert suffix_of("a.mp4?version=3") == ""
