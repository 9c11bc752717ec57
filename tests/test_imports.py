"""The import table of docs/architecture.md: who may know whom. A new import fails until it is written down here."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import actrec

ROOT = Path(__file__).resolve().parents[1]
PLACES = {"actrec.cli": "cli", "actrec.tools": "tools"}

# part of actrec: the parts (or single modules) that it may import besides itself
MAY_IMPORT = {
    "actrec.registry": set(),
    "actrec.system": set(),
    "actrec.words": set(),
    "actrec.opening": set(),
    "actrec.leftovers": set(),
    "actrec.files": {"actrec.registry"},
    "actrec.figures": {"actrec.files"},
    "actrec.settings": {"actrec.registry"},
    "actrec.arguments": {"actrec.settings"},
    "actrec.config": {"actrec.settings"},
    "actrec.recipes": {"actrec.config", "actrec.settings"},
    "actrec.known_nets": {"actrec.config"},
    "actrec.data": {
        "actrec.arguments",
        "actrec.settings",
        "actrec.files",
        "actrec.config",
        "actrec.registry",
        "actrec.words",
    },
    "actrec.pipelines": {
        "actrec.arguments",
        "actrec.data",
        "actrec.config",
        "actrec.settings",
        "actrec.registry",
        "actrec.files",
        "actrec.words",
    },
    "actrec.augment": {"actrec.pipelines"},
    "actrec.nets": {
        "actrec.arguments",
        "actrec.config",
        "actrec.settings",
        "actrec.registry",
        "actrec.files",
        "actrec.known_nets",
    },
    "actrec.engine": {
        "actrec.arguments",
        "actrec.pipelines",
        "actrec.nets",
        "actrec.data",
        "actrec.config",
        "actrec.registry",
        "actrec.files",
        "actrec.words",
    },
    "actrec.inference": {
        "actrec.arguments",
        "actrec.engine",
        "actrec.pipelines",
        "actrec.nets",
        "actrec.data",
        "actrec.config",
        "actrec.settings",
        "actrec.registry",
        "actrec.files",
        "actrec.words",
        "actrec.figures",
    },
    "actrec.report": {
        "actrec.files",
        "actrec.figures",
        "actrec.data",
        "actrec.registry",
        "actrec.config",
        "actrec.settings",
        "actrec.words",
        "actrec.engine.runlog",
        "actrec.engine.classes",  # numpy only
        "actrec.engine.metrics",  # numpy only
        "actrec.engine.result",  # numpy only
        "actrec.known_nets",  # a stored table; loads no torch
        "actrec.pipelines.augment",  # the options of augmentations; loads no torch
    },
    "actrec.tools": {"actrec.data", "actrec.files", "actrec.config", "actrec.registry", "actrec.words"},
    "actrec.cli": {"actrec"},
}
FOR_ALL = {"actrec.system", "actrec.opening", "actrec.leftovers"}  # what is below `files`
# outside packages that only some modules may import
ONLY_IN = {
    "av": {"actrec.data.video"},
    "nvidia": {"actrec.pipelines.dali", "actrec.pipelines.augment"},
    "torch": {
        "actrec.nets",
        "actrec.engine",
        "actrec.inference",
        "actrec.pipelines",
    },
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for package, folder in {"actrec": "actrec", **PLACES}.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [p for p in path.relative_to(ROOT / folder).with_suffix("").parts if p != "__init__"]
            found.append((".".join([package, *parts]), path))
    return found


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_of(name, path):
    home = next((part for part in MAY_IMPORT if _within(name, part)), None)
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in ONLY_IN:
            assert any(_within(name, place) for place in ONLY_IN[top]), f"{name} may not import {imported}"
        if top == "actrec" and home is not None and imported not in ("actrec", "actrec.__version__"):
            allowed = {home, *FOR_ALL, *MAY_IMPORT[home]}
            assert any(_within(imported, part) for part in allowed), f"{name} may not import {imported}"


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def test_every_module_has_a_place_in_the_table():
    for name, _ in modules():
        assert name in ("actrec", "actrec.__main__") or any(_within(name, part) for part in MAY_IMPORT), name


def test_help_and_import_load_neither_torch_nor_dali():
    code = (
        "import sys, actrec, actrec.cli.main as m\n"
        "try: m.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'torch nvidia.dali cv2 av fsspec aiohttp asyncio ssl urllib.request tarfile'.split()\n"
        "print([x for x in heavy if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().splitlines()[-1] == "[]"


def test_public_names_exist():
    for name in set(actrec.__all__) - {"__version__"}:
        home = actrec._PUBLIC[name]
        found = getattr(actrec, name)
        if isinstance(found, ModuleType):
            assert found.__name__ == f"{home}.{name}"
        else:
            assert found is getattr(importlib.import_module(home), name)
            assert found.__name__ == name
            assert found.__module__.startswith(home)
    with pytest.raises(AttributeError, match="no attribute 'trian_loader'"):
        actrec.trian_loader  # noqa: B018


def test_type_checkers_see_the_public_names():
    tree = ast.parse((ROOT / "actrec/__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.asname: node.module for node in checked.body for alias in node.names}
    assert seen == actrec._PUBLIC
