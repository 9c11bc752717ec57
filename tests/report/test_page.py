from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_videos import numbered, write

from actrec import config
from actrec.data import score_file
from actrec.data.score_file import ScoreFile
from actrec.pipelines.augment import Augment
from actrec.report import origins, page, runs, thumbnails
from actrec.settings import field_types

EVIL = "</script><img src=x onerror=alert(1)>{{7*7}}\"'&"
OPTIONS = config.Report()
MADE = {"command": "evaluate", "list": "/d/val.txt", "list_sha256": "ab", "clips": 1, "crops": 1, "frames": 8}
VOID = {"meta", "img", "input", "br"}


class Parsed(HTMLParser):
    """A page: its elements, their texts, and whether all of them are closed."""

    def __init__(self, html: bytes):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.scripts, self._open = "", [], []
        self.feed(html.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] != "style":
            self.text += data.replace("\N{NO-BREAK SPACE}", " ")

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    @property
    def charts(self) -> dict:
        return json.loads(self.scripts[0])


def make_run(data: Path, name: str = "r", *, epochs=4, rows=None, classes=("a", "b", "c"), lr=0.01) -> Path:
    run = data / "runs" / name
    run.mkdir(parents=True)
    settings = {
        "net": {"backbone": "s3d", "dropout": None},
        "optim": {"epochs": epochs, "lr": lr},
        "clip": {"frames": 8},
    }
    (run / "config.json").write_text(json.dumps(settings))
    described = {"classes": list(classes), "flip_map": None, "train": {"videos": 5, "list": "aa", "contents": "bb"}}
    (run / "data.json").write_text(json.dumps(described))
    (run / "environment.json").write_text(json.dumps({"python": "3.13", "packages": {"torch": "2.13"}}))
    if rows is None:
        rows = [{"epoch": e, "lr": 0.1, "train_loss": 2 - e / 4, "train_top1": 10.0 * e, "clips_per_second": 9.0 + e,
                 "val_loss": 1.5, "val_top1": [10.0, 60.0, 60.0, 50.0][e % 4], "val_top5": 90.0, "val_videos": 9,
                 "val_missing": 1} for e in range(epochs)]  # fmt: skip
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def write_scores(path: Path, ids, predicted, labels, *, num_classes=3, **made_from) -> Path:
    """Scores whose best class has a probability that grows with the number of the video."""
    path.parent.mkdir(exist_ok=True)
    scores = np.zeros((len(ids), num_classes), np.float32)
    scores[np.arange(len(ids)), predicted] = 1 + np.arange(len(ids)) / 10
    score_file.write(path, ScoreFile(ids, scores, np.array(labels), [str(i) for i in range(num_classes)], made_from))
    return path


def show(*found: Path, options=OPTIONS, **given) -> Parsed:
    html, _ = page.render(entries_of(*found, **given), options)
    assert len(html) < page.MAX_BYTES
    return Parsed(html)


def entries_of(*paths: Path, scores_path=None, list_path=None) -> list[page.Entry]:
    found = [runs.read(path) for path in paths]
    files = origins.choose(found) if scores_path is None else [scores_path] * len(found)
    return [page.entry(run, data=Path("."), scores_path=file, list_path=list_path) for run, file in zip(found, files)]


def entry_of(run: Path, **given) -> page.Entry:
    return entries_of(run, **given)[0]


@pytest.fixture
def data(tmp_path) -> Path:
    """Six frame folders with a list, and a run with scores: classes a, a, b, b, c, c were found as a, a, b, a, b, c."""
    for i in range(6):
        (tmp_path / f"v{i}").mkdir()
        for frame in range(1, 10):
            cv2.imwrite(str(tmp_path / f"v{i}/{frame:05d}.png"), np.full((24, 32, 3), 20 * i + frame, np.uint8))
    (tmp_path / "val.txt").write_text("".join(f"v{i} 1 9 {i // 2}\n" for i in range(6)))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    write_scores(make_run(tmp_path) / "scores/val_1x1.npz", [f"v{i}" for i in range(6)], [0, 0, 1, 0, 1, 2],
                 [0, 0, 1, 1, 2, 2], **MADE)  # fmt: skip
    return tmp_path


