"""The benchmarks are not run here, but what they import must exist, and what they compute must be right."""

from __future__ import annotations

import ast
import importlib
import itertools
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
BENCHMARKS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_can_be_imported(name, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    try:
        assert importlib.import_module(name).__doc__
    finally:
        for added in (set(sys.modules) - before) & set(BENCHMARKS):
            del sys.modules[added]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_its_functions_import_from_actrec_exists(name):
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("actrec."):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    yield importlib.import_module
    for added in (set(sys.modules) - before) & set(BENCHMARKS):
        del sys.modules[added]


def test_peers_with_other_pictures_do_not_count_for_the_target(benchmark_module):
    contest = benchmark_module("contests").Contest(
        "clips",
        {},
        targets={"fastest": 1.2},
        chosen={"actrec": "a", "right": "b", "wrong": "c", "floor": "d"},
        rates={"actrec": [10, 12, 9], "right": [8, 8, 9], "wrong": [20, 24, 18], "floor": [20, 15, 18]},
        different={"b": (0, 5), "c": (2, 5)},
    )
    text = contest.markdown()
    assert "Relative to the fastest peer (right): **1.25** (target 1.2)." in text
    assert "Relative to the fastest peer that gives other pictures (wrong): 0.50." in text
    assert "Relative to floor: **0.50**." in text
    assert "| 2 of 5 |" in text


def test_of_the_settings_of_a_peer_the_fastest_with_the_right_pictures_is_chosen(benchmark_module):
    def taking(seconds):
        return lambda: time.sleep(seconds) or 1

    def failing():
        raise IndexError("frame 79")

    settings = {
        "actrec": {"only": taking(0.001)},
        "peer": {"fails": failing, "fast, wrong": taking(0.001), "right": taking(0.05)},
        "broken": {"fails": failing},
    }
    contest = benchmark_module("contests").Contest(
        "clips", settings, different={"fast, wrong": (1, 5), "right": (0, 5)}
    )
    contest.run(1)
    assert contest.chosen == {"actrec": "only", "peer": "right"}
    assert contest.rates.keys() == contest.chosen.keys()
    contest.settings = {"actrec": {"only": failing}}
    with pytest.raises(IndexError):
        contest.run(1)


def test_the_newest_torchcodec_that_loads_is_found(benchmark_module, monkeypatch, tmp_path):
    module = benchmark_module("torchcodec_versions")
    installed = []
    told = "torchcodec (0.9.0)\nAvailable versions: 0.9.0, 0.8.1, 0.8.0\n"
    monkeypatch.setattr(module, "_run", lambda command: installed.append(command[-1]) or told)
    monkeypatch.setattr(module, "why_not", lambda video, folder: "OSError: no" if "0.9" in installed[-1] else None)
    tried = dict(itertools.islice(module.attempts(module.available(), tmp_path / "t", tmp_path / "a.mp4"), 2))
    assert tried == {"0.9.0": "OSError: no", "0.8.1": None}
    assert installed[1:] == ["torchcodec==0.9.0", "torchcodec==0.8.1"]


def test_the_bytes_that_a_clip_needs(benchmark_module):
    """Two groups of four packets; the second picture of each is needed by no other one."""
    droppable = [False, True, False, False] * 2
    packets = np.array(
        [(pts, 0, 10**pts, drop) for pts, drop in zip(range(8), droppable)],
        [("pts", "i8"), ("offset", "i8"), ("size", "i8"), ("droppable", "?")],
    )
    keys = np.array([0, 4])
    certificate = SimpleNamespace(pts=np.arange(8), key_pts=keys, packets=packets)
    count = benchmark_module("storage").packet_bytes
    assert count(certificate, np.array([2])) == 101
    assert count(certificate, np.array([1, 2])) == 111
    assert count(certificate, np.array([0, 7])) == 11010001
    assert count(certificate, np.array([0, 70])) == 11010001
