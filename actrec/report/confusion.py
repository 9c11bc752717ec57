"""Confusion matrices as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actrec.files import atomic_file, write_csv, writing
from actrec.report.analysis import similarity_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".pdf", ".svg")
_WITH_NUMBERS = 40  # largest number of classes whose counts are written into the cells
_LONGEST = 40  # characters of a class name in a picture


def save(path: Path, matrix: np.ndarray, classes: Sequence[str], *, by_similarity: bool = True) -> None:
    """Writes a confusion matrix as a table (.csv, in the order of the labels) or as a picture (see `PICTURES`).

    Args:
        matrix: (classes, classes), rows are labels.
        by_similarity: Draw classes that are confused with each other next to each other; else in the order of the
            labels.

    Raises:
        OutputError: The file cannot be written.
    """
    with writing(path):
        if path.suffix.lower() == ".csv":
            rows = ([name, *map(str, row)] for name, row in zip(classes, matrix.tolist()))
            write_csv(path, ["label \\ prediction", *classes], rows)
            return
        with atomic_file(path) as file:
            figure = draw(matrix, classes, by_similarity=by_similarity)
            figure.savefig(file, format=path.suffix[1:].lower())


def draw(matrix: np.ndarray, classes: Sequence[str], *, by_similarity: bool = True) -> Figure:
    """A figure whose colors are fractions of a row. Its size grows with the classes, so that every name can be read."""
    from matplotlib.figure import Figure

    order = similarity_order(matrix) if by_similarity else np.arange(len(classes))
    counts = matrix[np.ix_(order, order)]
    rates = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_name(classes[c]) for c in order]
    size = len(names)
    # Inches per class: cells that hold a number are larger than cells that hold only a color.
    cell = 0.45 if size <= _WITH_NUMBERS else 0.13
    text = 9 if size <= _WITH_NUMBERS else 6.5
    side = max(2.5, cell * size)
    margin = 0.35 + 0.011 * text * max(map(len, names))  # of the names
    width, height = margin + side + 1.1, margin + side + 0.6
    figure = Figure(figsize=(width, height), dpi=120)
    axis = figure.add_axes((margin / width, margin / height, side / width, side / height))
    image = axis.imshow(rates, cmap="Blues", norm="linear", vmin=0, vmax=100, interpolation="none")
    axis.set_xticks(range(size), names, rotation=90, fontsize=text)
    axis.set_yticks(range(size), names, fontsize=text)
    axis.set_xlabel("prediction")
    axis.set_ylabel("label")
    right = int(np.trace(matrix))
    axis.set_title(f"{right} of {int(matrix.sum())} videos right", fontsize=11)
    if size <= _WITH_NUMBERS:
        for row, column in np.argwhere(counts):
            color = "white" if rates[row, column] > 55 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=text, color=color)
    bar = figure.add_axes(((margin + side + 0.2) / width, margin / height, 0.15 / width, min(side, 4) / height))
    figure.colorbar(image, cax=bar).set_label("% of the videos of the label")
    return figure


def _name(text: str) -> str:
    """A class name as matplotlib draws it: `$` begins no formula."""
    shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return shown.replace("$", r"\$")
