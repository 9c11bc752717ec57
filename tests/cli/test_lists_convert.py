import pytest
from click.testing import CliRunner
from numbered_videos import numbered, write

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
    assert (lists / "new/val.txt").read_text() == f"{lists}/c.mp4 1 30 1\n"
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


def test_the_paths_of_a_new_list_lead_to_the_videos(convert, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = tmp_path / "videos/shake hands/abc_000000_000001.mp4"
    clip.parent.mkdir(parents=True)
    write(clip, [numbered(number) for number in range(12)], rate=10)
    (tmp_path / "kin.csv").write_text("label,youtube_id,time_start,time_end,split\nshake hands,abc,0,1,train\n")
    assert convert("kin.csv", "kin.txt", "--root", "videos")[0] == 0
    assert (tmp_path / "kin.txt").read_text().startswith("videos/shake hands/abc_000000_000001.mp4 ")
    assert convert("kin.csv", "lists", "--root", "videos")[0] == 0
    assert (tmp_path / "lists/train.txt").read_text().startswith(f"{clip} ")
    assert convert("kin.csv", "videos/train.txt", "--root", "videos")[0] == 0
    assert (tmp_path / "videos/train.txt").read_text().startswith("shake hands/")
    for file in ("kin.txt", "lists/train.txt", "videos/train.txt"):
        code, out, err = run("index", file)
        assert code == 0, err
    assert convert("kin.csv", "moved.txt", "--root", "videos", "--to-root", "videos")[0] == 0
    assert (tmp_path / "moved.txt").read_text().startswith("shake hands/")
    assert convert("kin.csv", "k.csv", "--to", "mmaction2-video", "--root", "videos")[0] == 0
    assert (tmp_path / "k.csv").read_text().startswith("shake hands/")


def test_a_root_that_does_not_exist(convert, lists):
    code, _, err = convert(lists / "train.txt", lists / "new.csv", "--root", lists / "nix")
    assert code == 2
    assert err[-1] == f"Error: --root {lists}/nix: no such folder; expected the folder in which the paths of A start"
    code, _, err = convert(lists / "train.txt", lists / "new.csv", "--root", lists / "val.txt")
    assert code == 2
    assert err[-1] == f"Error: Invalid value for '--root': {lists}/val.txt is a file: expected the name of a folder"
    assert not (lists / "new.csv").exists()
