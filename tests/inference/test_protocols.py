"""A model follows the protocol that the user names, or that of published weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import actrec
from actrec.config import Frame, Input, OptionError, Scoring
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.engine.evaluate import outputs_of, score
from actrec.inference import protocols
from actrec.inference.protocols import choose, published_rows
from actrec.known_nets import Published
from actrec.nets import NETS, Layout
from actrec.nets.checkpoints import ALL_STEPS
from actrec.nets.recognize import Guess
from actrec.pipelines.batch import Batch

K400 = {"dataset": "Kinetics-400", "top1": 70.0, "top5": None, "views": "1x1", "size": 112, "source": "a test"}
R3D = PROTOCOLS["torchvision_r3d_18"]


@pytest.fixture
def published(monkeypatch):
    """Published weights of r3d_18 in the layout of torchvision, in two lengths in that of IBM."""
    rows = [
        Published(**K400, frames=16, layout="torchvision", file="r3d.pth", protocol="torchvision_r3d_18"),
        Published(**K400, frames=8, layout="ibm", file="a-f8.pth", protocol="tsm_k400_8_uniform_1crop"),
        Published(**K400, frames=32, layout="ibm", file="b-f32.pth", protocol="ibm_k400"),
    ]
    entry = NETS.get("r3d_18")
    weights = {**entry.weights, "ibm": Layout(renames={"a": "b"})}
    monkeypatch.setattr(NETS, "get", lambda name: replace(entry, published=rows, weights=weights))


def guess(layout: str = "torchvision", num_classes: int = 400) -> Guess:
    return Guess("r3d_18", layout, {}, num_classes, 3)


def chosen(of: Guess | None, *, clip=None, views=None, frame=None, scoring=None, file="w.pth"):
    return choose(
        Path(file), of, frames_in_name=None, clip=clip or {}, views=views or {}, frame=frame or Frame(),
        scoring=scoring or Scoring(),
    )  # fmt: skip


def test_published_weights_have_their_protocol_by_default(published):
    found = chosen(guess())
    assert found.protocol == R3D
    assert found.note == "protocol: torchvision_r3d_18, with which such weights were published"
    assert chosen(guess(), scoring=Scoring(protocol="none")).protocol is None
    assert chosen(guess(num_classes=8)).protocol is None  # fine-tuned
    assert chosen(guess("hara")).protocol is None
    assert chosen(guess("actrec")).protocol == R3D  # torchvision's names of these nets are actrec's own
    assert chosen(None).protocol is None  # a checkpoint of actrec


def test_the_name_or_the_length_decides_between_protocols(published):
    both = ["tsm_k400_8_uniform_1crop", "ibm_k400"]

    def names(path, *which):
        return [row.protocol for row in published_rows(Path(path), *which)]

    assert names("w.pth", guess("ibm"), None) == both
    assert names("b-f32.pth", guess("ibm"), None) == both[1:]
    assert names("w.pth", guess("ibm"), 8) == both[:1]
    found = chosen(guess("ibm"))
    assert found.protocol is None
    assert found.note == (
        "protocol: none, because such weights were published with several protocols: "
        + ", ".join(both)
        + "; choose one with --protocol"
    )


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"views": {"crops": 3}}, "`crops` 3 contradicts protocol torchvision_r3d_18, which has 1"),
        ({"clip": {"frames": 8}}, "`frames` 8 contradicts protocol torchvision_r3d_18, which has 16"),
        ({"clip": {"sampling": "dense"}}, "`sampling` dense contradicts protocol torchvision_r3d_18"),
        ({"frame": Frame(size=224)}, "`size` 224 contradicts protocol torchvision_r3d_18, which has 112"),
        ({"views": {"crop_ratio": 1.0}}, "`crop_ratio` 1.0 contradicts protocol torchvision_r3d_18"),
    ],
)
def test_other_frames_and_crops_contradict_a_protocol(published, given, text):
    with pytest.raises(OptionError, match=f"^{text.replace('`', '')}: leave one of the two out$"):
        chosen(guess(), **given, scoring=Scoring(protocol="torchvision_r3d_18"))
    found = chosen(guess(), **given)
    assert found.protocol is None
    assert found.note.startswith(f"protocol: none, because {text.replace('`', '')}")


def test_other_methods_take_clips_of_the_frames_and_stride_of_the_protocol(published):
    """At 30 frames per second: torchvision's clips have 15 frames per second."""
    dense = {"frames": 16, "sampling": "dense", "stride": 2}
    assert chosen(guess()).clip == dense
    off = chosen(guess(), scoring=Scoring(protocol="none"))
    assert off.clip == dense
    assert off.note == "clip: dense sampling with stride 2, as in protocol torchvision_r3d_18"
    other = chosen(guess(), views={"crops": 3})
    assert other.clip == dense
    assert other.note == f"protocol: none, because crops 3 contradicts protocol {R3D.name}, which has 1; {off.note}"
    # The user's options win.
    assert chosen(guess(), clip={"frames": 8, "stride": 3}).clip == {"sampling": "dense"}
    assert chosen(guess(), clip={"sampling": "uniform"}).clip == {"frames": 16}
    assert chosen(guess(), clip={"rule": "comb"}).clip == {"frames": 16}
    assert chosen(guess(), clip={"modality": "flow"}).clip == {}
    assert chosen(guess("ibm")).clip == {}  # two protocols
    assert chosen(guess("ibm"), file="a-f8.pth").clip == {"frames": 8}  # frames from the whole video
    assert chosen(guess("ibm"), file="b-f32.pth").clip == {"frames": 32, "sampling": "dense", "stride": 2}
    assert chosen(None, scoring=Scoring(protocol="none")).clip == {}


