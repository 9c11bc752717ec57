"""Which files may be entered at their keyframes, and which packets a frame needs."""

import io
import itertools
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from numbered_videos import (
    CLOSED_X265,
    HEIGHT,
    HIDDEN_VP9,
    VP9,
    WIDTH,
    certificate_of,
    check_draws,
    checksums,
    numbered,
    plain_decode,
    read,
    write,
    write_as_old_x264,
)

from actrec.data.video import certificate as certificates
from actrec.data.video.certificate import droppable, find_certificate
from actrec.data.video.container import ChangedError, SurpriseError
from actrec.data.video.excerpt import read_excerpt
from actrec.data.video.keyframes import KeyframeCheck
from actrec.data.video.read import verify_video


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
    packets = certificate.packets.copy()
    packets["pts"][12] += 1
    wrong = replace(certificate, packets=packets, stream=None)
    with pytest.raises(SurpriseError, match=r"a\.mp4: "):
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


def copy_packets(source, target, change, *, mark=False):
    """Remuxes a video; `change(number of the packet, its bytes)` gives the new bytes.

    Args:
        mark: mark all packets as keyframes.
    """
    with av.open(str(source)) as own, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(own.streams.video[0], opaque=True)
        for i, packet in enumerate(own.demux(video=0)):
            if packet.size:
                changed = av.Packet(change(i, bytes(packet)))
                changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                changed.is_keyframe, changed.stream = packet.is_keyframe or mark, stream
                out.mux(changed)
    return target


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "avi"])
def test_the_build_of_x264_is_known_wherever_a_file_is_entered(tmp_path, container):
    path = write_as_old_x264(tmp_path / "a.mp4")
    if container != "mp4":
        path = copy_packets(path, tmp_path / f"a.{container}", lambda i, data: data)
    expected, certificate = checksums(plain_decode(path)), certificate_of(path)
    if container == "avi":  # has no timestamps
        assert certificate is None or b"x264 - core 120" in certificate.preamble
    if certificate is None:
        return
    assert find_certificate(path).certificate.preamble == certificate.preamble
    with_container = replace(certificate, stream=None)
    for found in (certificate, with_container):
        check_draws(path, expected, found)
        excerpt = read_excerpt(path, [15, 22, 39], found)
        shown = plain_decode(io.BytesIO(excerpt.data))
        assert checksums([shown[i] for i in excerpt.positions]) == [expected[i] for i in (15, 22, 39)]
        assert checksums(read(path, [35], replace(found, preamble=b""))[0]) != [expected[35]]


def test_a_certificate_is_tested_before_it_is_trusted(tmp_path, monkeypatch):
    path = write_as_old_x264(tmp_path / "a.mp4")
    monkeypatch.setattr(certificates, "x264_unit", lambda name, extradata: b"")
    assert certificate_of(path) is None


def test_two_builds_of_x264_earn_no_certificate(tmp_path):
    old, new = write_as_old_x264(tmp_path / "a.mp4"), write_as_old_x264(tmp_path / "b.mp4", b"165")
    with av.open(str(new)) as file:
        packets = [bytes(packet) for packet in file.demux(video=0)]
    mixed = copy_packets(old, tmp_path / "mixed.mp4", lambda i, data: data if i < 20 else packets[i])
    assert certificate_of(mixed) is not None  # the second half says nothing, so nothing changes
    named = copy_packets(old, tmp_path / "c.mp4", lambda i, data: packets[0] if i == 20 else data)
    assert certificate_of(named) is None


def test_keyframes_need_their_own_tables(tmp_path):
    """MJPEG: FFmpeg's decoder keeps the tables of the first packet."""
    frames = [numbered(n) for n in range(12)]
    whole = write(tmp_path / "a.avi", frames, codec="mjpeg", full_range=True, pix_fmt="yuvj420p")
    assert certificate_of(whole) is not None

    def shorten(i, data):
        at = data.index(b"\xff\xdb")
        return data if i < 3 else data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]

    path = copy_packets(whole, tmp_path / "b.avi", shorten)
    assert len(plain_decode(path)) == 12
    certificate = certificate_of(path)
    assert certificate is None or len(certificate.key_pts) == 3
    check_draws(path, checksums(plain_decode(path)), certificate)


