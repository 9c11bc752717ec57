import json

import pytest

from actrec.config import ShardOptions
from actrec.tools.lists.sample_labels import Stated, members_with_labels, read_labels_of


def read(folder="", *, label="auto", field=None, **members):
    content = {suffix: one if isinstance(one, bytes) else json.dumps(one).encode() for suffix, one in members.items()}
    return read_labels_of(content, folder, ShardOptions(label=label, field=field))


@pytest.mark.parametrize(
    ("members", "stated"),
    [
        ({}, None),
        ({"cls": b"3"}, Stated((3,))),
        ({"cls": b"\xef\xbb\xbf 3.0\r\n"}, Stated((3,))),
        ({"cls": b"shake hands\n"}, Stated(None, ("shake hands",))),
        ({"cls": b""}, None),
        ({"json": {"label": 3, "text": "a cat"}}, Stated((3,))),
        ({"json": {"Class": "run", "label_id": 7}}, Stated((7,), ("run",))),
        ({"json": {"labels": [1, 2]}}, Stated((1, 2))),
        ({"json": {"classes": ["a", "b"], "label": [4, 0]}}, Stated((4, 0), ("a", "b"))),
        ({"json": {"label": []}}, Stated((), ())),
        ({"json": {"label": None, "width": 3}}, None),
        ({"json": {"label": {"id": 3}, "target": [{"x": 1}]}}, None),
        ({"json": 5}, Stated((5,))),
        ({"cls": b"2", "json": {"class_name": "walk"}}, Stated((2,), ("walk",))),
    ],
)
def test_labels(members, stated):
    assert read(**members) == stated


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"cls": b"1", "json": {"label": 2}},
            r"contradicting labels: .cls is '1', 'label' of .json is '2'; choose one with --label or",
        ),
        ({"json": {"label": "a", "category": "b"}}, "'label' of .json is 'a', 'category' of .json is 'b'"),
        ({"json": {"label": [1, 2], "class_name": "a"}}, "is '1, 2' and 'class_name' of .json is 'a'"),
        ({"cls": b"1", "json": {"labels": []}}, "another field is empty"),
        ({"json": {"label": [1, "a"]}}, "holds numbers and names"),
        ({"json": {"label": [0, 0, 1]}}, "names a class twice"),
        ({"json": {"label": -1}}, "label -1: expected 0 or more"),
        ({"json": {"label": True}}, "is 'true': expected a number or the name of a class"),
        ({"json": {"label": 1.5}}, "expected a whole number"),
        ({"json": {"label": "a\nb"}}, "contains a line break"),
        ({"json": b"{"}, "is not JSON"),
        ({"cls": b"\xff"}, "is not UTF-8"),
    ],
)
def test_no_labels(members, words):
    with pytest.raises(ValueError, match=words):
        read(**members)


def test_where_labels_are():
    suffixes = ["mp4", "cls", "json", "txt", "left.CLS"]
    for label, wanted in {"auto": ["cls", "json", "left.CLS"], "txt": ["txt"], "json": ["json"], "folder": []}.items():
        assert members_with_labels(suffixes, ShardOptions(label=label)) == wanted
    assert read("part/walk", label="folder") == Stated(None, ("walk",))
    assert read("", label="folder") is None
    data = {"meta": {"action": {"id": 4}}, "label": 1}
    assert read(json=data, field="meta.action.id") == Stated((4,))
    assert read(json=data, field="meta.none") is None
