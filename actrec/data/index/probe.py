"""The record that the index keeps of a file or frame folder: making it, and verifying it by decoding everything."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from actrec.data import storage
from actrec.data.flow import UNFINISHED, y_of
from actrec.data.index.folders import Listing, arrange
from actrec.data.index.images import BrokenError, read_encoded, read_image
from actrec.data.index.watched import decode_watched
from actrec.data.lists.spelling import why_missing
from actrec.data.storage import RemoteError, is_local
from actrec.data.times import LARGEST
from actrec.data.video.certificate import Finding
from actrec.data.video.container import MediaError, unreadable
from actrec.data.video.packed import pack
from actrec.data.video.probe import examine_video
from actrec.data.video.promise import LEAST_PRESENT
from actrec.data.video.read import verify_video
from actrec.opening import open_regular
from actrec.system import raise_if_exhausted


class Kind(IntEnum):
    """What a record describes."""

    UNKNOWN, VIDEO, FOLDER, FLOW = range(4)


class Certified(IntEnum):
    """Whether a video file earns a certificate (`actrec.data.video.certificate`).

    DOUBTED: its packets do not tell; decoding it to its end does.
    """

    UNKNOWN, YES, NO, DOUBTED = range(4)


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
        ("step", "i8"),  # from the number of an image to that of the next; 0 if there is no usual step
        ("missing", "u4"),  # images that are missing between the first and the last one
        ("unused", "u4"),  # images of a folder that are no frames
        ("listing", "u4"),  # checksum of the names of the images if these do not follow from template, first and step
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
        ("offset", "u8"),  # of a member in its archive; 0 if it is unknown, or not a member
        ("packets", [("position", "u8"), ("size", "u4"), ("crc", "u4")]),  # where its certificate is (`store.Place`)
        ("seal", "u8"),  # of all other fields, in the cache: a record that was damaged on disk does not match
    ]
)
Facts = dict[str, Any]  # a record as `facts_of` returns it
FPS = "fps"  # file in a frame folder that holds its frame rate
_FLOW_MADE = "`actrec extract-flow` computes it"
_LARGEST = {name: np.iinfo(RECORD[name]).max for name in ("first", "step", "missing", "unused")}


def key_of(
    path: str, name: str, template: str | None = None, *, known: np.void | None = None
) -> tuple[int, int] | None:
    """A hash of the name, size and modification time of a file or folder.

    Of a folder, it includes its `fps` file and the template of its images. Of a URL and of a member of an archive, the
    version that its storage states takes the place of the modification time. None if the path does not exist.

    Args:
        known: An earlier `RECORD`. If it says where a member is, and this is still right, the archive is not scanned.

    Raises:
        RemoteError: A URL cannot be read.
    """
    if not is_local(path):
        try:
            if known is not None and known["offset"]:
                place = int(known["offset"]), int(known["size"])
                found = storage.stat(path, place)
                key = _hash_of(name, f"{found.size}\0{found.version}")
                if key == tuple(known["key"].tolist()):
                    storage.remember_place(path, place, found.version)
                    return key
            found = storage.stat(path)
        except RemoteError:
            raise
        except (FileNotFoundError, IsADirectoryError, MediaError):
            return None
        except OSError as error:
            raise unreadable(path, error) from None
        return _hash_of(name, f"{found.size}\0{found.version}")
    try:
        stats = [os.stat(path)]
        if stat.S_ISDIR(stats[0].st_mode):
            with contextlib.suppress(OSError):
                stats.append(os.stat(os.path.join(path, FPS)))
            name = name if template is None else f"{name}\0{template}"
    except OSError:
        return None
    return _hash_of(name, *(f"{found.st_size}\0{found.st_mtime_ns}" for found in stats))


def _hash_of(*texts: str) -> tuple[int, int]:
    digest = hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogateescape")).digest()
    words = np.frombuffer(digest[:16], np.uint64)
    return int(words[0]), int(words[1])


def checksum(name: str) -> int:
    """CRC-32 of a name."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


class Found(NamedTuple):
    """What probing or verifying a file or folder has given.

    Args:
        record: One `RECORD`.
        packed: The certificate of a video file, as bytes; None if it has none.
    """

    record: np.void
    packed: bytes | None = None


