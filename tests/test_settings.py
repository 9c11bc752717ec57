"""Options are checked against the types and bounds of their fields."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import actrec
from actrec import config
from actrec.config import Clip, ExtractOptions, Frame, Input, Loader, Loss, Net, Optim, PrepareOptions, Run, Views
from actrec.settings import OptionError, Settings, bounds, check_literal, opt


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Clip(sampling="dens"), "sampling 'dens': expected one of uniform, dense (did you mean dense?)"),
        (
            lambda: actrec.Augment(auto_augment="randaug"),
            "auto_augment 'randaug': expected one of none, randaugment, trivialaugment (did you mean randaugment?)",
        ),
        (lambda: Views(rule="imb"), "rule 'imb': expected one of actrec, ibm (did you mean ibm?)"),
        (lambda: Optim(optimizer="adam"), "optimizer 'adam': expected one of sgd, adamw (did you mean adamw?)"),
        (
            lambda: Optim(schedule="cosin"),
            "schedule 'cosin': expected one of cosine, step, multistep, plateau (did you mean cosine?)",
        ),
        (
            lambda: actrec.Augment(geometry="center2"),
            "geometry 'center2': expected one of multiscale, corner, jitter, random-resized, center (did you mean "
            "center or corner?)",
        ),
        (lambda: Clip(modality="video"), "modality 'video': expected one of rgb, flow"),
        (lambda: Views(crops=4), "crops 4: expected one of 1, 3, 5, 10"),
        (lambda: Views(crops="10"), "crops '10': expected one of 1, 3, 5, 10"),
        (lambda: Views(crops=np.ones(2)), "crops of type ndarray: expected one of 1, 3, 5, 10"),
        (lambda: Views(crops=True), "crops True: expected one of 1, 3, 5, 10"),
        (lambda: Clip(frames=8.0), "frames 8.0: expected a whole number"),
        (lambda: Clip(frames="8"), "frames '8': expected a whole number"),
        (lambda: Clip(stride=None), "stride None: expected a whole number"),
        (lambda: Clip(stride=True), "stride True: expected a whole number"),
        (lambda: Clip(frames=10**400), "frames of 1329 bits: expected from 1 to 1000000"),
        (lambda: Clip(frames=np.float32(8)), "frames 8.0: expected a whole number"),
        (lambda: Clip(frames=np.ones(2, int)), "frames of type ndarray: expected a whole number"),
        (lambda: Clip(frames=object()), "frames of type object: expected a whole number"),
        (lambda: Loader(workers=2**63), f"workers {2**63}: expected a whole number that fits into 64 bits"),
        (lambda: Optim(lr=10**400), "lr of 1329 bits: expected a number"),
        (lambda: Optim(lr=np.float32("nan")), "lr nan: expected a number"),
        (lambda: Optim(lr=Fraction(10**400)), "lr of type Fraction: expected a number"),
        (lambda: Loader(balanced=np.int64(1)), "balanced 1: expected True or False"),
        (
            lambda: Input((0.5,), (0.5, 0.5), 8, 112),
            "std of 2 numbers with mean of 1: expected one of each per channel",
        ),
        (lambda: actrec.Augment(short_sides=(256, 10**9)), "short_sides 256,1000000000: expected numbers up to 16384"),
        (lambda: Net(dropout=2), "dropout 2: expected from 0 to 1"),
        (lambda: Net(widen=0), "widen 0: expected a positive number"),
        (lambda: PrepareOptions(gop=10**14), "gop 100000000000000: expected from 1 to 100000"),
        (lambda: ExtractOptions(short_side=10**20), "short_side 100000000000000000000: expected from 1 to 16384"),
        (lambda: Run(checkpoint_every="１０m"), "checkpoint_every '１０m': expected minutes"),
        (lambda: Run(checkpoint_every="9" * 400), f"checkpoint_every '{'9' * 400}': expected minutes"),
        (lambda: Clip(frames=0), "frames 0: expected from 1 to 1000000"),
        (lambda: Loader(balanced=1), "balanced 1: expected True or False"),
        (lambda: Optim(lr=math.nan), "lr nan: expected a number"),
        (lambda: Optim(lr=math.inf), "lr inf: expected a number"),
        (lambda: Optim(lr=0), "lr 0: expected a positive number"),
        (lambda: Optim(ema=1.5), "ema 1.5: expected from 0 to 1"),
        (lambda: Loss(label_smoothing=1), "label_smoothing 1: expected from 0 to below 1"),
        (lambda: Views(crop_ratio=0), "crop_ratio 0: expected a number above 0 and up to 1"),
        (lambda: Run(checkpoint_every=10), "checkpoint_every 10: expected a text"),
        (lambda: actrec.Augment(area=(0.5,)), "area 0.5: expected 2 numbers"),
        (lambda: actrec.Augment(scales=()), "scales (): expected one or more numbers"),
        (lambda: actrec.Augment(scales=[1.0]), "scales [1.0]: expected a tuple of one or more numbers"),
        (lambda: actrec.Augment(scales=(1.0, 2.0)), "scales 1,2: expected numbers above 0 and up to 1"),
        (lambda: Input((0.5,), (0.0,), 8, 112), "std 0: expected positive numbers"),
        (lambda: Frame(size=0), "size 0: expected from 1 to 16384"),
        (lambda: Optim(patience=3), "patience 3 with schedule cosine: it belongs to schedule plateau"),
        (lambda: Clip(stride=2), "stride 2 with uniform sampling: expected 1; other strides need sampling dense"),
        (
            lambda: check_literal("decoder", "dlai", Literal["auto", "dali"]),
            "decoder 'dlai': expected one of auto, dal",
        ),
    ],
)
def test_illegal_values_are_named_with_the_legal_ones(make, said):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value).startswith(said)


def test_legal_values():
    assert Clip(frames=None).frames is None
    assert Optim(lr=1).lr == 1
    assert Views(crops=10).num_views == 10
    assert Frame(std=(1, 2.5, 3)).std == (1, 2.5, 3)


def test_numbers_of_numpy_are_stored_as_plain_numbers():
    @dataclass(frozen=True)
    class Numbers(Settings):
        whole: int
        ratio: float
        pair: tuple[float, ...]
        switch: bool
        choice: Literal[1, 3]

    found = Numbers(np.int64(8), np.float32(0.5), (np.uint8(1), Fraction(1, 2), 3), np.bool_(True), np.int16(3))
    assert found == Numbers(8, 0.5, (1.0, 0.5, 3.0), True, 3)
    values = [found.whole, found.ratio, *found.pair, found.switch, found.choice]
    assert [type(value) for value in values] == [int, float, float, float, float, bool, int]


def test_every_default_is_legal_and_every_type_is_checked():
    @dataclass(frozen=True)
    class Kinds(Settings):
        path: Path | None = None
        pair: tuple[int, int] = opt((1, 2), "A pair.", at_least=1)
        ratio: float = opt(0.5, "A ratio.", **bounds(above=0, below=1)["bounds"])

    assert Kinds(path="a").path == "a"
    for wrong in ({"path": 3}, {"pair": (0, 1)}, {"pair": (1, 2, 3)}, {"pair": (1.0, 2)}, {"ratio": 1}, {"ratio": "a"}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            Kinds(**wrong)


def test_names_are_spelled_as_asked():
    error = OptionError("`batch_size` 3 with `repeats` 2: expected `other thing`")
    assert str(error) == "batch_size 3 with repeats 2: expected `other thing`"
    assert error.shown(lambda name: "--" + name.replace("_", "-")) == (
        "--batch-size 3 with --repeats 2: expected `other thing`"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("50G", 50 * 10**9), ("500M", 5 * 10**8), ("1.5t", 15 * 10**11), ("2 GB", 2 * 10**9), ("5000000", 5_000_000)],
)
def test_sizes_of_the_cache(text, size):
    assert config.Storage(cache_size=text).cache_bytes == size


@pytest.mark.parametrize("text", ["", "G", "-5G", "50 Gigabyte", "nan", "0", "10K", "1e9", "5GiB", "9" * 30, "5P"])
def test_wrong_sizes_of_the_cache(text):
    with pytest.raises(OptionError, match="expected a size such as 500M or 50G"):
        config.Storage(cache_size=text)
