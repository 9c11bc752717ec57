"""Measure what it costs to read videos over the network, from tar archives, and in other forms than the originals.

    python benchmarks/storage.py VIDEO... [--slow VIDEO...] [--out docs/numbers]

Each list has a file of its own in every row: copies of the given videos, which should be in H.264. `--slow` takes files
that get no certificate, such as packed MPEG-4 in AVI: they are fetched whole. The server is `tests/range_server.py` in
a process of its own on this machine: it adds a latency to each answer, and lets a fraction of the requests fail. A
second one sends a single range per request, as many stores do. S3 is moto, without added latency.

The contestants take turns. In each turn a loader makes one clip of every row. Over the network it begins with an empty
cache and asks the server for the facts of each object, as the first epoch of a process does, but has the index of an
earlier one. Rates are medians, and ratios are medians of the ratios within a turn. Bytes and requests are counted by
the server, except for S3.

The server takes CPU time that the loader would need, unless `--pin` gives it a core of its own, also in the turns of
local files. Therefore the tables also show the CPU time of the loader's process alone. Local CPU time / CPU time is the
speed relative to local files that a server on another machine allows, if neither the network nor the latency is the
limit. A turn begins with a few round trips before the first clip, so that short lists (`--rows`) are relatively slower.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch

import actrec
from actrec.config import ExtractOptions, Input, PrepareOptions
from actrec.data import storage
from actrec.data.index import build_index
from actrec.data.video.certificate import Certificate
from actrec.pipelines.loader import Loader
from actrec.tools.make.extract_frames import extract_video
from actrec.tools.make.prepared_video import prepare_video

sys.path.insert(0, str(Path(__file__).parent))
import pages

SIZE, BATCH_SIZE, CACHE_SIZE = 224, 8, 50_000_000_000
INPUT = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIPS = {
    "8 uniform frames": actrec.Clip(frames=8),
    "32 frames, stride 2": actrec.Clip(frames=32, stride=2, sampling="dense"),
}
PACKAGES = ("torch", "av", "opencv-python-headless", "numpy", "fsspec", "aiohttp", "s3fs", "moto")


@dataclass(frozen=True)
class Conditions:
    """What the server does to requests.

    Args:
        latency: in seconds.
        failures: fraction of the requests that fail.
    """

    latency: float = 0.0
    failures: float = 0.0


@dataclass
class Contestant:
    """A list of videos, read in one way.

    Args:
        paths: one for each row.
        again: the turn is the second epoch, with what the first one has left in the cache.

    Attributes:
        rates: clips per second of each turn.
        cpu: CPU time of this process per clip of each turn, in seconds.
        sent, requests, most: bytes, requests and largest number of requests at once, of the last turn.
        needed: bytes of the packets or images that its clips need; None if whole files are needed.
        lost: clips that could not be made.
    """

    name: str
    paths: Sequence[str]
    conditions: Conditions = Conditions()
    again: bool = False
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    sent: int = 0
    requests: int = 0
    most: int = 0
    needed: int | None = None
    lost: int = 0

    def prepare(self, clip: actrec.Clip, workers: int, server: Server) -> None:
        """Builds the index, and certifies the files."""
        server.set(Conditions())
        videos = [actrec.Video(str(i), path, None, None, (0,)) for i, path in enumerate(self.paths)]
        index = build_index(videos, workers=workers)
        self.loader = actrec.train_loader(
            videos, clip, Input(*INPUT, clip.frames, SIZE), batch_size=BATCH_SIZE, index=index, workers=workers,
            channels_last=True, keep_last=True,
        )  # fmt: skip
        for _ in self.loader:
            pass
        self.needed = _needed(self.loader, 1 + self.again)

    def turn(self, cache: Path, server: Server) -> None:
        """Makes one clip of each row, from an empty cache."""
        storage.configure(cache, CACHE_SIZE)
        server.set(Conditions())
        if self.again:
            self._epoch(1)
        server.set(self.conditions)
        counts = _counts_of_s3 if self.paths[0].startswith("s3:") else server.counts
        before = counts()
        begun, cpu = time.perf_counter(), time.process_time()
        count = self._epoch(1 + self.again)
        self.cpu.append((time.process_time() - cpu) / max(1, count))
        self.rates.append(count / (time.perf_counter() - begun))
        after = counts()
        self.sent, self.requests, self.most = after[0] - before[0], after[1] - before[1], after[2]
        self.lost += len(self.paths) - count

    def _epoch(self, epoch: int) -> int:
        self.loader.load_state_dict({"epoch": epoch, "step": 0})
        return sum(len(batch) for batch in self.loader)


# ---- the server ----


class Server:
    """A range server, and one of S3, in a process of its own.

    Args:
        core: the only CPU core that it may use.
    """

    def __init__(self, folder: Path, with_s3: bool, core: int | None = None):
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, folder, with_s3, core), daemon=True)
        self._process.start()
        self._url, self._single_url, self._s3 = self._mine.recv()
        if self._s3:
            os.environ |= _s3_environment(self._s3)

    def url(self, name: str, *, single: bool = False) -> str:
        """Args: single: of the server that sends one range per request."""
        return (self._single_url if single else self._url) + name

    def set(self, conditions: Conditions) -> None:
        self._ask("set", conditions)

    def counts(self) -> tuple[int, int, int]:
        """Bytes that were sent, number of requests, and most requests at once since the conditions were set."""
        return self._ask("counts")

    def stop(self) -> None:
        self._ask("stop")
        self._process.join()

    def _ask(self, *words: Any) -> Any:
        self._mine.send(words)
        return self._mine.recv()


def _counts_of_s3() -> tuple[int, int, int]:
    """As `Server.counts`, counted by the client. The number of requests at once is not known."""
    found = storage.statistics()
    return found["fetched"], found["requests"], 0


def _s3_environment(endpoint: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID": "dummy", "AWS_SECRET_ACCESS_KEY": "dummy", "AWS_DEFAULT_REGION": "us-east-1"}
    return {"AWS_ENDPOINT_URL": endpoint, **keys}


def _serve(connection: Connection, folder: Path, with_s3: bool, core: int | None) -> None:
    """Serves the files of a folder until it is told to stop."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from range_server import RangeServer

    objects = {path.name: path.read_bytes() for path in folder.iterdir()}
    with (
        RangeServer(objects) as server,
        RangeServer(objects, several="whole") as single,
        _s3_server(objects) if with_s3 else contextlib.nullcontext() as s3,
    ):
        connection.send((server.url(""), single.url(""), s3))
        servers = (server, single)
        while (words := connection.recv())[0] != "stop":
            if words[0] == "set":
                for one in servers:
                    one.latency, one.failures, one.most = words[1].latency, words[1].failures, 0
                connection.send(None)
            else:
                requests = sum(sum(one.requests.values()) for one in servers)
                connection.send((sum(one.sent for one in servers), requests, max(one.most for one in servers)))
        connection.send(None)


