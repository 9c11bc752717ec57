"""Finds out to which net a weights file belongs."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from actrec import nets
from actrec.known_nets import known_nets
from actrec.nets import NETS, Layout, OptionValue
from actrec.nets.backbone import Backbone
from actrec.nets.catalog import pattern_of
from actrec.nets.weights import (
    COUNTERS,
    READERS,
    head_of,
    listed,
    match_names,
    read_checkpoint,
    renamed_tensors,
    unwrapped,
    whole_prefix,
)

SHARED = 0.6  # fraction of a net's names that a file must have to be compared with the net
FRAMES_IN_NAME = (  # in published files: -f32 (IBM), 32x2x1 and 1x1x8 (mmaction2), segment8 (TSM)
    r"[-_]f(\d+)(?:[-_.]|$)",
    r"(?<!\d)1x1x(\d+)(?!\d)",
    r"(?<!\d)(\d+)x\d+x1(?!\d)",
    r"segment(\d+)",
)


@dataclass(frozen=True)
class Guess:
    """A net to which a file fits exactly.

    Args:
        net: the name of the net.
        layout: the layout with which the file is read.
        options: the options that differ from the defaults.
        num_classes, in_channels: those of the file.
        prefix: what was removed from all names, as in `Account`.
    """

    net: str
    layout: str
    options: Mapping[str, OptionValue]
    num_classes: int
    in_channels: int
    prefix: str = ""


@dataclass(frozen=True)
class TrainedWith:
    """What a checkpoint of actrec says of its clips: the number of frames, and their height and width in pixels."""

    frames: int
    size: int


@dataclass(frozen=True)
class Recognized:
    """What is known of a weights file.

    Args:
        num_tensors, num_values: number of tensors, and of numbers in them.
        dtypes: types of its floating-point tensors.
        guesses: the nets to which it fits, the most likely first, inflated image weights last.
        nearest: if it fits to none, the net that comes closest, and what does not fit.
        frames: frames of a clip according to the file's name, or None.
        trained_with: the input in a checkpoint of actrec, or None.
    """

    num_tensors: int
    num_values: int
    dtypes: tuple[str, ...]
    guesses: tuple[Guess, ...]
    nearest: str | None
    frames: int | None
    trained_with: TrainedWith | None = None


def recognize(path: str | Path, name: str | None = None, **options: OptionValue) -> Recognized:
    """Compares a weights file with every net and layout.

    Args:
        name: compare only with this net. It can be a net from outside actrec.
        options: options of this net. Without options, the forms of the net that fit are found.

    Raises:
        FileNotFoundError, ValueError: as for `load_weights` if the file cannot be read, and as for `actrec.net` for a
            wrong name or option.
    """
    tensors, named = read_checkpoint(path)
    guesses: list[Guess] = []
    nearest: tuple[int, str | None] = (1 << 30, None)
    if name is None and named is not None and ":" in named["name"]:  # importing it could run a stranger's code
        nearest = (0, f"{named['name']}, which is not part of actrec: pass --backbone {named['name']}")
    if name is not None and named is not None and named["name"] == name and not options:
        options = _unusual(name, {k: v for k, v in named["options"].items() if k in NETS.get(name).options})
    by_prefix = unwrapped({key: tensor.to("meta") for key, tensor in tensors.items()})  # only shapes are compared
    for net in _nets(by_prefix.values()) if name is None else _forms(name, options):
        for (prefix, named_tensors), (layout, names) in itertools.product(
            by_prefix.items(), _layouts(net.name).items()
        ):
            if any((guess.net, guess.layout) == (net.name, layout) for guess in guesses):
                continue  # an earlier form fits already; the default form comes first
            found = _compare(net, layout, names, named_tensors)
            if isinstance(found, Guess):
                guesses.append(replace(found, prefix=whole_prefix(tensors, prefix, layout)))
            elif found is not None and len(found) < nearest[0]:
                nearest = (len(found), f"{net.name} (read as {layout}): {listed(found)}")
    guesses.sort(
        key=lambda guess: (
            guess.net != (named or {}).get("name"),
            READERS[guess.layout].inflate,
            len(guess.options),
            guess.net.startswith("tsm"),  # names and shapes can be those of TSN too, which is more common
        )
    )
    if guesses and named is not None and guesses[0].net == named["name"]:
        guesses[0] = replace(guesses[0], options=_unusual(named["name"], named["options"]))
    once: dict[tuple, Guess] = {}
    for guess in guesses:
        once.setdefault((guess.net, tuple(guess.options.items()), guess.in_channels), guess)
    return Recognized(
        num_tensors=len(tensors),
        num_values=sum(tensor.numel() for tensor in tensors.values()),
        dtypes=tuple(sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point()})),
        guesses=tuple(once.values()),
        nearest=None if guesses else nearest[1],
        frames=_frames(Path(path).name),
        trained_with=_trained_with(named) if guesses and named and guesses[0].net == named["name"] else None,
    )


def _nets(by_prefix: Collection[Mapping[str, Tensor]]) -> Iterator[Backbone]:
    """All forms of each net that shares enough names with the file."""
    for name in NETS.names():
        if not _may_share(name, by_prefix):
            continue
        forms = _forms(name, {})
        net = next(forms)
        own = {key for key in net.state_dict() if not re.fullmatch(COUNTERS, key)}
        forms_of_file = itertools.product(by_prefix, _layouts(name).values())
        shared = max(len(own & set(renamed_tensors(tensors, layout))) for tensors, layout in forms_of_file)
        if shared >= SHARED * len(own):
            yield net
            yield from forms


def _may_share(name: str, by_prefix: Collection[Mapping[str, Tensor]]) -> bool:
    """False only if the net cannot share enough names with the file, which the stored table of nets tells.

    A net and a file share at most as many names of a pattern (`layer#.#.conv#.weight`) as each of them has.
    """
    own = known_nets().tensor_names.get(name)
    if own is None:  # a net that the user registered
        return True
    for tensors, layout in itertools.product(by_prefix, _layouts(name).values()):
        of_file = Counter(map(pattern_of, renamed_tensors(tensors, layout)))
        if sum(min(count, of_file[pattern]) for pattern, count in own.items()) >= SHARED * sum(own.values()):
            return True
    return False


def _forms(name: str, options: Mapping[str, OptionValue]) -> Iterator[Backbone]:
    """The outline of the net with these options or, without options, with each of its option sets."""
    for form in [options] if options else [{}, *NETS.get(name).forms]:
        yield nets.outline(name, num_classes=1, **form)


def _layouts(name: str) -> dict[str, Layout]:
    return {"actrec": Layout(), **NETS.get(name).weights}


def _compare(net: Backbone, layout: str, names: Layout, tensors: Mapping[str, Tensor]) -> Guess | list[str] | None:
    """A guess, or a list of what does not fit. None if the names are those of another net."""
    renamed = renamed_tensors(tensors, names)
    own = net.state_dict()
    stem = next((key for key, value in own.items() if value.ndim > 2), None)
    head = head_of(net, needed=False)
    if stem not in renamed or f"{head}weight" not in renamed or renamed[f"{head}weight"].ndim < 2:
        return None
    in_channels = renamed[stem].shape[1] if renamed[stem].ndim > 2 else net.in_channels
    if in_channels != net.in_channels:
        net = nets.outline(net.name, **{**net.options, "in_channels": in_channels})
        own = net.state_dict()
    match = match_names(tensors, net, layout, names, head=head, new_head=True)
    if match.problems:
        return match.problems
    return Guess(net.name, layout, _unusual(net.name, net.options), renamed[f"{head}weight"].shape[0], in_channels)


def _unusual(name: str, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The options that differ from the net's defaults."""
    defaults = NETS.get(name).options
    return {k: v for k, v in options.items() if v != defaults.get(k) and k not in ("num_classes", "in_channels")}


def _frames(name: str) -> int | None:
    return next((int(found[1]) for pattern in FRAMES_IN_NAME if (found := re.search(pattern, name))), None)


def _trained_with(named: Mapping[str, Any]) -> TrainedWith | None:
    """None if the checkpoint does not contain plausible numbers: it can come from a stranger."""
    stored = named.get("input")
    if not isinstance(stored, dict):
        return None
    frames, size = stored.get("frames"), stored.get("size")
    if type(frames) is not int or type(size) is not int or min(frames, size) < 1:
        return None
    return TrainedWith(frames, size)


def implied_options(file: Path, guess: Guess) -> dict[str, bool]:
    """Options that change no weight, set as in the projects that publish such files."""
    strided = NETS.get(guess.net).options.get("temporal_stride", False)
    without = guess.layout in ("tsm", "mmaction2") or (guess.layout == "ibm" and "-ts" not in file.name)
    return {"temporal_stride": False} if strided and without else {}
