"""Videos through PyAV: probe, exact frames, colour matrix and range, rotation. Nothing else decodes a video with av.

Frame *i* of a video is the *i*-th picture of a plain decode from its start, whatever the container claims. A file may
be entered at a keyframe only when a `Certificate` proves that this gives the same pictures (`certify`).
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

import av
import av.logging
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

av.logging.set_level(None)  # FFmpeg's own lines on stderr; what matters is raised or counted

# Decoders in which a keyframe resets everything. H.264 and HEVC keyframes qualify one by one (`_resets`). MPEG-1, -2
# and -4 do not: open GOPs and packed B-frames leak across keyframes without an error.
_SEEKABLE = {"h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mjpeg"}
_RAW = {"h264", "hevc"}  # decoders that are fed from the file, past the container
_RESETS = {"h264": {5}, "hevc": {19, 20}}  # slices of IDR pictures: nothing behind them refers to anything before
_SETS = {"h264": {7, 8, 13, 15}, "hevc": {32, 33, 34}}  # parameter sets
_HEADER = 64  # bytes between a packet's place by the container's word and its first byte

# AVCOL_SPC_* to swscale's matrix. What is not named is BT.601, FFmpeg's own choice (and DALI's only one).
_MATRIX = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}

_COLOUR = {
    None: "rgb",
    Colorspace.ITU601: "bt601",
    Colorspace.ITU709: "bt709",
    Colorspace.FCC: "fcc",
    Colorspace.SMPTE240M: "smpte240m",
    Colorspace.BT2020: "bt2020",
}
_ROOT_2 = 2**0.5

# A packet in a file. `spare`: no other picture refers to its own.
_PACKET = np.dtype([("pts", "i8"), ("at", "i8"), ("size", "i4"), ("spare", "?")])

# Red's and blue's parts of luma.
_LUMA = {
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.FCC: (0.30, 0.11),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.BT2020: (0.2627, 0.0593),
}


class MediaError(ValueError):
    """A file that cannot be used. The message is one line: path, reason."""

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason

    def __reduce__(self):
        return (type(self), (str(self).removesuffix(f": {self.reason}"), self.reason))


class ChangedError(MediaError):
    """A file is no longer the one that its certificate is of."""


@dataclass(frozen=True)
class Probe:
    """What the index knows of a video file.

    Args:
        frames: packets of the stream that hold a picture; a damaged or packed file decodes to fewer.
        width, height: as displayed, in pixels (rotation applied, sample aspect ratio not).
        rate: average frames per second, 0 if unknown.
        gop: frames for each keyframe, on average.
        rotation: counter-clockwise degrees from the stored to the displayed picture: 0, 90, 180 or 270.
        colour: matrix and range of the pictures: "bt601", "bt709-full" …, "rgb".
    """

    frames: int
    width: int
    height: int
    rate: float
    gop: float
    codec: str
    pix_fmt: str
    rotation: int
    colour: str


@dataclass(frozen=True)
class Certificate:
    """Proof that a file may be entered at any keyframe.

    Args:
        pts: timestamp of every frame, ascending; frame i of a plain decode carries pts[i].
        key_pts, key_dts: timestamps of the keyframes, ascending.
        packets: where each packet lies in the file, in decoding order (H.264 and HEVC).
        stream: what a decoder must be told to decode them from there; None where they do not lie there in one piece.
    """

    pts: np.ndarray
    key_pts: np.ndarray
    key_dts: np.ndarray
    packets: np.ndarray | None = None
    stream: Stream | None = None

    @property
    def nbytes(self) -> int:
        arrays = (self.pts, self.key_pts, self.key_dts, self.packets)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class Stream:
    """What the container says of a video stream."""

    codec: str
    extradata: bytes | None
    colour: tuple[int, int, int, int]  # colorspace, range, primaries, transfer
    reorder_depth: int
    width: int
    height: int
    turns: int  # counter-clockwise quarter turns from stored to displayed
    file: tuple[int, int]  # its size and time of change


@dataclass(frozen=True)
class Decoded:
    """How a decode went.

    Args:
        clamped: how many wanted frames lay past the last picture and became that one.
        decoded: how many pictures the decoder worked out.
        certificate: when the file was decoded to its end for it, and earned it.
    """

    clamped: int
    decoded: int
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Region:
    """A box of a picture: (x, y) is its top left corner, all in pixels of the picture as displayed.

    Args:
        width, height: of the whole picture. One of another size is resized to this first.
    """

    width: int
    height: int
    x: int
    y: int
    w: int
    h: int

    @classmethod
    def whole(cls, width: int, height: int) -> Region:
        return cls(width, height, 0, 0, width, height)

    def cut(self, rgb: np.ndarray) -> np.ndarray:
        """The box of uint8 (H, W, 3) or (H, W), as a view."""
        if rgb.shape[:2] != (self.height, self.width):
            rgb = _resize(rgb, self.width, self.height)
        return rgb[self.y : self.y + self.h, self.x : self.x + self.w]


def probe(path: str | os.PathLike) -> Probe:
    """Demuxes the whole file and decodes its first picture.

    Raises:
        FileNotFoundError: there is no such file.
        MediaError: it is not a video that decodes.
    """
    with _open(path) as (container, stream):
        keys = [p.is_keyframe for p in _packets(container, stream) if p.size and not p.is_discard]
    with _open(path) as (container, stream):
        first = next(_pictures(container, stream), None)
        if first is None:
            raise MediaError(path, "no frame of its video stream decodes")
        rotation = _rotation(first)
        width, height = (first.width, first.height) if rotation % 180 == 0 else (first.height, first.width)
        return Probe(
            frames=max(len(keys), 1),
            width=width,
            height=height,
            rate=float(stream.average_rate or 0),
            gop=max(len(keys), 1) / max(sum(keys), 1),
            codec=stream.codec_context.codec.canonical_name,
            pix_fmt=first.format.name,
            rotation=rotation,
            colour=_colour(first),
        )


def verify(path: str | os.PathLike) -> Decoded:
    """Decodes a file to its end and sees whether it earns a certificate.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    nothing = _Nothing()
    return _read_from_start(path, np.zeros(1, np.int64), nothing, nothing, certify=True)


