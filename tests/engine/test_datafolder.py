"""What is said about the lists of a training run."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest

from actrec.engine.datafolder import training_data


@pytest.mark.parametrize(("labels", "warned"), [("00", True), ("01", False), ("0-", False)])
def test_a_single_class_is_said(tmp_path, labels, warned):
    for name in "ab":
        (tmp_path / name).mkdir()
        for number in range(1, 4):
            cv2.imwrite(str(tmp_path / name / f"{number:05d}.jpg"), np.zeros((16, 16, 3), np.uint8))
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{name} 1 3 {label}\n" for name, label in zip("ab", labels)))
    said: list[str] = []
    training_data(
        tmp_path,
        train_list=path,
        val_list=None,
        workers=1,
        modality="rgb",
        watch=lambda: contextlib.nullcontext(lambda done, total: None),
        log=said.append,
    )
    line = f"WARNING: {path} has a single class: a net that always answers 0 is always right"
    assert (line in said) == warned