def certified_of(finding: Finding) -> Certified:
    """Whether a video file earns a certificate, judging by its packets."""
    if finding.certificate is None:
        return Certified.NO
    return Certified.YES if finding.doubt is None else Certified.DOUBTED


def probe_path(path: str, name: str, *, flow: bool = False, template: str | None = None) -> Found:
    """Makes the record of a file or folder.

    Args:
        name: Its name in the index.
        flow: Probe the optical flow in a folder.
        template: Names of the images of a folder that are frames. Default: as `arrange` finds them.

    Raises:
        MediaError: It cannot be used.
    """
    record = np.zeros((), RECORD)
    record["name"], record["key"] = checksum(name), key_of(path, name, template) or (0, 0)
    packed = None
    with _reasons(path):
        if not is_local(path):
            packed = _probe_stored(path, record, flow=flow)
        elif flow:
            _probe_flow(path, record, template)
        elif os.path.isdir(path):
            _probe_folder(path, record, os.listdir(path), Kind.FOLDER, template)
        else:
            packed = _probe_video(path, record)
    return Found(record[()], packed)  # type: ignore[arg-type]


def verify_path(path: str, record: np.void, template: str | None = None) -> Found:
    """Decodes all of a file or folder.

    A video is broken if less than nine tenths of its frames decode without errors. If more do, the number of frames
    that decode becomes the length of the video. A folder is broken if one of its images is, or has another size than
    the first.

    Args:
        record: What `probe_path` returned.
        template: As for `probe_path`.

    Returns:
        The new record, and the certificate that the decode has earned.

    Raises:
        BrokenError: It is broken.
        MediaError: It cannot be read. The cause may be something other than the file.
    """
    record, packed = record.copy(), None
    with _reasons(path):
        if record["kind"] == Kind.FOLDER:
            _verify_folder(path, record, template)
        else:
            decoded, stated = verify_video(path), int(record["frames"])
            if decoded.decoded < LEAST_PRESENT * stated:
                raise BrokenError(path, f"only {decoded.decoded} of {stated} frames decode")
            if decoded.decoded - decoded.damaged < LEAST_PRESENT * stated:
                raise BrokenError(path, f"{decoded.damaged} of {stated} frames are damaged")
            record["damaged"] = decoded.damaged
            record["certified"] = Certified.NO if decoded.certificate is None else Certified.YES
            record["frames"] = decoded.decoded
            packed = pack(decoded.certificate) if decoded.certificate is not None else None
    record["verified"] = Verified.INTACT
    return Found(record, packed)


@contextlib.contextmanager
def _reasons(path: str) -> Iterator[None]:
    """Turns what is wrong with a file or folder into a MediaError with a printable reason."""
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError(path, why_missing(path, error.strerror or "")) from None
    except MediaError as error:
        raise type(error)(path, error.reason.encode("utf-8", "backslashreplace").decode()) from None
    except OSError as error:
        raise_if_exhausted(path, error)
        raise unreadable(path, error) from None


def facts_of(record: np.void) -> Facts:
    """The fields of a record as Python values, which are read and compared in a tenth of the time."""
    return dict(zip(typing.cast(tuple[str, ...], RECORD.names), record.item()))


def numbers_of(record: np.void | Facts) -> range:
    """The numbers of the images of a folder without a listing; of the frames of a video file, counted from 1."""
    first, step = int(record["first"]), int(record["step"])
    return range(first, first + step * int(record["frames"]), step)


def listing_of(path: str, record: np.void | Facts, template: str | None) -> Listing | None:
    """The images of a folder whose names do not follow from its record; None if they do.

    Args:
        template: As for `probe_path`.
    """
    names = int(record["listing"])
    return Listing(path, bool(record["kind"] == Kind.FLOW), template, names) if names else None


def _verify_folder(path: str, record: np.void, template: str | None) -> None:
    size = int(record["width"]), int(record["height"])
    if listing := listing_of(path, record, template):
        names = listing.list_images().names
    else:
        names = tuple(map(record["template"].decode("utf-8", "surrogateescape").format, numbers_of(record)))
    reasons = []
    for name in names:
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
        are = "is" if len(reasons) == 1 else "are"
        raise BrokenError(path, f"{len(reasons)} of {len(names)} images {are} broken; the first: {reasons[0]}")


