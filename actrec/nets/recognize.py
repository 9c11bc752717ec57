"""Finds out to which net a weights file belongs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from actrec import nets
from actrec.known_nets import Form, known_nets
from actrec.nets import NETS, Layout, OptionValue
from actrec.nets.backbone import Backbone
from actrec.nets.catalog import pattern_of, stem_shape, sums
from actrec.nets.matching import READERS, layouts_for, match_names, renamed_tensors, stem_of, unwrapped, whole_prefix
from actrec.nets.weights import head_of, options_in
from actrec.nets.weights_file import listed, read_checkpoint

SHARED = 0.6  # fraction of a net's names that a file must have to be compared with the net
NUM_SIMILAR = 3  # forms of nets with which a file is compared that fits none
FRAMES_IN_NAME = (  # in published files: -f32 (IBM), 32x2x1 and 1x1x8 (mmaction2), segment8 (TSM)
    r"[-_]f(\d{1,3})(?:[-_.]|$)",  # _f302660347 of MViT is the number of a job
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
        num_classes, in_channels: those of the file. A file without a last layer has no number of classes.
        prefix: what was removed from all names, as in `Account`.
        without: the first layer, if the file contains nothing for it, such as the encoder of V-JEPA 2.
        shown: the `frames` and `size` of its clips, if the shapes show them.
    """

    net: str
    layout: str
    options: Mapping[str, OptionValue]
    num_classes: int | None
    in_channels: int
    prefix: str = ""
    without: str | None = None
    shown: Mapping[str, OptionValue] = field(default_factory=dict)


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
        entry, others: as in `Account`.
    """

    num_tensors: int
    num_values: int
    dtypes: tuple[str, ...]
    guesses: tuple[Guess, ...]
    nearest: str | None
    frames: int | None
    trained_with: TrainedWith | None = None
    entry: str = ""
    others: tuple[str, ...] = ()


def recognize(
    path: str | Path, name: str | None = None, *, entry: str | None = None, **options: OptionValue
) -> Recognized:
    """Compares a weights file with every net and layout.

    Args:
        name: compare only with this net. It can be a net from outside actrec.
        entry: as for `load_weights`.
        options: options of this net. Without options, the forms of the net that fit are found.

    Raises:
        FileNotFoundError, ValueError: as for `load_weights` if the file cannot be read, and as for `actrec.net` for a
            wrong name or option.
    """
    content = read_checkpoint(path, only_shapes=True, entry=entry)
    tensors, named = content.tensors, content.net
    guesses: list[Guess] = []
    nearest: tuple[int, str | None] = (1 << 30, None)
    if name is None and named is not None and ":" in named["name"]:  # importing it could run a stranger's code
        nearest = (0, f"{named['name']}, which is not part of actrec: pass --backbone {named['name']}")
    file = _File({key: tensor.to("meta") for key, tensor in tensors.items()})  # only shapes are compared
    if name is not None and named is not None and named["name"] == name and not options:
        options = _own(named, file)
    candidates = _candidates(file) if name is None else _forms(file, name, options)
    if name is None and named is not None and ":" not in named["name"] and (own := _own(named, file)):
        candidates = itertools.chain([_Candidate(named["name"], own, "", "actrec")], candidates)
    for candidate in candidates:
        if any((guess.net, guess.layout) == (candidate.name, candidate.layout) for guess in guesses):
            continue  # an earlier form fits already; the default form comes first
        found = _compare(candidate, file)
        if isinstance(found, Guess):
            guesses.append(replace(found, prefix=whole_prefix(tensors, candidate.prefix, candidate.layout)))
        elif found is not None and len(found) < nearest[0]:
            nearest = (len(found), f"{candidate.name} (read as {candidate.layout}): {listed(found)}")
    if any(guess.num_classes is not None for guess in guesses):
        guesses = [guess for guess in guesses if guess.num_classes is not None]
    if any("depth" not in guess.options for guess in guesses):  # other nets with this depth would be the same net
        guesses = [guess for guess in guesses if "depth" not in guess.options]
    guesses.sort(
        key=lambda guess: (
            guess.net != (named or {}).get("name"),
            named is not None and guess.layout != "actrec",
            _plain(guess.net) not in _plain(Path(path).name),  # X3D's XS, S and M have the same names and shapes
            READERS[guess.layout].inflate,
            len(guess.options),
            guess.net.startswith("tsm"),  # names and shapes can be those of TSN too, which is more common
        )
    )
    if guesses and named is not None and guesses[0].net == named["name"]:
        best = replace(guesses[0], options=_own(named, file) or guesses[0].options)
        guesses = [best, *(guess for guess in guesses if guess.net != best.net)]
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
        entry=content.entry,
        others=content.others,
    )


class _File:
    """The tensors of a file, by each form of their names and as each layout names them."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self.by_prefix = unwrapped(tensors)
        self._named: dict[tuple, tuple[dict[str, Tensor], dict[str, tuple[int, ...]]]] = {}
        self._nets: dict[tuple, Backbone] = {}

    def named(self, prefix: str, layout: Layout) -> tuple[dict[str, Tensor], dict[str, tuple[int, ...]]]:
        """The tensors by the names after `Layout.renames`, and their sums as in `Form.tensors`."""
        key = (prefix, tuple(layout.renames.items()), tuple(layout.dropped))  # other nets have the same names
        if key not in self._named:
            renamed = renamed_tensors(self.by_prefix[prefix], layout)
            self._named[key] = renamed, sums(renamed)
        return self._named[key]

    def net(self, name: str, options: Mapping[str, OptionValue]) -> Backbone:
        """The outline of a net with which the file is compared, built once for all layouts."""
        key = (name, tuple(options.items()))
        if key not in self._nets:
            self._nets[key] = nets.outline(name, **{"num_classes": 1, **options})
        return self._nets[key]


