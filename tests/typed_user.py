"""A user's program, in a folder with train.txt, val.txt and runs/.

mypy checks it strictly (`make lint`): what the public functions return has the types that are asserted here. It also
runs, as a test.
"""

from __future__ import annotations

from typing import assert_type

import numpy as np
import torch

import actrec
from actrec.data.index import Index
from actrec.engine.evaluate import Result
from actrec.inference.embeddings import Embeddings
from actrec.inference.explain import Explanation
from actrec.inference.segments import Segment
from actrec.inference.stream import LivePrediction
from actrec.inference.timeline import Timeline
from actrec.nets.weights import Account
from actrec.pipelines.batch import Batch
from actrec.pipelines.loader import Loader

Classes = list[tuple[str, float]]


def train() -> None:
    videos = actrec.read_list("train.txt")
    assert_type(videos, actrec.Videos)
    assert_type(videos[0], actrec.Video)
    index = actrec.build_index(videos)
    assert_type(index, Index)
    assert_type(index[0].frames, int)
    assert_type(index.unusable, dict[int, str])

    net = actrec.net("tiny3d", num_classes=2)
    assert_type(net.input, actrec.Input)
    assert_type(actrec.profile(net, frames=4).flops, int)
    augment = actrec.Augment(geometry="center", flip=False)
    clip = actrec.Clip(frames=4)
    loader = actrec.train_loader("train.txt", clip, net.input, augment=augment, batch_size=4, index=index)
    assert_type(loader, Loader)
    for batch in loader:
        assert_type(batch, Batch)
        assert_type(batch.clips, torch.Tensor)
        assert_type(batch.labels, torch.Tensor)
        assert_type(batch.videos, list[str])
        torch.nn.functional.cross_entropy(net(batch.clips), batch.labels).backward()
    assert_type(loader.skipped, dict[str, str])
    loader.load_state_dict(loader.state_dict())

    result = actrec.evaluate(net, actrec.eval_loader("val.txt", clip, net.input, views=actrec.Views(clips=2)))
    assert_type(result, Result)
    assert_type(result.scores, np.ndarray)
    assert_type(result.top1, float)
    assert_type(result.missing, dict[str, str])
    torch.save(net.state_dict(), "weights.pt")
    assert_type(actrec.load_weights(net, "weights.pt"), Account)
    assert_type(actrec.samplers.uniform(num_frames=100, frames=8), np.ndarray)


def use() -> None:
    model = actrec.load("runs/2026-11-28_s3d", device="cpu", views={"clips": 2})
    assert_type(model, actrec.Model)
    assert_type(model.predict("frames/val0"), Classes)
    assert_type(model.predict(["frames/val0", "frames/val1"], topk=1), list[Classes])
    assert_type(model.predict(("frames/val0",)), list[Classes])
    result = model.score([actrec.Video.of("frames/val0")])
    assert_type(result, Result)
    assert_type(model.probabilities(result), np.ndarray)
    assert_type(model.best_classes(result), list[Classes])
    assert_type(model.evaluate("val.txt").mean_class, float)
    assert_type(model.embed("frames/val0"), Embeddings)
    assert_type(model.explain("frames/val0"), Explanation)


def watch(model: actrec.Model) -> None:
    timeline = model.timeline("match.mp4", every=0.5)
    assert_type(timeline, Timeline)
    assert_type(timeline.segments(), list[Segment])
    for found in model.stream("rtsp://camera/stream"):
        assert_type(found, LivePrediction)
        assert_type(found.classes, tuple[str, ...])


if __name__ == "__main__":
    train()
    use()
