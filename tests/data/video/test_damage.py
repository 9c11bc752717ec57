"""Damage that FFmpeg's decoders only print is counted, in the thread that decodes."""

from concurrent.futures import ThreadPoolExecutor

import av
import av.logging
import numpy as np
import pytest
from numbered_videos import write

from actrec.data.video.certificate import find_certificate
from actrec.data.video.color import picture_checksum
from actrec.data.video.container import SurpriseError, iter_decoded, open_video
from actrec.data.video.damage import Gaps
from actrec.data.video.read import read_frames, verify_video

FRAMES = 12


def write_video(path, codec, pix_fmt, size, **options):
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        for _ in range(FRAMES):
            picture = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def spoil(path, *numbers):
    """Overwrites a tenth of some packets, in the middle."""
    data = bytearray(path.read_bytes())
    for packet in [packets(path)[number] for number in numbers]:
        at = data.index(packet) + len(packet) // 2
        data[at : at + len(packet) // 10] = b"\x55" * (len(packet) // 10)
    path.write_bytes(data)
    return path


CODECS = {
    "ffv1.mkv": ("ffv1", "yuv420p", (64, 48), {"level": "3", "slicecrc": "1"}),
    "dv.avi": ("dvvideo", "yuv420p", (720, 576), {}),
}


@pytest.mark.parametrize("name", CODECS)
def test_what_a_decoder_only_prints(tmp_path, name):
    *made, options = CODECS[name]
    path = write_video(tmp_path / name, *made, **options)
    assert verify_video(path).damaged == 0
    assert verify_video(spoil(path, 3, 4, 8)).damaged == 3


def test_threads_count_their_own_damage_and_leave_no_trace(tmp_path, capfd):
    *made, options = CODECS["ffv1.mkv"]
    paths = [write_video(tmp_path / f"{number}.mkv", *made, **options) for number in range(8)]
    for number, path in enumerate(paths):
        spoil(path, *range(1, 1 + number % 4))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            assert [found.damaged for found in pool.map(verify_video, paths)] == [0, 1, 2, 3] * 2
    assert av.logging.get_level() is None
    assert av.logging.get_skip_repeated()
    assert capfd.readouterr().err == ""


@pytest.fixture(scope="module")
def hevc(tmp_path_factory):
    """HEVC with moving noise: two groups of 12 pictures of 8x6 blocks."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    options = {"x265-params": "log-level=error:open-gop=0:keyint=12:ctu=16"}
    frames = [np.roll(noise, (n, 3 * n), (0, 1)) for n in range(24)]
    return write(tmp_path_factory.mktemp("hevc") / "a.mp4", frames, codec="libx265", options=options)


def flip_a_bit(path, damaged, rng):
    """A copy with one wrong bit in the data of a slice of the second group."""
    data = bytearray(path.read_bytes())
    packet = packets(path)[rng.integers(12, 24)]
    place = data.index(packet) + rng.integers(min(40, len(packet) - 1), len(packet))
    data[place] ^= 1 << rng.integers(8)
    damaged.write_bytes(data)
    return damaged


def decode_with_new_memory(path):
    """The checksums of a plain decode that uses no memory again: parts that are not decoded are zero."""
    with open_video(path) as (container, stream):
        pictures = list(iter_decoded(container, stream))
        return [picture_checksum(picture) for picture in pictures]


def test_parts_of_hevc_pictures_that_are_not_decoded_are_noticed(hevc, tmp_path):
    """FFmpeg reports no error if damage ends a slice too early, and shows what was in the memory before."""
    rng, noticed = np.random.default_rng(0), 0
    assert verify_video(hevc).damaged == 0
    for number in range(40):
        path = flip_a_bit(hevc, tmp_path / f"{number}.mp4", rng)
        new = decode_with_new_memory(path)
        with open_video(path) as (container, stream):
            old = [picture_checksum(picture) for picture in iter_decoded(container, stream)]
        if new == old:
            continue
        certificate = find_certificate(path).certificate
        for i in [i for i in range(24) if new[i] != old[i]]:
            with pytest.raises(SurpriseError):
                read_frames(path, [i], lambda i, rgb: None, certificate)
        with pytest.raises(SurpriseError) as caught:
            read_frames(path, range(24), lambda i, rgb: None, certificate)
        noticed += "parts of the picture" in str(caught.value)
        verified = verify_video(path)
        assert verified.damaged > 0
        assert verified.certificate is None
    assert noticed >= 2


def test_black_in_rgb_is_no_missing_part():
    gaps = Gaps("hevc")
    assert not gaps.are_in(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "gbrp"))
    assert not gaps.are_in(
        av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24").reformat(format="yuv420p")
    )
    assert gaps.are_in(av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), "yuv420p"))
