from __future__ import annotations

import pytest
from engine.data_of import data_of

from actrec.engine.runfolder import Data


@pytest.fixture(scope="session")
def data(dataset) -> Data:
    return data_of(dataset)