def test_the_parts_of_a_page(data):
    parsed = show(data / "runs/r")
    assert [found["id"] for found in parsed.all("section")] == ["results", "curves", "classes", "videos0", "options"]
    assert "s3d · 4 of 4 epochs · finished · best top-1 60.00 % in epoch 2 · 3 classes" in parsed.text
    charts = parsed.charts
    assert [chart["title"] for chart in charts["curves"]] == ["Loss", "Accuracy", "Learning rate", "Speed"]
    loss, accuracy = charts["curves"][:2]
    assert [(line["name"], line["points"][1]) for line in loss["series"]] == [
        ("training", [2, 1.75]),
        ("validation", [2, 1.5]),
    ]
    assert accuracy["series"][0]["best"] == [2, 60.0]
    (bars,) = charts["bars"]
    assert (bars["classes"], bars["series"][0]["values"]) == (["b", "c", "a"], [50.0, 50.0, 100.0])
    (matrix,) = charts["matrices"]
    cells = {(matrix["classes"][y], matrix["classes"][x]): n for x, y, n in matrix["cells"]}
    assert cells == {("a", "a"): 2, ("b", "b"): 1, ("b", "a"): 1, ("c", "b"): 1, ("c", "c"): 1}
    assert matrix["classes"] in (["a", "b", "c"], ["c", "b", "a"])  # b is confused with both
    for text in ("66.67 %", "Mean-class accuracy", "Calibration error", "python", "packages.torch", "net.backbone"):
        assert text in parsed.text
    assert len(parsed.all("div", class_="chart")) == 4 + 1 + 1


def test_no_line_ends_before_a_percent_sign(data):
    html, _ = page.render([entry_of(data / "runs/r")], OPTIONS)
    body = html.decode().partition("<body>")[2].partition("<script")[0]
    assert len(re.findall(r"\d(?:\N{NO-BREAK SPACE}|&nbsp;)%", body)) > 10
    assert not re.findall(r"\d %", body)


def test_contact_sheets(data):
    parsed = show(data / "runs/r")
    assert [found["alt"] for found in parsed.all("img")] == [f"Frames of v{i}" for i in (4, 3, 0, 1, 2, 5)]
    assert parsed.text.count("true class:") == 2
    picture = parsed.all("img")[0]["src"].removeprefix("data:image/jpeg;base64,")
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(picture), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == (242, 322)  # 2 x 2 frames of 32 x 24, enlarged to 160 x 120, with a gap
    corners = [pixels[y, x] for y in (60, 180) for x in (80, 240)]
    np.testing.assert_allclose(corners, [80 + frame for frame in (2, 4, 6, 8)], atol=2)


def test_the_number_of_videos_and_frames_can_be_chosen(data):
    assert show(data / "runs/r", options=config.Report(videos=0)).all("img") == []
    parsed = show(data / "runs/r", options=config.Report(videos=1, frames=1))
    assert [found["alt"] for found in parsed.all("img")] == ["Frames of v4", "Frames of v3", "Frames of v2"]
    assert "1 of 4, evenly spaced in the list" in parsed.text


