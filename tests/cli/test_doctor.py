"""`actrec doctor` on this machine, and how it shows what it found."""

from __future__ import annotations

import json
import subprocess
import sys

from actrec.engine import doctor
from actrec.engine.doctor import Diagnosis, Finding


def test_this_machine(run, tmp_path):
    code, out, _ = run("doctor", "--json", tmp_path / "doctor.json")
    assert (code, out[-1]) == (0, "nothing is broken")
    result = json.loads((tmp_path / "doctor.json").read_text())
    assert result["usable"]
    assert {finding["state"] for finding in result["findings"]} <= {"ok", "note"}
    (videos,) = [finding["text"] for finding in result["findings"] if finding["name"] == "videos"]
    assert "decodes H.264, HEVC" in videos
    assert set(result["plan"]) == {"videos", "images", "augmentation", "training"}


def test_what_is_broken_ends_with_exit_code_1(run, monkeypatch, tmp_path):
    found = (
        Finding("torch", "ok", "2.13.0"),
        Finding("extra probe", "note", "sklearn is not installed", "pip install 'actrec[probe]'"),
        Finding("videos", "broken", "PyAV cannot be used", "pip install --force-reinstall av"),
    )
    monkeypatch.setattr(doctor, "examine", lambda folder, progress: Diagnosis(found, {"training": "CPU, float32"}))
    code, out, _ = run("doctor", "--json", tmp_path / "doctor.json")
    assert code == 1
    assert out[:5] == [
        "ok      torch        2.13.0",
        "note    extra probe  sklearn is not installed",
        "                     to change it: pip install 'actrec[probe]'",
        "broken  videos       PyAV cannot be used",
        "                     to fix it: pip install --force-reinstall av",
    ]
    assert out[-1] == "broken: videos"
    assert json.loads((tmp_path / "doctor.json").read_text())["usable"] is False


def test_a_missing_folder(run):
    code, _, err = run("doctor", "--data", "nowhere")
    assert (code, err) == (1, ["Error: nowhere: expected a folder that exists"])


def test_the_command_itself_loads_no_library_that_can_crash():
    code = (
        "import sys, actrec.engine.doctor, actrec.cli.doctor\n"
        "print([name for name in ('torch', 'av', 'cv2', 'nvidia.dali', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
