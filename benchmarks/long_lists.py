"""Measure how the start, the steps and the memory of a training depend on the length of its list.

    python benchmarks/long_lists.py --out docs/numbers/long_lists_<hardware>_<yyyymm>

All paths of a list are different: they are symbolic links to copies of one small video. The index and the cache of the
rows exist, unless the table says otherwise. The lists take turns, each turn in a new process. Times are medians, and
ratios are medians of the ratios within a turn. Needs 4 GB of free disk and 4 GB of memory for ten million rows.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from loader_memory import _many

import actrec
from actrec.data.index import LAZY, cache_path
from actrec.data.index.cache import seals
from actrec.data.index.probe import checksum, key_of, probe_path
from actrec.data.index.records import BLOCK
from actrec.data.lists.cache import rows_path
from actrec.data.sampling.order import EpochDraws

BATCH, STEPS, SEED = 16, 120, 0
Found = dict[str, list[float]]  # the values of each turn
MEASURE = """
import json, statistics, sys, time
began = float(sys.argv[2])
from pathlib import Path
import torch
import actrec
from actrec.config import Input
from actrec.data.index import build_index, cache_path

def memory(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) / 1024

def timed(function):
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin

half, path = (0.5,) * 3, Path(sys.argv[1])
small = [actrec.Video.of(sys.argv[3])] * 16
for _ in actrec.train_loader(small, actrec.Clip(), Input(half, half, 8, 112)):
    pass
own, ready = memory("VmRSS"), time.time()
videos = actrec.read_list(path, cache=True)
index = build_index(videos, cache=cache_path(path), lazy=True)
net_input = Input(half, half, 8, 112)
loader = actrec.train_loader(videos, actrec.Clip(), net_input, batch_size=16, index=index, workers=1)
batches = iter(loader)
assert len(next(batches)) == 16
first = time.time() - ready
steps, plans, draws = [], [], []
cpu = time.process_time()
for step in range(60):
    steps.append(timed(lambda: next(batches)))
cpu = (time.process_time() - cpu) / 60
for step in range(70, 110):
    draws.append(timed(lambda: loader.task.draws(0, step)))
    rows = loader.task.draws(0, step).tolist()
    plans.append(timed(lambda: [loader.plan(0, row, repeat) for row, repeat in rows]))
save = statistics.median(timed(loader.state_dict) for _ in range(9))
peak = memory("VmHWM")
begin = [timed(lambda: loader.task.draws(epoch, 0)) for epoch in (1, 2, 3)]
for row in rows:  # what an epoch finds out
    index.set_certificate(row[0], None)
