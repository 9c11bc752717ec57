"""The content of toy videos: eight actions in four pairs, each the time-reversed version of the other.

The two actions of a pair are the same animation, played forwards or backwards. Everything random about it (path, speed,
colors, background, camera motion, noise) is drawn independently of the direction. Therefore neither a single frame nor
an unordered set of frames distinguishes the two actions: a net must use the order of the frames.

The module has four parts: figures, motions, scenes (all random properties of one animation), and pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

# width and height in pixels
SIZES = (
    *((160, 120), (176, 144), (160, 160), (176, 224), (180, 240), (208, 256), (224, 168)),
    *((240, 240), (200, 160), (256, 192), (256, 224), (320, 240), (288, 224), (340, 256)),
)
RATES = (24, 25, 30)  # frames per second
SECONDS = (2.0, 4.0)  # shortest and longest video
CONTRAST = 100  # smallest difference in luma between the figure and its background, on a scale of 0 to 255
SUBPIXEL_BITS = 4


# ---- figures ----
# A figure is a function that takes its opening, from 0 to 1, and returns layers that are painted one after the other. A
# layer consists of a tone (0 or 1) and closed contours of points (x, y) in the unit circle; y points down. Areas where
# two contours overlap are not painted.

Layer = tuple[int, list[np.ndarray]]


def _arc(start: float, stop: float, radius: float = 1.0) -> np.ndarray:
    """49 points on a circle, from one angle to another in degrees: shape (49, 2)."""
    angles = np.radians(np.linspace(start, stop, 49))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _corners(number: int, inner: float = 1.0) -> np.ndarray:
    """The corners of a regular polygon. If `inner` is below 1, every second corner moves inwards, to form a star."""
    points = _arc(0, 360)[:-1][:: 48 // number].copy()
    points[1::2] *= inner
    return points


def _static(*contours) -> Callable[[float], list[Layer]]:
    layers = [(0, [np.asarray(contour, dtype=float) for contour in contours])]
    return lambda opening: layers


def _mouth(opening: float) -> list[Layer]:
    half = 3 + 72 * opening
    return [(0, [np.vstack([[[0, 0]], _arc(half, 360 - half)])])]


def _gap(opening: float) -> list[Layer]:
    half = 5 + 85 * opening
    return [(0, [np.vstack([_arc(half, 360 - half), _arc(360 - half, half, 0.55)])])]


def _doors(opening: float) -> list[Layer]:
    """Two panels that slide apart."""
    left, right = 0.02 + 0.5 * opening, 0.42 + 0.5 * opening
    panel = np.array([[left, -0.6], [right, -0.6], [right, 0.6], [left, 0.6]])
    return [(0, [panel]), (0, [-panel])]


def _jaws(opening: float) -> list[Layer]:
    """Two bars that share a hinge, like a pair of scissors."""
    bar = np.array([[0, -0.17], [1.75, -0.17], [1.75, 0.17], [0, 0.17]])
    half = 7 + 48 * opening
    hinge = 0.22 * _arc(0, 360)
    bars = [(0, [_turned(bar, angle) - [0.85, 0]]) for angle in (half, -half)]
    return [*bars, (1, [hinge - [0.8, 0]])]


def _eye(opening: float) -> list[Layer]:
    x = np.linspace(-1, 1, 25)
    lid = (0.06 + 0.7 * opening) * (1 - x**2)
    lids = np.vstack([np.stack([x, -lid], axis=1), np.stack([x, lid], axis=1)[::-1]])
    return [(0, [lids]), (1, [0.8 * lid.max() * _arc(0, 360)])]


FIGURES: dict[str, Callable[[float], list[Layer]]] = {
    "circle": _static(_arc(0, 360)),
    "ring": _static(_arc(0, 360), _arc(0, 360, 0.5)),
    "triangle": _static(_corners(3)),
    "square": _static(_corners(4)),
    "hexagon": _static(_corners(6)),
    "star": _static(_corners(12, 0.5)),
    "arrow": _static([[1, 0], [0.2, 0.7], [0.2, 0.25], [-0.95, 0.25], [-0.95, -0.25], [0.2, -0.25], [0.2, -0.7]]),
    "letter L": _static([[-0.6, -0.8], [-0.15, -0.8], [-0.15, 0.35], [0.65, 0.35], [0.65, 0.75], [-0.6, 0.75]]),
    "letter F": _static(
        [[-0.5, -0.8], [0.6, -0.8], [0.6, -0.42], [-0.08, -0.42], [-0.08, -0.12], [0.45, -0.12], [0.45, 0.24]]
        + [[-0.08, 0.24], [-0.08, 0.85], [-0.5, 0.85]]
    ),
    "flag": _static([[-0.7, -0.7], [0.75, -0.25], [-0.4, 0.2], [-0.4, 0.7], [-0.7, 0.7]]),
    "comet": _static(np.vstack([[[-1, 0]], _arc(-110, 110, 0.5) + [0.5, 0]])),
    "pointer": _static([[1, 0], [-0.8, 0.55], [-0.4, 0], [-0.8, -0.55]]),
    "mouth": _mouth,
    "gap": _gap,
    "doors": _doors,
    "jaws": _jaws,
    "eye": _eye,
}
# figures that look different after every rotation by less than 360 degrees
ASYMMETRIC = ("arrow", "letter L", "letter F", "flag", "comet", "pointer")
OPENERS = ("mouth", "gap", "doors", "jaws", "eye")
RIGID = tuple(name for name in FIGURES if name not in OPENERS)


# ---- motions ----
# Lengths are fractions of the short side of the frame, and positions are relative to the center of the frame, so that
# the center crop of a wide frame still shows the motion. All other properties of the figure also change slightly, with
# equal probability in both directions, so that they do not reveal the class.


@dataclass(frozen=True)
class Pose:
    """The figure at one time.

    Args:
        x, y: Position of its center, relative to the center of the frame.
        angle: Degrees, clockwise on the screen.
        opening: 0 (closed) to 1 (open).
    """

    x: float
    y: float
    diameter: float
    angle: float
    opening: float


def _pose(rng: np.random.Generator, *, x: float, y: float, diameter: float, angle: float, opening: float) -> Pose:
    """The pose with a small random change of everything except the opening."""
    dx, dy = rng.uniform(-0.02, 0.02, 2)
    return Pose(x + dx, y + dy, diameter * rng.uniform(0.97, 1.03), angle + rng.uniform(-5, 5), opening)


def _reach(diameter: float) -> float:
    """Largest distance of a figure from the center. At this distance, the border may cut off one of its corners."""
    return 0.5 - 0.45 * diameter


def _slide(rng: np.random.Generator) -> tuple[Pose, Pose]:
    """A motion from left to right."""
    diameter = rng.uniform(0.36, 0.46)
    distance = rng.uniform(0.5, 2 * _reach(diameter))
    x = rng.uniform(-1, 1) * (_reach(diameter) - distance / 2)
    y = rng.uniform(-1, 1) * _reach(diameter)
    rest = dict(y=y, diameter=diameter, angle=rng.uniform(0, 360), opening=rng.uniform(0.1, 0.9))
    return _pose(rng, x=x - distance / 2, **rest), _pose(rng, x=x + distance / 2, **rest)


def _grow(rng: np.random.Generator) -> tuple[Pose, Pose]:
    small = rng.uniform(0.26, 0.34)
    large = small * rng.uniform(2.2, 2.8)
    x, y = rng.uniform(-0.6, 0.6, 2) * _reach(large)
    rest = dict(x=x, y=y, angle=rng.uniform(0, 360), opening=rng.uniform(0.1, 0.9))
    return _pose(rng, diameter=small, **rest), _pose(rng, diameter=large, **rest)


def _turn(rng: np.random.Generator) -> tuple[Pose, Pose]:
    """A clockwise rotation, by far less than 180 degrees between two of 8 frames that are spread over the video."""
    diameter = rng.uniform(0.65, 0.9)
    x, y = rng.uniform(-0.6, 0.6, 2) * _reach(diameter)
    angle = rng.uniform(0, 360)
    rest = dict(x=x, y=y, diameter=diameter, opening=rng.uniform(0.3, 0.6))
    return _pose(rng, angle=angle, **rest), _pose(rng, angle=angle + rng.uniform(90, 150), **rest)


def _open(rng: np.random.Generator) -> tuple[Pose, Pose]:
    diameter = rng.uniform(0.65, 0.9)
    x, y = rng.uniform(-0.6, 0.6, 2) * _reach(diameter)
    rest = dict(x=x, y=y, diameter=diameter, angle=rng.uniform(0, 360))
    return _pose(rng, opening=rng.uniform(0, 0.1), **rest), _pose(rng, opening=rng.uniform(0.85, 1), **rest)


@dataclass(frozen=True)
class Motion:
    """A pair of classes: the same animation, played forwards and backwards.

    Args:
        forwards, backwards: Names of the two classes.
        ends: Draws the first and the last pose.
        figures: Names of the figures that can have this motion.
    """

    forwards: str
    backwards: str
    ends: Callable[[np.random.Generator], tuple[Pose, Pose]]
    figures: tuple[str, ...]


MOTIONS = (
    Motion("moves_right", "moves_left", _slide, RIGID),
    Motion("grows", "shrinks", _grow, RIGID),
    Motion("turns_clockwise", "turns_counterclockwise", _turn, ASYMMETRIC),
    Motion("opens", "closes", _open, OPENERS),
)
CLASSES = tuple(sorted(name for motion in MOTIONS for name in (motion.forwards, motion.backwards)))
# classes that become each other when the video is mirrored; every other class stays the same
FLIPS = (("moves_left", "moves_right"), ("turns_clockwise", "turns_counterclockwise"))


# ---- scenes ----


@dataclass(frozen=True)
class Distractor:
    """A small figure that moves behind the main figure. Positions and the radius are in pixels."""

    figure: str
    color: tuple[int, int, int]
    radius: float
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Scene:
    """All properties of one animation.

    Args:
        rate: Frames per second.
        tones: RGB colors of the two tones of the figure.
        outline: Thickness of the outline in pixels; 0 for none.
        ease: 0 for constant speed, 1 for a speed that is lowest at both ends.
        light: Brightness of the first and of the last frame; 1 leaves the colors as they are.
    """

    width: int
    height: int
    rate: int
    num_frames: int
    figure: str
    mirrored: bool
    tones: tuple[tuple[int, int, int], tuple[int, int, int]]
    outline: int
    start: Pose
    end: Pose
    ease: float
    ground: np.ndarray  # background, uint8 RGB; larger than a frame, because the camera moves over it
    drift: np.ndarray  # (2, 2): x and y of the center of the visible background, at the start and at the end
    light: tuple[float, float]
    distractors: tuple[Distractor, ...]
    noise: np.ndarray  # int8, larger than a frame
    noise_at: np.ndarray  # (num_frames, 2): row and column at which the noise of each frame starts


def draw_scene(motion: Motion, rng: np.random.Generator) -> Scene:
    """Draws all random properties of an animation."""
    width, height = SIZES[rng.integers(len(SIZES))]
    rate = int(rng.choice(RATES))
    num_frames = round(rate * rng.uniform(*SECONDS))
    start, end = motion.ends(rng)
    paper = _paper(rng)
    ink = _color(rng, away_from=paper, luma=CONTRAST)
    ground, drift = _ground(rng, paper, width=width, height=height)
    spare = 16
    noise = rng.standard_normal((height + spare, width + spare, 3), dtype=np.float32) * rng.uniform(0, 3)
    return Scene(
        width=width,
        height=height,
        rate=rate,
        num_frames=num_frames,
        figure=str(rng.choice(motion.figures)),
        mirrored=bool(rng.integers(2)),
        tones=(ink, _color(rng, away_from=(*paper, ink), luma=30)),
        outline=int(rng.choice((0, 0, 1, 2))),
        start=start,
        end=end,
        ease=rng.uniform(0, 1),
        ground=ground,
        drift=drift,
        light=tuple(rng.uniform(0.92, 1.05, 2)),
        distractors=tuple(_distractor(rng, paper, width=width, height=height) for _ in range(rng.choice((0, 0, 0, 1)))),
        noise=np.clip(noise, -127, 127).astype(np.int8),
        noise_at=rng.integers(spare, size=(num_frames, 2)),
    )


def _luma(color: tuple[int, int, int]) -> float:
    return float(np.dot(color, (0.299, 0.587, 0.114)))


def _paper(rng: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Two similar colors of a background. Both are dark or both are bright, so that colors with contrast exist."""
    low, high = (20, 120) if rng.integers(2) else (140, 235)
    first = rng.integers(low, high, 3)
    second = np.clip(first + rng.integers(-20, 21, 3), 0, 255)
    return tuple(first.tolist()), tuple(second.tolist())


