"""What is said about the lists of a training run."""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
import pytest

from actrec.engine.datafolder import training_data


def said_of(tmp_path, labels):
    """What is logged about a list of two videos with these labels."""
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
    return path, said


@pytest.mark.parametrize(("labels", "warned"), [("00", True), ("01", False), ("0-", False)])
def test_a_single_class_is_said(tmp_path, labels, warned):
    path, said = said_of(tmp_path, labels)
    line = f"WARNING: {path} has a single class: its name is '0', and every answer will be right"
    assert (line in said) == warned


@pytest.mark.parametrize(
    ("labels", "which"),
    [
        ("11", "label 0: labels count from 0, so this class has"),
        ("22", "labels 0, 1: labels count from 0, so these classes have"),
        ("79", "labels 0, 1, 2, 3, 4, ...: labels count from 0, so these classes have"),
    ],
)
def test_all_classes_without_videos_are_named(tmp_path, labels, which):
    path, said = said_of(tmp_path, labels)
    assert f"WARNING: no video of {path} has the {which} no videos" in said
