"""The stored table of nets, and that it spares loading torch and building nets."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from actrec import nets
from actrec.known_nets import TABLE, known_nets
from actrec.nets import NETS, catalog
from actrec.nets.recognize import recognize


def test_the_table_is_up_to_date():
    assert TABLE.read_text(encoding="utf-8") == catalog.table(catalog.facts()), "make nets"


def test_reading_the_table_gives_what_was_measured():
    known = known_nets()
    assert known.families == tuple(catalog.families())
    assert known.nets["s3d"] == catalog.describe(nets.outline("s3d"))
    assert known.nets["c3d"] == catalog.describe(nets.outline("c3d"))


def test_patterns_of_names():
    assert catalog.pattern_of("layer2.10.conv1.weight") == "layer#.#.conv#.weight"
    assert catalog.sums({"a.1.weight": torch.zeros(2, 3, 4, 5, 6), "a.22.weight": torch.zeros(7)}) == {
        "a.#.weight": (2, 727, 187)
    }


@pytest.mark.parametrize("name", ["c3d", "tam_resnet18", "resnet3d_10"])
def test_forms_are_stored_by_their_differences(name):
    options = [{}, *NETS.get(name).forms]
    assert known_nets().forms[name] == tuple(catalog.form(nets.outline(name, **chosen), chosen) for chosen in options)


def test_only_nets_that_can_fit_are_built(tmp_path, monkeypatch):
    torch.save(nets.net("c3d", num_classes=2).state_dict(), tmp_path / "c3d.pt")
    built, outline = set(), nets.outline
    monkeypatch.setattr(nets, "outline", lambda name, **options: (built.add(name), outline(name, **options))[1])
    assert [guess.net for guess in recognize(tmp_path / "c3d.pt").guesses] == ["c3d"]
    assert "c3d" in built
    assert len(built) < len(NETS.names()) / 10


LOADED = "import atexit, sys\natexit.register(lambda: print([name for name in NAMES if name in sys.modules]))\n"


@pytest.mark.parametrize(
    "arguments", [["nets"], ["nets", "s3d"], ["nets", "--benchmark"], ["nets", "i3d", "--benchmark"], ["nets", "nope"]]
)
def test_the_command_does_not_load_torch(arguments):
    code = LOADED.replace("NAMES", "('torch', 'numpy', 'av', 'cv2')") + "from actrec.cli.main import main\n"
    done = subprocess.run([sys.executable, "-c", f"{code}main({arguments!r})"], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.returncode == ("nope" in arguments)


def test_an_outline_does_not_load_the_compiler_of_torch():
    code = LOADED.replace("NAMES", "('torch._dynamo', 'sympy')") + "from actrec import nets\n"
    code += "for name in ('i3d', 'videomae_s', 'vjepa2_s', 'swin3d_t', 'mvit_v2_s'):\n"
    code += "    assert next(nets.outline(name, num_classes=2).parameters()).is_meta\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_stored_table_is_json_with_a_line_for_each_net():
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith('"s3d": {"name": "s3d"') for line in lines) == 1
    assert list(json.loads("\n".join(lines))) == ["families", "nets", "forms", "mini_benchmark"]
