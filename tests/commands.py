"""All commands and their flags. `python tests/commands.py` writes tests/flags.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from actrec.cli.main import actrec

FROZEN = Path(__file__).with_name("flags.txt")


def commands(command: click.Command = actrec, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands, with the words that call them."""
    if name:
        yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None, below
            yield from commands(found, f"{name} {below}".strip())


def flags() -> list[str]:
    """`train --batch-size`, one line for each flag; a command without flags is a line of its own."""
    found = []
    for name, command in commands():
        options = [flag for p in command.params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)]
        found += [f"{name} {flag}" for flag in options] or [name]
    return sorted(found)


if __name__ == "__main__":
    FROZEN.write_text("\n".join(flags()) + "\n", encoding="utf-8")
