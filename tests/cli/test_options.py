from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields

import click
import pytest

import actrec
from actrec import config
from actrec.cli import bench, evaluate, train, weights

LIMITS = ["Limits of videos", "Videos at URLs"]
TRAIN = ["Options", "Net", "Clip", "Augmentation", "Loader", "Optimizer and schedule", "Loss", "Run", *LIMITS]
OPTIONS = ["Options", "Trained net", "Views", "Scoring", "Clip", "Run", "Loss"]
COMMANDS = {
    "train": (train.command, TRAIN),
    "evaluate": (evaluate.command, [*OPTIONS, *LIMITS, "Net (only with --weights)"]),
    "bench": (bench.command, ["Options", "Bench", "Clip", "Run", "Net", *LIMITS]),
    "weights convert": (weights.convert, ["Options", "Weights", "Net"]),
}


def sections(lines: list[str]) -> dict[str, list[str]]:
    """The flags of --help by their headings, those that are written --a / --no-a as two."""
    found, heading = {}, ""
    for line in lines:
        if line == "Examples:":
            break
        if match := re.fullmatch(r"(\w.*):", line):
            heading = match[1]
            found[heading] = []
        elif heading and (match := re.match(r"  (-\S.*?)(?:  |$)", line)):
            found[heading] += re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", match[1])
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_is_shown_once_under_a_heading(run, name):
    command, headings = COMMANDS[name]
    code, out, _ = run(*name.split(), "--help-all")
    assert code == 0
    shown = sections(out)
    assert list(shown) == headings
    wanted = {flag for p in command.params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)}
    assert Counter(flag for flags in shown.values() for flag in flags) == Counter(
        wanted | {"-h", "--help", "--help-all"}
    )


def test_a_flag_stands_under_the_heading_of_its_dataclass(run):
    shown = sections(run("train", "--help-all")[1])
    kinds = {
        config.Net: "Net",
        config.Clip: "Clip",
        config.Frame: "Clip",
        actrec.Augment: "Augmentation",
        config.Loader: "Loader",
        config.Optim: "Optimizer and schedule",
        config.Loss: "Loss",
        config.Run: "Run",
        config.Limits: "Limits of videos",
        config.Storage: "Videos at URLs",
    }
    for kind, heading in kinds.items():
        flags = {f.metadata.get("flag") or "--" + f.name.replace("_", "-") for f in fields(kind)}
        assert flags <= set(shown[heading])
    assert shown["Options"][:2] == ["--data", "--list"]
    assert shown["Options"][-2:] == ["-h", "--help"]


def test_arguments_are_no_flags(run):
    out = run("weights", "convert", "--help")[1]
    assert not any(line.strip() in ("FILE", "OUT") for line in out)


def test_the_home_folder_after_an_equals_sign(run, tmp_path, monkeypatch):
    """Shells expand `~` at the beginning of an argument, not in `--flag=~/path`."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    code, _, err = run("runs", "--data=~/data", "--json=~/no/runs.json")
    assert code == 2
    assert f"{tmp_path}/home/no/runs.json: there is no folder {tmp_path}/home/no" in err[-1]
    assert run("evaluate", "--data=~/data")[2][-1].startswith(f"Error: {tmp_path}/home/data")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
