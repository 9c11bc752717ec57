"""Confusion matrices as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actrec import figures
from actrec.files import write_csv, writing
from actrec.report.analysis import similarity_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WITH_NUMBERS = 40  # largest number of classes whose counts are written into the cells
_LARGEST = 8000  # pixels of a side; the names of more than about 500 classes need a PDF or SVG file
_LONGEST = 40  # characters of a class name in a picture


def save(path: Path, matrix: np.ndarray, classes: Sequence[str], *, by_similarity: bool = True) -> None:
    """Writes a confusion matrix as a table (.csv, in the order of the labels) or as a picture (see `figures.SUFFIXES`).

    Args:
        matrix: (classes, classes), rows are labels.
        by_similarity: Draw classes that are confused with each other next to each other; else in the order of the
            labels.

    Raises:
        OutputError: The file cannot be written.
    """
    if path.suffix.lower() == ".csv":
        rows = ([name, *map(str, row)] for name, row in zip(classes, matrix.tolist()))
        with writing(path):
            write_csv(path, ["label \\ prediction", *classes], rows)
        return
    figures.save(path, draw(matrix, classes, by_similarity=by_similarity), bbox_inches="tight", pad_inches=0.2)


def draw(matrix: np.ndarray, classes: Sequence[str], *, by_similarity: bool = True) -> Figure:
    """A figure whose colors are fractions of a row. Its size grows with the classes, so that every name can be read."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    order = similarity_order(matrix) if by_similarity else np.arange(len(classes))
    counts = matrix[np.ix_(order, order)]
    rates = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [figures.class_name(classes[c], _LONGEST) for c in order.tolist()]
    size, large = len(names), len(names) > _WITH_NUMBERS
    cell, text = (0.13, 6.5) if large else (0.45, 9)  # inches; cells with a number are larger than cells without one
    side = max(2.5, cell * size)
    margin = 0.3 + 0.009 * text * max(map(len, names))  # of the names; those of a large matrix are on all four sides
    after = margin if large else 0.2
    width, height = margin + side + after + 1, margin + side + after + 0.4
    figure = Figure(figsize=(width, height), dpi=min(120, _LARGEST / max(width, height)))
    axis = figure.add_axes((margin / width, margin / height, side / width, side / height))
    shown = np.ma.masked_equal(rates, 0)
    colors = ScalarMappable(PowerNorm(0.5, vmin=0, vmax=100), "Blues")
    # As bytes, because matplotlib enlarges numbers in float64: 11 GB for 1000 classes.
    axis.imshow(colors.to_rgba(shown, bytes=True), interpolation="none")
    axis.set_xticks(range(size), names, rotation=90, fontsize=text)
    axis.set_yticks(range(size), names, fontsize=text)
    axis.set_xlabel("prediction")
    axis.set_ylabel("label")
    title = f"{int(np.trace(matrix)):,} of {int(matrix.sum()):,} videos right"
    axis.set_title(title, fontsize=11 if size < 100 else 24)
    if large:
        axis.tick_params(top=True, right=True, labeltop=True, labelright=True)
        lines = np.arange(9.5, size - 1, 10)
        axis.set_xticks(lines, minor=True)
        axis.set_yticks(lines, minor=True)
        axis.tick_params(which="minor", length=0)
        axis.grid(which="minor", color="0.88", linewidth=0.6)
        axis.set_axisbelow(True)
    else:
        for row, column in np.argwhere(counts):
            color = "white" if rates[row, column] > 40 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=text, color=color)
    bar = figure.add_axes(((margin + side + after) / width, margin / height, 0.15 / width, min(side, 5) / height))
    figure.colorbar(colors, cax=bar, ticks=[0, 5, 20, 40, 60, 80, 100]).set_label("% of the videos of the label")
    return figure