@dataclass(frozen=True)
class _Candidate:
    """A form of a net to which a file can fit, and how the file is read.

    Args:
        name, options: of the net.
        prefix: a key of `unwrapped`.
        layout: the name of a layout.
    """

    name: str
    options: Mapping[str, OptionValue]
    prefix: str
    layout: str


def _candidates(file: _File) -> Iterator[_Candidate]:
    """What can fit, according to the stored table of nets. If nothing can, then what is most similar to the file."""
    similar: list[tuple[float, _Candidate]] = []
    any_fits = False
    for name in NETS.names():
        forms = known_nets().forms.get(name)
        if forms is None:  # a net that the user registered
            yield from _forms(file, name, {})
            continue
        for form, prefix, (layout, rules) in itertools.product(forms, file.by_prefix, layouts_for(name).items()):
            fits, likeness = _likeness(name, form, layout, rules, *file.named(prefix, rules))
            if likeness < SHARED:
                continue
            options = {**form.options, **_options_of(name, file.named(prefix, rules)[0])}
            candidate = _Candidate(name, options, prefix, layout)
            any_fits |= fits
            if fits:
                yield candidate
            similar.append((likeness, candidate))
    if not any_fits:
        yield from (candidate for _, candidate in sorted(similar, key=lambda row: -row[0])[:NUM_SIMILAR])


def _likeness(
    name: str,
    form: Form,
    layout: str,
    rules: Layout,
    named: Mapping[str, Tensor],
    of_file: Mapping[str, tuple[int, ...]],
) -> tuple[bool, float]:
    """Whether a file can fit a form of a net, and which fraction of the net's tensors have the same names in the file.

    The sums over all tensors of a pattern must be equal, unless the net's options follow from the file, or tensors are
    converted.
    """
    rest = dict(of_file)
    for key in (*(key for key in named if key.startswith(form.head)), *({form.stem} & named.keys())):
        rest = _without(rest, key, named[key])
    own = form.tensors
    if rules.parts:
        absent = [part for part in rules.parts if not any(pattern.startswith(pattern_of(part)) for pattern in rest)]
        own = {k: v for k, v in own.items() if not k.startswith(tuple(map(pattern_of, absent)))}
    fresh = [pattern for pattern in own if any(re.fullmatch(p, pattern.replace("#", "0")) for p in rules.fresh)]
    own = {pattern: counts for pattern, counts in own.items() if pattern not in fresh}
    if not own:
        return False, 0
    flexible = rules.convert is not None or NETS.get(name).options_of is not None
    if flexible:
        likeness = len(own.keys() & rest.keys()) / len(own)
    else:
        shared = sum(min(counts[0], rest.get(pattern, (0,))[0]) for pattern, counts in own.items())
        likeness = shared / sum(counts[0] for counts in own.values())
    if form.stem in named:
        of_stem = stem_shape(named[form.stem])
        inflated = form.stem_shape[:1] + form.stem_shape[-2:] if READERS[layout].inflate else form.stem_shape
        if of_stem != inflated:
            return False, likeness * 0.9
    elif not flexible:
        return False, likeness * 0.9
    flat = -1 if READERS[layout].inflate else 1
    equal = {pattern: (counts[0], counts[flat]) for pattern, counts in own.items()}
    others = {pattern: counts[:2] for pattern, counts in rest.items() if pattern not in fresh}
    return flexible or equal == others, likeness


