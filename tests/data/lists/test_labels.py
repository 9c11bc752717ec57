import pytest
from list_files import NAMES

from actrec.data.lists import read_flips, read_labels, write_labels
from actrec.files import ListError


def test_read_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeff\r\nwalk\r\n\r\n shaking hands \r\n#tag\r\nnaïve".encode())
    assert read_labels(path) == ["walk", "shaking hands", "#tag", "naïve"]
    path.write_text("walk\nrun\n\nwalk\nrun\n")
    with pytest.raises(ListError) as caught:
        read_labels(path)
    assert [line.split("labels.txt:")[1] for line in str(caught.value).splitlines()] == [
        "4: class name 'walk' is also on line 1: expected it once",
        "5: class name 'run' is also on line 2: expected it once",
    ]
    path.write_text("\n")
    with pytest.raises(ListError, match="labels.txt:1: there is no class name"):
        read_labels(path)


def test_write_labels(tmp_path):
    path = tmp_path / "labels.txt"
    write_labels(path, NAMES)
    assert read_labels(path) == NAMES
    for names in (["a", ""], [" a"], ["a\nb"], ["a", "\udce9"], ["a\0"]):
        with pytest.raises(ValueError, match="class name .* of label .: expected text"):
            write_labels(path, names)
    with pytest.raises(ValueError, match="class name 'a' is also on line 1"):
        write_labels(path, ["a", "a"])
    with pytest.raises(ValueError, match="there is no class name"):
        write_labels(path, [])
    with pytest.raises(ValueError, match="byte order mark"):
        write_labels(path, ["\ufeffa"])
    assert read_labels(path) == NAMES


SIDES = ["wave left", "wave right", "jump", "turn left", "turn right", "spell", "wave"]


def flips(tmp_path, text, names=SIDES):
    (tmp_path / "flips.txt").write_text(text)
    return read_flips(tmp_path / "flips.txt", names)


@pytest.mark.parametrize("sep", [" ", ";", "\t", " ; ", ",", ", "])
def test_flips(tmp_path, sep):
    text = f"# mirror images\n\nwave left{sep}wave right\n4{sep}3\nspell{sep}-\nturn left{sep}turn right\n"
    assert flips(tmp_path, text) == (1, 0, 2, 4, 3, -1, 6)


def test_no_flips(tmp_path):
    assert flips(tmp_path, "") == tuple(range(7))
    assert flips(tmp_path, "jump jump") == tuple(range(7))


def test_flip_problems(tmp_path):
    text = (
        "wave left;wave rihgt\njump\nspell -\nspell jump\n9 1\nturn left turn rigth\n- jump\nx y\nturn left turn right"
    )
    with pytest.raises(ListError) as caught:
        flips(tmp_path, text)
    found = [line.split("flips.txt:")[1] for line in str(caught.value).splitlines()]
    assert len(found) == 7
    assert "1: unknown class 'wave rihgt': did you mean wave right" in found[0]
    assert "2: 'jump': expected two class names" in found[1]
    assert "4: class 'spell' has the mirror image - on line 3 and 'jump' here: expected one" in found[2]
    assert "5: label 9: expected 0 to 6" in found[3]
    assert "6: unknown class 'turn rigth': did you mean turn right" in found[4]
    assert "7: unknown class '-'" in found[5]
    assert "8: unknown class 'x'" in found[6]


def test_flips_with_two_readings(tmp_path):
    names = ["a", "a b", "b c", "c"]
    with pytest.raises(ListError, match="can be read as 'a', 'b c' or 'a b', 'c': put a tab or ; between"):
        flips(tmp_path, "a b c", names)
    assert flips(tmp_path, "a b;c", names) == (0, 3, 2, 1)