def test_published_weights_have_the_options_of_their_net(published):
    one, two = {"temporal_stride": False}, {"temporal_stride": False, "size": 384}
    rows = NETS.get("r3d_18").published
    rows[1:] = [replace(rows[1], options=one), replace(rows[2], options=two)]
    assert chosen(guess("ibm"), file="b-f32.pth").options == two
    assert chosen(guess("ibm"), file="other.pth").options == one  # those of both
    assert chosen(guess("ibm"), file="other-ts.pth").options == {}  # IBM's name of nets that halve the time axis
    assert chosen(guess("ibm"), file="b-f32.pth", scoring=Scoring(protocol="none")).options == two
    assert chosen(guess()).options == {}
    assert chosen(None).options == {}


def test_loaded_nets_have_the_options_that_published_weights_need(tmp_path, monkeypatch):
    torch.save(actrec.net("tsn_resnet18", num_classes=2).state_dict(), tmp_path / "tsn.pth")
    row = Published(**K400, frames=25, layout="mmaction2", protocol="mmaction2_tsn_k400", options=ALL_STEPS)
    monkeypatch.setattr(protocols, "published_rows", lambda *_: [row])
    model = actrec.load(tmp_path / "tsn.pth", net="tsn_resnet18", device="cpu")
    assert model.net.options["temporal_stride"] is False
    assert model.protocol_note == (
        "protocol: mmaction2_tsn_k400, with which such weights were published; "
        "options of the net: temporal_stride False, as such weights need"
    )
    chosen = actrec.config.Net("tsn_resnet18", temporal_stride=True)
    model = actrec.load(tmp_path / "tsn.pth", net=chosen, device="cpu")
    assert model.net.options["temporal_stride"] is True
    assert "options of the net" not in model.protocol_note


def test_what_agrees_with_a_protocol_does_not_contradict_it(published):
    options = {"clip": {"frames": 16, "template": "{}.jpg"}, "views": {"clips": 5, "crops": 1}}
    assert chosen(guess(), **options, frame=Frame(size=112)).protocol == R3D


def test_normalization_average_and_precision_replace_what_a_protocol_says(published):
    found = chosen(
        None, frame=Frame(mean=(0.5, 0.5, 0.5)),
        scoring=Scoring(protocol="torchvision_r3d_18", average="logits", precision="bfloat16"),
    )  # fmt: skip
    assert found.note == (
        "protocol: torchvision_r3d_18, but with mean 0.5,0.5,0.5, average of logits, precision bfloat16"
    )
    assert found.protocol == replace(R3D, mean=(0.5,) * 3)
    same = chosen(None, scoring=Scoring(protocol="torchvision_r3d_18", average="probabilities", precision="float32"))
    assert same.note == "protocol: torchvision_r3d_18"


def test_an_unknown_protocol():
    with pytest.raises(OptionError, match="^protocol ibm_k40 is not known: did you mean ibm_k400"):
        chosen(None, scoring=Scoring(protocol="ibm_k40"))


def test_a_model_scores_with_its_protocol(trained, dataset):
    model = actrec.load(trained, scoring=Scoring(protocol="tsm_k400_8_uniform_10crop"), device="cpu")
    rule = PROTOCOLS["tsm_k400_8_uniform_10crop"]
    assert model.protocol == rule
    assert (model.average, model.precision, model.input.mean) == ("logits", "float32", rule.mean)
    assert "protocol tsm_k400_8_uniform_10crop" in repr(model)
    videos = actrec.read_list(dataset / "val.txt")
    result = model.evaluate(dataset / "val.txt")
    loader = actrec.eval_loader(videos, actrec.Clip(), model.input, protocol=rule)
    assert np.array_equal(score(model.net, loader).scores, result.scores)
    assert not np.array_equal(result.scores, actrec.load(trained, device="cpu").evaluate(dataset / "val.txt").scores)
    path = str(dataset / "frames/val0")
    (best,) = model.predict(path, topk=1)
    assert best[1] == model.probabilities(result)[0].max()
    by_function = actrec.evaluate(model.net, dataset / "val.txt", protocol=rule)
    assert np.array_equal(by_function.scores, result.scores)


