"""`actrec protocols`"""

from __future__ import annotations

import json
import subprocess
import sys

from click.testing import CliRunner

from actrec.cli.main import actrec
from actrec.data.sampling.protocols import PROTOCOLS
from actrec.report import reproduce


def run(*arguments):
    return CliRunner().invoke(actrec, ["protocols", *map(str, arguments)])


def test_the_list_has_a_line_per_protocol(tmp_path):
    result = run("--json", tmp_path / "all.json")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(PROTOCOLS)]] == list(PROTOCOLS)
    line = next(line for line in lines if line.startswith("torchvision_r3d_18 "))
    assert line.split()[1:] == ["16", "5x1", "112x112", "probabilities", "mc3_18,", "r2plus1d_18,", "r3d_18"]
    stored = json.loads((tmp_path / "all.json").read_text())
    assert [row["name"] for row in stored] == list(PROTOCOLS)


def test_one_protocol(tmp_path):
    result = run("ibm_k400", "--json", tmp_path / "one.json")
    assert result.exit_code == 0
    assert "Pillow's antialiased bilinear filter" in result.output
    assert "actrec evaluate --weights K400-I3D-ResNet-50-f32.pth.tar --backbone i3d_resnet50" in result.output
    stored = json.loads((tmp_path / "one.json").read_text())
    assert (stored["clips"], stored["crops"], stored["clip_frames"], stored["stride"]) == (10, 3, 32, 2)
    assert {each["net"] for each in stored["checkpoints"]} == {
        "i3d_resnet50", "i3d_resnet101", "tam_resnet50", "tam_resnet101",
    }  # fmt: skip


def test_every_protocol_can_be_shown():
    for name in PROTOCOLS:
        assert run(name).exit_code == 0


def test_a_mistyped_name():
    result = run("ibm_k40")
    assert result.exit_code == 1
    assert "protocol ibm_k40 is not known: did you mean ibm_k400" in str(result.exception or result.output)


def test_markdown_is_the_page():
    assert run("--markdown").output == reproduce.markdown()
    assert run("ibm_k400", "--markdown").exit_code == 2


def test_nothing_large_is_imported():
    code = "import sys; from actrec.cli.main import actrec; actrec(['protocols', 'ibm_k400'], standalone_mode=False); "
    code += "print(sorted({'torch', 'av', 'cv2', 'nvidia'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
