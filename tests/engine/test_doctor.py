"""`actrec doctor`: broken libraries, drivers and GPUs are named, with the command that mends them."""

from __future__ import annotations

import copy
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from actrec import system
from actrec.engine import doctor
from actrec.engine.doctor import Examination, ask, examine

WORKS = {"fault": None, "tried": True}
CPU = {
    "torch": {
        "version": "2.13.0", "cuda": "13.0", "gpus": [], "computes": True, "computes_on_gpu": None,
        "precision": "bfloat16", "threads": 8, "warnings": [],
    },
    "videos": {
        "ffmpeg": "8.1",
        "codecs": {"h264": {"title": "H.264", "fault": None, "tried": True},
                   "av1": {"title": "AV1", "fault": None, "tried": False}},
    },
    "images": {"version": "5.0.0", "faults": {}},
    "dali cpu": WORKS,
}  # fmt: skip
GPU = CPU | {
    "torch": CPU["torch"] | {"gpus": [{"name": "H200", "memory": 139 << 30}]},
    "nvidia-smi": {"fault": None, "gpus": ["H200"], "driver": "580.1"},
} | {f"dali {part} cuda:0": WORKS for part in doctor._GPU_PARTS}  # fmt: skip


def diagnosis(answers, changes=None, folder="."):
    answers = copy.deepcopy(answers)
    for name, change in (changes or {}).items():
        answers[name] = change if name not in answers or "failed" in change else answers[name] | change
    return Examination(answers).diagnosis(Path(folder))


def of(found, name):
    (finding,) = [finding for finding in found.findings if finding.name == name]
    return finding


@pytest.fixture(autouse=True)
def wheels(monkeypatch):
    """The machine of the test may have any wheel of DALI."""
    version = doctor._version
    installed = {"nvidia-dali-cuda130": "2.4.0", "nvidia-dali-cuda120": None}
    monkeypatch.setattr(doctor, "_version", lambda name: installed[name] if name in installed else version(name))
    monkeypatch.setattr(doctor, "_has_dali_wheels", lambda: True)
    monkeypatch.setattr(doctor, "_can_load", lambda library: True)
    return installed


def test_a_healthy_machine_without_a_gpu():
    found = diagnosis(CPU)
    assert found.is_usable
    assert of(found, "torch").text == "2.13.0, built for CUDA 13.0, 8 threads"
    assert of(found, "GPU").state == "note"
    assert of(found, "videos").text == "FFmpeg 8.1 decodes H.264; not tried, because there is no encoder: AV1"
    assert found.plan["training"] == "CPU, bfloat16"
    assert found.plan["videos"].startswith("decode workers on the CPU")
    assert found.plan["augmentation"].endswith("DALI on the CPU")


def test_a_healthy_machine_with_a_gpu():
    found = diagnosis(GPU)
    assert found.is_usable
    assert of(found, "GPU 0").text == "H200, 139 GiB, driver 580.1"
    assert of(found, "DALI, GPU 0").text == (
        "the pixels are right: resizing; NVDEC, H.264; NVDEC, HEVC; NVDEC, VP8; NVDEC, VP9; NVJPG, JPEG"
    )
    assert found.plan["videos"].startswith("H.264, HEVC, VP8, VP9: the GPU (DALI); others: decode workers")
    assert found.plan["images"] == "the GPU (DALI)"
    assert found.plan["augmentation"] == "DALI on the GPU"
    assert found.plan["training"] == "H200, bfloat16"


