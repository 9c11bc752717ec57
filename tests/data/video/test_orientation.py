"""The eight orientations of a display matrix, as FFmpeg's `autorotate` gives them."""

import struct

import av
import cv2
import numpy as np
import pytest
from numbered_videos import certificate_of, checksums, numbered, read, write

from actrec.data.index import build_index
from actrec.data.lists import Video
from actrec.data.video.color import to_rgb
from actrec.data.video.orientation import Orientation
from actrec.data.video.probe import probe_video
from actrec.data.video.read import iter_frames, iter_pictures
from actrec.pipelines.dali.routes import PIXELS, VIDEO, choose_route

ONE = 1 << 16
# The matrix [a b; c d] and the filters that ffmpeg inserts for it (ffmpeg_filter.c, configure_input_video_filter).
MATRICES = {
    "identity": ((1, 0, 0, 1), []),
    "left-right": ((-1, 0, 0, 1), [("hflip", "")]),
    "upside down": ((1, 0, 0, -1), [("vflip", "")]),
    "half turn": ((-1, 0, 0, -1), [("hflip", ""), ("vflip", "")]),
    "clockwise": ((0, 1, -1, 0), [("transpose", "clock")]),
    "counter-clockwise": ((0, -1, 1, 0), [("transpose", "cclock")]),
    "transposed": ((0, 1, 1, 0), [("transpose", "cclock_flip")]),
    "transposed along the other diagonal": ((0, -1, -1, 0), [("transpose", "clock_flip")]),
}


def write_turned(path, matrix, frames=4):
    """A video with another display matrix in its track header."""
    data = bytearray(write(path, [numbered(n) for n in range(frames)], gop=2).read_bytes())
    a, b, c, d = (int(ONE * value) for value in matrix)
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def autorotated(path, filters):
    """What `ffmpeg -i PATH` writes."""
    frames = []
    with av.open(str(path)) as container:
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(template=container.streams.video[0])]
        nodes += [graph.add(name, value) if value else graph.add(name) for name, value in filters]
        nodes += [graph.add("copy"), graph.add("buffersink")]  # vflip alone only counts its rows backwards
        graph.link_nodes(*nodes).configure()
        for picture in container.decode(video=0):
            graph.push(picture)
            frames.append(to_rgb(graph.pull()))
    return frames


@pytest.fixture(params=MATRICES)
def turned(request, tmp_path):
    """A path, and the pictures that FFmpeg shows."""
    matrix, filters = MATRICES[request.param]
    path = write_turned(tmp_path / "a.mp4", matrix)
    return path, autorotated(path, filters)


def test_every_way_to_read_a_turned_video(turned):
    path, expected = turned
    assert checksums(rgb for rgb, _ in iter_frames(path)) == checksums(expected)
    certificate = certificate_of(path)
    for proof in (None, certificate):
        assert checksums(read(path, [1, 3], proof)[0]) == checksums(expected[1::2])
    for picture, rgb in zip(iter_pictures(path), expected):
        height, width, _ = rgb.shape
        assert (picture.width, picture.height) == (width, height)
        assert (picture.bgr(width, height)[..., ::-1] == rgb).all()
        shown = cv2.cvtColor(picture.yuv420(width, height), cv2.COLOR_YUV2RGB_I420)
        assert np.abs(shown.astype(int) - rgb).mean() < 2
    probe = probe_video(path)
    assert (probe.height, probe.width) == expected[0].shape[:2]


def test_orientations_are_distinct(tmp_path):
    found = set()
    for number, (matrix, _) in enumerate(MATRICES.values()):
        with av.open(str(write_turned(tmp_path / f"{number}.mp4", matrix))) as container:
            found.add(Orientation.of(next(container.decode(video=0))))
    assert found == {Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)}


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0.01, 0.99995, -0.99995, 0.01), Orientation(3)),  # nearly a quarter turn
        ((-2, 0, 0, 0.5), Orientation(0, mirrored=True)),  # sizes do not matter
        ((0.7, 0.7, -0.7, 0.7), Orientation()),
        ((0, 0, 0, 0), Orientation()),
    ],
)
def test_other_matrices(tmp_path, matrix, expected):
    with av.open(str(write_turned(tmp_path / "a.mp4", matrix))) as container:
        assert Orientation.of(next(container.decode(video=0))) == expected


@pytest.mark.parametrize("name", ["left-right", "transposed", "upside down"])
def test_the_matrix_of_the_container_comes_before_that_of_an_sei_message(tmp_path, name):
    matrix, filters = MATRICES[name]
    track, both = write_turned(tmp_path / "a.mp4", matrix), tmp_path / "b.mp4"
    with av.open(str(track)) as source, av.open(str(both), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        insert = av.BitStreamFilterContext(
            "h264_metadata=display_orientation=insert:rotate=90", source.streams.video[0], stream
        )
        for packet in source.demux(video=0):
            for changed in insert.filter(packet if packet.size else None):
                changed.stream = stream
                target.mux(changed)
    original, copied = track.read_bytes(), bytearray(both.read_bytes())
    at, place = original.index(b"tkhd") + 44, copied.index(b"tkhd") + 44
    copied[place : place + 36] = original[at : at + 36]  # the writer may leave it out
    both.write_bytes(copied)
    with av.open(str(both)) as container:
        kinds = [data.type.name for data in next(container.decode(video=0)).side_data]
    assert kinds.count("DISPLAYMATRIX") == 2
    assert checksums(rgb for rgb, _ in iter_frames(both)) == checksums(autorotated(track, filters))


def test_dali_does_not_decode_them(turned):
    path, expected = turned
    media = build_index([Video("a", str(path), None, None, (0,))])[0]
    assert (media.height, media.width) == expected[0].shape[:2]
    is_plain = checksums(expected) == checksums(rgb for rgb in autorotated(path, []))
    assert choose_route(media, on_gpu=True, decoder="auto") is (VIDEO if is_plain else PIXELS)