AV1 = {"preset": "12", "svtav1-params": "lp=1"}


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [("libvpx-vp9", "webm", VP9), ("libvpx", "webm", VP9), ("libsvtav1", "mp4", AV1)],
)
def test_keyframes_are_seen_in_their_bytes(tmp_path, codec, suffix, options):
    path = write(tmp_path / f"a.{suffix}", [numbered(n) for n in range(30)], codec=codec, gop=10, options=options)
    with av.open(str(path)) as file:
        check = KeyframeCheck(file.streams.video[0].codec_context.codec.canonical_name)
        flags = [(packet.is_keyframe, check(bytes(packet))) for packet in file.demux(video=0) if packet.size]
    assert sum(is_key for is_key, _ in flags) >= 3
    assert all(marked == found for marked, found in flags)


def test_an_av1_keyframe_without_sequence_header_is_none(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(30)], codec="libsvtav1", gop=10, options=AV1)
    with av.open(str(path)) as file:
        key = bytes(next(file.demux(video=0)))
    start = key.index(b"\x0a")
    assert KeyframeCheck("av1")(key)
    assert not KeyframeCheck("av1")(key[:start] + key[start + 2 + key[start + 1] :])


def test_the_test_of_a_certificate_decodes_little(tmp_path):
    """Five pictures of at most three groups."""
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(240)], gop=12, options={"sc_threshold": "0"})
    with certificates.open_video(path) as (container, stream), certificates.Examiner(path, stream) as examiner:
        for _ in certificates.iter_decoded(container, stream, examiner):
            pass
    frames = np.array([frame for group in examiner.checksums for frame in group])
    assert len(frames) == 6
    assert set(frames % 12) == {0, 4}
    assert frames.min() >= 12
    assert frames.max() >= 120


def damage(path, number, begin, fill):
    """A copy in which a packet ends with other bytes: those from the fraction `begin` on become `fill`."""

    def change(i, data):
        start = int(len(data) * begin)
        return data[:start] + fill * (len(data) - start) if i == number else data

    return copy_packets(path, path.with_name(f"damaged_{path.name}"), change)


def flip_a_bit(path, number, bit):
    """A copy with one wrong bit in the first NAL unit of a packet."""

    def change(i, data):
        if i != number:
            return data
        place = 4 + bit // 8
        return data[:place] + bytes([data[place] ^ 128 >> bit % 8]) + data[place + 1 :]

    return copy_packets(path, path.with_name(f"flipped_{path.name}"), change)


def test_vp8_shows_old_memory_in_place_of_what_is_missing(tmp_path):
    path = write(tmp_path / "a.webm", [numbered(n) for n in range(24)], codec="libvpx", gop=4, options=VP9)
    assert find_certificate(path).doubt is not None
    assert certificate_of(path) is not None
    damaged = damage(path, 9, 0.5, b"")
    assert len(plain_decode(damaged)) == 24
    with pytest.raises(SurpriseError, match="parts of the picture with the timestamp 360 are missing"):
        read(damaged, [9], find_certificate(damaged).certificate)
    assert verify_video(damaged).damaged > 0
    assert certificate_of(damaged) is None


def test_damaged_hevc_is_a_surprise(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(30)], codec="libx265", gop=10, options=CLOSED_X265)
    damaged = damage(path, 13, 0.5, b"\xff")
    assert len(plain_decode(damaged)) == 30
    found = find_certificate(damaged)
    assert found.doubt is None
    with pytest.raises(SurpriseError, match="the decoder refused a packet"):
        read(damaged, [19], found.certificate)
    read(damaged, [9], found.certificate)


def test_h264_of_which_a_header_is_refused_is_a_surprise(tmp_path):
    """FFmpeg shows old content of its memory for a picture without slices, and does not mark it."""
    options = {"x264-params": "ref=4:scenecut=0"}
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(24)], gop=24, options=options)
    num_refused = 0
    for bit in range(16, 48):
        damaged = flip_a_bit(path, 22, bit)
        if find_certificate(damaged).doubt == "a header holds a value that is not allowed":
            assert len(plain_decode(damaged)) in (23, 24)
            if certificate := certificate_of(damaged):
                num_refused += 1
                read(damaged, [21], certificate)
                with pytest.raises(SurpriseError, match="the decoder refused a packet"):
                    read(damaged, [22], certificate)
    assert num_refused


