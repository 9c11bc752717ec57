"""Weights files of other projects, rewritten under the names of our nets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from actrec import nets
from actrec.files import atomic_write, writing
from actrec.nets.recognize import Guess
from actrec.nets.weights import Account, load_weights


@dataclass(frozen=True)
class Converted:
    """The weights of a file under a net's own names.

    Args:
        tensors: what the file lacks, such as the last layer of a pretrained net, is left out.
        name, options: the net. Its options contain what follows from the layout of the file, such as `eps_of`.
        account: of every tensor of the file.
    """

    tensors: Mapping[str, torch.Tensor]
    name: str
    options: Mapping[str, nets.OptionValue]
    account: Account


def convert(
    file: Path, guess: Guess, layout: str, options: Mapping[str, nets.OptionValue], *, entry: str | None = None
) -> Converted:
    """The weights in a file under a net's own names.

    Args:
        guess: the net, as `recognize` found it.
        layout, entry: as in `load_weights`.
        options: of the net; they override those that were recognized.

    Raises:
        OSError, ValueError: as `load_weights`.
    """
    num_classes = guess.num_classes or 1
    chosen = {**guess.options, **options}
    net = nets.net(guess.net, num_classes=num_classes, in_channels=guess.in_channels, **chosen)
    account = load_weights(net, file, layout=layout, entry=entry, new_head=guess.num_classes is None)
    tensors = {name: tensor for name, tensor in net.state_dict().items() if name not in account.missing}
    return Converted(tensors, net.name, net.options, account)


def save_weights(out: Path, weights: Converted) -> None:
    """Writes weights and the net to which they belong as .safetensors, or as .pt or .pth, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    net = {"name": weights.name, "options": dict(weights.options)}
    with writing(out), atomic_write(out, "wb") as file:
        if out.suffix == ".safetensors":
            file.write(safetensors.torch.save(dict(weights.tensors), {"actrec": json.dumps(net)}))
        else:
            torch.save({"net": net, "state_dict": dict(weights.tensors)}, file)
