"""How every command ends: what it prints, what it writes with `--json`, and its exit code.

Exit codes: 0 success, 1 something failed (it is named), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec.data.storage.paths import is_url, shown
from actrec.files import check_writable, write_json, writing
from actrec.words import counted, printable_lines

if TYPE_CHECKING:
    from actrec.data.lists import Video

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
        if isinstance(value, str) and is_url(value):
            self.fail(f"{shown(value)} is a URL: expected the name of a file of this machine", param, ctx)
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


def refuse_overlap(
    inputs: Mapping[str, Path | None] | None = None, outputs: Mapping[str, Path | None] | None = None
) -> None:
    """Refuses an output file of the current command that is also an input, or another output.

    Args:
        inputs, outputs: the files besides those that the user named, by what the message calls them. None stands for a
            file that is not used.

    Raises:
        UsageError: two of them are the same file.
    """
    named_inputs, named_outputs = _named_paths(click.get_current_context())
    used = {name: path for name, path in (named_inputs | dict(inputs or {})).items() if path is not None}
    seen = {os.path.realpath(path): name for name, path in used.items()}
    for name, path in (named_outputs | dict(outputs or {})).items():
        if path is None:
            continue
        other = seen.setdefault(os.path.realpath(path), name)
        if other != name:
            raise click.UsageError(f"{name} {path}: {other} is the same file; expected another name")


def refuse_videos(videos: Iterable[Video]) -> None:
    """Refuses an output file of the current command that would replace a video of a folder or list, or a frame.

    Args:
        videos: rows of a list.

    Raises:
        UsageError: it would.
    """
    from actrec.data.lists.find import IMAGES

    replaced: dict[str, str] = {}
    for name, path in _named_paths(click.get_current_context())[1].items():
        if path is not None and path.exists():
            target = os.path.realpath(path)
            image = os.path.splitext(target)[1].lower() in IMAGES
            replaced |= dict.fromkeys([target, os.path.dirname(target)] if image else [target], f"{name} {path}")
    for video in videos if replaced else ():
        if (shown := replaced.get(os.path.realpath(video.path))) is not None:
            raise click.UsageError(f"{shown}: it would replace a part of the input {video.id}; expected another name")


def _named_paths(context: click.Context) -> tuple[dict[str, Path | None], dict[str, Path | None]]:
    """The inputs and the outputs that the user named for a command, as `refuse_overlap` takes them."""
    inputs: dict[str, Path | None] = {}
    outputs: dict[str, Path | None] = {}
    for param in context.command.params:
        if not isinstance(param.type, click.Path):
            continue
        value = context.params.get(param.name or "")
        name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.strip("[].")
        paths = value if isinstance(value, tuple) else (value,)
        found = {name if len(paths) == 1 else f"{name} {path}": path for path in paths if path is not None}
        (outputs if isinstance(param.type, OutputFile) else inputs).update(found)
    return inputs, outputs


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
        tell(line)
    if json_path is not None:
        with writing(json_path):
            write_json(json_path, result)
    return 1 if failed else 0


def note(text: str) -> None:
    """Prints a line to standard error. If it cannot be written, such as to a full disk, the command continues."""
    with _above_bars(), suppress(OSError):
        click.echo(printable_lines(text), err=True)


def tell(text: str) -> None:
    """Prints a line to standard output before the work ends.

    Raises:
        OSError: It cannot be written.
    """
    with _above_bars():
        try:
            click.echo(printable_lines(text))
        except OSError as error:
            raise OSError(error.errno, f"standard output: {error.strerror}") from None


@contextmanager
def _above_bars() -> Iterator[None]:
    """Removes the bars of tqdm from the terminal while the block writes to it, and then shows them again."""
    if "tqdm" not in sys.modules:  # there is no bar
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        yield


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            note(self.format(record))
        except Exception:
            self.handleError(record)


@contextmanager
def warnings_noted() -> Iterator[None]:
    """Prints the warnings of this process, of `logging` and of `warnings`, with `note`.

    Nothing changes for a program that has configured `logging`.
    """

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        note(warnings.formatwarning(message, category, filename, lineno, line).rstrip("\n"))

    before = logging.lastResort, warnings.showwarning
    logging.lastResort, warnings.showwarning = _Notes(logging.WARNING), show
    try:
        yield
    finally:
        logging.lastResort, warnings.showwarning = before


def name_missing(what: str, missing: Mapping[str, str], total: int, inputs: Sequence[Path | str] = ()) -> list[str]:
    """Names the videos that could not be used, with the reasons, on standard error.

    Args:
        what: what did not happen ("not predicted").
        missing: the reasons, by the ids of the videos.
        total: number of videos of the command.
        inputs: what the user named. If none of the videos of a list could be used, the file may be no list.

    Returns:
        The line that counts them, and one for each such list; none if all videos could be used.
    """
    from actrec.engine.failures import with_name

    for video, reason in missing.items():
        note(f"{what}: {with_name(video, reason)}")
    return count_missing(missing, total, inputs)


def name_first(failed: Sequence[tuple[str, str]]) -> None:
    """Names the first (path, reason) of the videos that failed, on standard error."""
    from actrec.engine.failures import with_name

    if failed:
        note(f"failed{', for example' if len(failed) > 1 else ''}: {with_name(*failed[0])}")


def count_missing(missing: Mapping[str, str], total: int, inputs: Sequence[Path | str] = ()) -> list[str]:
    """The lines that `name_missing` returns."""
    from actrec.data.lists import advice, read_list
    from actrec.inference.inputs import is_list

    if not missing:
        return []
    lists = [path for path in inputs if is_list(path) and all(video.id in missing for video in read_list(path))]
    return [
        f"{counted(len(missing), 'video')} of {total} cannot be used",
        *(
            f"{path} was read as a list of videos, and none of them can be used"
            + (f"; {looks}" if (looks := advice(path, "videos")) else "")
            for path in lists
        ),
    ]


@contextmanager
def resumable() -> Iterator[None]:
    """Around work that continues where it stopped: Ctrl-C says so and ends the command with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        note(RESUMABLE)
        raise click.exceptions.Exit(130) from None
