"""Words of the messages."""

from __future__ import annotations

import pytest

from actrec.words import column_width, counted, decimal, display_width, padded


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "video", "0 videos"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (1200, "batch", "1,200 batches"),
        (4, "epoch", "4 epochs"),
    ],
)
def test_plurals(number, noun, text):
    assert counted(number, noun) == text


@pytest.mark.parametrize(
    ("number", "text"), [(4.0, "4"), (1234.5, "1234.5"), (1 / 30, "0.03"), (-1e-6, "0"), (100.0, "100")]
)
def test_decimals_have_no_exponent(number, text):
    assert decimal(number) == text


def test_columns_of_names_in_any_language_are_aligned():
    names = ["run", "走る", "e\u0301", "😀", "a\tb"]
    assert [display_width(name) for name in names] == [3, 4, 1, 2, 4]
    assert column_width(names) == 4
    assert padded("走", 4) == "走  "
    assert padded("a\tb", 6) == "a\\tb  "
    assert column_width(["x" * 150]) == 40
    assert padded("x" * 150, 40) == "x" * 150
