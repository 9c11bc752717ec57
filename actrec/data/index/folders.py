"""Which images of a folder are its frames, and in which order.

Frames are ordered by the numbers in their names. The numbers may begin anywhere and have gaps. The order in which the
file system lists a folder does not matter. If it is unclear from the names which images belong together, the folder is
refused.
"""

from __future__ import annotations

import functools
import os
import re
import string
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from actrec.data.flow import FLOW_IMAGE, PREFIXED_FLOW_IMAGE, is_y, other_axis, y_of
from actrec.data.lists.find import VIDEOS
from actrec.data.recent import Recent
from actrec.data.video.container import MediaError
from actrec.system import raise_if_exhausted
from actrec.words import counted

# Windows calls renamed files `frame (1).jpg`.
_IMAGE = re.compile(r"(.*?)([0-9]+)(\)?\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE | re.DOTALL)
_ANY_IMAGE = re.compile(r"[^.].*\.(?:jpe?g|png|bmp|webp)", re.IGNORECASE | re.DOTALL)
_FLOW_SUFFIX = re.compile(r".*[0-9]\)?_[xy]\.\w+", re.IGNORECASE | re.DOTALL)
_SECONDS = re.compile(r"[0-9]+\.")  # the first part of a decimal number
_TIME = re.compile(  # a date with a time of day, and a fraction of a second or a counter
    r"(.*?)(?<![0-9])((?:19|20)[0-9]{2}([-_.]?)[01][0-9]\3[0-3][0-9][-_.T ]?[0-2][0-9]([-_.:]?)[0-5][0-9]\4[0-5][0-9])"
    r"(?:([-_.,])([0-9]+))?",
    re.DOTALL,
)
_DIGITS = "0123456789"
_FLOW_MADE = "`actrec extract-flow` computes it"
_MOST_NAMES = 1_000_000  # names of images that are held in memory


@dataclass(frozen=True)
class FolderImages:
    """The frames of a folder.

    Args:
        names: Names of the images in the order of their numbers; of flow, the names of the x images.
        numbers: Their numbers, ascending. A decimal number is counted in units of its last digit.
        step: The distance between neighboring numbers, apart from gaps; 0 if there is no such distance.
        template: Their names, in the form of the option `template`.
        is_regular: All names follow from the template, the first number and the step.
        unused: Number of other images in the folder, except those of optical flow. For flow: x images without a y
            image, and vice versa.
    """

    names: tuple[str, ...]
    numbers: Sequence[int]
    step: int
    template: str
    is_regular: bool
    unused: int

    @property
    def missing(self) -> int:
        """The number of images that are missing between the first and the last one."""
        return num_missing(self.numbers, self.step)

    @property
    def checksum(self) -> int:
        """Of the names. Never 0."""
        return zlib.crc32("\0".join(self.names).encode("utf-8", "surrogateescape")) or 1


def num_missing(numbers: Sequence[int], step: int) -> int:
    """The number of images that are missing between the others; 0 if the numbers have no usual step."""
    return (numbers[-1] - numbers[0]) // step + 1 - len(numbers) if step else 0


def arrange(path: str, names: Sequence[str], *, flow: bool = False, template: str | None = None) -> FolderImages:
    """Finds the frames of a folder among the names of its files.

    Images whose names differ only in their number are one sequence, whatever their suffixes. Hidden files do not count,
    and neither do the images of optical flow, nor single images that belong to no sequence.

    Args:
        path: The folder, for messages.
        flow: Find the x images of optical flow that have a y image.
        template: The names of the images that count, such as `img_{:05d}.jpg`; the number of digits does not matter.
            For flow, either the names of the frames or those of the x images. Several templates are separated by
            commas: the first one that matches a name is used.

    Raises:
        MediaError: There are no such images, or several sequences.
    """
    if not flow and template is None and (plain := _plain(names)):
        return plain
    found, num_lone = _matches(names, flow, template), 0
    if flow:
        found, num_lone = _with_y(found, names)
    families = _families(found)
    flow_prefixes: set[str] = set()
    if template is None:
        if not flow:
            prefixes = {family.prefix for family in families}
            flow_prefixes = {prefix for prefix in prefixes if other_axis(prefix) in prefixes}
            families = [family for family in families if family.prefix not in flow_prefixes]
        families = _without_singles(families)
    if not families:
        raise MediaError(path, _no_images(names, flow, template, num_lone, bool(flow_prefixes)))
    if len(families) > 1:
        if template is None and all(len(f.names) == 1 for f in families) and (fitting := _fitting(names)):
            raise MediaError(path, "the last numbers in the names of its images are not those of the frames: pass "
                             f"--template '{fitting}'")  # fmt: skip
        families.sort(key=lambda family: (-len(family.names), len(family.template), family.template))
        shown = " and ".join(f"{f.template} ({counted(len(f.names), 'image')})" for f in families[:2])
        more = f" and {counted(len(families) - 2, 'other')}" if len(families) > 2 else ""
        raise MediaError(path, f"the folder contains several sequences of images, {shown}{more}: choose one, such as "
                         f"--template '{families[0].template}'")  # fmt: skip
    (family,) = families
    for number, after, name, other in zip(family.numbers, family.numbers[1:], family.names, family.names[1:]):
        if number == after:
            raise MediaError(path, f"the images {name} and {other} have the same number: remove one of them")
    if not flow and template is None and len(names) > len(family.names):
        num_lone = sum(map(functools.partial(_is_image, flow_prefixes), names)) - len(family.names)
    step = 0 if family.are_dates else _step(family.numbers)
    is_regular = step > 0 and not num_missing(family.numbers, step)
    is_regular = is_regular and tuple(map(family.template.format, family.numbers)) == family.names
    return FolderImages(family.names, family.numbers, step, family.template, is_regular, num_lone)


def _plain(names: Iterable[str]) -> FolderImages | None:
    """The images of a folder with nothing else, numbered without gaps and with the same number of digits."""
    ordered = sorted(names)
    ends = [_IMAGE.fullmatch(name) for name in (ordered[0], ordered[-1])] if ordered else [None]
    first, last = ends[0], ends[-1]
    if first is None or last is None or ordered[0][0] == ".":
        return None
    numbers, template = range(int(first[2]), int(last[2]) + 1), _template([first], _whole_numbers)
    if len(numbers) != len(ordered) or list(map(template.format, numbers)) != ordered:
        return None
    return FolderImages(tuple(ordered), numbers, 1, template, True, 0)


def _step(numbers: Sequence[int]) -> int:
    """The distance of most neighbors, if all other distances are multiples of it; otherwise 0."""
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return 1
    steps = [after - before for before, after in zip(numbers, numbers[1:])]
    step = min(steps)
    return step if 2 * steps.count(step) >= len(steps) and not any(distance % step for distance in steps) else 0


def _matches(names: Iterable[str], flow: bool, template: str | None) -> list[re.Match[str]]:
    """The images with numbers in their names: prefix, digits, suffix."""
    if template is not None:
        patterns = [_pattern_of(one, flow) for one in template.split(",")]
    else:
        patterns = [FLOW_IMAGE, PREFIXED_FLOW_IMAGE] if flow else [_IMAGE]
    for pattern in patterns:
        if found := [match for name in names if name[0] != "." and (match := pattern.fullmatch(name))]:
            return found
    return []


def _pattern_of(template: str, flow: bool) -> re.Pattern[str]:
    before, after = map(re.escape, _around_number(template))
    if flow and not _is_of_flow(template):  # what `actrec extract-flow` calls the flow of such frames
        after = re.escape(_around_number(template)[1].rpartition(".")[0]) + r"_x\.(?:jpe?g|png)"
    return re.compile(rf"({before}[-_.:T 0-9]*?)([0-9]+)({after})", re.DOTALL)


def _around_number(template: str) -> tuple[str, str]:
    """What the names have before and after the number."""
    before, after, is_before = "", "", True
    for text, number, _, _ in string.Formatter().parse(template):
        before, after = (before + text, after) if is_before else (before, after + text)
        is_before = is_before and number is None
    return before, after


def _is_of_flow(template: str) -> bool:
    name = template.format(1)
    return bool(FLOW_IMAGE.fullmatch(name) or PREFIXED_FLOW_IMAGE.fullmatch(name))


def _with_y(found: list[re.Match[str]], names: Iterable[str]) -> tuple[list[re.Match[str]], int]:
    """The x images that have a y image, and how many x and y images lack the other one."""
    present = set(names)
    complete = [match for match in found if y_of(match[0]) in present]
    is_prefixed = bool(found) and found[0][3][0] == "."
    num_y = sum(is_y(name, prefixed=is_prefixed) for name in present)
    return complete, len(found) - len(complete) + max(0, num_y - len(complete))


@dataclass(frozen=True)
class _Family:
    """Images that are one sequence.

    Args:
        prefix: What their names begin with, in lower case.
        names: Their names, ordered by number.
        numbers: Their numbers, ascending.
        template: As in `FolderImages`.
        are_dates: The numbers are dates with times of day, written as one number: they do not count anything.
    """

    prefix: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    template: str
    are_dates: bool


# Functions that give the numbers of images
_Numbers = Callable[[Sequence[re.Match[str]]], list[int]]


def _families(found: Sequence[re.Match[str]]) -> list[_Family]:
    """The sequences that the names form."""
    by_prefix: dict[str, list[re.Match[str]]] = {}
    for match in found:
        by_prefix.setdefault(match[1], []).append(match)
    seconds = [prefix for prefix in by_prefix if _SECONDS.fullmatch(prefix)]
    # The frames 1.1 to 1.12 of video 1 are consecutive, and the times 1.1 to 1.12 are not.
    if len(seconds) == 1 and _are_consecutive(by_prefix[seconds[0]]):
        seconds = []
    groups: dict[tuple[str, _Numbers], list[re.Match[str]]] = {}
    for prefix, matches in by_prefix.items():
        if prefix in seconds or (not prefix and seconds):
            kind: tuple[str, _Numbers] = "", _decimals
        elif time := _common_time(matches):
            kind = time[1].lower(), _times
        else:
            kind = prefix.lower(), _whole_numbers
        groups.setdefault(kind, []).extend(matches)
    return [
        family for (prefix, numbers_of), matches in groups.items() for family in _split(prefix, numbers_of, matches)
    ]


def _are_consecutive(matches: Sequence[re.Match[str]]) -> bool:
    numbers = sorted(_whole_numbers(matches))
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _time_of(match: re.Match[str]) -> re.Match[str] | None:
    return _TIME.fullmatch(match[1] + match[2])


def _common_time(matches: Sequence[re.Match[str]]) -> re.Match[str] | None:
    """The date and time in the first name, if there is one in all names."""
    first = _time_of(matches[0])
    return first if first and all(map(_time_of, matches)) else None


def _whole_numbers(matches: Sequence[re.Match[str]]) -> list[int]:
    return [int(match[2]) for match in matches]


def _decimals(matches: Sequence[re.Match[str]]) -> list[int]:
    digits = max(len(match[2]) for match in matches if match[1])
    pairs = ((match[1][:-1], match[2]) if match[1] else (match[2], "") for match in matches)
    return [int(whole + fraction.ljust(digits, "0")) for whole, fraction in pairs]


def _times(matches: Sequence[re.Match[str]]) -> list[int]:
    times = [time for match in matches if (time := _time_of(match))]
    digits = max(len(time[6] or "") for time in times)
    return [int(re.sub("[^0-9]", "", time[2]) + _padded(time, digits)) for time in times]


def _padded(time: re.Match[str], digits: int) -> str:
    """The digits after the seconds: a fraction after a dot or comma, otherwise a counter."""
    text = time[6] or ""
    return text.ljust(digits, "0") if time[5] in (".", ",") else text.rjust(digits, "0")


def _split(prefix: str, numbers_of: _Numbers, matches: Sequence[re.Match[str]]) -> list[_Family]:
    """One family, or one for each suffix if several images have the same number."""
    numbers = numbers_of(matches)
    by_suffix: dict[str, list[int]] = {}
    if len(set(numbers)) < len(numbers):
        for i, match in enumerate(matches):
            by_suffix.setdefault(match[3].lower().replace(".jpeg", ".jpg"), []).append(i)
    families = []
    for chosen in by_suffix.values() if len(by_suffix) > 1 else [range(len(numbers))]:
        ordered = sorted((numbers[i], matches[i][0], i) for i in chosen)
        template = _template([matches[i] for *_, i in ordered], numbers_of)
        ordered_numbers, ordered_names, _ = zip(*ordered)
        families.append(_Family(prefix, ordered_names, ordered_numbers, template, numbers_of is _times))
    return families


def _template(matches: Sequence[re.Match[str]], numbers_of: _Numbers) -> str:
    """The template of images in order, by the prefix and suffix of the first one."""
    first = matches[0]
    if numbers_of is not _whole_numbers:
        time = _time_of(first) if numbers_of is _times else None
        return f"{_escaped(time[1]) if time else ''}{{}}{_escaped(first[3])}"
    digits = [match[2] for match in matches]
    width = min(map(len, digits)) if any(d[0] == "0" and len(d) > 1 for d in digits) else 1
    return f"{_escaped(first[1])}{{:0{width}d}}{_escaped(first[3])}"


def _without_singles(families: list[_Family]) -> list[_Family]:
    """The families of several images, if most images belong to one of them: others, such as a cover, are no frames."""
    large = [family for family in families if len(family.names) > 1]
    num_singles = len(families) - len(large)
    return large if large and num_singles <= max(len(family.names) for family in large) else families


def _is_image(flow_prefixes: set[str], name: str) -> bool:
    """Whether a file is an image, and not one of optical flow."""
    if not _ANY_IMAGE.fullmatch(name) or _FLOW_SUFFIX.fullmatch(name):
        return False
    match = _IMAGE.fullmatch(name)
    return not (match and match[1].lower() in flow_prefixes)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _fitting(names: Iterable[str]) -> str | None:
    """A template that all images of a folder fit, if they differ in one number only."""
    images = [name for name in names if _ANY_IMAGE.fullmatch(name)]
    before = os.path.commonprefix(images).rstrip(_DIGITS)
    after = os.path.commonprefix([name[::-1] for name in images])[::-1].lstrip(_DIGITS)
    pattern = re.compile(rf"{re.escape(before)}[0-9]+{re.escape(after)}")
    is_one = len(images) > 1 and all(map(pattern.fullmatch, images))
    return f"{_escaped(before)}{{}}{_escaped(after)}" if is_one else None


def _no_images(names: Sequence[str], flow: bool, template: str | None, num_lone: int, has_flow: bool) -> str:
    if flow and num_lone:
        return f"{counted(num_lone, 'image')} of optical flow, but no x image has a y image with its number"
    if template is not None:
        return f"the folder contains no images with names like {template} (--template)"
    if flow:
        return f"the folder contains no optical flow such as 00001_x.jpg: {_FLOW_MADE}"
    if has_flow or any(map(FLOW_IMAGE.fullmatch, names)):
        other = "; it contains optical flow, which only modality flow can use"
    elif any(os.path.splitext(name)[1].lower() in VIDEOS for name in names):
        other = "; it contains videos: pass these files"
    else:
        other = f"; --template '{fitting}' fits its images" if (fitting := _fitting(names)) else ""
    return f"the folder contains no numbered images such as 00001.jpg{other}"


@dataclass(frozen=True)
class Listing:
    """The images of a folder whose names do not follow from a template. They are listed when they are needed.

    Args:
        path: The folder.
        flow, template: As for `arrange`.
        checksum: Of the names, when the folder was probed.
    """

    path: str
    flow: bool
    template: str | None
    checksum: int

    def read(self) -> FolderImages:
        """The images. The last ones that were read are held in memory.

        Raises:
            MediaError: The folder cannot be read, or has other images now.
        """
        if (found := _recent.get(self)) is None:
            found = self.list_images()
            _recent.put(self, found)
        return found

    def list_images(self) -> FolderImages:
        """As `read`, but lists the folder anew."""
        try:
            found = arrange(self.path, os.listdir(self.path), flow=self.flow, template=self.template)
        except OSError as error:
            raise_if_exhausted(self.path, error)
            raise MediaError(self.path, error.strerror or str(error)) from None
        if found.checksum != self.checksum:
            raise MediaError(
                self.path, "images were added or removed after the folder was probed: run the command again"
            )
        return found


_recent: Recent[Listing, FolderImages] = Recent(_MOST_NAMES, lambda images: len(images.names))


def describe_gaps(numbers: Sequence[int], step: int, most: int = 3) -> str:
    """The numbers that are missing: `11`, `11, 15 to 19 and 2 more`."""
    gaps = [(a + step, b - step) for a, b in zip(numbers, numbers[1:]) if b - a > step] if step else []
    shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in gaps[:most])
    return shown + (f" and {counted(len(gaps) - most, 'other gap')}" if len(gaps) > most else "")
