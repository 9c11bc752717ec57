"""The protocol with which a net is evaluated, and how the user's options change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from actrec.config import Clip, Frame, OptionError, Scoring, Views
from actrec.data.sampling.protocols import Protocol, protocol
from actrec.data.sampling.protocols.frames import SPREAD
from actrec.engine.evaluate import average_of
from actrec.nets import NETS, OptionValue, Published
from actrec.nets.recognize import Guess

NONE = "none"  # the name with which a user turns off the protocol of published weights
_USUAL_FPS = 30


class Chosen(NamedTuple):
    """The protocol of an evaluation.

    Args:
        protocol: with the user's changes; None: frames and crops follow from the user's options.
        note: what is said about it, in one line; empty if there is nothing to say.
        clip: the fields of `Clip` that the protocol of published weights sets where no protocol decides about frames.
        options: those of the net that published weights need.
    """

    protocol: Protocol | None
    note: str = ""
    clip: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}


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
    """The protocol that the user names, or that of published weights, with what these weights need besides it.

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
    rows = published_rows(path, guess, clip.get("frames") or frames_in_name) if guess else []
    # IBM's program says in a file's name that the net has a temporal stride, and publishes no such file.
    options = {} if guess is not None and guess.layout == "ibm" and "-ts" in path.name else _common(rows)
    return _choose(rows, guess, clip=clip, views=views, frame=frame, scoring=scoring)._replace(options=options)


def _common(rows: Sequence[Published]) -> dict[str, OptionValue]:
    """The options of the net in which all rows agree."""
    options = dict(rows[0].options) if rows else {}
    return {name: value for name, value in options.items() if all(row.options.get(name) == value for row in rows)}


def _choose(
    rows: Sequence[Published],
    guess: Guess | None,
    *,
    clip: Mapping[str, Any],
    views: Mapping[str, Any],
    frame: Frame,
    scoring: Scoring,
) -> Chosen:
    names = list(dict.fromkeys(row.protocol for row in rows))
    published = protocol(names[0]) if len(names) == 1 else None
    trained = _clip_of(published, clip) if published is not None else {}
    if scoring.protocol == NONE:
        return Chosen(None, _clip_note(published, trained), trained)
    if scoring.protocol is not None:
        try:
            named = protocol(scoring.protocol)
        except ValueError as error:
            raise OptionError("`protocol`" + str(error).removeprefix("protocol")) from None
        for text in contradictions(named, guess, clip=clip, views=views, frame=frame):
            raise OptionError(f"{text}: leave one of the two out")
        return _changed(named, f"protocol: {named.name}", frame, scoring)._replace(clip=_clip_of(named, clip))
    if not names:
        return Chosen(None)
    if published is None:
        listed = ", ".join(names)
        return Chosen(
            None,
            f"protocol: none, because such weights were published with several protocols: {listed}; "
            "choose one with --protocol",
        )
    for text in contradictions(published, guess, clip=clip, views=views, frame=frame):
        dense = _clip_note(published, trained)
        return Chosen(
            None, f"protocol: none, because {text.replace('`', '')}" + (f"; {dense}" if dense else ""), trained
        )
    own = _changed(published, f"protocol: {published.name}, with which such weights were published", frame, scoring)
    return own._replace(clip=trained)


def _clip_of(own: Protocol, given: Mapping[str, Any]) -> dict[str, Any]:
    """The clip of a protocol as fields of `Clip`, without those that a user gave. Strides are those of a video of 30
    frames per second, as most of Kinetics has."""
    if given.get("modality") == "flow":
        return {}
    fields: dict[str, Any] = {"frames": own.clip_frames}
    if own.sampling not in SPREAD and given.get("sampling") != "uniform" and given.get("rule") != "comb":
        fields |= {"sampling": "dense", "stride": round(own.stride * _USUAL_FPS / (own.target_fps or _USUAL_FPS))}
    return {name: value for name, value in fields.items() if given.get(name) is None}


def _clip_note(own: Protocol | None, clip: Mapping[str, Any]) -> str:
    if own is None or "stride" not in clip:
        return ""
    return f"clip: dense sampling with stride {clip['stride']}, as in protocol {own.name}"


def published_rows(path: Path, guess: Guess, frames: int | None) -> Sequence[Published]:
    """The accuracies that were published for such weights, with their protocols.

    Args:
        path: of the file. If a published file has its name, only the protocols of this file are returned.
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
    # The options of forms change names or shapes. An option that the guess does not name has its default in the file.
    shown = {**{name: entry.options[name] for form in entry.forms for name in form}, **guess.options}
    rows = [row for row in rows if row.has_classes(guess.num_classes) and row.has_options(shown)]
    rows = [row for row in rows if row.is_file(path)] or rows
    return _of_length(rows, frames)


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