def test_damaged_mjpeg_is_a_surprise(tmp_path):
    """FFmpeg shows old content of its memory in place of what is missing, and marks nothing."""
    frames = [numbered(n) for n in range(12)]
    path = write(tmp_path / "a.mkv", frames, codec="mjpeg", full_range=True, pix_fmt="yuvj420p")
    damaged = damage(path, 7, 0.5, b"\xaa")
    assert len(plain_decode(damaged)) == 12
    certificate = certificate_of(damaged)
    read(damaged, [6, 8], certificate)
    with pytest.raises(SurpriseError, match="the decoder refused a packet"):
        read(damaged, [7], certificate)


def test_mjpeg_without_a_scan_is_a_surprise(tmp_path):
    """FFmpeg's decoder does not refuse it."""
    frames = [numbered(n) for n in range(12)]
    path = write(tmp_path / "a.mkv", frames, codec="mjpeg", full_range=True, pix_fmt="yuvj420p")
    hidden = copy_packets(
        path, tmp_path / "b.mkv", lambda i, data: data.replace(b"\xff\xda", b"\xff\x36") if i == 7 else data
    )
    assert len(plain_decode(hidden)) == 12
    with pytest.raises(SurpriseError, match="parts of the picture"):
        read(hidden, [7], find_certificate(hidden).certificate)
    assert verify_video(hidden).damaged == 1
    assert verify_video(path).damaged == 0


def test_a_table_of_seek_points_that_names_another_packet_is_noticed(tmp_path):
    """AVI: packets have no timestamps, so FFmpeg numbers them from where its table says that it has gone."""
    frames = [numbered(n) for n in range(24)]
    path = write(tmp_path / "a.avi", frames, codec="mjpeg", full_range=True, pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"idx1") + 8 + 16 * 7 + 10] ^= 1  # the position of packet 7
    path.write_bytes(data)
    expected, certificate, num_noticed = checksums(plain_decode(path)), certificate_of(path), 0
    for i in range(24):
        try:
            assert checksums(read(path, [i], certificate)[0]) == [expected[i]]
        except SurpriseError:
            num_noticed += 1
    assert num_noticed


def test_what_damaged_cavlc_leaves_after_keyframes_is_in_doubt(tmp_path):
    for cabac, doubt in ((1, None), (0, "damage inside its pictures would not be seen")):
        options = {"x264-params": f"cabac={cabac}"}
        path = write(tmp_path / f"{cabac}.mp4", [numbered(n) for n in range(30)], gop=10, options=options)
        assert find_certificate(path).doubt == doubt
        assert certificate_of(path) is not None


def test_h264_with_missing_pictures_earns_no_certificate(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], gop=20, bframes=2)
    with av.open(str(path)) as own, av.open(str(tmp_path / "b.mkv"), "w") as out:
        stream = out.add_stream_from_template(own.streams.video[0], opaque=True)
        for i, packet in enumerate(own.demux(video=0)):
            if packet.size and i not in (4, 5):
                packet.stream = stream
                out.mux(packet)
    assert find_certificate(tmp_path / "b.mkv").doubt == "pictures are missing"
    assert certificate_of(tmp_path / "b.mkv") is None


def test_all_packets_are_needed_if_some_headers_are_not_understood(tmp_path):
    """What a decoder shows in place of a missing reference may be a picture to which nothing refers."""
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(40)], gop=20, bframes=2)
    assert certificate_of(path).packets["droppable"].any()
    upright = b"\x06\x2f\x03\x00\x00\x03\x00\x04\x80"  # a message of how the picture is turned

    def say_upright(i, data):
        return data if i else len(upright).to_bytes(4, "big") + upright + data

    path = copy_packets(path, tmp_path / "b.mp4", say_upright)
    assert find_certificate(path).doubt == "its pictures state how they are turned"
    certificate = certificate_of(path)
    assert not certificate.packets["droppable"].any()
    check_draws(path, checksums(plain_decode(path)), certificate)


