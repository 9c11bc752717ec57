"""Building blocks of vision transformers."""

from __future__ import annotations

import pytest
import torch

from actrec.nets.transformer import DropPath, drop_paths


def test_drop_path_leaves_out_branches_of_whole_clips():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)
    found = drop(x)
    assert torch.equal(found, found[:, :1, :1].expand_as(x))
    assert set(found.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert found.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(DropPath(0)(x), x)
    assert not DropPath(1)(x).any()
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"drop_path {p}: expected a probability"):
            DropPath(p)


def test_drop_path_grows_with_depth():
    assert drop_paths(0.2, 5) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert drop_paths(0.2, 1) == [0]
