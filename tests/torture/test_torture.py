"""The short form of `make torture`, and whether each of its columns can be reached at all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torture import media, reader, scenarios, sweep
from torture.launch import TESTS, Ended, Launcher
from torture.ledger import FAILURES, Ledger

ENDED = Ended(code=0, out="", err="", seconds=1.0, hung=False, orphans=0)
GOOD = media.Case("good.mkv", lambda path: media.video(path), range(media.NUM_FRAMES))
EVERY = sweep.SWEEPS["extract-frames"]


def test_the_short_form_finds_no_failure():
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "torture", "--short"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout[-5000:]
    columns, *_, total, _ = [line for line in ended.stdout.splitlines() if line and not line.startswith("skipped: ")]
    assert columns.split()[0] == "tried"
    assert total.startswith("total ")


def test_the_evidence_exists():
    page = (TESTS.parent / "docs/reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]*test_\w+\.py)`", page))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (TESTS / name).is_file()] == []


def test_pictures_tell_their_number_and_orientation():
    for number in (0, 1, 100, 255):
        upright = media.picture(number)
        assert media.number_of(upright) == number
        assert media.number_of(cv2.resize(upright, (210, 140))) == number
        for turned in (np.rot90(upright), np.rot90(upright, 2), np.flipud(upright)):
            assert media.number_of(turned) != number
    assert media.number_of(np.fliplr(media.picture(1))) == 128


def test_a_net_sees_the_numbers_of_its_frames():
    numbers = [3, 9, 27, 81, 243, 0, 255, 128]
    clip = torch.from_numpy(np.stack([media.picture(number)[4:60, 20:76] for number in numbers])) / 255
    scores = reader.reader(reader.CLASSES)(clip.permute(3, 0, 1, 2)[None])[0]
    assert reader.numbers_of(scores) == numbers


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> sweep.Source:
    path = tmp_path_factory.mktemp("good") / GOOD.name
    GOOD.write(path)
    return sweep.Source(GOOD, path)


def test_wrong_frames_are_noticed(good):
    frames = [media.picture(number) for number in range(media.NUM_FRAMES)]
    assert good.shows(frames)
    assert not good.shows(frames[:-1])
    assert not good.shows([*frames[:5], frames[6], frames[5], *frames[7:]])
    decoded = replace(good, case=replace(GOOD, frames="decode"))
    assert decoded.shows(frames)
    assert not decoded.shows(frames[12:] + frames[:12])


@pytest.mark.parametrize(
    ("frames", "right", "named", "column"),
    [
        (range(24), True, False, "right"),
        (range(24), False, False, "wrong silently"),
        (range(24), None, True, "refused"),
        (range(24), None, False, "wrong silently"),
        (None, True, False, "wrong silently"),
        (None, None, True, "named"),
        (None, None, False, "wrong silently"),
        ("decode", None, True, "named"),
        ("decode", True, True, "right"),
    ],
)
def test_the_column_of_a_file(good, frames, right, named, column):
    source = replace(good, case=replace(GOOD, frames=frames))
    assert sweep.column_of(source, (right, named), EVERY) == column


def test_disasters_are_noticed():
    ledger = Ledger()
    assert ledger.disaster(ENDED) is None
    assert ledger.disaster(replace(ENDED, hung=True, code=-9)) == "hang"
    assert ledger.disaster(replace(ENDED, code=-11)) == "crash"
    assert ledger.disaster(replace(ENDED, code=1, err="Traceback (most recent call last)\n")) == "traceback"
    for column in FAILURES:
        ledger.add("section", column)
    assert len(ledger.failures) == ledger.total == len(FAILURES)
    assert all(column in ledger.table()[0] for column in FAILURES)


def test_processes_have_codes_limits_and_ends(tmp_path):
    with Launcher() as launcher:
        ended = launcher.run(["nets"], tmp_path)
        assert (ended.code, ended.hung, ended.orphans) == (0, False, 0)
        assert "s3d" in ended.out
        ended = launcher.run(["index", "no.txt"], tmp_path)
        assert ended.code == 2 or ended.code == 1
        assert scenarios.is_one_line(ended)
        running = launcher.start(["nets"], tmp_path)
        running.kill()
        assert running.end().code == -9
        assert launcher.run(["nets"], tmp_path, limit=0.0).hung
        assert launcher.run(["nets"], tmp_path, limits={"RLIMIT_CPU": 0}).code < 0


def test_differences_are_noticed(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        torch.save({"w": torch.zeros(3), "seconds": hash(name)}, tmp_path / name / "a.pt")
        (tmp_path / name / "log.jsonl").write_text(json.dumps({"loss": 1, "clips_per_second": len(name)}))
    one, other = (scenarios.snapshot(tmp_path / name) for name in ("one", "other"))
    assert scenarios.differences(one, other) == []
    torch.save({"w": torch.ones(3)}, tmp_path / "other/a.pt")
    (tmp_path / "other/log.jsonl").unlink()
    other = scenarios.snapshot(tmp_path / "other")
    assert scenarios.differences(one, other) == ["a.pt differs", "log.jsonl is not expected"]
    (tmp_path / "one/.actrec-1-x.tmp").touch()
    assert sweep.leftovers(tmp_path) == [tmp_path / "one/.actrec-1-x.tmp"]