def test_frames_of_video_files(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.mp4", [numbered(number) for number in range(12)])
    (tmp_path / "videos_val.txt").write_text("0.mp4 0\n1.mp4 1\nlost.mp4 1\n")
    run = make_run(tmp_path)
    write_scores(run / "scores/videos_val_1x1.npz", ["0.mp4", "1.mp4", "lost.mp4"], [0, 1, 0], [0, 1, 1])
    html, gone = page.render([entry_of(run)], config.Report())
    assert {found["alt"] for found in Parsed(html).all("img")} == {"Frames of 0.mp4", "Frames of 1.mp4"}
    assert len(Parsed(html).all("div", class_="gone")) == 1
    assert gone == ["lost.mp4: no such file or folder"]


def test_a_page_asks_for_nothing_from_the_network(data):
    parsed = show(data / "runs/r")
    for tag, attributes in parsed.elements:
        assert not {"action", "background", "srcset", "poster", "data"} & set(attributes), tag
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    assert not {tag for tag, _ in parsed.elements} & {"link", "iframe", "object", "embed", "base"}
    html = page.render([entry_of(data / "runs/r")], config.Report())[0].decode()
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_browser_may_run_only_the_scripts_of_the_page(data):
    parsed = show(data / "runs/r")
    (policy,) = [found["content"] for found in parsed.all("meta") if "http-equiv" in found]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in parsed.scripts[1:]]
    assert rules["script-src"] == " ".join(f"'sha256-{digest}'" for digest in hashes)
    assert "\r" not in "".join(parsed.scripts)  # a browser would turn it into \n before it computes the hash
    assert [found.get("type") for found in parsed.all("script")] == ["application/json", None, None]