def test_film_grain_earns_no_certificate(tmp_path):
    path = write(tmp_path / "a.mp4", [numbered(n) for n in range(20)], gop=10)
    assert certificate_of(path) is not None
    grain = b"\0\0\0\6\x06\x13\x02\x80\x22\x80"  # cancelled at once: the pictures stay the same
    assert certificate_of(copy_packets(path, tmp_path / "b.mp4", lambda i, data: grain + data)) is None


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx", "libx264"])
def test_a_container_that_marks_every_packet_as_a_keyframe(tmp_path, codec):
    options = {} if codec == "libx264" else VP9
    path = write(tmp_path / "a.mkv", [numbered(n) for n in range(30)], codec=codec, gop=10, options=options)
    keys = len(certificate_of(path).key_pts)
    marked = copy_packets(path, tmp_path / "b.mkv", lambda i, data: data, mark=True)
    certificate = certificate_of(marked)
    assert certificate is None or len(certificate.key_pts) == keys
    check_draws(marked, checksums(plain_decode(marked)), certificate)


def jpegs(count, segment=b"", options=()):
    """Args: segment: application data or a comment that the decoder understands."""
    rng = np.random.default_rng(count + len(segment))
    pictures = rng.integers(0, 256, (count, HEIGHT // 4, WIDTH // 4, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    found = [cv2.imencode(".jpg", picture, options)[1].tobytes() for picture in pictures]
    return [data[:2] + segment + data[2:] for data in found]


def joined(path, codec, runs):
    """Packets of several encoders in one file."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i, (data, is_key) in enumerate(itertools.chain(*runs)):
            packet = av.Packet(data)
            packet.pts = packet.dts = i
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 25), is_key, stream
            out.mux(packet)
    return path


YUV444 = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
MJPEG = {
    "plain": (b"", YUV444),
    "another range": (b"\xff\xfe\0\x0cCS=ITU601\0", YUV444),
    "RGB": (b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0", YUV444),
}


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(MJPEG, 2)])
def test_what_a_decoder_of_jpeg_learns_is_known_where_it_is_entered(tmp_path, first, second):
    """FFmpeg's decoder takes what a comment or application data says for all pictures that follow."""
    runs = [[(data, True) for data in jpegs(5, *MJPEG[name])] for name in (first, second, first)]
    path = joined(tmp_path / "a.mkv", "mjpeg", runs)
    expected, certificate = checksums(plain_decode(path)), certificate_of(path)
    assert len(expected) == 15
    for i in range(15):
        assert checksums(read(path, [i], certificate)[0]) == [expected[i]]


PARTS = {
    "libvpx": ({"auto-alt-ref": "1", "lag-in-frames": "10"}, {"error-resilient": "1"}, {"sharpness": "7"}),
    "libvpx-vp9": (HIDDEN_VP9, {**VP9, "lossless": "1"}, {**VP9, "aq-mode": "3"}, {**VP9, "error-resilient": "1"}),
    "libsvtav1": ({"preset": "12"}, {"preset": "12", "svtav1-params": "film-grain=20"}),
}


@pytest.mark.parametrize(
    ("codec", "first", "second"),
    [(codec, *pair) for codec, parts in PARTS.items() for pair in itertools.permutations(range(len(parts)), 2)],
)
def test_what_other_decoders_learn_is_known_where_they_are_entered(tmp_path, codec, first, second):
    runs = []
    for part in (first, second):
        frames = [numbered(n + 20 * part) for n in range(16)]
        source = write(tmp_path / f"{part}.webm", frames, codec=codec, gop=8, options=PARTS[codec][part])
        with av.open(str(source)) as file:
            runs.append([(bytes(packet), packet.is_keyframe) for packet in file.demux(video=0) if packet.size])
    path = joined(tmp_path / "a.mkv", codec, [*runs, runs[0]])
    expected, certificate = checksums(plain_decode(path)), certificate_of(path)
    assert certificate is not None
    assert len(certificate.key_pts) >= 3
    for i in range(0, len(expected), 3):
        assert checksums(read(path, [i], certificate)[0]) == [expected[i]]
