from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine.group import Groups

from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.engine.runfolder import Data


@pytest.fixture(scope="session")
def groups(tmp_path_factory) -> Iterator[Groups]:
    """Runs commands in several processes."""
    groups = Groups(tmp_path_factory.mktemp("groups"))
    yield groups
    groups.close()


@pytest.fixture(scope="session")
def data(dataset) -> Data:
    """The lists of `dataset`."""
    train, val = read_list(dataset / "train.txt"), read_list(dataset / "val.txt")
    return Data(train, build_index(train), val, build_index(val), ["dark", "bright"])
