"""Every command ends by the same rules: exit codes, one error line, --json."""

from __future__ import annotations

import errno
import io
import json

import click
import pytest
from commands import commands

from actrec.cli import main as program
from actrec.cli.ending import RESUMABLE, finish, note, resumable, tell
from actrec.cli.options import Command

COMMANDS = dict(commands())
LEAVES = {name: command for name, command in COMMANDS.items() if not isinstance(command, click.Group)}
WITH_JSON = [name for name, command in COMMANDS.items() if any("--json" in p.opts for p in command.params)]


def arguments(name: str) -> list[str]:
    """A word for each required argument."""
    return ["x.pt" for p in COMMANDS[name].params if isinstance(p, click.Argument) and p.required]


def raising(error):
    def call(*_, **__):
        raise error

    return call


@pytest.mark.parametrize("name", LEAVES)
def test_an_unknown_flag_is_wrong_usage(run, name):
    code, out, err = run(*name.split(), "--nonsense", *arguments(name))
    assert (code, out) == (2, [])
    assert err[-1].startswith("Error: No such option '--nonsense'")


def test_which_commands_write_json():
    assert sorted(WITH_JSON) == [
        "bench",
        "doctor",
        "embed",
        "evaluate",
        "explain",
        "export",
        "fuse",
        "index",
        "linear-probe",
        "lists flips",
        "lists shards",
        "nets",
        "predict",
        "protocols",
        "report",
        "runs",
        "runs compare",
        "train",
        "view",
        "weights inspect",
    ]


@pytest.mark.parametrize("name", WITH_JSON)
def test_a_missing_folder_for_json_is_wrong_usage_in_every_command(run, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*name.split(), "--json", "none/x.json", *arguments(name))
    assert (code, out) == (2, [])
    assert err[-1] == "Error: Invalid value for '--json': none/x.json: there is no folder none"
    code, _, err = run(*name.split(), "--json", tmp_path, *arguments(name))
    assert code == 2
    assert err[-1] == f"Error: Invalid value for '--json': {tmp_path} is a folder: expected the name of a file"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("frames 3: expected 8"), 1, "Error: frames 3: expected 8"),
        (OSError(errno.ENOENT, "No such file or directory", "a.txt"), 1, "Error: a.txt: No such file or directory"),
        (FileNotFoundError("a.txt: no such file"), 1, "Error: a.txt: no such file"),
        (click.UsageError("--a without --b"), 2, "Error: --a without --b"),
        (MemoryError(), 1, "Error: the memory is full"),
        (RuntimeError("can't start new thread"), 1, "Error: no more threads can be started: raise the limit of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_happens_ends_in_one_line(run, monkeypatch, name, error, code, said):
    monkeypatch.setattr(Command, "invoke", raising(error))
    monkeypatch.setattr(Command, "parse_args", lambda command, context, args: [])
    found, out, err = run(*name.split())
    assert (found, out) == (code, [])
    assert err[-1].startswith(said)
    assert len([line for line in err if line.startswith("Error")]) == (code != 130)


def test_an_error_of_our_own_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(program.actrec, "main", raising(AssertionError("ours")))
    with pytest.raises(AssertionError, match="ours"):
        program.main([])


def test_finish(tmp_path, capsys):
    result = {"top1": float("nan"), "names": ["ä"]}
    assert finish("a -> b", "top-1 3", json_path=tmp_path / "x.json", result=result) == 0
    assert capsys.readouterr().out == "a -> b\ntop-1 3\n"
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"top1": None, "names": ["ä"]}
    assert finish("1 failed", failed=True) == 1
    with pytest.raises(OSError, match="cannot be written") as error:
        finish("top-1 3", json_path=tmp_path / "none/x.json", result={})
    assert capsys.readouterr().out.endswith("top-1 3\n")  # the result is shown even if it cannot be written
    assert error.value.filename == str(tmp_path / "none/x.json")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_work_that_can_be_continued_says_so(capsys):
    with pytest.raises(click.exceptions.Exit) as stop, resumable():
        raise KeyboardInterrupt
    assert stop.value.exit_code == 130
    assert capsys.readouterr().err == RESUMABLE + "\n"


def test_full_disks_of_standard_streams(monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    note("work goes on")
    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(OSError, match="standard output: No space left on device"):
        tell("a result")