def frames(path: str | os.PathLike) -> Iterator[tuple[np.ndarray, float | None]]:
    """Every frame in order: (RGB uint8 (H, W, 3) as displayed, time in seconds or None).

    Damaged packets are passed over, as FFmpeg does.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    with _open(path) as (container, stream):
        to_rgb, count = _Converter(), 0
        for picture in _pictures(container, stream):
            count += 1
            yield to_rgb(picture), picture.time
        if not count:
            raise MediaError(path, "no frame of its video stream decodes")


@dataclass(frozen=True)
class Picture:
    """A decoded picture, converted only when and as small as it is wanted.

    Args:
        width, height: as displayed.
        time: in seconds, None where the file has no timestamp for it.
        seconds: how long it is shown, 0 if the file does not say.
    """

    width: int
    height: int
    time: float | None
    seconds: float
    _frame: av.VideoFrame
    _turns: int

    def bgr(self, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3) as displayed, antialiased where that is smaller; blue first, as OpenCV has it."""
        stored = (height, width) if self._turns % 2 else (width, height)
        bgr = _to_bgr(self._frame, *stored)
        return np.ascontiguousarray(np.rot90(bgr, self._turns)) if self._turns else bgr

    def yuv420(self, width: int, height: int) -> np.ndarray:
        """As `bgr`, for an encoder: uint8 (height * 3 // 2, width), BT.601 in limited range, planes one after another.

        It takes no way through RGB. Both sides have to be even.
        """
        stored = (height, width) if self._turns % 2 else (width, height)
        planes = _to_yuv420(self._frame, *stored)
        return np.concatenate([np.rot90(plane, self._turns).ravel() for plane in planes]).reshape(-1, width)


