"""The log of a run: `log.jsonl`, one row per epoch, only ever appended to, and read back without torch."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from actrec.data.files import atomic_write

NAME = "log.jsonl"


def append(run: Path, row: dict[str, Any]) -> None:
    """Adds a row and makes sure that it is on the disk."""
    with open(run / NAME, "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(run: Path, name: str = NAME) -> list[dict[str, Any]]:
    """All whole rows; a row torn by a crash is left out."""
    path = run / name
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def cut(run: Path, epoch: int) -> None:
    """Drops the rows of `epoch` and later: a resumed run writes them anew."""
    rows = [row for row in read(run) if row["epoch"] < epoch]
    with atomic_write(run / NAME) as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
