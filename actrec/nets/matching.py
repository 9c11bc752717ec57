"""Finds a place in a net for each tensor of a weights file, by the names of a layout.

A layout consists of a row of `READERS` (what its files look like, for all nets) and of a `Layout` in the module of each
net that reads it (how the names map).
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from actrec.nets import NETS, Layout
from actrec.registry import in_one_line
from actrec.system import is_systems_fault

_WRAPPERS = 8  # largest number of prefixes of names
_TRAINERS = ("model", "net", "network", "module")  # prefixes of the net beside other tensors of a training program
_MOST = 0.8  # fraction of the names that have such a prefix
COUNTERS = r".+\.num_batches_tracked"  # they do not affect results, and files of old or other software lack them
# What torch.compile, FSDP and gradient checkpointing put into the middle of names.
_WRAPPED = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")


@dataclass(frozen=True)
class Reader:
    """What the files of a layout look like.

    Args:
        prefix: removed from the names if all of them have it. Wrappers for parallel training add it.
        names: pattern that all names without the prefix must match.
        inflate: the kernels in the file are 2D. For 3D convolutions they are repeated in time and divided by the number
            of repeats.
    """

    prefix: str = ""
    names: str = ".+"
    inflate: bool = False


READERS = {
    "actrec": Reader(),
    "ibm": Reader(prefix="module."),
    "hara": Reader(prefix="module."),
    "torchvision": Reader(),
    "torchvision2d": Reader(inflate=True),
    "tsm": Reader(prefix="module.", names=r"(base_model|new_fc)\..+"),
    "mmaction2": Reader(names=r"(backbone|cls_head|data_preprocessor)\..+"),
    "pytorchvideo": Reader(),
    "pyslowfast": Reader(),
    "videoswin": Reader(),
    "videomae": Reader(),
    "vjepa2": Reader(names=r"(?!probe\.|fc\.).+"),  # these are actrec's names, whose table of positions is used
    "transformers": Reader(),
}


def unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Mapping[str, Tensor]]:
    """The tensors by the names in the file and, after it, without a prefix that all of them share.

    Parallel training, torch.compile and training programs wrap a net into others, and the names of its tensors get a
    prefix from each of them: `model.module.`. The tensors of a loss or metric beside the net do not have its prefix.
    torch.compile puts `_orig_mod.` into the middle of names, too.

    Returns:
        The tensors by what was removed from their names. "" comes first, then the shortest prefix.
    """
    forms: dict[str, Mapping[str, Tensor]] = {"": tensors}
    prefix, current = "", tensors
    for _ in range(_WRAPPERS):
        starts = Counter(name.partition(".")[0] for name in current if "." in name)
        wrapper, count = starts.most_common(1)[0] if starts else ("", 0)
        if count < len(current) * (_MOST if wrapper in _TRAINERS else 1):
            break
        prefix += f"{wrapper}."
        current = {name.removeprefix(f"{wrapper}."): tensor for name, tensor in current.items()}
        forms[prefix] = current
    for prefix, current in list(forms.items()):
        found = dict.fromkeys(part for name in current for part in _WRAPPED.findall(name))
        names = {_WRAPPED.sub("", name): tensor for name, tensor in current.items()}
        if found and len(names) == len(current):
            forms[f"{prefix}…{''.join(found)}"] = names
    return forms


def whole_prefix(tensors: Mapping[str, Tensor], removed: str, layout: str) -> str:
    """What is removed from the names of a file if a form of `unwrapped` is read with a layout, which has a prefix too.

    It is empty if nothing but the prefix of the layout is removed.
    """
    own = READERS[layout].prefix
    return removed and removed + own * all(name.startswith(removed + own) for name in tensors)


def stem_of(own: Mapping[str, Tensor]) -> str | None:
    """The name of the first convolution's weight among a net's tensors. Tables of positions can have three axes."""
    return next((name for axes in (4, 3) for name, tensor in own.items() if tensor.ndim >= axes), None)


@dataclass
class Match:
    """The comparison of the tensors of a file with those of a net, while it is made."""

    layout: str
    found: dict[str, Tensor] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    reshaped: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def match_names(
    tensors: Mapping[str, Tensor],
    net: nn.Module,
    name: str,
    layout: Layout,
    *,
    head: str | None,
    new_head: bool,
) -> Match:
    """Finds a place in the net for each of `tensors`. What does not fit is listed in `problems`."""
    reader, match, own = READERS[name], Match(name), net.state_dict()
    stem = stem_of(own)
    named: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    seen: set[str] = set()
    for source, tensor in _without_prefix(tensors, reader.prefix).items():
        target = _renamed(source, layout.renames)
        if target not in own and (reason := _why_dropped(source, layout.dropped)):
            match.dropped[source] = reason
        elif new_head and head is not None and target.startswith(head):
            match.dropped[source] = "new head"
        elif (target not in own and layout.convert is None) or not re.fullmatch(reader.names, source):
            match.problems.append(f"unexpected {source!r}")
        elif target in named:
            match.problems.append(f"{source!r} is a second {target}")
        else:
            named[target], sources[target] = tensor, source
    for target, tensor in _converted(named, net, layout, match).items():
        if target not in own:
            match.problems.append(f"unexpected {sources.get(target, target)!r}")
            continue
        in_head = head is not None and target.startswith(head)
        _place(match, target, tensor, own[target], inflate=reader.inflate, stem=stem, in_head=in_head)
        if target in named and named[target].numel() != tensor.numel() and target in match.found:
            match.reshaped[target] = f"{tuple(named[target].shape)} to {tuple(tensor.shape)}: interpolated"
        seen.add(target)
    absent = [part for part in layout.parts if seen and not any(target.startswith(part) for target in seen)]
    absent += [head] if new_head and head is not None else []
    fresh = [*layout.fresh, COUNTERS, *(re.escape(part) + ".+" for part in absent)]
    for target in own:
        if target in seen:
            continue
        if any(re.fullmatch(pattern, target) for pattern in fresh):
            match.missing.append(target)
        else:
            match.problems.append(f"missing {target}")
    return match


def _converted(named: dict[str, Tensor], net: nn.Module, layout: Layout, match: Match) -> dict[str, Tensor]:
    """The tensors as `Layout.convert` returns them. What it raises becomes a problem: the file can be of any net."""
    if layout.convert is None:
        return named
    try:
        return layout.convert(dict(named), net)
    except Exception as error:
        if is_systems_fault(error):
            raise
        match.problems.append(f"its tensors cannot be converted: {in_one_line(error)}")
        return {target: tensor for target, tensor in named.items() if target in net.state_dict()}


def _place(
    match: Match, target: str, tensor: Tensor, own: Tensor, *, inflate: bool, stem: str | None, in_head: bool
) -> None:
    """Puts `tensor` in the place of the net's tensor `own`, or notes why it does not fit."""
    was, wanted = tuple(tensor.shape), tuple(own.shape)
    expected = wanted[:2] + wanted[3:] if inflate and own.ndim == 5 else wanted
    done = []
    if in_head and was[2:] == (1,) * len(was[2:]) and own.ndim < tensor.ndim:
        tensor = tensor.flatten(1)
        done.append("1x1 convolution")
    if target == stem and len(was) == len(expected) and was[1] == 3 != wanted[1]:
        tensor = tensor.mean(1, keepdim=True).expand(-1, wanted[1], *was[2:])
        done.append(f"colors averaged for {wanted[1]} channels")
    shape = tuple(tensor.shape)
    if in_head and len(shape) == len(wanted) and shape != wanted and shape[1:] == wanted[1:]:
        problem = f"it has {shape[0]} classes, the net {wanted[0]}: ask for a new head (--new-head, new_head=True)"
        if problem not in match.problems:
            match.problems.append(problem)
    elif shape != expected:
        match.problems.append(f"{target} is {was}, expected {expected}")
    elif tensor.is_floating_point() != own.is_floating_point():
        match.problems.append(f"{target} is {tensor.dtype}, expected {own.dtype}")
    else:
        if expected != wanted:
            # Dividing a tensor without values would make torch load its compiler.
            divided = tensor if tensor.is_meta else tensor / wanted[2]
            tensor = divided.unsqueeze(2).expand(wanted)
            done.append("repeated in time")
        match.found[target] = tensor
        if done:
            match.reshaped[target] = f"{was} to {wanted}: {', '.join(done)}"


