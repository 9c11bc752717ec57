"""A run of commit 23e24aa is evaluated, used as weights, and continued as that version would have done."""

from __future__ import annotations

import json
import shutil
from importlib import util
from pathlib import Path

import numpy as np
import pytest

import actrec
from actrec import config
from actrec.cli.main import main
from actrec.engine import checkpoint, runlog
from actrec.engine.stored import current_options
from actrec.report import runs

STORED = Path(__file__).parent / "data"
DEFAULTS = ("--optimizer", "sgd", "--norm-decay", "--warmup", "0")  # of commit 23e24aa
_spec = util.spec_from_file_location("make", STORED / "make.py")
make = util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads((STORED / "expected.json").read_text())


@pytest.fixture
def stored(tmp_path) -> Path:
    """A dataset folder with the old run `run`."""
    make.write_dataset(tmp_path)
    shutil.copytree(STORED / "stored_run", tmp_path / "run")
    return tmp_path


def call(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0


def assert_trained(run: Path, expected: dict) -> None:
    """Losses and weights equal those of the old version. Another processor may round the last bits differently."""
    exact = {"rel": 0, "abs": 1e-8}
    assert [row["loss"] for row in runlog.read(run, runlog.STEPS)] == pytest.approx(expected["losses"], **exact)
    weights = checkpoint.load(run / "last.pt")["state_dict"]
    assert {key: float(value.double().norm()) for key, value in weights.items()} == pytest.approx(
        expected["norms"], **exact
    )
    val_losses = [row["val_loss"] for row in runlog.read(run)]
    assert val_losses == pytest.approx(expected["val_losses"], abs=1e-6)  # of float32 scores


def test_evaluate(stored, expected):
    out = stored / "scores.npz"
    call("evaluate", "--data", stored, "--checkpoint", stored / "run/last.pt", "--out", out, "--device", "cpu")
    with np.load(out) as scores:
        assert scores["ids"].tolist() == expected["ids"]
        assert scores["scores"] == pytest.approx(np.array(expected["scores"]), abs=1e-6)


def test_weights(stored, expected):
    run = stored / "started"
    (stored / "flips.txt").touch()  # mirror all classes, as that version did, although one is called "right"
    call("train", "--data", stored, "--run", run, "--weights", stored / "run/last.pt", *make.OPTIONS, *DEFAULTS)
    assert_trained(run, expected["started"])


def test_resume(stored, expected, capsys):
    call("train", "--data", stored, "--run", stored / "run", "--resume", *make.OPTIONS)
    assert "epoch 2, step 3" in capsys.readouterr().out
    assert_trained(stored / "run", expected["resumed"])


def test_resume_names_a_changed_option_as_it_is_called_today(stored, capsys):
    options = [option.replace("center", "random") for option in make.OPTIONS]
    options[options.index("--geometry") + 1] = "multiscale"
    with pytest.raises(SystemExit) as stop:
        main(["train", "--data", str(stored), "--run", str(stored / "run"), "--resume", *options])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "--geometry center (now --geometry multiscale)" in error
    assert "--clip-position center (now --clip-position random)" in error
    assert "colo" not in error
    assert "layout" not in error


def test_every_stored_option_is_known(stored):
    """Nothing of the old configuration is lost: each of its keys is a field of today's dataclasses, or was removed."""
    content = json.loads((STORED / "stored_run/config.json").read_text())
    current = runlog.read_config(stored / "run")
    for section, values in current.items():
        kind = actrec.Augment if section == "augment" else getattr(config, section.capitalize())
        assert set(values) <= set(kind.__dataclass_fields__), section
        assert len(values) == len(content[section]) - (section == "input")
        kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    assert current["augment"]["geometry"] == current["augment"]["clip_position"] == "center"


def test_values_are_kept():
    old = {"augment": {"colour_jitter": [0.4, 0.4, 0.4, 0.1], "geometry": "jitter"}, "net": {"name": "centre"}}
    assert current_options(old) == {
        "augment": {"color_jitter": [0.4, 0.4, 0.4, 0.1], "geometry": "jitter"}, "net": {"name": "centre"},
    }  # fmt: skip
    assert "colour_jitter" in old["augment"]  # the argument is not changed


def test_an_old_and_a_new_run_do_not_differ_in_names(stored):
    shutil.copytree(stored / "run", stored / "new")
    content = json.dumps(runlog.read_config(stored / "run"))
    (stored / "new/config.json").write_text(content)
    assert runs.differences(runs.read(stored / "run"), runs.read(stored / "new")) == []
