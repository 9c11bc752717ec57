"""Checkpoints of a run: always one that is intact, whatever fails."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import zipfile
from dataclasses import replace

import pytest
import torch
from engine.helpers import Notes, recipe, run, same, tiny, weights

from actrec import nets
from actrec.engine import checkpoint, runfolder, runlog
from actrec.nets.weights import load_weights


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("whole") / "run"
    run(path, data)
    return path


def test_a_torn_checkpoint_is_told_and_the_one_before_taken(tmp_path, data, uninterrupted):
    run(tmp_path / "run", data)
    whole = (tmp_path / "run/last.pt").read_bytes()
    (tmp_path / "run/last.pt").write_bytes(whole[: len(whole) // 2])
    _, reporter = run(tmp_path / "run", data, resume=True)
    torn = "last.pt: the file is damaged, or not a checkpoint of torch"
    assert reporter.lines[0].endswith(f"{torn}; continuing from previous.pt")
    assert reporter.lines[0].startswith("WARNING")
    assert reporter.lines[1].endswith("at epoch 3, its validation")
    assert same(weights(tmp_path / "run/last.pt"), weights(uninterrupted / "last.pt"))
    shutil.copy(tmp_path / "run/previous.pt", tmp_path / "run/best.pt")  # unfinished, whichever epoch was the best
    for name in ("last.pt", "previous.pt"):
        (tmp_path / "run" / name).write_bytes(whole[:1000])
    _, reporter = run(tmp_path / "run", data, resume=True)
    assert reporter.lines[0].endswith(f"{torn}; continuing from best.pt")
    assert same(weights(tmp_path / "run/last.pt"), weights(uninterrupted / "last.pt"))
    for name in ("last.pt", "previous.pt", "best.pt"):
        (tmp_path / "run" / name).write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=torn):
        run(tmp_path / "run", data, resume=True)


def test_a_changed_bit_of_a_tensor_is_noticed(tmp_path, data):
    run(tmp_path / "run", data)
    path = tmp_path / "run/last.pt"
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        middle = whole.index(archive.read(largest)) + largest.file_size // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :])
    with pytest.raises(ValueError, match="last.pt: the file is damaged"):
        checkpoint.load(path)
    with pytest.raises(ValueError, match="last.pt is not a weights file, or is damaged"):
        load_weights(nets.net("resnet3d_10", num_classes=2), path)
    _, reporter = run(tmp_path / "run", data, resume=True)
    assert reporter.lines[0].endswith("continuing from previous.pt")


def test_a_file_without_checksums(tmp_path, data):
    run(tmp_path / "run", data, recipe(epochs=1))
    saved = torch.load(tmp_path / "run/last.pt", weights_only=True)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(saved, tmp_path / "other.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(checkpoint.load(tmp_path / "other.pt")["state_dict"], saved["state_dict"])


def test_a_checkpoint_that_cannot_be_read_is_not_torn(tmp_path, data, monkeypatch):
    run(tmp_path, data, recipe(epochs=1))

    def broken(*_, **__):
        raise OSError(errno.EIO, "Input/output error", str(tmp_path / "last.pt"))

    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(OSError, match="Input/output error"):
        run(tmp_path, data, recipe(epochs=1), resume=True)
    assert (tmp_path / "last.pt").exists()
    assert not (tmp_path / "last.pt.torn").exists()


def test_a_checkpoint_of_another_form(tmp_path, data):
    torch.save({"format": 2}, tmp_path / "last.pt")
    with pytest.raises(
        ValueError, match="last.pt: a checkpoint in format 2, this version reads formats 3 to 4; only its"
    ):
        run(tmp_path, data, resume=True)


def test_a_checkpoint_of_a_newer_version_is_kept(tmp_path, data):
    run(tmp_path, data)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save(saved | {"format": 5}, tmp_path / "last.pt")
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match="last.pt: a checkpoint in format 5, this version reads"):
        run(tmp_path, data, resume=True)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert (tmp_path / "previous.pt").exists()


def test_a_run_without_validation_that_ended_before_its_first_last_checkpoint(tmp_path, data, monkeypatch):
    alone, save = replace(data, val=None, val_index=None), runfolder.save

    def full(run_dir, name, snapshot):
        if name == "last.pt":
            raise OSError("the disk is full")
        save(run_dir, name, snapshot)

    monkeypatch.setattr(runfolder, "save", full)
    with pytest.raises(OSError, match="full"):
        run(tmp_path / "run", alone)
    monkeypatch.undo()
    _, reporter = run(tmp_path / "run", alone, resume=True)
    assert reporter.lines[0].endswith("last.pt: the file is missing; continuing from best.pt")
    run(tmp_path / "whole", alone)
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, data, monkeypatch):
    run(tmp_path / "run", data, recipe(epochs=1))
    before = (tmp_path / "run/last.pt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path / "run/last.pt", {"state_dict": {}})
    assert (tmp_path / "run/last.pt").read_bytes() == before
    assert not [path for path in (tmp_path / "run").iterdir() if "tmp" in path.name]


def test_kept_checkpoints_and_rare_validation(tmp_path, data):
    run(tmp_path / "run", data, tiny(epochs=5, run_options={"keep_every": 2, "val_every": 2}))
    assert sorted(path.name for path in (tmp_path / "run").glob("epoch_*.pt")) == ["epoch_002.pt", "epoch_004.pt"]
    assert checkpoint.load(tmp_path / "run/epoch_002.pt")["progress"]["epoch"] == 2
    assert ["val_loss" in row for row in runlog.read(tmp_path / "run")] == [False, True, False, True, True]


def test_saving_within_an_epoch(tmp_path, data):
    seen = []

    def note_saved(done):
        path = tmp_path / "run/last.pt"
        seen.append(checkpoint.load(path)["progress"]["steps"] if path.exists() else 0)

    run(
        tmp_path / "run",
        data,
        tiny(batch_size=2, run_options={"checkpoint_every": "2"}),
        reporter=Notes(note_saved),
    )
    assert seen == [0, 2, 2, 4, 4, 4]  # the last step's is saved after validation


def test_a_disk_that_is_full_keeps_the_checkpoint_before(tmp_path, data, monkeypatch):
    real = checkpoint.save

    def full(path, content):
        if content["progress"]["epoch"] == 2:
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match=r"best.pt: No space left on device; .* intact: free some space, then pass --res"):
        run(tmp_path / "run", replace(data, val=None, val_index=None), tiny(epochs=3))
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "run/last.pt")["progress"]["epoch"] == 1
    run(tmp_path / "run", replace(data, val=None, val_index=None), tiny(epochs=3), resume=True)
    run(tmp_path / "whole", replace(data, val=None, val_index=None), tiny(epochs=3))
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))


def test_a_torn_checkpoint_never_takes_the_place_of_the_one_before(tmp_path, data, monkeypatch):
    """It is put aside: should the next save fail, the one before is still there."""
    run(
        tmp_path / "run",
        data,
        tiny(epochs=2, run_options={"checkpoint_every": "1"}),
        reporter=Notes(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 1 else None),
    )
    (tmp_path / "run/last.pt").write_bytes(b"torn")
    monkeypatch.setattr(checkpoint, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device"):
        run(tmp_path / "run", data, tiny(epochs=2), resume=True)
    monkeypatch.undo()
    run(tmp_path / "run", data, tiny(epochs=2), resume=True)
    run(tmp_path / "whole", data, tiny(epochs=2))
    assert same(weights(tmp_path / "run/last.pt"), weights(tmp_path / "whole/last.pt"))
    assert (tmp_path / "run/last.pt.torn").read_bytes() == b"torn"


def test_a_file_that_may_not_grow_is_one_clear_line(tmp_path):
    """torch raises a RuntimeError in place of the OSError."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="last.pt: File too large$"):
            runfolder.save(tmp_path, "last.pt", {"state_dict": {"a": torch.rand(1_000_000)}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
