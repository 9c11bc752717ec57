"""How much memory a function needs for a file, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROGRAM = """
import importlib, resource, sys
function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    function(sys.argv[3])
except ValueError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_memory(function: Callable[[str], object], path: Path) -> tuple[str, int]:
    """The ValueError that a function raises, "" if none, and how many KiB the process has grown at most."""
    command = [sys.executable, "-c", PROGRAM, function.__module__, function.__name__, str(path)]
    *said, used = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return "\n".join(said), int(used)
