"""What is claimed of the structure of a file holds for what encoders write."""

import pytest
from numbered_videos import VP9, X265, numbered
from structures import check_claim, decoded, encode, judge

ULTRAFAST = {"preset": "ultrafast"}
FRAMES = [numbered(n) for n in range(40)]


def x264(parameters):
    return "libx264", {"preset": "veryfast", "x264-params": parameters}


def x265(parameters):
    return "libx265", {"preset": "ultrafast", "x265-params": f"log-level=error:{parameters}"}


KINDS = {  # encoder, its options, and a file
    "h264": (*x264(""), "a.mp4"),
    "h264 without B-frames": (*x264("bframes=0"), "a.mov"),
    "h264 with many B-frames": (*x264("bframes=8:b-adapt=0:b-pyramid=normal:ref=8"), "a.mkv"),
    "h264 with a strict pyramid": (*x264("bframes=3:b-adapt=0:b-pyramid=strict:keyint=12"), "a.flv"),
    "h264 with open GOPs": (*x264("open-gop=1:keyint=8:bframes=3:b-adapt=0:scenecut=0"), "a.mp4"),
    "h264 with intra refresh": (*x264("intra-refresh=1:keyint=12:bframes=2:b-adapt=0"), "a.mp4"),
    "h264 interlaced": (*x264("interlaced=1:bframes=2"), "a.mp4"),
    "h264 in slices": (*x264("slices=4:bframes=2"), "a.mp4"),
    "h264 in small slices": (*x264("slice-max-size=200"), "a.mp4"),
    "h264 with 16 references": (*x264("ref=16:bframes=4"), "a.mp4"),
    "h264 with weights": (*x264("weightp=2:weightb=1:ref=4"), "a.mp4"),
    "h264 of keyframes": (*x264("keyint=1"), "a.mp4"),
    "h264 baseline": ("libx264", {"profile": "baseline", **ULTRAFAST}, "a.mp4"),
    "h264 with CAVLC and temporal direct": (*x264("cabac=0:direct=temporal:bframes=3"), "a.mp4"),
    "h264 with delimiters and timing": (*x264("aud=1:nal-hrd=vbr:vbv-maxrate=500:vbv-bufsize=500"), "a.mp4"),
    "h264 with filler": (*x264("nal-hrd=cbr:bitrate=300:vbv-maxrate=300:vbv-bufsize=300:filler=1"), "a.mp4"),
    "h264 with its own matrices": (*x264("cqm=jvt:constrained-intra=1:deblock=3,-3"), "a.mp4"),
    "h264 in MPEG-TS": (*x264("bframes=3:keyint=8"), "a.ts"),
    "h264 in AVI": (*x264("bframes=0:keyint=8"), "a.avi"),
    "hevc": (*x265(""), "a.mp4"),
    "hevc with closed GOPs": (*x265("open-gop=0:keyint=8:bframes=4"), "a.mkv"),
    "hevc with open GOPs": (*x265("open-gop=1:keyint=8:scenecut=0:bframes=3"), "a.mp4"),
    "hevc with leading pictures": (*x265("radl=2:keyint=8:open-gop=0:bframes=3"), "a.mp4"),
    "hevc with layers": (*x265("temporal-layers=3:open-gop=0:keyint=12:bframes=4:b-pyramid=1"), "a.mp4"),
    "hevc with weights": (*x265("weightp=1:weightb=1:ref=5:bframes=2"), "a.mp4"),
    "hevc with delimiters and timing": (*x265("aud=1:hrd=1:vbv-maxrate=500:vbv-bufsize=500:wpp=1"), "a.mp4"),
    "hevc in MPEG-TS": (*x265("open-gop=0:keyint=8:repeat-headers=1"), "a.ts"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_encoders_are_proven(tmp_path, kind):
    codec, options, name = KINDS[kind]
    path = encode(tmp_path / name, FRAMES[:26], codec, options)
    judged = judge(path)
    assert judged.doubt is None
    assert len(judged.packets) == 26
    check_claim(path, judged)


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv422p", "yuv420p10le", "gray"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_files_in_other_formats_are_proven(tmp_path, codec, pix_fmt):
    options = ULTRAFAST if codec == "libx264" else {**ULTRAFAST, **X265}
    path = encode(tmp_path / "a.mp4", FRAMES[:12], codec, options, pix_fmt)
    judged = judge(path)
    assert judged.doubt is None
    check_claim(path, judged)


def test_only_pictures_that_reset_the_decoder_are_sync(tmp_path):
    for number, ((codec, options), expected) in enumerate(
        [
            (x264("open-gop=1:keyint=10:scenecut=0:bframes=2"), 1),
            (x264("keyint=10:scenecut=0"), 4),
            (x265("open-gop=1:keyint=10:scenecut=0"), 1),
            (x265("open-gop=0:keyint=10:scenecut=0"), 4),
        ]
    ):
        path = encode(tmp_path / f"{number}.mp4", FRAMES, codec, options)
        assert sum(is_sync for *_, is_sync in judge(path).packets) == expected


def test_avi_has_no_presentation_times(tmp_path):
    """FFmpeg invents them in decoding order, so they contradict the picture order counts."""
    path = encode(tmp_path / "a.avi", FRAMES[:20], *x264("bframes=3"))
    judged = judge(path)
    assert judged.doubt == "the order of output is not the order of the timestamps"
    assert [pts for pts, *_ in decoded(path)] != sorted(pts for _, pts, _ in judged.packets)


def test_an_impossible_aspect_ratio_makes_ffmpeg_start_anew_with_each_picture(tmp_path):
    path = encode(tmp_path / "a.mp4", FRAMES[:20], *x264("sar=1/5000"))
    assert judge(path).doubt == "its sample aspect ratio is impossible"


@pytest.mark.parametrize(
    ("codec", "name", "pix_fmt", "options"),
    [
        ("mjpeg", "a.avi", "yuvj420p", {}),
        ("libvpx", "a.webm", "yuv420p", VP9),
        ("libvpx-vp9", "a.webm", "yuv420p", VP9),
        ("libsvtav1", "a.mp4", "yuv420p", {"preset": "12", "svtav1-params": "lp=1:keyint=9"}),
    ],
)
def test_codecs_that_are_not_judged(tmp_path, codec, name, pix_fmt, options):
    """Their keyframes are found all the same."""
    judged = judge(encode(tmp_path / name, FRAMES[:9], codec, options, pix_fmt))
    assert judged.doubt.endswith(" is not judged by its structure")
    assert [is_sync for *_, is_sync in judged.packets] == [codec == "mjpeg" or not i for i in range(9)]
