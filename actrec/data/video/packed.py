"""Packs certificates into bytes: about four bytes per packet, and four more if the packet has a checksum."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from actrec.data.video.certificate import DIRECT, PACKET, Certificate, StreamInfo
from actrec.data.video.orientation import Orientation

_VERSION = 2  # 1 allowed to leave out packets of files whose headers were not understood
_LARGEST = 1 << 28  # bytes to which a certificate may expand: about 40 million packets


def pack(certificate: Certificate) -> bytes:
    """A certificate as bytes: columns of integers, compressed, and then the checksums, which cannot be compressed."""
    packets, stream = certificate.packets, certificate.stream
    pts, offsets, sizes = (packets[name].astype(np.int64) for name in ("pts", "offset", "size"))
    steps = np.diff(pts)
    unit = max(1, int(np.gcd.reduce(steps)))
    place_of = dict(zip(pts.tolist(), range(len(pts))))
    keys = np.array([place_of[key] for key in certificate.key_pts.tolist()], np.int64)
    header = [_VERSION, len(packets), unit, int(pts[0]), certificate.crcs is not None, stream is not None]
    texts = [certificate.preamble]
    if stream is not None:
        turned = stream.orientation
        header += [*stream.color, stream.reorder_depth, stream.width, stream.height]
        header += [turned.quarter_turns, turned.mirrored, *stream.file_version, stream.extradata is not None]
        texts += [stream.codec.encode(), stream.extradata or b""]
    columns = [
        np.array(header, np.int64),
        *(np.frombuffer(text, np.int8) for text in texts),
        steps // unit,
        offsets - np.concatenate([[0], offsets[:-1] + sizes[:-1]]),
        sizes,
        np.packbits(packets["droppable"]).view(np.int8),
        keys,
        certificate.key_dts - certificate.key_pts,
    ]
    crcs = b"" if certificate.crcs is None else certificate.crcs.astype("<u4").tobytes()
    return zlib.compress(b"".join(map(_encoded, columns))) + crcs


def unpack(data: bytes) -> Certificate:
    """The certificate that was packed.

    Raises:
        ValueError: these are not the bytes of a certificate.
    """
    try:
        return _unpack(data)
    except Exception as error:  # zlib and numpy may raise any exception for damaged bytes
        raise ValueError(f"not a packed certificate ({error})") from error


def _unpack(data: bytes) -> Certificate:
    inflater = zlib.decompressobj()
    columns = _columns(inflater.decompress(data, _LARGEST))
    version, num_packets, unit, first, has_crcs, has_stream, *header = next(columns).tolist()
    _expect(version == _VERSION and inflater.eof)
    stream, preamble = None, next(columns).tobytes()
    if has_stream:
        *color, reorder_depth, width, height, turns, mirrored, size, changed, has_extradata = header
        codec, extradata = next(columns).tobytes().decode(), next(columns).tobytes()
        _expect(codec in DIRECT and len(color) == 4 and turns in range(4))
        stream = StreamInfo(
            codec=codec,
            extradata=extradata if has_extradata else None,
            color=tuple(color),
            reorder_depth=reorder_depth,
            width=width,
            height=height,
            orientation=Orientation(turns, bool(mirrored)),
            file_version=(size, changed),
        )
    steps, gaps, sizes, droppable, keys, delays = columns
    packets = np.zeros(num_packets, PACKET)
    packets["pts"] = first + np.concatenate([[0], np.cumsum(steps) * unit])
    packets["size"] = sizes
    packets["offset"] = np.cumsum(gaps) + np.cumsum(sizes) - sizes
    packets["droppable"] = np.unpackbits(droppable.view(np.uint8), count=num_packets)
    pts = np.sort(packets["pts"])
    key_pts = packets["pts"][keys]
    crcs = np.frombuffer(inflater.unused_data, "<u4") if has_crcs else None
    _expect(crcs is None or len(crcs) == num_packets)
    _expect(len(keys) > 0 and key_pts[0] <= pts[0])
    _expect(stream is None or packets["offset"].min() >= 0)
    _expect(sizes.min() > 0 and _ascend(pts) and _ascend(key_pts))
    return Certificate(pts, key_pts, key_pts + delays, packets, stream, preamble, crcs)


def _expect(is_so: bool) -> None:
    if not is_so:
        raise ValueError("impossible values")


def _ascend(numbers: np.ndarray) -> bool:
    return bool((np.diff(numbers) > 0).all())


def _encoded(numbers: np.ndarray) -> bytes:
    """The number of integers, the bytes of each, and then the lowest byte of all, the second lowest of all, ..."""
    low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
    width = next(width for width in (1, 2, 4, 8) if -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1)
    planes = numbers.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T
    return len(numbers).to_bytes(4, "little") + bytes([width]) + planes.tobytes()


def _columns(data: bytes) -> Iterator[np.ndarray]:
    at = 0
    while at < len(data):
        count, width = int.from_bytes(data[at : at + 4], "little"), data[at + 4]
        planes = np.frombuffer(data, np.uint8, count * width, at + 5).reshape(width, count)
        at += 5 + count * width
        column = np.ascontiguousarray(planes.T).view(f"<i{width}").ravel()
        yield column if width == 1 else column.astype(np.int64)
