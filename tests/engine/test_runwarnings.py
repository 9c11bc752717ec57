"""What a run warns of: in results that are made up, and in small runs."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
from conftest import write_folder
from engine.data_of import data_of
from engine.helpers import Notes, run, tiny

from actrec.data.index import build_index
from actrec.data.lists import read_list
from actrec.engine.result import Result
from actrec.engine.runfolder import Data
from actrec.engine.runwarnings import of_data, of_validation

NAMES = [f"class{i}" for i in range(8)]


def result(labels, predicted, *, sure=1.0, classes=8):
    scores = np.zeros((len(labels), classes), np.float32)
    scores[np.arange(len(labels)), predicted] = sure
    return Result([str(i) for i in range(len(labels))], scores, np.array(labels))


def kinds(found, *, epoch=4, steps=200, last=False):
    return [warning.kind for warning in of_validation(found, NAMES, epoch, steps, last=last)]


LABELS = np.arange(80) % 8


def test_one_class_for_most_videos():
    predicted = np.where(np.arange(80) < 60, 3, LABELS)
    (found,) = of_validation(result(LABELS, predicted), NAMES, 2, 100, last=False)
    assert (found.kind, found.epoch) == ("one-class", 2)
    assert "the net predicts 'class3' for 62 of 80 validation videos (10 are of this class)" in found.message


def test_one_class_is_no_warning_too_early_or_if_most_videos_are_of_it():
    all_of_one = result(LABELS, np.full(80, 3))
    assert kinds(all_of_one, epoch=1) == []
    assert kinds(all_of_one, epoch=2, steps=99) == []
    assert kinds(all_of_one, epoch=2, steps=99, last=True) == ["one-class"]  # and not the same advice once more
    assert kinds(all_of_one, epoch=9, steps=900) == ["one-class"]
    assert kinds(all_of_one, epoch=0, steps=100, last=True) == ["one-class"]  # a short run of many videos
    assert kinds(all_of_one, epoch=1, steps=99, last=True) == []
    labels = np.array([0] * 70 + [1] * 10)
    assert kinds(result(labels, np.array([0] * 72 + [1] * 8))) == []
    assert "one-class" in kinds(result(labels, np.zeros(80, int)))  # 87.5 % right, and useless
    assert kinds(result(np.array([0] * 4 + [1] * 4), np.zeros(8, int))) == []  # too few videos to say so
    assert kinds(result(np.zeros(20, int), np.zeros(20, int))) == []  # a list with a single class


def test_accuracy_at_chance_depends_on_the_number_of_videos():
    rng = np.random.default_rng(0)
    assert kinds(result(LABELS, rng.integers(0, 8, 80))) == ["chance"]
    some_right = np.where(np.arange(80) % 4 == 0, LABELS, (LABELS + 1) % 8)
    assert kinds(result(LABELS, some_right)) == []
    assert kinds(result(LABELS[:12], some_right[:12])) == ["chance"]  # as many right, of 12 videos
    assert kinds(result(LABELS, rng.integers(0, 8, 80)), epoch=3) == []
    assert kinds(result(LABELS, rng.integers(0, 8, 80)), epoch=3, last=True) == ["chance"]


@pytest.mark.parametrize(("sure", "warned"), [(10.0, False), (30.0, True), (np.nan, True)])
def test_a_validation_loss_that_explodes(sure, warned):
    found = list(of_validation(result(LABELS, (LABELS + 1) % 8, sure=sure), NAMES, 0, 5, last=False))
    assert [warning.kind for warning in found] == ["validation-loss"] * warned
    if sure == 30:
        assert found[0].message.startswith("the validation loss of epoch 1 is 30, 14.4 times that of a net that gives")


def test_several_labels_have_no_predictions_to_judge():
    labels = np.eye(8, dtype=bool)[LABELS]
    assert kinds(Result([str(i) for i in range(80)], np.zeros((80, 8), np.float32), labels)) == []


@pytest.fixture
def noise(tmp_path) -> Data:
    """Two classes of noise: nothing can be learned. The third class has a single video, and two videos are copies."""
    root, rng = tmp_path / "noise", np.random.default_rng(1)
    for part, number in (("train", 17), ("val", 24)):
        lines = []
        for i in range(number):
            folder = write_folder(root / f"frames/{part}{i}", 6, rng, bright=False)
            lines.append(f"frames/{folder.name} 1 6 {2 if (part, i) == ('train', 16) else i % 2}\n")
        (root / f"{part}.txt").write_text("".join(lines))
    for i in (3, 5):
        shutil.rmtree(root / f"frames/val{i}")
        shutil.copytree(root / f"frames/train{i}", root / f"frames/val{i}")
    train, val = (read_list(root / f"{part}.txt") for part in ("train", "val"))
    return Data(train, build_index(train), val, build_index(val), ["turn left", "turn right", "rare"])


def test_a_run_warns_once_and_logs_it(noise, tmp_path):
    trained, reporter = run(tmp_path / "run", noise, tiny(epochs=6, lr=1e-6))
    shown = [warning.kind for warning in reporter.warnings]
    assert shown[:3] == ["few-videos", "copies", "directions"]
    assert {"one-class", "chance"} & set(shown)
    assert len(shown) == len(set(shown))
    assert list(trained.warnings) == reporter.warnings
    logged = [json.loads(line) for line in (tmp_path / "run/warnings.jsonl").read_text().splitlines()]
    assert logged == [vars(warning) for warning in reporter.warnings]
    few, copies, directions = (warning.message for warning in reporter.warnings[:3])
    assert few.startswith("1 class has fewer than 5 training videos ('rare' 1): a net hardly learns it")
    assert "2 validation videos have the same content as training videos under another name, such as" in copies
    assert copies.split("such as ")[1].startswith(f"{noise.val[3].path} and {noise.train[3].path}")
    assert "'turn left', 'turn right'" in directions
    assert "are mirrored and keep their labels; pass a `flip_map`" in directions


def test_a_resumed_run_has_the_same_warnings(noise, tmp_path):
    def stop(step):
        if step == 18:
            os.kill(os.getpid(), signal.SIGINT)

    whole, _ = run(tmp_path / "whole", noise, tiny(epochs=6, lr=1e-6))
    first, before = run(tmp_path / "run", noise, tiny(epochs=6, lr=1e-6), reporter=Notes(stop))
    assert first.interrupted
    second, after = run(tmp_path / "run", noise, tiny(epochs=6, lr=1e-6), resume=True)
    assert second.warnings == whole.warnings
    assert before.warnings + after.warnings == list(whole.warnings)
    assert (tmp_path / "run/warnings.jsonl").read_text() == (tmp_path / "whole/warnings.jsonl").read_text()
    assert (second.best_epoch, second.best_loss, second.tied) == (whole.best_epoch, whole.best_loss, whole.tied)


def test_a_new_run_in_the_folder_forgets_old_warnings(noise, dataset, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        run(
            tmp_path / "run", noise, tiny(batch_size=64, run_options={"early_stopping": 1}, epochs=1, freeze_until="no")
        )
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/warnings.jsonl").write_text("{}\n")
    run(tmp_path / "run", data_of(dataset), tiny())
    assert not (tmp_path / "run/warnings.jsonl").exists()


def test_copies_in_the_training_list(noise, tmp_path):
    def message(*labels):
        """The warning if the first video has copies with these labels."""
        first = noise.train[0]
        paths = [str(tmp_path / f"copy{i}") for i in range(len(labels))]
        for path in paths:
            shutil.copytree(first.path, path, dirs_exist_ok=True)
        rows = [first._replace(id=f"c{i}", path=path, labels=(labels[i],)) for i, path in enumerate(paths)]
        train = [*noise.train, *rows]
        data = Data(train, build_index(train), None, None, noise.classes)
        return {warning.kind: warning.message for warning in of_data(data, {}, flips=False)}.get("copies")

    first = noise.train[0].id
    assert message() is None
    assert message(0, 0) == (
        f"2 training videos have the same content and labels as other training videos, such as c0 and {first}: "
        "training draws this content more often; remove these rows from the training list unless you repeat videos on "
        "purpose"
    )
    pair = f"{first} ('turn left') and"
    assert message(1, 2, 1, 1, 0) == (
        f"5 training videos have the same content as training videos with other labels: {pair} c0 ('turn right'); "
        f"{pair} c1 ('rare'); {pair} c2 ('turn right'); ...: decide which label is right, and remove the other row "
        "from the training list"
    )
    differ, same = message(0, 1).split(". Also, ")
    assert differ.startswith(f"1 training video has the same content as training videos with other labels: {pair} c1")
    assert same.startswith("1 training video has the same content and labels as other training videos, such as c0")


def test_videos_of_both_lists(noise):
    val = [*list(noise.val)[:3], noise.train[0]]
    both = Data(noise.train, noise.train_index, val, build_index(val), noise.classes)
    found = {warning.kind: warning.message for warning in of_data(both, {}, flips=False)}
    assert found.keys() == {"few-videos", "shared-videos"}
    assert found["shared-videos"].startswith(
        f"1 of 4 validation videos is also in the training list, such as {val[3].id}"
    )
