"""The examples of docs/examples.md, executed on a few small videos. The drawings and the demo are in test_docs.py."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import actrec
from actrec import config
from actrec.cli.main import main
from actrec.data.score_file import ScoreFile
from actrec.inference import fuse

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs/examples"
FASTER = {"train": "--frames 6 --size 32 --batch-size 8", "evaluate": "", "extract-frames": "", "extract-flow": ""}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Three videos in each of eight class folders."""
    folder = tmp_path_factory.mktemp("examples") / "toy"
    call(f"toy {folder} --train-per-class 2 --val-per-class 1", folder.parent)
    return folder


@pytest.fixture(scope="module")
def extracted(made, tmp_path_factory) -> Path:
    """The same as frame folders, with train.txt, val.txt, labels.txt and flips.txt."""
    folder = shutil.copytree(made, tmp_path_factory.mktemp("extracted") / "toy")
    call("extract-frames --short-side 48", folder)
    return folder


@pytest.fixture
def folder(extracted, tmp_path) -> Path:
    return shutil.copytree(extracted, tmp_path / "data")


def call(arguments: str, folder: Path) -> None:
    """Runs a command in this process, which saves the seconds that a new one needs to import torch."""
    with contextlib.chdir(folder), pytest.raises(SystemExit) as stop:
        main([*shlex.split(arguments), *FASTER.get(arguments.split()[0], "").split()])
    assert not stop.value.code, arguments


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_own_folders(made, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data"
    shutil.copytree(made / "videos", folder / "videos")  # without the lists
    example = load("own_folders.py")
    monkeypatch.setattr(example, "command", call)
    top1 = example.main(folder, epochs=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(actrec.read_list(folder / "train.txt")) + len(actrec.read_list(folder / "val.txt")) == 24
    (run,) = (folder / "runs").iterdir()
    assert json.loads((run / "config.json").read_text())["net"]["backbone"] == "tiny3d"
    (printed,) = (line for line in lines if line.startswith("top-1"))
    assert printed.split()[1] == f"{top1:.2f}"
    num_val = len(actrec.read_list(folder / "val.txt"))
    assert sum(line.startswith("wrong: ") for line in lines) == round(num_val * (1 - top1 / 100))
    classes = (folder / "labels.txt").read_text().splitlines()
    video, *answers = lines[-1].split("  ")
    assert Path(video).parts[-3:-1] == ("videos", "closes")
    assert len({answer.split()[0] for answer in answers} & {*classes}) == 3


OWN_NET = """
import sys
from pathlib import Path

import torch

import actrec
import own_net

once, twice = Path("once"), Path("twice")
top1 = []
for folder, calls in ((once, [2]), (twice, [1, 2])):
    for epochs in calls:
        torch.manual_seed(0)
        top1.append(own_net.main(folder, epochs=epochs))
a, b = (torch.load(folder / "conv_gru.pt") for folder in (once, twice))
assert a["loader"] == b["loader"] == {"epoch": 2, "step": 0}
assert all(torch.equal(a["state_dict"][name], b["state_dict"][name]) for name in a["state_dict"])
assert top1[0] == top1[2]

# The loader mirrors by flips.txt, and loses frames.
names = (once / "labels.txt").read_text().splitlines()
left, right = names.index("moves_left"), names.index("moves_right")
options = actrec.Augment(lost_frames=0.3)
loader = actrec.train_loader(once / "train.txt", actrec.Clip(), own_net.ConvGRU.input, augment=options, batch_size=8)
seen = set()
for _ in range(3):
    for batch in loader:
        for row, label, plan in zip(batch.rows, batch.labels.tolist(), batch.plans):
            own = loader.videos[row].label
            assert label == ({left: right, right: left}.get(own, label) if plan.flip else own)
            seen.add((plan.flip, bool((plan.frames[1:] == plan.frames[:-1]).any())))
assert len(seen) == 4, seen

from actrec.cli.main import main
try:
    main("train --data once --backbone own_net:ConvGRU --epochs 1 --batch-size 8 --run run --size 32".split())
except SystemExit as stop:
    assert not stop.code
model = actrec.load("run")
assert type(model.net).__name__ == "ConvGRU" and model.input.size == 32 and model.clip.frames == 8
assert model.evaluate(once / "val.txt").num_videos == 8
"""


def test_own_net(extracted, tmp_path):
    """In a process of its own: registering is for good."""
    for name in ("once", "twice"):
        shutil.copytree(extracted, tmp_path / name)
    shutil.copy(EXAMPLES / "own_net.py", tmp_path)
    done = subprocess.run([sys.executable, "-c", OWN_NET], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = re.findall(r"^epoch (\d): loss (\S+)$", done.stdout, re.MULTILINE)
    assert [epoch for epoch, _ in losses] == ["1", "2", "1", "2"]
    assert losses[:2] == losses[2:]


def drawn(monkeypatch) -> list[tuple[int, list[str]]]:
    """Gets the epoch and the videos of each batch that a training loader delivers."""
    found: list[tuple[int, list[str]]] = []
    original = actrec.train_loader

    def remembering(*arguments: Any, **options: Any) -> Any:
        loader = original(*arguments, **options)
        batches = loader._batch

        def batch(*given: Any) -> Any:
            made = batches(*given)
            found.append((loader.epoch, made.videos))
            return made

        loader._batch = batch
        return loader

    monkeypatch.setattr(actrec, "train_loader", remembering, raising=False)
    return found


def check_trainer(example: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One epoch, and another one in a second call, draw what two epochs draw. Returns what was printed."""
    found = drawn(monkeypatch)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        top1 = [example.main(folder, epochs=epochs) for epochs in (1, 2)]
    net = actrec.net("tiny3d", num_classes=8)
    loader = actrec.train_loader(folder / "train.txt", actrec.Clip(frames=8), net.input, batch_size=8)
    expected = [(epoch, batch.videos) for epoch in range(2) for batch in loader]
    assert found[: len(expected)] == expected  # the reference loader is remembered, too
    assert all(0 <= value <= 100 for value in top1)
    lines = printed.getvalue().splitlines()
    scored = [line for line in lines if line.startswith("top-1")]
    assert [line.split()[1] for line in scored] == [f"{value:.2f}" for value in top1]
    assert all("(8 videos, 0 missing)" in line for line in scored)
    return lines


def need(*packages: str) -> None:
    """Skips the test if a package is missing, but not in CI: `make setup` installs them."""
    for name in packages:
        if "CI" not in os.environ:
            pytest.importorskip(name, reason=f"{name} is no dependency of actrec")


@pytest.mark.filterwarnings("ignore")  # of Lightning
def test_lightning(folder, monkeypatch):
    need("lightning")
    check_trainer(load("lightning_module.py"), folder, monkeypatch)
    import torch

    saved = torch.load(folder / "lightning/last.ckpt", weights_only=False)
    assert (saved["epoch"], saved["global_step"]) == (1, 4)


@pytest.mark.filterwarnings("ignore")  # of transformers
def test_transformers(folder, monkeypatch):
    need("transformers", "accelerate")
    check_trainer(load("transformers_trainer.py"), folder, monkeypatch)
    (last,) = (folder / "transformers").glob("checkpoint-4")
    state = json.loads((last / "trainer_state.json").read_text())
    assert [row["eval_top1"] for row in state["log_history"] if "eval_top1" in row]
    losses = [row["loss"] for row in state["log_history"] if "loss" in row]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))


def test_two_streams(folder, monkeypatch, capsys):
    example = load("two_streams.py")
    monkeypatch.setattr(example, "command", call)
    top1 = example.main(folder, epochs=1)
    assert (folder / "frames/closes/val_000/00001_x.jpg").exists()
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [(line.split()[0], float(line.split()[2])) for line in lines] == [
        (name, pytest.approx(value, abs=0.01)) for name, value in top1.items()
    ]
    flow = actrec.load(folder / "runs/two_streams_flow")
    assert flow.net.in_channels == 10
    results = [
        actrec.load(folder / f"runs/two_streams_{name}").evaluate(folder / "val.txt") for name in ("rgb", "flow")
    ]
    files = {str(i): ScoreFile(r.ids, r.scores, r.labels, flow.class_names) for i, r in enumerate(results)}
    assert fuse.fuse(files, config.Fusion()).result.top1 == top1["fusion"]  # as `actrec fuse`


def test_localization_features(made, trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    videos = [made / "videos/opens/val_000.mp4", made / "videos/closes/train_000.mp4"]
    out = load("localization_features.py").main(run, videos)
    described = json.loads((out / "features.json").read_text())
    assert (described["stride_seconds"], described["window_seconds"]) == (0.2, 0.8)
    for video in videos:
        features, times = (np.load(out / f"{video.stem}{end}.npy") for end in ("", "_times"))
        assert features.shape == (len(times), described["input_dim"])
        assert np.isfinite(features).all()
        assert np.ptp(features, axis=0).any()
        assert times[:-1, 0] == pytest.approx(0.2 * np.arange(len(times) - 1), abs=0.021)
        assert times[:-1, 1] - times[:-1, 0] == pytest.approx(0.8, abs=0.021)
        entry = described["videos"][video.stem]
        assert entry["num_features"] == len(times) > 5
        assert entry["duration"] == pytest.approx(times[-1, 1], abs=1e-6)
        assert round(entry["fps"]) in (24, 25, 30)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_notebook(folder, capsys):
    """Its cells are executed one after the other in one namespace, without a kernel: IPython is no dependency."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path = EXAMPLES / "notebook.ipynb"
    book = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells), "clear the outputs"
    found: dict[str, Any] = {}
    try:
        for cell in cells:
            exec(compile("".join(cell["source"]), path.name, "exec"), found)
            if "parameters" in cell["metadata"].get("tags", ()):
                found |= {"FOLDER": folder, "EPOCHS": 2}
        sizes = [len(plt.figure(number).axes) for number in plt.get_fignums()]
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
    finally:
        plt.close("all")
    assert sizes == [32, 2, 1, 8]
    assert np.isfinite(found["losses"]).all()
    assert len(found["losses"]) == 2 * 2
    assert len(found["accuracies"]) == 2
    assert found["matrix"].sum() == 8
    assert np.trace(found["matrix"]) / 8 * 100 == pytest.approx(found["result"].top1)
    assert found["explanation"].maps.shape[:2] == (2, 8)
    assert found["explanation"].maps.max() == 1


def test_every_example_is_on_its_page():
    page = (ROOT / "docs/examples.md").read_text(encoding="utf-8")
    of_docs = {"demo.py", "draw_concepts.py", "draw_readme.py"}  # test_docs.py has their tests
    examples = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")} - of_docs
    assert examples == {*re.findall(r"\(examples/(\w+\.\w+)\)", page)}
    tests = {re.sub(r"^test_(the_)?", "", name) for name, value in globals().items() if isinstance(value, Callable)}
    assert {re.sub(r"_(module|trainer)$", "", Path(name).stem) for name in examples} <= tests