def pictures(path: str | os.PathLike) -> Iterator[Picture]:
    """Every picture in order, as `frames` has them; much faster where the result is smaller than the video.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    with _open(path) as (container, stream):
        rate, turns = float(stream.average_rate or 0), None
        for frame in _pictures(container, stream):
            turns = _rotation(frame) // 90 if turns is None else turns
            size = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            duration = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
            yield Picture(*size, frame.time, duration or (1 / rate if rate else 0.0), frame, turns)
        if turns is None:
            raise MediaError(path, "no frame of its video stream decodes")


def read(
    path: str | os.PathLike,
    wanted: Sequence[int] | np.ndarray,
    receive: Callable[[int, np.ndarray], None],
    certificate: Certificate | None = None,
    *,
    region: Region | None = None,
    certify: bool = False,
) -> Decoded:
    """Decodes exactly the wanted frames and hands each to `receive(i, rgb)`.

    Args:
        wanted: ascending positions without repetition, at least 0.
        receive: called in ascending order, `i` is the place in `wanted` and `rgb` a uint8 (H, W, 3) array as displayed.
        certificate: of this very file; without one it is decoded from its start.
        region: hand out only this part of each frame, in memory that the next frame may overwrite.
        certify: decode on to the end of the file and see whether it earns a certificate.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
        ChangedError: the file is not the one that the certificate is of.
    """
    wanted = np.asarray(wanted, np.int64)
    assert len(wanted)
    assert wanted[0] >= 0
    assert (np.diff(wanted) > 0).all()
    to_rgb = _Converter(region)
    if certificate is not None:
        return _read_runs(path, wanted, receive, to_rgb, certificate)
    return _read_from_start(path, wanted, receive, to_rgb, certify)


def decode(path: str | os.PathLike, wanted: Sequence[int] | np.ndarray, certificate: Certificate | None) -> Decoded:
    """As `read`, but nothing is converted or handed out: the decoding alone."""
    wanted, nothing = np.asarray(wanted, np.int64), _Nothing()
    if certificate is not None:
        return _read_runs(path, wanted, nothing, nothing, certificate)
    return _read_from_start(path, wanted, nothing, nothing, certify=False)


def certificate(path: str | os.PathLike) -> Certificate | None:
    """The certificate of a file that has earned one before, by demuxing alone; None if it does not look so any more.

    Raises:
        FileNotFoundError, MediaError: as `probe`.
    """
    with _open(path) as (container, stream):
        first = next(_pictures(container, stream), None)
    with _open(path) as (container, stream), _Trail(path, stream) as trail:
        for packet in _packets(container, stream, trail):
            trail.packet(packet)
        if first is None:
            return None
        trail.picture(first)
        return trail.certificate(proven=True)


def _read_from_start(path, wanted: np.ndarray, receive: Callable, to_rgb: _Converter, certify: bool) -> Decoded:
    place, last, i = 0, None, -1
    with _open(path) as (container, stream), _Trail(path, stream) if certify else contextlib.nullcontext() as trail:
        for i, picture in enumerate(_pictures(container, stream, trail)):
            to_rgb.see(picture)
            if place < len(wanted) and i == wanted[place]:
                receive(place, to_rgb(picture))
                place += 1
            if trail is None and place == len(wanted):
                return Decoded(clamped=0, decoded=i + 1)
            last = picture
        if last is None:
            raise MediaError(path, "no frame of its video stream decodes")
        clamped = len(wanted) - place
        if clamped:
            rgb = to_rgb(last)
            for i in range(place, len(wanted)):
                receive(i, rgb)
        return Decoded(clamped, i + 1, trail.certificate() if trail else None)


def _read_runs(path, wanted: np.ndarray, receive: Callable, to_rgb: _Converter, certificate: Certificate) -> Decoded:
    """Enters the file at the keyframe before each wanted frame and leaves out what nobody wants."""
    clamped = int((wanted >= len(certificate.pts)).sum())
    pts = certificate.pts[np.minimum(wanted, len(certificate.pts) - 1)].tolist()
    key_of = np.searchsorted(certificate.key_pts, pts, side="right") - 1
    decoded = place = 0
    enter = _from_container if certificate.stream is None else _from_file
    with enter(path, certificate, to_rgb) as (codec, run_from):
        for key, stop in zip(*np.unique(key_of, return_counts=True)):
            stop += place
            for packet in run_from(int(key), set(pts[place:stop])):
                for picture in codec.decode(packet):
                    decoded += 1
                    if place < stop and picture.pts == pts[place]:
                        rgb = to_rgb(picture)
                        while place < stop and picture.pts == pts[place]:
                            receive(place, rgb)
                            place += 1
            if place < stop:
                raise ChangedError(path, f"frame {wanted[place]} is no longer where it was")
            depth = codec.reorder_depth
            codec.flush_buffers()
            codec.reorder_depth = depth  # the flush forgets it, and the decoder would then drop B-frames
    return Decoded(clamped, decoded)


# Both give (decoder, packets from a keyframe on that are needed for some wanted pictures before the next keyframe). The
# last packet is None and drains what the decoder holds back to reorder it: nothing behind the last wanted is decoded.
RunFrom = Callable[[int, Set[int]], Iterator[av.Packet | None]]


@contextlib.contextmanager
def _from_file(
    path: str | os.PathLike, certificate: Certificate, to_rgb: _Converter
) -> Iterator[tuple[av.VideoCodecContext, RunFrom]]:
    """Reads the packets from where they lie: no container is opened, and what nobody needs is not even read."""
    stream, packets = certificate.stream, certificate.packets
    codec = av.CodecContext.create(stream.codec, "r")
    codec.thread_count, codec.thread_type = 1, "NONE"
    codec.extradata, codec.reorder_depth = stream.extradata, stream.reorder_depth
    codec.width, codec.height = stream.width, stream.height  # some containers crop what the codec does not
    codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc = stream.colour
    to_rgb.expect(stream.width, stream.height, stream.turns)

    def run_from(key: int, wanted: Set[int]) -> Iterator[av.Packet | None]:
        first = int(np.flatnonzero(packets["pts"] == certificate.key_pts[key])[0])
        found = np.flatnonzero(np.isin(packets["pts"][first:], list(wanted)))
        run = packets[first : first + found[-1] + 1]
        needed = ~run["spare"]
        needed[found] = True
        for pts, at, size, _ in run[needed].tolist():
            packet = av.Packet(os.pread(file.fileno(), size, at))
            packet.pts = pts
            yield packet
        yield None

    try:
        with open(path, "rb", buffering=0) as file:
            if _stamp(file.fileno()) != stream.file:
                raise ChangedError(path, "the file has changed since it was indexed")
            yield codec, run_from
    except FileNotFoundError:
        raise FileNotFoundError(f"{os.fspath(path)}: no such file") from None
    except av.error.FFmpegError as error:
        raise MediaError(path, f"FFmpeg cannot decode it ({error.strerror})") from None


def _stamp(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _from_container(
    path: str | os.PathLike, certificate: Certificate, to_rgb: _Converter
) -> Iterator[tuple[av.VideoCodecContext, RunFrom]]:
    packets = certificate.packets
    spare = set() if packets is None else set(packets["pts"][packets["spare"]].tolist())
    with _open(path) as (container, stream):

        def run_from(key: int, wanted: Set[int]) -> Iterator[av.Packet | None]:
            missing, key_pts, entered = len(wanted), int(certificate.key_pts[key]), False
            container.seek(int(certificate.key_dts[key]), stream=stream, backward=True)
            for packet in container.demux(stream):
                pts = packet.pts
                if pts is None or not packet.size:
                    continue
                if not entered and pts != key_pts:
                    if packet.is_keyframe and pts > key_pts:
                        return  # the container's index points past it: the caller reports
                    continue
                entered = True
                if pts in wanted or pts not in spare:
                    yield packet
                missing -= pts in wanted
                if not missing:
                    break
            yield None

        yield stream.codec_context, run_from


class _Trail:
    """Watches a plain decode and judges whether the file may be entered at its keyframes."""

    def __init__(self, path: str | os.PathLike, stream):
        self._context = stream.codec_context
        self._name = self._context.codec.canonical_name
        self._extradata = self._context.extradata or b""
        self._sound = self._name in _SEEKABLE
        self._packets: list[tuple[int, int, int]] = []  # pts, place and size in the file
        self._spare: list[tuple[bool, int]] = []  # of each: it is no reference in its temporal layer; that layer
        self._keys: list[tuple[int, int]] = []
        self._pictures: list[int | None] = []
        self._size: tuple[int, int] | None = None
        self._turns = 0
        self._sets: frozenset[bytes] | None = None  # parameter sets beside the container's, as each keyframe has them
        self._path = path

    def __enter__(self) -> _Trail:
        self._file = os.open(self._path, os.O_RDONLY)
        self._stamp = _stamp(self._file)
        return self

    def __exit__(self, *_) -> None:
        os.close(self._file)

    def packet(self, packet) -> None:
        if not self._sound or not packet.size:
            return
        if packet.pts is None or packet.is_discard or packet.is_corrupt:
            self._sound = False
            return
        key = packet.is_keyframe
        if self._name in _RAW:
            data = bytes(packet)
            slices, sets = self._parse(data)
            key = key and bool(slices) and slices[0][0] in _RESETS[self._name]
            self._spare.append((bool(slices) and all(s[2] for s in slices), max((s[1] for s in slices), default=0)))
            self._sets = sets if key and self._sets is None else self._sets
            # Whoever enters at a keyframe has to know what a plain decode has learned by then.
            self._sound = sets == self._sets if key else sets <= (self._sets or frozenset())
            self._packets.append((packet.pts, self._place(packet, data), packet.size))
        else:
            self._packets.append((packet.pts, -1, packet.size))
        if key:
            self._keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))

    def _place(self, packet, data: bytes) -> int:
        """Where a packet's bytes lie in the file; -1 if they do not lie there in one piece."""
        if packet.pos is None or packet.pos < 0 or packet.has_sidedata("new_extradata"):
            return -1
        found = os.pread(self._file, len(data) + _HEADER, packet.pos).find(data)
        return packet.pos + found if found >= 0 else -1

    def picture(self, picture) -> None:
        self._pictures.append(picture.pts)
        size = (picture.width, picture.height)
        if self._size is None:
            self._size, self._turns = size, _rotation(picture) // 90
        # a picture of another size is shown in the first one's, which has to be known: no entering there
        self._sound = self._sound and picture.pts is not None and not picture.is_corrupt and size == self._size

    def damaged(self) -> None:
        self._sound = False

    def certificate(self, *, proven: bool = False) -> Certificate | None:
        """None if the file did not earn one. `proven`: its pictures were seen before, and were what its packets say."""
        shown = sorted({pts for pts, _, _ in self._packets})
        if not self._sound or not self._keys or (self._pictures != shown and not proven):
            return None
        if len(self._packets) != len(shown) or self._keys[0][0] > shown[0]:
            return None
        key_pts, key_dts = np.array(sorted(self._keys), np.int64).T
        return Certificate(np.array(shown, np.int64), key_pts, key_dts, *self._in_file())

    def _in_file(self) -> tuple[np.ndarray | None, Stream | None]:
        if self._name not in _RAW or self._size is None:
            return None, None
        packets = np.zeros(len(self._packets), _PACKET)
        packets["pts"], packets["at"], packets["size"] = np.array(self._packets, np.int64).T
        packets["spare"] = self._unneeded()
        if (packets["at"] < 0).any():
            return packets, None
        said = self._context
        colour = tuple(map(int, (said.colorspace, said.color_range, said.color_primaries, said.color_trc)))
        shown = (*self._size, self._turns)
        return packets, Stream(said.codec.name, said.extradata, colour, said.reorder_depth, *shown, self._stamp)

    def _unneeded(self) -> list[bool]:
        """H.264's non-reference pictures are nobody's, HEVC's may be those of a higher temporal layer."""
        top = max((layer for _, layer in self._spare), default=0)
        return [nonref and layer == top for nonref, layer in self._spare]

    def _parse(self, data: bytes) -> tuple[list[tuple[int, int, bool]], frozenset[bytes]]:
        """(kind, temporal layer, whether it is no reference) of each coded slice, and the parameter sets that the
        container does not have, of an H.264 or HEVC packet."""
        slices, sets = [], set()
        for unit in _nal_units(data, self._name, self._extradata):
            if self._name == "h264":
                kind = unit[0] & 31
                if 1 <= kind <= 5:
                    slices.append((kind, 0, not unit[0] >> 5 & 3))
            else:
                kind = unit[0] >> 1 & 63
                if kind < 32:
                    slices.append((kind, unit[1] & 7, kind < 16 and kind % 2 == 0))
            if kind in _SETS[self._name]:
                sets.add(bytes(unit).rstrip(b"\0"))
        return slices, frozenset(found for found in sets if found not in self._extradata)


