"""Packages, console script and dependencies. Settings of tools are in pyproject.toml."""

import os
from pathlib import Path

from setuptools import find_packages, setup

# The DALI wheels for CUDA 12 and 13 install into the same folder, so an extra could not replace one by the other.
# Therefore the CUDA version is chosen when actrec is installed.
CUDA = os.environ.get("ACTREC_CUDA", "13")
DALI = {"12": "nvidia-dali-cuda120", "13": "nvidia-dali-cuda130"}
if CUDA not in DALI:
    raise SystemExit(f"ACTREC_CUDA={CUDA}: expected one of {', '.join(DALI)}")
# NVIDIA publishes wheels for these systems only. Everywhere else the decode workers do all the work.
HAS_DALI = "platform_system == 'Linux' and (platform_machine == 'x86_64' or platform_machine == 'aarch64')"
EXPORT = ["onnx>=1.18", "onnxruntime>=1.22", "onnxscript>=0.6"]
PROBE = ["scikit-learn>=1.6"]
# s3fs and gcsfs are released together with fsspec and need exactly its version.
REMOTE = ["fsspec>=2025.3", "s3fs>=2025.3", "gcsfs>=2025.3", "aiohttp>=3.11"]
TRAINERS = ["lightning>=2.5,<3", "transformers>=5,<6", "accelerate>=1.10,<2"]  # for tests of the examples

setup(
    name="actrec",
    version="0.1.0",
    description="Train, evaluate and use action-recognition models on your own videos",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.15",
    packages=[
        *find_packages(include=["actrec", "actrec.*"]),
        *(f"actrec.{name}" for name in find_packages(include=["cli", "cli.*", "tools", "tools.*"])),
    ],
    package_data={
        "actrec": ["py.typed"],
        "actrec.nets": ["known_nets.json", "mini_benchmark.csv"],
        "actrec.report": ["templates/*", "echarts/*"],
        "actrec.tools.datasets": ["mini_kinetics400.txt", "mini_ssv2.txt"],
    },
    package_dir={"actrec": "actrec", "actrec.cli": "cli", "actrec.tools": "tools"},
    # The lower bounds are what `make oldest` tries. `make newest` tries the newest releases, but not those of DALI: its
    # next major may change what the graphs call.
    install_requires=[
        "torch>=2.11",
        f"{DALI[CUDA]}>=2.4,<3; {HAS_DALI}",
        "av>=18",
        "opencv-python-headless>=4.11.0.86",
        "numpy>=2.0",
        "click>=8.1.8",
        "tqdm>=4.66",
        "tensorboard>=2.18",
        "safetensors>=0.5",
        "matplotlib>=3.9",
        "pillow>=10.1",
        "jinja2>=3.1",
    ],
    extras_require={
        "cluster": ["distributed>=2025.1"],
        "export": EXPORT,
        "probe": PROBE,
        "remote": REMOTE,
        "docs": ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "mkdocstrings[python]>=1.0"],
        "dev": [
            *EXPORT,
            *PROBE,
            *REMOTE,
            *TRAINERS,
            "distributed>=2025.1",
            "hypothesis>=6.130",
            "moto[server]>=5.1",
            "mypy>=2.4",
            "packaging>=24",
            "pytest>=8",
            "pytest-cov>=7",
            "pytest-xdist>=3.8",
            "ruff>=0.9",
            "setuptools>=77",
        ],
    },
    entry_points={"console_scripts": ["actrec=actrec.cli.main:main"]},
)
