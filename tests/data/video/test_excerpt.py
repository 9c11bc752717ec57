"""An excerpt holds exactly the wanted frames, and little else."""

import csv
import io
import os

import av
import numpy as np
import pytest
from numbered_videos import (
    CLOSED_X265,
    GRID,
    HIDDEN_VP9,
    VP9,
    certificate_of,
    check_draws,
    checksums,
    number_of,
    numbered,
    plain_decode,
    write,
    write_grid,
)

from actrec.data.video.container import ChangedError, MediaError
from actrec.data.video.excerpt import read_excerpt

NUM_FRAMES = 45


def decode(excerpt):
    """The frames at the excerpt's positions."""
    frames = plain_decode(io.BytesIO(excerpt.data), upright=False)
    return [frames[i] for i in excerpt.positions]


def check_excerpts(path, expected, certificate, *, draws=4, frames=4):
    """Of frames here and there, of one after the other, and of single ones."""
    rng = np.random.default_rng(len(expected))
    wanted = [np.sort(rng.choice(len(expected), min(frames, len(expected)), replace=False)) for _ in range(draws)]
    start = int(rng.integers(len(expected)))
    wanted += [np.arange(start, min(start + frames, len(expected))), np.array([0]), np.array([len(expected) - 1])]
    for positions in wanted:
        excerpt = read_excerpt(path, positions, certificate)
        assert checksums(decode(excerpt)) == [expected[i] for i in positions], (path, positions)
        assert excerpt.clamped == 0


@pytest.mark.parametrize(("kind", "container", "shown"), GRID)
def test_excerpts_are_exact(tmp_path, kind, container, shown):
    path = write_grid(tmp_path / "a", kind, container, shown, NUM_FRAMES)
    certificate = certificate_of(path)
    if certificate is None:
        assert kind == "mpeg4"  # needs the whole file
        return
    check_excerpts(path, checksums(plain_decode(path)), certificate)


def mpegts(path, codec, options):
    """H.264 or HEVC with start codes: Matroska has length prefixes."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.height, video.width, _ = numbered(0).shape
        for number in range(NUM_FRAMES):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(numbered(number)), "rgb24")))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx264", {"g": "10", "bf": "2"}), ("libx265", {"g": "10", "bf": "2", **CLOSED_X265})],
)
def test_start_codes(tmp_path, codec, options):
    path = mpegts(tmp_path / "a.ts", codec, options)
    certificate = certificate_of(path)
    check_excerpts(path, checksums(plain_decode(path)), certificate)


def test_pictures_that_are_never_shown(tmp_path):
    frames = [numbered(n) for n in range(NUM_FRAMES)]
    path = write(tmp_path / "a.mp4", frames, codec="libvpx-vp9", gop=15, options=HIDDEN_VP9)
    check_excerpts(path, checksums(plain_decode(path)), certificate_of(path))


RADL_X265 = {"x265-params": "log-level=error:open-gop=0:radl=3:b-adapt=0:min-keyint=12:scenecut=0"}


def test_pictures_that_are_shown_before_the_keyframe_they_follow(tmp_path):
    """HEVC: the packets of an IDR picture and its leading pictures serve the group of pictures before it, too."""
    frames = [numbered(n) for n in range(NUM_FRAMES)]
    path = write(tmp_path / "a.mp4", frames, codec="libx265", gop=12, bframes=3, options=RADL_X265)
    certificate, expected = certificate_of(path), checksums(plain_decode(path))
    order = certificate.packets["pts"].tolist()
    places = [order.index(pts) for pts in certificate.key_pts]
    leading = [i for i in places if i + 1 < len(order) and order[i + 1] < order[i]]
    assert leading
    check_draws(path, expected, certificate)
    check_excerpts(path, expected, certificate)
    for i in leading:
        before, key = np.searchsorted(certificate.pts, [order[i + 1], order[i]])
        for wanted in ([before], [before, key], [before, key, key + 1], [before - 1, before, key + 2]):
            assert checksums(decode(read_excerpt(path, wanted, certificate))) == [expected[n] for n in wanted]


def test_only_the_needed_packets_are_copied(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(60)], gop=10, options={"sc_threshold": "0"})
    certificate = certificate_of(path)
    excerpt = read_excerpt(path, [23, 25, 41], certificate)
    assert excerpt.positions.tolist() == [3, 5, 7]
    assert (excerpt.data.dtype, excerpt.positions.dtype) == (np.uint8, np.int32)
    frames = plain_decode(io.BytesIO(excerpt.data))
    assert [number_of(rgb) for rgb in frames] == [20, 21, 22, 23, 24, 25, 40, 41]
    sizes = dict(zip(certificate.packets["pts"].tolist(), certificate.packets["size"].tolist()))
    copied = sum(sizes[certificate.pts[i]] for i in (20, 21, 22, 23, 24, 25, 40, 41))
    assert copied < len(excerpt.data) < copied + 1500


def test_frames_past_the_end_become_the_last_one(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(20)], gop=8, bframes=2)
    excerpt = read_excerpt(path, [17, 19, 20, 500], certificate_of(path))
    assert [number_of(rgb) for rgb in decode(excerpt)] == [17, 19, 19, 19]
    assert excerpt.clamped == 2


def test_a_file_that_has_changed_is_noticed(tmp_path):
    options = {"codec": "libvpx-vp9", "gop": 10, "options": VP9}
    for name, kind in (("a.mp4", {"gop": 10}), ("a.webm", options)):
        path = write(tmp_path / name, [numbered(n) for n in range(30)], **kind)
        certificate = certificate_of(path)
        write(tmp_path / f"b{path.suffix}", [numbered(n) for n in range(12)], **kind).replace(path)
        with pytest.raises(ChangedError, match="the file has changed since|frame 25 is no longer where it was"):
            read_excerpt(path, [3, 25], certificate)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
            read_excerpt(path, [3, 25], certificate)


def test_real_files(shared_videos):
    with open(shared_videos / "files.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    codecs = set()
    for row in rows:
        path = shared_videos / row["path"]
        try:
            certificate = certificate_of(path)
        except MediaError:
            continue
        if certificate is not None and (os.path.getsize(path) < 500_000 or row["codec"] == "mjpeg"):
            check_excerpts(path, checksums(plain_decode(path, upright=False)), certificate, draws=1)
            codecs.add(row["codec"])
    assert codecs == {"h264", "hevc", "vp8", "vp9", "av1", "mjpeg"}