def _nal_units(data: bytes, codec: str, extradata: bytes) -> Iterator[memoryview]:
    """The NAL units of two bytes or more: length-prefixed as in mp4 and mkv, or with start codes as in TS."""
    view = memoryview(data)
    if extradata[:1] == b"\x01":
        at = 4 if codec == "h264" else 21
        size = (extradata[at] & 3) + 1 if len(extradata) > at else 4
        i = 0
        while i + size + 1 < len(data):
            length = int.from_bytes(data[i : i + size], "big")
            yield view[i + size : i + size + max(length, 2)]
            i += size + length
    else:
        i = data.find(b"\x00\x00\x01")
        while 0 <= i < len(data) - 4:
            after = data.find(b"\x00\x00\x01", i + 3)
            yield view[i + 3 : after if after > 0 else len(data)]
            i = after


class _Converter:
    """Pictures to RGB, all of the size of the first, upright; or a region of them."""

    def __init__(self, region: Region | None = None):
        self._size: tuple[int, int] | None = None
        self._turns = 0
        self._region = region
        self._memory = _Memory() if region else None

    def expect(self, width: int, height: int, turns: int) -> None:
        """The size and turn of all pictures, where they do not say it."""
        self._size, self._turns = (width, height), turns

    def see(self, picture: av.VideoFrame) -> None:
        """The file's first picture has to come here, wanted or not, or all are of one size."""
        if self._size is None:
            self._size = (picture.width, picture.height)
            self._turns = _rotation(picture) // 90

    def __call__(self, picture: av.VideoFrame) -> np.ndarray:
        self.see(picture)
        region, size = self._region, (picture.width, picture.height)
        if region is not None and not self._turns and size == self._size == (region.width, region.height):
            return _to_rgb(picture, region, self._memory)
        rgb = _to_rgb(picture)
        if self._size != size:  # some streams change their size half way
            rgb = cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
        rgb = np.ascontiguousarray(np.rot90(rgb, self._turns)) if self._turns else rgb
        return rgb if region is None else region.cut(rgb)


