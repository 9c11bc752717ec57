"""Drawing on RGB pictures with Pillow: text, boxes, thumbnails, and the file that they end in."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from actrec.config import Input
from actrec.data.index import Media
from actrec.data.index.images import read_image
from actrec.data.video.read import iter_frames
from actrec.files import atomic_write, writing

Color = tuple[int, int, int]

MAX_WIDTH = 2000  # pixels of a sheet
PAPER, INK, FAINT = (255, 255, 255), (24, 24, 24), (110, 110, 110)
ACCENTS = ((255, 209, 0), (0, 200, 255), (255, 90, 160), (120, 230, 90), (255, 140, 40))

PAD, LINE = 8, 20  # pixels: between thumbnails; of a line of text
MAX_FRAMES = 64  # of a clip on a sheet; of a longer clip it shows as many, evenly spread
_SMALLEST, _LARGEST, _NARROWEST = 120, 240, 640  # pixels: of a thumbnail; of a sheet


@dataclass(frozen=True)
class Grid:
    """Where the frames of a clip are on a sheet.

    Args:
        chosen: The frames that are shown, as indices.
        columns, lines: Their number. Each line holds as many frames as there are columns.
        side: Width of a thumbnail, and its largest height.
        width: Of the sheet.
    """

    chosen: list[int]
    columns: int
    lines: int
    side: int
    width: int

    @classmethod
    def of(cls, num_frames: int) -> Grid:
        chosen = np.unique(np.linspace(0, num_frames - 1, min(num_frames, MAX_FRAMES)).round().astype(int)).tolist()
        room = MAX_WIDTH - PAD
        lines = -(-len(chosen) // (room // (_SMALLEST + PAD)))
        columns = -(-len(chosen) // lines)
        side = min(room // columns - PAD, _LARGEST)
        return cls(chosen, columns, lines, side, max(columns * (side + PAD) + PAD, _NARROWEST))

    def place(self, number: int) -> tuple[int, int]:
        """(line, x of the left border) of the nth chosen frame."""
        line, column = divmod(number, self.columns)
        return line, PAD + column * (self.side + PAD)


@functools.cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, arrows."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name), size)


def shortened(text: str, width: int, style: ImageFont.FreeTypeFont) -> str:
    """A text that is at most `width` pixels long. What does not fit is cut off at its start."""
    if style.getlength(text) <= width:
        return text
    while text and style.getlength("…" + text) > width:
        text = text[1:]
    return "…" + text


def thumbnail(rgb: np.ndarray, width: int, height: int) -> Image.Image:
    """uint8 (H, W, 3), enlarged or shrunk to the largest size that fits into width x height."""
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.BICUBIC)


def draw_box(picture: Image.Image, box: Sequence[float], color: Color, *, tag: str = "") -> None:
    """Outlines a box (x, y, w, h) in pixels of the picture, in place, with a small text in its top left corner."""
    draw = ImageDraw.Draw(picture)
    x, y, w, h = box
    left, top = round(x), round(y)
    corners = (left, top, max(left + 2, round(x + w) - 1), max(top + 2, round(y + h) - 1))  # at least three pixels
    draw.rectangle(corners, outline=(0, 0, 0), width=4)
    draw.rectangle([corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1], outline=color, width=2)
    if tag:
        draw_tag(picture, (corners[0] + 7, corners[1] + 5), tag, color)


def draw_tag(picture: Image.Image, place: tuple[int, int], text: str, color: Color) -> None:
    """A small black text with its top left corner at `place`, on a colored ground."""
    draw, style = ImageDraw.Draw(picture), font(13, bold=True)
    left, top, right, bottom = draw.textbbox(place, text, font=style)
    draw.rectangle((left - 4, top - 3, right + 3, bottom + 3), fill=color)
    draw.text(place, text, font=style, fill=(0, 0, 0))


def heading(width: int, title: str, video: str, notes: Sequence[str]) -> Image.Image:
    """Two lines: a title in bold with the name of the video, and what else is to be said."""
    page = Image.new("RGB", (width, 2 * LINE + 2 * PAD), PAPER)
    draw, bold, plain, room = ImageDraw.Draw(page), font(15, bold=True), font(13), width - 2 * PAD
    title = shortened(title, room * 2 // 3, bold)
    draw.text((PAD, PAD), title, font=bold, fill=INK)
    indent = round(bold.getlength(title)) + 16
    draw.text((PAD + indent, PAD + 2), shortened(video, room - indent, plain), font=plain, fill=INK)
    draw.text((PAD, PAD + LINE), shortened("  ·  ".join(notes), room, plain), font=plain, fill=FAINT)
    return page


def darken_outside(picture: Image.Image, box: Sequence[float]) -> Image.Image:
    """The picture, darker outside of a box (x, y, w, h)."""
    x, y, w, h = box
    corners = (round(x), round(y), round(x + w), round(y + h))
    dark = picture.point(lambda value: value * 0.45)
    dark.paste(picture.crop(corners), corners[:2])
    return dark


def stacked(blocks: Sequence[Image.Image]) -> Image.Image:
    """Pictures below one another."""
    page = Image.new("RGB", (max(block.width for block in blocks), sum(block.height for block in blocks)), PAPER)
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height
    return page


def heated(rgb: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture, uint8 (H, W, 3), under a heat map (H, W) in [0, 1]. Where that is 0, the picture is unchanged."""
    colors = cv2.applyColorMap((heat * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    strength = (0.8 * heat)[..., None]
    return (rgb * (1 - strength) + colors * strength).round().astype(np.uint8)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Pictures (..., C) of a net's input as RGB (..., 3): of optical flow the first x image, in gray."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels[..., :1], 3, axis=-1)


def pixels_of(clips_NCTHW: object, net_input: Input) -> np.ndarray:
    """The pictures that normalized clips show: RGB uint8 (N, T, H, W, 3).

    Of optical flow, the first x image of each frame is shown in gray: what moves to the right is bright.
    """
    values = np.moveaxis(np.asarray(clips_NCTHW, np.float32), 1, -1)
    pixels = (values * np.asarray(net_input.std, np.float32) + np.asarray(net_input.mean, np.float32)) * 255
    return as_rgb(pixels.round().clip(0, 255).astype(np.uint8))


def frames_of(media: Media) -> Iterator[tuple[np.ndarray, float | None]]:
    """The frames of a row of a list in order, RGB uint8 (H, W, 3) as displayed, of optical flow as `as_rgb` shows it.

    With each comes its time in the file, in seconds; None if it has none.

    Raises:
        MediaError: One of them cannot be read.
    """
    if media.template is None:
        yield from itertools.islice(iter_frames(media.path), media.start, media.start + media.frames)
        return
    for i in range(media.positions):
        path = media.images(i)[0]
        if media.flow:
            yield as_rgb(read_image(path, gray=True)[..., None]), None
        else:
            yield read_image(path, image_range=media.image_range), None


def write_picture(path: Path, picture: Image.Image) -> None:
    """Writes .png or .jpg, atomically.

    Raises:
        OSError: It cannot be written.
        ValueError: The picture is too large for its format.
    """
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    if kind == "JPEG" and max(picture.size) > 65_500:
        raise ValueError(f"{path}: {picture.width}x{picture.height} pixels: JPEG has at most 65500, .png has more")
    with writing(path), atomic_write(path, "wb") as file:
        picture.save(file, kind, quality=92)
