"""Classes that become each other when a video is mirrored, judged by their names, and proposals for `flips.txt`.

Only words for left and right and for the direction of a rotation count. A horizontal flip changes neither up and down
nor forward and backward.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from actrec.data.lists.labels import read_flips
from actrec.files import atomic_write

FILE = "flips.txt"
ALONE = "-"  # in place of the second class: the mirrored videos of the first one belong to no class

# A name with one of these words has a direction.
_WORDS = {
    "left": "right", "lefts": "rights", "leftward": "rightward", "leftwards": "rightwards", "lefthand": "righthand",
    "lefthanded": "righthanded", "leftside": "rightside", "leftmost": "rightmost", "l2r": "r2l", "ltr": "rtl",
    "left2right": "right2left", "lefttoright": "righttoleft", "左": "右",
    "clockwise": "counterclockwise",
}  # fmt: skip
# These words mean something else, too: they count if the mirrored name is the name of another class.
_UNSURE = {
    "l": "r", "lh": "rh", "lhs": "rhs", "lf": "rf", "lr": "rl", "links": "rechts",
    "gauche": "droite", "izquierda": "derecha", "izquierdo": "derecho", "esquerda": "direita", "sinistra": "destra",
    "влево": "вправо", "налево": "направо", "왼쪽": "오른쪽",
}  # fmt: skip
_SPELLED = {
    "cw": "clockwise", "anticlockwise": "counterclockwise",
    **dict.fromkeys(("ccw", "acw", "anticw", "countercw"), "counterclockwise"),
}  # fmt: skip
# Here, left and right are no directions. They count if the mirrored name is the name of another class.
_IDIOMS = re.compile(
    r"\b(all right|(human|civil|equal) rights|right (now|away|angled?|angles)"
    r"|left (overs?|behind|alone|unattended)(?! (left|right)))\b"
)
_PARTS = re.compile(r"[左右]|[^\W_左右]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GLUED = re.compile("left|right")


def propose_flips(classes: Sequence[str]) -> list[tuple[str, str]]:
    """The lines of a `flips.txt` for these classes, as far as their names tell.

    Args:
        classes: The class names, in the order of their labels.

    Returns:
        Pairs of classes that are each other's mirror images, in the order of the labels. The second one is `-` for a
        class that has a direction, but no class with the opposite direction. Other classes are not named: their
        mirrored videos are of the same class.
    """
    words = [_words(name) for name in classes]
    label_of: dict[tuple[str, ...], int] = {}
    twice = {name for name in words if words.count(name) > 1} if len(set(words)) < len(words) else set()
    for label, name in enumerate(words):
        label_of.setdefault(name, label)
    lines = []
    for label, name in enumerate(words):
        other = _partner(name, label_of, twice)
        if other is not None and _partner(words[other], label_of, twice) == label:
            if label < other:
                lines.append((classes[label], classes[other]))
        elif other is not None or _has_direction(name):
            lines.append((classes[label], ALONE))
    return lines


def unmirrored(classes: Sequence[str]) -> tuple[int, ...] | None:
    """A flip map (see `read_flips`) that mirrors no class with a direction; None if no name has a direction."""
    directed = {name for pair in propose_flips(classes) for name in pair}
    if not directed:
        return None
    return tuple(-1 if name in directed else label for label, name in enumerate(classes))


def flips_of(list_path: Path, classes: Sequence[str]) -> tuple[int, ...] | None:
    """`flips.txt` next to a list. Without it, a map that mirrors no class with a direction in its name, such as left.

    None if all classes are mirrored.
    """
    flips = list_path.parent / FILE
    return read_flips(flips, classes) if flips.exists() else unmirrored(classes)


def write_flips(path: str | os.PathLike[str], lines: Sequence[tuple[str, str]]) -> None:
    """Writes pairs of classes as `flips.txt`. The file is written atomically.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_write(path) as file:
        file.write("# A mirrored video of the first class is a video of the second one. -: it is never mirrored.\n")
        file.writelines(f"{one}\t{other}\n" for one, other in lines)


def _words(name: str) -> tuple[str, ...]:
    """A name in words: in lower case, with one spelling of each rotation, without `left and right`."""
    found: list[str] = []
    for word in _PARTS.findall(_CAMEL.sub(" ", name).lower()):
        if found and f"{found[-1]}{word}" in ("counterclockwise", *_SPELLED):  # counter-clockwise
            word = found.pop() + word
        found.append(_SPELLED.get(word, word))
        if len(found) > 2 and found[-2] in ("and", "or", "und", "et") and {found[-3], word} == {"left", "right"}:
            found[-3:] = ["both"]
    return tuple(found)


def _partner(name: tuple[str, ...], label_of: Mapping[tuple[str, ...], int], twice: set[tuple[str, ...]]) -> int | None:
    """The label of the only class with the mirrored name; None if there is no such class."""
    glued = tuple(_GLUED.sub(lambda found: "right" if found[0] == "left" else "left", word) for word in name)
    for other in (_mirrored(name, _WORDS), _mirrored(name, _WORDS | _UNSURE), glued):
        if other != name and other not in twice and other in label_of and name not in twice:
            return label_of[other]
    return None


def _has_direction(name: tuple[str, ...]) -> bool:
    words = tuple(_IDIOMS.sub("", " ".join(name)).split())
    return _mirrored(words, _WORDS) != words


def _mirrored(name: tuple[str, ...], pairs: Mapping[str, str]) -> tuple[str, ...]:
    swapped = {one: other for pair in pairs.items() for one, other in (pair, pair[::-1])}
    return tuple(swapped.get(word, word) for word in name)
