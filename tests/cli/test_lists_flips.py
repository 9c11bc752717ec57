"""`actrec lists flips`, and what training does without flips.txt."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def gestures(tmp_path, monkeypatch):
    (tmp_path / "labels.txt").write_text("wave\nswipe left\nswipe right\nturn left\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_proposes_and_writes(run, gestures):
    shown = ["swipe left <-> swipe right", "turn left: never mirrored"]
    code, out, _ = run("lists", "flips", "--dry-run", "--json", "said.json")
    assert (code, out) == (0, [*shown, "1 pair of mirror images, 1 never mirrored, of 4 classes"])
    assert json.loads((gestures / "said.json").read_text()) == {
        "file": None, "flips": [["swipe left", "swipe right"], ["turn left", "-"]],
    }  # fmt: skip
    assert not (gestures / "flips.txt").exists()
    code, out, _ = run("lists", "flips", gestures)
    assert (code, out[:-1]) == (0, shown)
    assert out[-1].endswith(f"of 4 classes -> {gestures}/flips.txt")
    assert (gestures / "flips.txt").read_text().splitlines()[1:] == ["swipe left\tswipe right", "turn left\t-"]


def test_it_replaces_a_file_only_with_force(run, gestures):
    (gestures / "flips.txt").write_text("mine")
    code, _, err = run("lists", "flips")
    assert (code, err) == (
        1, ["Error: flips.txt exists already: pass --force to replace it, or --dry-run to only print the proposal"],
    )  # fmt: skip
    assert (gestures / "flips.txt").read_text() == "mine"
    assert run("lists", "flips", "--force")[0] == 0
    assert "swipe left\tswipe right" in (gestures / "flips.txt").read_text()


def test_without_directions_nothing_is_written(run, gestures):
    (gestures / "labels.txt").write_text("walk\nrun\n")
    code, out, _ = run("lists", "flips")
    assert (code, out) == (0, ["no name of the 2 classes looks like a mirror image: no flips.txt is needed"])
    assert not (gestures / "flips.txt").exists()


def test_a_folder_without_class_names(run, gestures):
    (gestures / "labels.txt").unlink()
    code, _, err = run("lists", "flips")
    assert code == 1
    assert err == ["Error: .: contains no labels.txt with the names of the classes: expected a dataset folder"]
