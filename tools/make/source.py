"""Where extract-frames and prepare take videos from: a folder, a tar archive, a folder of objects, or lists."""

from __future__ import annotations

import os
from pathlib import Path

from actrec.data.lists.find import is_archive
from actrec.data.storage import is_remote, join, split_member
from actrec.data.storage.paths import unquoted


class Source:
    """A folder of videos. As with a path, `source / name` is one of its videos.

    Args:
        text: Path of a folder or tar archive, or URL of a folder or tar archive. Empty: names are whole paths.
    """

    def __init__(self, text: str | os.PathLike[str] = ""):
        self.text = os.fspath(text)
        self.is_archive = is_archive(self.text)
        self.is_remote = is_remote(self.text)

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Path | str:
        """The path of a video: a `Path` of a file, a string for an object or a member."""
        if self.is_archive:
            return f"{self.text}::{name}"
        path = join(self.text, name)
        return path if is_remote(path) or split_member(path)[1] is not None else Path(path)

    @property
    def folder(self) -> Path | None:
        """The local folder; None if it is an archive, at a URL, or no folder."""
        return Path(self.text) if self.text and not self.is_archive and not self.is_remote else None

    @property
    def parent(self) -> Path | None:
        """The local folder that contains the source; None for a URL."""
        if not self.text or self.is_remote:
            return None
        return Path(os.path.normpath(os.path.join(self.text, "..")))  # if it is a link, the folder of the link


def class_of_path(path: str) -> str:
    """The folder in which a video of a list is. A member that is in no folder gets the name of its shard."""
    archive, member = split_member(unquoted(path))
    if member is None:
        return os.path.basename(os.path.dirname(archive))
    return os.path.basename(os.path.dirname(member)) or os.path.basename(archive).rpartition(".")[0]