def _without(sums: Mapping[str, tuple[int, ...]], name: str, tensor: Tensor) -> dict[str, tuple[int, ...]]:
    """The sums over tensors, without one of them."""
    pattern = pattern_of(name)
    if pattern not in sums:  # a counter
        return dict(sums)
    num, values, *_ = sums[pattern]
    rest = {k: v for k, v in sums.items() if k != pattern}
    return rest | ({pattern: (num - 1, values - tensor.numel())} if num > 1 else {})


def _options_of(name: str, named: Mapping[str, Tensor]) -> dict[str, OptionValue]:
    """The net's options that follow from the tensors of a file, which can be those of another net or be damaged."""
    defaults = NETS.get(name).options
    return {option: value for option, value in options_in(name, named).items() if value != defaults[option]}


def _forms(file: _File, name: str, options: Mapping[str, OptionValue]) -> Iterator[_Candidate]:
    """The net with these options, read in all ways. Without others than `frames` and `size`, its option sets too."""
    of_clips = options.keys() <= set(nets.INPUT_OPTIONS)
    forms = [{}, *NETS.get(name).forms] if of_clips else [{}]
    for form, prefix, (layout, rules) in itertools.product(forms, file.by_prefix, layouts_for(name).items()):
        found = _options_of(name, file.named(prefix, rules)[0]) if of_clips else {}
        yield _Candidate(name, {**form, **found, **options}, prefix, layout)


def _compare(candidate: _Candidate, file: _File) -> Guess | list[str] | None:
    """A guess, or a list of what does not fit. None if the names are those of another net."""
    layout, tensors = layouts_for(candidate.name)[candidate.layout], file.by_prefix[candidate.prefix]
    renamed = file.named(candidate.prefix, layout)[0]
    net = file.net(candidate.name, candidate.options)
    head, stem = head_of(net, needed=False), stem_of(net.state_dict())
    weight = renamed.get(f"{head}weight")
    if (weight is None or stem not in renamed) and not layout.parts or weight is not None and weight.ndim < 2:
        return None
    kernel = renamed.get(stem or "")
    in_channels = kernel.shape[1] if kernel is not None and kernel.ndim > 2 else net.in_channels
    if in_channels != net.in_channels:
        net = file.net(candidate.name, {**candidate.options, "in_channels": in_channels})
    match = match_names(tensors, net, candidate.layout, layout, head=head, new_head=True)
    if match.problems:
        return match.problems
    num_classes = weight.shape[0] if weight is not None else None
    without = stem.partition(".")[0] if stem is not None and stem in match.missing else None
    shown = {name: value for name, value in options_in(net.name, renamed).items() if name in nets.INPUT_OPTIONS}
    return Guess(
        net.name,
        candidate.layout,
        _unusual(net.name, net.options),
        num_classes,
        in_channels,
        without=without,
        shown=shown,
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _unusual(name: str, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The options that differ from the net's defaults."""
    defaults = NETS.get(name).options
    return {k: v for k, v in options.items() if v != defaults.get(k) and k not in ("num_classes", "in_channels")}


def _own(named: Mapping[str, Any], file: _File) -> dict[str, OptionValue]:
    """The options of a net according to its checkpoint, which can come from a stranger or another version.

    They are empty if no net can have them.
    """
    known = NETS.get(named["name"]).options
    options = _unusual(named["name"], {k: v for k, v in named["options"].items() if k in known})
    try:
        file.net(named["name"], options)
    except (ValueError, TypeError, RuntimeError):
        return {}
    return options


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
