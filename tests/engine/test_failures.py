from __future__ import annotations

import pytest
import torch

from actrec.engine.failures import explain, with_name


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU's memory is full: a smaller"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "the memory is full: a smaller"),
        (MemoryError(), "the memory is full: a smaller"),
        (torch.distributed.DistBackendError("NCCL error"), "another process has ended"),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"), "another process has ended"),
    ],
)
def test_what_a_user_can_cause(error, start):
    assert explain(error).startswith(start)


def test_the_cpu_allocator_still_says_so():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert explain(caught.value).startswith("the memory is full")


def test_our_own_mistakes_are_not_explained():
    assert explain(RuntimeError("shape '[2]' is invalid for input of size 3")) is None
    assert explain(ConnectionResetError("Connection closed by peer")) is None


@pytest.mark.parametrize(
    ("video", "reason", "line"),
    [
        ("f/a", "f/a: no such file", "f/a: no such file"),
        ("f/a", "/data/f/a: no such file", "/data/f/a: no such file"),
        ("f/a 1-31", "f/a: the list says frames 1 to 31", "f/a 1-31: the list says frames 1 to 31"),
        ("v.mp4 0.5s-2s", "/d/v.mp4: the list says so", "/d/v.mp4 0.5s-2s: the list says so"),
        ("v.mp4 31-60#2", "v.mp4: the list says so", "v.mp4 31-60#2: the list says so"),
        ("f/a", "f/a/00006.png: the image is cut off", "f/a/00006.png: the image is cut off"),
        ("f/a 2-9", "/d/f/a/00006.png: the image is cut off", "/d/f/a/00006.png: the image is cut off"),
        ("a", "f/ba: no such file", "a: f/ba: no such file"),
        ("f/a", "the memory is full", "f/a: the memory is full"),
    ],
)
def test_the_path_of_a_video_is_named_once(video, reason, line):
    assert with_name(video, reason) == line
