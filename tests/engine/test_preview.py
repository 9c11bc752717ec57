from __future__ import annotations

import torch

from actrec.engine.preview import label_names

CLASSES = ["dark", "bright", "gray"]


def test_names_of_one_label():
    assert label_names(torch.tensor([2, -1, 0]), CLASSES) == ["gray", "-", "dark"]


def test_names_of_several_labels():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert label_names(labels, CLASSES) == ["dark, gray", "-", "bright"]
    assert label_names(labels[:0], CLASSES) == []
