"""Measure memory, open files and the start of training with long lists.

    python benchmarks/loader_memory.py VIDEO...

The benchmark measures the resident memory after 2 and after 50 epochs and the file descriptors after 10,000 files. For
lists of 100 and of 1,000,000 rows, with and without an index, it measures the seconds from the start of Python to the
first batch and the peak memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

import actrec
from actrec.config import ExtractOptions, Input
from actrec.data.index import build_index, cache_path
from actrec.data.index.probe import checksum, key_of
from actrec.data.video.encode import VideoWriter
from actrec.tools.make.extract_frames import extract_video

HALF = (0.5, 0.5, 0.5)
START = """
import sys, time
import actrec
from pathlib import Path
from actrec.config import ExtractOptions, Input
from actrec.data.index import build_index, cache_path
path = Path(sys.argv[1])
videos = actrec.read_list(path)
index = build_index(videos, cache=cache_path(path))
net_input = Input((0.5,) * 3, (0.5,) * 3, 8, 112)
loader = actrec.train_loader(videos, actrec.Clip(), net_input, batch_size=16, index=index)
assert len(next(iter(loader))) == 16
began = float(sys.argv[2])
seconds = time.time() - began
most = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(seconds, int(most.split()[1]) / 1024)
"""


@click.command(help=__doc__)
@click.argument("paths", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--epochs", default=50, show_default=True)
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--files", default=10_000, show_default=True)
def main(paths, epochs, rows, files) -> None:
    with tempfile.TemporaryDirectory() as work:
        for line in measure(list(paths), Path(work), epochs, rows, files):
            click.echo(line)


def measure(paths: list[Path], work: Path, epochs: int = 50, rows: int = 1_000_000, files: int = 10_000):
    """Lines of Markdown."""
    yield (
        "| clips of 8 frames, 224x224 | memory (RSS) after 2 epochs | memory (RSS) after 50 epochs "
        "| **ratio** (target 1.05) |"
    )
    yield "|---|---|---|---|"
    folders = [work / path.stem for path in paths]
    for path, folder in zip(paths, folders):
        extract_video(path, folder, ExtractOptions(short_side=256))
    for name, found, count in (("H.264 files", paths, 40), ("JPEG folders", folders, 160)):
        two, last = _epochs(found, count, epochs)
        yield f"| {name}, {count} videos | {two:.0f} MiB | {last:.0f} MiB | **{last / two:.3f}** |"
    yield ""
    many = _many(work / "many", files)
    before = len(os.listdir("/proc/self/fd"))
    loader = actrec.train_loader(many, actrec.Clip(frames=2), Input(HALF, HALF, 2, 32), batch_size=16)
    delivered = sum(len(batch) for batch in loader)
    after = len(os.listdir("/proc/self/fd"))
    yield f"File descriptors open before and after {delivered:,} files: {before} and {after}."
    yield ""
    yield "| rows of the list | index | seconds to the first batch | peak memory |"
    yield "|---|---|---|---|"
    tree = work / "tree"
    for count in (100, rows):
        listed = _list(tree, many, count)
        for name in ("present", "absent"):
            cache_path(listed).unlink(missing_ok=True)
            if name == "present":
                _index(listed)
            seconds, most = _start(listed)
            yield f"| {count:,} | {name} | {seconds:.1f} | {most:.0f} MiB |"


def _rss() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _epochs(paths: list[Path], count: int, epochs: int) -> tuple[float, float]:
    videos = [actrec.Video(str(i), str(paths[i % len(paths)]), None, None, (0,)) for i in range(count)]
    loader = actrec.train_loader(videos, actrec.Clip(), Input(HALF, HALF, 8, 224), batch_size=8, channels_last=True)
    two = 0.0
    for epoch in range(epochs):
        for _ in loader:
            pass
        if epoch == 1:
            two = _rss()
    return two, _rss()


def _many(folder: Path, count: int) -> list[actrec.Video]:
    """Copies of one small video."""
    folder.mkdir()
    with VideoWriter(folder / "0.mp4", width=64, height=48, rate=25) as video:
        for value in range(12):
            video.write(np.full((48, 64, 3), 20 * value, np.uint8))
    for i in range(1, count):
        shutil.copy(folder / "0.mp4", folder / f"{i}.mp4")
    return [actrec.Video(str(i), str(folder / f"{i}.mp4"), None, None, (0,)) for i in range(count)]


def _list(tree: Path, many: list[actrec.Video], count: int) -> Path:
    """A list of `count` different paths, all of which lead to the same folder."""
    tree.mkdir(exist_ok=True)
    files = [os.path.basename(video.path) for video in many[: min(1000, len(many))]]
    path = tree / f"list_{count}.txt"
    with open(path, "w", encoding="utf-8") as out:
        for i in range(count):
            link = tree / f"names_of_a_class_{i // len(files):04d}"
            if i % len(files) == 0 and not link.exists():
                link.symlink_to(os.path.dirname(many[0].path))
            out.write(f"{link.name}/{files[i % len(files)]} {i % 400}\n")
    return path


def _index(listed: Path) -> None:
    """Write the index that `actrec index` would write; one probe is enough because all files are equal."""
    videos = actrec.read_list(listed)
    index = build_index(videos, cache=cache_path(listed), lazy=True)
    index[0]
    record = index._records[0]
    for file, video in enumerate(videos):
        name = index.name(video.path)
        record["name"], record["key"] = checksum(name), key_of(video.path, name)
        index._records[file] = record
    index.save()


def _start(listed: Path) -> tuple[float, float]:
    import time

    command = [sys.executable, "-c", START, str(listed), str(time.time())]
    seconds, most = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(most)


if __name__ == "__main__":
    main()
