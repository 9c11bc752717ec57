"""Exported nets: the files, and what a program without actrec makes of them."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numbered_videos
import numpy as np
import onnxruntime
import pytest
import torch
from av.video.reformatter import ColorRange
from torch import nn

import actrec
from actrec import config
from actrec.data.sampling import samplers
from actrec.data.sampling.geometry import crop_offsets, eval_resize
from actrec.data.video.color import to_rgb
from actrec.inference import export
from actrec.nets import catalog
from actrec.pipelines.workers.resize import resize

SMALLER = {"c3d": {"global_pooling": True}, "wide_resnet3d_50": {"widen": 0.25}}  # options that make nets cheap
NAMES = [family.names[0] for family in catalog.families()]
OTHER_FORMS = (  # options off the default that change the graph
    ("tam_resnet18", {"blending": "max", "temporal_stride": False}),
    ("tsm_resnet18", {"temporal_stride": True}),
    ("resnet3d_10", {"shortcut": "A", "widen": 0.5}),
)


def model_of(net: nn.Module, *, frames: int = 8, size: int = 32, **changes) -> actrec.Model:
    flow = net.in_channels == 10
    made = actrec.Model(
        net=net.eval(),
        input=config.Frame(size=size).applied_to(net.input),
        clip=actrec.Clip(frames=frames, modality="flow" if flow else "rgb"),
        views=actrec.Views(),
        classes=None,
        scoring=config.Scoring(),
        multi_label=False,
        channels_last=False,
        device=torch.device("cpu"),
        loader=config.Loader(),
        source=Path("net.pt"),
    )
    return replace(made, **changes)


def session_of(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def classify(folder: Path, *videos: Path, cwd: Path) -> dict[str, dict[str, float]]:
    """What classify.py prints in a process that can import neither actrec nor torch."""
    blocked = "import sys; sys.modules.update(actrec=None, torch=None, cv2=None); "
    start = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", blocked + start, folder / "classify.py", *videos]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, dict[str, float]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("  "):
            probability, label = line.split(maxsplit=1)
            found[list(found)[-1]][label] = float(probability)
        else:
            found[line] = {}
    return found


@pytest.fixture(scope="module")
def model(trained) -> actrec.Model:
    return actrec.load(trained, device="cpu")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> Path:
    """The folder of an exported net: that of the short training run."""
    folder = tmp_path_factory.mktemp("export") / "new/out"
    level, shown, handlers = logging.root.manager.disable, list(warnings.filters), list(logging.root.handlers)
    found = model.export(folder)
    assert (logging.root.manager.disable, warnings.filters, logging.root.handlers) == (level, shown, handlers)
    assert found.opset >= 18
    assert found.onnx_difference < 1e-5
    assert found.pt2_difference < 1e-5
    assert [entry.name for entry in folder.parent.iterdir()] == ["out"]
    return folder


def test_the_folder_describes_the_net(exported, model):
    assert sorted(os.listdir(exported)) == ["classify.py", "input.json", "labels.txt", "model.onnx", "model.pt2"]
    assert (exported / "labels.txt").read_text() == "dark\nbright\n"
    spec = json.loads((exported / "input.json").read_text())
    assert spec["classes"] == ["dark", "bright"]
    assert spec["input"] == {
        "name": "frames", "dtype": "uint8", "layout": "NTHWC", "shape": ["N", 5, "H", "W", 3], "channels": "RGB"
    }  # fmt: skip
    assert (spec["frames"], spec["sampling"], spec["rule"], spec["stride"]) == (5, "uniform", "actrec", 1)
    assert spec["in_the_graph"]["size"] == 32
    assert spec["in_the_graph"]["crop_ratio"] == model.views.crop_ratio
    assert spec["in_the_graph"]["mean"] == [0.5, 0.5, 0.5]
    assert spec["versions"]["actrec"] == actrec.__version__
    session = session_of(exported)
    assert [(one.name, one.shape, one.type) for one in session.get_inputs()] == [
        ("frames", ["N", 5, "H", "W", 3], "tensor(uint8)")
    ]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [
        ("logits", ["N", 2]),
        ("probabilities", ["N", 2]),
    ]


def test_the_graph_takes_frames_of_any_size_and_gives_the_scores_of_evaluate(exported, model, tmp_path):
    """Whole images are decoded exactly, so that only the graph's arithmetic differs."""
    session, program = session_of(exported), torch.export.load(exported / "model.pt2").module()
    rng = np.random.default_rng(0)
    for width, height in ((32, 24), (37, 61), (90, 70), (200, 41)):
        folder = tmp_path / f"{width}x{height}"
        folder.mkdir()
        frames = rng.integers(0, 256, (5, height, width, 3), dtype=np.uint8)
        for i, frame in enumerate(frames):
            cv2.imwrite(str(folder / f"{i + 1:05d}.png"), frame[:, :, ::-1])
        video = actrec.Video(str(folder), str(folder), None, None, ())
        expected = model.score([video]).scores[0]
        batch = np.stack([frames, frames[::-1], frames])
        logits, probabilities = session.run(None, {"frames": batch})
        assert np.allclose(program(torch.from_numpy(batch))[0], logits, atol=1e-5)
        assert np.array_equal(logits[0], logits[2])
        assert not np.array_equal(logits[0], logits[1])
        assert np.abs(logits[0] - expected).max() < 0.01 * np.abs(expected).max()
        assert np.allclose(probabilities, torch.from_numpy(logits).softmax(1), atol=1e-6)


