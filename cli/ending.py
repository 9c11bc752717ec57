"""How every command ends: what it prints, what it writes with `--json`, and its exit code.

Exit codes: 0 success, 1 something failed (it is named), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from actrec.files import check_writable, write_json, writing

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
        if not value:
            self.fail("the name is empty: expected the name of a file", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if os.path.isdir(path):  # unlike Path.is_dir, it raises no error for an overlong name
            self.fail(f"{path} is a folder: expected the name of a file", param, ctx)
        if not self._make_folder and not path.absolute().parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}", param, ctx)
        if self._suffixes and path.suffix.lower() not in self._suffixes:
            self.fail(f"{path}: expected a name that ends in {', '.join(self._suffixes)}", param, ctx)
        try:
            check_writable(path)
        except OSError as error:
            self.fail(f"{path} cannot be written ({error.strerror})", param, ctx)
        return path


def refuse_overlap(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Refuses an output file that is also an input, or another output, of the same command.

    Args:
        outputs, inputs: the files, by what the message calls them. None stands for a file that is not used.

    Raises:
        UsageError: two of them are the same file.
    """
    seen = {os.path.realpath(path): name for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is None:
            continue
        other = seen.setdefault(os.path.realpath(path), name)
        if other != name:
            raise click.UsageError(f"{name} {path}: {other} is the same file; expected another name")


def paths_of(context: click.Context) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files that the user named for a command: its outputs and its inputs, as `refuse_overlap` takes them."""
    outputs: dict[str, Path] = {}
    inputs: dict[str, Path] = {}
    for param in context.command.params:
        if not isinstance(param.type, click.Path):
            continue
        value = context.params.get(param.name or "")
        name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.strip("[].")
        paths = value if isinstance(value, tuple) else (value,)
        found = {name if len(paths) == 1 else f"{name} {path}": path for path in paths if path is not None}
        (outputs if isinstance(param.type, OutputFile) else inputs).update(found)
    return outputs, inputs


json_option = click.option("--json", "json_path", type=OutputFile(), help="Also write the result to this file as JSON.")


def finish(*lines: str, json_path: Path | None = None, result: Any = None, failed: bool = False) -> int:
    """Ends a command: prints what was made and where, writes the result as JSON if asked to, gives the exit code.

    The lines come first, so that the result is not lost if the file cannot be written.

    Args:
        lines: what is printed.
        json_path: from `json_option`.
        result: what the file gets.
        failed: whether a part of the work failed; the lines, or earlier ones, name it.

    Raises:
        OutputError: the file cannot be written.
    """
    for line in lines:
        click.echo(line)
    if json_path is not None:
        with writing(json_path):
            write_json(json_path, result)
    return 1 if failed else 0


@contextmanager
def resumable() -> Iterator[None]:
    """Around work that continues where it stopped: Ctrl-C says so and ends the command with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(RESUMABLE, err=True)
        raise click.exceptions.Exit(130) from None
