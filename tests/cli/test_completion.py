"""Completion in shells: options, choices, nets, runs and paths, without torch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from actrec.cli.main import actrec
from actrec.known_nets import known_nets


def completed(*arguments: str, incomplete: str = "") -> list[tuple[str, str]]:
    """What a shell gets: the type and the value of each item."""
    found = ShellComplete(actrec, {}, "actrec", "_ACTREC_COMPLETE").get_completions(list(arguments), incomplete)
    return [(item.type, item.value) for item in found]


def values(*arguments: str, incomplete: str = "") -> list[str]:
    return [value for kind, value in completed(*arguments, incomplete=incomplete) if kind == "plain"]


def test_commands():
    assert values(incomplete="ex") == ["extract-frames", "extract-flow", "explain", "export"]
    assert values("lists", incomplete="ucf") == ["ucf101"]
    assert values("runs", incomplete="c") == ["compare"]


def test_protocols():
    assert values("protocols", incomplete="ibm") == ["ibm_k400", "ibm_ssv2"]
    assert values("protocols", incomplete="no") == []
    assert values("evaluate", "--protocol", incomplete="no") == ["none"]


def test_options():
    assert values("train", incomplete="--lr-") == ["--lr-batch", "--lr-per-step", "--lr-steps"]
    assert "--help-all" in values("train", incomplete="--h")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--recipe"], ["ibm", "hara", "tsn", "videomae"]),
        (["train", "--optimizer"], ["sgd", "adamw"]),
        (["evaluate", "--crops"], ["1", "3", "5", "10"]),
        (["evaluate", "--confusion-order"], ["similar", "labels"]),
    ],
)
def test_choices(arguments, expected):
    assert values(*arguments) == expected


@pytest.mark.parametrize(
    "arguments",
    [["train", "--backbone"], ["evaluate", "--backbone"], ["bench", "--net"], ["nets"], ["weights", "inspect", "x",
                                                                                        "--backbone"]],
)  # fmt: skip
def test_names_of_nets(arguments):
    assert values(*arguments) == sorted(known_nets().nets)
    assert values(*arguments, incomplete="tin") == ["tiny3d"]


def test_formats_of_lists():
    assert "csv" in values("lists", "convert", "a", "b", "--to")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["train", "--data"], "dir"),
        (["train", "--weights"], "file"),
        (["predict"], "file"),
        (["prepare"], "file"),
        (["fuse", "--out"], "file"),
        (["export", "--out"], "dir"),
    ],
)
def test_paths(arguments, kind):
    assert completed(*arguments, incomplete="x/")[0] == (kind, "x/")


def test_runs(tmp_path):
    for name in ("2026-11-28_s3d", "2026-11-29_s3d"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.json").write_text("{}")
    at = ["--data", str(tmp_path)]
    assert values("train", *at, "--run", incomplete="2026-11-29") == ["2026-11-29_s3d"]
    assert len(values("report", *at)) == len(values("runs", "compare", *at)) == 2
    assert completed("evaluate", *at, "--run", incomplete="else/") == [("dir", "else/")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_a_net_without_torch(shell, tmp_path):
    if shell == "bash" or shell == "zsh":
        typed = {"COMP_WORDS": "actrec train --backbone tiny", "COMP_CWORD": "3"}
    else:
        typed = {"COMP_WORDS": "actrec train --backbone tiny", "COMP_CWORD": "tiny"}
    environment = os.environ | typed | {"_ACTREC_COMPLETE": f"{shell}_complete"}
    code = (
        "import resource, sys\nfrom actrec.cli.main import main\n"
        "try:\n    main([])\nfinally:\n    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print('torch' in sys.modules, used.ru_utime + used.ru_stime, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "tiny3d" in done.stdout
    torch_loaded, seconds = done.stderr.split()
    assert torch_loaded == "False"
    assert float(seconds) < 1  # 0.2 on a quiet machine


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell):
    environment = os.environ | {"_ACTREC_COMPLETE": f"{shell}_source"}
    command = [sys.executable, "-c", "from actrec.cli.main import main; main([])"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if shell == "bash" and "not supported" in done.stderr:
        pytest.skip("no bash 4.4")
    assert done.returncode == 0
    assert f"_ACTREC_COMPLETE={shell}_complete" in done.stdout
