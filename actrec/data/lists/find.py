"""Finds the video files and frame folders in a folder and its subfolders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from actrec.data.errors import MediaError
from actrec.data.storage import is_local, is_remote, list_archive, list_folder
from actrec.files import show
from actrec.words import counted

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".vob"}
VIDEOS |= {".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".mxf", ".dv", ".divx", ".rm", ".rmvb", ".y4m"}
# Files that are not videos, although FFmpeg would open some of them.
NOT_VIDEOS = {".txt", ".csv", ".tsv", ".json", ".jsonl", ".md", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log"}
NOT_VIDEOS |= {".py", ".sh", ".srt", ".vtt", ".ini", ".db", ".npy", ".npz", ".zip", ".tar", ".gz", ".part", ".tmp"}
NOT_VIDEOS |= {".docx", ".doc", ".xlsx", ".xls", ".pptx", ".rtf", ".nfo", ".info", ".asc", ".ans", ".url", ".lnk"}
NOT_VIDEOS |= {".ass", ".ssa", ".sub", ".idx", ".m3u", ".m3u8", ".pls", ".sdp", ".torrent", ".rar", ".7z", ".bak"}
NOT_VIDEOS |= {".crdownload", ".aria2", ".download", ".partial", ".!ut", ".opdownload"}  # incomplete downloads
NOT_VIDEOS |= {".identifier"}  # `a.mp4:Zone.Identifier` is a note of Windows on a downloaded file
NOT_VIDEOS |= {".m4a", ".mp3", ".wav", ".aac", ".flac", ".opus", ".wma", ".aif", ".aiff"}
NOT_VIDEOS |= {*IMAGES, ".tif", ".tiff", ".heic", ".heif", ".avif", ".dng", ".psd", ".svg", ".aae"}
_STEP = 1000  # videos between two calls of `progress`


@dataclass
class FoundVideos:
    """The content of a folder. All names are relative to the folder, use `/`, and are sorted.

    Args:
        names: Names of the files that may be videos, and of the frame folders.
        others: {extension: number of files that cannot be videos}.
        dangling: Names of broken links.
        unreadable: Names of folders that cannot be read; in an archive, of members.
        unit: What these are.
    """

    names: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    dangling: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unit: str = "folder"

    @property
    def described_others(self) -> str:
        """`2 .srt, 1 .txt`."""
        return ", ".join(f"{count} {extension}" for extension, count in sorted(self.others.items()))

    def reject(self, names: Iterable[str]) -> None:
        """Counts some of the names among the files that cannot be videos."""
        rejected = set(names)
        self.names = [name for name in self.names if name not in rejected]
        self.others.update(_extension(name) or "(no extension)" for name in rejected)

    def doubtful(self) -> list[str]:
        """The names with an extension that says neither that they are videos nor that they are not."""
        return [name for name in self.names if _extension(name) not in VIDEOS]

    def warn_unreadable(self, log: Callable[[str], None]) -> None:
        """Logs how many folders cannot be read, and how many links lead to no file."""
        if self.unreadable:
            log(f"not readable: {counted(len(self.unreadable), self.unit)}, such as {show(self.unreadable[0])}")
        if self.dangling:
            log(f"{len(self.dangling)} links lead to no file, such as {show(self.dangling[0])}")


def find_videos(
    root: Path,
    *,
    frame_folders: bool,
    skip: Iterable[Path] = (),
    progress: Callable[[int], None] | None = None,
) -> FoundVideos:
    """Finds all videos in a folder and its subfolders.

    Links are followed, each folder is read once, and hidden names are ignored. To be fast, it opens no file.

    Args:
        frame_folders: Whether folders of images count as videos. Otherwise the images count as other files.
        skip: Folders that are not searched.
        progress: Called from time to time with the number of videos found.

    Raises:
        FileNotFoundError, NotADirectoryError: `root` is not a folder.
    """
    found = FoundVideos()
    visited = {os.path.realpath(folder) for folder in skip}
    queue = [("", os.path.realpath(root))]
    while queue:
        name, real = queue.pop()
        if real in visited:  # a link to a parent folder, or to a folder that was searched before
            continue
        visited.add(real)
        try:
            folder = Path(root, name)
            if frame_folders and name and is_frame_folder(os.listdir(folder)):
                found.names.append(name)
                continue
            with os.scandir(folder) as entries:
                subfolders = _read_folder(name, real, entries, found, progress)
        except OSError:
            if not name:
                raise
            found.unreadable.append(name)
        else:
            queue += sorted(subfolders, reverse=True)  # so that the first name of a folder counts, on every machine
    for names in (found.names, found.dangling, found.unreadable):
        names.sort()
    return found


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a path, given in place of a folder of videos, is a tar archive, local or at a URL."""
    name = os.fspath(path)
    return name.lower().endswith(".tar") and (not is_local(name) or os.path.isfile(name))


def find_stored_videos(root: str) -> FoundVideos:
    """Finds all videos in a tar archive, or in a folder of objects, by their suffixes. Hidden names are ignored.

    Args:
        root: Path or URL of an archive, or URL of a folder.

    Raises:
        OSError: It does not exist, or cannot be read.
        MediaError: It is no plain tar archive, is cut off or damaged, or the store cannot be read.
    """
    assert is_archive(root) or is_remote(root)
    found = FoundVideos()
    if is_archive(root):
        table = list_archive(root)
        if table.damage:  # it is unknown which videos are missing
            raise MediaError(root, f"the archive can be read up to {table.damage}: expected a complete archive; "
                             "`actrec lists shards` lists the members that can be read")  # fmt: skip
        found.unit = "member"
        names = list(table.members)
        found.unreadable = [name for name in table.refused if _extension(name) in VIDEOS]
    else:
        prefix = root.rstrip("/") + "/"
        names = [name for url in list_folder(root) if (name := url.removeprefix(prefix)) and not name.endswith("/")]
    for name in names:
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if (extension := _extension(name)) in VIDEOS:
            found.names.append(name)
        else:
            found.others[extension or "(no extension)"] += 1
    found.names.sort()
    return found


def _read_folder(
    name: str,
    real: str,
    entries: Iterable[os.DirEntry[str]],
    found: FoundVideos,
    progress: Callable[[int], None] | None,
) -> list[tuple[str, str]]:
    """Adds the files of a folder. Returns (name, real path) of its folders."""
    subfolders = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = f"{name}/{entry.name}" if name else entry.name
        try:
            is_dir, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_dir = is_file = False
        if is_dir:
            subfolders.append((path, os.path.realpath(entry.path) if entry.is_symlink() else f"{real}/{entry.name}"))
        elif (extension := _extension(entry.name)) in NOT_VIDEOS:
            found.others[extension] += 1
        elif is_file:
            found.names.append(path)
            if progress and len(found.names) % _STEP == 0:
                progress(len(found.names))
        elif entry.is_symlink():
            found.dangling.append(path)
        else:
            found.others["(pipe, socket or device)"] += 1
    return subfolders


def is_frame_folder(names: Iterable[str]) -> bool:
    """Whether the images in a folder are frames: none of its files is a video, and more are images than may be videos.

    Args:
        names: All names in the folder, in any order.
    """
    endings = Counter([name[name.rfind(".") :] if "." in name else "" for name in names if name[0] != "."])
    extensions: Counter[str] = Counter()
    for ending, count in endings.items():  # few, which makes this five times as fast as one loop
        extensions[ending.lower()] += count
    num_images = sum(extensions[extension] for extension in IMAGES)
    others = extensions.keys() - NOT_VIDEOS
    return num_images > sum(extensions[extension] for extension in others) and not others & VIDEOS


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()
