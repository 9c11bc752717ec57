"""The wheel: what it contains, what it requires on each system, and that it works without the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder into which the wheel was installed, without its dependencies."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    for name in ("actrec", "cli", "tools"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", work, source], check=True)
    (wheel,) = work.glob("*.whl")
    subprocess.run([*PIP, "install", "--quiet", "--no-deps", "--target", work / "installed", wheel], check=True)
    return work / "installed"


def test_a_wheel_contains_every_module_and_nothing_else(installed):
    assert {path.name for path in installed.iterdir() if "info" not in path.name and path.name != "bin"} == {"actrec"}
    sources = {path.relative_to(ROOT) for path in (ROOT / "actrec").rglob("*.py")} | {
        "actrec" / path.relative_to(ROOT) for name in ("cli", "tools") for path in (ROOT / name).rglob("*.py")
    }
    assert {path.relative_to(installed) for path in (installed / "actrec").rglob("*.py")} == sources


def test_a_wheel_contains_the_mark_of_typed_packages_and_the_table_of_nets(installed):
    assert (installed / "actrec/py.typed").is_file()
    assert (installed / "actrec/nets/known_nets.json").read_bytes() == (
        ROOT / "actrec/nets/known_nets.json"
    ).read_bytes()


def test_type_checkers_see_the_types_of_an_installed_package(installed, tmp_path):
    (tmp_path / "user.py").write_text(
        "import actrec\n"
        "reveal_type(actrec.read_list('train.txt'))\n"
        "reveal_type(actrec.Clip(frames=8).stride)\n"
        "actrec.Clip(frame=8)\n"
        "actrec.trian_loader\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", tmp_path / "cache", "--no-site-packages", "--follow-imports",
         "silent", "--ignore-missing-imports", "user.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(installed)}, capture_output=True, text=True,
    )  # fmt: skip
    assert 'Revealed type is "actrec.data.lists.videos.Videos"' in done.stdout
    assert 'Revealed type is "int"' in done.stdout
    assert 'Unexpected keyword argument "frame" for "Clip"' in done.stdout
    assert 'Module has no attribute "trian_loader"' in done.stdout
    assert "Found 2 errors in 1 file" in done.stdout


def test_a_clone_works_where_it_hides_an_installed_package(installed):
    """As after `pip install .`: no editable install, and Python is started in the root of the clone."""
    for arguments in (
        ["-m", "actrec", "--version"],
        ["-c", "import actrec.cli.train, actrec.tools.make.toy as module"],
    ):
        code = [sys.executable, "-S", *arguments]  # -S: without the .pth files of an editable install
        folders = [folder for folder in sys.path if folder.endswith("site-packages")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *folders])}
        subprocess.run(code, cwd=ROOT, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("folder", ["actrec/report/templates", "actrec/report/echarts"])
def test_a_wheel_contains_what_a_report_is_made_of(installed, folder):
    assert {path.name for path in (installed / folder).iterdir()} == {path.name for path in (ROOT / folder).iterdir()}


def test_an_installed_wheel_finds_its_data_files(installed, tmp_path):
    code = (
        "import actrec.cli.main, actrec.cli.train, actrec.tools.make.toy, actrec.tools.make.extract_frames\n"
        "from actrec.tools.datasets.table import DATASETS\n"
        "assert all(row.class_file is None or row.class_file.is_file() for row in map(DATASETS.get, DATASETS))\n"
        "print(actrec.cli.main.__file__)"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(installed)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert Path(shown.stdout.strip()).is_relative_to(installed)


@pytest.mark.parametrize(
    ("system", "machine", "has_dali"),
    [
        ("Linux", "x86_64", True),
        ("Linux", "aarch64", True),
        ("Linux", "riscv64", False),
        ("Darwin", "arm64", False),
        ("Windows", "AMD64", False),
    ],
)
def test_dali_is_required_only_where_it_has_wheels(installed, system, machine, has_dali):
    (metadata,) = installed.glob("actrec-*.dist-info/METADATA")
    texts = HeaderParser().parsestr(metadata.read_text(encoding="utf-8")).get_all("Requires-Dist")
    environment = {"platform_system": system, "platform_machine": machine, "extra": ""}
    required = {
        requirement.name
        for requirement in map(Requirement, texts)
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }
    assert {"torch", "av", "numpy"} <= required
    assert any(name.startswith("nvidia-dali") for name in required) == has_dali
    assert "pytest" not in required