def test_videos_that_are_left_out_are_not_missing(trained, dataset):
    scoring = Scoring(protocol="torchvision_mvit", fps=30)
    model = actrec.load(trained, scoring=scoring, device="cpu")
    result = model.score(dataset / "val.txt")
    assert result.missing == {}
    assert len(result.left_out) == len(actrec.read_list(dataset / "val.txt"))
    with pytest.raises(ValueError, match="no video could be scored; .*frames at 30 frames per second: too short"):
        model.evaluate(dataset / "val.txt")
    with pytest.raises(ValueError, match="too short for a clip of torchvision_mvit"):
        model.predict(str(dataset / "frames/val0"))
    model = replace(model, scoring=Scoring())
    assert "needs the number of frames per second" in next(iter(model.score(dataset / "val.txt").missing.values()))


def test_clips_are_joined_before_the_head(make_net, monkeypatch):
    """The head gets the map of a crop's clips, one after the other in time."""
    net, rule = make_net, PROTOCOLS["vjepa2_vitl_ssv2"]
    seen = []
    head = net.head
    monkeypatch.setattr(net, "head", lambda maps: seen.append(maps) or head(maps))
    clips = torch.randn(6, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    loader = fake_loader(clips, rule)
    result = score(net, loader)
    (maps,) = seen
    with torch.inference_mode():
        expected = torch.stack(
            [torch.cat([net.features(clips[[i]]) for i in crop], 2)[0] for crop in ((0, 1), (2, 3), (4, 5))]
        )
    assert torch.allclose(maps, expected, atol=1e-5)
    logits = head(expected).detach()
    assert np.allclose(np.exp(result.scores[0]), logits.softmax(1).mean(0).numpy(), atol=1e-5)


@pytest.fixture
def make_net():
    torch.manual_seed(0)
    return actrec.net("resnet3d_10", num_classes=4, widen=0.125, stem_pool=False).eval()


def fake_loader(clips, rule):
    """What `score` needs of a loader: one video."""
    plan = type("Plan", (), {"crops": [(0, 0, False)] * 3})()
    task = actrec.pipelines.task.EvalTask(
        [actrec.Video.of("a.mp4")], actrec.Clip(), Input((0.5,) * 3, (0.5,) * 3, 4, 32), views=actrec.Views(),
        batch_size=1, protocol=rule,
    )  # fmt: skip

    class Fake:
        device, multi_label, clamped, skipped, left_out, videos = torch.device("cpu"), None, 0, {}, {}, task.videos

        def __iter__(self):
            yield Batch(clips, torch.tensor([-1]), ["a.mp4"], views=6, rows=[0], plans=[plan])

    fake = Fake()
    fake.task = task
    return fake


def test_pictures_of_another_size_are_a_group_of_their_own(make_net):
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(n, 3, 4, 32, w, generator=generator) for n, w in ((3, 32), (2, 40), (1, 40), (5, 32))]
    batches = [Batch(clips, torch.zeros(1), [str(i)], views=len(clips)) for i, clips in enumerate(made)]
    with torch.inference_mode():
        found = list(outputs_of(make_net, batches, torch.device("cpu")))
        assert [batch.videos for batch, _ in found] == [["0"], ["1"], ["2"], ["3"]]
        for (_, outputs), clips in zip(found, made):
            assert torch.allclose(outputs[0], make_net(clips), atol=1e-5)


def test_a_net_with_two_paths_picks_its_slow_frames_as_the_protocol_does(make_net, monkeypatch):
    seen = []
    make_net.slow_path = "linspace"
    monkeypatch.setattr(
        make_net, "forward", lambda clips: seen.append(make_net.slow_path) or torch.zeros(len(clips), 4)
    )
    loader = fake_loader(torch.zeros(6, 3, 4, 32, 32), PROTOCOLS["mmaction2_32x2x10"])
    score(make_net, loader)
    assert set(seen) == {"stride"}
    assert make_net.slow_path == "linspace"
    score(make_net, fake_loader(torch.zeros(6, 3, 4, 32, 32), PROTOCOLS["ibm_k400"]))
    assert seen[-1] == "linspace"


def test_windows_of_the_net_are_averaged_as_the_protocol_does(make_net, monkeypatch):
    seen = []
    monkeypatch.setattr(
        make_net, "forward", lambda clips: seen.append(make_net.window_average) or torch.zeros(len(clips), 4)
    )
    clips = torch.zeros(6, 3, 4, 32, 32)
    for name in ("pyslowfast_k400_8x8", "pyslowfast_ssv2_slowfast_64_1crop", "pyslowfast_mvit_16x4", "ibm_k400"):
        score(make_net, fake_loader(clips, PROTOCOLS[name]))
        seen.append(name)
    loader = fake_loader(clips, PROTOCOLS["pyslowfast_k400_8x8"])
    loader.multi_label = 4  # the probabilities of several labels are not a softmax
    score(make_net, loader)
    groups = ["probabilities"] * 2, ["logits"] * 2  # of at most four views
    assert seen == [
        *groups[0], "pyslowfast_k400_8x8", *groups[0], "pyslowfast_ssv2_slowfast_64_1crop",
        *groups[1], "pyslowfast_mvit_16x4", *groups[1], "ibm_k400", *groups[1],
    ]  # fmt: skip
    assert make_net.window_average == "logits"