loader.add_unusable({row: "broken" for row in range(0, len(videos), max(1, len(videos) // 100))})
batches.close()
end = timed(lambda: (index.save(), len(loader)))
assert index.why_unsaved is None
print(json.dumps(dict(
    start=ready - began + first, list=first, own=own, memory=peak - own, peak=memory("VmHWM") - own,
    step=statistics.median(steps), cpu=cpu, plan=statistics.median(plans), draws=statistics.median(draws), save=save,
    epoch=statistics.median(begin), end=end,
)))
"""


@click.command(help=__doc__)
@click.option("--rows", default="10000,1000000,10000000", show_default=True, help="Lengths of the lists.")
@click.option("--out", type=click.Path(path_type=Path), help="Write OUT.md and OUT.png.")
@click.option("--work", type=click.Path(path_type=Path), help="Folder for the lists; removed afterwards.")
@click.option("--turns", default=5, show_default=True)
def main(rows: str, out: Path | None, work: Path | None, turns: int) -> None:
    found: dict[int, Found] = {}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        for count in map(int, rows.split(",")):
            found[count] = prepare(Path(folder), count)
        for _ in range(turns):
            for count, one in found.items():
                for key, value in _start(_list(Path(folder), count), Path(folder)).items():
                    one.setdefault(key, []).append(value)
    lines = list(table(found))
    click.echo("\n".join(lines))
    if out is not None:
        out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        plot(found, out.with_suffix(".png"))


def prepare(folder: Path, count: int) -> Found:
    """Makes a list of this many rows with its index, and measures what can be measured once."""
    many = _many(folder / "many", 1000) if not (folder / "many").exists() else _known(folder / "many")
    listed = _write_list(_list(folder, count), many, count)
    shutil.copy(many[0].path, folder / "0.mp4")
    absent = _start(listed, folder)
    write_index(listed)
    sizes = {path.suffix: path for path in (listed, cache_path(listed), rows_path(listed))}
    return {"absent": [absent["start"]], "train": [_train(listed, folder)]} | {
        suffix: [path.stat().st_size if path.exists() else 0] for suffix, path in sizes.items()
    }


def _list(folder: Path, count: int) -> Path:
    return folder / "tree" / f"list_{count}.txt"


def _write_list(path: Path, many: list[actrec.Video], count: int) -> Path:
    """A list of this many different paths, which lead to the same thousand files."""
    tree = path.parent
    tree.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for begin in range(0, count, len(many)):
            link = tree / f"names_of_a_class_{begin // len(many):05d}"
            if not link.exists():
                link.symlink_to(os.path.dirname(many[0].path))
            numbers = range(min(len(many), count - begin))
            file.writelines(f"{link.name}/{number}.mp4 {number % 200}\n" for number in numbers)
    return path


def _known(folder: Path) -> list[actrec.Video]:
    return [actrec.Video.of(folder / f"{i}.mp4") for i in range(1000)]


def write_index(listed: Path) -> None:
    """Writes what `actrec index` would write. In a long list, only the files that are drawn get a key that is right."""
    videos = actrec.read_list(listed)
    template = np.array([probe_path(videos[0].path, "").record])
    num_drawn = len(videos) if len(videos) <= LAZY else BATCH * STEPS
    drawn = EpochDraws(len(videos), seed=SEED, epoch=0)[:num_drawn][:, 0]
    keys = {row: key_of(videos[row].path, videos[row].id) for row in [0, *drawn.tolist()]}
    header = {"descr": np.lib.format.dtype_to_descr(template.dtype), "fortran_order": False, "shape": (len(videos),)}
    with open(cache_path(listed), "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for begin in range(0, len(videos), BLOCK):
            part = videos[begin : begin + BLOCK]
            block = template.repeat(len(part))
            block["name"] = [checksum(video.id) for video in part]
            for row in range(begin, begin + len(part)):
                if (key := keys.get(row)) is not None:
                    block["key"][row - begin] = key
            block["seal"] = seals(block)
            file.write(block.tobytes())


def _start(listed: Path, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-c", MEASURE, str(listed), str(time.time()), str(folder / "0.mp4")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _train(listed: Path, folder: Path) -> float:
    """Seconds from the start of `actrec train` to the checkpoint after its first step."""
    run = folder / "run"
    command = [sys.executable, "-m", "actrec", "train", "--list", str(listed), "--data", str(folder), "--run", str(run)]
    command += ["--backbone", "tsn_resnet18", "--size", "32", "--frames", "8", "--batch-size", "16"]
    command += ["--checkpoint-every", "1", "--workers", "1"]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (run / "last.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    seconds = time.monotonic() - begin
    if process.poll() is not None:
        raise click.ClickException("actrec train failed")
    os.kill(process.pid, signal.SIGINT)
    process.wait()
    shutil.rmtree(run)
    return seconds


def table(found: dict[int, Found]) -> Iterator[str]:
    """Lines of Markdown."""
    base = found[min(found)]
    yield "| | " + " | ".join(f"{count:,} rows" for count in found) + " |"
    yield "|---|" + "---|" * len(found)

    def row(name: str, key: str, scale: float, unit: str, ratio: bool = False, digits: int = 1) -> str:
        cells = []
        for one in found.values():
            cell = f"{statistics.median(one[key]) * scale:,.{digits}f} {unit}"
            if ratio and one is not base:
                cell += f" ({statistics.median(mine / its for mine, its in zip(one[key], base[key])):.2f}x)"
            cells.append(cell)
        return f"| {name} | " + " | ".join(cells) + " |"

    yield row("from the start of Python to the first batch", "start", 1, "s")
    yield row("of which: the list, its index and the first batch", "list", 1, "s")
    yield row("from the start of `actrec train` to the checkpoint after the first step", "train", 1, "s")
    yield row("to the first batch, without cache and index", "absent", 1, "s")
    yield row("memory of the list, index and order", "memory", 1, "MiB", digits=0)
    yield row("largest memory until the end of an epoch", "peak", 1, "MiB", digits=0)
    yield row("**step**: waiting for a batch of 16", "step", 1e3, "ms", True)
    yield row("CPU time of a step", "cpu", 1e3, "ms", True)
    yield row("planning a batch of 16", "plan", 1e3, "ms", True, 2)
    yield row("drawing the rows of a batch", "draws", 1e6, "us", True)
    yield row("drawing the order of an epoch", "epoch", 1, "s", digits=3)
    yield row("getting the state of the loader for a checkpoint", "save", 1e6, "us")
    yield row("end of an epoch that found 16 certificates and 100 broken rows", "end", 1, "s", digits=3)
    yield row("size of the list", ".txt", 1e-6, "MB")
    yield row("size of its cache of rows", ".rows", 1e-6, "MB")
    yield row("size of its index", ".npy", 1e-6, "MB")
    yield ""
    own = statistics.median(base["own"])
    yield f"Python with torch, PyAV and a loader of 16 videos needs {own:.0f} MiB, which are not counted above."


def plot(found: dict[int, Found], path: Path) -> None:
    """Saves the start and the time per step by the number of rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    counts = list(found)
    for key, name in (("absent", "without cache and index"), ("start", "with both")):
        left.plot(counts, [statistics.median(one[key]) for one in found.values()], "o-", label=name)
    left.axhline(10, color="gray", linestyle=":", label="target")
    left.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds to the first batch")
    for key, name in (("cpu", "CPU time of a step"), ("plan", "plans of a batch")):
        right.plot(counts, [statistics.median(one[key]) * 1e3 for one in found.values()], "o-", label=name)
    right.set(xscale="log", xlabel="rows", ylabel="milliseconds", ylim=(0, None))
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
