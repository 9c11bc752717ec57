"""The errors that a file of a list can cause."""

from __future__ import annotations

import os


class MediaError(ValueError):
    """A file cannot be used. The message is one line: path and reason."""

    def __init__(self, path: str | os.PathLike[str], reason: str):
        super().__init__(f"{os.fspath(path)}: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[MediaError], tuple[str, str]]:
        return (type(self), (str(self).removesuffix(f": {self.reason}"), self.reason))


class LeftOutError(MediaError):
    """An evaluation protocol leaves a video out, although it can be read."""


class ChangedError(MediaError):
    """A file has changed since its certificate was made."""


class SurpriseError(MediaError):
    """Decoding a file from a keyframe gave other pictures than its certificate says."""