@pytest.mark.parametrize(
    ("base", "changes", "name", "text", "fix"),
    [
        (CPU, {"torch": {"failed": "ImportError: libtorch.so"}}, "torch", "cannot be used: ImportError: libtorch.so",
         "pip install --force-reinstall torch"),
        (CPU, {"torch": {"computes": False}}, "torch", "its results are wrong", "pip install --force-reinstall torch"),
        (CPU, {"videos": {"failed": "the process crashed with signal 11"}}, "videos", "crashed with signal 11",
         "pip install --force-reinstall av"),
        (CPU, {"videos": {"codecs": {"h264": {"title": "H.264", "fault": "the pixels are wrong", "tried": True}}}},
         "H.264", "the pixels are wrong", "pip install --force-reinstall av"),
        (CPU, {"images": {"failed": "ImportError: libGL.so.1"}}, "images", "libGL.so.1",
         "pip install --force-reinstall opencv-python-headless"),
        (CPU, {"images": {"faults": {".jpg": "the pixels are wrong"}}}, "images", ".jpg: the pixels are wrong",
         "pip install --force-reinstall opencv-python-headless"),
        (CPU, {"dali cpu": {"failed": "the process crashed with signal 6"}}, "DALI", "does not work on the CPU",
         "pip install --force-reinstall nvidia-dali-cuda130"),
        (CPU, {"nvidia-smi": {"fault": "couldn't communicate with the NVIDIA driver"}}, "GPU", "does not answer",
         "docker run --gpus all"),
        (CPU, {"nvidia-smi": {"failed": "no answer within 120 seconds"}}, "GPU", "no answer within", "restart"),
        (CPU, {"nvidia-smi": GPU["nvidia-smi"], "torch": {"cuda": None}}, "GPU",
         "H200, driver 580.1, but torch finds no GPU: torch is built for CPUs only", "pytorch.org"),
        (CPU, {"nvidia-smi": GPU["nvidia-smi"], "torch": {"warnings": ["The NVIDIA driver is too old"]}}, "GPU",
         "but torch finds no GPU: The NVIDIA driver is too old", "pytorch.org"),
        (GPU, {"torch": {"computes_on_gpu": "no kernel image is available"}}, "CUDA", "no kernel image", "driver"),
        (GPU, {"dali h264 cuda:0": {"fault": "NVCUVID is missing"}}, "NVDEC, H.264, GPU 0",
         "NVCUVID is missing; the CPU does it", "pip install --force-reinstall nvidia-dali-cuda130"),
        (GPU, {"dali images cuda:0": {"failed": "no answer within 120 seconds"}}, "NVJPG, JPEG, GPU 0",
         "no answer within 120 seconds; the CPU does it", "pip install --force-reinstall nvidia-dali-cuda130"),
        (GPU, {"dali finish cuda:0": {"failed": "the process crashed with signal 11"}}, "resizing, GPU 0",
         "crashed with signal 11; the CPU does it", "pip install --force-reinstall nvidia-dali-cuda130"),
        (GPU, {"dali finish cuda:0": {"fault": "CUDA driver version is insufficient"},
               "torch": {"cuda": "12.8"}}, "resizing, GPU 0", "insufficient",
         "pip uninstall -y nvidia-dali-cuda130 && pip install nvidia-dali-cuda120"),
    ],
)  # fmt: skip
def test_what_is_broken(base, changes, name, text, fix):
    found = diagnosis(base, changes)
    finding = of(found, name)
    assert not found.is_usable
    assert finding.state == "broken"
    assert text in finding.text
    assert fix in finding.fix


def test_what_the_gpu_cannot_do_is_done_by_the_cpu():
    found = diagnosis(GPU, {"dali finish cuda:0": {"fault": "broken"}})
    assert found.plan["videos"].startswith("decode workers on the CPU")
    assert found.plan["images"].startswith("decode workers on the CPU")
    assert found.plan["augmentation"].endswith("DALI on the CPU")
    assert found.plan["training"] == "H200, bfloat16"
    found = diagnosis(GPU, {"dali h264 cuda:0": {"fault": "broken"}, "dali images cuda:0": {"fault": "broken"}})
    assert found.plan["videos"].startswith("HEVC, VP8, VP9: the GPU (DALI); others: decode workers")
    assert found.plan["images"].startswith("decode workers")
    assert found.plan["augmentation"] == "DALI on the GPU"


def test_a_codec_that_a_gpu_lacks_is_not_broken():
    found = diagnosis(GPU, {"dali vp8 cuda:0": {"fault": "not supported"}})
    assert found.is_usable
    assert of(found, "NVDEC, VP8, GPU 0").text == "not supported; the CPU decodes such videos"
    assert found.plan["videos"].startswith("H.264, HEVC, VP9: the GPU")


