"""Find the newest TorchCodec that loads beside the installed torch.

A version of TorchCodec is built for one version of torch, and some are built for CUDA only, so the newest release often
does not load. The environment of Python is not changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

_DECODE = "import sys; from torchcodec.decoders import VideoDecoder; print(VideoDecoder(sys.argv[1])[0].shape)"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def why_not(video: Path, folder: Path | None = None) -> str | None:
    """Why TorchCodec does not decode a video here, in one line; None if it does.

    Args:
        folder: has the TorchCodec to try. Default: the installed one.
    """
    paths = [str(folder)] if folder else []
    paths += [path for path in (os.environ.get("PYTHONPATH"),) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", _DECODE, str(video)], capture_output=True, text=True, env=environment, check=False
    )
    return None if done.returncode == 0 else reason_of(done.stderr, done.returncode)


def reason_of(stderr: str, status: int) -> str:
    """The line of a failed process that says most: a library that is missing, or the last error."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    missing = [line for line in errors if "undefined symbol" in line or "cannot open shared object" in line]
    return (missing or errors or lines or [f"the process ended with status {status}"])[-1][:200]


def available() -> list[str]:
    """The versions on the package index, newest first."""
    told = _run([*_PIP, "index", "versions", "torchcodec"])
    found = re.search(r"^Available versions: (.+)$", told, re.MULTILINE)
    if not found:
        raise click.ClickException("pip finds no version of torchcodec")
    return found[1].split(", ")


def attempts(versions: Sequence[str], folder: Path, video: Path) -> Iterator[tuple[str, str | None]]:
    """Installs one version after the other into `folder`, without dependencies, and tries it in a process of its own.

    Yields:
        (version, why it does not decode the video; None if it does).
    """
    for version in versions:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _run([*_PIP, "install", "--quiet", "--no-deps", "--target", str(folder), f"torchcodec=={version}"])
        except click.ClickException as error:
            yield version, error.message
            continue
        yield version, why_not(video, folder)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise click.ClickException(f"pip {command[len(_PIP)]}: {lines[-1]}")
    return done.stdout
