"""Figures of matplotlib: the files that they end in, and names in them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actrec.files import atomic_file, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg")


def save(path: Path, figure: Figure, **options: Any) -> None:
    """Writes a figure to a file with one of the `SUFFIXES`, atomically.

    Args:
        options: Of `Figure.savefig`.

    Raises:
        OutputError: It cannot be written.
    """
    with writing(path), atomic_file(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of scripts that matplotlib's font does not have
        figure.savefig(file, format=path.suffix[1:].lower(), **options)


def class_name(text: str, longest: int) -> str:
    """A class name as matplotlib draws it: shortened, and `$` begins no formula."""
    shown = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return shown.replace("$", r"\$")
