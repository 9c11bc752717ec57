"""Predictions for a live source."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from live_servers import RATE, encoded, http_server, paced, square, tcp_server, until_closed
from numbered_videos import BITS, BLOCK, WIDTH, numbered, write

import actrec
from actrec import config
from actrec.config import Input, Stream, Windows
from actrec.inference.stream import StreamSummary, stream

LONG = Stream(timeout=20.0, retry=20.0)


class Watcher(torch.nn.Module):
    """A net that remembers which frames it saw, and how many were sent before, and then waits."""

    def __init__(self, pause, sent):
        super().__init__()
        self.options, self.name = {"num_classes": 2}, "watcher"
        self.pause, self.sent, self.seen, self.sent_then = pause, sent, [], []

    def forward(self, clips_NCTHW):
        bits = clips_NCTHW[:, 1, :, 16, BLOCK // 2 :: BLOCK] > 0
        self.seen += (bits * 2 ** torch.arange(BITS)).sum(-1).tolist()
        self.sent_then.append(len(self.sent))
        time.sleep(self.pause)
        return torch.tensor([[1.0, 2.0]]).repeat(len(clips_NCTHW), 1)


@pytest.fixture
def watching(trained):
    """Makes a model that sees whole frames of numbered streams."""
    model = actrec.load(trained, device="cpu")

    def make(pause=0.0, *, sent=(), clip=None):
        whole = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=4, size=WIDTH)
        clip, views = clip or actrec.Clip(frames=4), actrec.Views(crop_ratio=1.0)
        return replace(model, net=Watcher(pause, sent), input=whole, clip=clip, views=views)

    return make


def server(sent=None):
    """Sends numbered frames in real time. The number of frames is counted in `sent`."""
    pieces = encoded(range(250), frame=square)

    def serve(connection, _):
        def send(piece):
            connection.sendall(piece)
            if sent is not None:
                sent.append(piece)

        paced(send, pieces)
        until_closed(connection)

    return tcp_server(serve)


def test_windows_of_the_newest_frames(watching):
    model = watching()
    with server() as address:
        found = list(itertools.islice(model.stream(address, windows=Windows(every=0.2, window=0.4), options=LONG), 5))
    for prediction, seen in zip(found, model.net.seen):
        assert np.diff(seen).tolist() == [2, 3, 2]  # frames 1, 3, 6 and 8 of ten: the middles of four segments
        assert round(prediction.stream_time * RATE) == seen[-1] + 1
    assert all((p.classes, p.used) == (("bright", "dark"), 4) for p in found)
    assert found[0].probabilities == pytest.approx((0.731, 0.269), abs=1e-3)
    assert sum(p.received for p in found) == model.net.seen[-1][-1] + 2
    steps = np.diff([p.stream_time for p in found])
    assert (steps > 0).all()
    assert found[0].received >= 10


def test_a_slow_net_gets_the_newest_frames_and_the_others_are_counted(watching):
    sent, summary = [], StreamSummary()
    model = watching(0.5, sent=sent)
    with server(sent) as address:
        windows = Windows(every=0.1, window=0.2)
        source = stream(model, address, windows=windows, options=LONG, summary=summary)
        found = list(itertools.islice(source, 9))
        source.close()
    late = [then - seen[-1] for then, seen in zip(model.net.sent_then, model.net.seen)]
    assert max(late) < 40  # frames; a queue would be late by 10 more with each prediction, so by 90 at the end
    assert all(0.5 <= p.latency < 10 for p in found)
    assert all(p.dropped >= 5 for p in found[1:])  # 0.5 s, of which a window of 0.2 s is used
    assert all(p.skipped >= 3 for p in found[1:])
    assert summary.dropped == sum(p.dropped for p in found)
    assert summary.received >= sum(p.received for p in found) >= summary.dropped + 9 * 5
    assert 0.5 <= summary.latency(50) <= summary.latency(99) < 10
    assert summary.predictions == 9


def test_dense_clips_are_strided_frames(watching):
    model = watching(clip=actrec.Clip(frames=4, sampling="dense", stride=2))
    with server() as address:
        list(itertools.islice(model.stream(address, windows=Windows(every=0.2), options=LONG), 2))
    assert [np.diff(seen).tolist() for seen in model.net.seen] == [[2, 2, 2]] * 2


def test_a_window_is_predicted_as_evaluate_predicts_a_video_of_its_frames(trained, tmp_path):
    model = actrec.load(trained, device="cpu", views={"clips": 2, "crops": 3})
    lossless = {"options": {"qp": "0"}}
    expected = model.predict(write(tmp_path / "a.mkv", [numbered(n) for n in range(1, 13)], **lossless), topk=0)
    recording = write(tmp_path / "b.mkv", [numbered(n) for n in range(13)], **lossless).read_bytes()
    with http_server({"/b.mkv": recording}) as address:
        windows = Windows(window=12 / RATE)
        (found,) = model.stream(f"{address}/b.mkv", windows=windows, options=LONG, topk=0)
    assert found.classes == tuple(name for name, _ in expected)
    assert found.probabilities == pytest.approx([probability for _, probability in expected], abs=1e-5)
    assert (found.received, found.dropped) == (13, 1)


def test_streams_end(watching, trained):
    model, late = watching(), watching(0.3)
    with server() as address:
        for one in (model, late):
            start = time.monotonic()
            found = list(one.stream(address, windows=Windows(every=0.1, window=0.2), options=Stream(seconds=1.5)))
            assert time.monotonic() - start < 60
            assert found
    with pytest.raises(ValueError, match=r"Connection refused"):
        list(model.stream(address, options=Stream(retry=0.0)))
    flow = replace(model, clip=actrec.Clip(frames=4, modality="flow"))
    with pytest.raises(ValueError, match="needs optical flow"):
        flow.stream(address)
    with pytest.raises(config.OptionError):
        Stream(timeout=0)
