"""The import table of docs/architecture.md: who may know whom. A new import fails until it is written down here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = {"actrec.cli": "cli", "actrec.tools": "tools"}

# package or module: what of actrec it may import besides itself
MAY_IMPORT = {
    "actrec.registry": set(),
    "actrec.config": set(),
    "actrec.data": {"config", "registry"},
    "actrec.pipelines": {"data", "config", "registry"},
    "actrec.nets": {"registry", "config"},
    "actrec.engine": {"pipelines", "nets", "data", "config", "registry"},
    "actrec.report": {"engine", "registry"},
    "actrec.tools": {"data", "config", "registry"},
    "actrec.cli": {"data", "config", "registry", "pipelines", "nets", "engine", "report", "tools"},
}
# outside packages that only some modules may import
ONLY_IN = {
    "av": {"actrec.data.media", "actrec.data.encode"},
    "nvidia": {"actrec.pipelines"},
    "torch": {
        "actrec.nets",
        "actrec.engine",
        "actrec.pipelines.loader",
        "actrec.pipelines.buffers",
        "actrec.pipelines.finish",
        "actrec.pipelines.resize",
        "actrec.pipelines.runner",
        "actrec.pipelines.source",
        "actrec.cli.train",
        "actrec.cli.evaluate",
        "actrec.cli.weights",
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
    home = next((key for key in MAY_IMPORT if name == key or name.startswith(key + ".")), None)
    for imported in imports(path):
        top = imported.split(".")[0]
        if top in ONLY_IN:
            assert any(name == place or name.startswith(place + ".") for place in ONLY_IN[top]), imported
        if top != "actrec" or home is None:
            continue
        part = (imported.split(".") + [""])[1]
        if part and (ROOT / "actrec" / part).exists() or part in ("config", "registry", "cli", "tools"):
            assert f"actrec.{part}" == home or part in MAY_IMPORT[home], f"{name} may not import {imported}"


def test_every_module_has_a_place_in_the_table():
    for name, _ in modules():
        assert name in ("actrec", "actrec.__main__") or any(name.startswith(key) for key in MAY_IMPORT), name


def test_help_and_import_load_neither_torch_nor_dali():
    code = (
        "import sys, actrec, actrec.cli.main as m\n"
        "try: m.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([x for x in ('torch', 'nvidia.dali', 'cv2', 'av') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().splitlines()[-1] == "[]"


def test_public_names_exist():
    import actrec

    for name in actrec.__all__:
        assert getattr(actrec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian_loader'"):
        actrec.trian_loader  # noqa: B018
