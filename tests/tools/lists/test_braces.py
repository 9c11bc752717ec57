import shutil
import subprocess

import pytest

from actrec.tools.lists.braces import expand_braces, find_shards

PATTERNS = {
    "a.tar": ["a.tar"],
    "t-{0..2}.tar": ["t-0.tar", "t-1.tar", "t-2.tar"],
    "t-{008..011}.tar": ["t-008.tar", "t-009.tar", "t-010.tar", "t-011.tar"],
    "t-{08..100..46}": ["t-008", "t-054", "t-100"],
    "{3..1}": ["3", "2", "1"],
    "{-1..1}": ["-1", "0", "1"],
    "{-01..1}": ["-01", "000", "001"],
    "{a..c}x": ["ax", "bx", "cx"],
    "{a,b}/{0..1}.tar": ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"],
    "{train-{00..01},val-{0,1}}.tar": ["train-00.tar", "train-01.tar", "val-0.tar", "val-1.tar"],
    "a{,-b}": ["a", "a-b"],
    "{x}.tar": ["{x}.tar"],
    "{}": ["{}"],
    "{x{1,2}}": ["{x1}", "{x2}"],
    "{a..": ["{a.."],
    "a}{1,2}": ["a}1", "a}2"],
    "{1..2}{a,b}": ["1a", "1b", "2a", "2b"],
    "s3://b/t-{0..1}.tar": ["s3://b/t-0.tar", "s3://b/t-1.tar"],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_braces(pattern):
    assert list(expand_braces(pattern)) == PATTERNS[pattern]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_agrees():
    for pattern, wanted in PATTERNS.items():
        found = subprocess.run(["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True)
        assert found.stdout.splitlines() == wanted, pattern


def test_files_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t-0.tar", "t-1.tar", "t-3.tar", "odd{1,2}*.tar"):
        (tmp_path / name).touch()
    assert find_shards(["t-{0..3}.tar"]) == (["t-0.tar", "t-1.tar", "t-3.tar"], [("t-2.tar", "no such file")])
    assert find_shards(["t-[13].tar", "t-0.tar", "t-1.tar"]) == (["t-1.tar", "t-3.tar", "t-0.tar"], [])
    assert find_shards(["odd{1,2}*.tar"]) == (["odd{1,2}*.tar"], [])
    assert find_shards(["x*.tar"]) == ([], [("x*.tar", "no file has such a name")])
    assert find_shards(["s3://b/t-{1..2}.tar"]) == (["s3://b/t-1.tar", "s3://b/t-2.tar"], [])
    with pytest.raises(ValueError, match="more than 1,000,000 shards: expected fewer"):
        find_shards(["t-{0..99999999999999999}.tar"])
