from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actrec.cli.main import main


@pytest.fixture
def run(capsys):
    """Runs the command line in this process: (exit code, lines of stdout, lines of stderr)."""

    def call(*arguments: object) -> tuple[int, list[str], list[str]]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return stop.value.code or 0, said.out.splitlines(), said.err.splitlines()

    return call


@pytest.fixture
def inside(dataset, tmp_path, monkeypatch) -> Path:
    """A copy of the dataset folder, as the current folder."""
    shutil.copytree(dataset, tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def here(trained, inside) -> Path:
    """The same with a run."""
    shutil.copytree(trained.parents[1] / "runs", inside / "runs")
    return inside