def test_a_container_without_the_video_libraries(monkeypatch):
    monkeypatch.setattr(doctor, "_can_load", lambda library: library != "libnvcuvid.so.1")
    found = diagnosis(GPU, {"dali h264 cuda:0": {"fault": "broken"}})
    assert of(found, "NVDEC, H.264, GPU 0").fix.endswith("NVIDIA_DRIVER_CAPABILITIES=compute,utility,video")


def test_dali_is_missing(wheels, monkeypatch):
    missing = {"fault": "it is not installed", "tried": True}
    wheels["nvidia-dali-cuda130"] = None
    found = diagnosis(CPU, {"dali cpu": missing})
    assert found.is_usable
    assert of(found, "DALI").fix == "pip install nvidia-dali-cuda130"
    assert "not available without DALI" in found.plan["augmentation"]
    found = diagnosis(GPU, {"dali cpu": missing, "torch": {"cuda": "12.6"}})
    assert not found.is_usable
    assert of(found, "DALI").fix == "pip install nvidia-dali-cuda120"
    monkeypatch.setattr(doctor, "_has_dali_wheels", lambda: False)
    found = diagnosis(GPU, {"dali cpu": missing})
    assert found.is_usable
    assert of(found, "DALI").text.startswith("not available on this system")


def test_two_wheels_of_dali(wheels):
    wheels["nvidia-dali-cuda120"] = "2.4.0"
    finding = of(diagnosis(CPU), "DALI")
    assert (finding.state, finding.fix) == (
        "broken", "pip uninstall -y nvidia-dali-cuda120 nvidia-dali-cuda130 && pip install nvidia-dali-cuda130",
    )  # fmt: skip


def test_packages_that_do_not_fit(monkeypatch):
    version = doctor._version
    versions = {"av": "17.0.0", "numpy": None, "click": "8.1.8"}
    monkeypatch.setattr(doctor, "_version", lambda name: versions[name] if name in versions else version(name))
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["av>=18", "numpy>=2", "click>=8.1; extra == 'no'"])
    found = diagnosis(CPU)
    assert (of(found, "av").text, of(found, "av").fix) == (
        "17.0.0 is installed: expected >=18", "pip install 'av>=18'",
    )  # fmt: skip
    assert of(found, "numpy").text == "not installed"
    assert not [finding for finding in found.findings if finding.name == "click"]


def test_a_python_that_is_not_supported(monkeypatch):
    monkeypatch.setattr(sys, "version_info", namedtuple("Version", "major minor")(3, 10))
    assert of(diagnosis(CPU), "Python").state == "broken"


def test_missing_extras(monkeypatch):
    monkeypatch.setattr(doctor, "_is_installed", lambda name: name != "onnxscript")
    finding = of(diagnosis(CPU), "extra export")
    assert (finding.state, finding.fix) == ("note", "pip install 'actrec[export]'")


def test_limits_of_the_machine(monkeypatch, tmp_path):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 100 << 20))
    monkeypatch.setattr(system, "usable_memory", lambda: 2 << 30)
    monkeypatch.setattr(system, "total_memory", lambda: 64 << 30)
    monkeypatch.setattr(system, "most_open_files", lambda: 256)
    monkeypatch.setattr(system, "core_quota", lambda: 1.5)
    found = diagnosis(CPU, folder=tmp_path)
    assert of(found, "memory").text == "2.0 GiB of 64.0 GiB is little for training"
    assert of(found, "disk").state == "note"
    assert of(found, "open files").fix == "ulimit -n 4096"
    assert "limited to 1.5 by a control group" in of(found, "cores").text
    assert found.is_usable
    two = GPU | {"torch": GPU["torch"] | {"gpus": 2 * GPU["torch"]["gpus"]}}
    two |= {f"dali {part} cuda:1": WORKS for part in doctor._GPU_PARTS}
    if Path("/dev/shm").is_dir():
        assert of(diagnosis(two), "shared memory").fix.endswith("--shm-size=8g")


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    finding = of(diagnosis(CPU, folder=tmp_path), "disk")
    assert (finding.state, finding.text) == ("broken", f"{tmp_path}: no file can be written (Permission denied)")


