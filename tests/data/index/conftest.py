import pytest

from actrec.data.index import index as index_module


@pytest.fixture
def probed(monkeypatch):
    """Paths as they are probed."""
    paths, probe_path = [], index_module.probe_path

    def record(path, *args, **kwargs):
        paths.append(path)
        return probe_path(path, *args, **kwargs)

    monkeypatch.setattr(index_module, "probe_path", record)
    return paths
