"""Damage that FFmpeg's decoders only print is counted, in the thread that decodes."""

from concurrent.futures import ThreadPoolExecutor

import av
import av.logging
import numpy as np
import pytest

from actrec.data.video.read import verify_video

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