@contextlib.contextmanager
def _s3_server(objects: dict[str, bytes]) -> Iterator[str]:
    import logging

    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    os.environ |= _s3_environment(endpoint)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="videos")
    for name, data in objects.items():
        client.put_object(Bucket="videos", Key=name, Body=data)
    yield endpoint
    server.stop()


# ---- what clips need ----


def _needed(loader: Loader, epoch: int) -> int | None:
    """Bytes of the packets or images that the clips of an epoch need; None if a file has no certificate."""
    total = 0
    for row in range(len(loader.videos)):
        media, frames = loader.index[row], np.unique(loader.plan(epoch, row).frames)
        if media.template:
            total += sum(os.path.getsize(media.image(media.start + i)) for i in frames.tolist())
            continue
        certificate = loader.index.certificate(row)[1]
        if certificate is None or certificate.packets is None:
            return None
        total += packet_bytes(certificate, frames)
    return total


def packet_bytes(certificate: Certificate, frames: np.ndarray) -> int:
    """Bytes of the packets that frames of a file need.

    Those are the packets from the keyframe before each frame up to it, in decoding order, without the ones to which no
    other picture refers.
    """
    packets = certificate.packets
    assert packets is not None
    wanted = certificate.pts[np.minimum(frames, len(certificate.pts) - 1)]
    key_of = np.searchsorted(certificate.key_pts, wanted, side="right") - 1
    place = {pts: i for i, pts in enumerate(packets["pts"].tolist())}
    total = 0
    for key in np.unique(key_of).tolist():
        mine = wanted[key_of == key].tolist()
        run = packets[place[int(certificate.key_pts[key])] : 1 + max(place[pts] for pts in mine)]
        total += int(run["size"][~run["droppable"] | np.isin(run["pts"], mine)].sum())
    return total


# ---- the run ----