class _Memory:
    """Arrays that are used again for the next picture: fresh pages cost more than converting a picture into them."""

    def __init__(self):
        self._taken: dict[str, np.ndarray] = {}

    def take(self, purpose: str, *shape: int) -> np.ndarray:
        """An uint8 array, the one that was last taken for this purpose where the shape is the same."""
        if purpose not in self._taken or self._taken[purpose].shape != shape:
            self._taken[purpose] = np.empty(shape, np.uint8)
        return self._taken[purpose]


class _Nothing:
    """In place of a converter, and of who receives its pictures."""

    def expect(self, width: int, height: int, turns: int) -> None:
        pass

    def see(self, picture: av.VideoFrame) -> None:
        pass

    def __call__(self, *_) -> bool:
        return True


def _to_rgb(picture: av.VideoFrame, region: Region | None = None, memory: _Memory | None = None) -> np.ndarray:
    """uint8 (H, W, 3), converted with the picture's own matrix and range; 10 and 12 bit are rounded to 8.

    Args:
        memory: the result may lie there, so that the next one overwrites it.
    """
    matrix, full = _matrix_and_range(picture)
    if picture.format.name in ("yuv420p", "yuvj420p") and picture.width % 2 == 0 and picture.height % 2 == 0:
        region = region or Region.whole(picture.width, picture.height)
        return _yuv420_to_rgb(picture, region, matrix, full, memory or _Memory())
    if matrix is not None:
        picture = picture.reformat(
            format="rgb24",
            src_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
    else:
        picture = picture.reformat(format="rgb24", dst_color_range=ColorRange.JPEG, threads=1)
    rgb = picture.to_ndarray()
    return rgb if region is None else region.cut(rgb)


def _yuv420_to_rgb(
    picture: av.VideoFrame, region: Region, matrix: Colorspace, full: bool, memory: _Memory
) -> np.ndarray:
    """By OpenCV: a third of swscale's time. Four pixels share their colour, so the region is cut out first."""
    x, y = region.x // 2, region.y // 2
    w, h = (region.x + region.w + 1) // 2 - x, (region.y + region.h + 1) // 2 - y
    luma = _plane(picture, 0)[2 * y : 2 * (y + h), 2 * x : 2 * (x + w)]
    chroma = [_plane(picture, i)[y : y + h, x : x + w] for i in (1, 2)]
    rgb = memory.take("rgb", 2 * h, 2 * w, 3)
    if matrix == Colorspace.ITU601 and not full:
        packed = memory.take("packed", 3 * h, 2 * w)
        np.concatenate([plane.ravel() for plane in (luma, *chroma)], out=packed.reshape(-1))
        cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420, dst=rgb)
    else:
        doubled = [luma]
        for i, plane in enumerate(chroma):
            doubled.append(memory.take(f"chroma {i}", 2 * h, 2 * w))
            pairs = doubled[-1].view(np.uint16).reshape(h, 2, w)
            np.multiply(plane[:, None], np.uint16(0x101), out=pairs, dtype=np.uint16)  # a byte twice
        yuv = cv2.merge(doubled, dst=memory.take("yuv", 2 * h, 2 * w, 3))
        cv2.transform(yuv, _yuv_to_bgr(matrix, full)[::-1], dst=rgb)
    return rgb[region.y - 2 * y :, region.x - 2 * x :][: region.h, : region.w]


