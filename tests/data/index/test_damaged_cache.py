"""An index file with flipped bits gives no wrong values."""

from __future__ import annotations

import numpy as np
import pytest

from actrec.data.index import build_index, cache_path
from actrec.data.index.cache import seals
from actrec.data.index.probe import RECORD
from actrec.data.lists import read_list


@pytest.fixture
def indexed(dataset, tmp_path):
    """(list, what its index should say), with a cache next to the list."""
    path = tmp_path / "val.txt"
    path.write_text("".join(f"{dataset}/frames/val{i} 1 9 {i % 2}\n" for i in range(4)))
    index = build_index(read_list(path), cache=cache_path(path))
    return path, list(index)


def test_every_field_is_sealed():
    rng = np.random.default_rng(0)
    record = np.frombuffer(rng.bytes(RECORD.itemsize), RECORD).copy()
    before = seals(record)[0]
    for bit in range(RECORD.fields["seal"][1] * 8):
        changed = record.copy()
        changed.view(np.uint8)[bit // 8] ^= 1 << bit % 8
        assert seals(changed)[0] != before, bit


def test_flipped_bits(indexed):
    path, expected = indexed
    cache = cache_path(path)
    intact = cache.read_bytes()
    rng = np.random.default_rng(1)
    noticed = 0
    for _ in range(200):
        data = bytearray(intact)
        bit = int(rng.integers(len(data) * 8))
        data[bit // 8] ^= 1 << bit % 8
        cache.write_bytes(data)
        index = build_index(read_list(path), cache=cache)
        assert list(index) == expected
        noticed += index.num_damaged
        assert (index.why_probed_again is not None) == (index.is_rebuilt or index.num_damaged > 0)
    assert noticed > 50


def test_a_crafted_or_short_cache(indexed):
    path, expected = indexed
    cache = cache_path(path)
    records = np.load(cache)
    wrong = {"frames": -5, "width": 0, "kind": 9, "codec": b"\xff", "rate": np.nan, "template": b"{}{}"}
    for field, value in wrong.items():
        crafted = records.copy()
        crafted[field] = value
        np.save(cache, crafted)
        assert list(build_index(read_list(path), cache=cache)) == expected
        crafted["seal"] = seals(crafted)  # by somebody who knows how
        np.save(cache, crafted)
        assert list(build_index(read_list(path), cache=cache)) == expected
    for data in (b"", b"\x93NUMPY", cache.read_bytes()[:200], b"what" * 100):
        cache.write_bytes(data)
        assert list(build_index(read_list(path), cache=cache)) == expected


def test_a_cache_that_is_cut_off_is_named(indexed):
    path, expected = indexed
    cache = cache_path(path)
    assert build_index(read_list(path), cache=cache).why_probed_again is None
    cache.write_bytes(cache.read_bytes()[:200])
    index = build_index(read_list(path), cache=cache)
    assert (
        index.why_probed_again == f"{cache}: damaged, of another version or not readable; all files were probed again"
    )
    assert list(index) == expected
    assert build_index(read_list(path), cache=cache).why_probed_again is None
