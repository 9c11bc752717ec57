"""A damaged or crafted record in DST: one line, and nothing is written outside the folder of the results."""

from __future__ import annotations

import json

import pytest
from frame_extraction import make_video

from actrec.config import ExtractOptions
from actrec.tools.make.extract_frames import extract_frames

NAMES = ("a/0.mp4", "a/1.mp4")


@pytest.mark.parametrize(
    "change",
    [
        {"videos": {name: f"../../outside/{name}" for name in NAMES}},
        {"videos": {name: f"a/../../../outside/{name}" for name in NAMES}},
        {"videos": dict.fromkeys(NAMES, "a/0")},
        {"videos": {"a/0.mp4": 3}},
        {"videos": {"a/0.mp4": ""}},
        {"videos": ["a/0.mp4"]},
        {"lists": {"train.txt": 3}},
        {"lists": {"train.txt": [3]}},
        {"options": [1]},
        {"options": None},
    ],
)
def test_records_with_other_values(tmp_path, change):
    for number, name in enumerate(NAMES):
        make_video(tmp_path / "src" / name, width=64, height=48, frames=4 + number)
    extract_frames(tmp_path / "src", tmp_path / "dst", ExtractOptions(short_side=32))
    record = tmp_path / "dst" / ".extract_frames.json"
    content = json.loads(record.read_text()) | change
    for text in (json.dumps(content), json.dumps(content)[:-9], "[" * 100_000):
        record.write_text(text)
        with pytest.raises(ValueError, match=r"\.extract_frames\.json is damaged: .* to start over, remove it and "):
            extract_frames(tmp_path / "src", tmp_path / "dst", ExtractOptions(short_side=32))
    absolute = {name: str(tmp_path / "outside" / name) for name in NAMES}
    record.write_text(json.dumps(content | {"videos": absolute}))
    with pytest.raises(ValueError, match="is damaged"):
        extract_frames(tmp_path / "src", tmp_path / "dst", ExtractOptions(short_side=32))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dst", "src"]
