"""Color matrix and range of decoded pictures; their conversion to RGB, BGR and YUV; resizing."""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace

from actrec.data.video.orientation import Orientation

# From AVCOL_SPC_* to swscale's matrix. All others are converted as BT.601, as FFmpeg does (and DALI always).
_MATRIX = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_COLOR = {
    None: "rgb",
    Colorspace.ITU601: "bt601",
    Colorspace.ITU709: "bt709",
    Colorspace.FCC: "fcc",
    Colorspace.SMPTE240M: "smpte240m",
    Colorspace.BT2020: "bt2020",
}
_ROOT_2 = 2**0.5
# The contributions of red and blue to luma.
_LUMA = {
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.FCC: (0.30, 0.11),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.BT2020: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class Region:
    """A box of a picture, in pixels of the picture as displayed.

    Args:
        width, height: of the whole picture. A picture of another size is resized to this first.
        x, y: top left corner of the box.
        w, h: size of the box.
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
            rgb = resize(rgb, self.width, self.height)
        return rgb[self.y : self.y + self.h, self.x : self.x + self.w]


class Converter:
    """Converts the pictures of a file to RGB, upright, all in the size of the first one; or a region of them.

    Args:
        image_range: for gray pictures of more than 8 bits, as in `to_8_bits`. Default: all values that they can have.
        swscale: as for `to_rgb`.
    """

    def __init__(
        self,
        region: Region | None = None,
        image_range: tuple[float, float] | None = None,
        *,
        swscale: bool = False,
    ):
        self._image_range, self._swscale = image_range, swscale
        self._size: tuple[int, int] | None = None
        self._orientation = Orientation()
        self._region = region
        self._memory = _Memory() if region else None

    def expect(self, width: int, height: int, orientation: Orientation) -> None:
        """Tells the stored size and the orientation of all pictures, where the pictures themselves do not say it."""
        self._size, self._orientation = (width, height), orientation

    def see(self, picture: av.VideoFrame) -> None:
        """Must be called with the file's first picture, even if it is not wanted: it sets the size of all."""
        if self._size is None:
            self._size = (picture.width, picture.height)
            self._orientation = Orientation.of(picture)

    def __call__(self, picture: av.VideoFrame) -> np.ndarray:
        self.see(picture)
        region, size = self._region, (picture.width, picture.height)
        plain = not self._orientation and not self._image_range
        if region is not None and plain and size == self._size == (region.width, region.height):
            return to_rgb(picture, region, self._memory, swscale=self._swscale)
        picture = with_range(picture, self._image_range) if self._image_range else picture
        rgb = to_rgb(picture, swscale=self._swscale)
        if self._size is not None and self._size != size:  # some streams change their size
            rgb = cv2.resize(rgb, self._size, interpolation=cv2.INTER_AREA)
        rgb = np.ascontiguousarray(self._orientation.apply(rgb)) if self._orientation else rgb
        return rgb if region is None else region.cut(rgb)


class _Memory:
    """Arrays that are reused for the next picture: fresh pages cost more than converting a picture into them."""

    def __init__(self) -> None:
        self._taken: dict[str, np.ndarray] = {}

    def take(self, purpose: str, *shape: int) -> np.ndarray:
        """A uint8 array: the one that was last taken for this purpose if the shape is the same."""
        if purpose not in self._taken or self._taken[purpose].shape != shape:
            self._taken[purpose] = np.empty(shape, np.uint8)
        return self._taken[purpose]


def to_8_bits(samples: np.ndarray, image_range: tuple[float, float]) -> np.ndarray:
    """uint16 to uint8: the first value of the range becomes 0, the second 255; those outside are clipped."""
    return _table(*image_range)[samples]


@functools.cache
def _table(low: float, high: float) -> np.ndarray:
    return np.clip(np.rint((np.arange(65536) - low) * (255 / (high - low))), 0, 255).astype(np.uint8)


# RGB in 16 bits, as QuickTime stores it. FFmpeg 8 takes the two bytes for little-endian if it unpacks them to 24 bits.
_BIG_ENDIAN_16 = re.compile(r"(rgb|bgr)5[56]5be")
_DEEP_GRAY = re.compile(r"gray\d+([lb]e)")


def with_range(picture: av.VideoFrame, image_range: tuple[float, float]) -> av.VideoFrame:
    """A gray picture of more than 8 bits in 8 bits, without its timestamp; any other picture as it is."""
    deep = _DEEP_GRAY.fullmatch(picture.format.name)
    if not deep:
        return picture
    plane = picture.planes[0]
    samples = np.frombuffer(memoryview(plane), "<u2" if deep[1] == "le" else ">u2")
    samples = samples.reshape(plane.height, plane.line_size // 2)[:, : plane.width]
    return av.VideoFrame.from_ndarray(to_8_bits(samples, image_range), format="gray")


def to_rgb(
    picture: av.VideoFrame, region: Region | None = None, memory: _Memory | None = None, *, swscale: bool = False
) -> np.ndarray:
    """uint8 (H, W, 3), converted with the picture's own matrix and range; 10 and 12 bit are rounded to 8.

    Args:
        memory: the result may be stored there; the next one then overwrites it.
        swscale: never convert with OpenCV, which is faster, and brighter by one level in the mean. Published
            evaluations read videos with FFmpeg, which uses swscale.
    """
    matrix, full = _matrix_and_range(picture)
    is_even = picture.width % 2 == 0 and picture.height % 2 == 0
    if matrix is not None and picture.format.name in ("yuv420p", "yuvj420p") and is_even and not swscale:
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
        if _BIG_ENDIAN_16.fullmatch(picture.format.name):
            picture = picture.reformat(format="gbrp", threads=1)
        picture = picture.reformat(format="rgb24", dst_color_range=ColorRange.JPEG, threads=1)
    rgb = picture.to_ndarray()
    return rgb if region is None else region.cut(rgb)


def _yuv420_to_rgb(
    picture: av.VideoFrame, region: Region, matrix: Colorspace, full: bool, memory: _Memory
) -> np.ndarray:
    """With OpenCV, in a third of swscale's time. The region, extended to whole 2x2 blocks, is cut out first."""
    x, y = region.x // 2, region.y // 2
    w, h = (region.x + region.w + 1) // 2 - x, (region.y + region.h + 1) // 2 - y
    luma, *chroma = map(_samples, picture.planes)
    luma = luma[2 * y : 2 * (y + h), 2 * x : 2 * (x + w)]
    chroma = [plane[y : y + h, x : x + w] for plane in chroma]
    rgb = memory.take("rgb", 2 * h, 2 * w, 3)
    if matrix == Colorspace.ITU601 and not full:
        packed = memory.take("packed", 3 * h, 2 * w)
        packed[: 2 * h] = luma
        for plane, out in zip(chroma, packed[2 * h :].reshape(2, h, w)):
            out[...] = plane
        cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420, dst=rgb)
    else:
        doubled = [memory.take("luma", 2 * h, 2 * w)]
        doubled[0][...] = luma  # OpenCV merges planes without gaps several times as fast
        for i, plane in enumerate(chroma):
            doubled.append(memory.take(f"chroma {i}", 2 * h, 2 * w))
            pairs = doubled[-1].view(np.uint16).reshape(h, 2, w)
            np.multiply(plane[:, None], np.uint16(0x101), out=pairs, dtype=np.uint16)  # each byte twice
        yuv = cv2.merge(doubled, dst=memory.take("yuv", 2 * h, 2 * w, 3))
        cv2.transform(yuv, _yuv_to_bgr(matrix, full)[::-1], dst=rgb)
    return rgb[region.y - 2 * y :, region.x - 2 * x :][: region.h, : region.w]


def _matrix_and_range(picture: av.VideoFrame) -> tuple[Colorspace | None, bool]:
    """(matrix, None for RGB; whether the range is full)"""
    name = picture.format.name
    if not name.startswith(("yuv", "nv", "p0", "gray")):
        return None, True
    full = picture.color_range == ColorRange.JPEG or name.startswith(("yuvj", "gray"))
    return _MATRIX.get(picture.colorspace, Colorspace.ITU601), full


def color_name(picture: av.VideoFrame) -> str:
    """Matrix and range of a picture, as `Probe.color` has them."""
    matrix, full = _matrix_and_range(picture)
    return _COLOR[matrix] + ("-full" if full and matrix is not None else "")


def color_change(color: str) -> tuple[np.ndarray, np.ndarray]:
    """The linear change that corrects RGB which was converted as BT.601 in limited range.

    Args:
        color: what the video really is, as in `Probe.color`.

    Returns:
        (float32 (3, 3), float32 (3,)): matrix and offset for RGB columns of 0 to 255.
    """
    matrix = next(matrix for matrix, name in _COLOR.items() if matrix and color.removesuffix("-full") == name)
    wrong = _yuv_to_bgr(Colorspace.ITU601, False).astype(np.float64)[::-1]
    right = _yuv_to_bgr(matrix, color.endswith("-full")).astype(np.float64)[::-1]
    change = right[:, :3] @ np.linalg.inv(wrong[:, :3])
    return change.astype(np.float32), (right[:, 3] - change @ wrong[:, 3]).astype(np.float32)


def wrong_matrix(color: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The linear change that a wrong color matrix makes: BT.709 for BT.601, and BT.601 for all others.

    Args:
        color: what the video really is, as in `Probe.color`. Images are taken for BT.601.

    Returns:
        As `color_change`. None for pictures that are stored as RGB.
    """
    if color == "rgb":
        return None
    if color.removesuffix("-full") in ("", "bt601"):
        return color_change("bt709")
    change, offset = color_change(color.removesuffix("-full"))
    back = np.linalg.inv(change.astype(np.float64))
    return back.astype(np.float32), (-back @ offset).astype(np.float32)


def to_bgr(picture: av.VideoFrame, width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3). It is resized before the conversion where that is less work."""
    smaller = width * height < picture.width * picture.height
    if smaller and _has_planes(picture):
        luma = resize(_plane(picture, 0), width, height)
        yuv = cv2.merge([luma, *(_chroma(_plane(picture, i), width, height) for i in (1, 2))])
        matrix, full = _matrix_and_range(picture)
        assert matrix is not None
        return cv2.transform(yuv, _yuv_to_bgr(matrix, full))
    return cv2.cvtColor(resize(to_rgb(picture), width, height), cv2.COLOR_RGB2BGR)


def _has_planes(picture: av.VideoFrame) -> bool:
    return picture.format.name.removeprefix("yuvj").removeprefix("yuv") in ("420p", "422p", "444p")


def to_yuv420(picture: av.VideoFrame, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma, and both chroma planes at half the size, in BT.601 and limited range."""
    half = (width // 2, height // 2)
    if not _has_planes(picture):
        bgr = cv2.cvtColor(resize(to_rgb(picture), width, height), cv2.COLOR_RGB2BGR)
        yuv = cv2.transform(bgr, _bgr_to_yuv())
        cb, cr = cv2.split(resize(yuv[:, :, 1:], *half))
        return yuv[:, :, 0], cb, cr
    luma = resize(_plane(picture, 0), width, height)
    cb, cr = (resize(_plane(picture, i), *half) for i in (1, 2))
    matrix, full = _matrix_and_range(picture)
    if matrix == Colorspace.ITU601 and not full:
        return luma, cb, cr
    assert matrix is not None
    change = _to_bt601(matrix, full)  # chroma changes luma, but luma does not change chroma: grays stay gray
    chroma = cv2.merge([cb, cr])
    yuv = cv2.merge([luma, cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)])
    cb, cr = cv2.split(cv2.transform(chroma, change[1:, 1:]))
    return cv2.transform(yuv, change[:1]), cb, cr


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
    """float32 (3, 4): from a picture's matrix and range (ITU-T H.273) to BGR; the last column is the offset."""
    red, blue = _LUMA[matrix]
    green = 1 - red - blue
    black, luma, chroma = (0, 1, 1) if full else (16, 255 / 219, 255 / 224)
    cb, cr = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
    rows = np.array(
        [[luma, cb, 0], [luma, -cb * blue / green, -cr * red / green], [luma, 0, cr]],
        np.float64,
    )
    return np.column_stack([rows, -rows @ (black, 128, 128)]).astype(np.float32)


def picture_checksum(picture: av.VideoFrame) -> int:
    """CRC-32 of the samples of a picture as they are stored."""
    components = picture.format.components
    if len(components) != len(picture.planes):  # packed
        return zlib.crc32(np.ascontiguousarray(to_rgb(picture)).data)
    found = 0
    for component, plane in zip(components, picture.planes):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        found = zlib.crc32(np.ascontiguousarray(rows[:, : plane.width * ((component.bits + 7) // 8)]).data, found)
    return found


def _plane(picture: av.VideoFrame, i: int) -> np.ndarray:
    return _samples(picture.planes[i])


def _samples(plane: VideoPlane) -> np.ndarray:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Antialiased along an axis that shrinks, bilinear along one that grows."""
    rows, columns = image.shape[:2]
    if height < rows or width < columns:
        image = _shrink(image, min(width, columns), min(height, rows))
    if image.shape[:2] != (height, width):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return image


def _shrink(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Shrinks in a fifth of INTER_AREA's time, with a difference of 0.1 to 0.6/255 (mean; 1.7 on the finest patterns).

    INTER_AREA is vectorized only where it halves. So this halves while enough is left, interpolates to twice the wanted
    size, and halves once more. The interpolation shrinks by at most sqrt(2): the frequencies that it aliases are those
    that the last halving removes.
    """
    image = _halved(image, 2 * width, 2 * height)
    if image.shape[0] <= _ROOT_2 * 2 * height and image.shape[1] <= _ROOT_2 * 2 * width:
        image = cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _chroma(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Like `_shrink` without the last halving: JPEG stores chroma at half the resolution and halves it itself."""
    image = _halved(image, width, height)
    if image.shape[0] <= _ROOT_2 * height and image.shape[1] <= _ROOT_2 * width:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return resize(image, width, height)


def _halved(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Halves while the result stays above 1/sqrt(2) of this size and the sides are even."""
    rows, columns = image.shape[:2]
    while rows % 2 == 0 and columns % 2 == 0 and min(rows / height, columns / width) > _ROOT_2:
        rows, columns = rows // 2, columns // 2
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return image
