"""Compare the loaders' clips per second with other libraries and with the decoder alone, in one run.

    python benchmarks/loader.py VIDEO... [--slow VIDEO...] [--out docs/numbers]          on the CPU
    python benchmarks/loader.py VIDEO... --device cuda                                    on a GPU

Every contestant makes the same clips (same frames, same boxes): cropped, resized, normalized, in batches of float32,
with as many threads or processes as there are cores. Each library runs with the best of its settings, found in a trial
turn. The contestants take turns. Times are medians, and ratios are medians of the ratios within a turn.

Peers are optional: `pip install torchcodec==0.13.0 decord==0.6.0 pillow matplotlib`. Missing ones are left out.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

import actrec
from actrec.config import ExtractOptions, Input
from actrec.data.index import Index, build_index
from actrec.data.sampling.plan import plan_eval
from actrec.data.video.certificate import Certificate
from actrec.data.video.read import read_frames
from actrec.pipelines.loader import Loader
from actrec.tools.make.extract_frames import extract_video

sys.path.insert(0, str(Path(__file__).parent))
import loader_peers as peers

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Turn = Callable[[], int]


@dataclass
class Contest:
    """Contestants that make the same clips.

    Args:
        name: what they make.
        unit: what is counted.
        settings: for each contestant, the ways to run it; the fastest in a trial is kept.
        of: the contestants that have a target: (contestant, ratio of actrec to it).
    """

    name: str
    unit: str
    settings: dict[str, dict[str, Turn]]
    targets: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, str] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)

    def run(self, turns: int) -> None:
        for contestant, ways in self.settings.items():
            trials = {}
            for way, turn in ways.items():
                _rate(turn)  # warm: processes, certificates, page cache
                trials[way] = _rate(turn)
                click.echo(f"  trial  {contestant:<22} {way:<34} {trials[way]:8.2f} {self.unit}/s")
            self.chosen[contestant] = max(trials, key=trials.get)
        self.rates = {contestant: [] for contestant in self.settings}
        for _ in range(turns):
            for contestant, ways in self.settings.items():
                self.rates[contestant].append(_rate(ways[self.chosen[contestant]]))
        self.settings = {}  # processes of the peers end

    def ratio(self, contestant: str) -> float:
        return statistics.median(a / b for a, b in zip(self.rates["actrec"], self.rates[contestant]))

    def markdown(self) -> str:
        lines = [
            f"### {self.name}",
            "",
            f"| contestant | setting | {self.unit}/s (median) | {self.unit}/s (lowest - highest) "
            "| **speed of actrec relative to it** |",
            "|---|---|---|---|---|",
        ]
        for contestant, found in self.rates.items():
            lines.append(
                f"| {contestant} | {self.chosen[contestant]} | {statistics.median(found):.2f} | "
                f"{min(found):.2f} - {max(found):.2f} | {self.ratio(contestant):.2f} |"
            )
        lines.append("")
        others = [c for c in self.rates if c not in ("actrec", "floor")]
        if others:
            best = min(others, key=self.ratio)
            lines.append(f"Relative to the fastest peer ({best}): **{self.ratio(best):.2f}**{self._target('fastest')}.")
        for contestant in ("floor", *(c for c in others if c in self.targets)):
            if contestant in self.rates:
                lines.append(f"Relative to {contestant}: **{self.ratio(contestant):.2f}**{self._target(contestant)}.")
        return "\n".join(lines)

    def _target(self, contestant: str) -> str:
        return f" (target {self.targets[contestant]})" if contestant in self.targets else ""


def _rate(turn: Turn) -> float:
    begun = time.perf_counter()
    count = turn()
    return count / (time.perf_counter() - begun)


@click.command(help=__doc__)
@click.argument("paths", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--slow", multiple=True, type=click.Path(path_type=Path, exists=True), help="Videos for a row of their own."
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--clips", default=160, show_default=True, help="Of a turn.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--workers", default=len(os.sched_getaffinity(0)), show_default=True)
@click.option("--turns", default=5, show_default=True)
@click.option("--only", multiple=True, help="Only contests whose name contains this.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for loader_<hardware>_<yyyymm>.md and a plot.")
def main(paths, slow, device, clips, batch_size, workers, turns, only, out) -> None:
    peers.one_thread()
    if device == "cuda":
        import loader_gpu

        loader_gpu.main(paths, batch_size=batch_size, workers=workers, turns=turns, out=out)
        return
    with tempfile.TemporaryDirectory() as work:
        makers = {
            "8 uniform frames": lambda: _train(paths, actrec.Clip(frames=8), clips, batch_size, workers, 1.4, 0.85),
            "32 frames, stride 2": lambda: _train(
                paths, actrec.Clip(frames=32, stride=2, sampling="dense"), clips, batch_size, workers, 1.5, 0.72
            ),
            "evaluation, 10 clips x 3 crops of 8 frames": lambda: _evaluation(paths, 2 * len(paths), workers),
            "JPEG folders, 8 uniform frames": lambda: _folders(paths, Path(work), 4 * clips, batch_size, workers),
            "8 uniform frames of packed MPEG-4": lambda: (
                slow and _train(slow, actrec.Clip(frames=8), clips, batch_size, workers)
            ),
        }
        contests = []
        for name, make in makers.items():
            if (only and not any(part in name for part in only)) or (name.endswith("MPEG-4") and not slow):
                continue
            click.echo(name)
            contest = make()
            contest.name = name
            contest.run(turns)
            click.echo(contest.markdown() + "\n")
            contests.append(contest)
    if out:
        _write(out, contests, workers)


def _videos(paths: Sequence[Path], count: int) -> list[actrec.Video]:
    """A list of `count` rows that repeats these files, each time with a different spelling of the path.

    Rows of one path in a batch would be decoded together, but real lists have one file per row.
    """
    videos = []
    for i in range(count):
        path = paths[i % len(paths)]
        spelled = f"{path.parent}/{'./' * (i // len(paths))}{path.name}"
        videos.append(actrec.Video(str(i), spelled, None, None, (0,)))
    return videos


def _input(frames: int) -> Input:
    return Input(MEAN, STD, frames, SIZE)


def _ours(loader: Loader) -> Turn:
    def turn() -> int:
        loader.load_state_dict({"epoch": 1, "step": 0})  # the same plans in every turn
        return sum(len(batch) for batch in loader)

    return turn


def _peers(jobs: list[peers.Job], batch_size: int, workers: int, ways: dict[str, Sequence[str]]) -> dict:
    """The settings of each library: each way to decode, in threads and in processes."""
    settings: dict[str, dict[str, Turn]] = {}
    for library, names in ways.items():
        if library in ("torchcodec", "decord") and not _installed(library):
            continue
        for name in names:
            make = peers.Maker(name, MEAN, STD)
            settings.setdefault(library, {})
            settings[library][f"{name}, {workers} threads"] = peers.by_threads(make, jobs, batch_size, workers)
            settings[library][f"{name}, DataLoader, {workers} processes"] = peers.by_processes(
                make, jobs, batch_size, workers
            )
    return settings


LIBRARIES = {
    "torchcodec": ("TorchCodec exact", "TorchCodec approximate"),
    "decord": ("decord",),
    "PyAV": ("plain PyAV",),
    "OpenCV": ("OpenCV",),
}


def _certify(index: Index, videos: Sequence[actrec.Video]) -> dict[str, Certificate | None]:
    found = {}
    for video in videos:
        file = os.path.normpath(video.path)
        if file not in found:
            found[file] = read_frames(file, [0], lambda i, rgb: None, certify=True).certificate
        index.certificates[video.path] = found[file]
    return dict(index.certificates)


def _train(paths, clip, count, batch_size, workers, fastest=None, of_floor=None) -> Contest:
    videos = _videos(paths, count)
    index = build_index(videos)
    certificates = _certify(index, videos)
    loader = actrec.train_loader(
        videos, clip, _input(clip.frames), batch_size=batch_size, index=index, workers=workers, channels_last=True
    )
    jobs = []
    for row, video in enumerate(videos):
        plan = loader.plan(1, row)
        jobs.append(peers.Job(video.path, plan.frames, [plan.box], SIZE, plan.flip))
    settings = {"actrec": {f"{workers} workers": _ours(loader)}}
    settings["floor"] = {f"libavcodec alone, {workers} threads": _floor(jobs, certificates, workers)}
    settings |= _peers(jobs, batch_size, workers, LIBRARIES)
    targets = {"fastest": fastest, "floor": of_floor} if fastest else {}
    return Contest("", "clips", settings, targets)


def _evaluation(paths, count, workers) -> Contest:
    """All views of a video, compared with loaders that decode once per clip and take its crops from that."""
    videos = _videos(paths, count)
    clip, views = actrec.Clip(frames=8), actrec.Views(clips=10, crops=3)
    index = build_index(videos)
    _certify(index, videos)
    loader = actrec.eval_loader(
        videos, clip, _input(8), views=views, batch_size=1, index=index, workers=workers, channels_last=True
    )
    jobs = []
    for row, video in enumerate(videos):
        found = index[row]
        plan = plan_eval(
            num_frames=found.frames, width=found.width, height=found.height, clip=clip, size=SIZE, views=views
        )
        boxes = [(x, y, SIZE, SIZE) for x, y in plan.offsets.tolist()]
        jobs += [peers.Job(video.path, frames, boxes, SIZE, resize=plan.resize) for frames in plan.frames]
    settings = _peers(jobs, views.clips, workers, LIBRARIES)
    per_video = {
        library: {way: lambda turn=turn: turn() // views.clips for way, turn in ways.items()}
        for library, ways in settings.items()
    }
    return Contest("", "videos", {"actrec": {f"{workers} workers": _ours(loader)}, **per_video}, {"fastest": 3})


def _folders(paths, work: Path, count, batch_size, workers) -> Contest:
    """Short side 256."""
    folders = []
    for path in paths:
        folder = work / path.stem
        extract_video(path, folder, ExtractOptions(short_side=256))
        folders.append(folder)
    videos = _videos(folders, count)
    clip = actrec.Clip(frames=8)
    index = build_index(videos)
    loader = actrec.train_loader(
        videos, clip, _input(8), batch_size=batch_size, index=index, workers=workers, channels_last=True
    )
    jobs = []
    for row, video in enumerate(videos):
        found = index[row]
        plan = loader.plan(1, row)
        template = os.path.join(video.path, found.template.replace("%", "%%").replace("{:05d}", "%05d"))
        jobs.append(peers.Job(template, plan.frames + found.start, [plan.box], SIZE, plan.flip))
    ways = {"OpenCV": ("OpenCV folder",)} | ({"reference": ("reference (PIL)",)} if _installed("pillow") else {})
    settings = {"actrec": {f"{workers} workers": _ours(loader)}, **_peers(jobs, batch_size, workers, ways)}
    if "reference" in settings:  # which does not support threads
        settings["reference"] = {way: turn for way, turn in settings["reference"].items() if "DataLoader" in way}
    return Contest("", "clips", settings, {"reference": 3, "OpenCV": 1.2})


def _floor(jobs: list[peers.Job], certificates: dict, workers: int) -> Turn:
    from concurrent.futures import ThreadPoolExecutor

    mine = threading.local()
    pool = ThreadPoolExecutor(workers)

    def decode(job: peers.Job) -> int:
        floors = mine.__dict__.setdefault("floors", {})
        if job.path not in floors:
            floors[job.path] = peers.Floor(job.path, certificates[job.path])
        return floors[job.path](job.frames)

    def turn() -> int:
        list(pool.map(decode, jobs))
        return len(jobs)

    return turn


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _hardware() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "cpu")
    return f"{model.split()[1] if len(model.split()) > 1 else model}-{os.cpu_count()}core".lower()


def versions() -> str:
    names = ["torch", "nvidia-dali-cuda130", "av", "opencv-python-headless", "numpy", "torchcodec", "decord", "pillow"]
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names if _installed(name))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{datetime.date.today()}, Python {platform.python_version()}, {found}; commit {commit.stdout.strip()}."


def _write(out: Path, contests: list[Contest], workers: int) -> None:
    name = f"loader_{_hardware()}_{datetime.date.today():%Y%m}"
    text = f"# Loader throughput, {os.cpu_count()} CPU cores\n\n{versions()}\n\n    {_command()}\n\n"
    plot = _plot(out / f"{name}.png", contests)
    text += f"![Clips per second of each contestant]({name}.png)\n\n" if plot else ""
    text += "\n\n".join(contest.markdown() for contest in contests) + "\n"
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    click.echo(f"{out / name}.md")


def _command() -> str:
    return "python benchmarks/loader.py " + " ".join(
        os.path.join("…", os.path.basename(word)) if os.path.sep in word else word for word in sys.argv[1:]
    )


def _plot(path: Path, contests: list[Contest]) -> bool:
    if not _installed("matplotlib"):
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(contests), figsize=(4 * len(contests), 3.6), squeeze=False)
    for axis, contest in zip(axes[0], contests):
        names = list(contest.rates)
        axis.barh(names, [statistics.median(contest.rates[n]) for n in names],
                  color=["tab:green" if n == "actrec" else "tab:gray" for n in names])  # fmt: skip
        axis.invert_yaxis()
        axis.set_title(contest.name, fontsize=9)
        axis.set_xlabel(f"{contest.unit}/s")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    return True


if __name__ == "__main__":
    main()
