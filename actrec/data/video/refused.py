"""What a file is that is not a video, for messages. Nothing that the file names is opened."""

from __future__ import annotations

import codecs
import os
import re

from actrec.data.storage import open_bytes
from actrec.opening import kind_of

_HEAD = 4096  # bytes
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")
_PLAYLIST = "a playlist, which only names other files: pass the videos themselves"
# Texts by their first bytes, without a byte order mark and blanks. The first pattern that matches decides.
_TEXTS = (
    (rb"#EXTM3U|\[playlist\]|\[Reference\]|#~RTSP|rtsp://|<asx|<smil|<\?wpl|<MPD|<\?xml.*?<(MPD|smil)", _PLAYLIST),
    (rb"ffconcat", "a list of files for FFmpeg's concat, which only names other files: pass the videos themselves"),
    (rb"v=0\r?\n", "the description of a network stream (SDP)"),
    (rb";FFMETADATA", "metadata for FFmpeg"),
    (rb"WEBVTT|\[Script Info\]|# VobSub|\{\d+\}\{\d+\}|\d+\r?\n\d+:\d\d:\d\d[,.]", "subtitles"),
)  # fmt: skip


def why_no_video(path: str | os.PathLike[str]) -> str | None:
    """Why a file that FFmpeg did not open is not a video, by its first bytes; None if they do not say.

    Raises:
        OSError: The file cannot be read.
    """
    with open_bytes(path) as file:
        head = file.read(_HEAD)
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()
    found = (kind for pattern, kind in _TEXTS if re.match(pattern, begin, re.DOTALL | re.IGNORECASE))
    kind = next(found, None) or kind_of(head)
    if kind == "a sound":
        return "no video stream, only audio"
    if kind in (None, "a video", "a binary file"):
        kind = "a text file" if head and _TEXT.fullmatch(head) else None
    return f"not a video, but {kind}" if kind else None
