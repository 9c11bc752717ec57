"""The versions and the hardware of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import actrec


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions and hardware, for `environment.json`."""
    packages = ("torch", "nvidia-dali-cuda130", "nvidia-dali-cuda120", "av", "opencv-python-headless", "numpy")
    return {
        "actrec": actrec.__version__,
        "git": _git_commit(),
        "python": platform.python_version(),
        "packages": {name: found for name in packages if (found := _version(name))},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "precision": precision,
    }


def _git_commit() -> str | None:
    """The commit of the checkout that actrec runs from; None if it is installed otherwise."""
    try:
        shown = subprocess.run(
            ["git", "-C", str(Path(actrec.__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True
        )
    except OSError:
        return None
    return shown.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
