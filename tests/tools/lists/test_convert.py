"""Converting lists to every format and back preserves their rows."""

from __future__ import annotations

import itertools

import pytest
from list_conversion import NAMES, NASTY, content, convert

from actrec.data.lists import read_labels, read_list
from actrec.data.lists.formats import FORMATS, Annotations, Entry, Options
from actrec.data.lists.labels import write_labels


def rows_for(name, folder):
    """Rows that the format can hold, if it can hold their paths."""
    form, rows = FORMATS.get(name), []
    for i in range(8):
        label, start, stop = i % len(NAMES), None, None
        path = f"/data/{folder}{i}/v{i}.mp4"
        if name == "kinetics":
            path = f"/data/{NAMES[label]}/v{i}_000010_000020.mp4"
        elif form.ranges and (form.needs_range or i % 2):
            start, stop = (1.25, 3.5) if "frames" not in form.ranges else (0, 7 + i)
        more = (2 if label < 2 else 0,) if form.several_labels and i % 4 == 0 else ()
        rows.append(Entry(path, start, stop, (label, *more), 29.97 if form.fps and i % 3 == 0 else None))
    return rows


def holds(name, folder):
    """Whether one of the format's separators is not in the path; where blanks separate, so does a tab."""
    form = FORMATS.get(name)
    if name == "actrec" and folder.startswith("# "):  # a comment
        return False
    return not form.separators or any(s not in folder and (s != " " or "\t" not in folder) for s in form.separators)


@pytest.mark.parametrize("folder", ["plain", *NASTY])
@pytest.mark.parametrize("name", FORMATS.names())
def test_csv_to_every_format_and_back(tmp_path, name, folder):
    wanted = {part: rows_for(name, folder) for part in ("train", "val")}
    (tmp_path / "a").mkdir()
    write_labels(tmp_path / "a/labels.txt", NAMES)
    FORMATS.get("csv").write(tmp_path / "a/all.csv", Annotations(wanted, NAMES), Options("/data", NAMES))
    if not holds(name, folder):
        with pytest.raises(ValueError, match=f"{name} cannot represent these rows"):
            convert(tmp_path / "a/all.csv", tmp_path / "b", target=name, root="/data")
        assert not list((tmp_path / "b").iterdir())
        return
    made = convert(tmp_path / "a/all.csv", tmp_path / "b", target=name, root="/data")
    assert made.rows == {"train": 8, "val": 8}
    assert not any("left out" in note or "became" in note for note in made.notes)
    back = convert(tmp_path / "b", tmp_path / "c/all.csv", source=name, root="/data")
    assert back.rows == made.rows
    assert content(tmp_path / "c/all.csv", "/data") == content(tmp_path / "a/all.csv", "/data")


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(["csv", "hara", "activitynet"], 2)))
def test_formats_with_quotes_preserve_every_path(tmp_path, source, target):
    """Names with blanks, quotes, `;`, newlines and letters beyond ASCII; ranges by way of the rate."""
    names = [*NASTY, "a\nb", "c\rd", " lead", "trail ", "..", "\u2028"]
    kind = (2.0, 4.0) if source == "activitynet" else (50, 100)
    rows = [Entry(f"/data/{i}/{name}", *kind, (i % 3,), 25.0) for i, name in enumerate(names)]
    rows = [row._replace(fps=None) for row in rows] if source == "hara" else rows
    FORMATS.get(source).write(tmp_path / "a", Annotations({"val": rows}, NAMES), Options("/data", NAMES))
    if (source, target) == ("hara", "activitynet"):
        with pytest.raises(ValueError, match="none of the 20 videos can be used; the first: /data/0/a b: no such file"):
            convert(tmp_path / "a", tmp_path / "b.x", source=source, target=target, root="/data")
        return
    write_labels(tmp_path / "names.txt", NAMES)
    convert(tmp_path / "a", tmp_path / "b.x", source=source, target=target, root="/data", labels=tmp_path / "names.txt")
    found = FORMATS.get(target).read(tmp_path / "b.x", Options("/data", NAMES)).parts["val"]
    assert sorted((e.path, e.labels) for e in found) == sorted((e.path, e.labels) for e in rows)
    expected = {"csv": kind, "activitynet": (2.0, 4.0), "hara": (50, 100)}[target]
    assert {(e.start, e.stop) for e in found} == {expected}


def test_ut_interaction_to_every_format_and_back(tmp_path, shared_videos):
    """Real lists of real videos: paths, labels, parts and names survive; frames are those of the index."""
    source = shared_videos / "ut_interaction"
    root, names = source / "videos", read_labels(source / "classes.txt")
    for name in FORMATS:
        form = FORMATS.get(name)
        there, back = tmp_path / name, tmp_path / f"{name}_back"
        made = convert(source, there, target=name, target_root=root)
        assert made.rows == {"train": 83, "val": 37}
        assert bool(made.notes) == (form.needs_range in ("all", "labeled"))
        assert (there / "labels.txt" in made.files) == (form.class_names == "numbers")
        assert made.files[-1].name != "labels.txt" or read_labels(made.files[-1]) == names
        assert convert(there, back, source=name, target="csv", root=root).rows == made.rows
        for part in made.rows:
            wanted = read_list(source / f"{part}.txt")
            found = FORMATS.get("csv").read(back / f"{part}.csv", Options(str(root), tuple(names))).parts[part]
            assert [(e.path, e.labels) for e in found] == [(v.path, v.labels) for v in wanted]
            if form.ranges == {"frames"}:
                assert all(e.start == 0 and 50 < e.stop < 200 for e in found)
            elif form.ranges == {"seconds"}:
                assert all(e.start == 0.0 and 1.7 < e.stop <= 7 and isinstance(e.stop, float) for e in found)
            else:
                assert all(e.start is None for e in found)


def test_all_of_ut_interaction_in_one_file(tmp_path, shared_videos):
    source = shared_videos / "ut_interaction"
    for file, name in (("a.json", "hara"), ("b.csv", "csv")):
        made = convert(source, tmp_path / file, root=source)
        assert made.target == name
        assert made.rows == {"train": 83, "val": 37}
        convert(tmp_path / file, tmp_path / f"{name}/{{part}}.txt", root=source, target_root=source)
        for part in made.rows:
            assert [v.id.split(" ")[0] for v in read_list(tmp_path / name / f"{part}.txt")] == [
                v.id for v in read_list(source / f"{part}.txt")
            ]


@pytest.mark.parametrize("name", [name for name in FORMATS if not FORMATS.get(name).needs_range])
def test_urls_and_members_stay_as_they_are(name, tmp_path):
    form = FORMATS.get(name)
    (tmp_path / "labels.txt").write_text("a\nb\n")
    lines = ["s3://b/k400/walk/1.mp4 0", "https://h/x/2.mp4 1", "shards/t-0.tar::walk/3.mp4 0",
             "s3://b/t-1.tar::walk/4.mp4 1"]  # fmt: skip
    (tmp_path / "train.txt").write_text("".join(f"{line}\n" for line in lines))
    convert(tmp_path / "train.txt", tmp_path / f"train_{name}{form.suffix}", target=name, part="train")
    convert(tmp_path / f"train_{name}{form.suffix}", tmp_path / "back.txt", source=name, part="train")
    assert (tmp_path / "back.txt").read_text().splitlines() == lines
