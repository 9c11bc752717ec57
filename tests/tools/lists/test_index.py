import csv
import json

import cv2
import numpy as np
import pytest

from actrec.cli.main import main
from actrec.data.index import build_index, cache_path, quarantine_path
from actrec.data.index import index as index_module
from actrec.data.lists import read_list
from actrec.data.video.encode import VideoWriter
from actrec.tools.lists import index as index_lists
from actrec.tools.lists.index import label_problems
from actrec.tools.make import jobs
from actrec.tools.make.jobs import Workers


def clip(path, num_frames=12, size=(32, 16), rate=25):
    with VideoWriter(path, width=size[0], height=size[1], rate=rate, gop=4, options={"sc_threshold": "0"}) as writer:
        for n in range(num_frames):
            writer.write(np.full((size[1], size[0], 3), 9 * n, np.uint8))


@pytest.fixture
def dataset(tmp_path):
    """A list of two videos, a folder, and a missing file; one of the folder's images is none."""
    clip(tmp_path / "a.mp4")
    clip(tmp_path / "b.mp4", 24, (16, 48), 12)
    (tmp_path / "c").mkdir()
    for i in range(1, 4):
        cv2.imwrite(str(tmp_path / "c" / f"{i}.jpg"), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "c" / "2.jpg").write_text("torn")
    path = tmp_path / "train.txt"
    path.write_text("a.mp4 0\nb.mp4 1\nc 1\ngone.mp4 0\na.mp4 1\n")
    return path


def invoke(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, arguments)))
    return stopped.value.code


def test_the_summary(dataset, capsys):
    assert invoke("index", dataset, "--json", dataset.parent / "said.json") == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == f"{dataset.parent}/gone.mp4: no such file or folder"
    lines = out.splitlines()
    assert lines[0] == f"{dataset}: 5 videos, 1 broken, 51 frames"
    assert lines[1:-1] == [
        "  size      32x16 (2), 16x48 (1), 30x20 (1); short side 16 to 20, median 16",
        "  length    3 to 24, median 12 frames",
        "  duration  0.48 to 2, median 0.48 seconds at 25 (2), 12 (1) frames per second",
        "  codec     h264 (3), jpg (1)",
        "  GOP       4 frames per keyframe",
        "  color     bt601",
    ]
    said = json.loads((dataset.parent / "said.json").read_text())[str(dataset)]
    assert (
        lines[-1] == f"  fingerprint: list {said['fingerprint']['list'][:12]}, "
        f"contents {said['fingerprint']['contents'][:12]}"
    )
    assert (said["videos"], said["broken"], said["frames"], said["codecs"]) == (5, 1, 51, {"h264": 3, "jpg": 1})


def test_verified_and_quarantined(dataset, capsys):
    assert invoke("index", dataset, "--verify") == 1
    out, err = capsys.readouterr()
    reason = "1 of 3 images is broken; the first: 2.jpg: not an image that OpenCV can decode"
    assert f"{dataset.parent}/c: {reason}" in err.splitlines()
    assert f"{dataset}: 5 videos, 2 broken, 48 frames" in out
    with open(quarantine_path(dataset), newline="") as file:
        assert list(csv.reader(file)) == [
            ["path", "reason"],
            ["c", reason],
            ["gone.mp4", "no such file or folder"],
        ]
    later = build_index(read_list(dataset), cache=cache_path(dataset))
    assert later.broken == {2: reason, 3: "no such file or folder"}

    cv2.imwrite(str(dataset.parent / "c" / "4.jpg"), np.zeros((20, 30, 3), np.uint8))  # the folder has changed
    cv2.imwrite(str(dataset.parent / "c" / "2.jpg"), np.zeros((20, 30, 3), np.uint8))
    clip(dataset.parent / "gone.mp4")
    assert invoke("index", dataset, "--verify") == 0
    assert not quarantine_path(dataset).exists()


