"""Nets of other projects, for tests: cases with weights by a formula and the logits that the projects gave."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import actrec
from actrec.nets import weights
from actrec.nets.weights_file import WeightsFile


def cases(golden: str) -> list[dict[str, Any]]:
    """The cases of a file in tests/nets."""
    return json.loads((Path(__file__).parent / "nets" / golden).read_text())["cases"]


def each(found: list[dict[str, Any]], *, cheap: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Gives a test each case as `case`. If some are cheap, all others are slow."""
    slow = {case["case"] for case in found if cheap and case["case"] not in cheap}
    params = [
        pytest.param(case, id=case["case"], marks=pytest.mark.slow if case["case"] in slow else ()) for case in found
    ]
    return pytest.mark.parametrize("case", params)


def renamed(net: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of a net by the names of another project, which can store the parts of a tensor apart.

    Args:
        net: the net.
        names: pattern of our name -> theirs; the first that matches. `{q,k,v}` in a name stands for three tensors.
    """
    found: dict[str, Tensor] = {}
    for key, value in net.state_dict().items():
        theirs = next((re.sub(f"^{old}$", new, key) for old, new in names.items() if re.fullmatch(old, key)), key)
        before, _, parts = theirs.partition("{")
        parts, _, after = parts.partition("}")
        rows = value.chunk(parts.count(",") + 1)
        found |= {f"{before}{part}{after}": tensor for part, tensor in zip(parts.split(","), rows)}
    return found


def schema_sha1(tensors: Mapping[str, Tensor]) -> str:
    """The hash of all names and shapes."""
    schema = "\n".join(sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in tensors.items()))
    return hashlib.sha1(schema.encode()).hexdigest()


def filled(key: str, like: Tensor, *, gain: int = 1) -> Tensor:
    """A weight by the rule of the goldens, which have a gain of 2 for convolutional nets."""
    if not like.is_floating_point():
        return torch.zeros_like(like)
    x = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(like.shape)).astype(np.float32)
    if re.search("pos_embed|pos_encoding|class_token|cls_token", key):
        x = 0.1 * x
    elif key.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif like.ndim > 1:
        x = x * np.float32(np.sqrt(gain / np.prod(like.shape[1:])))
    else:
        x = 1 + 0.05 * x if key.endswith("weight") else 0.1 * x
    return torch.from_numpy(x.astype(np.float32))


def logits_of(net: nn.Module, case: Mapping[str, Any]) -> Tensor:
    """The logits for the clips of a case."""
    clips = np.random.RandomState(7).standard_normal(case["input_shape"]).astype(np.float32)
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(clips))


def far(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a fraction of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def load(net: nn.Module, tensors: Mapping[str, Any], folder: Path, **options: Any) -> weights.Account:
    """Loads tensors from a file."""
    torch.save(dict(tensors), folder / "weights.pt")
    return actrec.load_weights(net, folder / "weights.pt", **options)


def load_without_file(
    net: nn.Module, tensors: dict[str, Tensor], patch: pytest.MonkeyPatch, **options: Any
) -> weights.Account:
    """Loads tensors as from a file. Writing one of a large net takes longer than all the rest."""
    patch.setattr(weights, "read_checkpoint", lambda path, entry: WeightsFile(tensors))
    return actrec.load_weights(net, "model.pth", **options)
