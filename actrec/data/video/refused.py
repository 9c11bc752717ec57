"""What a file is that is not a video, for messages. Nothing that the file names is opened."""

from __future__ import annotations

import os
import re

from actrec.opening import open_regular

_HEAD = 4096  # bytes
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]*")
_PLAYLIST = "a playlist, which only names other files: pass the videos themselves"
# The first bytes of a file, without a byte order mark and blanks. The first pattern that matches decides.
_KINDS = (
    (rb"#EXTM3U|\[playlist\]|\[Reference\]|#~RTSP|rtsp://|<asx|<smil|<\?wpl|<MPD|<\?xml.*?<(MPD|smil)", _PLAYLIST),
    (rb"ffconcat", "a list of files for FFmpeg's concat, which only names other files: pass the videos themselves"),
    (rb"v=0\r?\n", "the description of a network stream (SDP)"),
    (rb";FFMETADATA", "metadata for FFmpeg"),
    (rb"WEBVTT|\[Script Info\]|# VobSub|\{\d+\}\{\d+\}|\d+\r?\n\d+:\d\d:\d\d[,.]", "subtitles"),
    (rb"\x89PNG|\xff\xd8\xff|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|\0\0\0.ftyp(heic|heix|mif1|avif)", "an image"),
    (rb"RIFF....WAVE|ID3|fLaC|\xff[\xfb\xf3\xf2\xf1\xf9]|FORM....AIF", "audio"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "an archive"),
    (rb"%PDF", "a PDF document"),
    (rb"<!doctype html|<html", "a web page"),
)  # fmt: skip


def why_no_video(path: str | os.PathLike[str]) -> str | None:
    """Why a file that FFmpeg did not open is not a video, by its first bytes; None if they do not say.

    Raises:
        OSError: The file cannot be read.
    """
    with open_regular(path) as file:
        head = file.read(_HEAD)
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, kind in _KINDS:
        if re.match(pattern, begin, re.DOTALL | re.IGNORECASE):
            return "no video stream, only audio" if kind == "audio" else f"not a video, but {kind}"
    return "not a video, but a text file" if head and _TEXT.fullmatch(head) else None
