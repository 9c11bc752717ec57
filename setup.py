"""Packages, console script and dependencies. Tool settings are in pyproject.toml."""

import os
from pathlib import Path

from setuptools import setup

# Both DALI wheels own the same folder, so an extra cannot swap them: the CUDA version is chosen at install time.
CUDA = os.environ.get("ACTREC_CUDA", "13")
DALI = {"12": "nvidia-dali-cuda120", "13": "nvidia-dali-cuda130"}
if CUDA not in DALI:
    raise SystemExit(f"ACTREC_CUDA={CUDA}: expected one of {', '.join(DALI)}")

setup(
    name="actrec",
    version="0.1.0",
    description="Train, evaluate and use action-recognition models on your own videos",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.15",
    packages=[
        *(
            "actrec" + "".join(f".{part}" for part in path.parts[1:-1])
            for path in sorted(Path("actrec").rglob("__init__.py"))
        ),
        *(
            "actrec." + ".".join(path.parts[:-1])
            for folder in ("cli", "tools")
            for path in sorted(Path(folder).rglob("__init__.py"))
        ),
    ],
    package_data={
        "actrec.nets": ["mini_benchmark.csv"],
        "actrec.tools.datasets": ["mini_kinetics400.txt", "mini_ssv2.txt"],
    },
    package_dir={"actrec": "actrec", "actrec.cli": "cli", "actrec.tools": "tools"},
    install_requires=[
        "torch>=2.11",
        f"{DALI[CUDA]}>=2.4,<3",
        "av>=18",
        "opencv-python-headless>=4.11",
        "numpy>=2.0",
        "click>=8.1.8",
        "tqdm>=4.66",
        "tensorboard>=2.18",
        "safetensors>=0.5",
        "matplotlib>=3.9",
    ],
    extras_require={
        "cluster": ["distributed>=2025.1"],
        "dev": ["pytest>=8", "ruff>=0.9", "build>=1.2", "distributed>=2025.1"],
    },
    entry_points={"console_scripts": ["actrec=actrec.cli.main:main"]},
)
