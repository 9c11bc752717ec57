"""The record that the index keeps of a file or frame folder: making it, and verifying it by decoding everything."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterator
from enum import IntEnum

import numpy as np

from actrec.data.flow import FLOW_IMAGE, UNFINISHED, y_of
from actrec.data.index.images import BrokenError, read_encoded, read_image
from actrec.data.index.watched import decode_watched
from actrec.data.lists.find import VIDEOS
from actrec.data.times import LARGEST
from actrec.data.video.container import MediaError
from actrec.data.video.probe import probe_video
from actrec.data.video.promise import LEAST_PRESENT
from actrec.data.video.read import verify_video
from actrec.files import open_regular


class Kind(IntEnum):
    """What a record describes."""

    UNKNOWN, VIDEO, FOLDER, FLOW = range(4)


class Certified(IntEnum):
    """Whether a video file earns a certificate (`actrec.data.video.certificate`). Decoding it to its end tells."""

    UNKNOWN, YES, NO = range(3)


class Verified(IntEnum):
    """What `actrec index --verify` has found."""

    UNKNOWN, INTACT, BROKEN = range(3)


RECORD = np.dtype(
    [
        ("name", "u4"),  # checksum of the name, by which the record of a file is found
        ("key", "u8", 2),  # of name, size and modification time, by which a change of the file is noticed
        ("kind", "u1"),
        ("certified", "u1"),
        ("verified", "u1"),
        ("mirrored", "?"),
        ("torn", "?"),  # the end of a file is missing, but most of it is there
        ("bits", "u1"),  # per sample
        ("damaged", "u4"),  # frames that decode with errors; known if verified
        ("size", "u8"),  # bytes of a file, images of a folder
        ("frames", "i8"),
        ("first", "i8"),  # number of the first image of a folder
        ("width", "i4"),
        ("height", "i4"),
        ("rotation", "i2"),
        ("rate", "f8"),
        ("gop", "f4"),
        ("codec", "S16"),
        ("pix_fmt", "S16"),
        ("color", "S16"),
        ("template", "S64"),
        ("begins", "f8"),  # the time of a file's first frame in seconds
        ("variable", "?"),  # its frames are not shown equally long
        ("stamped", "?"),  # it has timestamps
        ("seal", "u8"),  # of all other fields, in the cache: a record that was damaged on disk does not match
    ]
)
FPS = "fps"  # file in a frame folder that holds its frame rate
_IMAGE = re.compile(r"(.*?)(\d{1,18})(\.(?:jpe?g|png|bmp|webp))", re.IGNORECASE | re.DOTALL)

_FLOW_MADE = "`actrec extract-flow` makes it"


def key_of(path: str, name: str) -> tuple[int, int] | None:
    """A hash of the name, size and modification time of a file or folder, and of the `fps` file of a folder.

    None if the path does not exist.
    """
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


def checksum(name: str) -> int:
    """CRC-32 of a name."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


def probe_path(path: str, name: str, *, flow: bool = False) -> np.void:
    """Makes the record of a file or folder.

    Args:
        name: Its name in the index.
        flow: Probe the optical flow in a folder.

    Raises:
        MediaError: It cannot be used.
    """
    record = np.zeros((), RECORD)
    record["name"], record["key"] = checksum(name), key_of(path, name) or (0, 0)
    with _reasons(path):
        if flow:
            _probe_flow(path, record)
        elif os.path.isdir(path):
            _probe_folder(path, record, os.listdir(path), _IMAGE, Kind.FOLDER)
        else:
            _probe_video(path, record)
    return record[()]  # type: ignore[return-value]


def verify_path(path: str, record: np.void) -> np.void:
    """Decodes all of a file or folder.

    A video is broken if less than nine tenths of its frames decode without errors. If more do, the number of frames
    that decode becomes the length of the video. A folder is broken if one of its images is, or has another size than
    the first.

    Args:
        record: What `probe_path` returned.

    Returns:
        The new record.

    Raises:
        BrokenError: It is broken.
        MediaError: It cannot be read. The cause may be something other than the file.
    """
    record = record.copy()
    with _reasons(path):
        if record["kind"] == Kind.FOLDER:
            _verify_folder(path, record)
        else:
            decoded, stated = verify_video(path), int(record["frames"])
            if decoded.decoded < LEAST_PRESENT * stated:
                raise BrokenError(path, f"only {decoded.decoded} of {stated} frames decode")
            if decoded.decoded - decoded.damaged < LEAST_PRESENT * stated:
                raise BrokenError(path, f"{decoded.damaged} of {stated} frames are damaged")
            record["damaged"] = decoded.damaged
            record["certified"] = Certified.NO if decoded.certificate is None else Certified.YES
            record["frames"] = decoded.decoded
    record["verified"] = Verified.INTACT
    return record


