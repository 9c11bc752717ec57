"""`actrec doctor`: what works on this machine, what will be used for what, and the command that mends each problem.

Libraries are loaded and tried in child processes, each with a time limit, because a broken driver can crash or block
the process that uses it. What the child processes say is a mapping of plain values; `Examination` makes findings of it.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import actrec
from actrec import system
from actrec.words import counted

TIMEOUT = 120  # seconds for each child process
GIB = 1 << 30
_TOO_LITTLE = {"memory": 4 * GIB, "disk": 2 * GIB, "shared memory": GIB, "open files": 1024}
_GPU_PARTS = ("finish", "h264", "hevc", "vp8", "vp9", "images")
_DALI_WHEELS = {"12": "nvidia-dali-cuda120", "13": "nvidia-dali-cuda130"}
_EXTRAS = {  # what needs a package that is not always installed: extra, packages as they are imported
    "actrec export": ("export", ("onnx", "onnxruntime", "onnxscript")),
    "actrec linear-probe": ("probe", ("sklearn",)),
    "videos at URLs": ("remote", ("fsspec", "s3fs", "gcsfs", "aiohttp")),
    "--cluster": ("cluster", ("distributed",)),
}

State = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Args:
        name: what was checked.
        state: "broken" is something that should work here and does not. "note" is a limit.
        text: one line.
        fix: the command that mends it, or what to do.
    """

    name: str
    state: State
    text: str
    fix: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found.

    Args:
        findings: in the order of the checks.
        plan: what will be used for what.
    """

    findings: tuple[Finding, ...]
    plan: Mapping[str, str]

    @property
    def is_usable(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.state != "broken" for finding in self.findings)


def examine(folder: Path, *, progress: Callable[[int], None] | None = None) -> Diagnosis:
    """Tries everything.

    Args:
        folder: the free space of its disk is checked.
        progress: called with 1 after each child process.
    """
    return Examination(ask_all(progress or (lambda n: None))).diagnosis(folder)


def num_children() -> int:
    """How many child processes `examine` starts at least."""
    return len(_CHILDREN)


# What the child processes do. Each returns plain values.


def _try_torch() -> dict[str, Any]:
    import warnings

    import torch

    with warnings.catch_warnings(record=True) as warned:  # they say what is wrong with the driver
        warnings.simplefilter("always")
        has_gpu = torch.cuda.is_available()
    kernel = torch.ones(1, 3, 3, 3, 3)
    result = torch.nn.functional.conv3d(torch.ones(1, 3, 4, 8, 8), kernel)
    from actrec.engine.devices import choose_precision

    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())] if has_gpu else []
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": [{"name": gpu.name, "memory": gpu.total_memory} for gpu in gpus],
        "computes": bool((result == 81).all()),
        "computes_on_gpu": _computes_on_gpu() if has_gpu else None,
        "precision": choose_precision("auto", torch.device("cuda" if has_gpu else "cpu")),
        "threads": torch.get_num_threads(),
        "warnings": [" ".join(str(warning.message).split()) for warning in warned],
    }


def _computes_on_gpu() -> str | None:
    """Why the first GPU does not compute, or None."""
    import torch

    try:
        found = (torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")).cpu()
    except RuntimeError as error:
        return " ".join(str(error).split())[:300]
    return None if bool((found == 64).all()) else "its results are wrong"


def _try_videos() -> dict[str, Any]:
    from actrec.data.video.encode import EncoderError
    from actrec.data.video.sample import SAMPLES, fault_of_decoding, ffmpeg_version

    codecs = {}
    for codec, sample in SAMPLES.items():
        try:
            fault, is_tried = fault_of_decoding(codec), True
        except EncoderError:
            fault, is_tried = None, False
        codecs[codec] = {"title": sample.title, "fault": fault, "tried": is_tried}
    return {"ffmpeg": ffmpeg_version(), "codecs": codecs}


def _try_images() -> dict[str, Any]:
    import cv2

    from actrec.data.index.images import read_image
    from actrec.data.video.sample import difference, pictures

    faults = {}
    for extension in (".jpg", ".png"):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / f"a{extension}")
            picture = pictures()[0]
            Path(path).write_bytes(cv2.imencode(extension, picture[..., ::-1])[1].tobytes())
            faults[extension] = difference([read_image(path)], [picture])
    return {"version": cv2.__version__, "faults": {ext: fault for ext, fault in faults.items() if fault}}


def _try_dali(part: str, device: str) -> dict[str, Any]:
    import torch

    from actrec.data.video.encode import EncoderError
    from actrec.pipelines.dali.selftest import fault, fault_of_codec

    try:
        if part in ("finish", "images"):
            return {"fault": fault(part, torch.device(device)), "tried": True}
        return {"fault": fault_of_codec(part, torch.device(device)), "tried": True}
    except EncoderError:
        return {"fault": None, "tried": False}


def _try_dali_on_cpu() -> dict[str, Any]:
    answers = [_try_dali(part, "cpu") for part in ("finish", "images", "vp9")]
    return next((answer for answer in answers if answer["fault"] is not None), answers[0])


def _try_nvidia_smi() -> dict[str, Any]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=TIMEOUT / 2)
    rows = [line.rsplit(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    if done.returncode or not rows:
        said = (done.stdout.strip() or done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        return {"fault": said[0]}
    return {"fault": None, "gpus": [name for name, _ in rows], "driver": rows[0][1]}


_CHILDREN: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": _try_torch,
    "videos": _try_videos,
    "images": _try_images,
    "dali cpu": _try_dali_on_cpu,
    "nvidia-smi": _try_nvidia_smi,
}


def child(name: str) -> None:
    """Runs a check in this process, and writes its result to the standard output as JSON."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no reply
    try:
        result = _CHILDREN[name]() if name in _CHILDREN else _try_dali(*name.removeprefix("dali ").split(" "))
    except Exception as error:
        result = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    replies.write(json.dumps(result))
    replies.close()


