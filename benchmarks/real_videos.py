"""Run every preprocessing command on a folder of real videos, including odd ones, and report what fails and why.

    python benchmarks/real_videos.py ../shared/videos --out docs/numbers

Writes real_videos_<hardware>_<yyyymm>.md. The folder is not changed; all output goes to a temporary folder.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import actrec

ENDINGS = (".txt", ".csv", ".json", ".md", ".jpg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/numbers"))
    parser.add_argument("--hardware", default=f"{platform.machine()}-{os.cpu_count()}core")
    args = parser.parse_args()
    src = args.videos.resolve()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        index = work / "all.txt"
        files = sorted(p for p in src.rglob("*") if p.is_file() and p.suffix.lower() not in ENDINGS)
        names = [os.fsencode(p) for p in files]
        good = [name for name in names if b"\n" not in name and _is_text(name)]
        index.write_bytes(b"".join(name + b"\n" for name in good))
        rows = [
            _run(src, "extract-frames", [src, work / "frames"], work / "frames" / "failed.csv"),
            _run(src, "prepare", [src, work / "prepared"], work / "prepared" / "failed.csv"),
            _run(src, "index", [index], None),
            _run(src, "index --verify", [index], work / "all.txt.quarantine.csv"),
            _run(src, "extract-flow", [index, "--preset", "ultrafast"], work / "failed_flow.csv"),
        ]
    date = datetime.date.today()
    path = args.out / f"real_videos_{args.hardware}_{date:%Y%m}.md"
    path.write_text(_document(date, len(files), len(good), rows), encoding="utf-8")
    print(path)


def _run(src: Path, command: str, arguments: list, failed: Path | None) -> tuple[str, int, float, str, Counter[str]]:
    """(command, exit code, seconds, what it counts, how often each reason occurs)."""
    line = [sys.executable, "-m", "actrec", *command.split(), *map(str, arguments)]
    print("$ actrec", *line[3:], flush=True)
    began = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, errors="replace")
    seconds = time.perf_counter() - began
    if "Traceback" in done.stderr:
        sys.exit(done.stderr)
    reasons: Counter[str] = Counter()
    if failed is not None and failed.exists():
        with open(failed, newline="", encoding="utf-8") as file:
            reasons.update(_kind(reason) for _, reason in list(csv.reader(file))[1:])
    else:  # one line of stderr for each failure: path: reason
        reasons.update(
            _kind(text.rsplit(": ", 1)[-1]) for text in done.stderr.splitlines() if text.startswith(str(src))
        )
    last = next(text for text in reversed(done.stdout.splitlines()) if " videos" in text)
    return command, done.returncode, seconds, last, reasons


def _kind(reason: str) -> str:
    return re.sub(r"\d+", "N", reason)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _document(date: datetime.date, num_files: int, num_good: int, rows: list) -> str:
    commit = subprocess.run(
        ["git", "-C", str(Path(actrec.__file__).parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    lines = [
        "# Every preprocessing command over real and odd videos",
        "",
        "Every preprocessing command runs on a folder of real videos, which includes damaged and unusual",
        "files. The result shows whether each command finishes and names every file that it cannot use.",
        "",
        f"{date}, Python {platform.python_version()}, {os.cpu_count()} cores; commit {commit}.",
        "",
        "    python benchmarks/real_videos.py ../shared/videos --out docs/numbers",
        "",
        f"The folder contains {num_files} files that are neither text nor images. {num_good} of them have a name",
        "that a list can contain (UTF-8, without a line break). In the reasons, N stands for any number.",
        "Exit code 1 means that some videos failed; the command names each of them with its reason.",
        "",
        "| command | exit code | seconds | videos that failed | last line of the output |",
        "|---|---|---|---|---|",
    ]
    for command, code, seconds, last, reasons in rows:
        last = re.sub(r"/\S*/", "…/", last)
        lines.append(f"| `{command}` | {code} | {seconds:.0f} | {sum(reasons.values())} | {last} |")
    for command, _, _, _, reasons in rows:
        if reasons:
            lines += ["", f"Failures of `{command}`:", "", "| number of files | reason |", "|---|---|"]
            lines += [f"| {count} | {reason.replace('|', '/')} |" for reason, count in reasons.most_common()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