def test_the_chart_library_is_the_published_file():
    folder = Path(page.__file__).with_name("echarts")
    digest = hashlib.sha256((folder / "echarts.min.js").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text("utf-8")


def test_names_are_escaped_everywhere(tmp_path):
    (tmp_path / "data").mkdir()
    run = make_run(tmp_path / "data", 'r<b>"&', classes=(EVIL, "b", "c"))
    (run / "config.json").write_text(json.dumps({"net": {"backbone": EVIL}, "optim": {"epochs": 4, "optimizer": EVIL}}))
    (run / "environment.json").write_text(json.dumps({EVIL: EVIL}))
    ids = [f"{EVIL} {i}" for i in range(4)]
    scores = write_scores(tmp_path / "data" / f"{EVIL.replace('/', '')}.npz", ids, [0, 1, 0, 2], [0, 0, 1, 2])
    html, _ = page.render([entry_of(run, scores_path=scores)], config.Report())
    parsed = Parsed(html)
    assert parsed.all("img") == []  # no list was found, so there are no frames either
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    assert len(parsed.scripts) == 3
    assert EVIL in parsed.charts["bars"][0]["classes"]
    assert parsed.charts["runs"] == ['r<b>"&']
    assert parsed.text.count(EVIL) >= 8
    assert parsed.all("b") == [{}] * 2  # the true classes of the two wrong videos
    assert "49" not in parsed.charts["matrices"][0]["classes"]


def test_names_that_are_not_utf8(tmp_path):
    run = make_run(tmp_path)
    write_scores(run / "scores/val_1x1.npz", ["v\udcff.mp4"], [0], [0])
    assert "v?.mp4" in show(run).text


def test_several_runs_side_by_side(data):
    other = make_run(data, "s", epochs=2, lr=0.5)
    write_scores(
        other / "scores/val_1x1.npz", [f"v{i}" for i in range(6)], [0, 0, 1, 1, 2, 0], [0, 0, 1, 1, 2, 2], **MADE
    )
    parsed = show(data / "runs/r", other)
    assert parsed.charts["runs"] == ["r", "s"]
    loss = parsed.charts["curves"][0]
    assert (loss["title"], [len(line["points"]) for line in loss["series"]]) == ("Training loss", [4, 2])
    (bars,) = parsed.charts["bars"]
    assert [one["values"] for one in bars["series"]] == [[50.0, 50.0, 100.0], [100.0, 50.0, 100.0]]
    assert len(parsed.charts["matrices"]) == 2
    changed, _ = page._options([runs.read(run) for run in (data / "runs/r", other)])
    assert [(row.name, row.default, list(row.cells)) for row in changed if row.name == "optim.lr"] == [
        ("optim.lr", "0.001", ["0.01", "0.5"])
    ]
    rows = {row.name: row for _, group in page._results([entry_of(data / "runs/r"), entry_of(other)]) for row in group}
    assert (list(rows["Top-1"].cells), list(rows["Top-1"].best)) == (
        ["66.67\N{NO-BREAK SPACE}%", "83.33\N{NO-BREAK SPACE}%"],
        [1],
    )
    assert (list(rows["Training loss, last"].cells), rows["Training loss, last"].best) == (["1.2500", "1.7500"], [0])
    assert rows["Best epoch"].cells == ["2", "2"]


def test_scores_that_were_made_in_other_ways_are_not_compared(data):
    other = make_run(data, "s")
    write_scores(other / "scores/val_4x1.npz", ["v0"], [0], [0], **MADE | {"clips": 4})
    found = entries_of(data / "runs/r", other)
    assert page.differences(found) == "clips: as in training / 4"
    parsed = show(data / "runs/r", other)
    assert "cannot be compared, so no value is marked as the best one: clips: as in training / 4." in parsed.text
    text = "s: The scores were made with other options than the validation in training: clips 4 (1 in training)."
    assert text in parsed.text
    rows = {row.name: row for _, group in page._results(found) for row in group}
    assert (rows["Top-1"].best, rows["Validation loss, last"].best) == ([], [])
    assert rows["Views"].cells == ["1 clip x 1 crop", "4 clips x 1 crop"]
    assert rows["List"].cells == ["val.txt", "val.txt"]


def test_scores_of_another_run_are_refused(data):
    other = make_run(data, "s")
    made = MADE | {"model": str(other / "best.pt"), "model_sha256": "cd"}
    scores = write_scores(data / "x.npz", ["v0"], [0], [0], **made)
    problem = entry_of(data / "runs/r", scores_path=scores).problem
    assert problem == f"{scores}: made from {other}/best.pt, which is not a checkpoint of {data}/runs/r"
    assert problem in show(data / "runs/r", scores_path=scores).text
    assert entry_of(other, scores_path=scores).problem is None


def test_what_chance_reaches(data):
    scores = write_scores(data / "x.npz", list("vwxyz"), [0] * 5, [0, 0, 0, 1, 2])
    (_, group) = page._results([entry_of(data / "runs/r", scores_path=scores)])[1]
    cells = {row.name: row.cells[0].replace("\N{NO-BREAK SPACE}", " ") for row in group}
    assert cells["Top-1 by chance: 1 / classes"] == "33.33 %"
    assert cells["Top-1 by chance: the largest class"] == "60.00 %"


def test_the_diagonal_of_a_confusion_matrix_is_complete(data):
    scores = write_scores(data / "x.npz", list("xyz"), [1, 1, 1], [0, 0, 1])
    matrix = show(data / "runs/r", scores_path=scores).charts["matrices"][0]
    assert sorted(cell for cell in matrix["cells"] if cell[0] == cell[1]) in ([[0, 0, 0], [1, 1, 1]],
                                                                             [[0, 0, 1], [1, 1, 0]])  # fmt: skip
    assert (len(matrix["cells"]), matrix["left_out"]) == (3, 0)


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    both = [make_run(tmp_path / place) for place in ("x", "y")]
    assert show(*both).charts["runs"] == [str(run) for run in both]


def test_runs_with_other_classes_have_charts_of_their_own(data):
    other = make_run(data, "s", classes=("d", "e", "f"))
    write_scores(other / "scores/val_1x1.npz", ["v0"], [0], [0])
    bars = show(data / "runs/r", other).charts["bars"]
    assert [(sorted(chart["classes"]), chart["left_out"]) for chart in bars] == [(["a", "b", "c"], 0), (["d"], 2)]


def test_a_run_without_scores_says_how_to_get_them(tmp_path):
    parsed = show(make_run(tmp_path / "my data"))
    assert f"actrec evaluate --data '{tmp_path}/my data' --run '{tmp_path}/my data/runs/r'" in parsed.text
    assert parsed.charts["matrices"] == [None]
    assert len(parsed.charts["curves"]) == 4


def test_a_run_that_crashed_in_its_first_epoch(tmp_path):
    run = make_run(tmp_path, rows=[])
    (run / "steps.jsonl").write_text("".join(json.dumps({"step": s, "epoch": 0, "loss": 9 - s / 1000}) + "\n"
                                             for s in range(1, 5000)))  # fmt: skip
    parsed = show(run)
    assert "No epoch has ended yet." in parsed.text
    (chart,) = parsed.charts["curves"]
    assert chart["title"] == "Training loss by step"
    assert len(chart["series"][0]["points"]) <= 1000


def test_the_best_epoch_is_that_of_best_pt_and_warnings_are_shown(tmp_path):
    reasons = [None, "score", "loss", None]
    rows = [{"epoch": e, "val_top1": [10.0, 60.0, 60.0, 50.0][e], "best": reasons[e]} for e in range(4)]
    run = make_run(tmp_path, rows=rows)
    (run / "warnings.jsonl").write_text(json.dumps({"kind": "chance", "message": "it guesses <b>", "epoch": 3}) + "\n")
    parsed = show(run)
    assert "in epoch 3" in parsed.text
    assert "Training warned: it guesses <b>" in parsed.text


def test_a_run_without_validation(tmp_path):
    parsed = show(make_run(tmp_path, rows=[{"epoch": 0, "train_loss": 1.0}, {"epoch": 1, "train_loss": 0.5}]))
    assert "The run has no validation scores." in parsed.text
    assert [[line["name"] for line in chart["series"]] for chart in parsed.charts["curves"]] == [["training"]]


def test_a_run_with_losses_that_are_not_numbers(tmp_path):
    rows = [{"epoch": e, "train_loss": None if e == 1 else 1.0, "val_top1": 5.0} for e in range(3)]
    run = make_run(tmp_path, rows=rows)
    (run / "nan.json").write_text(json.dumps({"step": 7, "epoch": 3, "loss": "inf", "videos": []}))
    parsed = show(run)
    assert "Not a number in some epochs, which the curves leave out: train_loss." in parsed.text
    assert "The loss became inf in step 7; the run stopped there." in parsed.text
    assert parsed.charts["curves"][0]["series"][0]["points"] == [[1, 1.0], [2, None], [3, 1.0]]


def test_scores_that_are_not_numbers(tmp_path):
    run = make_run(tmp_path)
    scores = np.array([[1, 0, 0], [np.nan, 0, 0], [0, 1, np.inf]], np.float32)
    (run / "scores").mkdir()
    score_file.write(run / "scores/val.npz", ScoreFile(["x", "y", "z"], scores, np.array([0, 0, 1]), ["0", "1", "2"]))
    parsed = show(run)
    assert "2 videos with scores that are not finite numbers" in parsed.text
    assert len(parsed.all("figure", class_="video")) == 1


def test_several_labels(tmp_path):
    rows = [{"epoch": 0, "train_loss": 1.0, "val_map": 12.0, "val_top1": 50.0}]
    run = make_run(tmp_path, rows=rows, epochs=1)
    labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], bool)
    scores = np.array([[2, 1, 0], [3, 1, 0], [1, 0, 0], [0, 0, 4]], np.float32)
    (run / "scores").mkdir()
    score_file.write(run / "scores/val.npz", ScoreFile(list("wxyz"), scores, labels, ["0", "1", "2"]))
    parsed = show(run)
    assert "best mAP 12.00 % in epoch 1" in parsed.text
    assert "there is no confusion matrix" in parsed.text
    assert "1 video without a label: not counted." in parsed.text
    assert parsed.charts["matrices"] == [None]
    assert parsed.charts["bars"][0]["measure"] == "average precision"
    assert "labels: a, b" in parsed.text
    assert "a 95.3 %true class: b" in " ".join(parsed.text.split("\n"))  # the sigmoid of 3