def _color(rng: np.random.Generator, *, away_from: tuple, luma: float) -> tuple[int, int, int]:
    """A random color with a luma that differs by at least `luma` from that of each color in `away_from`."""
    while True:
        color = tuple(rng.integers(0, 256, 3).tolist())
        if all(abs(_luma(color) - _luma(other)) >= luma for other in away_from):
            return color


def _ground(rng: np.random.Generator, paper: tuple, *, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A background, uint8 RGB, and the positions of the camera over it at the start and at the end, shape (2, 2)."""
    short = min(width, height)
    margin = short // 32 + 1
    height, width = height + 2 * margin, width + 2 * margin
    y, x = np.mgrid[:height, :width].astype(np.float32) / short
    direction = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(direction) + y * np.sin(direction)
    across = y * np.cos(direction) - x * np.sin(direction)
    pitch = 2 * np.pi / rng.uniform(0.12, 0.3)
    kind = rng.choice(("plain", "gradient", "noise", "stripes", "checks"))
    if kind == "plain":
        field = np.zeros_like(x)
    elif kind == "gradient":
        field = (along - along.min()) / np.ptp(along)
    elif kind == "noise":
        cells = rng.integers(4, 24)
        field = cv2.resize(rng.random((cells, cells), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    elif kind == "stripes":
        field = 0.5 + 4 * np.sin(pitch * along)
    else:
        field = 0.5 + 8 * np.sin(pitch * along) * np.sin(pitch * across)
    first, second = np.array(paper, dtype=np.float32)
    ground = first + np.clip(field, 0, 1)[..., None] * (second - first)
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.rint(ground).astype(np.uint8), center + rng.uniform(-1, 1, (2, 2)) * (margin - 1)


def _distractor(rng: np.random.Generator, paper: tuple, *, width: int, height: int) -> Distractor:
    short = min(width, height)
    middle = rng.uniform(0, 1, 2) * (width, height)
    way = rng.uniform(-0.12, 0.12, 2) * short
    return Distractor(
        figure=str(rng.choice(("circle", "triangle", "square", "star"))),
        color=_color(rng, away_from=paper, luma=20),
        radius=rng.uniform(0.03, 0.05) * short,
        start=middle - way,
        end=middle + way,
    )


# ---- pixels ----


def frames(name: str, scene: Scene) -> Iterator[np.ndarray]:
    """The frames of a class, uint8 RGB (H, W, 3): the scene played forwards or backwards.

    Args:
        name: Name of the class.
    """
    order = range(scene.num_frames)
    if name in {motion.backwards for motion in MOTIONS}:
        order = order[::-1]
    return (_frame(scene, number) for number in order)


def _frame(scene: Scene, number: int) -> np.ndarray:
    time = number / (scene.num_frames - 1)
    # the path in time is symmetric, so that playing it backwards gives the same speeds
    part = (1 - scene.ease) * time + scene.ease * time * time * (3 - 2 * time)
    center = _between(scene.drift[0], scene.drift[1], time)
    image = cv2.getRectSubPix(scene.ground, (scene.width, scene.height), center.tolist())
    for small in scene.distractors:
        contours = FIGURES[small.figure](0)[0][1]
        _fill(
            image, [small.radius * points + _between(small.start, small.end, time) for points in contours], small.color
        )
    _draw_figure(image, scene, part)
    image = cv2.convertScaleAbs(image, alpha=_between(*scene.light, time))
    row, column = scene.noise_at[number]
    noise = scene.noise[row : row + scene.height, column : column + scene.width]
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def _draw_figure(image: np.ndarray, scene: Scene, part: float) -> None:
    first, last = scene.start, scene.end
    short = min(scene.width, scene.height)
    center = np.array([scene.width - 1, scene.height - 1]) / 2
    center = center + short * np.array([_between(first.x, last.x, part), _between(first.y, last.y, part)])
    radius = short * _between(first.diameter, last.diameter, part) / 2
    angle = _between(first.angle, last.angle, part)
    sides = (-1 if scene.mirrored else 1, 1)
    for tone, contours in FIGURES[scene.figure](_between(first.opening, last.opening, part)):
        placed = [radius * _turned(points * sides, angle) + center for points in contours]
        _fill(image, placed, scene.tones[tone])
        if scene.outline:
            points = [_fixed(contour) for contour in placed]
            cv2.polylines(image, points, True, scene.tones[1], scene.outline, cv2.LINE_AA, SUBPIXEL_BITS)


def _between(start, end, part: float):
    return start + part * (end - start)


def _turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """The points after a rotation, clockwise on the screen, where y points down."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cos, sin], [-sin, cos]])


def _fixed(points: np.ndarray) -> np.ndarray:
    """The points as fixed-point coordinates of OpenCV."""
    return np.rint(points * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _fill(image: np.ndarray, contours: list[np.ndarray], color: tuple[int, int, int]) -> None:
    cv2.fillPoly(image, [_fixed(points) for points in contours], color, cv2.LINE_AA, SUBPIXEL_BITS)
