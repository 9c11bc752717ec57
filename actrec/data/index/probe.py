"""What the index keeps of a file or folder: probing it, and decoding all of it."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from actrec.data.flow import FLOW_IMAGE, UNFINISHED, y_of
from actrec.data.video.container import MediaError
from actrec.data.video.probe import probe_video
from actrec.data.video.read import verify_video

UNKNOWN, VIDEO, FOLDER, FLOW = 0, 1, 2, 3  # kinds
UNTRIED, SOUND, UNSOUND = 0, 1, 2  # whether a file earns a certificate, as decoding it to its end has shown
UNVERIFIED, WHOLE, BROKEN = 0, 1, 2  # the verdict of `verify`
_LEAST = 0.9  # a file of which less than this part of its frames decodes is broken
ROW = np.dtype(
    [
        ("name", "u4"),  # checksum of the name, by which a row is found again
        ("key", "u8", 2),  # of name, size and time of change, by which it is believed
        ("kind", "u1"),
        ("proof", "u1"),
        ("verdict", "u1"),
        ("size", "u8"),  # bytes of a file, images of a folder
        ("frames", "i8"),
        ("first", "i8"),  # number of a folder's first image
        ("width", "i4"),
        ("height", "i4"),
        ("rotation", "i2"),
        ("rate", "f4"),
        ("gop", "f4"),
        ("codec", "S16"),
        ("pix_fmt", "S16"),
        ("color", "S16"),
        ("template", "S64"),
    ]
)
FPS = "fps"
_IMAGE = re.compile(r"(.*?)(\d{1,18})(\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE | re.DOTALL)

_FLOW_MADE = "`actrec extract-flow` makes it"


class BrokenError(MediaError):
    """The verdict of `verify`."""


def key_of(path: str, name: str) -> tuple[int, int] | None:
    """What changes when a file or folder does: its name, size and time of change, and those of a folder's `fps`."""
    try:
        stats = [os.stat(path)]
        if stat.S_ISDIR(stats[0].st_mode):
            with contextlib.suppress(OSError):
                stats.append(os.stat(os.path.join(path, FPS)))
    except OSError:
        return None
    text = "\0".join([name, *(f"{found.st_size}\0{found.st_mtime_ns}" for found in stats)])
    words = np.frombuffer(hashlib.blake2b(text.encode("utf-8", "surrogateescape")).digest()[:16], np.uint64)
    return int(words[0]), int(words[1])


def checksums(names: Sequence[str]) -> np.ndarray:
    """Of each name, (len(names),) uint32."""
    return np.fromiter((zlib.crc32(n.encode("utf-8", "surrogateescape")) for n in names), np.uint32, len(names))


def look(path: str, name: str, *, flow: bool = False) -> np.void:
    """What is to be known of a file or folder.

    Args:
        name: what the index calls it.
        flow: of a folder's optical flow.

    Raises:
        MediaError: it cannot be used.
    """
    row = np.zeros((), ROW)
    row["name"], row["key"] = checksums([name])[0], key_of(path, name) or (0, 0)
    with _reasons(path):
        if flow:
            _probe_flow(path, row)
        elif os.path.isdir(path):
            _probe_folder(path, row, os.listdir(path), _IMAGE, FOLDER)
        else:
            _probe_video(path, row)
    return row[()]


def verify(path: str, row: np.void) -> np.void:
    """Decodes all of a file or folder: what is known of it then.

    A video is broken where less than nine tenths of its frames decode; if more do, their number is the video's length
    from now on. A folder is broken where an image is, or has another size than the first.

    Args:
        row: what `look` has found.

    Raises:
        BrokenError: it is broken.
        MediaError: it cannot be read, which may be the fault of something else.
    """
    row = row.copy()
    with _reasons(path):
        if row["kind"] == FOLDER:
            _verify_folder(path, row)
        else:
            decoded, stated = verify_video(path), int(row["frames"])
            if decoded.decoded < _LEAST * stated:
                raise BrokenError(path, f"only {decoded.decoded} of {stated} frames decode")
            row["proof"] = UNSOUND if decoded.certificate is None else SOUND
            row["frames"] = decoded.decoded
    row["verdict"] = WHOLE
    return row


@contextlib.contextmanager
def _reasons(path: str) -> Iterator[None]:
    """Whatever is wrong with a file or folder becomes a MediaError; names in it may be no text."""
    try:
        yield
    except FileNotFoundError:
        raise MediaError(path, "no such file or folder") from None
    except MediaError as error:
        raise type(error)(path, error.reason.encode("utf-8", "backslashreplace").decode()) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(path, reason.encode("utf-8", "backslashreplace").decode()) from None