@click.command(help=__doc__)
@click.argument("paths", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--slow", multiple=True, type=click.Path(path_type=Path, exists=True), help="Videos without certificate.")
@click.option("--rows", default=80, show_default=True, help="Of each list.")
@click.option("--workers", default=len(os.sched_getaffinity(0)), show_default=True)
@click.option("--turns", default=3, show_default=True)
@click.option("--only", multiple=True, help="Only tables whose name contains this: places, forms, whole files.")
@click.option("--s3/--no-s3", default=pages.is_installed("moto") and pages.is_installed("s3fs"), show_default=True)
@click.option("--pin", is_flag=True, help="The server gets a CPU core of its own; the loader gets the other cores.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for storage_<hardware>_<yyyymm>.md.")
def main(paths, slow, rows, workers, turns, only, s3, pin, out) -> None:
    *cores, last = sorted(os.sched_getaffinity(0))
    if pin:
        os.sched_setaffinity(0, cores)
        workers = min(workers, len(cores))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        forms = {"originals": _copies(paths, rows, work / "originals"), "slow": _copies(slow, rows, work / "slow")}
        forms["prepared"] = _prepared(paths, rows, work)
        frames = _frame_folders(paths, rows, work)
        served = _served(forms, work / "served")
        server = Server(work / "served", s3, last if pin else None)
        tables: dict[str, Callable[[], list[str]]] = {}
        for name, clip in CLIPS.items():
            run = Run(name, clip, workers, turns, work / "caches", server)
            tables[f"places, {name}"] = functools.partial(run.places, served, server, s3)
            tables[f"forms, {name}"] = functools.partial(run.forms, served, frames, server)
            if slow:
                tables[f"whole files, {name}"] = functools.partial(run.whole_files, served, server)
        text = []
        for name, measure in tables.items():
            if not only or any(part in name for part in only):
                text += measure()
        server.stop()
    page = "\n".join(text)
    click.echo(page)
    if out:
        path = pages.page(out, "storage")
        title = f"# Videos in tar archives and over the network, {os.cpu_count()} CPU cores"
        path.write_text(f"{title}\n\n{pages.versions(PACKAGES)}\n\n    {pages.command()}\n\n{page}\n", encoding="utf-8")
        click.echo(path)


LAN, FAR, FAULTY = Conditions(0.02), Conditions(0.05), Conditions(0.02, 0.01)


@dataclass(frozen=True)
class Run:
    """The tables for one kind of clip."""

    clip_name: str
    clip: actrec.Clip
    workers: int
    turns: int
    caches: Path
    server: Server

    def places(self, served: dict[str, Form], server: Server, s3: bool) -> list[str]:
        """The originals, from everywhere."""
        files = served["originals"]
        remote, names = files.urls(server), [Path(path).name for path in files.files]
        contestants = [
            Contestant("local files", files.files),
            Contestant("members of a local tar archive", files.members),
            Contestant("HTTP", remote),
            Contestant("HTTP, 20 ms", remote, LAN),
            Contestant("HTTP, 50 ms", remote, FAR),
            Contestant("HTTP, 20 ms, one range per request", files.urls(server, single=True), LAN),
            Contestant("HTTP, 50 ms, one range per request", files.urls(server, single=True), FAR),
            Contestant("HTTP, 20 ms, 1 % of the requests fail", remote, FAULTY),
            Contestant("HTTP, 20 ms, second epoch", remote, LAN, again=True),
            Contestant("members of a tar archive, HTTP, 20 ms", files.remote_members(server), LAN),
        ]
        if s3:
            contestants.append(Contestant("S3 (moto)", [f"s3://videos/{name}" for name in names]))
        self._measure(contestants)
        return self._table("originals", contestants)

    def whole_files(self, served: dict[str, Form], server: Server) -> list[str]:
        """Files without a certificate."""
        files = served["slow"]
        contestants = [
            Contestant("local files", files.files),
            Contestant("HTTP, 20 ms", files.urls(server), LAN),
            Contestant("HTTP, 20 ms, second epoch", files.urls(server), LAN, again=True),
        ]
        self._measure(contestants)
        return self._table("files without a certificate, which are fetched whole", contestants)

    def forms(self, served: dict[str, Form], frames: Form, server: Server) -> list[str]:
        """Originals, prepared videos and frame folders, wherever each can be read from."""
        contestants: list[tuple[Form, Contestant]] = []
        for form in (served["originals"], served["prepared"]):
            contestants += [
                (form, Contestant("local files", form.files)),
                (form, Contestant("local tar archive", form.members)),
                (form, Contestant("HTTP, 20 ms", form.urls(server), LAN)),
            ]
        contestants.append((frames, Contestant("local files", frames.files)))
        self._measure([contestant for _, contestant in contestants])
        base = contestants[0][1]
        lines = [
            f"### Forms of the videos: {self.clip_name}",
            "",
            "| form | place | clips/s (median) | **speed relative to local originals** | KB read per clip "
            "| requests per clip | MB of a video |",
            "|---|---|---|---|---|---|---|",
        ]
        for form, contestant in contestants:
            read = contestant.sent or contestant.needed
            requests = f"{contestant.requests / len(contestant.paths):.1f}" if contestant.requests else ""
            per_clip = f"{read / len(contestant.paths) / 1e3:.0f}" if read else ""
            lines.append(
                f"| {form.name} | {contestant.name} | {statistics.median(contestant.rates):.2f} | "
                f"**{_ratio(contestant, base):.2f}** | {per_clip} | {requests} | "
                f"{form.size / len(form.files) / 1e6:.2f} |"
            )
        return [*lines, ""]

    def _measure(self, contestants: list[Contestant]) -> None:
        storage.configure(self.caches / "index", CACHE_SIZE)
        for contestant in contestants:
            contestant.prepare(self.clip, self.workers, self.server)
        for i in range(self.turns):
            for contestant in contestants:
                with tempfile.TemporaryDirectory(dir=self.caches) as cache:
                    contestant.turn(Path(cache), self.server)
            click.echo(f"{self.clip_name}: turn {i + 1} of {self.turns}")
        for contestant in contestants:  # the threads of its loader end
            del contestant.loader

    def _table(self, what: str, contestants: list[Contestant]) -> list[str]:
        lines = [
            f"### Places of the videos: {self.clip_name}, {what}",
            "",
            "| place | clips/s (median) | clips/s (lowest - highest) | **speed relative to local files** "
            "| CPU ms per clip, loader | **local CPU time / CPU time** "
            "| KB fetched per clip | **bytes fetched / bytes of the needed packets** | requests per clip "
            "| requests at once, at most | clips lost |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for contestant in contestants:
            rates, count = contestant.rates, len(contestant.paths)
            overhead = contestant.sent / contestant.needed if contestant.needed and contestant.sent else None
            cells = [
                contestant.name,
                f"{statistics.median(rates):.2f}",
                f"{min(rates):.2f} - {max(rates):.2f}",
                f"**{_ratio(contestant, contestants[0]):.2f}**",
                f"{1e3 * statistics.median(contestant.cpu):.1f}",
                f"**{statistics.median(a / b for a, b in zip(contestants[0].cpu, contestant.cpu)):.2f}**",
                f"{contestant.sent / count / 1e3:.0f}" if contestant.requests else "",
                f"**{overhead:.2f}**" if overhead else "",
                f"{contestant.requests / count:.1f}" if contestant.requests else "",
                f"{contestant.most}" if contestant.most else "",
                f"{contestant.lost}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return [*lines, ""]


def _ratio(contestant: Contestant, base: Contestant) -> float:
    return statistics.median(a / b for a, b in zip(contestant.rates, base.rates))


# ---- the forms ----


@dataclass(frozen=True)
class Form:
    """The same videos in one form.

    Args:
        files: files or frame folders, one for each row.
        archive: a tar archive of the files.
        size: bytes of all files.
    """

    name: str
    files: Sequence[str]
    size: int
    archive: str = ""

    @property
    def members(self) -> list[str]:
        return [f"{self.archive}::{Path(path).name}" for path in self.files]

    def urls(self, server: Server, *, single: bool = False) -> list[str]:
        return [server.url(Path(path).name, single=single) for path in self.files]

    def remote_members(self, server: Server) -> list[str]:
        return [f"{server.url(Path(self.archive).name)}::{Path(path).name}" for path in self.files]


def _copies(paths: Sequence[Path], rows: int, folder: Path) -> list[Path]:
    """A copy of one of these files for each row."""
    folder.mkdir()
    sources = [paths[i % len(paths)] for i in range(rows)] if paths else []
    return [Path(shutil.copyfile(path, folder / f"{folder.name}{i}{path.suffix}")) for i, path in enumerate(sources)]


def _prepared(paths: Sequence[Path], rows: int, work: Path) -> list[Path]:
    made = [work / "made" / f"{i}.mp4" for i in range(len(paths))]
    for path, target in zip(paths, made):
        prepare_video(path, target, work / "made" / "bad.mp4", PrepareOptions(encoder="cpu"))
    return _copies(made, rows, work / "prepared")


def _frame_folders(paths: Sequence[Path], rows: int, work: Path) -> Form:
    folders = [work / "frames" / str(i) for i in range(len(paths))]
    for path, folder in zip(paths, folders):
        extract_video(path, folder, ExtractOptions())
    rest = [Path(shutil.copytree(folders[i % len(paths)], work / "frames" / str(i))) for i in range(len(paths), rows)]
    folders = (folders + rest)[:rows]
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    return Form("frame folders", [str(folder) for folder in folders], size)


def _served(forms: dict[str, list[Path]], folder: Path) -> dict[str, Form]:
    """The forms, of which all files and archives of them have a link in a folder."""
    folder.mkdir()
    made = {}
    for name, files in forms.items():
        archive = folder / f"{name}.tar"
        with tarfile.open(archive, "w") as tar:
            for file in files:
                tar.add(file, file.name)
                os.link(file, folder / file.name)
        size = sum(file.stat().st_size for file in files)
        made[name] = Form(name, [str(file) for file in files], size, str(archive))
    return made


if __name__ == "__main__":
    main()
