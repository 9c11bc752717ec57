from __future__ import annotations

import numpy as np
import pytest

from actrec.data.video.encode import VideoWriter


@pytest.fixture
def videos(tmp_path):
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, width=32, height=32, rate=10) as video:
            for i in range(6):
                video.write(np.full((32, 32, 3), 20 + 10 * i, np.uint8))
    return tmp_path / "videos"


FAST = ("--preset", "ultrafast", "--encoder", "cpu")


def test_the_command_without_arguments(run, videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("prepare", "--dry-run", *FAST)
    assert (code, len(out)) == (0, 6)
    assert out[:2] == ["split: drawn by class, 0.2 of the videos for validation, seed 0", "encoder: libx264"]
    assert out[2].startswith("sample")
    code, out, _ = run("prepare", *FAST)
    assert code == 0
    assert out[-1].startswith("4 videos -> prepared/ (24 frames, 0.0 MB -> 0.0 MB, 0 failed); train.txt 2, val.txt 2")
    code, out, _ = run("prepare", "--list", "train.txt", "other", "--short-side", 16, *FAST)
    assert out[-1].startswith("2 videos -> other/prepared/ (12 frames, 0.0 MB -> 0.0 MB, 0 failed); train.txt 2")


def test_failures_and_interrupts(run, videos, tmp_path, monkeypatch):
    (videos / "a" / "bad.mp4").touch()
    code, out, _ = run("prepare", videos, tmp_path, *FAST)
    assert code == 1
    assert out[-1].startswith(
        f"4 videos -> {tmp_path}/prepared/ (24 frames, 0.0 MB -> 0.0 MB, 1 failed; why: {tmp_path}/fai"
    )

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("actrec.tools.make.prepare.prepare", interrupted)
    code, _, err = run("prepare", videos, tmp_path, *FAST)
    assert (code, err) == (130, ["interrupted: run the same command again to continue"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none"], 1, "none: no such folder"),
        (["videos", "videos/a/1.mp4"], 2, "1.mp4 is a file: expected the name of a folder"),
        (["--list", "none.txt", "out"], 1, "none.txt: no such file"),
        (["--list", "none.txt"], 2, "with --list, expected one argument: DST"),
        (["--list", "none.txt", "videos", "out"], 2, "with --list, expected one argument: DST"),
        (["--short-side", "8"], 2, "--short-side 8: expected from 16 to 16384"),
        (["--crf", "52"], 2, "--crf 52: expected from 1 to 51"),
        (["--fps", "0"], 2, "--fps 0.0: expected from 0.01 to 1000"),
        (["--codec", "vp9"], 2, "vp9"),
        (["--val-fraction", "1"], 2, "above 0 and below 1"),
        (["--encoder", "nvenc"], 1, "h264_nvenc does not work on this machine"),
    ],
)
def test_errors(run, videos, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("actrec.tools.make.prepared_video.can_encode", lambda name: False)
    found, _, err = run("prepare", *arguments)
    assert found == code
    assert words in err[-1]
