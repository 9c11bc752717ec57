import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_a_wheel_holds_the_command_line_and_the_tools(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("actrec", "cli", "tools"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", installed, wheel], check=True)
    assert {path.name for path in installed.iterdir() if "info" not in path.name and path.name != "bin"} == {"actrec"}
    code = (
        "import actrec.cli.main, actrec.cli.train, actrec.tools.make.toy, actrec.tools.make.frames\n"
        "from actrec.tools.datasets.table import DATASETS\n"
        "assert all(row.class_file is None or row.class_file.is_file() for row in DATASETS.values())\n"
        "print(actrec.cli.main.__file__)"
    )
    shown = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(installed)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert Path(shown.stdout.strip()).is_relative_to(installed)
