"""Every command and flag of actrec that a page names exists, takes the value it is given, and fits its command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from actrec.cli.main import COMMANDS, actrec

ROOT = Path(__file__).resolve().parents[1]
# page -> the number of command lines that it has at least, so that the patterns below cannot silently match nothing
PAGES = {"README.md": 8, "docs/cli.md": 15, "docs/data.md": 15, "docs/training.md": 15, "docs/from_ibm.md": 60,
         "docs/from_hara.md": 80}  # fmt: skip


def blocks(page: str) -> list[str]:
    """The commands in the code blocks of a page, without their comments; continued lines are joined."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(" #")[0].strip() for line in text.splitlines() if line.startswith("    ")]
    return [line for line in map(_without_launcher, lines) if line.startswith("actrec ")]


def command_lines(page: str) -> list[str]:
    """The commands in the code blocks and code spans of a page, without the word `actrec`."""
    spans = re.findall(r"`([^`\n]+)`", (ROOT / page).read_text(encoding="utf-8"))
    lines = [_without_launcher(line).removeprefix("actrec ") for line in (*blocks(page), *spans)]
    return [line for line in lines if line.split()[0] in COMMANDS]


def _without_launcher(line: str) -> str:
    return re.sub(r"^torchrun .* -m -- actrec ", "actrec ", line)


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a line calls, and its arguments."""
    found, words = actrec, list(words)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(found)
        if words[0] not in found.list_commands(context):
            break
        found = found.get_command(context, words.pop(0))
    return found, words


def fault(line: str) -> str | None:
    """The first flag of a line that its command does not have, or whose value it does not take."""
    command, words = find_command(shlex.split(line))
    known = {flag: p for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help": None}
    for word, value in zip(words, [*words[1:], ""]):
        if not word.startswith("--"):
            continue
        if word not in known:
            return word
        param = known[word]
        if param is None or param.is_flag or not value or value.startswith("--") or value.isupper() or "…" in value:
            continue
        try:
            param.type.convert(value, param, None)
        except click.BadParameter:
            return f"{word} {value}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_belongs_to_its_command_and_takes_its_value(page):
    lines = command_lines(page)
    assert len(lines) >= PAGES[page]
    assert [(line, found) for line in lines if (found := fault(line))] == []


@pytest.mark.parametrize("page", ["docs/from_ibm.md", "docs/from_hara.md"])
def test_recipes_are_complete_commands(page):
    lines = blocks(page)
    assert len(lines) >= 5
    for line in lines:
        command, words = find_command(shlex.split(line)[1:])
        given = command.make_context(command.name, words, **actrec.context_settings).params
        assert given.get("backbone") in (None, *re.findall(r"--backbone (\w+)", line))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("train --lrs 1", "--lrs"),
        ("train --schedule linear", "--schedule linear"),
        ("train --lr-steps 5,x", "--lr-steps 5,x"),
        ("evaluate --epochs 3", "--epochs"),
        ("lists convert --to-rot A", "--to-rot"),
        ("lists convert --to-root A --lr", "--lr"),
        ("train --list --lr RATE --no-flip", None),
    ],
)
def test_mistakes_are_found(line, found):
    assert fault(line) == found
