"""The drawings of docs/concepts.md, made by the samplers, plans and tasks that training and evaluation use.

    python docs/examples/draw_concepts.py docs/drawings

Each drawing is a function that returns the text of an SVG file. Change the numbers in it to see what other options do.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

import actrec
from actrec.config import Augment, Clip, Input, Views, Windows
from actrec.data.index import Media
from actrec.data.lists import Video, read_flips
from actrec.data.sampling.plan import plan_eval, plan_train, sample
from actrec.data.sampling.windows import windows_of
from actrec.data.times import FrameTimes
from actrec.data.video.certificate import find_certificate
from actrec.data.video.encode import VideoWriter
from actrec.data.video.packets import plan_runs
from actrec.pipelines.task import TrainTask

WIDTH = 600  # of every drawing; on a phone, 600 units are about 360 pixels, so text must not be smaller than 14
BLACK, GRAY, LIGHT = "#222", "#999", "#e8e8e8"
COLORS = ("#3f51b5", "#d84315", "#2e7d32", "#8e24aa", "#00838f", "#b28704")


class Drawing:
    """Collects shapes. `svg` is the file."""

    def __init__(self, height: float):
        size = f'width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}"'
        self._parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="15">']
        self.box(0, 0, WIDTH, height, fill="#fff")

    def box(self, x: float, y: float, w: float, h: float, *, fill: str = "none", line: str = "none", width: float = 1):
        at = f'x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"'
        self._parts.append(f'<rect {at} fill="{fill}" stroke="{line}" stroke-width="{width:g}"/>')

    def text(self, x: float, y: float, text: str, *, color: str = BLACK, anchor: str = "start", size: int = 15):
        shown = text.replace("&", "&amp;").replace("<", "&lt;")
        at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        self._parts.append(f'<text {at} fill="{color}">{shown}</text>')

    def line(self, points: Sequence[tuple[float, float]], *, color: str = BLACK, width: float = 1):
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline points="{at}" fill="none" stroke="{color}" stroke-width="{width:g}"/>')

    def frames(self, y: float, count: int, chosen: Iterable[int], color: str, *, height: float = 16):
        """The frames of a video as a row of boxes; the chosen ones are filled."""
        step = (WIDTH - 20) / count
        self.box(10, y, WIDTH - 20, height, fill=LIGHT)
        for i in sorted(set(chosen)):
            self.box(10 + i * step, y, step, height, fill=color)
        borders = " ".join(f"M{10 + i * step:.1f},{y:.1f}v{height:g}" for i in range(1, count))
        self._parts.append(f'<path d="{borders}" stroke="#fff"/>')

    @property
    def svg(self) -> str:
        return "\n".join([*self._parts, "</svg>\n"])


def sampling() -> str:
    """Uniform and dense sampling of a video of 48 frames, in training and in evaluation."""
    drawing, count, y = Drawing(596), 48, 10.0
    size = {"num_frames": count, "width": 320, "height": 240, "size": 224}
    for title, clip, lines in (
        ("uniform: one frame of each of 8 segments", Clip(frames=8), True),
        ("dense: 8 frames with stride 2", Clip(frames=8, sampling="dense", stride=2), False),
    ):
        drawing.text(10, y + 15, title, size=17)
        y += 26
        for epoch in range(3):
            plan = plan_train(**size, clip=clip, augment=Augment(), seed=0, epoch=epoch, row=0)
            drawing.text(10, y + 14, f"training, epoch {epoch + 1}")
            drawing.frames(y + 19, count, plan.frames.tolist(), COLORS[0])
            if lines:
                for border in range(1, 8):
                    x = 10 + border * (WIDTH - 20) / 8
                    drawing.line([(x, y + 16), (x, y + 38)])
            y += 43
        for clips in (1, 3):
            views = plan_eval(**size, clip=clip, views=Views(clips=clips))
            drawing.text(10, y + 14, f"evaluation, {clips} clip{'s' if clips > 1 else ''}")
            for number, frames in enumerate(views.frames.tolist()):
                drawing.frames(y + 19 + 18 * number, count, frames, COLORS[1 + number])
            y += 43 + 18 * (clips - 1)
        y += 12
    return drawing.svg


def crops() -> str:
    """The boxes that training draws in six epochs, and the crops of evaluation, for frames of 320x240."""
    drawing = Drawing(662)
    drawing.text(10, 25, "training: the boxes of six epochs", size=17)
    for number, geometry in enumerate(("multiscale", "corner", "jitter", "random-resized")):
        x, y = 10 + number % 2 * 295, 36 + number // 2 * 238
        drawing.text(x, y + 14, geometry)
        drawing.box(x, y + 20, 280, 210, fill=LIGHT)
        for epoch in range(6):
            box = plan_train(
                num_frames=48, width=320, height=240, clip=Clip(frames=8), size=224, augment=Augment(geometry=geometry),
                seed=0, epoch=epoch, row=0,
            ).box  # fmt: skip
            bx, by, bw, bh = (value * 280 / 320 for value in box)
            drawing.box(x + bx + 1, y + 20 + by + 1, bw - 2, bh - 2, line=COLORS[epoch], width=2)
    drawing.text(10, 530, "evaluation: --crops 1, 3 and 5 (10: also mirrored)", size=17)
    for number, count in enumerate((1, 3, 5)):
        views = Views(crops=count, crop_ratio=0.875)
        plan = plan_eval(num_frames=48, width=320, height=240, clip=Clip(frames=8), size=224, views=views)
        x, scale = 10 + number * 198, 148 / 320
        drawing.box(x, 540, 320 * scale, 240 * scale, fill=LIGHT)
        for color, (bx, by, bw, bh) in zip(COLORS, plan.boxes(320, 240)):
            drawing.box(x + bx * scale + 1, 541 + by * scale, bw * scale - 2, bh * scale - 2, line=color, width=2)
    return drawing.svg


def decoding() -> str:
    """Which packets of two H.264 files are decoded for one clip of 8 frames."""
    count, drawing, y = 60, Drawing(250), 8.0
    wanted = sample(Clip(frames=8, sampling="dense", stride=2), num_frames=count)[0]
    files = (
        ("a typical original: one keyframe, B-frames", 250, 2),
        ("prepared: a keyframe every 16 frames, no B-frames", 16, 0),
    )
    for title, gop, bframes in files:
        certificate = _certificate(count, gop, bframes)
        needed = np.concatenate([run.needed for run in plan_runs(certificate, wanted, with_droppable=False)])
        decoded = np.searchsorted(certificate.pts, certificate.packets["pts"][needed])
        keys = np.searchsorted(certificate.pts, certificate.key_pts)
        drawing.text(10, y + 15, title, size=17)
        drawing.frames(y + 26, count, decoded.tolist(), "#9fa8da", height=26)
        step = (WIDTH - 20) / count
        for frame in wanted.tolist():
            drawing.box(10 + frame * step + 0.5, y + 26, step - 1, 26, fill=COLORS[0])
        for frame in keys.tolist():
            drawing.box(10 + frame * step + 0.5, y + 26, step - 1, 26, line=COLORS[1], width=2.5)
        drawing.text(10, y + 70, f"8 frames of the clip, {len(decoded)} of {count} frames decoded")
        y += 92
    for x, label, fill, line in (
        (10, "keyframe", "none", COLORS[1]),
        (120, "in the clip", COLORS[0], "none"),
        (235, "decoded", "#9fa8da", "none"),
        (340, "not read", LIGHT, "none"),
    ):
        drawing.box(x, 210, 14, 20, fill=fill, line=line, width=2.5)
        drawing.text(x + 20, 226, label)
    return drawing.svg


def _certificate(count: int, gop: int, bframes: int):
    """The certificate of a small H.264 file, which is written for this purpose."""
    options = {"x264-params": "scenecut=0:b-adapt=0"}  # keyframes and B-frames at fixed places
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoWriter(path, width=64, height=48, rate=25, gop=gop, bframes=bframes, options=options) as video:
            for i in range(count):
                video.write(np.full((48, 64, 3), 4 * i, np.uint8))
        certificate = find_certificate(path).certificate
    assert certificate is not None
    return certificate


def labels() -> str:
    """The label of three videos in six epochs, with a `flips.txt`."""
    classes = ["moves left", "moves right", "turns page", "waves"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flips.txt"
        path.write_text("moves left; moves right\nturns page; -\n")
        flip_map = read_flips(path, classes)
    videos = [Video(f"{i}.mp4", f"{i}.mp4", None, None, (label,)) for i, label in enumerate((0, 2, 3))]
    task = TrainTask(
        videos, Clip(frames=8), Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=224), augment=Augment(),
        batch_size=3, flip_map=flip_map,
    )  # fmt: skip
    media, drawing = Media("", 0, 48, 320, 240), Drawing(282)
    for row, video in enumerate(videos):
        y = 8 + row * 92
        drawing.text(10, y + 15, f"label in the list: {classes[video.label]}", size=17)
        for epoch in range(6):
            plan = task.plan(epoch, row, 0, media)
            x, (label,) = 10 + epoch * 98, task.labels(row, plan)
            drawing.box(x, y + 24, 92, 34, fill=LIGHT, line=COLORS[1] if plan.flip else "none", width=2)
            tip, end = (x + 68, x + 24) if plan.flip else (x + 24, x + 68)  # an arrow to the left, or its mirror image
            back = 8 if plan.flip else -8
            drawing.line([(end, y + 41), (tip, y + 41)], width=2)
            drawing.line([(tip - back, y + 34), (tip, y + 41), (tip - back, y + 48)], width=2)
            drawing.text(x + 46, y + 74, classes[label], anchor="middle", size=14)
    return drawing.svg


def epochs() -> str:
    """How one process and two processes share two epochs of 12 videos, in batches of 4."""
    videos = [Video(f"{i}.mp4", f"{i}.mp4", None, None, (0,)) for i in range(12)]
    net_input = Input(mean=(0.5,) * 3, std=(0.5,) * 3, frames=8, size=224)
    drawing, y = Drawing(268), 8.0
    for world in (1, 2):
        drawing.text(10, y + 15, "one process" if world == 1 else "two processes", size=17)
        y += 24
        for epoch in range(2):
            drawing.text(10, y + 21, f"epoch {epoch + 1}")
            for rank in range(world):
                task = TrainTask(
                    videos, Clip(frames=8), net_input, augment=Augment(), batch_size=4, rank=rank, world=world
                )
                for step in range(task.num_steps):
                    rows = task.draws(epoch, step)[:, 0].tolist()
                    for place, video in enumerate(rows):
                        x = 80 + step * 174 + (rank * 4 // world + place) * 41
                        drawing.box(x, y + 2, 37, 28, fill=COLORS[rank])
                        drawing.text(x + 18.5, y + 21, str(video + 1), color="#fff", anchor="middle")
            y += 40
        y += 18
    return drawing.svg


def windows() -> str:
    """The windows of a timeline over a video of 12 seconds, and the frames that the net sees of each."""
    rate, clip = 5, Clip(frames=4)
    count = 12 * rate
    drawing, y = Drawing(296), 30.0
    drawing.text(10, 20, "the video: 12 seconds", size=17)
    drawing.frames(y, count, (), LIGHT)
    step = (WIDTH - 20) / count
    for number, (start, stop) in enumerate(windows_of(FrameTimes(count, rate), Windows(every=1.0, window=2.0), clip)):
        top = y + 24 + number * 20
        drawing.box(10 + start * step, top, (stop - start) * step, 16, line=GRAY)
        for frame in sample(clip, num_frames=int(stop - start))[0] + start:
            drawing.box(10 + frame * step + 1, top + 1, step - 2, 14, fill=COLORS[number % 2])
    return drawing.svg


DRAWINGS = {
    "sampling": sampling,
    "crops": crops,
    "decoding": decoding,
    "labels": labels,
    "epochs": epochs,
    "windows": windows,
}


def main(folder: Path) -> None:
    """Writes all drawings into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (folder / f"{name}.svg").write_text(draw(), encoding="utf-8")
    print(f"{len(DRAWINGS)} drawings by actrec {actrec.__version__} -> {folder}/")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw how actrec chooses frames, crops, packets, labels and windows.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/drawings"))
    main(parser.parse_args().folder)