def test_a_program_without_actrec_predicts_as_actrec(exported, model, tmp_path):
    rng = np.random.default_rng(1)
    videos = []
    for name, low, high, count in (("a b", 0, 110, 23), ("bright", 140, 256, 12), ("mixed", 0, 256, 3)):
        frames = [
            np.kron(rng.integers(low, high, (9, 12, 3)), np.ones((8, 8, 1))).astype(np.uint8) for _ in range(count)
        ]
        videos.append(numbered_videos.write(tmp_path / f"{name}.mp4", frames))
    found = classify(exported, *videos, cwd=tmp_path)
    assert list(found) == [str(path) for path in videos]
    for path in videos:
        expected = dict(model.predict(path))
        assert set(found[str(path)]) == set(expected)
        assert max(found[str(path)], key=found[str(path)].get) == max(expected, key=expected.get)
        assert all(abs(found[str(path)][label] - expected[label]) < 0.002 for label in expected)


def test_a_program_without_actrec_chooses_the_same_video_stream(exported, model, tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for level, side in ((40, 32), (215, 96)):  # dark and small, bright and large
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            streams.append((stream, np.full((side, side, 3), level, np.uint8)))
        for _ in range(10):
            for stream, frame in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        for stream, _ in streams:
            container.mux(stream.encode(None))
    found, expected = classify(exported, path, cwd=tmp_path)[str(path)], model.predict(path)
    assert next(iter(found)) == expected[0][0]
    assert all(abs(found[label] - probability) < 0.002 for label, probability in expected)


def test_a_program_without_actrec_reads_a_video_with_a_stream_that_begins_late(exported, model, tmp_path):
    path, source = tmp_path / "a.ts", tmp_path / "a.mp4"
    numbered_videos.write(source, [numbered_videos.numbered(n) for n in range(40)], bframes=2)
    with av.open(str(source)) as video, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video.streams.video[0]):
            if packet.dts is not None:  # not the empty one at the end
                packet.stream = stream
                copy.mux(packet)
    data = bytearray(path.read_bytes())
    begins = [i for i in range(0, len(data), 188) if data[i + 1 : i + 3] == b"\x41\0"]  # of pictures
    data[begins[29] + 2] ^= 1  # this packet begins a stream of its own
    path.write_bytes(data)
    with av.open(str(path)) as video, pytest.raises(IndexError):
        list(video.demux(video.streams.video[0]))
    found, expected = classify(exported, path, cwd=tmp_path)[str(path)], model.predict(path)
    assert next(iter(found)) == expected[0][0]
    assert all(abs(found[label] - probability) < 0.002 for label, probability in expected)


def test_a_program_without_actrec_predicts_real_videos_as_actrec(exported, model, shared_videos, tmp_path):
    videos = sorted((shared_videos / "ut_interaction").rglob("*.avi"))[::20]
    assert videos
    found = classify(exported, *videos, cwd=tmp_path)
    for path, expected in zip(videos, model.predict(videos)):
        assert next(iter(found[str(path)])) == expected[0][0]
        assert all(abs(found[str(path)][label] - probability) < 0.002 for label, probability in expected)


