"""What is claimed of the structure of a file holds for what encoders write."""

import av
import pytest
from numbered_videos import HIDDEN_VP9, VP9, WIDTH, X265, numbered
from structures import check_claim, decoded, encode, judge

ULTRAFAST = {"preset": "ultrafast"}
FRAMES = [numbered(n) for n in range(40)]


def x264(parameters):
    return "libx264", {"preset": "veryfast", "x264-params": parameters}


def x265(parameters):
    return "libx265", {"preset": "ultrafast", "x265-params": f"log-level=error:{parameters}"}


def svt(parameters):
    return "libsvtav1", {"preset": "12", "svtav1-params": f"lp=1:{parameters}"}


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
    "vp8": ("libvpx", {"g": "8", **VP9}, "a.webm"),
    "vp8 with parts": ("libvpx", {"slices": "4", "error-resilient": "1", **VP9}, "a.webm"),
    "vp9": ("libvpx-vp9", {"g": "8", **VP9}, "a.webm"),
    "vp9 with hidden frames": ("libvpx-vp9", HIDDEN_VP9, "a.mp4"),
    "vp9 lossless": ("libvpx-vp9", {"lossless": "1", **VP9}, "a.webm"),
    "vp9 with segments": ("libvpx-vp9", {"aq-mode": "3", "error-resilient": "1", **VP9}, "a.ivf"),
    "av1": (*svt("keyint=8"), "a.mp4"),
    "av1 with low delay": (*svt("pred-struct=1:keyint=8"), "a.webm"),
    "av1 with film grain": (*svt("film-grain=10:keyint=8"), "a.mkv"),
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


def test_another_size_is_seen(tmp_path):
    """VP9: a keyframe states it."""
    path = tmp_path / "both.webm"
    large = encode(tmp_path / "large.webm", FRAMES[:9], "libvpx-vp9", VP9)
    small = encode(tmp_path / "small.webm", [rgb[:, : WIDTH // 2] for rgb in FRAMES[:9]], "libvpx-vp9", VP9)
    with av.open(str(path), "w") as out, av.open(str(large)) as one, av.open(str(small)) as other:
        stream = out.add_stream_from_template(one.streams.video[0])
        for number, packet in enumerate([*one.demux(video=0), *other.demux(video=0)]):
            if packet.size:
                packet.pts = packet.dts = 40 * number
                packet.stream = stream
                out.mux(packet)
    assert judge(path).doubt == "its pictures have several sizes or formats"


def test_vp9_and_av1_are_only_proven_if_they_are_intact(tmp_path):
    for name, codec, options in [("a.webm", "libvpx-vp9", VP9), ("a.mp4", *svt(""))]:
        path = encode(tmp_path / name, FRAMES[:9], codec, options)
        assert judge(path).doubt is None
        assert judge(path, intact=False).doubt == "damage inside its pictures would not be seen"


def test_a_codec_that_is_not_judged(tmp_path):
    path = encode(tmp_path / "a.avi", FRAMES[:9], "mjpeg", {}, "yuvj420p")
    judged = judge(path)
    assert judged.doubt == "mjpeg is not judged by its structure"
    assert all(is_sync for *_, is_sync in judged.packets)