def test_an_unlabeled_list(tmp_path):
    run = make_run(tmp_path)
    write_scores(run / "scores/val.npz", ["x", "y"], [0, 1], [-1, -1])
    parsed = show(run)
    assert "2 videos without a label: not counted." in parsed.text
    assert parsed.charts["matrices"] == [None]


@pytest.mark.parametrize("content", [b"", b"text", "shape"])
def test_a_damaged_score_file_is_named_and_the_rest_is_shown(tmp_path, content):
    run = make_run(tmp_path)
    (run / "scores").mkdir()
    if content == "shape":
        write_scores(run / "scores/val.npz", ["x"], [0], [0], num_classes=5)
    else:
        (run / "scores/val.npz").write_bytes(content)
    assert str(run / "scores/val.npz") in (entry_of(run).problem or "")
    parsed = show(run)
    assert "The scores of this run cannot be shown" in parsed.text
    assert len(parsed.charts["curves"]) == 4


def test_broken_runs_are_shown_as_far_as_they_can_be_read(tmp_path):
    run = make_run(tmp_path)
    (run / "config.json").write_text("{")
    (run / "environment.json").unlink()
    parsed = show(run)
    assert "Missing or unreadable: config.json, environment.json." in parsed.text
    assert "The options cannot be read." in parsed.text


