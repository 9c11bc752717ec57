"""Malformed annotation files, and the messages about them."""

from __future__ import annotations

import contextlib
import json

import pytest
from published_samples import (
    FEATHER,
    GOOD,
    KINETICS,
    LEFT,
    NET,
    SAMPLE,
    SAMPLES,
    TRAIN,
    make,
)


def clip(segment, label="yoga", **more):
    return {"a": {"annotations": {"label": label, "segment": segment}} | more}


def net(annotations):
    return NET | {"database": {"a": {"subset": "training", "annotations": annotations}}}


def dive(**more):
    return [{"vid_name": "a", "label": 0, "start_frame": 0, "end_frame": 9} | more]


# (dataset, file): (its content, the message after the file's name)
MALFORMED = {
    ("kinetics400", "train.csv"): [
        ("", "1: the first line has no label and no youtube_id and no time_start and no time_end: expected"),
        (GOOD, "1: the first line has no label and no youtube_id and no time_start"),
        ("label,youtube_id,time_start\n", "1: the first line has no time_end: expected the columns label,youtube_id,"),
        (f"{TRAIN}{GOOD}yoga,a,1,2\n", "3: 4 columns: expected 5 as in the first line"),
        (f"{TRAIN}{GOOD}yoga,a,1,2,train,0\n", "3: 6 columns: expected 5 as in the first line"),
        (f'{TRAIN}"yoga,a,1,2,train\n{GOOD}', "2: '\"yoga,a,1,2,train': expected values between commas, quotes"),
        (f"{TRAIN}yoga,a,one,2,train\n", "2: from 'one' to '2': expected whole seconds"),
        (f"{TRAIN}yoga,a,-1,2,train\n", "2: from '-1' to '2': expected whole seconds"),
        (f"{TRAIN}yoga,a,,,train\n", "2: from '' to '': expected whole seconds"),
        (f"{TRAIN}yoga,a,22,12,train\n", "2: from second 22 to 12: expected a start before the end"),
        (f"{TRAIN}yoga,a,1,2,trian\n", "2: split 'trian': expected train, val or test"),
        (f"{TRAIN},a,1,2,train\n", "2: video 'a_000001_000002' has no class: expected a class name"),
        (f"{TRAIN}yoga,,1,2,train\n", "2: video '': expected the name of a video"),
        (f"{TRAIN}yoga,a/b,1,2,train\n", "2: video 'a/b_000001_000002': expected the name of a video"),
        (f"{TRAIN}{GOOD}ski,abcdefghijk,12,22,train\n", "3: 'abcdefghijk_000012_000022' has class 'ski' here and"),
        (TRAIN.encode() + b"caf\xe9,a,1,2,train\n", "2: byte 0xe9 at position 4 is not UTF-8"),
        ("\ufeff".encode("utf-16"), "1: the file is UTF-16: expected UTF-8"),
        (f"{TRAIN}yo\0ga,a,1,2,train\n", "2: the line holds a zero byte"),
    ],
    ("kinetics400", "val.csv"): [
        (f"{TRAIN}yogi,abcdefghijk,12,22,val\n", "2: unknown class 'yogi': did you mean yoga?"),
    ],
    ("kinetics700", "train.json"): [
        ("", "1: not JSON: Expecting value at column 1"),
        ("{\n'a': 1}", "2: not JSON: Expecting property name"),
        (b'{"a\n\xe9": 1}', "2: byte 0xe9 is not UTF-8: save the file as UTF-8"),
        ("[" * 100_000, " the JSON cannot be read"),
        ("[1, 2]", " the file contains list '[1, 2]': expected an object {…}"),
        ('{"a": {}, "b": {}, "a": {}}', " key 'a' occurs twice: expected it once"),
        ({"a": []}, "key 'a': expected annotations with a segment [start, end] and a label"),
        (clip([1]), "key 'a': expected annotations with a segment [start, end] and a label"),
        (clip([1.5, 3]), "key 'a': from '1.5' to '3': expected whole seconds"),
        (clip([1, 3], 3), "key 'a': class '3': expected a class name"),
        (clip([1, 3], None), "key 'a': video 'a_000001_000003' has no class: expected a class name"),
        (clip([1, 3], subset="all"), "key 'a': split 'all': expected train, val or test"),
    ],
    ("ssv1", "something-something-v1-train.csv"): [
        ("1;Unfolding something\n2\n", "2: '2': expected id;class"),
        ("1,Unfolding something\n", "1: '1,Unfolding something': expected id;class"),
        ("2;\n", "1: video '2' has no class: expected a class name"),
        (";Unfolding something\n", "1: video '': expected the name of a video"),
        ("1;Unfolding somthing\n", "1: unknown class 'Unfolding somthing': did you mean Unfolding something?"),
        (f"1;Unfolding something\n1;{FEATHER}\n", f"2: '1' has class '{FEATHER}' here and 'Unfolding something' at"),
    ],
    ("ssv1", "something-something-v1-labels.csv"): [
        ("Unfolding something\n" * 2, "2: class 'Unfolding something' occurs twice: expected each class once"),
    ],
    ("ssv2", "something-something-v2-train.json"): [
        ({"id": "1"}, " the file contains dict"),
        (["1"], "entry 1: '1': expected an object with 'id'"),
        ([{"id": "1", "label": "x"}], "entry 1 ('1'): video '1' has no class: expected a class name"),
        ([{"template": LEFT}], "entry 1 ('None'): video '': expected the name of a video"),
        ([{"id": [1], "template": LEFT}], "entry 1 ('[1]'): video '': expected the name of a video"),
        ([{"id": True, "template": LEFT}], "entry 1 ('True'): video '': expected the name of a video"),
        ([{"id": "1\n2", "template": LEFT}], "entry 1 ('1\\n2'): video '1\\n2': expected the name of a video"),
        ([{"id": 1, "template": 5}], "entry 1 ('1'): class '5': expected a class name"),
        ([{"id": 1, "template": LEFT[:-1]}], f"entry 1 ('1'): unknown class '{LEFT[:-1]}': did you mean {LEFT}"),
    ],
    ("ssv2", "something-something-v2-labels.json"): [
        ([LEFT], " the file contains list"),
        ({"a\nb": "0"}, "key 'a\\nb': class 'a\\nb': expected a class name"),
    ],
    ("ssv2", "test-answers.csv"): [("1420\n", "1: '1420': expected id;class")],
    ("moments", "trainingSet.csv"): [
        ("barking/a.mp4\n", "1: 'barking/a.mp4': expected class/file.mp4,class,yes,no"),
        ("barking/a.mp4,barking,1\n", "1: 'barking/a.mp4,barking,1': expected class/file.mp4,class,yes,no"),
        ("barking/a.mp4,barking,one,2\n", "1: 'barking/a.mp4,barking,one,2': expected class/file.mp4,class,yes,no"),
        (",barking,1,2\n", "1: video '': expected the name of a video"),
        ("barking/a.mp4,,1,2\n", "1: video 'barking/a.mp4' has no class: expected a class name"),
        ("barking/a.mp4,parking,1,2\n", "1: unknown class 'parking'"),
        ('"barking/a.mp4,barking\n', "1: '\"barking/a.mp4,barking': expected values between commas, quotes in pairs"),
    ],
    ("moments", "moments_categories.txt"): [
        ("barking\n", "1: 'barking': expected class,number"),
        (",1\n", "1: class '': expected a class name"),
        ("barking,0\nbarking,1\n", "2: class 'barking' occurs twice: expected each class once"),
    ],
    ("ucf101", "trainlist01.txt"): [
        ("Archery/v.avi\n", "1: 'Archery/v.avi': expected class/file.avi number"),
        ("v.avi 1\n", "1: 'v.avi 1': expected class/file.avi number"),
        ("Archery/v.avi 2\n", "1: 'Archery/v.avi 2': number 2 is 'HammerThrow' in classInd.txt"),
        ("Archery/v.avi 9\n", "1: 'Archery/v.avi 9': number 9 is None in classInd.txt"),
    ],
    ("ucf101", "testlist01.txt"): [
        ("v.avi\n", "1: 'v.avi': expected class/file.avi"),
        ("Archery/\n", "1: 'Archery/': expected class/file.avi"),
        ("Archrey/v.avi\n", "1: unknown class 'Archrey': did you mean Archery?"),
    ],
    ("ucf101", "classInd.txt"): [
        ("Archery\n", "1: 'Archery': expected number class"),
        ("1 Archery\n1 Hammering\n", "2: '1 Hammering': expected number class, each number once"),
        ("1 Archery\n2 Archery\n", "2: class 'Archery' occurs twice"),
    ],
    ("hmdb51", "cartwheel_test_split1.txt"): [
        ("a.avi\n", "1: 'a.avi': expected file.avi and 0, 1 or 2"),
        ("a.avi 3\n", "1: 'a.avi 3': expected file.avi and 0, 1 or 2"),
        (" 1\n", "1: '1': expected file.avi and 0, 1 or 2"),
        ("a.avi 1\na.avi 1\nb.avi one\n", "3: 'b.avi one': expected file.avi and 0, 1 or 2"),
    ],
    ("activitynet", "activity_net.v1-3.min.json"): [
        ({}, " the file has no object 'database'"),
        (NET | {"database": []}, " the file has no object 'database'"),
        (NET | {"taxonomy": [{"nodeId": 1}]}, " taxonomy: expected a list of objects with nodeId"),
        (NET | {"taxonomy": 3}, " taxonomy: expected a list of objects"),
        (NET | {"database": {"a": 3}}, "key 'a': subset 'None': expected training, validation or testing"),
        (NET | {"database": {"a": {"subset": "trian"}}}, "key 'a': subset 'trian': expected training"),
        (net({}), "key 'a': annotations: expected a list of objects with segment and label"),
        (net([3]), "key 'a': annotations: expected a list of objects with segment and label"),
        (net([{"label": "Archery"}]), "key 'a', segment 1: 'None': expected [start, end] in seconds"),
        (net([{"label": "Archery", "segment": [1]}]), "key 'a', segment 1: '[1]': expected [start, end] in seconds"),
        (net([{"label": "Archery", "segment": [-1, 2]}]), "key 'a', segment 1: '[-1, 2]': expected [start, end]"),
        (net([{"label": "Archery", "segment": [1, "2"]}]), "key 'a', segment 1: \"[1, '2']\": expected [start, end]"),
        (net([{"label": "Archery", "segment": [1, float("nan")]}]), "key 'a', segment 1: '[1, nan]': expected [start"),
        (net([{"label": "Archery", "segment": [1, float("inf")]}]), "key 'a', segment 1: '[1, inf]': expected [start"),
        (net([{"label": "Archery", "segment": [1, 10**400]}]), "key 'a', segment 1: '[1, 1000"),
        (net([{"segment": [1, 2]}]), "key 'a', segment 1: video 'a' has no class: expected a class name"),
        (net([{"label": "Archrey", "segment": [1, 2]}]), "key 'a', segment 1: unknown class 'Archrey': did you mean"),
        (net([{"label": "Root", "segment": [1, 2]}]), "key 'a', segment 1: unknown class 'Root': expected one"),
    ],
    ("jester", "jester-v1-train.csv"): [
        ("34870\n", "1: '34870': expected id;class"),
        ("34870;Swiping Lefty\n", "1: unknown class 'Swiping Lefty': did you mean Swiping Left"),
        ("3;Swiping Left\n3;Swiping Right\n", "2: '3' has class 'Swiping Right' here and 'Swiping Left' at"),
    ],
    ("jester", "jester-v1-labels.csv"): [
        ("Swiping Left\n\nSwiping Left\n", "3: class 'Swiping Left' occurs twice: expected each class once"),
    ],
    ("diving48", "Diving48_vocab.json"): [
        ({"a": 1}, " the file contains dict"),
        (["Back"], " expected a list of lists of words, such as"),
        ([["Back"], ["Back"]], "entry 2: class 'Back' occurs twice: expected each class once"),
    ],
    ("diving48", "Diving48_V2_train.json"): [
        (dive(label=2), "entry 1 ('a'): label 2: expected 0 to 1"),
        (dive(label=-1), "entry 1 ('a'): label -1: expected 0 to 1"),
        (dive(label="0"), "entry 1 ('a'): label '0': expected 0 to 1"),
        (dive(label=None), "entry 1 ('a'): label None: expected 0 to 1"),
        (dive(end_frame=0), "entry 1 ('a'): start_frame 0, end_frame 0: expected two numbers, the smaller one first"),
        (dive(start_frame=0.5), "entry 1 ('a'): start_frame 0.5, end_frame 9: expected two numbers"),
        (dive(end_frame=None), "entry 1 ('a'): start_frame 0, end_frame None: expected two numbers"),
        (dive(vid_name=None), "entry 1 ('None'): video '': expected the name of a video"),
        (dive() + dive(label=1), "entry 2 ('a'): 'a' has class 'Back 15som 05Twis FREE' here and 'Forward 15som"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [(*place, *case) for place, cases in MALFORMED.items() for case in cases],
    ids=lambda value: str(value)[:40],
)
def test_malformed(tmp_path, name, file, content, message):
    sample = SAMPLE[name]
    with pytest.raises(ValueError) as error:
        make(tmp_path, name, sample.files | {file: content}, sample.videos)
    first = str(error.value).splitlines()[0]
    assert first.startswith(f"{tmp_path}/annotations/{file}:{message}"), first
    assert not (tmp_path / "out").exists()


def test_all_malformed_rows_are_reported_together(tmp_path):
    files = dict(KINETICS.files)
    files["train.csv"] = TRAIN + GOOD + "yoga,a,x,2,train\n" + "yoga,b,2\n"
    files["val.csv"] = TRAIN + "yogi,c,1,2,val\n" * 30
    with pytest.raises(ValueError) as error:
        make(tmp_path, "kinetics400", files, KINETICS.videos)
    lines = str(error.value).splitlines()
    assert [line.rpartition("/")[2].split(": ")[0] for line in lines[:3]] == ["train.csv:3", "train.csv:4", "val.csv:2"]
    assert lines[-1] == "… and 12 more"


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_damaged_files_raise_only_expected_errors(tmp_path, name, sample):
    """Only the errors that users see as lines may come out."""
    for file, content in sample.files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        for position in range(0, len(text), max(1, len(text) // 5)):
            for broken in (text[:position], f'{text[:position]}"\n{text[position:]}'):
                with contextlib.suppress(ValueError, OSError):
                    make(tmp_path, name, sample.files | {file: broken}, sample.videos, force=True)
