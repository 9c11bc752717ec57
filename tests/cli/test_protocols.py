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
    assert lines[1 + len(PROTOCOLS)].startswith("-: actrec knows no weights file that it can read")
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


def test_every_protocol_is_explained_in_sentences(tmp_path):
    for name, row in PROTOCOLS.items():
        result = run(name)
        assert result.exit_code == 0
        said = {line.partition(": ")[0]: line for line in result.output.splitlines()}
        for key, rule in (("frames", row.sampling), ("crops", row.crop_rule)):
            assert said[key].endswith("."), name
            assert "_" not in rule or rule.replace("_", " ") not in said[key], name
        assert ("SlowFast nets" in said) == (row.slow_path is not None)
    assert "weights: none, actrec knows no weights file that it can read" in run("mmaction2_4x16x10").output
    slow = "the slow path gets as many of them as the name of the net says (4x16: 4 frames, 8x8: 8, 16x8: 16)"
    assert f"32x2 are the frames of the fast path; {slow}" in run("pyslowfast_k400_32x2").output
    run("ibm_k400", "--json", tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text())["crop_rule"] == "quarters"


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