class _Children:
    """The child processes that are running, so that they end with the command that is interrupted."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._ended = threading.Lock(), False

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        """As `subprocess.run`, with its output captured."""
        with self._lock:
            if self._ended:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
            )
            self._running.add(process)
        with process:
            try:
                out, err = process.communicate(timeout=TIMEOUT)
            except BaseException:
                process.kill()
                raise
            finally:
                self._running.discard(process)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def end(self) -> None:
        """Kills all, and starts no more."""
        with self._lock:
            self._ended = True
            for process in list(self._running):
                process.kill()


def ask(name: str, children: _Children | None = None) -> dict[str, Any]:
    """Runs a check in a child process. The result has the entry "failed" if the check itself failed."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from actrec.engine.doctor import child; child({name!r})"
    environment = {**os.environ, "SVT_LOG": "0"}
    try:
        done = (children or _Children()).run([sys.executable, "-c", code], env=environment)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {TIMEOUT} seconds"}
    except OSError as error:
        return {"failed": f"no process can be started ({error.strerror})"}
    with contextlib.suppress(ValueError):
        result = json.loads(done.stdout)
        if isinstance(result, dict):
            return result
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return {"failed": f"the process crashed with {how}" + (f": {said[-1][:200]}" if said else "")}


def ask_all(progress: Callable[[int], None]) -> dict[str, dict[str, Any]]:
    """Runs all checks in child processes, those of each GPU after torch has found it."""

    children = _Children()

    def ask_one(name: str) -> tuple[str, dict[str, Any]]:
        result = ask(name, children)
        progress(1)
        return name, result

    names = list(_CHILDREN)
    if shutil.which("nvidia-smi") is None:
        names.remove("nvidia-smi")
        progress(1)
    with ThreadPoolExecutor(min(4, system.num_cores())) as pool:
        try:
            answers = dict(pool.map(ask_one, names))
            num_gpus = len(answers["torch"].get("gpus", ()))
            parts = [f"dali {part} cuda:{gpu}" for gpu in range(num_gpus) for part in _GPU_PARTS]
            answers |= dict(pool.map(ask_one, parts))
        except BaseException:  # Ctrl-C: the pool would wait for them
            children.end()
            raise
    return answers


