"""The benchmarks are not run here, but what they import must exist."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

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
