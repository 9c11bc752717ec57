"""Explanations as pictures and videos: heat maps over the frames, and the evidence over time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from actrec.data.video.encode import VideoWriter
from actrec.inference.drawing import (
    ACCENTS,
    FAINT,
    INK,
    LINE,
    MAX_FRAMES,
    PAD,
    PAPER,
    Grid,
    draw_box,
    font,
    frames_of,
    heading,
    heated,
    stacked,
    thumbnail,
)
from actrec.inference.explain import FEATURES, Explanation
from actrec.words import counted

_SCALE = 80  # width of the scale of colors in pixels
_BAR, _TRACK, _FILL = 48, (238, 238, 238), (214, 76, 34)  # height of the bars in pixels; their colors
_FILM_WIDTH, _FILM_HEIGHT = 960, 540  # the largest frame of a film
_ENLARGED = 400  # pixels: frames that are lower are enlarged to this height
_RATE = 25  # frames per second of a film of images, which have no rate of their own


def sheet(explanation: Explanation) -> Image.Image:
    """For each clip its frames, the same frames under the heat map, and the evidence of each frame as a bar."""
    grid = Grid.of(explanation.frames.shape[1])
    clips = [_block(explanation, grid, number) for number in range(len(explanation.frames))]
    return stacked([_head(explanation, grid.width), *clips])


def _head(explanation: Explanation, width: int) -> Image.Image:
    """The class and the video, and what the heat map is."""
    steps, height, across = explanation.shape
    layer = "the last feature map" if explanation.layer == FEATURES else explanation.layer
    told = f"evidence (Grad-CAM) in {layer}, {counted(steps, 'time step')} of {height}x{across}"
    if not explanation.maps.any():
        told = f"no evidence for this class in {layer}"
    elif steps == 1 < explanation.frames.shape[1]:
        told += ": no information about time"
    head = heading(width, f"{explanation.name}  {explanation.probability:.1%}", explanation.video, [told])
    return stacked([head, _scale(width, bars=_has_bars(explanation))])


def _has_bars(explanation: Explanation) -> bool:
    """Whether the maps differ from frame to frame."""
    return explanation.shape[0] > 1 or explanation.frames.shape[1] == 1


def _scale(width: int, *, bars: bool) -> Image.Image:
    """The colors of the heat map, and what the bars are."""
    strip = Image.new("RGB", (width, LINE + PAD), PAPER)
    draw, style = ImageDraw.Draw(strip), font(12)
    colors = heated(np.full((LINE - 6, _SCALE, 3), 128, np.uint8), np.tile(np.linspace(0, 1, _SCALE), (LINE - 6, 1)))
    x = PAD + round(style.getlength("heat map: 0 "))
    draw.text((PAD, 1), "heat map: 0 ", font=style, fill=FAINT)
    strip.paste(Image.fromarray(colors), (x, 2))
    told = " 1 (strongest evidence)" + "  ·  bars: mean of the frame's map, 1 = strongest frame" * bars
    draw.text((x + _SCALE, 1), told, font=style, fill=FAINT)
    return strip


def _block(explanation: Explanation, grid: Grid, number: int) -> Image.Image:
    """One clip."""
    frames, evidence = explanation.frames[number], explanation.evidence[number]
    notes = [f"clip {number + 1} of {len(explanation.frames)}"] if len(explanation.frames) > 1 else []
    if len(grid.chosen) < len(frames):
        notes.append(f"{MAX_FRAMES} of {len(frames)} frames")
    head = LINE if notes else 0
    bars = _has_bars(explanation)
    line_height = LINE + 2 * (grid.side + PAD) + (_BAR + LINE + PAD) * bars
    block = Image.new("RGB", (grid.width, head + grid.lines * line_height + PAD), PAPER)
    draw = ImageDraw.Draw(block)
    draw.text((PAD, 0), "  ·  ".join(notes), font=font(13), fill=INK)
    for n, i in enumerate(grid.chosen):
        line, x = grid.place(n)
        y = head + line * line_height
        draw.text((x, y), str(frames[i]), font=font(13), fill=FAINT)
        y += LINE
        rgb, heat = explanation.pixels[number, i], explanation.maps[number, i]
        for picture in (rgb, _enlarged_heat(rgb, heat, grid.side)):
            block.paste(thumbnail(picture, grid.side, grid.side), (x, y))
            y += grid.side + PAD
        if not bars:
            continue
        filled = round(_BAR * float(evidence[i]))
        draw.rectangle((x, y, x + grid.side - 1, y + _BAR - 1), fill=_TRACK)
        if filled:
            draw.rectangle((x, y + _BAR - filled, x + grid.side - 1, y + _BAR - 1), fill=_FILL)
        draw.text((x, y + _BAR + 2), f"{evidence[i]:.2f}", font=font(12), fill=FAINT)
    return block


def _enlarged_heat(rgb: np.ndarray, heat: np.ndarray, side: int) -> np.ndarray:
    """A picture under a heat map. Both are enlarged before, so that a small picture gets a smooth map."""
    large = Image.fromarray(rgb).resize((side, side), Image.Resampling.BICUBIC)
    smooth = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return heated(np.asarray(large), np.asarray(smooth).clip(0, 1))


def write_film(path: Path, explanation: Explanation, *, progress: Callable[[int], None] | None = None) -> None:
    """Writes an mp4 of the whole video under the heat maps, with the evidence over time below.

    Between two frames of a clip, the maps are interpolated linearly. Where several clips overlap, they are averaged.

    Args:
        progress: Called after each frame with 1.

    Raises:
        OSError: The file cannot be written, or the video cannot be read any more.
        ValueError: All maps are 0.
    """
    media = explanation.media
    if not explanation.maps.any():
        raise ValueError(f"{explanation.layer}: no evidence for {explanation.name}: the video would show no heat map")
    scale = min(_FILM_WIDTH / media.width, _FILM_HEIGHT / media.height, max(1.0, _ENLARGED / media.height))
    width, height = (max(2, round(side * scale)) for side in (media.width, media.height))
    page_width = max(width, 480) + 2 * PAD
    page_width += page_width % 2
    head = _head(explanation, page_width)
    page_height = head.height + height + PAD + _BAR + LINE + PAD
    page_height += page_height % 2
    track = _Track(explanation)
    curve = _curve(track, media.positions, page_width - 2 * PAD)
    box = [side * scale for side in explanation.box]
    x, y, right, bottom = (
        max(0, round(box[0])), max(0, round(box[1])), min(width, round(box[0] + box[2])),
        min(height, round(box[1] + box[3])),
    )  # fmt: skip
    rate = Fraction(media.rate or _RATE).limit_denominator(1001)
    with VideoWriter(path, width=page_width, height=page_height, rate=rate, options={"crf": "20"}) as film:
        for i, (rgb, _) in enumerate(frames_of(media)):
            picture = np.array(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
            heat = Image.fromarray(track.heat(i)).resize((right - x, bottom - y), Image.Resampling.BILINEAR)
            picture[y:bottom, x:right] = heated(picture[y:bottom, x:right], np.asarray(heat).clip(0, 1))
            shown = Image.fromarray(picture)
            draw_box(shown, (x, y, right - x, bottom - y), ACCENTS[0])
            page = Image.new("RGB", (page_width, page_height), PAPER)
            page.paste(head, (0, 0))
            page.paste(shown, ((page_width - width) // 2, head.height))
            top = head.height + height + PAD
            page.paste(curve, (PAD, top))
            draw = ImageDraw.Draw(page)
            at = PAD + round((curve.width - 1) * i / max(1, media.positions - 1))
            draw.line((at, top, at, top + _BAR - 1), fill=INK, width=2)
            draw.text((PAD, top + _BAR + 2), f"frame {i}", font=font(12), fill=FAINT)
            film.write(np.asarray(page))
            if progress:
                progress(1)


class _Track:
    """The maps of the clips over the whole video: between two frames of a clip they are interpolated linearly.

    Where several clips overlap, their maps are averaged. A frame that is in no clip takes the nearest map.
    """

    def __init__(self, explanation: Explanation):
        self._frames, self._maps, self._evidence = explanation.frames, explanation.maps, explanation.evidence

    def heat(self, frame: int) -> np.ndarray:
        """(size, size) float32 in [0, 1]."""
        return self._at(frame, self._maps)

    def evidence(self, frame: int) -> float:
        """In [0, 1]."""
        return float(self._at(frame, self._evidence))

    def _at(self, frame: int, values: np.ndarray) -> np.ndarray:
        """Of (clips, T, ...) the value at a frame."""
        distances = np.maximum(np.maximum(self._frames[:, 0] - frame, frame - self._frames[:, -1]), 0)
        nearest = np.flatnonzero(distances == distances.min())
        found: np.ndarray = np.mean(
            [_interpolated(self._frames[clip], values[clip], frame) for clip in nearest], axis=0
        )
        return found


def _interpolated(frames: np.ndarray, values: np.ndarray, frame: int) -> np.ndarray:
    """The value at a frame, of values (T, ...) at ascending frames (T,)."""
    after = int(np.searchsorted(frames, frame))
    if after == 0 or after == len(frames):
        return np.asarray(values[min(after, len(frames) - 1)])
    share = np.float32((frame - frames[after - 1]) / (frames[after] - frames[after - 1]))
    return np.asarray(values[after - 1] * (1 - share) + values[after] * share)


def _curve(track: _Track, num_frames: int, width: int) -> Image.Image:
    """The evidence over the whole video, filled."""
    shown = np.linspace(0, num_frames - 1, min(num_frames, width)).round()
    values = np.array([track.evidence(int(frame)) for frame in shown])
    values = np.interp(np.linspace(0, num_frames - 1, width), shown, values / max(values.max(), 1e-9))
    rows = np.arange(_BAR, 0, -1)[:, None] <= (values * _BAR).round()[None]
    return Image.fromarray(np.where(rows[..., None], _FILL, _TRACK).astype(np.uint8))
