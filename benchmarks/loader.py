"""Compare the loaders' clips per second with other libraries and with the decoder alone, in one run.

    python benchmarks/loader.py VIDEO... [--slow VIDEO...] [--out docs/numbers]          on the CPU
    python benchmarks/loader.py VIDEO... --device cuda                                    on a GPU

Every contestant makes the same clips (same frames, same boxes): cropped, resized, normalized, in batches of float32,
with as many threads or processes as there are cores. Each library runs with the best of its settings, found in a trial
turn. The contestants take turns. Times are medians, and ratios are medians of the ratios within a turn. The pictures of
each way to decode are compared with those of a plain decode.

In the contests of a first pass ("first epoch", "one pass"), each turn of actrec builds its index and its loader anew,
and nothing that it may have kept of these files is valid any more, because their time of change is new. The time of the
index counts. The bytes of the files are in the page cache for all contestants.

Peers are optional: `pip install torchcodec decord==0.6.0 spdl-io pillow matplotlib`. Missing ones are left out.
TorchCodec and SPDL need the shared libraries of FFmpeg. The newest TorchCodec often does not load beside the installed
torch: pass `--find-torchcodec` to use the newest one that does.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

import actrec
from actrec.config import ExtractOptions, Input
from actrec.data.index import Index, build_index
from actrec.data.sampling.plan import plan_eval
from actrec.data.video.certificate import Certificate
from actrec.pipelines.loader import Loader
from actrec.tools.make.extract_frames import extract_video

sys.path.insert(0, str(Path(__file__).parent))
import loader_peers as peers
import pages
import torchcodec_versions
from contests import Contest, Turn

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNIFORM = actrec.Clip(frames=8)
DENSE = actrec.Clip(frames=32, stride=2, sampling="dense")
LIBRARIES = {
    "torchcodec": ("TorchCodec exact", "TorchCodec approximate"),
    "SPDL": ("SPDL", "SPDL, resized by FFmpeg"),
    "decord": ("decord",),
    "PyAV": ("plain PyAV",),
    "OpenCV": ("OpenCV",),
}
PACKAGE_OF = {"torchcodec": "torchcodec", "SPDL": "spdl-io", "decord": "decord", "reference": "pillow"}
PACKAGES = (
    "torch", "nvidia-dali-cuda130", "av", "opencv-python-headless", "numpy", "torchcodec", "decord", "spdl-io",
    "pillow",
)  # fmt: skip


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
@click.option("--peer", multiple=True, type=click.Choice(list(LIBRARIES)), help="Only these libraries.")
@click.option(
    "--find-torchcodec", is_flag=True, help="Use the newest TorchCodec that loads here, from a temporary folder."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for loader_<hardware>_<yyyymm>.md and a plot.")
def main(paths, slow, device, clips, batch_size, workers, turns, only, peer, find_torchcodec, out) -> None:
    peers.one_thread()
    if device == "cuda":
        import loader_gpu

        loader_gpu.main(paths, batch_size=batch_size, workers=workers, turns=turns, out=out)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        about_torchcodec = _prepare_torchcodec(paths[0], work / "torchcodec", find_torchcodec)
        for name in LIBRARIES.keys() - set(peer or LIBRARIES):
            del LIBRARIES[name]
        sizes = {"batch_size": batch_size, "workers": workers}
        copies = _copies(paths, clips, work / "copies")
        makers = {
            "8 uniform frames": lambda: _train(paths, clips, UNIFORM, {"fastest": 1.4, "floor": 0.95}, **sizes),
            "32 frames, stride 2": lambda: _train(paths, clips, DENSE, {"fastest": 1.5, "floor": 0.85}, **sizes),
            "first epoch, 8 uniform frames": lambda: _first_epoch(copies, len(paths), UNIFORM, 1.3, **sizes),
            "first epoch, 32 frames, stride 2": lambda: _first_epoch(copies, len(paths), DENSE, 1.2, **sizes),
            "one pass of evaluation, 1 clip x 1 crop of 8 frames": lambda: _one_pass(copies, len(paths), **sizes),
            "evaluation, 10 clips x 3 crops of 8 frames": lambda: _evaluation(paths, 2 * len(paths), workers),
            "JPEG folders, 8 uniform frames": lambda: _folders(paths, work, 4 * clips, **sizes),
        }
        if slow:
            makers["8 uniform frames of packed MPEG-4"] = lambda: _train(
                slow, clips, UNIFORM, {"fastest": 1.1}, **sizes
            )
        contests = []
        for name, make in makers.items():
            if only and not any(part in name for part in only):
                continue
            click.echo(name)
            contest = make()
            contest.name = name
            contest.run(turns)
            click.echo(contest.markdown() + "\n")
            contests.append(contest)
        if out:
            _write(out, contests, about_torchcodec)


def _prepare_torchcodec(video: Path, folder: Path, find: bool) -> str:
    """Makes a TorchCodec that loads importable, or leaves the library out, and says in one sentence which one it is.

    Args:
        find: look for the newest version that loads, and install it into `folder`.
    """
    if find:
        refused: list[str] = []
        for version, reason in torchcodec_versions.attempts(torchcodec_versions.available(), folder, video):
            click.echo(f"torchcodec {version}: {reason or 'loads'}")
            if reason is None:
                sys.path.insert(0, str(folder))
                newer = f" ({', '.join(refused)} do not)" if refused else ""
                return f"TorchCodec {version} is the newest version that loads beside this torch{newer}."
            refused.append(version)
    elif pages.is_installed("torchcodec"):
        reason = torchcodec_versions.why_not(video)
        if reason is None:
            return "TorchCodec is the installed version; newer ones were not tried."
        click.echo(f"the installed TorchCodec does not load: {reason}. Pass --find-torchcodec to find one that does.")
    del LIBRARIES["torchcodec"]
    return "There is no TorchCodec that loads beside this torch."


# ---- the lists ----


def _videos(paths: Sequence[Path], count: int) -> list[actrec.Video]:
    """A list of `count` rows that repeats these files, each time with a different spelling of the path.

    Rows of one path in a batch would be decoded together, but real lists have one file per row.
    """
    return [_row(i, paths[i % len(paths)], "./" * (i // len(paths))) for i in range(count)]


def _copies(paths: Sequence[Path], count: int, folder: Path) -> list[actrec.Video]:
    """A list of `count` rows that has a copy of one of these files in each."""
    folder.mkdir()
    sources = [paths[i % len(paths)] for i in range(count)]
    return [_row(i, Path(shutil.copyfile(path, folder / f"{i}{path.suffix}"))) for i, path in enumerate(sources)]


def _row(i: int, path: Path, spelling: str = "") -> actrec.Video:
    return actrec.Video(str(i), f"{path.parent}/{spelling}{path.name}", None, None, (0,))


# ---- turns ----


def _steady(loader: Loader) -> Turn:
    """An epoch of a loader that has had one, in which it earned the certificates of the files."""
    for _ in loader:
        pass

    def turn() -> int:
        loader.load_state_dict({"epoch": 1, "step": 0})  # the same plans in every turn
        return sum(len(batch) for batch in loader)

    return turn


def _cold(videos: Sequence[actrec.Video], make: Callable[[Index], Loader], workers: int) -> Turn:
    """The first pass over the files of a list: index, loader and one epoch."""

    def turn() -> int:
        now = time.time_ns()
        for video in videos:
            os.utime(video.path, ns=(now, now))
        with tempfile.TemporaryDirectory() as folder:
            index = build_index(videos, cache=Path(folder) / "list.index.npy", workers=workers)
            return sum(len(batch) for batch in make(index))

    return turn


def _floor(jobs: list[peers.Job], certificates: Mapping[str, Certificate | None], workers: int) -> Turn:
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


def _peers(
    jobs: list[peers.Job], batch_size: int, workers: int, libraries: Mapping[str, Sequence[str]], per_count: int = 1
) -> dict[str, dict[str, Turn]]:
    """The settings of each library: each way to decode, in threads and in processes.

    Args:
        per_count: clips that are counted as one.
    """
    settings: dict[str, dict[str, Turn]] = {}
    for library, ways in libraries.items():
        if library in PACKAGE_OF and not pages.is_installed(PACKAGE_OF[library]):
            continue
        turns = {}
        for way in ways:
            make = peers.Maker(way, MEAN, STD)
            threads, processes = _settings(way, workers)
            turns[threads] = peers.by_threads(make, jobs, batch_size, workers)
            turns[processes] = peers.by_processes(make, jobs, batch_size, workers)
        settings[library] = {name: lambda turn=turn: turn() // per_count for name, turn in turns.items()}
    return settings


def _settings(way: str, workers: int) -> tuple[str, str]:
    return f"{way}, {workers} threads", f"{way}, DataLoader, {workers} processes"


# ---- contests ----


def _against_all(
    ours: dict[str, dict[str, Turn]], jobs: list[peers.Job], checked: list[peers.Job], targets: dict[str, float], *,
    batch_size: int, workers: int, unit: str = "clips", per_count: int = 1,
) -> Contest:  # fmt: skip
    """actrec against all libraries that decode videos.

    Args:
        ours: settings of actrec, and of the floor.
        jobs: the clips of a turn.
        checked: one for each different file, for which the pictures of the libraries are checked.
    """
    settings = ours | _peers(jobs, batch_size, workers, LIBRARIES, per_count)
    different = {}
    for way in [way for library, ways in LIBRARIES.items() if library in settings for way in ways]:
        found = (sum(peers.differs(way, job) for job in checked), len(checked))
        different |= dict.fromkeys(_settings(way, workers), found)
    return Contest(unit, settings, targets, different=different)


def _train(paths, count, clip, targets, *, batch_size, workers) -> Contest:
    videos = _videos(paths, count)
    index = build_index(videos)
    loader = _train_loader(videos, clip, index, batch_size, workers)
    ours = {"actrec": {f"{workers} workers": _steady(loader)}}
    certificates = {video.path: index.certificate(row)[1] for row, video in enumerate(videos)}
    jobs = _training_jobs(loader, 1)
    ours["floor"] = {f"libavcodec alone, {workers} threads": _floor(jobs, certificates, workers)}
    return _against_all(ours, jobs, jobs[: len(paths)], targets, batch_size=batch_size, workers=workers)


def _first_epoch(copies, num_files, clip, target, *, batch_size, workers) -> Contest:
    def make(index: Index) -> Loader:
        return _train_loader(copies, clip, index, batch_size, workers)

    jobs = _training_jobs(make(build_index(copies)), 0)
    ours = {"actrec": {f"{workers} workers, index included": _cold(copies, make, workers)}}
    return _against_all(ours, jobs, jobs[:num_files], {"fastest": target}, batch_size=batch_size, workers=workers)


def _one_pass(copies, num_files, *, batch_size, workers) -> Contest:
    views = actrec.Views(clips=1, crops=1)

    def make(index: Index) -> Loader:
        return _eval_loader(copies, views, index, batch_size, workers)

    index = build_index(copies)
    jobs = [job for row in range(len(copies)) for job in _evaluation_jobs(index, row, views)]
    ours = {"actrec": {f"{workers} workers, index included": _cold(copies, make, workers)}}
    return _against_all(ours, jobs, jobs[:num_files], {"fastest": 1.2}, batch_size=batch_size, workers=workers)


def _evaluation(paths, count, workers) -> Contest:
    """All views of a video, compared with loaders that decode once per clip and take its crops from that."""
    videos, views = _videos(paths, count), actrec.Views(clips=10, crops=3)
    index = build_index(videos)
    loader = _eval_loader(videos, views, index, 1, workers)
    loader.load_state_dict({"epoch": 1, "step": 0})  # a first pass of evaluation may earn no certificate
    ours = {"actrec": {f"{workers} workers": _steady(loader)}}
    jobs = [job for row in range(count) for job in _evaluation_jobs(index, row, views)]
    return _against_all(
        ours, jobs, jobs[: len(paths) * views.clips : views.clips], {"fastest": 3}, batch_size=views.clips,
        workers=workers, unit="videos", per_count=views.clips,
    )  # fmt: skip


def _train_loader(videos, clip, index, batch_size, workers) -> Loader:
    return actrec.train_loader(
        videos, clip, _input(clip.frames), batch_size=batch_size, index=index, workers=workers, channels_last=True,
        keep_last=True,
    )  # fmt: skip


def _eval_loader(videos, views, index, batch_size, workers) -> Loader:
    return actrec.eval_loader(
        videos, UNIFORM, _input(8), views=views, batch_size=batch_size, index=index, workers=workers, channels_last=True
    )


def _input(frames: int) -> Input:
    return Input(MEAN, STD, frames, SIZE)


def _training_jobs(loader: Loader, epoch: int) -> list[peers.Job]:
    plans = [loader.plan(epoch, row) for row in range(len(loader.videos))]
    return [
        peers.Job(video.path, plan.frames, [plan.box], SIZE, plan.flip) for video, plan in zip(loader.videos, plans)
    ]


def _evaluation_jobs(index: Index, row: int, views: actrec.Views) -> list[peers.Job]:
    """One for each clip of a video, with all its crops."""
    found = index[row]
    plan = plan_eval(
        num_frames=found.frames, width=found.width, height=found.height, clip=UNIFORM, size=SIZE, views=views
    )
    boxes = [(x, y, SIZE, SIZE) for x, y in plan.offsets.tolist()]
    return [peers.Job(found.path, frames, boxes, SIZE, resize=plan.resize) for frames in plan.frames]


def _folders(paths, work: Path, count, *, batch_size, workers) -> Contest:
    """Images with a short side of 256 pixels."""
    folders = []
    for path in paths:
        folder = work / "folders" / path.stem
        extract_video(path, folder, ExtractOptions(short_side=256))
        folders.append(folder)
    videos = _videos(folders, count)
    index = build_index(videos)
    loader = _train_loader(videos, UNIFORM, index, batch_size, workers)
    jobs = []
    for row, video in enumerate(videos):
        found = index[row]
        plan = loader.plan(1, row)
        assert found.template is not None
        template = os.path.join(video.path, found.template.replace("%", "%%").replace("{:05d}", "%05d"))
        jobs.append(peers.Job(template, plan.frames + found.start, [plan.box], SIZE, plan.flip))
    ways = {"OpenCV": ("OpenCV folder",), "reference": ("reference (PIL)",)}
    settings = {"actrec": {f"{workers} workers": _steady(loader)}, **_peers(jobs, batch_size, workers, ways)}
    if "reference" in settings:  # which does not support threads
        settings["reference"] = {way: turn for way, turn in settings["reference"].items() if "DataLoader" in way}
    return Contest("clips", settings, {"reference": 3, "OpenCV": 1.2})


def versions() -> str:
    return pages.versions(PACKAGES)


def _write(out: Path, contests: list[Contest], about_torchcodec: str) -> None:
    page = pages.page(out, "loader")
    about = f"{versions()} {about_torchcodec}"
    text = f"# Loader throughput, {os.cpu_count()} CPU cores\n\n{about}\n\n    {pages.command()}\n\n"
    plot = _plot(page.with_suffix(".png"), contests)
    text += f"![Clips per second of each contestant]({page.stem}.png)\n\n" if plot else ""
    text += "\n\n".join(contest.markdown() for contest in contests) + "\n"
    page.write_text(text, encoding="utf-8")
    click.echo(page)


def _plot(path: Path, contests: list[Contest]) -> bool:
    if not pages.is_installed("matplotlib"):
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
