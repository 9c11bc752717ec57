"""The page docs/reproduce.md, and the checkpoints of protocols."""

from __future__ import annotations

import shlex
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from actrec import nets
from actrec.cli.main import actrec
from actrec.config import Scoring
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.inference import model
from actrec.inference.protocols import Chosen, choose
from actrec.nets import NETS
from actrec.nets.recognize import Guess
from actrec.report import reproduce

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reproduce.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == reproduce.markdown(), "run `make nets`"


def test_the_eight_checkpoints_of_ibm_come_first():
    first = reproduce.checkpoints()[:8]
    assert {each.published.protocol for each in first} == {"ibm_k400", "ibm_ssv2"}
    assert first[1].published.file == "K400-I3D-ResNet-50-f32.pth.tar"
    assert first[1].command == (
        "actrec evaluate --weights K400-I3D-ResNet-50-f32.pth.tar --backbone i3d_resnet50 "
        "--no-temporal-stride --list val.txt --protocol ibm_k400"
    )


@pytest.mark.parametrize("each", reproduce.checkpoints(), ids=lambda each: f"{each.net}-{each.published.protocol}")
def test_a_checkpoint_fits_its_protocol(each):
    row, protocol = each.published, PROTOCOLS[each.published.protocol]
    assert row.layout in NETS.get(each.net).weights
    assert row.dataset == protocol.dataset
    assert row.frames == protocol.clip_frames
    assert row.size == protocol.crop
    clips, crops = protocol.clips, protocol.crops
    assert row.views in (
        {f"{clips}x{crops}", "1 clip"} if clips == crops == 1 else {f"{clips}x{crops}", f"{clips} clips"}
    )
    assert set(row.options) <= set(NETS.get(each.net).options)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Runs a printed command up to the loading of the net. Returns the arguments of `actrec.load`."""
    monkeypatch.chdir(tmp_path)
    Path("val.txt").write_text("a.mp4 0\n", encoding="utf-8")

    def run(command: str) -> tuple[Path, dict]:
        monkeypatch.setattr(model, "load", Mock(side_effect=Reached))
        first, *words = shlex.split(command)
        assert first == "actrec"
        with pytest.raises(Reached):
            CliRunner().invoke(actrec, words, catch_exceptions=False)
        (path,), options = model.load.call_args
        return path, options

    return run


class Reached(Exception):
    pass


@pytest.mark.parametrize("each", reproduce.checkpoints(), ids=lambda each: f"{each.net}-{each.published.protocol}")
def test_a_printed_command_evaluates_as_published(each, loaded):
    """It gives the net what it needs, the net takes the clips of the protocol, and no option contradicts it. Without
    `--protocol`, the file gets the same protocol if it was published with one only."""
    row, protocol = each.published, PROTOCOLS[each.published.protocol]
    path, given = loaded(each.command)
    assert str(path) == (row.file or "FILE")
    classes = {"Kinetics-400": 400, "Kinetics-600": 600}.get(row.dataset, 174)
    shown = {name: row.options[name] for form in NETS.get(each.net).forms for name in form if name in row.options}
    guess = Guess(each.net, row.layout, shown, classes, 3)

    def chosen(scoring: Scoring) -> Chosen:
        parts = {name: given[name] for name in ("clip", "views", "frame")}
        return choose(path, guess, frames_in_name=None, scoring=scoring, **parts)

    assert chosen(given["scoring"]).protocol == protocol
    same = [other.protocol for other in NETS.get(each.net).published if row.file and other.file == row.file]
    same = [name for name in same if PROTOCOLS[name].dataset == row.dataset]
    if row.file:
        assert chosen(Scoring()).protocol == (protocol if len(same) == 1 else None)
    options = given["net"].options | nets.clip_options(each.net, frames=row.frames, size=given["frame"].size)
    assert options.items() >= row.options.items()
    assert nets.outline(each.net, num_classes=classes, **options).min_frames <= row.frames


def test_a_file_of_a_common_name_is_known_by_its_folder():
    folder = "videomae-base-finetuned-kinetics"
    (found,) = reproduce.published_file(Path("zoo", folder, "model.safetensors"), "videomae_b", 400)
    assert found.published.top1 == 81.5
    assert f"--weights {folder}/model.safetensors --backbone videomae_b " in found.command
    for other in (Path("zoo", "model.safetensors"), Path("zoo", folder), Path(folder, "model.safetensors", "a.pt")):
        assert reproduce.published_file(other, "videomae_b", 400) == []
