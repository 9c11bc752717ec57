from __future__ import annotations

import csv
import errno
import warnings

import cv2
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import PowerNorm

from actrec.files import OutputError
from actrec.report import confusion

MATRIX = np.array([[5, 0, 2], [0, 7, 0], [3, 0, 4]])
NAMES = ["jump", "$a$ _b_", "sit"]


def names_of(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_the_table_is_in_the_order_of_the_labels(tmp_path):
    confusion.save(tmp_path / "c.csv", MATRIX, NAMES)
    rows = list(csv.reader((tmp_path / "c.csv").read_text().splitlines()))
    assert rows == [
        ["label \\ prediction", *NAMES],
        ["jump", "5", "0", "2"],
        ["$a$ _b_", "0", "7", "0"],
        ["sit", "3", "0", "4"],
    ]


def test_the_picture_shows_confused_classes_next_to_each_other():
    figure = confusion.draw(MATRIX, NAMES)
    assert names_of(figure) == ["jump", "sit", r"\$a\$ _b_"]
    axis = figure.axes[0]
    assert axis.get_title() == "16 of 21 videos right"
    shown = {text.get_position(): text.get_text() for text in axis.texts}  # (column, row)
    assert shown == {(0, 0): "5", (1, 0): "2", (0, 1): "3", (1, 1): "4", (2, 2): "7"}
    colors = axis.images[0].get_array()[0]
    expected = colormaps["Blues"](PowerNorm(0.5, 0, 100)([500 / 7, 200 / 7]), bytes=True)
    assert colors[:2].tolist() == expected.tolist()
    assert colors[2, 3] == 0  # no video: transparent
    assert names_of(confusion.draw(MATRIX, NAMES, by_similarity=False)) == ["jump", r"\$a\$ _b_", "sit"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_pictures_of_every_kind(tmp_path, suffix):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion.save(tmp_path / f"c{suffix}", MATRIX, ["a", "日本", "x" * 300])
    begin = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert (tmp_path / f"c{suffix}").read_bytes().startswith(begin)


def test_a_picture_grows_with_its_classes(tmp_path):
    sides = []
    for size in (6, 30, 150):
        confusion.save(tmp_path / "c.png", np.eye(size, dtype=int), [f"class {i}" for i in range(size)])
        sides.append(cv2.imread(str(tmp_path / "c.png")).shape[1])
    assert sides[0] < sides[1] < sides[2]
    assert sides[2] > 150 * 15  # pixels: every name has a line of its own
    assert sides[2] < 8000
    figure = confusion.draw(np.eye(700, dtype=int), [f"class {i}" for i in range(700)], by_similarity=False)
    assert max(figure.get_size_inches()) * figure.dpi == pytest.approx(8000)  # not 12,000: memory grows with the area
    figure = confusion.draw(np.eye(100, dtype=int), [f"class {i}" for i in range(100)])
    assert not figure.axes[0].texts


def test_a_picture_that_cannot_be_written(tmp_path):
    for name in ("c.png", "c.csv"):
        with pytest.raises(OutputError) as error:
            confusion.save(tmp_path / "none" / name, MATRIX, NAMES)
        assert error.value.errno == errno.ENOENT
        assert error.value.filename == str(tmp_path / "none" / name)
