"""The page docs/reproduce.md, and the checkpoints of protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

from actrec.data.sampling.protocols import PROTOCOLS
from actrec.nets import NETS
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
