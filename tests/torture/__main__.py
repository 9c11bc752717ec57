"""`make torture`: broken files, kills, faults of the system, fuzzing and a soak; then a table of what happened.

    PYTHONPATH=tests python -m torture            # everything, under 15 minutes on two cores
    PYTHONPATH=tests python -m torture --short    # the form that the tests run, about a minute

The exit code is 1 if anything was counted in a column of failure. Each failure is printed as it is found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torture.launch import TESTS, Launcher
from torture.ledger import FAILURES, MEANING, Ledger

KILLS, SHORT_KILLS = 60, 6
EPOCHS, SHORT_EPOCHS = 100, 40


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a part of everything, in about a minute")
    parser.add_argument("--seed", type=int, default=0, help="seed of the instants at which commands are killed")
    parser.add_argument("--log", type=Path, help="a file to which failures are appended as they are found")
    options = parser.parse_args(arguments)
    start, ledger = time.monotonic(), Ledger(options.log)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        torture(Path(folder), ledger, short=options.short, seed=options.seed)
    print("\n".join(["", *ledger.table()]))
    for column in {failure.split(": ")[1] for failure in ledger.failures}:
        print(f"{column}: {MEANING[column]}")
    print(f"{len(ledger.failures)} failures in {ledger.total:,} tries, {time.monotonic() - start:.0f} seconds")
    return 1 if ledger.failures else 0


def torture(folder: Path, ledger: Ledger, *, short: bool, seed: int = 0) -> None:
    """Runs all parts, two at a time."""
    # The launchers fork, so they start before anything here has threads.
    with Launcher() as files, Launcher() as faults, Launcher() as second, ThreadPoolExecutor(2) as pool:
        parts = [
            pool.submit(_files, folder / "files", files, ledger, short),
            pool.submit(_faults, folder / "faults", faults, second, ledger, short, seed),
        ]
        for part in parts:
            part.result()


def _files(folder: Path, launcher: Launcher, ledger: Ledger, short: bool) -> None:
    from torture import media, sweep

    cases = [*media.video_cases(), *media.FOLDERS.values()]
    if short:
        cases = [case for i, case in enumerate(cases) if i % 5 == 0 or case.frames is None]
    sweeper = sweep.Sweeper(folder, cases, ledger)
    for name in sweep.SWEEPS:
        _timed(name, sweeper.sweep, launcher, name, fresh=not short)
    if not short:
        _timed("fuzz", _fuzz, folder, ledger)


def _faults(folder: Path, launcher: Launcher, second: Launcher, ledger: Ledger, short: bool, seed: int) -> None:
    from torture.faults import Faults
    from torture.scenarios import SCENARIOS, write_dataset
    from torture.soak import soak

    folder.mkdir()
    template = write_dataset(folder / "template", launcher)
    names = list(SCENARIOS)
    kills, epochs = (SHORT_KILLS, SHORT_EPOCHS) if short else (KILLS, EPOCHS)
    with Faults(template, folder, launcher, second, ledger, seed) as faults:
        for i, name in enumerate(names):
            count = kills // len(names) + (i < kills % len(names))
            if count:
                _timed(f"kills of {name}", faults.kill, name, count)
        parts: list[Callable[[str], None]] = [
            faults.twice, faults.vanish, faults.full_disk, faults.read_only, faults.limited,
        ]  # fmt: skip
        for i, part in enumerate(parts):
            for name in [name for name in names if name != "train"][i :: len(parts)] if short else names:
                _timed(f"{part.__name__} {name}", part, name)
    _timed("soak", soak, template, folder / "soak", launcher, ledger, epochs)


def _fuzz(folder: Path, ledger: Ledger) -> None:
    """The tests of tests/fuzz, with many more examples than in the ordinary suite."""
    if not (TESTS / "fuzz").is_dir():
        ledger.skip("fuzz: there is no folder tests/fuzz")
        return
    report = folder / "fuzz.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(TESTS / "fuzz"),
        f"--junitxml={report}",
    ]
    ended = subprocess.run(
        command, env=os.environ | {"ACTREC_FUZZ": "long"}, cwd=TESTS.parent, capture_output=True, text=True
    )
    if not report.exists():
        ledger.add("fuzz", "crash", ended.stdout[-300:])
        return
    for test in ElementTree.parse(report).iter("testcase"):
        failed = next((kind for kind in ("failure", "error") if test.find(kind) is not None), None)
        ledger.add("fuzz", "traceback" if failed else "right", f"{test.get('classname')}.{test.get('name')}")


def _timed(what: str, part: Callable[..., None], *arguments: object, **options: object) -> None:
    start = time.monotonic()
    part(*arguments, **options)
    print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    assert set(MEANING) >= set(FAILURES)
    sys.exit(main())
