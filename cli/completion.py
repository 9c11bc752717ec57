"""What a shell completes values with, besides choices and paths. Nothing here loads torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def net_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of actrec's own nets."""
    from actrec.known_nets import known_nets

    return _items(sorted(known_nets().nets), incomplete)


def run_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The runs in DATA/runs, or folders if no run has such a name."""
    from click.shell_completion import CompletionItem

    from actrec.report import runs

    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        names = [path.name for path in runs.find(Path(ctx.params.get("data") or ".") / "runs")]
    return _items(names, incomplete) or [CompletionItem(incomplete, type="dir")]


def format_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The formats of lists."""
    from actrec.data.lists.formats import FORMATS

    return _items(FORMATS.names(), incomplete)


def protocol_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of evaluation protocols."""
    from actrec.data.sampling.protocols import PROTOCOLS

    return _items(PROTOCOLS, incomplete)


def protocol_choices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of evaluation protocols, and what turns them off."""
    return [*protocol_names(ctx, param, incomplete), *_items(["none"], incomplete)]


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


# by the name that a field gives (`settings.opt(complete=...)`)
BY_NAME: dict[str, Callable[[click.Context, click.Parameter, str], list[CompletionItem]]] = {
    "nets": net_names,
    "formats": format_names,
    "protocols": protocol_choices,
}