@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("yuv420p", 48),
        ("yuv420p", 47),
        ("yuvj420p", 48),
        ("yuv422p", 48),
        ("yuv444p", 48),
        ("yuv420p10le", 48),
        ("gray", 48),
        ("rgb24", 48),
    ],
)
def test_the_program_converts_colors_as_evaluate_does(name, height):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (height, 64, 3), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=name)
    for plane in picture.planes if name in ("yuv420p", "yuvj420p") else ():  # also values that no RGB has
        plane.update(rng.integers(0, 256, plane.buffer_size, dtype=np.uint8))
    names: dict = {}
    text = export._program(actrec.Clip(frames=4))
    exec("import numpy as np\n" + text[text.index("# The contributions") : text.index("def read_clip")], names)
    for colorspace in (1, 2, 4, 5, 6, 7, 9, 10):
        for color_range in ColorRange.UNSPECIFIED, ColorRange.MPEG, ColorRange.JPEG:
            picture.colorspace, picture.color_range = colorspace, color_range
            assert np.array_equal(names["to_rgb"](picture), to_rgb(picture))


@pytest.mark.parametrize(
    "clip",
    [
        {"sampling": "uniform", "rule": "actrec"},
        {"sampling": "uniform", "rule": "comb"},
        {"sampling": "uniform", "rule": "ibm"},
        {"sampling": "dense", "stride": 3},
        {"sampling": "dense", "stride": 2, "rule": "ibm"},
    ],
    ids=lambda clip: "-".join(map(str, clip.values())),
)
def test_the_program_samples_frames_as_evaluate_does(clip):
    clip = actrec.Clip(frames=5, **clip)
    line = re.search(r"^    wanted = .*$", export._program(clip), re.MULTILINE)[0]
    for num_frames in (1, 2, 4, 5, 6, 9, 13, 14, 100, 1237):
        if clip.sampling == "dense":
            expected = samplers.dense(num_frames=num_frames, frames=5, stride=clip.stride, rule=clip.rule)
        else:
            expected = samplers.uniform(num_frames=num_frames, frames=5, rule=clip.rule)
        names = {"np": np, "T": 5, "SPEC": {"stride": clip.stride}, "n": num_frames}
        exec(line.strip(), names)
        assert names["wanted"] == expected[0].tolist()


@pytest.mark.parametrize(
    ("width", "height"), [(32, 24), (24, 32), (40, 40), (37, 37), (320, 240), (101, 333), (640, 97), (9, 500)]
)
@pytest.mark.parametrize("crop_ratio", [0.875, 1.0])
def test_frames_are_resized_and_cropped_as_by_evaluate(width, height, crop_ratio):
    size = 32
    plain = config.Input(mean=(0.0,) * 3, std=(1 / 255,) * 3, frames=1, size=size)
    classifier = export.Classifier(nn.Flatten(), plain, crop_ratio=crop_ratio, multi_label=False)
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    resized = eval_resize(width, height, size, crop_ratio)
    x, y = crop_offsets(*resized, size, 1)[0]
    whole = np.empty((*resized[::-1], 3), np.uint8)
    resize(frame, out=whole)
    found = classifier(torch.from_numpy(frame)[None, None])[0].reshape(3, size, size).permute(1, 2, 0).numpy()
    difference = np.abs(found - whole[y : y + size, x : x + size])
    assert difference.max() <= 1
    assert difference.mean() < (0.06 if min(width, height) > size / crop_ratio else 0.2)


def test_a_net_of_2d_convolutions(tmp_path):
    _check("tsm_resnet18", {}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [*((name, SMALLER.get(name, {})) for name in NAMES), *OTHER_FORMS])
def test_all_families(name, options, tmp_path):
    _check(name, options, tmp_path)