def _matrix_and_range(picture: av.VideoFrame) -> tuple[Colorspace | None, bool]:
    """(matrix or None for RGB, full range)."""
    name = picture.format.name
    if not name.startswith(("yuv", "nv", "p0", "gray")):
        return None, True
    full = picture.color_range == ColorRange.JPEG or name.startswith(("yuvj", "gray"))
    return _MATRIX.get(picture.colorspace, Colorspace.ITU601), full


def _colour(picture: av.VideoFrame) -> str:
    matrix, full = _matrix_and_range(picture)
    return _COLOUR[matrix] + ("-full" if full and matrix is not None else "")


def _to_bgr(picture: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3), resized before it is converted where that is less work."""
    smaller = width * height < picture.width * picture.height
    if smaller and _has_planes(picture):
        luma = _resize(_plane(picture, 0), width, height)
        yuv = cv2.merge([luma, *(_chroma(_plane(picture, i), width, height) for i in (1, 2))])
        return cv2.transform(yuv, _yuv_to_bgr(*_matrix_and_range(picture)))
    return cv2.cvtColor(_resize(_to_rgb(picture), width, height), cv2.COLOR_RGB2BGR)


def _has_planes(picture: av.VideoFrame) -> bool:
    return picture.format.name.removeprefix("yuvj").removeprefix("yuv") in ("420p", "422p", "444p")


def _to_yuv420(picture: av.VideoFrame, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma and the two colours at half the size, in BT.601 and limited range."""
    half = (width // 2, height // 2)
    if not _has_planes(picture):
        bgr = cv2.cvtColor(_resize(_to_rgb(picture), width, height), cv2.COLOR_RGB2BGR)
        yuv = cv2.transform(bgr, _bgr_to_yuv())
        return (yuv[:, :, 0], *cv2.split(_resize(yuv[:, :, 1:], *half)))
    luma = _resize(_plane(picture, 0), width, height)
    chroma = [_resize(_plane(picture, i), *half) for i in (1, 2)]
    matrix, full = _matrix_and_range(picture)
    if matrix == Colorspace.ITU601 and not full:
        return luma, *chroma
    change = _to_bt601(matrix, full)  # of colour into luma, too, but not of luma into colour: greys stay greys
    chroma = cv2.merge(chroma)
    yuv = cv2.merge([luma, cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)])
    return cv2.transform(yuv, change[:1]), *cv2.split(cv2.transform(chroma, change[1:, 1:]))


