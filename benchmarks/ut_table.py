"""Train three nets from scratch on a small real dataset, on RGB and on optical flow, with three seeds each.

    python benchmarks/ut_table.py DATASET [DIR]

DATASET contains `videos/<class>/<video>`, train.txt and val.txt, and is not changed; frames, flow, lists and runs are
written to DIR. `--only-table` makes the table of the runs that are finished. If the benchmark is interrupted, the same
command continues. `--jobs 2` trains two nets at a time; set OMP_NUM_THREADS=1, so that each has one thread.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from trainings import Run, Scores, command, extracted, made_with, table

NETS = ("s3d", "tam_resnet18", "r2plus1d_18")
MODALITIES = ("rgb", "flow")
VIEWS = (1, 5)  # clips
OPTIONS = (
    "--frames 8 --size 64 --dropout 0 --geometry random-resized --area 0.5,1 --aspect 0.75,2 --crop-ratio 1 "
    "--batch-size 8 --optimizer adamw --lr 0.001 --weight-decay 0.05 --val-every 10"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", type=Path)
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path("ut_table"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only-table", action="store_true", help="of the runs that are finished")
    args = parser.parse_args()
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not args.only_table:
        _prepare(args.dataset.resolve(), folder)
        keys = itertools.product(range(args.seeds), reversed(NETS), MODALITIES)  # the slowest net first
        with ThreadPoolExecutor(args.jobs) as pool:
            for done in [pool.submit(_make, folder, net, modality, seed, args.epochs) for seed, net, modality in keys]:
                done.result()
    text = _document(folder, args.seeds, args.epochs)
    (folder / "ut_table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\n-> {folder / 'ut_table.md'}")


def _prepare(dataset: Path, folder: Path) -> None:
    if not extracted(folder):
        command(f"extract-frames {dataset / 'videos'} .", folder)
    if not (folder / "flow_done").exists():
        command("extract-flow", folder)
        (folder / "flow_done").touch()


def _run(folder: Path, net: str, modality: str, seed: int) -> Run:
    return Run(folder, f"{net}_{modality}_{seed}")


def _make(folder: Path, net: str, modality: str, seed: int, epochs: int) -> None:
    run = _run(folder, net, modality, seed)
    if run.epochs < epochs:
        run.train(f"--backbone {net} --modality {modality} {OPTIONS} --epochs {epochs} --seed {seed}")
    for clips in VIEWS:
        run.evaluate(clips=clips)


def _document(folder: Path, seeds: int, epochs: int) -> str:
    rows, finished = [], []
    for net in NETS:
        done = {  # modality -> the finished runs of its seeds
            modality: [run for seed in range(seeds) if (run := _run(folder, net, modality, seed)).epochs >= epochs]
            for modality in MODALITIES
        }
        for modality, runs in done.items():
            if runs:
                finished += runs
                speed = statistics.mean(run.clips_per_second for run in runs)
                minutes = statistics.mean(run.minutes for run in runs)
                scores = {clips: [run.evaluate(clips=clips) for run in runs] for clips in VIEWS}
                rows.append([net, modality, *_cells(scores), f"{speed:.1f}", f"{minutes:.1f}"])
        if len(done["rgb"]) == len(done["flow"]) == seeds:
            pairs = list(zip(done["rgb"], done["flow"]))
            fused = {clips: [_fused(*(run.evaluate(clips=clips) for run in pair)) for pair in pairs] for clips in VIEWS}
            rows.append([net, "both", *_cells(fused), "", ""])
    if not finished:
        raise SystemExit("no run is finished")
    videos = len(finished[0].evaluate().labels)
    head = [
        "net",
        "modality",
        "runs",
        *(f"top-1 with {clips} x 1 views, percent" for clips in VIEWS),
        "clips/s",
        "minutes per run",
    ]
    return "\n".join(
        [
            made_with(finished),
            "",
            f"Top-1 after the last epoch on {videos} validation videos (one video is {100 / videos:.1f} points): mean "
            "of the seeds (lowest to highest). Views are clips x crops. *both* is late fusion: the probabilities of "
            "the RGB net and of the flow net with the same seed are added. All nets use "
            f"`{OPTIONS} --epochs {epochs}`.",
            "",
            table(head, rows),
            "",
        ]
    )


def _fused(rgb: Scores, flow: Scores) -> Scores:
    """Late fusion by averaging probabilities."""
    assert np.array_equal(rgb.labels, flow.labels)
    probabilities = [torch.from_numpy(one.scores).softmax(1).numpy() for one in (rgb, flow)]
    return Scores(np.mean(probabilities, axis=0), rgb.labels)


def _cells(scores: dict[int, list[Scores]]) -> list[str]:
    """The number of runs, and the spread of their top-1 for each number of clips."""
    values = [[one.top1 for one in each] for each in scores.values()]
    spreads = [f"{statistics.mean(top1):.1f} ({min(top1):.1f} to {max(top1):.1f})" for top1 in values]
    return [str(len(values[0])), *spreads]


if __name__ == "__main__":
    main()
