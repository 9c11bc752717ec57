from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine.data_of import data_of
from engine.group import Groups

from actrec.engine.runfolder import Data


@pytest.fixture(scope="session")
def groups(tmp_path_factory) -> Iterator[Groups]:
    """Runs commands in several processes."""
    groups = Groups(tmp_path_factory.mktemp("groups"))
    yield groups
    groups.close()


@pytest.fixture(scope="session")
def data(dataset) -> Data:
    return data_of(dataset)
