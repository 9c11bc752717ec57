"""Whatever a file contains: it is read, or one error names it. Nothing else happens, however the file is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fuzz.readers import CORPUS, READERS, check
from hypothesis import given
from hypothesis import strategies as st

KEPT = sorted(path for path in CORPUS.glob("*/*"))
BINARY = {name: reader for name, reader in READERS.items() if b"\0" in reader.valid}
JSON = [name for name, reader in READERS.items() if reader.valid[:1] in (b"{", b"[")]
TEXT = [name for name in READERS if name not in BINARY]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_failed_once(path, tmp_path):
    check(path.parent.name, path.read_bytes(), tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_the_valid_files_are_read(name, tmp_path):
    folder = tmp_path / "runs" / name
    check(name, READERS[name].valid, tmp_path)
    READERS[name].read(folder / READERS[name].file)


@st.composite
def damaged(draw, valid: bytes) -> bytes:
    """A content with some bytes changed, cut out, repeated or put in."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        place, kind = draw(st.integers(0, len(data))), draw(st.integers(0, 4))
        length = draw(st.integers(1, 16))
        if kind == 0:
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length] * draw(st.integers(1, 40))
        elif kind == 3:
            data[place:place] = draw(st.sampled_from(PIECES))
        else:
            del data[place:]
    return bytes(data)


PIECES = [
    b"\0", b"\n", b"\r\n", b"\t", b";", b",", b" ", b'"', b"'", b"#", b"# ", b"-", b"-1", b"0", b"1e999", b"NaN",
    b"9" * 20, b"9" * 5000, b"true", b"null", b"[" * 2000, b'{"a":' * 2000, b"\xff", b"\xef\xbb\xbf", b"\xff\xfe",
    "\u2028é".encode(), "\U0001f600".encode(), b"\xed\xa0\x80", b"s", b"1.5s", b"/", b"..", b"x" * 9000, b"\\u0000",
    b"\\ud800", b"{}", b"[]", b"\x1b[31m", b"\x85", b"\x0b", b"\x1c",
]  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_damaged_files(name, data, tmp_path):
    check(name, data.draw(damaged(READERS[name].valid)), tmp_path)


@pytest.mark.parametrize("name", TEXT)
@given(content=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_content(name, content, tmp_path):
    check(name, content, tmp_path)


LINES = st.lists(
    st.lists(
        st.sampled_from(
            ["a", "b.mp4", "é", "x y", "0", "1", "30", "-1", "2.5s", "9" * 12, "-", "#", "run", "wave hands", "train",
             "val", "3,7", '"', "", "1.0", "nan", "path", "label", "\u3000", "\x1b", "{", "[1]"]
        ) | st.text(max_size=3),
        max_size=6,
    ),
    max_size=6,
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TEXT if name not in JSON])
@given(lines=LINES, separator=st.sampled_from([" ", ",", ";", "\t", "  ", ", "]), end=st.sampled_from(["\n", "\r\n"]))
def test_lines_of_columns(name, lines, separator, end, tmp_path):
    text = "".join(separator.join(cells) + end for cells in lines)
    check(name, text.encode("utf-8", "surrogatepass"), tmp_path)


LEAVES = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5)
    | st.sampled_from([10**400, -1, 0, 2**31, "train", "run", "s3d", ""])
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed(draw, value: object) -> object:
    """A JSON value of which some part is another one, or gone."""
    if draw(st.integers(0, 3)) == 0 or not isinstance(value, (dict, list)) or not value:
        return draw(VALUES)
    if isinstance(value, list):
        place = draw(st.integers(0, len(value) - 1))
        return [draw(changed(one)) if i == place else one for i, one in enumerate(value)]
    key = draw(st.sampled_from(list(value)))
    if draw(st.integers(0, 5)) == 0:
        return {other: one for other, one in value.items() if other != key}
    return {other: draw(changed(one)) if other == key else one for other, one in value.items()}


@pytest.mark.parametrize("name", JSON)
@given(data=st.data())
def test_json_with_other_values(name, data, tmp_path):
    lines = [json.loads(line) for line in READERS[name].valid.splitlines()]
    value = data.draw(changed(data.draw(st.sampled_from(lines))))
    check(name, json.dumps(value).encode("utf-8", "surrogatepass"), tmp_path)


def test_the_corpus_names_readers():
    assert {path.parent.name for path in KEPT} <= set(READERS)
    assert all(isinstance(path, Path) for path in KEPT)
