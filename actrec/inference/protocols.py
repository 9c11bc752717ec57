"""The protocol with which a net is evaluated, and how the user's options change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from actrec.config import Clip, Frame, OptionError, Scoring, Views
from actrec.data.sampling.protocols import Protocol, protocol
from actrec.engine.evaluate import average_of
from actrec.nets import NETS, Published
from actrec.nets.recognize import Guess

NONE = "none"  # the name with which a user turns off the protocol of published weights
_CLASSES = {"Kinetics-400": 400, "Something-Something V2": 174}


class Chosen(NamedTuple):
    """The protocol of an evaluation.

    Args:
        protocol: with the user's changes. None: the user's options decide about frames and crops.
        note: one line that tells the user about it. It is empty if there is nothing to say.
    """

    protocol: Protocol | None
    note: str = ""


def choose(
    path: Path,
    guess: Guess | None,
    *,
    frames_in_name: int | None = None,
    clip: Mapping[str, Any],
    views: Mapping[str, Any],
    frame: Frame,
    scoring: Scoring,
) -> Chosen:
    """The protocol that the user names, or that of published weights.

    Options that choose other frames or crops contradict a protocol. Options for normalization, averaging and arithmetic
    change it, and the note names them.

    Args:
        path: of the weights.
        guess: the net and the layout of the file. None for a checkpoint of actrec.
        frames_in_name: frames of a clip according to the file's name, if they are known.
        clip, views: the fields that the user gave.

    Raises:
        OptionError: there is no such protocol, or an option contradicts the one that the user named.
    """
    if scoring.protocol == NONE:
        return Chosen(None)
    if scoring.protocol is not None:
        try:
            named = protocol(scoring.protocol)
        except ValueError as error:
            raise OptionError("`protocol`" + str(error).removeprefix("protocol")) from None
        for text in contradictions(named, guess, clip=clip, views=views, frame=frame):
            raise OptionError(f"{text}: leave one of the two out")
        return _changed(named, f"protocol: {named.name}", frame, scoring)
    names = published_protocols(path.name, guess, clip.get("frames") or frames_in_name) if guess else []
    if not names:
        return Chosen(None)
    if len(names) > 1:
        listed = ", ".join(names)
        return Chosen(None, f"protocol: none, because such weights were published with several protocols: {listed}")
    own = protocol(names[0])
    for text in contradictions(own, guess, clip=clip, views=views, frame=frame):
        return Chosen(None, f"protocol: none, because {text.replace('`', '')}")
    return _changed(own, f"protocol: {own.name}, with which such weights were published", frame, scoring)


def published_protocols(file: str, guess: Guess, frames: int | None) -> list[str]:
    """The names of the protocols with which such weights were published.

    Args:
        file: the name of the file. If a published file has this name, only the protocols of this file are returned.
        frames: frames of a clip, if they are known. They exclude protocols with another number of frames.
    """
    entry = NETS.get(guess.net)
    # Files of some projects have actrec's own names, and are recognized as such.
    layouts = [
        name
        for name, layout in entry.weights.items()
        if name == guess.layout or (guess.layout == "actrec" and not layout.renames)
    ]
    rows = [row for row in entry.published if row.protocol and row.layout in layouts]
    rows = [row for row in rows if _CLASSES.get(row.dataset, guess.num_classes) == guess.num_classes]
    rows = [row for row in rows if row.file and row.file == file] or rows
    return list(dict.fromkeys(row.protocol for row in _of_length(rows, frames)))


def _of_length(rows: Sequence[Published], frames: int | None) -> Sequence[Published]:
    return [row for row in rows if frames is not None and row.frames == frames] or rows


def contradictions(
    chosen: Protocol, guess: Guess | None, *, clip: Mapping[str, Any], views: Mapping[str, Any], frame: Frame
) -> list[str]:
    """The options that choose other frames or crops than a protocol: "`crops` 1 contradicts protocol ibm_k400"."""
    # For a net that is built for one size, --size is the size of the net and not that of the crops.
    has_size = guess is not None and "size" in NETS.get(guess.net).options
    own: dict[str, Any] = {
        "frames": chosen.clip_frames,
        "stride": chosen.stride,
        "clips": chosen.clips,
        "crops": chosen.crops,
    }
    own |= {"modality": "rgb", "size": frame.size if has_size else chosen.crop or chosen.resize}
    given = {name: value for name, value in clip.items() if name not in ("image_range", "template")} | dict(views)
    given |= {} if frame.size is None else {"size": frame.size}
    return [
        f"`{name}` {value} contradicts protocol {chosen.name}"
        + (f", which has {own[name]}" if own.get(name) is not None else "")
        for name, value in given.items()
        if value is not None and value != own.get(name)
    ]


def given_fields(value: Clip | Views | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The fields that a user gave. If the value is an instance: the fields that differ from their defaults."""
    if isinstance(value, (Clip, Views)):
        default = type(value)()
        return {name: own for name, own in vars(value).items() if own != getattr(default, name)}
    return value or {}


def _changed(own: Protocol, note: str, frame: Frame, scoring: Scoring) -> Chosen:
    """The protocol with other normalization, and a note that also names what else differs from it."""
    given: dict[str, Any] = {"mean": frame.mean, "std": frame.std}
    given = {name: value for name, value in given.items() if value is not None and value != getattr(own, name)}
    changes = [f"{name} {','.join(f'{one:g}' for one in value)}" for name, value in given.items()]
    if scoring.average is not None and scoring.average != average_of(own):
        changes.append(f"average of {scoring.average}")
    if scoring.precision not in ("auto", own.precision):
        changes.append(f"precision {scoring.precision}")
    return Chosen(replace(own, **given), note + (f", but with {', '.join(changes)}" if changes else ""))
