"""What is claimed of the structure of real files."""

import pytest
from structures import check_claim, judge

from actrec.data.video.container import MediaError

# Good files of H.264 and HEVC that stay in doubt, and why.
DOUBTFUL = {
    "ntu_S001C001P001R001A001_rgb.avi": "the order of output is not the order of the timestamps",
    "raw_no_pts.h264": "a packet is marked",
    "exo_sef_slow_motion.mp4": "a packet is marked",
    "exo_dolbyVision-hdr.MOV": "a packet is marked",
    "torchcodec_discard_first_keyframe.mp4": "a packet is marked",
}
JUDGED = {"h264", "hevc"}


def judge_all(folder):
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            yield path, judge(path)
        except (MediaError, FileNotFoundError):
            continue


@pytest.mark.parametrize(("folder", "least"), [("peer", 8), ("odd", 35), ("ut_interaction", 0)])
def test_claims_about_real_files_hold(shared_videos, folder, least):
    proven = 0
    for path, judged in judge_all(shared_videos / folder):
        proven += judged.doubt is None
        check_claim(path, judged)
    assert proven >= least
    assert least or not proven  # MPEG-4 in AVI is not judged


@pytest.mark.parametrize("folder", ["peer", "odd"])
def test_good_files_are_proven(shared_videos, folder):
    for path, judged in judge_all(shared_videos / folder):
        if judged.codec in JUDGED and path.parent.name != "corrupt":
            assert judged.doubt == DOUBTFUL.get(path.name), path.name


def test_broken_files_are_not_proven(shared_videos):
    found = {path.name: judged for path, judged in judge_all(shared_videos / "odd/corrupt")}
    assert found["decord_corrupted.mp4"].doubt == "the lengths in a packet do not add up"
    assert all(judged.doubt for judged in found.values())
