"""The lists of the dataset folder of the tests."""

from __future__ import annotations

from pathlib import Path

from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.engine.runfolder import Data


def data_of(dataset: Path) -> Data:
    train, val = read_list(dataset / "train.txt"), read_list(dataset / "val.txt")
    return Data(train, build_index(train), val, build_index(val), ["dark", "bright"])
