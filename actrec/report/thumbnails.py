"""Small pictures of videos for a page: some frames of each in one JPEG."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from actrec.data.index import Index, Media, build_index, cache_path
from actrec.data.index.images import read_image
from actrec.data.lists import read_list
from actrec.data.score_file import ScoreFile
from actrec.data.video.container import MediaError
from actrec.system import num_cores

_SIDE = 160  # pixels: longest side of a frame
_GAP, _GRAY = 2, (128, 128, 128)  # between frames
_QUALITIES = (85, 75, 60, 45, 30, 15)  # of JPEG, from the best on


@dataclass(frozen=True)
class Source:
    """Where the frames of the scored videos come from.

    Args:
        path: The list, for messages; None if no list was found.
        rows: The row of each scored video in the list, by id.
        index: Of the list.
        missing: Number of videos of the list that have no scores.
    """

    path: Path | None = None
    rows: dict[str, int] = field(default_factory=dict)
    index: Index | None = None
    missing: int = 0

    def pictures(self, ids: Sequence[str], frames: int) -> Iterator[tuple[str, np.ndarray | str]]:
        """For each id some frames in one picture, RGB uint8 (H, W, 3), or the reason why there are none."""
        with ThreadPoolExecutor(num_cores()) as pool:
            try:
                yield from zip(ids, pool.map(lambda id_: self._picture(id_, frames), ids))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _picture(self, id_: str, frames: int) -> np.ndarray | str:
        row = self.rows.get(id_)
        if self.index is None or row is None:
            return f"not in the list {self.path}" if self.path else "no list with this video was found"
        try:
            return _arranged(_frames(self.index[row], self.index, row, frames))
        except MediaError as error:
            return error.reason
        except OSError as error:
            return error.strerror or str(error)


def find_source(given: Path | None, scores: ScoreFile, stem: str, folders: Sequence[Path]) -> Source:
    """The list of the scored videos: the given one, or the first list that contains all of them.

    Args:
        given: The list that the user named.
        stem: The name of the score file. Lists with a name that it begins with are tried first.
        folders: Where to look.

    Raises:
        OSError, ValueError: The given list cannot be read.
    """
    if given is not None:
        return _open(given, scores.ids)
    name = Path(str(scores.made_from.get("list", ""))).name
    found = {path for folder in folders for kind in ("*.txt", "*.csv") for path in folder.glob(kind)}
    for path in sorted(found, key=lambda path: (path.name != name, not stem.startswith(path.stem), path.name)):
        try:
            source = _open(path, scores.ids)
        except (OSError, ValueError):  # no list, such as labels.txt
            continue
        if len(source.rows) == len(scores.ids):
            return source
    return Source()


def _open(path: Path, ids: Iterable[str]) -> Source:
    """The rows of these videos. Nothing is probed yet, and the index on the disk is not changed."""
    videos, wanted = read_list(path), set(ids)
    rows = {video.id: row for row, video in enumerate(videos) if video.id in wanted}
    index = build_index(videos, cache=cache_path(path), lazy=True) if rows else None
    return Source(path, rows, index, len(videos) - len(rows))


def data_uri(picture: np.ndarray, max_bytes: float) -> str | None:
    """A picture as JPEG in a data URI of at most so many bytes; None if it does not fit.

    Args:
        picture: RGB uint8 (H, W, 3).
    """
    for scale in (1.0, 0.75, 0.5):
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for quality in _QUALITIES:
            _, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
            uri = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
            if len(uri) <= max_bytes:
                return uri
    return None


def _frames(media: Media, index: Index, row: int, count: int) -> list[np.ndarray]:
    """Evenly spaced frames, at most `count`, resized."""
    count = min(count, media.frames)
    positions = media.start + (np.arange(count) * 2 + 1) * media.frames // (2 * count)
    if media.template is not None:
        return [_shrink(read_image(media.image(position))) for position in positions.tolist()]
    found: dict[int, np.ndarray] = {}
    index.read_frames(row, positions, lambda i, rgb: found.update({i: _shrink(rgb)}))
    return [found[i] for i in range(count)]


def _arranged(frames: list[np.ndarray]) -> np.ndarray:
    """Frames in one row, or, if they are wider than high, in about as many rows as columns."""
    height, width = frames[0].shape[:2]
    columns = math.ceil(math.sqrt(len(frames))) if width >= height else len(frames)
    cells = [cv2.copyMakeBorder(frame, 0, _GAP, 0, _GAP, cv2.BORDER_CONSTANT, value=_GRAY) for frame in frames]
    cells += [np.full_like(cells[0], _GRAY[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)[:-_GAP, :-_GAP]


def _shrink(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
