import pytest
from click.testing import CliRunner

from actrec.cli.lists_convert import command
from actrec.data.lists.formats import FORMATS


@pytest.fixture
def convert(run):
    return lambda *arguments: run("lists", "convert", *arguments)


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "train.txt").write_text("it's a;b.mp4 1 30 walk\nc.mp4 2 30 run\n")
    (tmp_path / "val.txt").write_text("c.mp4 1 30 run\n")
    (tmp_path / "labels.txt").write_text("walk\nrun\n")
    return tmp_path


def test_convert(convert, lists):
    code, out, err = convert(lists, lists / "all.json", "--to", "hara")
    assert code == 0
    assert out == [f"3 rows (train 2, val 1) from actrec to hara: {lists}/all.json"]
    assert err == [f"leakage: 1 file in several parts, such as '{lists}/c.mp4' in train and val"]
    code, out, err = convert(lists / "all.json", lists / "new", "--to", "ibm", "--separator", "semicolon")
    assert code == 1
    assert err == [f"Error: {lists}/new/train.txt: ibm cannot represent these rows: {err[0].split('rows: ')[1]}"]
    code, out, err = convert(lists / "all.json", lists / "new/val.txt", "--part", "val", "--root", lists)
    assert code == 0
    assert out == [f"1 row (val 1) from hara to actrec: {lists}/new/val.txt, {lists}/new/labels.txt"]
    assert (lists / "new/val.txt").read_text() == "c.mp4 1 30 1\n"
    again = (lists / "train.txt", lists / "new/val.txt", "--part", "val")
    code, _, err = convert(*again)
    assert (code, len(err)) == (1, 1)
    assert "or --force to replace it" in err[0]
    assert convert(*again, "--force")[0] == 0
    assert len((lists / "new/val.txt").read_text().splitlines()) == 2


def test_mistakes(convert, lists):
    (lists / "bad.txt").write_text("a 9 3 0\nb 1 5 9\n")
    (lists / "dir 5.txt").write_text("dir 163 1\n")
    for arguments, code, shown in [
        ((lists / "nothing.txt", "b.csv"), 1, "No such file"),
        ((lists / "bad.txt", "b.csv", "--from", "ibm"), 1, "bad.txt:2: label 9"),
        ((lists / "dir 5.txt", "b.csv"), 1, "can be read in several ways"),
        ((lists / "train.txt", "b.csv", "--to", "hdf5"), 2, "--to 'hdf5': expected one of"),
        ((lists / "train.txt",), 2, "Missing argument 'B'"),
    ]:
        found, _, err = convert(*arguments)
        assert found == code
        assert shown in "\n".join(err)


def test_help_names_every_format():
    text = CliRunner().invoke(command, ["--help"]).output
    assert all(name in text for name in FORMATS)
