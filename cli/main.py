"""`actrec`: one small file per command, loaded when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from actrec import __version__
from actrec.cli.ending import note, warnings_noted
from actrec.cli.help_text import WithExamples
from actrec.cli.interrupt import ends_at_interrupt
from actrec.registry import did_you_mean
from actrec.system import open_standard_streams, set_up_math_threads
from actrec.words import printable_lines, text_of

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

GROUPS = {  # heading: name: one line for --help
    "Prepare data": {
        "extract-frames": "Turn videos into frame folders and lists.",
        "prepare": "Re-encode videos so that training decodes them fast.",
        "lists": "Make lists of public datasets, class folders and tar shards.",
        "index": "Check every video of a list.",
        "extract-flow": "Compute the optical flow of a list's videos.",
        "toy": "Render a small action dataset for first experiments.",
    },
    "Train": {
        "train": "Train a net.",
        "view": "Show the clips that the net gets.",
        "bench": "Measure how fast nets train here, and what limits the speed.",
    },
    "Use a trained net": {
        "evaluate": "Score the videos of a list, and print accuracies.",
        "predict": "Predict the classes of videos, long videos or live streams.",
        "explain": "Show where and when a video contains evidence for a class.",
        "embed": "Compute features of videos.",
        "linear-probe": "Measure the accuracy of simple classifiers on features.",
        "fuse": "Average the scores of several nets.",
        "export": "Export a net as ONNX, for programs without actrec.",
    },
    "Inspect": {
        "report": "Write an HTML page about runs.",
        "runs": "Show the runs of a dataset folder, or compare two.",
        "nets": "List the nets, or show one.",
        "protocols": "List how published accuracies were measured.",
        "weights": "Tell which net a weights file belongs to, or convert it.",
        "doctor": "Check the installation and this machine.",
    },
}
COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}


class Group(WithExamples, click.Group):
    """A group that suggests commands for a mistyped name."""

    def resolve_command(self, ctx: click.Context, args: list[str]):
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)


class _Lazy(Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:  # `actrec help train`
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, [_with_home(argument) for argument in args])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"actrec.cli.{name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):  # without loading them
                formatter.write_dl([(f"{name:<{width}}", line) for name, line in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)
        ]  # without loading them
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    examples=["actrec extract-frames", "actrec train", "actrec evaluate --clips 10 --crops 3"],
)
@click.version_option(__version__, prog_name="actrec")
def actrec() -> None:
    """Train, evaluate and use action-recognition models on your own videos.

    The examples below train a net in a folder with videos/<class>/*.mp4. `actrec COMMAND --help` shows the options of
    a command.
    """


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 done, 1 something failed (one line names it), 2 wrong usage, 130 interrupted."""
    set_up_math_threads()
    open_standard_streams()
    try:
        os.getcwd()
    except FileNotFoundError:
        _fail("the current folder was deleted: expected a folder that exists; change to another one")
    try:
        with ends_at_interrupt(), warnings_noted():
            sys.exit(actrec.main(arguments, prog_name="actrec", standalone_mode=False) or 0)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.message = printable_lines(error.message)  # type: ignore[misc] # `show` of every kind prints it
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (ValueError, OSError) as error:
        _fail(text_of(error))
    except (RuntimeError, MemoryError, ImportError) as error:
        text = _explain(error)
        if text is None:
            raise
        _fail(text)


def _with_home(argument: str) -> str:
    """Expands `~` in `--flag=~/path`, as shells do in `--flag ~/path`."""
    flag, equals, value = argument.partition("=")
    return flag + equals + os.path.expanduser(value) if flag.startswith("--") else argument


def _explain(error: RuntimeError | MemoryError | ImportError) -> str | None:
    """One line for a full memory or a lost process; None for other errors, which are our mistakes."""
    if isinstance(error, ImportError):  # the loader of shared libraries has no error of its own for a full memory
        is_full = "failed to map segment" in str(error) or "annot allocate memory" in str(error)
        return "the memory is full: a library cannot be loaded" if is_full else None
    if "can't start new thread" in str(error):
        return "no more threads can be started: raise the limit of memory (ulimit -v) or of processes (ulimit -u)"
    if "torch" not in sys.modules:
        return "the memory is full" if isinstance(error, MemoryError) else None
    from actrec.engine.failures import explain

    return explain(error)


def _fail(text: str) -> NoReturn:
    rank = os.environ.get("RANK", "0")  # of torchrun
    note(f"Error: {text}" if rank == "0" else f"Error in process {rank}: {text}")
    sys.exit(1)
