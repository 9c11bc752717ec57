"""Which files may be entered at their keyframes, and which packets a frame needs."""

from dataclasses import replace

import av
import pytest
from numbered_videos import (
    VP9,
    WIDTH,
    certificate_of,
    check_draws,
    checksums,
    numbered,
    plain_decode,
    read,
    write,
)

from actrec.data.video.certificate import droppable
from actrec.data.video.container import ChangedError


def test_a_size_change_with_sound_timestamps_earns_no_certificate(tmp_path):
    sources = [
        write(tmp_path / name, frames, codec="libvpx-vp9", options=VP9)
        for name, frames in (
            ("large.webm", [numbered(n) for n in range(20)]),
            ("small.webm", [numbered(n)[:, : WIDTH // 2] for n in range(20)]),
        )
    ]
    path, offset, ends = tmp_path / "both.webm", 0, 0
    with av.open(str(path), "w") as out, av.open(str(sources[0])) as template:
        video = out.add_stream_from_template(template.streams.video[0])
        for source in sources:
            with av.open(str(source)) as container:
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + offset
                        ends, packet.stream = packet.pts, video
                        out.mux(packet)
            offset = ends + 40
    assert [rgb.shape for rgb in plain_decode(path)[19:21]] == [(64, 128, 3), (64, 64, 3)]
    certificate = certificate_of(path)
    assert certificate is None
    assert [rgb.shape for rgb in read(path, [25], certificate)[0]] == [(64, 128, 3)]


def test_a_certificate_of_another_file_is_noticed(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(30)], gop=10)
    certificate = certificate_of(path)
    wrong = replace(certificate, pts=certificate.pts + 1, stream=None)
    with pytest.raises(ChangedError, match=r"a\.mp4: frame 15 is no longer where it was"):
        read(path, [15], wrong)
    other = write(tmp_path / "b.mp4", [numbered(n) for n in range(40)], gop=10)
    other.replace(path)
    with pytest.raises(ChangedError, match=r"a\.mp4: the file has changed since it was indexed"):
        read(path, [15], certificate)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.mp4: no such file"):
        read(path, [15], certificate)


def test_frames_that_a_higher_temporal_layer_refers_to_are_needed():
    """HEVC: such a frame is called a non-reference of its own layer."""
    for layers, expected in [
        ([(False, 0), (True, 0)], [False, True]),
        ([(False, 1), (False, 2), (True, 3)], [False, False, True]),
        ([(False, 1), (True, 1), (False, 2), (True, 2)], [False, False, False, True]),
    ]:
        assert droppable(layers) == expected


LAYERS = {"x265-params": "log-level=error:open-gop=0:temporal-layers=3:b-pyramid=1"}


def test_hevc_with_temporal_layers(tmp_path):
    path = write(
        tmp_path / "a.mp4", [numbered(n) for n in range(60)], codec="libx265", gop=30, bframes=4, options=LAYERS
    )
    certificate = certificate_of(path)
    assert 15 < certificate.packets["droppable"].sum() < 45
    check_draws(path, checksums(plain_decode(path)), certificate, draws=8)


def picture_parameters(extradata):
    """The first PPS of an avcC."""
    at = 8 + int.from_bytes(extradata[6:8], "big") + 1
    return extradata[at + 2 : at + 2 + int.from_bytes(extradata[at : at + 2], "big")]


@pytest.mark.parametrize(
    ("carriers", "earned"),
    [("a B-frame", False), ("a P-frame", False), ("the second keyframe", False), ("every keyframe", True)],
)
def test_parameter_sets_between_the_pictures(tmp_path, carriers, earned):
    """Whoever enters at a keyframe, or leaves pictures out, would miss what a plain decode has learned on its way."""
    paths = []
    for qp in (20, 30):
        params = {
            "x264-params": f"cabac=0:b-adapt=0:qp={qp}:b-pyramid=none:scenecut=0:weightp=0",
            "preset": "ultrafast",
        }
        paths.append(write(tmp_path / f"{qp}.mp4", [numbered(n) for n in range(20)], gop=10, bframes=1, options=params))
    path = tmp_path / "a.mkv"
    with av.open(str(paths[0])) as own, av.open(str(paths[1])) as other, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(other.streams.video[0])  # whose PPS does not fit
        pps = picture_parameters(own.streams.video[0].codec_context.extradata)
        assert pps != picture_parameters(stream.codec_context.extradata)
        keys = inserted = 0
        for packet in own.demux(video=0):
            if not packet.size:
                continue
            data = bytes(packet)
            reference, keys = data[4] >> 5 & 3, keys + packet.is_keyframe
            wanted = {
                "a B-frame": not reference and not inserted,
                "a P-frame": reference and not packet.is_keyframe and not inserted,
                "the second keyframe": packet.is_keyframe and keys == 2,
                "every keyframe": packet.is_keyframe,
            }
            if wanted[carriers]:
                inserted += 1
                longer = av.Packet(len(pps).to_bytes(4, "big") + pps + data)
                longer.pts, longer.dts, longer.time_base = packet.pts, packet.dts, packet.time_base
                longer.is_keyframe = packet.is_keyframe
                packet = longer
            packet.stream = stream
            out.mux(packet)
    assert (inserted, keys) == (2 if earned else 1, 2)
    certificate = certificate_of(path)
    assert (certificate is not None) == earned
    check_draws(path, checksums(plain_decode(path)), certificate)
