"""How `--help` looks: lines that break between words only, and examples at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

_PLAIN = str.maketrans("\u2011\u00a0", "- ")  # a hyphen and a blank at which no line breaks


class _Formatter(click.HelpFormatter):
    """As click's, but no line ends inside a flag, inside a name with hyphens, or before a default."""

    def write_text(self, text: str) -> None:
        super().write_text(_glued(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(first, _glued(second)) for first, second in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().translate(_PLAIN)


def _glued(text: str) -> str:
    return text.replace("-", "\u2011").replace("[default: ", "[default:\u00a0")


class _Context(click.Context):
    formatter_class = _Formatter


class WithExamples(click.Command):
    """A command whose help ends with examples.

    Args:
        examples: complete command lines. A test parses them.
    """

    context_class = _Context

    def __init__(self, *args: Any, examples: Sequence[str] = (), **attributes: Any):
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
