"""What `--help` and `--help-all` print, and that their examples can be typed."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from commands import commands
from test_docs import find_command

from actrec.cli import main
from actrec.cli.main import GROUPS, actrec
from actrec.tools.datasets.table import DATASETS

ALL = {"": actrec, **dict(commands())}
SCREEN = 50  # lines
LONG = {"predict": 68, "embed": 60, "prepare": 52}  # commands with many purposes


def context(name: str) -> click.Context:
    """That of a command line: click keeps the help option that it makes for the first context of a command."""
    return click.Context(ALL[name], parent=click.Context(actrec, **actrec.context_settings))


def help_of(run, monkeypatch, name: str, flag: str = "--help", *, columns: int = 80) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = run(*name.split(), flag)
    assert (code, err) == (0, [])
    return out


@pytest.mark.parametrize("name", ALL)
def test_the_help_of_every_command_fits_and_ends_with_examples(run, monkeypatch, name):
    out = help_of(run, monkeypatch, name)
    assert len(out) <= LONG.get(name, SCREEN)
    examples = out[out.index("Examples:") + 1 :]
    assert len(examples) >= 2
    assert all(line.startswith("  actrec " + name) for line in examples)
    assert max(map(len, out)) <= 80


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "prepare", "lists convert"])
def test_no_line_breaks_inside_a_word_or_before_a_default(run, monkeypatch, name, columns):
    out = help_of(run, monkeypatch, name, "--help-all", columns=columns)
    assert not [line for line in out if re.search(r"\w-$|\[default:$", line) or "\u2011" in line or "\u00a0" in line]
    assert max(map(len, out)) <= min(columns, 110)


@pytest.mark.parametrize("name", ALL)
def test_no_option_has_two_defaults(run, monkeypatch, name):
    params = ALL[name].get_params(context(name))
    flag = "--help-all" if any(param.name == "help_all" for param in params) else "--help"
    text = " ".join(" ".join(help_of(run, monkeypatch, name, flag)).split())
    assert re.findall(r"\[default: [^\]]*\] \[default: [^\]]*\]", text) == []


@pytest.mark.parametrize("name", ALL)
def test_every_example_can_be_typed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in ALL[name].examples:
        program, *words = shlex.split(line)
        command, arguments = find_command(words)
        assert program == "actrec"
        if isinstance(command, click.Group):
            assert command.invoke_without_command
            assert not arguments
        else:
            command.make_context(command.name, arguments)


@pytest.mark.parametrize("line", ["actrec train --lrs 1", "actrec evaluate --crops 4", "actrec toy"])
def test_examples_with_mistakes_are_found(line):
    command, arguments = find_command(shlex.split(line)[1:])
    with pytest.raises(click.UsageError):
        command.make_context(command.name, arguments)


def test_common_options_first_and_all_with_help_all(run, monkeypatch):
    short, full = (help_of(run, monkeypatch, "train", flag) for flag in ("--help", "--help-all"))
    count = sum(isinstance(param, click.Option) for param in ALL["train"].params)
    assert any(line.startswith("  --backbone TEXT") for line in short)
    assert not any("--gamma" in line for line in short)
    assert any("--gamma" in line for line in full)
    assert any(line.split()[:4] == ["--help-all", "Show", "all", str(count)] for line in short)
    assert "--help-all" not in "\n".join(help_of(run, monkeypatch, "toy"))


@pytest.mark.parametrize(
    ("command", "flag", "default"),
    [
        ("train", "--scales", "1,0.875,0.75,0.66"),
        ("train", "--aspect", "0.75,1.333"),
        ("train", "--lr-steps", "15,30,45"),
        ("train", "--mixup", "0"),
        ("train", "--flip", "on"),
        ("train", "--lr", "the net's; sgd: 0.01"),
        ("train", "--dropout", "0, 0.2 or 0.5, depending on the net"),
        ("train", "--temporal-pool", "max"),
        ("train", "--cardinality", "32"),
        ("train", "--frames", "the net's own"),
        ("linear-probe", "--shots", "1,5,10"),
        ("evaluate", "--frames", "as trained"),
        ("weights convert", "--dropout", "found in FILE"),
        ("prepare", "--sample", "3"),
    ],
)
def test_defaults_are_shown_as_they_are_typed(run, monkeypatch, command, flag, default):
    flags = {"--help-all"} & {o for p in ALL[command].get_params(context(command)) for o in p.opts}
    out = help_of(run, monkeypatch, command, *flags or ["--help"])
    first = next(i for i, line in enumerate(out) if line.startswith(f"  {flag} "))
    entry = " ".join(" ".join(out[first:]).split())
    assert re.search(r"\[default: (.*?)\]", entry)[1] == default


def test_the_commands_are_shown_in_groups(run):
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        _, out, err = run(*arguments)
        lines = out or err
        headings = [line[:-1] for line in lines if re.fullmatch(r"\w.*:", line)]
        assert headings == ["Options", *GROUPS, "Examples"]


@pytest.mark.parametrize(("arguments"), [["help", "train"], ["train", "-h"], ["train", "--help"]])
def test_ways_to_ask_for_help(run, arguments):
    code, out, _ = run(*arguments)
    assert (code, out[0]) == (0, "Usage: actrec train [OPTIONS]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evalute"], "no command 'evalute': did you mean evaluate?"),
        (["help", "evalute"], "no command 'evalute': did you mean evaluate?"),
        (["lists", "uff101"], "no command 'uff101': did you mean ucf101"),
        (["train", "--epoch", "3"], "No such option '--epoch'. Did you mean '--epochs'"),
        (["train", "--optimizer", "adam"], "'adam': expected one of sgd, adamw (did you mean adamw?)"),
        (["train", "--sampling", "dens"], "'dens': expected one of uniform, dense (did you mean dense?)"),
        (["evaluate", "--confusion-order", "label"], "'label': expected one of similar, labels (did you mean labels?)"),
        (["lists", "convert", "a", "b", "--part", "vall"], "expected one of train, val, test (did you mean val?)"),
    ],
)
def test_mistyped_names_and_values_suggest_the_nearest(run, arguments, said):
    code, _, err = run(*arguments)
    assert code == 2
    assert said.replace("'", "").lower() in err[-1].replace("'", "").lower()


def test_every_dataset_has_examples():
    assert {f"lists {name}" for name in DATASETS} <= set(ALL)
    assert main.COMMANDS.keys() == set(actrec.list_commands(click.Context(actrec)))
