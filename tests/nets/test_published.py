"""The published mini benchmark, and the page of all nets."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import torch

from actrec import config, nets
from actrec.known_nets import known_nets
from actrec.nets import INPUT_OPTIONS, NETS, catalog, page, published
from actrec.nets.matching import READERS
from actrec.nets.profile import profile

PAGE = Path(__file__).parents[2] / "docs/nets.md"


def test_every_published_row_is_reproduced_exactly():
    """The stored costs are those that were measured: test_catalog.py."""
    rows = [dataclasses.asdict(row) for row in published.rows()]
    assert len(rows) == 288
    assert known_nets().mini_benchmark == rows


def test_seven_rows_are_of_an_older_i3d():
    rows = published.rows()
    older = [row for row in rows if "last_pool" in row.options]
    assert len(older) == len(published.OLDER_I3D) == 7
    assert {row.options["temporal_stride"] for row in older} == {False}
    for row in older[:2]:
        now = dataclasses.replace(row, options={"temporal_stride": False})
        assert published.measured(now).flops - row.flops == 232_967_168


def test_a_row_is_measured_with_its_own_classes():
    row = next(row for row in published.rows() if row.net == "tam_resnet18" and row.frames == 8)
    with torch.device("meta"):
        net = nets.net(row.net, num_classes=row.num_classes, **row.options)
    assert published.measured(row) == profile(net, frames=8, size=224)


def test_families_hold_every_net_once():
    families = catalog.families()
    assert Counter(name for family in families for name in family.names) == Counter(NETS.names())
    labels = [family.label for family in families]
    assert "resnet3d_{10,18,34,50,101,152,200}" in labels
    assert {"i3d", "c3d", "tsn_inception_v1", "r2plus1d_34_mmaction2"} < set(labels)


def test_every_layout_and_every_option_is_explained():
    assert list(page.LAYOUT_HELP) == list(READERS)
    taken = {option for name in NETS for option in NETS.get(name).options}
    own = {field.name for field in dataclasses.fields(config.Net)} - {"backbone"}
    assert taken == own | set(INPUT_OPTIONS) == set(page.OPTION_HELP) - {"backbone"}


def test_the_page_of_nets_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page.markdown(), "make nets"
