"""Who decodes a video: DALI on a GPU takes what NVDEC can decode."""

import pytest

from actrec.data.index import Media
from actrec.pipelines.dali.routes import PIXELS, VIDEO, choose_route


@pytest.mark.parametrize(
    ("codec", "width", "height", "by_dali"),
    [
        ("h264", 340, 256, True),
        ("h264", 48, 16, True),
        ("h264", 46, 64, False),
        ("h264", 4096, 2160, True),
        ("h264", 4098, 2160, False),
        ("hevc", 144, 144, True),
        ("hevc", 320, 142, False),
        ("hevc", 7680, 4320, True),
        ("vp9", 128, 128, True),
        ("vp9", 96, 128, False),
        ("vp8", 96, 96, True),
        ("mpeg4", 320, 240, False),
    ],
)
def test_nvdec_gets_only_sizes_that_it_can_decode(codec, width, height, by_dali):
    media = Media("a.mp4", 0, 40, width, height, codec=codec, pix_fmt="yuv420p", color="bt601")
    assert choose_route(media, on_gpu=True, decoder="auto") is (VIDEO if by_dali else PIXELS)