def test_the_list_is_found_by_its_videos(data):
    (data / "other.txt").write_text("v0 1 9 0\n")
    run = data / "runs/r"
    assert entry_of(run).source.path == data / "val.txt"
    assert entry_of(run).source.missing == 0
    (data / "val.txt").rename(data / "z.txt")
    assert entry_of(run).source.path == data / "z.txt"
    given = entry_of(run, list_path=data / "other.txt").source
    assert (given.path, given.missing) == (data / "other.txt", 0)
    parsed = show(run, list_path=data / "other.txt")
    assert len(parsed.all("img")) == 1
    assert f"not in the list {data / 'other.txt'}" in parsed.text


def test_a_score_file_cannot_name_a_file_to_open(data, tmp_path_factory):
    """Only files that the user named, and those of the dataset folder, are opened."""
    far = tmp_path_factory.mktemp("far")
    (data / "val.txt").rename(far / "val.txt")
    scores = write_scores(data / "runs/r/scores/val_2x1.npz", ["v0"], [0], [0], list=str(far / "val.txt"))
    assert entry_of(data / "runs/r", scores_path=scores).source.path is None


def test_the_index_on_the_disk_is_left_alone(data):
    show(data / "runs/r")
    assert not list(data.glob("*.npy"))


def test_pictures_use_the_space_that_is_left(data, monkeypatch):
    rng = np.random.default_rng(0)
    for path in data.glob("v*/*.png"):
        cv2.imwrite(str(path), rng.integers(0, 255, (96, 128, 3)).astype(np.uint8))
    full, _ = page.render([entry_of(data / "runs/r")], config.Report())
    bare, _ = page.render([entry_of(data / "runs/r")], config.Report(videos=0))
    for share in (0.5, 0):
        monkeypatch.setattr(page, "MAX_BYTES", len(bare) + 4000 + int(share * (len(full) - len(bare))))
        html, gone = page.render([entry_of(data / "runs/r")], config.Report())
        assert len(html) <= page.MAX_BYTES
    assert gone[0] == "v4: the page has no space left"
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="1 run: the page would exceed 0.001 MB: pass fewer runs"):
        page.render([entry_of(data / "runs/r")], config.Report())


def test_many_classes_and_videos(tmp_path):
    rng = np.random.default_rng(0)
    run = make_run(tmp_path, classes=[f"class {i}" for i in range(400)])
    labels = np.arange(20_000) % 400
    predicted = np.where(rng.random(20_000) < 0.5, labels, rng.integers(0, 400, 20_000))
    write_scores(run / "scores/val.npz", [f"v{i}" for i in range(20_000)], predicted, labels, num_classes=400)
    html, _ = page.render([entry_of(run)], config.Report())
    matrix = Parsed(html).charts["matrices"][0]
    assert (len(matrix["classes"]), matrix["left_out"]) == (400, 0)
    assert sum(videos for _, _, videos in matrix["cells"]) == 20_000
    assert len(html) < 2_000_000