def _check(name: str, options: dict, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = actrec.net(name, num_classes=5, **options)
    frames = 16 if name.startswith("densenet") else 8
    found = model_of(net, frames=frames).export(tmp_path / "out", pt2=False)
    assert found.onnx_difference < 1e-5
    assert found.pt2_difference is None
    assert not (tmp_path / "out/model.pt2").exists()


class Tiny(nn.Module):
    """A net from outside actrec, which does what its option says."""

    def __init__(self, num_classes: int, in_channels: int = 3, kind: str = "good"):
        super().__init__()
        self.fc, self.kind = nn.Linear(in_channels, num_classes), kind

    def forward(self, x):
        if self.kind == "branches" and x.sum() > 0:
            x = -x
        if self.kind == "one size" and len(x) != 2:
            x = x[:, :, :1]
        if self.kind == "numpy":
            x = torch.from_numpy(x.detach().numpy() * 2)
        logits = self.fc(x.mean((2, 3, 4)))
        return logits * float("nan") if self.kind == "nan" else logits


def test_nets_for_flow_and_several_labels(tmp_path):
    model = model_of(actrec.net(f"{__name__}:Tiny", num_classes=3, in_channels=10), frames=4, multi_label=True)
    assert model.export(tmp_path, pt2=False).onnx_difference < 1e-4
    assert sorted(os.listdir(tmp_path)) == ["input.json", "labels.txt", "model.onnx"]
    assert (tmp_path / "labels.txt").read_text() == "0\n1\n2\n"
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 40, 50, 10), dtype=np.uint8)
    logits, probabilities = session_of(tmp_path).run(None, {"frames": frames})
    assert np.allclose(probabilities, 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert json.loads((tmp_path / "input.json").read_text())["outputs"]["activation"] == "sigmoid"


NAN = ": the logits of model.onnx differ from the net's by nan of the largest one: expected at most 1e-04"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("branches", " cannot be exported: GuardOnDataDependentSymNode: Could not guard on data-dependent expression"),
        ("one size", " cannot be exported: UserError: Constraints violated (N)!"),
        ("numpy", " cannot be exported: RuntimeError: .numpy() is not supported"),
        ("nan", NAN),
    ],
)
def test_a_net_that_cannot_be_exported_leaves_nothing(kind, reason, tmp_path, capfd):
    net = actrec.net(f"{__name__}:Tiny", num_classes=3, kind=kind)
    with pytest.raises(ValueError) as told:
        model_of(net, frames=4).export(tmp_path / "out", pt2=False)
    assert str(told.value).startswith(f"net '{__name__}:Tiny'{reason}")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
    assert not any(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_file_that_differs_from_the_net_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="the logits of model.onnx differ from the net's by .*e-"):
        model_of(actrec.net(f"{__name__}:Tiny", num_classes=3), frames=4).export(tmp_path / "out", pt2=False)
    assert not any(tmp_path.iterdir())


def test_folders_that_are_in_use(model, exported, tmp_path):
    with pytest.raises(OSError, match="the folder is not empty: force=True"):
        export.check_folder(exported, force=False)
    export.check_folder(exported, force=True)
    (tmp_path / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(OSError, match="contains 'thesis.txt', which is not part of an export"):
            model.export(tmp_path, force=force)
    assert os.listdir(tmp_path) == ["thesis.txt"]
    with pytest.raises(OSError):
        model.export(tmp_path / "thesis.txt")
    with pytest.raises(OSError):
        model.export(tmp_path / "thesis.txt/out")


def test_force_replaces_an_export(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.pt2").write_text("old")
    (tmp_path / "out/labels.txt").write_text("old")
    model_of(actrec.net(f"{__name__}:Tiny", num_classes=2), frames=4).export(tmp_path / "out", pt2=False, force=True)
    assert os.listdir(tmp_path) == ["out"]
    assert sorted(os.listdir(tmp_path / "out")) == ["classify.py", "input.json", "labels.txt", "model.onnx"]
    assert (tmp_path / "out/labels.txt").read_text() == "0\n1\n"


def test_missing_packages(model, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"^export needs onnxscript: pip install 'actrec\[export\]'$"):
        model.export(tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_the_program_names_broken_files_and_goes_on(exported, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    good = numbered_videos.write(tmp_path / "good.mp4", frames)
    content = good.read_bytes()
    place, length = content.index(b"mdat") + 4, content.index(b"moov") - content.index(b"mdat") - 8
    (tmp_path / "zeros.mp4").write_bytes(content[:place] + bytes(length) + content[place + length :])
    avi = numbered_videos.write(tmp_path / "good.avi", frames).read_bytes()
    (tmp_path / "cut.avi").write_bytes(avi[: len(avi) // 3])
    (tmp_path / "text.mp4").write_text("not a video")
    names = ["gone.mp4", "text.mp4", "cut.avi", "zeros.mp4", "good.mp4"]
    done = subprocess.run(
        [sys.executable, exported / "classify.py", *names], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == names[:4]
    assert "gone.mp4: No such file or directory" in done.stderr
    assert re.search(r"cut.avi: the file is broken: it contains \d+ of 40 frames", done.stderr)
    assert done.stdout.splitlines()[0] == "good.mp4"


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0)])
def test_the_program_shows_its_usage(exported, arguments, code):
    done = subprocess.run([sys.executable, exported / "classify.py", *arguments], capture_output=True, text=True)
    assert done.returncode == code
    assert (done.stderr or done.stdout).startswith("usage: classify.py [-h] VIDEO [VIDEO ...]")