@functools.cache
def _bgr_to_yuv() -> np.ndarray:
    """float32 (3, 4): to BT.601 in limited range."""
    back = _yuv_to_bgr(Colorspace.ITU601, False).astype(np.float64)
    inverse = np.linalg.inv(back[:, :3])
    return np.column_stack([inverse, -inverse @ back[:, 3]]).astype(np.float32)


@functools.cache
def _to_bt601(matrix: Colorspace, full: bool) -> np.ndarray:
    """float32 (3, 4): from a picture's matrix and range to BT.601 in limited range."""
    to_bgr, to_yuv = _yuv_to_bgr(matrix, full).astype(np.float64), _bgr_to_yuv().astype(np.float64)
    change = to_yuv[:, :3] @ to_bgr
    change[:, 3] += to_yuv[:, 3]
    return change.astype(np.float32)


@functools.cache
def _yuv_to_bgr(matrix: Colorspace, full: bool) -> np.ndarray:
    """float32 (3, 4): a picture's matrix and range, as ITU-T H.273 has them, with the offset as the last column."""
    red, blue = _LUMA[matrix]
    green = 1 - red - blue
    black, luma, chroma = (0, 1, 1) if full else (16, 255 / 219, 255 / 224)
    cb, cr = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    rows = np.array(
        [[luma, cb, 0], [luma, -cb * blue / green, -cr * red / green], [luma, 0, cr]],
        np.float64,
    )
    return np.column_stack([rows, -rows @ (black, 128, 128)]).astype(np.float32)


