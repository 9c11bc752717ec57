import av
import numpy as np
import pytest
from numbered_videos import checksums, number_of, numbered, plain_decode, read, write

from actrec.data.video import mpeg4
from actrec.data.video.container import open_video, padded_packet
from actrec.data.video.read import iter_wanted

VOP, USER_DATA = b"\0\0\1\xb6", b"\0\0\1\xb2"
EMPTY_VOP = VOP + bytes([0b01010000, 0b01001111])  # a P-picture that is not coded
XVID = [b"DivX503b1393p", b"XviD0050"]
NUM_FRAMES = 40


def video(path, **options):
    return write(path, [numbered(i) for i in range(NUM_FRAMES)], codec="mpeg4", **options)


def kind(packet):
    data = bytes(packet)
    return data[data.index(VOP) + 4] >> 6


def remux(source, path, encoders=(), *, pack=False, tag=None):
    """Copies a video; names other encoders and packs its B-pictures as XviD does, if wanted."""
    with av.open(str(source)) as container, av.open(str(path), "w") as output:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        copy = output.add_stream_from_template(stream, opaque=True)
        headers = stream.codec_context.extradata
        copy.codec_context.extradata = headers[: headers.index(USER_DATA)]
        if tag:
            copy.codec_context.codec_tag = tag
        said = b"".join(USER_DATA + text for text in encoders)
        packets[0] = headers[: headers.index(USER_DATA)] + said + packets[0][packets[0].index(VOP) :]
        for number, data in enumerate(packed(packets) if pack else packets):
            packet = padded_packet(data)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = copy, number, number, number == 0
            packet.time_base = copy.time_base
            output.mux(packet)
    return path


def packed(packets):
    """A P- and a B-picture in one packet, then the other B-pictures, then an empty picture."""
    done, waiting = [], []
    for data in packets:
        if kind(data) == 2:
            waiting.append(data)
            continue
        done += after(done, waiting)
        waiting = []
        done.append(data)
    return done + after(done, waiting)


def after(done, waiting):
    if not waiting:
        return []
    done[-1] += waiting[0]
    return [*waiting[1:], EMPTY_VOP]


def draws(num_frames):
    rng = np.random.default_rng(0)
    return [np.sort(rng.choice(num_frames, size, replace=False)) for size in (1, 2, 3, 8, num_frames // 2, num_frames)]


def check(path):
    """Compares with a plain decode. Returns how many pictures were left out and whether any was in doubt."""
    expected = checksums(plain_decode(path))
    left_out = 0
    for wanted in draws(len(expected)):
        found, went = read(path, wanted)
        assert checksums(found) == [expected[i] for i in wanted]
        left_out += max(0, int(wanted[-1]) + 1 - went.decoded)
    return left_out, is_doubted(path)


def is_doubted(path):
    with open_video(path) as (container, stream):
        try:
            for _ in mpeg4.iter_needed(container, stream, {1}):
                pass
        except mpeg4.Doubt:
            return True
    return False


@pytest.mark.parametrize("container", ["avi", "mp4", "mkv"])
@pytest.mark.parametrize("bframes", [0, 1, 2, 3])
def test_b_pictures_that_nobody_wants_are_left_out(tmp_path, container, bframes):
    path = video(tmp_path / f"a.{container}", bframes=bframes, gop=15)
    left_out, is_in_doubt = check(path)
    assert not is_in_doubt
    assert (left_out > 20) == (bframes > 0)


@pytest.mark.parametrize("bframes", [1, 2, 3])
def test_packed_bitstreams_are_taken_apart(tmp_path, bframes):
    source = video(tmp_path / "a.avi", bframes=bframes, gop=NUM_FRAMES)
    path = remux(source, tmp_path / "b.avi", XVID, pack=True)
    assert [number_of(rgb) for rgb in plain_decode(path)] == list(range(NUM_FRAMES))
    left_out, is_in_doubt = check(path)
    assert not is_in_doubt
    assert left_out > 20


@pytest.mark.parametrize(
    ("encoders", "tag"),
    [
        ([b"XviD0003"], None),  # does not pad its pictures
        ([b"DivX503b1393p"], None),
        ([b"Lavc0.18.0"], None),
        ([b"Lavc56.60.100"], None),
        ([b"FFmpegb4600"], None),
        ([], "XVID"),
        ([], "XVIX"),
        ([b"XviD0050"], "UMP4"),
    ],
)
def test_encoders_with_rules_of_their_own_are_doubted(tmp_path, encoders, tag):
    path = remux(video(tmp_path / "a.avi", bframes=2), tmp_path / "b.avi", encoders, tag=tag)
    assert check(path)[1]


def test_packed_pictures_without_the_name_of_the_encoder_are_doubted(tmp_path):
    path = remux(video(tmp_path / "a.avi", bframes=1), tmp_path / "b.avi", [b"XviD0050"], pack=True)
    assert check(path)[1]


def test_interlaced_pictures_are_doubted(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", 25, options={"bf": "2", "flags": "+ildct+ilme"})
        stream.width, stream.height = numbered(0).shape[1::-1]
        for i in range(NUM_FRAMES):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i))))
        output.mux(stream.encode(None))
    assert check(path)[1]


@pytest.mark.parametrize("is_packed", [False, True])
def test_damaged_files_decode_as_they_always_did(tmp_path, is_packed):
    source = video(tmp_path / "a.avi", bframes=2, gop=NUM_FRAMES)
    whole = remux(source, tmp_path / "b.avi", XVID, pack=is_packed).read_bytes()
    rng, num_doubted = np.random.default_rng(1), 0
    for _ in range(12):
        data = bytearray(whole)
        for place in rng.integers(len(whole) // 8, len(whole) * 7 // 8, 6).tolist():
            data[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / "damaged.avi"
        path.write_bytes(data)
        num_doubted += check(path)[1]
    assert num_doubted > 3


def test_frames_after_the_last_one_become_the_last_one(tmp_path):
    path = video(tmp_path / "a.avi", bframes=2)
    found, went = read(path, [3, NUM_FRAMES + 5])
    assert [number_of(rgb) for rgb in found] == [3, NUM_FRAMES - 1]
    assert went.clamped == 1
    assert [i for i, _ in iter_wanted(path, np.array([3, NUM_FRAMES + 5]))] == [3, NUM_FRAMES - 1]


def test_a_file_that_ends_with_a_b_picture_is_decoded_plainly_at_its_end(tmp_path):
    source = video(tmp_path / "a.avi", bframes=2, gop=NUM_FRAMES)
    with av.open(str(source)) as container, av.open(str(tmp_path / "b.avi"), "w") as output:
        stream = container.streams.video[0]
        copy = output.add_stream_from_template(stream, opaque=True)
        packets = [packet for packet in container.demux(stream) if packet.size]
        while kind(packets[-1]) != 2:
            packets.pop()
        for packet in packets:
            packet.stream = copy
            output.mux(packet)
    check(tmp_path / "b.avi")


def test_decoders_read_zeros_after_a_packet():
    packet = padded_packet(b"\xff" * 1000)
    assert bytes(packet) == b"\xff" * 1000
    with pytest.raises(ValueError, match="need 1000 bytes"):
        packet.update(b"")
