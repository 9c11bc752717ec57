from __future__ import annotations

import functools
import json

import pytest

from actrec.engine import feeding

SMALL = ["--frames", 8, "--size", 32, "--batch-size", 2, "--steps", 1, "--turns", 1]


def test_every_form_of_every_net(run, tmp_path):
    path = tmp_path / "speeds.json"
    names = ["--net", "tsn_resnet18", "--net", "tsm_resnet18"]
    code, out, _ = run("bench", *names, *SMALL, "--temporal-stride", "--device", "cpu", "--json", path)
    assert code == 0
    rows = json.loads(path.read_text())
    assert len(rows) == len(out) - 1 == 8
    assert [row["net"] for row in rows[::4]] == ["tsn_resnet18", "tsm_resnet18"]
    assert sum("(default)" in row["form"] for row in rows) == 2
    assert all(row["clips_per_second"] > 0 for row in rows)
    assert [row["by_first_form"] for row in rows[::4]] == [1, 1]
    assert [row["by_first_net"] for row in rows[:4]] == [1, 1, 1, 1]


def test_the_default_form_alone(run):
    code, out, _ = run("bench", "--net", "tsn_resnet18", *SMALL, "--only-default")
    assert (code, len(out)) == (0, 2)
    assert "channels-last (default)" in out[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Missing option '--net'"),
        (["--net", "tsn_resnet1"], 1, "Error: unknown net 'tsn_resnet1': did you mean tsn_resnet1"),
        (["--net", "s3d", "--frames", "2"], 1, "Error: clips of 2 frames are too short"),
        (["--net", "r3d_18", "--temporal-stride"], 1, "Error: net 'r3d_18' takes no option 'temporal_stride'"),
    ],
)
def test_mistakes(run, arguments, code, words):
    found, _, err = run("bench", *arguments)
    assert found == code
    assert words in err[-1]


@pytest.fixture
def videos(tmp_path):
    import numpy as np

    from actrec.data.video.encode import VideoWriter

    for name in ("a.mp4", "b.mp4"):
        with VideoWriter(tmp_path / name, width=64, height=48, rate=25) as video:
            for value in range(30):
                video.write(np.full((48, 64, 3), value, np.uint8))
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 1\ngone.mp4 1\n")
    return tmp_path / "list.txt"


FEEDING = ["--net", "tsn_resnet18", "--size", 32, "--batch-size", 4, "--seconds", 0.2, "--device", "cpu"]


def test_feeding_a_net_from_a_list(run, videos, tmp_path):
    path = tmp_path / "feeding.json"
    code, out, err = run("bench", "--list", videos, *FEEDING, "--json", path)
    assert code == 0
    assert err[0].endswith(": 3 videos, 1 skipped:")
    names = ["loader alone", "net alone", "both together", "decoding alone", "decoded frames", "keyframes"]
    assert [line[:16].strip() for line in out[:-1]] == names
    assert out[-1].startswith(("net-bound: ", "loader-bound: ", "bound by both: "))
    found = json.loads(path.read_text())
    assert found["advice"] == out[-1]
    assert found["loader"] > 0
    assert found["files"] == 2


def test_feeding_counts_the_bytes_that_dali_decodes(run, tmp_path, monkeypatch):
    """As on a GPU. Excerpts need certificates, which `actrec index --verify` earns."""
    from numbered_videos import VP9, numbered, write

    monkeypatch.setattr(feeding, "train_loader", functools.partial(feeding.train_loader, decoder="dali"))
    path = write(tmp_path / "a.webm", [numbered(n) for n in range(60)], codec="libvpx-vp9", gop=8, options=VP9)
    (tmp_path / "list.txt").write_text("a.webm 0\n")
    flags = [*FEEDING, "--sampling", "dense", "--json", tmp_path / "bench.json"]
    sizes = []
    for _ in range(2):
        code, out, _ = run("bench", "--list", tmp_path / "list.txt", *flags)
        assert code == 0
        sizes.append(json.loads((tmp_path / "bench.json").read_text())["encoded_per_clip"])
        (line,) = [line for line in out if line.startswith("encoded bytes")]
        assert line.endswith(f"{sizes[-1] / 1e6:.2f} MB per clip, decoded by DALI")
        run("index", tmp_path / "list.txt", "--verify")
    assert sizes[0] == path.stat().st_size
    assert sizes[1] < 0.7 * sizes[0]


def test_feeding_takes_one_net(run, videos):
    code, _, err = run("bench", "--list", videos, *FEEDING, "--net", "s3d")
    assert code == 2
    assert "with --list: expected one net" in err[-1]
    for flags, words in (
        (["--list", videos, "--turns", 3], "--turns with --list"),
        (["--workers", 3], "--workers without --list"),
        (["--list", videos, "--seconds", 0], "--seconds 0.0: expected a positive number"),
    ):
        code, _, err = run("bench", "--net", "tsn_resnet18", *flags)
        assert code == 2
        assert words in err[-1]
    code, _, err = run("bench", "--list", videos.parent / "none.txt", *FEEDING)
    assert code == 1
    assert "none.txt" in err[-1]
