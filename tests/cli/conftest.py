from __future__ import annotations

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
