"""How every command ends: what it prints, what it writes with `--json`, and its exit code.

Exit codes: 0 success, 1 something failed (it is named), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from actrec.files import write_json, writing

RESUMABLE = "interrupted: run the same command again to continue"


class OutputFile(click.Path):
    """A file that a command writes at its end. That it can be written is checked before the work begins.

    Args:
        suffixes: legal ends of its name, if not all are.
        make_folder: whether the command creates the folder of the file.
    """

    def __init__(self, suffixes: Sequence[str] = (), *, make_folder: bool = False):
        super().__init__(path_type=Path)
        self._suffixes, self._make_folder = suffixes, make_folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.is_dir():
            self.fail(f"{path} is a folder: expected the name of a file", param, ctx)
        if not self._make_folder and not path.absolute().parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}", param, ctx)
        if self._suffixes and path.suffix.lower() not in self._suffixes:
            self.fail(f"{path}: expected a name that ends in {', '.join(self._suffixes)}", param, ctx)
        return path


json_option = click.option("--json", "json_path", type=OutputFile(), help="Also write the result to this file as JSON.")


def finish(*lines: str, json_path: Path | None = None, result: Any = None, failed: bool = False) -> int:
    """Ends a command: writes the result as JSON if asked to, prints what was made and where, gives the exit code.

    Args:
        lines: what is printed.
        json_path: from `json_option`.
        result: what the file gets.
        failed: whether a part of the work failed; the lines, or earlier ones, name it.

    Raises:
        OutputError: the file cannot be written.
    """
    if json_path is not None:
        with writing(json_path):
            write_json(json_path, result)
    for line in lines:
        click.echo(line)
    return 1 if failed else 0


@contextmanager
def resumable() -> Iterator[None]:
    """Around work that continues where it stopped: Ctrl-C says so and ends the command with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(RESUMABLE)
        raise click.exceptions.Exit(130) from None