def test_cells_with_the_fewest_videos_are_left_out(data, monkeypatch):
    monkeypatch.setattr(page, "_MAX_CELLS", 2)
    matrix = show(data / "runs/r").charts["matrices"][0]
    assert (len(matrix["cells"]), matrix["left_out"]) == (2, 3)
    assert max(videos for _, _, videos in matrix["cells"]) == 2


def test_every_option_of_a_recipe_has_its_default():
    defaults = page.default_options()
    kinds = field_types(config.Recipe) | {"augment": Augment}
    names = {f"{part}.{f.name}" for part, kind in kinds.items() for f in dataclasses.fields(kind)}
    assert {*defaults, "net.backbone"} >= names
    assert defaults["optim.lr"] == config.Optim().initial_lr
    assert "augment.mixup" in defaults


def test_what_differs_from_the_defaults_comes_first(tmp_path):
    changed, same = page._options([runs.read(make_run(tmp_path, lr=0.25, epochs=config.Optim().epochs))])
    assert "optim.lr" in [row.name for row in changed]
    assert {"optim.epochs", "net.dropout"} <= {row.name for row in same}


@pytest.mark.parametrize(("net", "shown"), [("tiny3d", False), ("s3d", True)])
def test_the_default_learning_rate_is_that_of_the_net(tmp_path, net, shown):
    path = make_run(tmp_path, lr=0.002)
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(settings | {"net": {"backbone": net}}))
    changed, _ = page._options([runs.read(path)])
    assert [row.default for row in changed if row.name == "optim.lr"] == (["0.001"] if shown else [])


@pytest.mark.parametrize(("size", "shown"), [(64, True), (224, False)])  # 224: the default of s3d
def test_the_size_of_the_clips_is_an_option(tmp_path, size, shown):
    path = make_run(tmp_path)
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(settings | {"input": {"size": size, "frames": 8}}))
    changed, _ = page._options([runs.read(path)])
    assert [row.default for row in changed if row.name == "input.size"] == (["224"] if shown else [])


@pytest.mark.parametrize(("num_classes", "shown"), [(5, False), (6, True)])
def test_top5_of_at_most_five_classes_is_left_out(tmp_path, num_classes, shown):
    run = runs.read(make_run(tmp_path, classes=[f"c{i}" for i in range(num_classes)]))
    (accuracy,) = [chart for chart in page._curves([run]) if chart["title"] == "Accuracy"]
    assert ("validation top-5" in [line["name"] for line in accuracy["series"]]) == shown
    rows = [row.name for _, group in page._results([page.Entry(run, tmp_path)]) for row in group]
    assert ("Top-5, best epoch" in rows) == ("Top-5, last" in rows) == shown


def test_values_of_unexpected_types(tmp_path):
    """Whatever valid JSON a run folder contains, its page can be written."""
    run = make_run(tmp_path, rows=[{"epoch": 0, "train_loss": "x", "val_top1": [1], "lr": True}])
    odd = {"net": {"backbone": 5}, "optim": {"epochs": 3, "lr": {"a": [None, {}]}}, "clip": 3}
    (run / "config.json").write_text(json.dumps(odd))
    (run / "data.json").write_text(json.dumps({"classes": [1, None], "train": 5, "flip_map": {}}))
    (run / "environment.json").write_text(json.dumps({"x": [[1]]}))
    (run / "steps.jsonl").write_text('{"epoch": 0, "step": "1", "loss": 2}\n{"epoch": 0, "step": 2, "loss": "x"}\n')
    (run / "nan.json").write_text("{}")
    assert "unknown net" in show(run).text


def test_writing_is_atomic(data, monkeypatch):
    out = data / "new folder/page.html"
    assert page.write(out, [entry_of(data / "runs/r")], config.Report()) == []
    before = out.read_bytes()
    monkeypatch.setattr(page, "_html", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page.write(out, [entry_of(data / "runs/r")], config.Report())
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


def test_pictures_never_exceed_their_bytes():
    picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    best = thumbnails.data_uri(picture, 1e9)
    small = thumbnails.data_uri(picture, len(best) / 3)
    assert len(small) <= len(best) / 3
    assert thumbnails.data_uri(picture, 100) is None
