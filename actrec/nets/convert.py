"""Weights files of other projects, rewritten under the names of our nets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch

from actrec import nets
from actrec.files import atomic_write, writing
from actrec.nets.recognize import Guess
from actrec.nets.weights import Account, load_weights


def convert(
    file: Path, guess: Guess, layout: str, options: Mapping[str, bool | int | float | str]
) -> tuple[dict[str, torch.Tensor], Account]:
    """The weights in a file under a net's own names, and an account of every tensor of the file.

    What the file lacks, such as the last layer of a pretrained net, is left out.

    Args:
        guess: the net, as `recognize` found it.
        layout: as in `load_weights`.
        options: of the net; they override those that were recognized.

    Raises:
        OSError, ValueError: as `load_weights`.
    """
    num_classes = guess.num_classes or 1
    chosen = {**guess.options, **options}
    net = nets.net(guess.net, num_classes=num_classes, in_channels=guess.in_channels, **chosen)
    account = load_weights(net, file, layout=layout, new_head=guess.num_classes is None)
    part = account.missing if guess.num_classes is None else ()
    return {name: tensor for name, tensor in net.state_dict().items() if name not in part}, account


def save_weights(out: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes weights as .safetensors, or as .pt or .pth, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    with writing(out), atomic_write(out, "wb") as file:
        if out.suffix == ".safetensors":
            file.write(safetensors.torch.save(dict(weights)))
        else:
            torch.save({"state_dict": dict(weights)}, file)