@dataclass(frozen=True)
class Examination:
    """What the child processes said.

    Args:
        answers: by the name of the check.
    """

    answers: Mapping[str, Mapping[str, Any]]

    def diagnosis(self, folder: Path) -> Diagnosis:
        findings = [
            *_python(),
            *_packages(),
            *self._torch(),
            *self._gpu(),
            *self._videos(),
            *self._images(),
            *self._dali(),
            *_extras(),
            *_machine(folder, num_gpus=self.num_gpus),
        ]
        return Diagnosis(tuple(findings), self._plan(findings))

    @property
    def num_gpus(self) -> int:
        return len(self.answers["torch"].get("gpus", ()))

    def _torch(self) -> Iterator[Finding]:
        torch = self.answers["torch"]
        if "failed" in torch:
            if _version("torch") is None:
                yield Finding("torch", "broken", "not installed", "pip install torch")
            else:
                fix = "pip install --force-reinstall torch"
                yield Finding("torch", "broken", f"cannot be used: {torch['failed']}", fix)
            return
        cuda = f"built for CUDA {torch['cuda']}" if torch["cuda"] else "built for CPUs only"
        text = f"{torch['version']}, {cuda}, {counted(torch['threads'], 'thread')}"
        if torch["computes"]:
            yield Finding("torch", "ok", text)
        else:
            yield Finding("torch", "broken", f"{text}: its results are wrong", "pip install --force-reinstall torch")

    def _gpu(self) -> Iterator[Finding]:
        torch, smi = self.answers["torch"], self.answers.get("nvidia-smi")
        driver = f", driver {smi['driver']}" if smi and smi.get("driver") else ""
        if self.num_gpus:
            for number, gpu in enumerate(torch["gpus"]):
                yield Finding(f"GPU {number}", "ok", f"{gpu['name']}, {gpu['memory'] / GIB:.0f} GiB{driver}")
            if torch["computes_on_gpu"] is not None:
                yield Finding("CUDA", "broken", f"the GPU does not compute: {torch['computes_on_gpu']}",
                              "install an NVIDIA driver and a torch for it: see docs/install.md")  # fmt: skip
            return
        if smi is None:
            yield Finding("GPU", "note", "none: there is no NVIDIA driver (nvidia-smi); the CPU does everything")
        elif (why := smi.get("failed") or smi["fault"]) is not None:
            fix = "restart the machine, or install the driver again; in a container: docker run --gpus all"
            yield Finding("GPU", "broken", f"the NVIDIA driver does not answer: {why}", fix)
        else:
            names = ", ".join(dict.fromkeys(smi["gpus"]))
            why = "torch is built for CPUs only" if not torch.get("cuda") else "; ".join(torch.get("warnings", ()))
            text = f"{names}{driver}, but torch finds no GPU" + (f": {why}" if why else "")
            fix = "pip install --force-reinstall torch (as pytorch.org says for your version of CUDA)"
            yield Finding("GPU", "broken", text, fix)

    def _videos(self) -> Iterator[Finding]:
        videos = self.answers["videos"]
        if "failed" in videos:
            yield Finding("videos", "broken", f"PyAV cannot be used: {videos['failed']}",
                          "pip install --force-reinstall av")  # fmt: skip
            return
        codecs = videos["codecs"].values()
        works = [codec["title"] for codec in codecs if codec["fault"] is None and codec["tried"]]
        untried = [codec["title"] for codec in codecs if codec["fault"] is None and not codec["tried"]]
        rest = f"; not tried, because there is no encoder: {', '.join(untried)}" if untried else ""
        yield Finding("videos", "ok", f"FFmpeg {videos['ffmpeg']} decodes {', '.join(works) or 'nothing'}{rest}")
        for codec in codecs:
            if codec["fault"] is not None:
                yield Finding(codec["title"], "broken", f"{codec['fault']}", "pip install --force-reinstall av")

    def _images(self) -> Iterator[Finding]:
        images, fix = self.answers["images"], "pip install --force-reinstall opencv-python-headless"
        if "failed" in images:
            yield Finding("images", "broken", f"OpenCV cannot be used: {images['failed']}", fix)
        elif images["faults"]:
            wrong = "; ".join(f"{extension}: {fault}" for extension, fault in images["faults"].items())
            yield Finding("images", "broken", f"OpenCV {images['version']}: {wrong}", fix)
        else:
            yield Finding("images", "ok", f"OpenCV {images['version']} decodes JPEG and PNG")

    def _dali(self) -> Iterator[Finding]:
        wheels = [name for name in _DALI_WHEELS.values() if _version(name)]
        on_cpu = _fault_in(self.answers["dali cpu"])
        wanted = self._dali_wheel()
        if len(wheels) > 1:
            others = " ".join(wheels)
            yield Finding("DALI", "broken", f"{' and '.join(wheels)} are installed, in the same folder",
                          f"pip uninstall -y {others} && pip install {wanted}")  # fmt: skip
        elif on_cpu == "it is not installed":
            if not _has_dali_wheels():
                yield Finding("DALI", "note", "not available on this system: color jitter and similar augmentations, "
                              "and decoding on a GPU, need it; everything else works without it")  # fmt: skip
            else:
                yield Finding("DALI", "broken" if self.num_gpus else "note",
                              "not installed: augmentations that change pixels, and decoding on a GPU, need it",
                              f"pip install {wanted}")  # fmt: skip
            return
        elif on_cpu is not None and "failed" in self.answers["torch"]:
            yield Finding("DALI", "note", "not tried, because torch cannot be used")
        elif on_cpu is not None:
            yield Finding("DALI", "broken", f"does not work on the CPU: {on_cpu}",
                          f"pip install --force-reinstall {wanted}")  # fmt: skip
        else:
            version = f" {_version(wheels[0])}" if wheels else ""
            yield Finding("DALI", "ok", f"{wheels[0] if wheels else 'installed'}{version}, works on the CPU")
        for number in range(self.num_gpus):
            yield from self._dali_on(number)

    def _dali_on(self, number: int) -> Iterator[Finding]:
        titles = {"finish": "resizing", "images": "NVJPG, JPEG", "h264": "NVDEC, H.264", "hevc": "NVDEC, HEVC",
                  "vp8": "NVDEC, VP8", "vp9": "NVDEC, VP9"}  # fmt: skip
        works: list[str] = []
        for part in _GPU_PARTS:
            answer = self.answers.get(f"dali {part} cuda:{number}", {"failed": "it was not tried"})
            fault = _fault_in(answer)
            if fault is None:
                works += [titles[part]] if answer["tried"] else []
            elif part in ("hevc", "vp8", "vp9"):  # older GPUs lack some of these decoders
                yield Finding(f"{titles[part]}, GPU {number}", "note", f"{fault}; the CPU decodes such videos")
            else:
                yield Finding(f"{titles[part]}, GPU {number}", "broken", f"{fault}; the CPU does it", self._mend(part))
        if works:
            yield Finding(f"DALI, GPU {number}", "ok", f"the pixels are right: {'; '.join(works)}")

    def _mend(self, part: str) -> str:
        wheels = [name for name in _DALI_WHEELS.values() if _version(name)]
        wanted = self._dali_wheel()
        if wheels and wheels != [wanted]:
            return f"pip uninstall -y {' '.join(wheels)} && pip install {wanted}"
        if part == "h264" and not _can_load("libnvcuvid.so.1"):
            return "in a container: docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
        return f"pip install --force-reinstall {wanted}"

    def _dali_wheel(self) -> str:
        """The wheel for the CUDA version of torch."""
        cuda = str(self.answers["torch"].get("cuda") or "13").partition(".")[0]
        return _DALI_WHEELS.get(cuda, _DALI_WHEELS["13"])

    def _plan(self, findings: list[Finding]) -> dict[str, str]:
        torch = self.answers["torch"]
        cores = counted(system.num_cores(), "thread")
        workers = f"decode workers on the CPU ({cores})"

        def gpu_does(part: str) -> bool:
            answers = [self.answers.get(f"dali {part} cuda:{n}", {"failed": ""}) for n in range(self.num_gpus)]
            return bool(answers) and all(_fault_in(answer) is None for answer in answers)

        finishes = gpu_does("finish")
        by_gpu = [title for part, title in (("h264", "H.264"), ("hevc", "HEVC"), ("vp8", "VP8"), ("vp9", "VP9"))
                  if finishes and gpu_does(part)]  # fmt: skip
        dali_on_cpu = _fault_in(self.answers["dali cpu"]) is None
        if finishes:
            augmentation = "DALI on the GPU"
        elif dali_on_cpu:
            augmentation = "flips and crops: decode workers; those that change pixels: DALI on the CPU"
        else:
            augmentation = "flips and crops: decode workers; those that change pixels are not available without DALI"
        if self.num_gpus:
            training = f"{torch['gpus'][0]['name']}" + (
                f", {self.num_gpus} GPUs with torchrun" if self.num_gpus > 1 else ""
            )
        else:
            training = "CPU"
        videos = f"{', '.join(by_gpu)}: the GPU (DALI); others: {workers}" if by_gpu else workers
        images = "the GPU (DALI)" if finishes and gpu_does("images") else workers
        return {
            "videos": "not possible: PyAV does not work" if "failed" in self.answers["videos"] else videos,
            "images": "not possible: OpenCV does not work" if "failed" in self.answers["images"] else images,
            "augmentation": augmentation,
            "training": "not possible: torch does not work"
            if "failed" in torch
            else f"{training}, {torch['precision']}",
        }