# The child processes


@pytest.mark.parametrize(
    ("library", "failed"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process crashed with signal 11"),
        ("import os, sys; print('CUDA is lost', file=sys.stderr); os._exit(3)",
         "the process crashed with exit code 3: CUDA is lost"),
        ("raise ImportError('libGL.so.1: cannot open shared object file')",
         "ImportError: libGL.so.1: cannot open shared object file"),
        ("import time; time.sleep(600)", "no answer within 2 seconds"),
    ],
    ids=["crash", "exit", "import", "hang"],
)  # fmt: skip
def test_a_broken_library_does_not_end_the_command(library, failed, tmp_path, monkeypatch):
    (tmp_path / "cv2.py").write_text(library)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "TIMEOUT", 2 if "sleep" in library else 120)
    assert ask("images") == {"failed": failed}


def test_what_libraries_print_is_no_answer(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import os; os.write(1, b'{}'); raise OSError('no')")
    monkeypatch.syspath_prepend(tmp_path)
    assert ask("torch") == {"failed": "OSError: no"}


def test_without_torch_only_torch_is_broken(monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "torch" else version(package))
    missing = {"failed": "ModuleNotFoundError: No module named 'torch'"}
    found = diagnosis(CPU, {"torch": missing, "dali cpu": missing})
    assert [(one.name, one.text) for one in found.findings if one.state == "broken"] == [("torch", "not installed")]
    assert of(found, "torch").fix == "pip install torch"
    assert of(found, "DALI").text == "not tried, because torch cannot be used"


def test_an_interrupt_ends_the_child_processes(tmp_path, monkeypatch):
    pids = tmp_path / "pids"
    code = f"import os, time; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    for name in ("torch", "cv2", "av"):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)

    def interrupt():
        while not (pids.exists() and pids.read_text().endswith("\n")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        doctor.ask_all(lambda n: None)
    thread.join()
    assert time.monotonic() - start < 60
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_process_can_be_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert ask("images") == {"failed": "no process can be started (No such file or directory)"}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo 'NVIDIA H200, 580.1'; echo 'NVIDIA H200, 580.1'",
         {"fault": None, "gpus": ["NVIDIA H200", "NVIDIA H200"], "driver": "580.1"}),
        ("echo \"NVIDIA-SMI has failed because it couldn't communicate\"; exit 9",
         {"fault": "NVIDIA-SMI has failed because it couldn't communicate"}),
        ("exit 1", {"fault": "exit code 1"}),
    ],
)  # fmt: skip
def test_the_driver(script, answer, tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert ask("nvidia-smi") == answer


def test_every_gpu_is_tried(monkeypatch):
    asked = []

    def answer(name, children):
        asked.append(name)
        return {"gpus": [{}, {}]} if name == "torch" else WORKS

    monkeypatch.setattr(doctor, "ask", answer)
    answers = doctor.ask_all(lambda n: None)
    assert {name for name in asked if "cuda" in name} == {
        f"dali {part} cuda:{gpu}" for part in doctor._GPU_PARTS for gpu in (0, 1)
    }
    assert set(answers) == set(asked)


@pytest.mark.gpu
def test_a_gpu_works(tmp_path):
    assert examine(tmp_path).is_usable


def test_a_gpu_that_is_not_there_is_a_fault():
    assert "CUDA is not available" in ask("dali finish cuda:7")["fault"] or ask("torch")["gpus"]


def test_no_folder_for_temporary_files(monkeypatch):
    def full():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", full)
    found = of(diagnosis(CPU), "temporary files")
    assert (found.state, found.fix) == ("broken", "export TMPDIR=FOLDER")


@pytest.mark.parametrize(("name", "package"), [("videos", "PyAV"), ("images", "OpenCV"), ("torch", "torch")])
def test_what_is_broken_is_not_used(name, package):
    purpose = "training" if name == "torch" else name
    assert diagnosis(CPU, {name: {"failed": "x"}}).plan[purpose] == f"not possible: {package} does not work"
