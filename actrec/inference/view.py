"""Shows the clips that the net gets, and their crops on the frames of the videos."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from actrec import config
from actrec.config import Input
from actrec.data.index import Index
from actrec.data.lists import Video, check_labels
from actrec.data.sampling.geometry import Box
from actrec.data.sampling.plan import EvalPlan, TrainPlan
from actrec.data.video.encode import VideoWriter
from actrec.engine import loss as losses
from actrec.engine.build import make_loaders
from actrec.engine.runfolder import Data
from actrec.engine.train import check_labeled, check_mixing
from actrec.inference.drawing import (
    ACCENTS,
    FAINT,
    LINE,
    MAX_FRAMES,
    PAD,
    PAPER,
    Grid,
    as_rgb,
    darken_outside,
    draw_box,
    draw_tag,
    font,
    heading,
    pixels_of,
    stacked,
    thumbnail,
)
from actrec.pipelines.dali.routes import pixels_route
from actrec.pipelines.loader import Loader, eval_loader
from actrec.pipelines.workers.decode import Failure, Request, fetch

_SOURCE_SIDE = 640  # pixels: longer frames are shrunk to this when they are decoded
_RATE = 4  # frames per second of a film


@dataclass(frozen=True)
class Crop:
    """One crop of the frames of a clip.

    Args:
        box: (x, y, w, h) in pixels of the video as displayed; in evaluation not whole numbers, because the frames are
            resized first.
        flip: The crop is mirrored left to right.
        pixels: As the net gets it, uint8 (T, size, size, 3).
    """

    box: tuple[float, float, float, float]
    flip: bool
    pixels: np.ndarray


@dataclass(frozen=True)
class Shown:
    """One clip of a loader and the frames from which it was made.

    Args:
        video: Its id.
        classes: Their names, with their weights if clips were mixed; "-" without a label.
        note: A remark on the clip, or "".
        frames: (T,) int64, counted from 0 at the first frame of the video.
        size: Width and height of the video as displayed.
        sources: The whole frames, uint8 (T, h, w, 3), shrunk if they are large.
        crops: One in training.
    """

    video: str
    classes: str
    note: str
    frames: np.ndarray
    size: tuple[int, int]
    sources: np.ndarray
    crops: Sequence[Crop]


@dataclass(frozen=True)
class View:
    """The clips of a loader.

    Args:
        clips: In the order of the loader.
        skipped: The reason by video, of the videos that could not be used.
    """

    clips: list[Shown]
    skipped: dict[str, str]


def training_view(
    data: Data,
    clip: config.Clip,
    net_input: Input,
    augment: config.Augment,
    loader: config.Loader,
    loss: config.Loss,
    run: config.Run,
    *,
    num_videos: int,
    epoch: int = 0,
    device: str = "cpu",
) -> View:
    """The first clips of an epoch, augmented and mixed as the net gets them. Arguments as of `make_loaders`.

    Args:
        data: Its validation list is not used.
        num_videos: Number of drawn videos, each with `loader.repeats` clips.
        epoch: From 0.

    Raises:
        ValueError: Options and data do not fit.
    """
    check_labels(data.train, len(data.classes), multi_label=loss.multi_label)
    num_clips = num_videos * loader.repeats
    if augment.mixup or augment.cutmix:
        check_mixing(augment, loader)
        if not loss.multi_label:
            check_labeled(data.train)
    else:  # a clip does not depend on its batch
        loader = replace(loader, batch_size=num_clips, keep_last=True)
    loader = replace(loader, prefetch=1)
    batches, _ = make_loaders(
        replace(data, val=None), clip, net_input, augment, loader, loss, run, torch.device(device)
    )
    batches.load_state_dict({**batches.state_dict(), "epoch": epoch})
    shown: list[Shown] = []
    for step, batch in enumerate(batches):
        notes = [""] * len(batch)
        names = label_names(batch.labels, data.classes)
        mix = losses.plan_mix(augment, seed=run.seed, epoch=epoch, step=step, size=batch.clips.shape[-1])
        if mix is not None:
            targets = losses.targets(batch.labels.cpu(), len(data.classes)).to(batch.clips.device)
            repeats = loader.repeats
            _, targets = losses.mix(batch.clips, targets, mix, repeats=repeats)
            names = target_names(targets, data.classes)
            mixed = range(len(batch) // (2 * repeats) * 2 * repeats)
            partners = [losses.partner(i, repeats) for i in range(len(batch))]
            notes = [f"mixed with {batch.videos[p]}" if i in mixed else "not mixed" for i, p in enumerate(partners)]
        pixels = pixels_of(batch.clips.float().cpu(), net_input)
        for i, plan in enumerate(batch.plans[: num_clips - len(shown)]):
            assert isinstance(plan, TrainPlan)
            shown.append(
                Shown(
                    batch.videos[i],
                    names[i],
                    notes[i],
                    plan.frames,
                    _size(batches, batch.rows[i]),
                    _sources(batches.index, batch.rows[i], plan)[0],
                    [Crop(plan.box, plan.flip, pixels[i])],
                )
            )
        if len(shown) >= num_clips:
            break
    return View(shown, batches.skipped)


def evaluation_view(
    videos: Sequence[Video],
    index: Index,
    clip: config.Clip,
    net_input: Input,
    views: config.Views,
    *,
    classes: Sequence[str],
    num_videos: int,
    multi_label: bool = False,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
) -> View:
    """The views of some videos of a list, as evaluation takes them.

    Args:
        index: Of the videos.
        num_videos: They are chosen at random, by `seed`.

    Raises:
        ValueError: Options and videos do not fit.
    """
    check_labels(videos, len(classes), multi_label=multi_label)
    loader = eval_loader(
        videos,
        clip,
        net_input,
        views=views,
        batch_size=1,
        prefetch=1,
        device=device,
        index=index,
        workers=workers,
        multi_label=len(classes) if multi_label else None,
    )
    shown: list[Shown] = []
    skipped: dict[str, str] = {}
    left = num_videos
    for row in np.random.default_rng(seed).permutation(len(videos)).tolist():
        if not left:
            break
        loader.load_state_dict({"epoch": 0, "step": row})
        batch = next(batches := iter(loader))
        batches.close()
        skipped |= loader.skipped
        if not len(batch):
            continue
        left -= 1
        (plan,) = batch.plans
        assert isinstance(plan, EvalPlan)
        size, sources = _size(loader, row), _sources(index, row, plan)
        (names,) = label_names(batch.labels, classes)
        pixels = pixels_of(batch.clips.float().cpu(), net_input).reshape(
            views.crops, views.clips, *batch.clips.shape[2:], 3
        )
        boxes = list(zip(plan.boxes(*size), plan.flips.tolist()))
        for number, frames in enumerate(plan.frames):
            note = f"clip {number + 1} of {views.clips}" if views.clips > 1 else ""
            crops = [Crop(box, flip, pixels[i, number]) for i, (box, flip) in enumerate(boxes)]
            shown.append(Shown(batch.videos[0], names, note, frames, size, sources[number], crops))
    return View(shown, skipped)


def label_names(labels: torch.Tensor, classes: Sequence[str]) -> list[str]:
    """For each clip its class, or its classes separated by commas; - if it has none.

    Args:
        labels: Those of a `Batch`, (N,) int64 or (N, classes).
    """
    rows = (
        [row.nonzero().flatten() for row in labels] if labels.ndim == 2 else [row[row >= 0] for row in labels[:, None]]
    )
    return [", ".join(classes[label] for label in row.tolist()) or "-" for row in rows]


def target_names(targets: torch.Tensor, classes: Sequence[str]) -> list[str]:
    """For each mixed clip its classes with their weights, the largest first: "run 0.70 + walk 0.30".

    Args:
        targets: (N, classes).
    """
    rows = [sorted(((weight, name) for weight, name in zip(row, classes) if weight), reverse=True)
            for row in targets.tolist()]  # fmt: skip
    return [" + ".join(name if weight == 1 else f"{name} {weight:.2f}" for weight, name in row) or "-" for row in rows]


def _size(loader: Loader, row: int) -> tuple[int, int]:
    media = loader.index[row]
    return media.width, media.height


def _sources(index: Index, row: int, plan: TrainPlan | EvalPlan) -> np.ndarray:
    """The whole frames of a plan: RGB uint8 (clips, T, h, w, 3), shrunk if they are large.

    Raises:
        ValueError: The video cannot be read any more.
    """
    media = index[row]
    shrink = min(1.0, _SOURCE_SIDE / max(media.width, media.height))
    shape = max(1, round(media.width * shrink)), max(1, round(media.height * shrink))
    whole: Box = (0, 0, media.width, media.height)
    (found,) = fetch([Request(row, media, plan, pixels_route(media), whole, shape, None)], index, certify=False)
    if isinstance(found, Failure):
        raise ValueError(found.error)
    assert isinstance(found.data, np.ndarray)
    return as_rgb(found.data)[found.gather]


# ---- pictures ----


def sheet(clips: Sequence[Shown]) -> Image.Image:
    """All clips below one another: the frames of the video with the boxes, beneath them the clip as the net gets it."""
    return stacked([_block(shown) for shown in clips])


def _block(shown: Shown) -> Image.Image:
    """One clip."""
    grid = Grid.of(len(shown.frames))
    side = grid.side
    first = _marked(shown, grid.chosen[0], side)
    top = _heading(shown, grid.width, thinned=len(grid.chosen) < len(shown.frames))
    line_height = LINE + first.height + (side + PAD) * len(shown.crops) + 2 * PAD
    block = Image.new("RGB", (grid.width, top.height + grid.lines * line_height + PAD), PAPER)
    block.paste(top, (0, 0))
    draw = ImageDraw.Draw(block)
    draw.line((0, 0, grid.width, 0), fill=(200, 200, 200))
    for number, i in enumerate(grid.chosen):
        line, x = grid.place(number)
        y = top.height + line * line_height
        source = _marked(shown, i, side)
        left = x + (side - source.width) // 2
        draw.text((left, y), str(shown.frames[i]), font=font(13), fill=FAINT)
        y += LINE
        block.paste(source, (left, y))
        y += source.height + PAD
        for n, crop in enumerate(shown.crops):
            picture = thumbnail(crop.pixels[i], side, side)
            if len(shown.crops) > 1:
                _draw_number(picture, n, crop)
            block.paste(picture, (x, y))
            y += side + PAD
    return block


def _heading(shown: Shown, width: int, *, thinned: bool = False) -> Image.Image:
    """The class and the video; what the plan says."""
    told = [shown.note] if shown.note else []
    told.append("{}x{} pixels".format(*shown.size))
    if len(shown.crops) == 1:
        x, y, w, h = (round(value) for value in shown.crops[0].box)
        told.append(f"box {w}x{h} at ({x}, {y})" + (", flipped" if shown.crops[0].flip else ""))
    else:
        told.append(f"{len(shown.crops)} crops")
    if thinned:
        told.append(f"{MAX_FRAMES} of {len(shown.frames)} frames")
    return heading(width, shown.classes, shown.video, told)


def _marked(shown: Shown, i: int, side: int, height: int | None = None) -> Image.Image:
    """Frame i of the video, with the boxes."""
    picture = thumbnail(shown.sources[i], side, height or side)
    scale = picture.width / shown.size[0], picture.height / shown.size[1]
    boxes = [(x * scale[0], y * scale[1], w * scale[0], h * scale[1]) for x, y, w, h in (c.box for c in shown.crops)]
    if len(boxes) == 1:
        picture = darken_outside(picture, boxes[0])
    for number, (box, crop) in enumerate(zip(boxes, shown.crops)):
        if len(boxes) > 1:
            if crop.flip:  # the same box as the crop before
                continue
            draw_box(picture, box, ACCENTS[number % len(ACCENTS)], tag=str(number + 1))
        else:
            text = "⇄ flipped" if box[2] > 110 else "⇄"
            draw_box(picture, box, ACCENTS[2] if crop.flip else ACCENTS[0], tag=text if crop.flip else "")
    return picture


def _draw_number(picture: Image.Image, number: int, crop: Crop) -> None:
    draw_tag(picture, (6, 4), f"{number + 1}" + (" ⇄" if crop.flip else ""), ACCENTS[number % len(ACCENTS)])


def write_film(path: Path, clips: Sequence[Shown]) -> None:
    """Writes an mp4 with the frames of the clips over time: the video with the boxes left, the clip right.

    Raises:
        OSError: It cannot be written.
    """
    pages = _pages(clips)
    first = next(pages)
    with VideoWriter(path, width=first.width, height=first.height, rate=_RATE, options={"crf": "18"}) as film:
        for page in itertools.chain([first], pages):
            film.write(np.asarray(page))


def _pages(clips: Iterable[Shown]) -> Iterator[Image.Image]:
    side, source_width = 384, 640
    width = source_width + side + 3 * PAD
    for shown in clips:
        across = int(np.ceil(np.sqrt(len(shown.crops))))
        each = (side - (across - 1) * PAD) // across
        head = _heading(shown, width)
        for i, frame in enumerate(shown.frames.tolist()):
            page = Image.new("RGB", (width, head.height + LINE + side + PAD), PAPER)
            page.paste(head, (0, 0))
            draw, top = ImageDraw.Draw(page), head.height
            draw.text((PAD, top), f"frame {frame}", font=font(13), fill=FAINT)
            draw.text((source_width + 2 * PAD, top), f"{i + 1} of {len(shown.frames)}", font=font(13), fill=FAINT)
            top += LINE
            page.paste(_marked(shown, i, source_width, side), (PAD, top))
            for number, crop in enumerate(shown.crops):
                row, column = divmod(number, across)
                picture = thumbnail(crop.pixels[i], each, each)
                if len(shown.crops) > 1:
                    _draw_number(picture, number, crop)
                page.paste(picture, (source_width + 2 * PAD + column * (each + PAD), top + row * (each + PAD)))
            yield page
