import json

from shard_files import write_shard

VIDEO = b"v" * 2000


def test_the_command(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shard(tmp_path / "t-0.tar", {"a.mp4": VIDEO, "a.cls": "walk", **{f"x{i}.cls": "run" for i in range(8)}})
    code, out, err = run("lists", "shards", "t-{0..1}.tar", "-o", "train.txt", "--json", "out.json")
    assert code == 1
    assert out == ["1 video of 1 class (labels.txt) in 1 shard -> train.txt; 9 problems: train.txt.missing.csv"]
    assert err == [
        "t-1.tar: no such file", *(f"t-0.tar::x{i}: the sample has no video, only .cls" for i in range(5)),
        "… no video: 8 in all",
    ]  # fmt: skip
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["rows"], found["shards"], found["classes"], len(found["problems"])) == (1, 1, ["walk"], 9)
    assert run("lists", "shards", "t-0.tar", "-o", "labels.txt")[0] == 2
    code, _, err = run("lists", "shards", "u.tar", "-o", "other.txt")
    assert (code, len(err)) == (1, 1)
    assert run("lists", "shards")[0] == 2


def test_problems_are_one_line_each(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shard(tmp_path / "t.tar", {"a.mp4": VIDEO, "b\nc.mp4": VIDEO})
    code, _, err = run("lists", "shards", "t.tar", "-o", "train.txt")
    assert code == 1
    assert err[0] == "t.tar::b\\nc.mp4: its path contains a line break"
    write_shard(tmp_path / "u.tar", {"b\nc.mp4": VIDEO})
    code, _, err = run("lists", "shards", "u.tar", "-o", "other.txt")
    assert (code, len(err)) == (1, 1)
