"""What the pages of docs/numbers/ that benchmarks write have in common: their names, the hardware, the versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def hardware() -> str:
    """Short name of the processor and its cores, such as epyc-2core."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "cpu")
    return f"{model.split()[1] if len(model.split()) > 1 else model}-{os.cpu_count()}core".lower()


def page(folder: Path, subject: str) -> Path:
    """Where the page of a benchmark is written."""
    return folder / f"{subject}_{hardware()}_{datetime.date.today():%Y%m}.md"


def is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def versions(packages: Sequence[str]) -> str:
    """Date, versions of Python and of those packages that are installed, and the commit, in one sentence."""
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages if is_installed(name))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{datetime.date.today()}, Python {platform.python_version()}, {found}; commit {commit.stdout.strip()}."


def command() -> str:
    """The command line of this process, without the folders of its files."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    shown = [os.path.join("…", os.path.basename(word)) if os.path.sep in word else word for word in words[1:]]
    return " ".join([f"python benchmarks/{words[0]}", *shown])
