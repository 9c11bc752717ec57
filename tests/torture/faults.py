"""Interrupts the commands of `scenarios`, and runs them where the system does not give what they need."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from torture.launch import Ended, Launcher
from torture.ledger import Ledger
from torture.scenarios import SCENARIOS, copy, differences, is_one_line, snapshot
from torture.sweep import leftovers

_LIMIT = 60.0
_MADE = ("new/frames", "new/prepared", "flow", "frames")  # results of single videos
_AMPLE = "size=256m"
_DISK = (8, 100, 500)  # KiB that are free
_ADDRESSES = (200, 400, 800)  # MiB of addresses beyond those of a process that has imported everything
_FILE_SIZE = 6000  # bytes of a file at most


class Faults:
    """The faults, on copies of one dataset folder.

    Args:
        template: from `write_dataset`.
        folder: to work in.
        launcher, second: the second one starts the other command of a pair.
    """

    def __init__(self, template: Path, folder: Path, launcher: Launcher, second: Launcher, ledger: Ledger, seed: int):
        self._template, self._folder, self._ledger = template, folder, ledger
        self._launcher, self._second, self._random = launcher, second, random.Random(seed)
        self._references: dict[str, tuple[dict[str, str], float]] = {}
        self._disk = folder / "disk"
        self._here = self._disk / "here"

    def __enter__(self) -> Faults:
        """Mounts a small file system to work in, if this user can."""
        self._disk.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", _AMPLE, "torture", str(self._disk)]
        self._mounted = os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
        if not self._mounted:
            self._ledger.skip("full disk: this user cannot mount a file system; small files are tried instead")
        return self

    def __exit__(self, *_: object) -> None:
        if self._mounted:
            subprocess.run(["umount", "-l", str(self._disk)], check=True)

    def _copy(self) -> Path:
        return copy(self._template, self._here)

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self._disk)], check=True)

    def _reference(self, name: str) -> tuple[dict[str, str], float]:
        """What the command makes if nothing disturbs it, and the seconds that it takes."""
        if name not in self._references:
            here = self._copy()
            ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT)
            assert ended.code == 0, (name, ended.said)
            self._references[name] = snapshot(here), ended.seconds
        return self._references[name]

    def _judge(
        self, section: str, what: str, here: Path, ended: Ended, expected: Mapping[str, str], count: int = 1
    ) -> None:
        """Counts a command that must have given the complete result."""
        disaster = self._ledger.disaster(ended)
        found = differences(snapshot(here), expected)
        left = leftovers(here)
        if disaster or ended.code:
            self._ledger.add(
                section, disaster or "lost work", f"{what}: exit code {ended.code}: {ended.last_line}", count=count
            )
        elif left or ended.orphans:
            self._ledger.add(section, "leftover", f"{what}: {left[:3]}, {ended.orphans} processes", count=count)
        elif found:
            self._ledger.add(section, "lost work", f"{what}: {'; '.join(found[:3])} ({len(found)} files)", count=count)
        else:
            self._ledger.add(section, "right", count=count)

    def _refused(self, section: str, what: str, here: Path, ended: Ended, expected: Mapping[str, str]) -> bool:
        """Counts a command under a fault: right, or refused in one line. Returns whether something was not written.

        A cache that cannot be written is done without, which is said.
        """
        if ended.code == 0 and "cannot be written" in ended.err and not self._ledger.disaster(ended):
            self._ledger.add(section, "named")
            return True
        if ended.code == 0 and not self._ledger.disaster(ended):
            self._judge(section, what, here, ended, expected)
            return False
        before = snapshot(self._template)
        changed = [name for name, digest in snapshot(here).items() if before.get(name, digest) != digest]
        left = leftovers(here)
        if disaster := self._ledger.disaster(ended):
            self._ledger.add(section, disaster, f"{what}: {_end(ended)}")
        elif not is_one_line(ended):
            self._ledger.add(
                section, "traceback", f"{what}: exit code {ended.code}, no error message: {ended.last_line}"
            )
        elif changed:
            self._ledger.add(section, "lost work", f"{what}: changed {changed[:3]}")
        elif left or ended.orphans:
            self._ledger.add(section, "leftover", f"{what}: {left[:3]}, {ended.orphans} processes")
        else:
            self._ledger.add(section, "named")
        return True

    def kill(self, name: str, kills: int) -> None:
        """SIGKILL at random instants, several times in a row; the same command then continues."""
        expected, seconds = self._reference(name)
        here = self._copy()
        done = 0
        for _ in range(4 * kills):
            running = self._launcher.start(SCENARIOS[name].command(here), here, limit=_LIMIT)
            time.sleep(self._random.uniform(0.02, 0.95) * seconds)
            running.kill()
            done += running.end().code < 0
            if done == kills:
                break
        ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT)
        self._judge("kills", f"{name}, {done} kills", here, ended, expected, count=max(done, 1))

    def full_disk(self, name: str) -> None:
        """A small file system fills up. With more space, the same command must give the complete result."""
        expected, _ = self._reference(name)
        for free in _DISK if self._mounted else ():
            here, what = self._copy(), f"{name}, {free} KiB free"
            self._remount(f"size={shutil.disk_usage(here).used // 1024 + free}k")
            ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT)
            is_refused = self._refused("full disk", what, here, ended, expected)
            self._remount(_AMPLE)
            if is_refused:
                self._continue("full disk", what, name, here, expected)

    def read_only(self, name: str) -> None:
        """Nothing can be written."""
        expected, _ = self._reference(name)
        here = self._copy()
        if not self._mounted and os.getuid() == 0:
            self._ledger.skip("read-only: root may write everywhere, and cannot mount a file system here")
            return
        self._protect(here, True)
        ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT)
        self._protect(here, False)
        self._refused("read-only", name, here, ended, expected)

    def _protect(self, here: Path, on: bool) -> None:
        if self._mounted:
            self._remount("ro" if on else "rw")
        else:
            for folder in (here, *(path for path in here.rglob("*") if path.is_dir())):
                folder.chmod(0o555 if on else 0o755)

    def limited(self, name: str) -> None:
        """64 descriptors, little address space, files of limited size; and standard output to a full device."""
        expected, _ = self._reference(name)
        cases = [("64 descriptors", {"RLIMIT_NOFILE": 64}), ("file size", {"RLIMIT_FSIZE": _FILE_SIZE})]
        cases += [("address space", {"RLIMIT_AS": size << 20}) for size in _ADDRESSES]
        for section, limits in cases:
            here = self._copy()
            what = f"{name}, {limits}"
            ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT, limits=limits)
            if self._refused(section, what, here, ended, expected):
                self._continue(section, what, name, here, expected)
        here = self._copy()
        ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT, stdout="/dev/full")
        if ended.code:
            self._refused("full stdout", name, here, ended, expected)
        else:
            self._judge("full stdout", name, here, ended, expected)

    def _continue(self, section: str, what: str, name: str, here: Path, expected: Mapping[str, str]) -> None:
        """The same command, after the fault has been mended."""
        ended = self._launcher.run(SCENARIOS[name].command(here), here, limit=_LIMIT)
        self._judge(section, f"{what}, continued", here, ended, expected)

    def vanish(self, name: str) -> None:
        """Half of the videos and frame folders are removed while the command runs. The others must be done."""
        expected, seconds = self._reference(name)
        here = self._copy()
        running = self._launcher.start(SCENARIOS[name].command(here), here, limit=_LIMIT)
        time.sleep(self._random.uniform(0.1, 0.8) * seconds)
        for path in [*here.glob("videos/*/*[135].mp4"), *here.glob("frames/f[13]")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        ended = running.end()
        kept = [f"{folder}{i}" for folder in ("run", "walk", "/f") for i in "024"]
        made = [name for name in expected if name.startswith(_MADE) and any(video in name for video in kept)]
        found = snapshot(here)
        missing = [name for name in made if name not in found]
        if disaster := self._ledger.disaster(ended):
            self._ledger.add("vanishing", disaster, f"{name}: {ended.last_line}")
        elif missing or ended.code not in (0, 1):
            self._ledger.add("vanishing", "lost work", f"{name}: {len(missing)} files are missing: {ended.last_line}")
        elif left := leftovers(here):
            self._ledger.add("vanishing", "leftover", f"{name}: {left[:3]}")
        else:
            self._ledger.add("vanishing", "named" if ended.code else "right")

    def twice(self, name: str) -> None:
        """Two processes at once. Both may succeed, or one is refused; the result is the one of a single process."""
        expected, _ = self._reference(name)
        here = self._copy()
        first = self._launcher.start(SCENARIOS[name].command(here), here, limit=_LIMIT)
        time.sleep(self._random.choice([0.0, 0.02, 0.2]))
        second = self._second.start(SCENARIOS[name].command(here), here, limit=_LIMIT)
        both = sorted([first.end(), second.end()], key=lambda ended: ended.code != 0)
        if both[1].code == 0 or self._ledger.disaster(both[1]):
            self._judge("two at once", f"{name}, second", here, both[1], expected)
        else:
            self._ledger.add(
                "two at once", "named" if is_one_line(both[1]) else "lost work", f"{name}: {both[1].last_line}"
            )
        self._judge("two at once", f"{name}, first", here, both[0], expected)


def _end(ended: Ended) -> str:
    return f"exit code {ended.code}: {ended.last_line}"
