"""Which annotation files are read, and which are required."""

from __future__ import annotations

import errno

import pytest
from published_samples import (
    ACTIVITYNET,
    DIVING48,
    JESTER,
    KINETICS,
    SSV2,
    SSV2_LATER,
    lists_in,
    make,
    touch,
    write,
)

from actrec.tools.datasets.table import DATASETS
from actrec.tools.lists.published import make_lists


def test_files_may_be_named_one_by_one(tmp_path):
    folder = write(tmp_path / "annotations", KINETICS.files)
    videos = touch(tmp_path / "videos", KINETICS.videos)
    made = make_lists(DATASETS.get("kinetics400"), [folder / "train.csv"], videos, tmp_path / "out")
    assert made.lists == {"train.txt": 2}
    made = make_lists(DATASETS.get("kinetics400"), [folder, folder / "val.csv"], videos, tmp_path / "out", force=True)
    assert made.lists == {"train.txt": 2, "val.txt": 1, "test.txt": 1}


@pytest.mark.parametrize("name", DATASETS.names())
def test_no_annotation_files(tmp_path, name):
    dataset = DATASETS.get(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").touch()
    with pytest.raises(FileNotFoundError, match="no annotation files of .*; expected"):
        make_lists(dataset, [tmp_path / "empty"], tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder; expected"):
        make_lists(dataset, [tmp_path / "nowhere"], tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="notes.md is not an annotation file of .*: expected"):
        make_lists(dataset, [tmp_path / "notes.md"], tmp_path, tmp_path / "out")


def test_json_beside_the_same_csv_is_not_read(tmp_path):
    made, _ = make(tmp_path, "kinetics700", KINETICS.files | {"train.json": "no JSON"}, KINETICS.videos)
    assert made.lists["train.txt"] == 2


def test_another_version_of_activitynet_beside_it_is_not_read(tmp_path):
    files = ACTIVITYNET.files | {"activity_net.v1-2.min.json": "no JSON"}
    made, _ = make(tmp_path, "activitynet", files, ACTIVITYNET.videos)
    assert made.lists["train.txt"] == 2


def test_diving48_needs_its_vocabulary(tmp_path):
    files = {name: content for name, content in DIVING48.files.items() if "vocab" not in name}
    with pytest.raises(FileNotFoundError, match="no Diving48_vocab.json, which contains the class names"):
        make(tmp_path, "diving48", files, DIVING48.videos)


def test_class_names_come_from_the_training_list_without_a_file(tmp_path):
    files = {name: content for name, content in JESTER.files.items() if "labels" not in name}
    with pytest.raises(ValueError, match="validation.csv:1: unknown class 'Swiping Right': did you mean Swiping Left"):
        make(tmp_path, "jester", files, JESTER.videos)
    del files["jester-v1-train.csv"]
    (tmp_path / "annotations/jester-v1-train.csv").unlink()
    made, said = make(tmp_path, "jester", files, JESTER.videos)
    assert made.num_classes == 1
    assert said == ["Jester has 27 classes, these annotations 1"]


@pytest.mark.parametrize(("train", "what"), [([], "video"), ([{"id": "1420"}], "class")])
def test_annotations_without_videos_or_classes(tmp_path, train, what):
    name = f"something-something-v2-{'test' if train else 'train'}.json"
    with pytest.raises(ValueError, match=f"the annotations of Something-Something V2 contain no {what}: expected"):
        make(tmp_path, "ssv2", {name: train}, SSV2.videos)


def test_test_videos_without_a_class_are_left_out(tmp_path):
    test = [{"id": "1420"}, {"id": "78687"}]
    made, said = make(tmp_path, "ssv2", SSV2_LATER.files | {"test.json": test}, SSV2.videos)
    assert lists_in(tmp_path)["test"] == [("1420.webm", 2)]
    assert "1 test videos have no class: they are left out" in said


def test_unreadable_annotations(tmp_path, monkeypatch):
    def refuse(path, mode, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("actrec.opening.open", refuse, raising=False)
    with pytest.raises(PermissionError, match="Diving48_vocab.json"):
        make(tmp_path, "diving48", DIVING48.files, DIVING48.videos)
