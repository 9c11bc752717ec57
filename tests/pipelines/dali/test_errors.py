"""What DALI's errors mean: too little memory is reported, and is not taken for a bad file."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

import actrec
from actrec.config import Input
from actrec.pipelines.dali.errors import DecodeError, error_of
from actrec.pipelines.dali.feed import Feeder

MESSAGE = """Critical error in pipeline:
Error in GPU operator `nvidia.dali.fn.decoders.image`,
which was used in the pipeline definition with the following traceback:

  File "/home/out of memory/routes.py", line 207, in _images

encountered:

{}
Current pipeline object is no longer valid."""


@pytest.mark.parametrize(
    ("text", "device", "expected"),
    [
        ("std::bad_alloc", "cpu", MemoryError),
        ("std::bad_alloc", "cuda", MemoryError),
        ("Can't allocate 4096 bytes on host.", "cuda", MemoryError),
        ("CUDA allocation failed", "cuda", torch.OutOfMemoryError),
        ("Can't allocate 4096 bytes on device 0.", "cuda", torch.OutOfMemoryError),
        ("CUDA runtime API error cudaErrorMemoryAllocation (2):\nout of memory", "cuda", torch.OutOfMemoryError),
        ("CUDA driver API error CUDA_ERROR_OUT_OF_MEMORY (2)", "cuda", torch.OutOfMemoryError),
        ("nvImageCodec failure: '#3'", "cpu", DecodeError),
        ('Assert on "ret >= 0" failed: Failed to send packet to decoder: Invalid data', "cuda", DecodeError),
    ],
)
def test_meaning(text, device, expected):
    meaning = error_of(RuntimeError(MESSAGE.format(text)), torch.device(device))
    assert type(meaning) is expected
    assert str(meaning) == f"DALI: {' '.join(text.split())}"


LITTLE_MEMORY = """
import resource, sys
import actrec
from actrec.config import Input
from actrec.data.index import build_index
videos = [actrec.Video(str(i), path, None, None, (0,)) for i, path in enumerate(sys.argv[1:])]
net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=1, size=32)
loader = actrec.eval_loader(
    videos, actrec.Clip(), net_input, batch_size=1, prefetch=1, workers=1, decoder="dali", index=build_index(videos)
)
batches = iter(loader)
next(batches)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), -1))
try:
    print(len(list(batches)), "batches")
except MemoryError as error:
    print(error, loader.skipped)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc")
def test_too_little_memory_is_reported(tmp_path):
    for name, side in (("small", 32), ("big", 6000)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "00001.jpg"), np.zeros((side, side, 3), np.uint8))
    paths = [str(tmp_path / name) for name in ["small"] * 5 + ["big"]]
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY, *paths], capture_output=True, text=True)
    assert done.stdout == "DALI: std::bad_alloc {}\n", done.stderr


def test_no_file_is_blamed_for_an_error_on_pictures(media_rows, monkeypatch):
    def fail(*_):
        raise DecodeError("DALI: device-side assert")

    monkeypatch.setattr(Feeder, "collect", fail)
    loader = actrec.train_loader(
        media_rows, actrec.Clip(), Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=32), batch_size=2,
        augment=actrec.Augment(grayscale=1.0),
    )  # fmt: skip
    with pytest.raises(DecodeError, match="device-side assert"):
        next(iter(loader))
    assert not loader.skipped