def renamed_tensors(tensors: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The tensors by the names that `Layout.renames` gives them, without `module.`. Tensors that match `Layout.dropped`
    and no pattern of `renames` are left out."""
    return {
        _renamed(name, layout.renames): tensor
        for name, tensor in _without_prefix(tensors, "module.").items()
        if any(_compiled(pattern).fullmatch(name) for pattern in layout.renames)
        or _why_dropped(name, layout.dropped) is None
    }


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Mapping[str, Tensor]:
    if all(name.startswith(prefix) for name in tensors):
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _renamed(name: str, renames: Mapping[str, str | Callable[[re.Match[str]], str]]) -> str:
    for pattern, replacement in renames.items():
        if found := _compiled(pattern).fullmatch(name):
            return found.expand(replacement) if isinstance(replacement, str) else replacement(found)
    return name


def _why_dropped(name: str, dropped: Mapping[str, str]) -> str | None:
    if name == "n_averaged":  # of torch.optim.swa_utils.AveragedModel, beside `module.`
        return "count of averaged weights"
    return next((reason for pattern, reason in dropped.items() if _compiled(pattern).fullmatch(name)), None)


_compiled = functools.cache(re.compile)  # the cache of `re` is too small for the patterns of all layouts


def layouts_for(name: str) -> dict[str, Layout]:
    """The layouts that a net reads, by name. Files of actrec can consist of the same parts as those of others."""
    others = NETS.get(name).weights
    parts = tuple(dict.fromkeys(part for layout in others.values() for part in layout.parts))
    return {"actrec": Layout(parts=parts), **others}
