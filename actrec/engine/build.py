"""The net and the loaders of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import torch

from actrec import config, nets
from actrec.config import Input, OptionError, Recipe
from actrec.engine import dist
from actrec.engine.runfolder import Data
from actrec.nets.weights import Account, head_of, load_weights, trained_layers, untrained
from actrec.nets.weights_file import entry_note
from actrec.pipelines.loader import Loader, eval_loader, train_loader
from actrec.registry import did_you_mean
from actrec.words import counted, some_of


def build_net(
    choice: config.Net,
    *,
    num_classes: int,
    modality: str = "rgb",
    frames: int | None = None,
    size: int | tuple[int, int] | None = None,
    weights: str | None,
    new_head: bool,
    log: Callable[[str], None] | None = None,
    receive: Callable[[Account], None] | None = None,
) -> nets.Backbone:
    """The chosen net, with the options that the user set and, if given, the weights of a file.

    Args:
        frames, size: Length and size of the clips, for nets that are built for one size. None keeps the default.
        log: Called with a message for each layer that was adapted to another number of channels, and with one if the
            file has several entries with weights.
        receive: Called with the account of the file's tensors.

    Raises:
        OptionError: There is no such net, or it does not have an option that the user set.
        ValueError: As of `actrec.net` and `load_weights`.
        FileNotFoundError: The weights file does not exist.
    """
    in_channels = config.FLOW_CHANNELS if modality == "flow" else 3
    _check_choice(choice)
    options = choice.options | nets.clip_options(choice.backbone, frames=frames, size=size)
    net = nets.net(choice.backbone, num_classes=num_classes, in_channels=in_channels, **options)
    if weights is not None:
        account = load_weights(net, weights, new_head=new_head)
        if receive:
            receive(account)
        notes = [f"{weights}: {name} {done}" for name, done in account.reshaped.items() if "channels" in done]
        for line in filter(None, (*notes, entry_note(weights, account.entry, account.others))):
            if log:
                log(line)
    return net


def weights_line(path: str, net: nets.Backbone, account: Account) -> str:
    """What a net got from the weights with which its training starts, and which layers are new.

    Raises:
        ValueError: The file contains nothing for the first layer.
    """
    layers = trained_layers(net, account)
    first, is_trained = next(iter(layers.items()), ("", True))
    if not is_trained and f"{first}." != head_of(net, needed=False):
        raise ValueError(
            f"{path}: contains no weights for {first}, so the net would start with random features: expected a file "
            "with all layers, or with all but the last ones"
        )
    new = [name if not layers[name] else f"parts of {name}" for name in untrained(net, account)]
    removed = f", without the prefix {account.prefix} of all names" if account.prefix else ""
    changes = Counter(change.rpartition(": ")[2] for change in account.reshaped.values())
    changed = f" ({', '.join(f'{count} {change}' for change, count in changes.items())})" if changes else ""
    line = f"{path}, read as {account.layout}: {counted(len(account.used), 'tensor')}{changed}{removed}"
    return line + (f"; new and random: {some_of(new)}" if new else "")


def net_input(choice: config.Net, clip: config.Clip, frame: config.Frame) -> Input:
    """What the chosen net expects as its input, with the changes that the user asked for.

    Raises:
        OptionError: there is no such net, it does not have an option that the user set, or the changes do not fit
            its channels.
    """
    in_channels = config.FLOW_CHANNELS if clip.modality == "flow" else 3
    _check_choice(choice)
    own = nets.input_of(choice.backbone, in_channels=in_channels, **choice.options)
    return frame.applied_to(replace(own, frames=clip.frames or own.frames))


def _check_choice(choice: config.Net) -> None:
    name = choice.backbone
    if ":" not in name and name not in nets.NETS:
        raise OptionError(f"`backbone` {name!r}: there is no such net{did_you_mean(name, nets.NETS)}")
    known = nets.NETS.get(name).options
    for option, value in choice.options.items():
        if option not in known:
            named = f"`{option}`" if isinstance(value, bool) else f"`{option}` {value}"
            own = f"the options {', '.join(sorted(known))}" if known else "no options"
            raise OptionError(f"{named} with `backbone` {name}: this net has {own}")


def settled(recipe: Recipe) -> Recipe:
    """The recipe with the learning rate and the weight decay that apply if the user chose none.

    Raises:
        ValueError: There is no such net, or the final learning rate is larger than the default one.
    """
    return replace(recipe, optim=recipe.optim.settled(nets.NETS.get(recipe.net.backbone).lr))


def make_loaders(
    data: Data,
    clip: config.Clip,
    net_input: Input,
    augment: config.Augment,
    loader: config.Loader,
    loss: config.Loss,
    run: config.Run,
    device: torch.device,
) -> tuple[Loader, Loader | None]:
    """The training loader, and the validation loader (one clip, one crop) if there is a validation list."""
    multi_label = len(data.classes) if loss.multi_label else None
    workers = loader.workers or dist.cores_of_process()
    training = train_loader(
        data.train,
        clip,
        net_input,
        augment=augment,
        batch_size=loader.batch_size,
        seed=run.seed,
        device=device,
        index=data.train_index,
        flip_map=data.flip_map,
        multi_label=multi_label,
        repeats=loader.repeats,
        balanced=loader.balanced,
        keep_last=loader.keep_last,
        rank=dist.rank(),
        world=dist.world(),
        workers=workers,
        prefetch=loader.prefetch,
        channels_last=run.channels_last,
    )
    if data.val is None:
        return training, None
    validation = eval_loader(
        data.val,
        clip,
        net_input,
        views=config.Views(crop_ratio=run.crop_ratio),
        batch_size=max(1, loader.batch_size // dist.world()),
        device=device,
        index=data.val_index,
        multi_label=multi_label,
        rank=dist.rank(),
        world=dist.world(),
        workers=workers,
        prefetch=loader.prefetch,
        channels_last=run.channels_last,
    )
    validation.raises_in_outage = True  # the scores of some videos would choose the best epoch
    return training, validation