def colour_change(colour: str) -> tuple[np.ndarray, np.ndarray]:
    """What turns RGB that was made as if from BT.601 in limited range into that of `colour`, a `Probe`'s.

    Returns:
        (float32 (3, 3), float32 (3,)): matrix and offset for RGB columns of 0 to 255.
    """
    matrix = next(matrix for matrix, name in _COLOUR.items() if matrix and colour.removesuffix("-full") == name)
    wrong = _yuv_to_bgr(Colorspace.ITU601, False).astype(np.float64)[::-1]
    right = _yuv_to_bgr(matrix, colour.endswith("-full")).astype(np.float64)[::-1]
    change = right[:, :3] @ np.linalg.inv(wrong[:, :3])
    return change.astype(np.float32), (right[:, 3] - change @ wrong[:, 3]).astype(np.float32)


def _plane(picture: av.VideoFrame, i: int) -> np.ndarray:
    plane = picture.planes[i]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Antialiased along an axis that shrinks, bilinear along one that grows."""
    rows, columns = image.shape[:2]
    if height < rows or width < columns:
        image = _shrink(image, min(width, columns), min(height, rows))
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _shrink(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Close to INTER_AREA (0.1 to 0.6 of 255 in the mean, 1.7 on the finest patterns) in a fifth of its time.

    INTER_AREA is vectorised only where it halves. So halve while that leaves enough, interpolate to twice the wanted
    size, halve again. Interpolation shrinks by at most the root of 2: what it folds over lies in the frequencies that
    the last halving takes away.
    """
    image = _halved(image, 2 * width, 2 * height)
    if image.shape[0] <= _ROOT_2 * 2 * height and image.shape[1] <= _ROOT_2 * 2 * width:
        image = cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _chroma(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """As `_shrink`, without the last halving: JPEG stores colour at half the resolution and halves by itself."""
    image = _halved(image, width, height)
    if image.shape[0] <= _ROOT_2 * height and image.shape[1] <= _ROOT_2 * width:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return _resize(image, width, height)


def _halved(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Halved while it stays above 1/sqrt(2) of this size and its sides are even."""
    rows, columns = image.shape[:2]
    while rows % 2 == 0 and columns % 2 == 0 and min(rows / height, columns / width) > _ROOT_2:
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return image


def _rotation(picture: av.VideoFrame) -> int:
    turn = picture.rotation % 360
    return turn if turn % 90 == 0 else 0


def _pictures(container, stream, trail: _Trail | None = None) -> Iterator[av.VideoFrame]:
    """A plain decode. A packet that the decoder refuses is passed over."""
    for packet in _packets(container, stream, trail):
        if trail:
            trail.packet(packet)
        try:
            pictures = stream.codec_context.decode(packet)
        except av.error.FFmpegError:
            if trail:
                trail.damaged()
            continue
        for picture in pictures:
            if trail:
                trail.picture(picture)
            yield picture


def _packets(container, stream, trail: _Trail | None = None) -> Iterator[av.Packet]:
    """Packets up to the end of the file or to where it is torn; the last one is empty and flushes the decoder."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            if trail:
                trail.damaged()
            yield av.Packet()
            return
        yield packet


@contextlib.contextmanager
def _open(path: str | os.PathLike):
    """(container, video stream), for one thread.

    Only local files: a "video" may be a playlist that names addresses, and a name may look like a protocol.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    if os.path.getsize(path) == 0:
        raise MediaError(path, "the file is empty (0 bytes)")
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except PermissionError:
        raise MediaError(path, "no permission to read it") from None
    except av.error.FFmpegError as error:
        raise MediaError(path, f"not a video that FFmpeg can open ({error.strerror})") from None
    with container:
        pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures:
            kind = (
                "a cover picture" if container.streams.video else "audio" if container.streams.audio else "other data"
            )
            raise MediaError(path, f"no video stream, only {kind}")
        stream = container.streams.best("video")
        stream = stream if stream in pictures else pictures[0]
        if stream.codec_context is None:
            raise MediaError(path, "its video codec is unknown to FFmpeg")
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        try:
            yield container, stream
        except av.error.FFmpegError as error:
            raise MediaError(path, f"FFmpeg cannot decode it ({error.strerror})") from None
