"""What the tests of list files share."""

import os

import pytest

from actrec.data.lists import read_list, write_labels
from actrec.files import ListError

NAMES = ["walk", "run", "shaking hands", "hands", "push; pull", "left, right", "a walk"]


def read(tmp_path, text, *, names=None, root="", file="train.txt"):
    path = tmp_path / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if names:
        write_labels(tmp_path / "labels.txt", names)
    return read_list(path, root=root)


def rows(videos):
    return [(v.path, v.start, v.stop, v.labels) for v in videos]


def message(tmp_path, text, **kwargs):
    with pytest.raises(ListError) as caught:
        read(tmp_path, text, **kwargs)
    return str(caught.value).replace(str(tmp_path) + os.sep, "")
