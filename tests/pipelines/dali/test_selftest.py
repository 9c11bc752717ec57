"""DALI is tried before it is used on a GPU; what it cannot do, the workers do."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import pytest
import torch
from numbered_videos import numbered, write

import actrec
from actrec.data.index import build_index
from actrec.pipelines import loader as loader_module
from actrec.pipelines.dali import selftest
from actrec.pipelines.dali.routes import IMAGES, PIXELS, VIDEO, choose_route
from actrec.pipelines.dali.selftest import WITHOUT, fault, fault_of_codec, faults_of

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _not_cached():
    faults_of.cache_clear()
    yield
    faults_of.cache_clear()


@pytest.mark.parametrize("part", WITHOUT)
def test_every_part_works_on_a_cpu(part):
    assert fault(part, CPU) is None


@pytest.mark.parametrize("codec", ["vp8", "vp9", "mjpeg"])
def test_codecs_of_dali_on_a_cpu(codec):
    assert fault_of_codec(codec, CPU) is None


def test_a_codec_that_dali_cannot_decode():
    assert fault_of_codec("h264", CPU) == 'Failed to create video decoder for "memory file"'


@pytest.mark.gpu
@pytest.mark.parametrize("part", WITHOUT)
def test_every_part_works_on_a_gpu(part):
    assert fault(part, GPU) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda found: found[::-1], "the pixels are wrong, by"),
        (lambda found: [picture // 2 for picture in found], "the pixels are wrong, by"),
        (lambda found: found[:-1], "5 pictures of (192, 256, 3) came out instead of 6"),
    ],
)
def test_wrong_pixels_are_noticed(change, reason, monkeypatch):
    run = selftest._run
    monkeypatch.setattr(selftest, "_run", lambda *given: change(run(*given)))
    assert fault("images", CPU).startswith(reason)


def test_frames_in_the_wrong_order_are_noticed(monkeypatch):
    run = selftest._run
    monkeypatch.setattr(selftest, "_run", lambda *given: [run(*given)[0][::-1]])
    assert fault("video", CPU).startswith("the pixels are wrong, by")


def test_a_missing_dali_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "nvidia" or name.endswith("dali.graph")]:
        monkeypatch.delitem(sys.modules, name)

    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "nvidia":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert {part: fault(part, GPU) for part in WITHOUT} == dict.fromkeys(WITHOUT, "it is not installed")


def test_a_full_memory_is_no_fault_of_dali(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(selftest, "_run", full)
    with pytest.raises(torch.OutOfMemoryError):
        fault("finish", GPU)


def test_what_fails_is_reported_once(monkeypatch, caplog):
    tried = []
    monkeypatch.setattr(selftest, "fault", lambda part, device: tried.append(part) or {"video": "no NVDEC"}.get(part))
    for _ in range(2):
        assert faults_of(GPU) == {"video": "no NVDEC"}
    assert tried == list(WITHOUT)
    assert [record.getMessage() for record in caplog.records] == [
        "DALI cannot decode videos on cuda:0 (no NVDEC): the CPU does it; `actrec doctor` tells more"
    ]


def test_the_report_is_a_plain_line_for_programs_without_logging(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "fault", lambda part, device: "broken")
    monkeypatch.setattr(logging.getLogger("actrec"), "propagate", False)  # pytest has handlers
    faults_of(GPU)
    assert capsys.readouterr().err == (
        "DALI does not work on cuda:0 (broken): the CPU makes all clips; `actrec doctor` tells more\n"
    )


def test_which_loaders_try_dali(monkeypatch):
    monkeypatch.setattr(selftest, "faults_of", lambda device: {"images": "broken"})
    assert list(loader_module._dali_faults(GPU, "auto")) == ["images"]
    assert list(loader_module._dali_faults(GPU, "workers")) == ["images"]
    assert list(loader_module._dali_faults(GPU, "dali")) == []
    assert list(loader_module._dali_faults(CPU, "auto")) == []


@pytest.fixture
def videos(tmp_path):
    for i in range(4):
        write(tmp_path / f"{i}.mp4", [numbered(n) for n in range(12)], gop=4)
    (tmp_path / "list.txt").write_text("".join(f"{i}.mp4 {i % 2}\n" for i in range(4)))
    return actrec.read_list(tmp_path / "list.txt")


def test_routes_without_what_fails(videos):
    media = build_index(videos)[0]
    folder = replace(media, template="{:05d}.jpg", codec="jpg")
    for faults, of_video, of_folder in (
        ((), VIDEO, IMAGES),
        (("video",), PIXELS, IMAGES),
        (("images",), VIDEO, PIXELS),
    ):
        routes = [choose_route(m, on_gpu=True, decoder="auto", faults=faults) for m in (media, folder)]
        assert routes == [of_video, of_folder]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU on which DALI fails")
@pytest.mark.parametrize("kind", ["train", "eval"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_gpu_on_which_dali_fails_gets_the_clips_of_the_workers(kind, channels_last, videos, monkeypatch, caplog):
    """The real test of DALI, which fails here, and a GPU that torch seems to have: it gets copies of the tensors."""
    net_input = actrec.Input((0.5,) * 3, (0.25,) * 3, frames=4, size=32)
    make = actrec.train_loader if kind == "train" else actrec.eval_loader
    options = {"batch_size": 2, "channels_last": channels_last}
    expected = [batch.clips.clone() for batch in make(videos, actrec.Clip(), net_input, **options)]
    copied = []
    monkeypatch.setattr(loader_module, "_device", lambda device: GPU)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda tensor, device, **_: copied.append((tensor.dtype, device)) or tensor.clone()
    )
    loader = make(videos, actrec.Clip(), net_input, device="cuda", **options)
    found = [batch.clips for batch in loader]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert copied == len(expected) * [(torch.float32, GPU), (torch.int64, GPU)]
    assert not loader.unusable
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == ["DALI does not work on cuda:0"]
