"""Words of the messages."""

from __future__ import annotations

import pytest

from actrec.words import counted, decimal


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
