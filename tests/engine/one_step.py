"""The first step of a training on the processes that torchrun started: leaves its loss and gradients in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import actrec
from actrec import config
from actrec.config import Input, Recipe
from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.engine import dist, step
from actrec.engine.build import build_net, make_loaders
from actrec.engine.optim import Schedule, make_optimizer
from actrec.engine.runfolder import Data


def main(dataset: Path, out: Path, precision: str) -> None:
    videos = read_list(dataset / "train.txt")
    data = Data(videos, build_index(videos), None, None, ["dark", "bright"])
    recipe = Recipe(
        config.Net(backbone="tam_resnet18", dropout=0.0, temporal_stride=False),
        config.Clip(frames=8),
        actrec.Augment(),
        config.Loader(batch_size=4),
        config.Optim(optimizer="sgd", warmup=0.0),
        config.Loss(),
        config.Run(device="cpu", sync_bn=True, precision=precision),
    )
    torch.manual_seed(0)
    net = build_net(recipe.net, num_classes=2, weights=None, new_head=False).train()
    net = net.double() if precision == "float64" else net
    net = dist.sync_batch_norm(net)
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=32)
    loader, _ = make_loaders(
        data, recipe.clip, net_input, recipe.augment, recipe.loader, recipe.loss, recipe.run, torch.device("cpu")
    )
    optimizer = make_optimizer(net, recipe.optim, 4)
    gradients = {}
    optimizer.register_step_pre_hook(
        lambda *_: gradients.update({name: p.grad.clone() for name, p in net.named_parameters()})
    )
    stepper = step.Stepper(
        net,
        augment=recipe.augment,
        loss=recipe.loss,
        run=recipe.run,
        num_classes=2,
        clips_per_step=4,
        clip_gradient=None,
        optimizer=optimizer,
        schedule=Schedule(optimizer, recipe.optim, 3),
        average=None,
        device=torch.device("cpu"),
        precision=precision,
    )
    stepper.add(next(iter(loader)), 0, 0)
    result, _ = stepper.finish()
    ((loss, _),) = step.read_sums([result])
    if not dist.rank():
        torch.save({"loss": loss / result.clips, "gradients": gradients}, out)


if __name__ == "__main__":
    with dist.joined("cpu"):
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
