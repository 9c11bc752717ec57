"""The examples of docs/extending.md, executed. In processes of their own: registering is for good."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs/extending.md"
FILES = ["my_augment.py", "my_script.py", "my_actrec.py", "my_nets.py", "my_nets_by_name.py"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The page's files, and a dataset of four videos."""
    root, rng = tmp_path_factory.mktemp("extending"), np.random.default_rng(0)
    blocks = re.findall(r"^    # (\w+\.py)\n((?:    .*\n|\n)+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in blocks] == FILES
    for name, block in blocks:
        (root / name).write_text(re.sub(r"^    ", "", block, flags=re.MULTILINE), encoding="utf-8")
    for number in range(4):
        (root / f"frames/{number}").mkdir(parents=True)
        for i in range(12):
            picture = cv2.resize(rng.integers(60, 200, (6, 8, 3), np.uint8), (80, 60))
            cv2.imwrite(str(root / f"frames/{number}/{i + 1:05d}.jpg"), picture)
    for part in ("train", "val"):
        rows = "".join(f"frames/{number} 1 12 {number % 2}\n" for number in range(4))
        (root / f"{part}.txt").write_text(rows, encoding="utf-8")
    return root


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


CHECK = """
exec(open("my_script.py").read())
import numpy as np
batches = list(loader)
assert sum(map(len, batches)) == 4
plans = [loader.plan(epoch, row) for epoch in range(5) for row in range(4)]
backwards = [bool(plan.drawn["reverse"]) for plan in plans]
assert 3 < sum(backwards) < 17
assert all((np.diff(plan.frames) >= 0).all() != b for plan, b in zip(plans, backwards))
plain = actrec.train_loader(videos, actrec.Clip(frames=8), net.input, augment=actrec.Augment(), batch_size=2)
unchanged = {id: clip for batch in plain for id, clip in zip(batch.videos, batch.clips)}
for batch in batches:
    for id, clip in zip(batch.videos, batch.clips):
        row = int(id[-1])
        drawn, same = loader.plan(0, row).drawn, plain.plan(0, row)
        expected = unchanged[id].flip(1) if drawn["reverse"] else unchanged[id]
        assert (loader.plan(0, row).box, loader.plan(0, row).flip) == (same.box, same.flip)
        hue, saturation, value = drawn["hsv"]
        assert abs(hue) <= 20 and 0.7 <= saturation <= 1.3 and 0.7 <= value <= 1.3
        assert 0.01 < (clip - expected).abs().mean() < 2

from actrec.pipelines import augment
from actrec.pipelines.dali import graph, routes
settings = graph.GraphSettings("cuda", None, 1, 2, "float32")
pixels = [a for a in augment.active(options) if a.changes_pixels]
assert [a.name for a in pixels] == ["hsv"]
for route in (routes.PIXELS, routes.VIDEO, routes.IMAGES):
    graph.train_graph(route, net.input, augmentations=pixels, settings=settings).pipe.serialize()

exec(open("my_nets_by_name.py").read())
assert net(batches[0].clips).shape == (2, 8)
assert net[0].out_channels == 32
"""


def test_the_python_examples(folder):
    run(folder, "-c", CHECK)


def test_the_command_line(folder):
    help_text = run(folder, "my_actrec.py", "train", "--help-all")
    assert "--reverse FLOAT" in help_text
    assert "--hsv NUMBERS" in help_text
    options = ["--backbone", "my_nets:tiny", "--reverse", "0.5", "--hsv", "20,0.3,0.3", "--epochs", "1"]
    options += ["--batch-size", "2", "--size", "32", "--frames", "4", "--run", "run", "--no-tensorboard"]
    run(folder, "my_actrec.py", "train", *options)
    assert '"hsv": [' in (folder / "run/config.json").read_text(encoding="utf-8")