def test_an_interrupted_verification_continues(dataset, monkeypatch):
    verified, real = [], index_module.verify_path

    def interrupted(path, row, template):
        verified.append(path)
        if len(verified) == 2:
            raise KeyboardInterrupt
        return real(path, row, template)

    monkeypatch.setattr(index_module, "verify_path", interrupted)
    index = build_index(read_list(dataset), cache=cache_path(dataset), lazy=True)
    index_lists.probe_all(index, Workers(1))
    with pytest.raises(KeyboardInterrupt):
        index_lists.verify_all(index, Workers(1))
    done = verified[0]
    monkeypatch.setattr(index_module, "verify_path", lambda path, *more: verified.append(path) or real(path, *more))
    del verified[:]
    index = build_index(read_list(dataset), cache=cache_path(dataset), lazy=True)
    index_lists.probe_all(index, Workers(1))
    index_lists.verify_all(index, Workers(1))
    assert len(verified) == 2
    assert done not in verified


def test_no_usable_video(tmp_path, capsys):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((20, 30, 3), np.uint8))[1].tobytes())
    (tmp_path / "c" / "2.jpg").write_text("torn")
    for name in ("train.txt", "val.txt"):
        (tmp_path / name).write_text("c 0\n")
    assert invoke("index", tmp_path / "train.txt", tmp_path / "val.txt", "--verify") == 1
    out, err = capsys.readouterr()
    reason = "1 of 2 images is broken; the first: 2.jpg: not an image that OpenCV can decode"
    assert err.splitlines() == [f"{tmp_path}/c: {reason}"] * 2
    assert out.splitlines() == [f"{tmp_path}/{name}.txt: 1 video, 1 broken, 0 frames" for name in ("train", "val")]
    assert quarantine_path(tmp_path / "train.txt").exists()


def test_different_paths_of_a_list_share_its_index(dataset, capsys, monkeypatch):
    invoke("index", dataset, "--verify")
    before = cache_path(dataset).read_bytes()
    monkeypatch.chdir(dataset.parent)
    for spelled in (dataset.name, f"./{dataset.name}", str(dataset)):
        capsys.readouterr()
        assert invoke("index", spelled) == 1
        assert "1 of 3 images is broken" in capsys.readouterr().err
        assert cache_path(dataset).read_bytes() == before


def test_a_repaired_image_is_seen_by_the_next_verification(dataset, capsys):
    assert invoke("index", dataset, "--verify") == 1
    when = (dataset.parent / "c").stat().st_mtime_ns
    cv2.imwrite(str(dataset.parent / "c" / "2.jpg"), np.zeros((20, 30, 3), np.uint8))
    assert (dataset.parent / "c").stat().st_mtime_ns == when
    clip(dataset.parent / "gone.mp4")
    assert invoke("index", dataset, "--verify") == 0


def test_errors_of_the_system_do_not_mark_a_file_as_broken(dataset, capsys, monkeypatch):
    def exhausted(path, row, template):
        raise MemoryError

    monkeypatch.setattr(index_module, "verify_path", exhausted)
    assert invoke("index", dataset, "--verify") == 1
    assert f"{dataset.parent}/a.mp4: MemoryError" in capsys.readouterr().err
    monkeypatch.undo()
    assert build_index(read_list(dataset), cache=cache_path(dataset)).broken == {3: "no such file or folder"}


def test_leftovers_of_a_killed_run_are_removed_from_the_folder_of_the_list(dataset):
    invoke("index", dataset)
    left = dataset.parent / ".actrec-0123456789abcdef.tmp"
    left.write_text("half an index")
    invoke("index", dataset)  # learns nothing new, so it saves nothing
    assert not left.exists()


def test_wrong_usage(dataset, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "_PATIENCE", 1)
    assert invoke("index", dataset, "--workers", 2, "--cluster", "tcp://127.0.0.1:9") == 2
    assert invoke("index", dataset, "--cluster", "tcp://127.0.0.1:9") == 1
    assert "cluster tcp://127.0.0.1:9: no Dask scheduler answers there" in capsys.readouterr().err


def test_label_problems(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.mp4 0\nb.mp4 1\na.mp4 1\nc.mp4 99999\n")
    contradiction, gap = label_problems(path)
    assert "two rows with the same frames" in contradiction
    assert "expected one label" in contradiction
    assert f"{path}: label 99999, but only 3 different labels occur" in gap
    path.write_text("a.mp4 0\nb.mp4 1\n")
    assert label_problems(path) == []