@contextlib.contextmanager
def _reasons(path: str) -> Iterator[None]:
    """Turns what is wrong with a file or folder into a MediaError with a printable reason."""
    try:
        yield
    except FileNotFoundError:
        raise MediaError(path, "no such file or folder") from None
    except MediaError as error:
        raise type(error)(path, error.reason.encode("utf-8", "backslashreplace").decode()) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise MediaError(path, reason.encode("utf-8", "backslashreplace").decode()) from None


def _verify_folder(path: str, record: np.void) -> None:
    template = record["template"].decode("utf-8", "surrogateescape")
    first, num_images, size = int(record["first"]), int(record["frames"]), (int(record["width"]), int(record["height"]))
    reasons = []
    for name in map(template.format, range(first, first + num_images)):
        image = os.path.join(path, name)
        try:
            read_encoded(image)  # whatever is wrong with it is an error here
            shape, damage = decode_watched(image)
            height, width = shape or read_image(image).shape[:2]
            if damage:
                reasons.append(f"{name}: damaged ({damage})")
            elif (width, height) != size:
                reasons.append(f"{name}: {width}x{height} where the first is {size[0]}x{size[1]}")
        except BrokenError as error:
            reasons.append(f"{name}: {error.reason}")
        except MediaError as error:
            raise MediaError(path, f"{name}: {error.reason}") from None
    if reasons:
        raise BrokenError(path, f"{len(reasons)} of {num_images} images are broken; the first: {reasons[0]}")


def _probe_video(path: str, record: np.ndarray) -> None:
    found = probe_video(path)
    record["kind"], record["first"], record["size"] = Kind.VIDEO, 1, os.path.getsize(path)
    for name in (
        "frames",
        "width",
        "height",
        "rotation",
        "mirrored",
        "bits",
        "rate",
        "gop",
        "codec",
        "pix_fmt",
        "color",
        "torn",
        "begins",
        "variable",
        "stamped",
    ):
        record[name] = getattr(found, name)


def _probe_flow(path: str, record: np.ndarray) -> None:
    if not os.path.isdir(path):
        what = "a file, not a folder of optical flow" if os.path.exists(path) else "there is no such folder"
        raise MediaError(path, f"{what}: {_FLOW_MADE}")
    names = os.listdir(path)
    if UNFINISHED in names:
        raise MediaError(path, "its optical flow is not complete: the same `actrec extract-flow` command continues it")
    _probe_folder(path, record, names, FLOW_IMAGE, Kind.FLOW)
    x = os.path.join(path, record["template"].item().decode("utf-8", "surrogateescape").format(record["first"].item()))
    width, height = record["width"].item(), record["height"].item()
    if (shape := read_image(y_of(x)).shape[:2]) != (height, width):
        y = os.path.basename(y_of(x))
        raise MediaError(path, f"{y} is {shape[1]}x{shape[0]}, {os.path.basename(x)} {width}x{height}")


def _probe_folder(path: str, record: np.ndarray, files: list[str], pattern: re.Pattern[str], kind: Kind) -> None:
    """Records the naming template, the first number, the length of the unbroken sequence and the size of an image."""
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
    if len(encoded) > RECORD["template"].itemsize:
        raise MediaError(path, f"its image names are too long ({template})")
    first = os.path.join(path, template.format(numbers[0]))
    image = read_image(first)
    record["kind"], record["template"], record["codec"] = kind, encoded, suffix.rpartition(".")[2].lower()
    record["rate"] = _rate(path)
    record["first"], record["frames"] = numbers[0], (gap[0] + 1) if len(gap) else len(numbers)
    record["size"], record["bits"] = record["frames"], _bits(first)
    record["height"], record["width"] = image.shape[:2]


def _bits(image: str) -> int:
    """Bits per sample of an image file. Of the formats here, only PNG (section 11.2.2) can have more than 8."""
    with open_regular(image) as file:
        header = file.read(25)
    return 16 if header.startswith(b"\x89PNG") and header[24:] == b"\x10" else 8


def _rate(folder: str) -> float:
    """Frames per second of a frame folder, from its file `fps` (which Hara's tools write); 0 if it has none."""
    try:
        with open_regular(os.path.join(folder, FPS)) as file:
            rate = float(file.read(100).decode("ascii"))
    except (OSError, ValueError):
        return 0.0
    return rate if 0 < rate < LARGEST else 0.0


def _no_images(files: list[str], kind: Kind) -> str:
    if kind == Kind.FLOW:
        return f"the folder holds no optical flow such as 00001_x.jpg: {_FLOW_MADE}"
    other = "; its optical flow needs modality flow" if any(map(FLOW_IMAGE.fullmatch, files)) else ""
    if any(os.path.splitext(name)[1].lower() in VIDEOS for name in files):
        other = "; of a folder of videos, pass the files"
    return f"the folder holds no numbered images such as 00001.jpg{other}"
