"""Compare `actrec index` with ffprobe in files per second, with the files in the page cache and without an index.

    python benchmarks/index_files.py ../shared/videos/ut_interaction/videos ../shared/videos/peer

ffprobe does the same work: it demuxes the entire file (`-count_packets`) and reads the stream's properties. The third
contestant reads the files' entries from a finished index, as every command after the first does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from actrec.data.index import build_index
from actrec.data.lists import Video

ENDINGS = (".mp4", ".avi", ".mkv", ".webm", ".mpg", ".mov")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path, help="video files, and folders of them")
    parser.add_argument("--files", type=int, default=600, help="links to them that are looked at")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    if not shutil.which("ffprobe"):
        sys.exit("ffprobe is missing: apt-get install ffmpeg")
    found = [p for given in args.videos for p in (sorted(given.rglob("*")) if given.is_dir() else [given])]
    found = [p.resolve() for p in found if p.suffix in ENDINGS]
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as work:
        links = [Path(work, f"{i:05d}{found[i % len(found)].suffix}") for i in range(args.files)]
        for i, link in enumerate(links):
            link.symlink_to(found[i % len(found)])
        videos = [Video(link.name, str(link), None, None, (0,)) for link in links]
        cache = Path(work, "index.npy")
        build_index(videos, cache=cache)  # now all files are in the page cache
        contestants: dict[str, Callable[[], object]] = {
            "actrec without a stored index": lambda: build_index(videos, workers=workers),
            "ffprobe": lambda: _ffprobe(links, workers),
            "actrec with a stored index": lambda: build_index(videos, cache=cache, workers=workers),
        }
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(args.turns):
            for name, look in contestants.items():
                began = time.perf_counter()
                look()
                rates[name].append(len(links) / (time.perf_counter() - began))
    size = statistics.median(p.stat().st_size for p in found) / 1e6
    print(f"{len(links)} links to {len(found)} files with a median size of {size:.2f} MB; {workers} threads\n")
    print("| tool | files/s (median) | files/s (lowest - highest) | speed relative to ffprobe |")
    print("|---|---|---|---|")
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, rates["ffprobe"]))
        print(f"| {name} | {statistics.median(values):,.0f} | {min(values):,.0f} - {max(values):,.0f} | {ratio:.1f} |")


def _ffprobe(links: list[Path], workers: int) -> None:
    entries = (
        "stream=nb_read_packets,width,height,avg_frame_rate,codec_name,pix_fmt,color_space,color_range:stream_side_data"
    )

    def one(path: Path) -> None:
        command = ["ffprobe", "-v", "quiet", "-threads", "1", "-select_streams", "v:0", "-count_packets"]
        subprocess.run([*command, "-show_entries", entries, str(path)], stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, links))


if __name__ == "__main__":
    main()
