"""`actrec export`"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def test_export(run, trained, tmp_path):
    flags = ["--no-pt2", "--size", "48", "--crop-ratio", "1", "--sampling", "dense", "--stride", "2"]
    code, out, err = run("export", "--run", trained, "--out", tmp_path / "out", "--json", tmp_path / "a.json", *flags)
    assert code == 0
    assert err == [f"net: {trained / 'best.pt'} (resnet3d_10, epoch 1 of 1, run finished)"]
    assert len(out) == 2
    assert out[0].startswith("model.onnx: opset ")
    assert out[1] == f"resnet3d_10 from {trained / 'best.pt'} -> {tmp_path / 'out'}"
    assert sorted(os.listdir(tmp_path / "out")) == ["classify.py", "input.json", "labels.txt", "model.onnx"]
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["out"] == str(tmp_path / "out")
    assert told["onnx_difference"] < 1e-4
    assert told["pt2_difference"] is None
    spec = json.loads((tmp_path / "out/input.json").read_text())
    assert (spec["sampling"], spec["stride"]) == ("dense", 2)
    assert (spec["in_the_graph"]["size"], spec["in_the_graph"]["short_side"]) == (48, 48)
    code, _, err = run("export", "--run", trained, "--out", tmp_path / "out")
    assert code == 1
    assert err == [f"Error: {tmp_path / 'out'}: the folder is not empty: pass --force to replace the export in it"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--run", "nowhere"], "nowhere"),
        (["--checkpoint", "labels.txt"], "labels.txt"),
        (["--weights", "labels.txt", "--backbone", "s3d"], "labels.txt is a text file, not a weights file"),
    ],
)
def test_mistakes(run, inside, flags, line):
    code, _, err = run("export", "--out", "out", *flags)
    assert code in (1, 2)
    assert line in err[-1]
    assert not (inside / "out").exists()


def test_a_folder_that_cannot_be_written(run, trained, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = run("export", "--run", trained, "--out", tmp_path / "file/out")
    assert code == 1
    assert len(err) == 1
    assert str(tmp_path / "file/out") in err[0]


def test_help_loads_none_of_the_packages():
    code = "import sys; from actrec.cli.main import main\ntry: main(['export', '--help'])\nexcept SystemExit: pass\n"
    code += (
        "print('loaded:', [n for n in ('torch', 'onnx', 'onnxruntime', 'onnxscript', 'av', 'cv2') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")