def _fault_in(answer: Mapping[str, Any]) -> str | None:
    failed = answer.get("failed")
    return str(failed) if failed is not None else answer["fault"]


# What needs no child process


def _python() -> Iterator[Finding]:
    where = f"{platform.system()} {platform.machine()}"
    text = f"{platform.python_version()} on {where}; actrec {actrec.__version__}"
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        yield Finding("Python", "ok", text)
    else:
        yield Finding("Python", "broken", f"{text}: expected 3.11 to 3.14", "install Python 3.13, and actrec in it")


def _packages() -> Iterator[Finding]:
    """Compares the installed packages with what actrec requires."""
    from packaging.requirements import Requirement

    try:
        texts = metadata.requires("actrec") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "note", "actrec runs from a folder in which it is not installed", "pip install .")
        return
    wanted = [
        requirement
        for requirement in map(Requirement, texts)
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        and not requirement.name.startswith("nvidia-dali")  # checked by using it
    ]
    wrong = 0
    for requirement in wanted:
        found = _version(requirement.name)
        if found is None and requirement.name == "torch":
            continue  # `Examination` says it
        if found is None:
            text = "not installed"
        elif not requirement.specifier.contains(found, prereleases=True):
            text = f"{found} is installed: expected {requirement.specifier}"
        else:
            continue
        wrong += 1
        yield Finding(requirement.name, "broken", text, f"pip install '{requirement.name}{requirement.specifier}'")
    if not wrong:
        names = ("av", "opencv-python-headless", "numpy", "click", "safetensors", "tensorboard")
        yield Finding("packages", "ok", ", ".join(f"{name} {_version(name)}" for name in names if _version(name)))


