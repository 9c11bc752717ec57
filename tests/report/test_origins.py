from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from actrec.data import score_file
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.data.score_file import ScoreFile
from actrec.files import sha256
from actrec.report import origins, runs

AGES = iter(range(1000, 9000))


def make_run(folder: Path, name: str, *, frames: int = 8) -> runs.Run:
    path = folder / name
    (path / "scores").mkdir(parents=True)
    settings = {"net": {}, "optim": {"epochs": 1}, "input": {"frames": frames}, "run": {"crop_ratio": 0.875}}
    (path / "config.json").write_text(json.dumps(settings))
    (path / "data.json").write_text(json.dumps({"train": {"list": "aa"}, "val": {"list": "bb"}}))
    for file in ("best.pt", "last.pt"):
        (path / file).write_text(f"{file} of {name}")
    return runs.read(path)


def made(run: runs.Run, model: str = "best.pt", **changes) -> dict:
    frames = run.config["input"]["frames"]
    checkpoint = run.path / model
    return {
        "command": "evaluate", "model": str(checkpoint), "model_sha256": sha256(checkpoint), "list": "/d/val.txt",
        "list_sha256": "bb", "net": run.path.name, "frames": frames, "clips": 1, "crops": 1, "crop_ratio": 0.875,
        **changes,
    }  # fmt: skip


def write(run: runs.Run, name: str, origin: dict) -> Path:
    """A score file that is newer than all others."""
    path = run.path / "scores" / name
    score_file.write(path, ScoreFile(["x"], np.eye(1, 2, dtype=np.float32), np.array([0]), ["a", "b"], origin))
    os.utime(path, (age := next(AGES), age))
    return path


@pytest.fixture
def both(tmp_path) -> tuple[runs.Run, runs.Run]:
    """Two runs whose nets were trained with different numbers of frames."""
    return make_run(tmp_path, "a"), make_run(tmp_path, "b", frames=16)


def test_files_that_were_made_as_in_training_come_first(both):
    plain = [write(run, "val_1x1.npz", made(run)) for run in both]
    write(both[0], "val_1x1_last.npz", made(both[0], "last.pt"))
    write(both[1], "val_1x1_frames-32.npz", made(both[1], frames=32))
    assert origins.choose(both) == plain
    assert [origins.choose([run]) for run in both] == [plain[:1], plain[1:]]


def test_files_that_all_runs_have_come_next(both):
    many = [write(run, "val_4x1.npz", made(run, clips=4)) for run in both]
    newer = [write(run, "val_4x3.npz", made(run, clips=4, crops=3)) for run in both]
    write(both[0], "val_1x1.npz", made(both[0]))
    write(both[1], "val_1x1_last.npz", made(both[1], "last.pt"))
    assert origins.choose(both) == newer
    newer[1].unlink()
    assert origins.choose(both) == many
    many[1].unlink()
    assert [path.name for path in origins.choose(both)] == ["val_1x1.npz", "val_1x1_last.npz"]


def test_a_run_without_scores_does_not_count(both):
    path = write(both[1], "val_1x1.npz", made(both[1]))
    assert origins.choose(both) == [None, path]
    assert origins.choose([]) == []


def test_scores_of_other_lists_and_other_runs_are_the_last_choice(both):
    run, other = both
    write(run, "val_1x1.npz", made(other))
    assert origins.choose([run]) == [None]
    train = write(run, "train_1x1.npz", made(run, list_sha256="aa"))
    assert origins.choose([run]) == [train]
    val = write(run, "mine.npz", made(run, clips=2))
    write(run, "train_2x1.npz", made(run, list_sha256="aa"))
    assert origins.choose([run]) == [val]


def test_files_of_unknown_origin_are_chosen_by_name_and_age(tmp_path):
    run = make_run(tmp_path, "a")
    paths = [write(run, name, {}) for name in ("train.npz", "val_a.npz", "videos_val_b.npz", "test.npz")]
    assert origins.choose([run]) == [paths[2]]
    os.utime(paths[1], (9999, 9999))
    assert origins.choose([run]) == [paths[1]]
    paths[1].unlink()
    paths[2].unlink()
    assert origins.choose([run]) == [paths[3]]


def test_a_run_that_was_moved_keeps_its_scores(both):
    run, other = both
    origin = made(run)
    run.path.rename(run.path.with_name("moved"))
    moved = runs.read(run.path.with_name("moved"))
    assert origins.other_model(moved, origin) is None
    assert origins.other_model(other, origin) == str(run.path / "best.pt")
    for file in moved.path.glob("*.pt"):
        file.unlink()
    assert origins.other_model(moved, origin) == str(run.path / "best.pt")  # the name of the folder is another one, too
    assert origins.other_model(moved, {}) is None


def test_what_differs_is_said(both):
    def differences(*known: dict) -> str | None:
        return origins.differences("ab", [origins.settings(run, origin) for run, origin in zip(both, known)])

    a, b = made(both[0]), made(both[1])
    assert differences(a, b) is None
    assert differences(a) is None
    assert differences(a, b | {"frames": 8, "crops": 3}) == "crops: as in training / 3; frames: as in training / 8"
    assert differences(made(both[0], "last.pt"), b) == "model: last.pt / best.pt"
    assert differences(a, b | {"list_sha256": "cc"}) == "list fingerprint: bb / cc"
    assert differences(a, {}) == "the score file of b does not say what its scores were made from"


def test_a_protocol_is_named_instead_of_its_options(both):
    run = both[0]
    rule = PROTOCOLS["tsm_k400_8_uniform_1crop"]
    scored = {
        "clips": 1, "crops": 1, "crop_rule": rule.crop_rule, "crop_ratio": None, "rule": None,
        "sampling": rule.sampling, "mean": list(rule.mean), "average": "logits", "protocol": rule.name,
    }  # fmt: skip
    assert origins.views(run, scored) == f"1 clip x 1 crop, protocol {rule.name}"
    assert origins.views(run, scored | {"average": "probabilities"}) == (
        f"1 clip x 1 crop, protocol {rule.name}, average probabilities"
    )
    assert origins.notes(run, scored)[-1].endswith(f"the validation in training: protocol {rule.name}.")
    assert origins.views(run, scored | {"protocol": "unknown"}) == "1 clip x 1 crop, protocol unknown"


def test_notes_about_one_run(both):
    run = both[0]
    assert origins.notes(run, made(run)) == []
    assert origins.views(run, made(run)) == "1 clip x 1 crop"
    assert origins.views(run, {}) == "unknown"
    averaged = made(run, crops=3, average="logits")
    assert origins.views(run, averaged) == "1 clip x 3 crops, average logits"
    other = made(run, clips=10, crop_ratio=1.0, list="/d/train.txt", list_sha256="aa")
    assert origins.views(run, other) == "10 clips x 1 crop, crop_ratio 1.0 (0.875 in training)"
    assert origins.notes(run, other) == [
        "The scored list train.txt is the training list, not the validation list, of the run.",
        "The scores were made with other options than the validation in training: "
        "clips 10 (1 in training), crop_ratio 1.0 (0.875 in training).",
    ]
    (note,) = origins.notes(run, made(run, list="/d/test.txt", list_sha256="cc"))
    assert note == "The scored list test.txt is not the validation list of the run."