def _probe_stored(path: str, record: np.ndarray, *, flow: bool) -> bytes | None:
    """Probes a URL, or a member of an archive."""
    if flow:
        raise MediaError(path, f"optical flow is read from folders of the file system only: {_FLOW_MADE}")
    record["size"] = storage.stat(path).size
    if (place := storage.place_of(path)) is not None:
        record["offset"] = place[0]
    with storage.local_file(path):  # fetched once for all that follows
        return _probe_video(path, record)


def _probe_video(path: str, record: np.ndarray) -> bytes | None:
    """Returns the packed certificate, if the packets of the file earn one."""
    found, finding = examine_video(path)
    record["kind"], record["size"] = Kind.VIDEO, record["size"] or os.path.getsize(path)
    record["first"] = record["step"] = 1
    for name, value in vars(found).items():
        record[name] = value
    record["certified"] = certified_of(finding)
    return pack(finding.certificate) if finding.certificate is not None and finding.doubt is None else None


def _probe_flow(path: str, record: np.ndarray, template: str | None) -> None:
    if not os.path.isdir(path):
        what = "a file, not a folder of optical flow" if os.path.exists(path) else "there is no such folder"
        raise MediaError(path, f"{what}: {_FLOW_MADE}")
    names = os.listdir(path)
    if UNFINISHED in names:
        raise MediaError(path, "its optical flow is not complete: the same `actrec extract-flow` command continues it")
    x = _probe_folder(path, record, names, Kind.FLOW, template)
    width, height = record["width"].item(), record["height"].item()
    if (shape := read_image(y_of(x)).shape[:2]) != (height, width):
        y = os.path.basename(y_of(x))
        raise MediaError(path, f"{y} is {shape[1]}x{shape[0]}, {os.path.basename(x)} {width}x{height}")


def _probe_folder(path: str, record: np.ndarray, files: list[str], kind: Kind, template: str | None) -> str:
    """Records how the images are called and numbered, and the size of the first one. Returns the path of that one."""
    found = arrange(path, files, flow=kind == Kind.FLOW, template=template)
    first = os.path.join(path, found.names[0])
    image = read_image(first)
    record["kind"] = kind
    record["rate"], record["begins"] = _rate(path)
    record["height"], record["width"] = image.shape[:2]
    various = found.names[:1] if found.is_regular else reversed(found.names)
    examples = {os.path.splitext(name)[1].lower(): name for name in various}  # the first of each format
    record["bits"] = max(_bits(os.path.join(path, name)) for name in examples.values())
    # What is no JPEG decides who decodes the images of a folder with several formats.
    record["codec"] = min(examples, key=lambda extension: (extension in (".jpg", ".jpeg"), extension))[1:]
    record["size"] = record["frames"] = len(found.names)
    values = {"first": found.numbers[0], "step": found.step, "missing": found.missing, "unused": found.unused}
    for name, value in values.items():
        record[name] = min(value, _LARGEST[name])
    encoded = found.template.encode("utf-8", "surrogateescape")
    is_short = len(encoded) <= RECORD["template"].itemsize and found.numbers[-1] < 2**53
    record["template"] = encoded if is_short else b"{}"
    record["listing"] = 0 if is_short and found.is_regular else found.checksum
    return first


def _bits(image: str) -> int:
    """Bits per sample of an image file. Of the formats here, only PNG (section 11.2.2) can have more than 8."""
    with open_regular(image) as file:
        header = file.read(25)
    return 16 if header.startswith(b"\x89PNG") and header[24:] == b"\x10" else 8


def _rate(folder: str) -> tuple[float, float]:
    """Frames per second of a frame folder, and the time of its first frame in seconds; 0 if it does not say.

    From its file `fps`, which Hara's tools write. `actrec extract-flow` adds the second number.
    """
    try:
        with open_regular(os.path.join(folder, FPS)) as file:
            rate, *begins = map(float, file.read(100).decode("ascii").split())
    except (OSError, ValueError):
        return 0.0, 0.0
    begin = begins[0] if begins and abs(begins[0]) < LARGEST else 0.0
    return (rate, begin) if 0 < rate < LARGEST else (0.0, 0.0)