def _extras() -> Iterator[Finding]:
    for purpose, (extra, packages) in _EXTRAS.items():
        missing = [name for name in packages if not _is_installed(name)]
        if missing:
            text = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed, for {purpose}"
            yield Finding(f"extra {extra}", "note", text, f"pip install 'actrec[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "ok", f"installed, for {purpose}")


def _machine(folder: Path, *, num_gpus: int) -> Iterator[Finding]:
    cores, quota = system.num_cores(), system.core_quota()
    text = f"{cores} of {os.cpu_count()} can be used" + (f", limited to {quota:g} by a control group" if quota else "")
    yield Finding("cores", "ok", text)
    memory, total = system.usable_memory(), system.total_memory()
    limited = f" of {total / GIB:.1f} GiB" if memory < total else ""
    free = system.available_memory()
    if memory < _TOO_LITTLE["memory"]:
        yield Finding("memory", "note", f"{memory / GIB:.1f} GiB{limited} is little for training",
                      "pass a smaller --batch-size, --workers 1 and --prefetch 1")  # fmt: skip
    else:
        unused = f", {free / GIB:.1f} GiB available" if free is not None else ""
        yield Finding("memory", "ok", f"{memory / GIB:.1f} GiB{limited}{unused}")
    yield from _disk("disk", folder)
    try:
        yield from _disk("temporary files", Path(tempfile.gettempdir()))
    except FileNotFoundError:  # also if all disks are full
        yield Finding("temporary files", "broken", "no folder for them can be written", "export TMPDIR=FOLDER")
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).free
        if size < _TOO_LITTLE["shared memory"] and num_gpus > 1:
            yield Finding("shared memory", "broken", f"{size / GIB:.2f} GiB free in /dev/shm: too little for training "
                          "on several GPUs", "in a container: docker run --shm-size=8g")  # fmt: skip
        else:
            yield Finding("shared memory", "ok", f"{size / GIB:.2f} GiB free in /dev/shm")
    most = system.most_open_files()
    if most is not None and most < _TOO_LITTLE["open files"]:
        yield Finding("open files", "note", f"at most {most:,}: too few for many decode workers", "ulimit -n 4096")
    elif most is not None:
        yield Finding("open files", "ok", f"at most {most:,}")


def _disk(name: str, folder: Path) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage(folder).free
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        fix = "change to a folder that you may write to" if name == "disk" else "export TMPDIR=FOLDER"
        yield Finding(name, "broken", f"{folder}: no file can be written ({error.strerror})", fix)
        return
    text = f"{free / GIB:.1f} GiB free in {folder}"
    if free < _TOO_LITTLE["disk"]:
        yield Finding(name, "note", f"{text}: little for checkpoints and frames", f"df -h {folder}")
    else:
        yield Finding(name, "ok", text)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _has_dali_wheels() -> bool:
    return platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64")


def _can_load(library: str) -> bool:
    import ctypes

    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
