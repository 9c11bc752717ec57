"""A list format is one module, which actrec finds by itself."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import pytest

from actrec.config import ConvertOptions
from actrec.data.lists import formats
from actrec.data.lists.formats import FORMATS, register
from actrec.tools.lists.convert import convert_lists

MODULE = '''
"""Lines `label|path`."""

from actrec.data.lists.formats.annotations import Annotations, Entry, Format, below, inside, register
from actrec.files import read_lines


def read(path, options):
    rows = [line.split("|") for line in read_lines(path)[0] if line]
    entries = [Entry(below(options.root, name), None, None, (int(label),)) for label, name in rows]
    return Annotations({options.part: entries}, options.names)


def write(path, annotations, options):
    (entries,) = annotations.parts.values()
    path.write_text("".join(f"{e.labels[0]}|{inside(options.root, e.path)}\\n" for e in entries))


register(Format("kitchen", "label|path", ".lst", read, write))
'''


@pytest.fixture
def own_registry(monkeypatch):
    """Formats that the test registers are removed after it."""
    FORMATS.names()
    monkeypatch.setattr(FORMATS, "_entries", dict(FORMATS._entries))
    yield monkeypatch
    sys.modules.pop("actrec.data.lists.formats.kitchen", None)


def test_a_format_is_one_module(own_registry, tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "kitchen.py").write_text(MODULE)
    own_registry.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "modules")])
    own_registry.setattr(FORMATS, "_loaded", False)
    importlib.invalidate_caches()
    assert "kitchen" in FORMATS
    (tmp_path / "train.txt").write_text("a.mp4 1\nb.mp4 0\n")
    convert_lists(tmp_path / "train.txt", tmp_path / "train.lst", ConvertOptions(target="kitchen"))
    assert (tmp_path / "train.lst").read_text() == "1|a.mp4\n0|b.mp4\n"
    convert_lists(tmp_path / "train.lst", tmp_path / "back.txt", ConvertOptions(source="kitchen"))
    assert (tmp_path / "back.txt").read_text() == (tmp_path / "train.txt").read_text()


def test_a_format_name_is_registered_once(own_registry):
    register(replace(FORMATS.get("ibm"), name="ours"))
    assert FORMATS.get("ours").title == FORMATS.get("ibm").title
    with pytest.raises(ValueError, match="list format 'ours' is registered twice"):
        register(FORMATS.get("ours"))
