"""Pages of the documentation site that are made from other files: `mkdocs.yml` names this file under `hooks`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from actrec.cli.main import COMMANDS, actrec

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README as the first page, the list of changes, and all options of all commands."""
    pages = {
        "index.md": (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "]("),
        "changes.md": (ROOT / "CHANGES.md").read_text(encoding="utf-8").replace("](docs/", "]("),
        "options.md": "\n".join(_options_page()),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keeps flags in one piece at the end of a line, and wraps the long messages of the page on errors."""
    html = re.sub(r"<code>[^<]*</code>", lambda code: re.sub(r"(?<![\w-])--?[a-z][\w-]*", _FLAG, code[0]), html)
    return html.replace("<pre>", '<pre class="wraps">') if page.file.src_uri == "troubleshooting.md" else html


_FLAG = r'<span class="flag">\g<0></span>'


def _options_page() -> Iterator[str]:
    yield "# All options\n"
    yield "This page shows what `actrec COMMAND --help` prints. [Commands](cli.md) explains each command.\n"
    for name in COMMANDS:
        yield from _options_of(actrec, name, f"actrec {name}")


def _options_of(group: click.Group, name: str, path: str) -> Iterator[str]:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    yield f"## {path}\n"
    yield f"    {path} {' '.join(command.collect_usage_pieces(context))}\n"
    records = [record for p in command.get_params(context) if (record := p.get_help_record(context)) is not None]
    for flags, text in records:
        if text:  # most arguments have none: the line above shows them
            yield f"`{flags}`\n:   {_escaped(text)}\n"
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            yield from _options_of(command, sub, f"{path} {sub}")


def _escaped(text: str) -> str:
    """A help text, in which Markdown would read some characters as markup."""
    return re.sub(r"([<>*_|`\[\]])", r"\\\1", " ".join(text.split()))