def _verify_folder(path: str, row: np.void) -> None:
    template = row["template"].decode("utf-8", "surrogateescape")
    first, num_images, size = int(row["first"]), int(row["frames"]), (int(row["width"]), int(row["height"]))
    reasons = []
    for name in map(template.format, range(first, first + num_images)):
        try:
            height, width, _ = read_image(os.path.join(path, name)).shape
            if (width, height) != size:
                reasons.append(f"{name}: {width}x{height} where the first is {size[0]}x{size[1]}")
        except BrokenError as error:
            reasons.append(f"{name}: {error.reason}")
    if reasons:
        raise BrokenError(path, f"{len(reasons)} of {num_images} images are broken; the first: {reasons[0]}")


def _probe_video(path: str, row: np.ndarray) -> None:
    found = probe_video(path)
    row["kind"], row["first"], row["size"] = VIDEO, 1, os.path.getsize(path)
    for name in ("frames", "width", "height", "rotation", "rate", "gop", "codec", "pix_fmt", "color"):
        row[name] = getattr(found, name)


def _probe_flow(path: str, row: np.ndarray) -> None:
    if not os.path.isdir(path):
        what = "a file, not a folder of optical flow" if os.path.exists(path) else "there is no such folder"
        raise MediaError(path, f"{what}: {_FLOW_MADE}")
    names = os.listdir(path)
    if UNFINISHED in names:
        raise MediaError(path, "its optical flow is not all there: the same `actrec extract-flow` goes on")
    _probe_folder(path, row, names, FLOW_IMAGE, FLOW)
    x = os.path.join(path, row["template"].item().decode("utf-8", "surrogateescape").format(row["first"].item()))
    width, height = row["width"].item(), row["height"].item()
    if (shape := read_image(y_of(x)).shape[:2]) != (height, width):
        y = os.path.basename(y_of(x))
        raise MediaError(path, f"{y} is {shape[1]}x{shape[0]}, {os.path.basename(x)} {width}x{height}")


def _probe_folder(path: str, row: np.ndarray, files: list[str], pattern: re.Pattern, kind: int) -> None:
    """Naming template, first number, length of the unbroken sequence from there, size of the first image."""
    names = [match for name in files if (match := pattern.fullmatch(name))]
    if not names:
        raise MediaError(path, _no_images(files, kind))
    (prefix, suffix), _ = Counter((m[1], m[3]) for m in names).most_common(1)[0]
    digits = [m[2] for m in names if (m[1], m[3]) == (prefix, suffix)]
    width = min(map(len, digits)) if any(d[0] == "0" and len(d) > 1 for d in digits) else 1
    numbers = sorted({int(d) for d in digits})
    gap = np.flatnonzero(np.diff(numbers) != 1)
    brace = str.maketrans({"{": "{{", "}": "}}"})
    template = f"{prefix.translate(brace)}{{:0{width}d}}{suffix.translate(brace)}"
    encoded = template.encode("utf-8", "surrogateescape")
    if len(encoded) > ROW["template"].itemsize:
        raise MediaError(path, f"its image names are too long ({template})")
    image = read_image(os.path.join(path, template.format(numbers[0])))
    row["kind"], row["template"], row["codec"] = kind, encoded, suffix.rpartition(".")[2].lower()
    row["rate"] = _rate(path)
    row["first"], row["frames"] = numbers[0], (gap[0] + 1) if len(gap) else len(numbers)
    row["size"] = row["frames"]
    row["height"], row["width"] = image.shape[:2]


def _rate(folder: str) -> float:
    """Frames a second of a frame folder, from its file `fps` (as Hara's tools leave it); 0 if it has none."""
    try:
        with open(os.path.join(folder, FPS), encoding="ascii") as file:
            rate = float(file.read(100))
    except (OSError, ValueError):
        return 0.0
    return rate if 0 < rate < math.inf else 0.0


def _no_images(files: list[str], kind: int) -> str:
    if kind == FLOW:
        return f"the folder holds no optical flow such as 00001_x.jpg: {_FLOW_MADE}"
    other = "; its optical flow needs --modality flow" if any(map(FLOW_IMAGE.fullmatch, files)) else ""
    return f"the folder holds no numbered images such as 00001.jpg{other}"


def read_image(path: str, *, gray: bool = False) -> np.ndarray:
    """An image file as RGB uint8 (H, W, 3), gray and CMYK converted, upright.

    Args:
        gray: as (H, W) instead.

    Raises:
        BrokenError: it is missing or not an image.
        MediaError: it cannot be read.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except FileNotFoundError:
        raise BrokenError(path, "the image is missing") from None
    except OSError as error:
        raise MediaError(path, error.strerror or str(error)) from None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR_RGB) if len(data) else None
    except cv2.error:  # its header promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise BrokenError(path, "not an image that OpenCV can decode" if len(data) else "the image is empty (0 bytes)")
    return image
