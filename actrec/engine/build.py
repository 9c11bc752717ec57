"""The parts of a run: net and loaders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch

from actrec import config, nets
from actrec.config import Input, Recipe
from actrec.engine import dist
from actrec.engine.runfolder import Data
from actrec.nets.weights import load_weights
from actrec.pipelines.loader import EvalLoader, TrainLoader, eval_loader, train_loader


def build_net(
    choice: config.Net,
    *,
    num_classes: int,
    modality: str = "rgb",
    weights: str | None,
    new_head: bool,
    log: Callable[[str], None] | None = None,
) -> torch.nn.Module:
    """The chosen net, with the options that the user set and, if given, the weights of a file.

    Args:
        log: told if the weights are those of another modality, and what became of them.

    Raises:
        ValueError: as `actrec.net` and `load_weights` do.
        FileNotFoundError: there is no such weights file.
    """
    options = {k: v for k, v in asdict(choice).items() if k != "backbone" and v is not None}
    in_channels = config.FLOW_CHANNELS if modality == "flow" else 3
    net = nets.net(choice.backbone, num_classes=num_classes, in_channels=in_channels, **options)
    if weights is not None:
        account = load_weights(net, weights, new_head=new_head)
        for name, done in account.reshaped.items():
            if log and "channels" in done:
                log(f"{weights}: {name} {done}")
    return net


def make_loaders(
    recipe: Recipe, data: Data, net_input: Input, device: torch.device
) -> tuple[TrainLoader, EvalLoader | None]:
    """The training loader, and the validation loader (one clip, one crop) where there is a validation list."""
    common = {
        "device": device,
        "rank": dist.rank(),
        "world": dist.world(),
        "multi_label": len(data.classes) if recipe.loss.multi_label else None,
        "workers": recipe.loader.workers or dist.own_cores(),
        "prefetch": recipe.loader.prefetch,
        "channels_last": recipe.run.channels_last,
        "batch_size": recipe.loader.batch_size,
    }
    loader = train_loader(
        data.train,
        recipe.clip,
        net_input,
        augment=recipe.augment,
        repeats=recipe.loader.repeats,
        balanced=recipe.loader.balanced,
        keep_last=recipe.loader.keep_last,
        seed=recipe.run.seed,
        index=data.train_index,
        flip_map=data.flip_map,
        **common,
    )
    if data.val is None:
        return loader, None
    common["batch_size"] = max(1, recipe.loader.batch_size // dist.world())
    views = config.Views(crop_ratio=recipe.run.crop_ratio)
    return loader, eval_loader(data.val, recipe.clip, net_input, views=views, index=data.val_index, **common)
