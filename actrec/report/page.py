"""One HTML page about some runs, which opens without a network. Does not load torch."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from actrec import __version__, config
from actrec.engine import runlog
from actrec.files import ListError, atomic_write, read_json, writing
from actrec.known_nets import known_nets
from actrec.pipelines.augment import Augment
from actrec.report import origins, scored, thumbnails
from actrec.report.analysis import ClassResult, Confusion
from actrec.report.runs import Run, flat
from actrec.report.scored import Scored
from actrec.settings import field_types
from actrec.words import counted

MAX_BYTES = 5_000_000
_ECHARTS = Path(__file__).with_name("echarts")
_TEMPLATES = Path(__file__).with_name("templates")
_MAX_CELLS = 60_000  # of all confusion matrices together
_MAX_POINTS = 1000  # of a curve over steps
_HARDEST = 20  # confusions that the table shows
_NAN = "nan.json"
_TOGETHER = {  # charts of one run: title, unit, and the lines by the name of their quantity
    "Loss": ("", {"train_loss": "training", "val_loss": "validation"}),
    "Accuracy": ("%", {"val_map": "validation mAP", "val_top1": "validation top-1", "val_top5": "validation top-5",
                       "train_top1": "training top-1"}),
    "Learning rate": ("", {"lr": "learning rate"}),
    "Speed": ("clips/s", {"clips_per_second": "clips per second"}),
}  # fmt: skip
_APART = {  # charts of several runs, with one line per run
    "Training loss": ("", "train_loss"),
    "Validation loss": ("", "val_loss"),
    "Validation mAP": ("%", "val_map"),
    "Validation top-1": ("%", "val_top1"),
    "Validation top-5": ("%", "val_top5"),
    "Training top-1": ("%", "train_top1"),
    "Learning rate": ("", "lr"),
    "Speed": ("clips/s", "clips_per_second"),
}


Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class Entry:
    """A run on the page.

    Args:
        scores: None if there are none.
        problem: Why there are none, unless the run was simply never evaluated.
        source: Where the frames of the scored videos come from.
    """

    run: Run
    data: Path
    scores: Scored | None = None
    problem: str | None = None
    source: thumbnails.Source = thumbnails.Source()

    @cached_property
    def classes(self) -> list[str]:
        return list(self.scores.content.classes) if self.scores is not None else _class_names(self.run) or []


def entry(run: Run, *, data: Path, scores_path: Path | None, list_path: Path | None) -> Entry:
    """A run with its scores.

    Args:
        data: The dataset folder, if the run is not located in the `runs` of one.
        scores_path: Its score file, such as `origins.choose` finds it; None for no scores.
        list_path: The list with the scored videos; by default it is searched in the dataset folder.

    Raises:
        OSError, ValueError: The given list cannot be read.
    """
    home = run.path.resolve().parent
    data = home.parent if home.name == "runs" else data
    if scores_path is None:
        return Entry(run, data)
    try:
        scores = scored.read(scores_path, _class_names(run))
    except (OSError, ValueError) as error:
        text = f"{scores_path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)
        return Entry(run, data, problem=text)
    if model := origins.other_model(run, scores.content.made_from):
        return Entry(run, data, problem=f"{scores_path}: made from {model}, which is not a checkpoint of {run.path}")
    folders = [data, scores_path.parent, *([own.parent] if (own := runlog.val_list(run.path)) else [])]
    source = thumbnails.find_source(list_path, scores.content, scores_path.stem, folders)
    return Entry(run, data, scores, source=source)


def _class_names(run: Run) -> list[str] | None:
    names = run.data.get("classes")
    return [str(name) for name in names] if isinstance(names, list) else None


def differences(entries: Sequence[Entry]) -> str | None:
    """In what the score files of the runs differ, so that their figures cannot be compared; None if in nothing."""
    pairs = [(one, one.scores.content.made_from) for one in entries if one.scores]
    names = _names([one.run for one, _ in pairs])
    return origins.differences(names, [origins.settings(one.run, made) for one, made in pairs])


def write(path: Path, entries: Sequence[Entry], options: config.Report, *, progress: Progress = _silent) -> list[str]:
    """Writes the page, atomically.

    Args:
        progress: Called with (done, total) while the frames of videos are read.

    Returns:
        The videos that the page shows without frames, each with the reason.

    Raises:
        OutputError: It cannot be written.
        ValueError: The page would be larger than `MAX_BYTES`.
    """
    page, gone = render(entries, options, progress=progress)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            file.write(page)
    return gone


def render(
    entries: Sequence[Entry], options: config.Report, *, progress: Progress = _silent
) -> tuple[bytes, list[str]]:
    """The page as UTF-8, and the videos without frames as `write` returns them.

    Pictures share the space that everything else leaves. Raises ValueError as `write`.
    """
    content = _content(entries, options)
    space = MAX_BYTES - len(_html(content))
    if space < 0:
        raise ValueError(
            f"{counted(len(entries), 'run')}: the page would exceed {MAX_BYTES / 1e6:g} MB: pass fewer runs"
        )
    sections = list(zip(entries, content["sections"]))
    shown = [video for _, section in sections for video in section.videos()]
    for entry, section in sections:
        videos = {video["id"]: video for video in section.videos()}
        for id_, picture in entry.source.pictures(list(videos), options.frames):
            if isinstance(picture, str):
                videos[id_]["reason"] = picture
            else:
                videos[id_]["picture"] = thumbnails.data_uri(picture, 0.95 * space / len(shown))
                videos[id_]["reason"] = "" if videos[id_]["picture"] else "the page has no space left"
            progress(sum(bool(video["picture"] or video["reason"]) for video in shown), len(shown))
    gone = {f"{video['id']}: {video['reason']}": None for video in shown if video["reason"]}
    return _html(content), list(gone)


def _html(content: dict[str, Any]) -> bytes:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html").render(content)
    return text.encode("utf-8", "replace")  # names of files that are not UTF-8


def _content(entries: Sequence[Entry], options: config.Report) -> dict[str, Any]:
    runs = [entry.run for entry in entries]
    sections = [_section(entry, options, _MAX_CELLS // len(entries)) for entry in entries]
    scripts = [(_ECHARTS / "echarts.min.js").read_text("utf-8"), (_TEMPLATES / "page.js").read_text("utf-8")]
    changed, same = _options(runs)
    names = _names(runs)
    return {
        "title": names[0] if len(runs) == 1 else counted(len(runs), "run"),
        "names": names,
        "summaries": [_summary(entry) for entry in entries],
        "notes": [_notes(entry) for entry in entries],
        "different": differences(entries),
        "score_notes": [
            (name, origins.notes(one.run, one.scores.content.made_from) if one.scores else [])
            for name, one in zip(names, entries)
        ],
        "results": _results(entries),
        "sections": sections,
        "changed": changed,
        "same": same,
        "environment": _table([flat(run.environment) for run in runs]),
        "fingerprints": _table([_fingerprint(run) for run in runs]),
        "charts": {
            "runs": names,
            "curves": _curves(runs),
            "bars": _bars(entries),
            "matrices": [section.matrix for section in sections],
        },
        "style": (_TEMPLATES / "page.css").read_text("utf-8"),
        "scripts": scripts,
        "hashes": [_hash(script) for script in scripts],
        "notice": (_ECHARTS / "NOTICE").read_text("utf-8"),
        "version": __version__,
    }


def _hash(script: str) -> str:
    """For the content security policy: the browser runs no other script, whatever a name contains."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _names(runs: Sequence[Run]) -> list[str]:
    """The names of the runs; with their folders where two have the same name."""
    names = [run.path.resolve().name for run in runs]
    return [str(run.path) if names.count(name) > 1 else name for run, name in zip(runs, names)]


# ---- the text about a run ----


def _summary(entry: Entry) -> str:
    run = entry.run
    parts = [
        str(run.net or "unknown net"),
        f"{run.done} of {'?' if run.planned is None else run.planned} epochs",
        run.state,
    ]
    if best := _best(run):
        measure = {"val_map": "mAP", "val_top1": "top-1"}[run.measure]
        parts.append(f"best {measure} {best[1]:.2f}\N{NO-BREAK SPACE}% in epoch {best[0] + 1}")
    if entry.classes:
        parts.append(f"{counted(len(entry.classes), 'class')}")
    return " · ".join(parts)


def _notes(entry: Entry) -> list[str]:
    """Warnings that the page shows above the figures."""
    run, notes = entry.run, []
    if run.broken:
        notes.append(f"Missing or unreadable: {', '.join(run.broken)}.")
    try:
        stop = read_json(run.path / _NAN, dict)
        notes.append(f"The loss became {stop.get('loss')} in step {stop.get('step')}; the run stopped there.")
    except (OSError, ListError):
        pass
    lost = sorted(
        {name for row in run.epochs for name, value in row.items() if name.endswith("loss") and value is None}
    )
    with contextlib.suppress(OSError, ValueError):
        said = [row.get("message") for row in runlog.read(run.path, runlog.WARNINGS)]
        notes += [f"Training warned: {text}" for text in said if isinstance(text, str)]
    if lost:
        notes.append(f"Not a number in some epochs, which the curves leave out: {', '.join(lost)}.")
    if not run.epochs:
        notes.append("No epoch has ended yet.")
    elif not run.values(run.measure):
        notes.append("The run has no validation scores.")
    if entry.problem:
        notes.append(f"{entry.problem}.")
    return notes


def _best(run: Run) -> tuple[int, float] | None:
    """The epoch of `best.pt` and its validation score. For runs of earlier versions: the first best epoch.

    Later versions log which epochs became `best.pt`; the last one of them counts.
    """
    scores = run.values(run.measure)
    if chosen := [row["epoch"] for row in run.epochs if row.get("best") and row["epoch"] in scores]:
        return max(chosen), scores[max(chosen)]
    return max(scores.items(), key=lambda pair: pair[1]) if scores else None


@dataclass(frozen=True)
class Row:
    """A row of a table with a column for each run.

    Args:
        best: The columns with the best figure, if it is worth a mark.
        title: The whole text of each cell that is shortened.
    """

    name: str
    cells: Sequence[str]
    best: Sequence[int] = ()
    titles: Sequence[str] = ()
    default: str = ""


def _results(entries: Sequence[Entry]) -> list[tuple[str, list[Row]]]:
    runs = [entry.run for entry in entries]
    bests = [_best(run) for run in runs]

    def at_best(name: str) -> list[float | None]:
        return [_values(run, name).get(best[0]) if best else None for run, best in zip(runs, bests)]

    def last(name: str) -> list[float | None]:
        return [next(reversed(_values(run, name).values()), None) for run in runs]

    training = [
        Row("State", [run.state for run in runs]),
        Row("Net", [str(run.net or "–") for run in runs]),
        Row("Epochs", [f"{run.done} / {'?' if run.planned is None else run.planned}" for run in runs]),
        Row("Best epoch", [str(best[0] + 1) if best else "–" for best in bests]),
    ]
    for name, text in (("val_map", "mAP"), ("val_top1", "Top-1"), ("val_top5", "Top-5")):
        training += [_figures(f"{text}, best epoch", at_best(name)), _figures(f"{text}, last", last(name))]
    training += [
        _figures("Validation loss, best epoch", at_best("val_loss"), unit="", digits=4, lower=True),
        _figures("Validation loss, last", last("val_loss"), unit="", digits=4, lower=True),
        _figures("Training loss, last", last("train_loss"), unit="", digits=4, lower=True),
        _figures("Validation videos", last("val_videos"), unit="", digits=0, mark=False),
        _figures("Missing videos", last("val_missing"), unit="", digits=0, mark=False),
        _figures("Clips per second, median", [_median(run) for run in runs], unit="", digits=1, mark=False),
    ]
    groups = [("Validation while training", _filled(training))]
    if any(entry.scores for entry in entries):
        groups.append(("Score file", _filled(_score_rows([entry.scores for entry in entries], entries))))
    return groups


def _score_rows(found: Sequence[Scored | None], entries: Sequence[Entry]) -> list[Row]:
    mark = differences(entries) is None

    def figures(text: str, function: Callable[[Scored], float | None], *, lower: bool = False) -> Row:
        return _figures(text, [function(one) if one is not None else None for one in found], lower=lower, mark=mark)

    def chance(text: str, function: Callable[[Scored], float | None]) -> Row:
        return _figures(text, [function(one) if one is not None else None for one in found], mark=False)

    def made(function: Callable[[Run, Mapping[str, Any]], str]) -> list[str]:
        return [function(one.run, one.scores.content.made_from) if one.scores else "–" for one in entries]

    def count(function: Callable[[Scored], int]) -> list[str]:
        return [f"{function(one):,}" if one is not None else "–" for one in found]

    return [
        Row(
            "File",
            [one.path.name if one else "–" for one in found],
            titles=[str(one.path) if one else "" for one in found],
        ),
        Row("Model", made(lambda _, origin: origins.file_name(origin, "model"))),
        Row("List", made(lambda _, origin: origins.file_name(origin, "list"))),
        Row("Views", made(origins.views)),
        figures("mAP", lambda one: one.result.map),
        figures("Top-1", lambda one: one.result.top1),
        chance("Top-1 by chance: 1 / classes", lambda one: one.chance),
        chance("Top-1 by chance: the largest class", lambda one: one.largest_class),
        figures("Top-5", lambda one: one.result.top5 if one.result.tells_top5 else math.nan),
        figures("Mean-class accuracy", lambda one: one.result.mean_class),
        figures("Calibration error", lambda one: one.analysis.calibration_error, lower=True),
        Row("Videos", count(lambda one: len(one.content.ids))),
        Row("Without a label", count(lambda one: one.unlabeled)),
        Row(
            "Missing", [f"{entry.source.missing:,}" if entry.scores and entry.source.path else "–" for entry in entries]
        ),
    ]


def _filled(rows: Iterable[Row]) -> list[Row]:
    """The rows for which at least one run has a value."""
    return [row for row in rows if any(cell != "–" for cell in row.cells)]


def _figures(
    name: str,
    values: Sequence[float | None],
    *,
    unit: str = "\N{NO-BREAK SPACE}%",
    digits: int = 2,
    lower: bool = False,
    mark: bool = True,
) -> Row:
    shown = [f"{value:,.{digits}f}{unit}" if value is not None and math.isfinite(value) else "–" for value in values]
    known = [value for value in values if value is not None and math.isfinite(value)]
    best: list[int] = []
    if mark and len(set(known)) > 1:
        target = min(known) if lower else max(known)
        best = [i for i, value in enumerate(values) if value == target]
    return Row(name, shown, best)


def _values(run: Run, name: str) -> dict[int, float]:
    """The values by epoch. There are none of top-5 if there are at most five classes, because it is always 100 then."""
    return {} if name == "val_top5" and len(_class_names(run) or range(6)) <= 5 else run.values(name)


def _median(run: Run) -> float | None:
    values = list(run.values("clips_per_second").values())
    return float(np.median(values)) if values else None


# ---- curves ----


def _curves(runs: Sequence[Run]) -> list[dict[str, Any]]:
    charts: list[dict[str, Any]] = []
    if len(runs) == 1:
        for title, (unit, lines) in _TOGETHER.items():
            series = [{"run": i, "name": text, "points": _points(runs[0], name), "best": _mark(runs[0], name)}
                      for i, (name, text) in enumerate(lines.items())]  # fmt: skip
            charts.append({"title": title, "unit": unit, "axis": "epoch", "series": series})
    else:
        names = _names(runs)
        for title, (unit, name) in _APART.items():
            series = [{"run": i, "name": names[i], "points": _points(run, name), "best": _mark(run, name)}
                      for i, run in enumerate(runs)]  # fmt: skip
            charts.append({"title": title, "unit": unit, "axis": "epoch", "series": series})
    if any(run.steps and run.done < 3 for run in runs):
        series = [{"run": i, "name": name, "points": _step_points(run), "best": None}
                  for i, (name, run) in enumerate(zip(_names(runs), runs))]  # fmt: skip
        charts.append({"title": "Training loss by step", "unit": "", "axis": "step", "series": series})
    for chart in charts:
        chart["series"] = [line for line in chart["series"] if any(y is not None for _, y in line["points"])]
    return [chart for chart in charts if chart["series"]]


def _points(run: Run, name: str) -> list[tuple[int, float | None]]:
    """(epoch from 1, value), with None where the value is not a number."""
    known = _values(run, name)
    return [(row["epoch"] + 1, _rounded(known.get(row["epoch"]))) for row in run.epochs if name in row]


def _step_points(run: Run) -> list[tuple[int, float | None]]:
    rows = [row for row in run.steps if isinstance(row.get("step"), int)]
    rows = rows[:: max(1, math.ceil(len(rows) / _MAX_POINTS))]
    values = [row.get("loss") for row in rows]
    return [(row["step"], _rounded(value)) for row, value in zip(rows, values)]


def _mark(run: Run, name: str) -> tuple[int, float] | None:
    best = _best(run) if name == run.measure else None
    return (best[0] + 1, round(best[1], 2)) if best else None


def _rounded(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(f"{value:.5g}")


# ---- classes and videos ----


@dataclass
class Section:
    """The part of the page about the scores of a run.

    Args:
        command: What the user types to get scores, if there are none.
        matrix: For the chart; None for several labels.
    """

    name: str
    command: str | None = None
    scores: str = ""
    list_path: str = ""
    notes: Sequence[str] = ()
    matrix: dict[str, Any] | None = None
    confusions: Sequence[Confusion] = ()
    classes: Sequence[ClassResult] = ()
    multi_label: bool = False
    sheets: Sequence[tuple[str, str, list[dict[str, Any]]]] = ()

    def videos(self) -> list[dict[str, Any]]:
        return [video for _, _, videos in self.sheets for video in videos]


def _section(entry: Entry, options: config.Report, max_cells: int) -> Section:
    name = entry.run.path.resolve().name
    if entry.problem:
        return Section(name)
    if entry.scores is None:
        command = f"actrec evaluate --data {shlex.quote(str(entry.data))} --run {shlex.quote(str(entry.run.path))}"
        return Section(name, command=command)
    found = entry.scores
    notes = []
    if found.unlabeled:
        notes.append(f"{counted(found.unlabeled, 'video')} without a label: not counted.")
    if count := int((~found.finite).sum()):
        text = "scores that are not finite numbers: counted as mistakes in the final figures, and left out here"
        notes.append(f"{counted(count, 'video')} with {text}.")
    analysis = found.analysis
    return Section(
        name,
        scores=str(found.path),
        list_path=str(entry.source.path or ""),
        notes=notes,
        matrix=scored.matrix(found, max_cells),
        confusions=(analysis.confusions or [])[:_HARDEST],
        classes=[row for row in analysis.classes if row.videos],
        multi_label=found.content.multi_label,
        sheets=scored.sheets(found, options.videos),
    )


def _bars(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The charts of classes: one for all runs with the same classes."""
    charts: dict[tuple[str, ...], dict[str, Any]] = {}
    names = _names([entry.run for entry in entries])
    for number, one in enumerate(entries):
        if one.scores is None:
            continue
        videos, values = scored.values(one.scores)
        chart = charts.setdefault((one.scores.measure, *one.classes), {"measure": one.scores.measure, "series": []})
        chart["series"].append({"run": number, "name": names[number], "videos": videos, "values": values})
    return [_sorted_bars(list(key[1:]), chart) for key, chart in charts.items()]


def _sorted_bars(classes: list[str], chart: dict[str, Any]) -> dict[str, Any]:
    """With the classes sorted by the first run, the worst one first; without those that have no video."""
    series = chart["series"]
    occur = np.any([one["videos"] > 0 for one in series], axis=0)
    order = sorted(np.flatnonzero(occur).tolist(), key=lambda label: np.nan_to_num(series[0]["values"][label], nan=101))
    return {
        "measure": chart["measure"],
        "classes": [classes[label] for label in order],
        "left_out": len(classes) - len(order),
        "series": [
            {
                "run": one["run"],
                "name": one["name"],
                "videos": one["videos"][order].tolist(),
                "values": [_rounded(value) for value in one["values"][order].tolist()],
            }
            for one in series
        ],
    }


# ---- options, environment, data ----


def _options(runs: Sequence[Run]) -> tuple[list[Row], list[Row]]:
    """The options in which a run differs from the defaults or from another run, and all others."""
    defaults = {name: _text(value) for name, value in (default_options() | _defaults_of_net(runs)).items()}
    rows = _table([flat(run.config) for run in runs], defaults)
    changed = [row for row in rows if any(cell not in (row.default or row.cells[0], "–") for cell in row.cells)]
    return changed, [row for row in rows if row not in changed]


def _defaults_of_net(runs: Sequence[Run]) -> dict[str, int | float | None]:
    """The defaults that depend on the net, if the runs have the same net and actrec knows it."""
    nets = {run.net for run in runs}
    known = known_nets().nets.get(str(nets.pop())) if len(nets) == 1 else None
    return {"input.size": known.input.side, "optim.lr": config.Optim().settled(known.lr).lr} if known else {}


def default_options() -> dict[str, Any]:
    """The defaults of the training options by their names in a flat `config.json`, such as "optim.lr"."""
    kinds = field_types(config.Recipe) | {"augment": Augment}
    defaults = {f"{section}.{f.name}": f.default for section, kind in kinds.items()
                for f in fields(kind) if f.default is not MISSING}  # fmt: skip
    settled = config.Optim().settled(None)
    return defaults | {"optim.lr": settled.lr, "optim.weight_decay": settled.weight_decay}


def _table(columns: Sequence[dict[str, Any]], defaults: dict[str, str] | None = None) -> list[Row]:
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = []
    for name in names:
        cells = [_text(column[name]) if name in column else "–" for column in columns]
        rows.append(Row(name, cells, default=(defaults or {}).get(name, "")))
    return rows


def _fingerprint(run: Run) -> dict[str, Any]:
    data = {name: value for name, value in run.data.items() if name not in ("classes", "flip_map")}
    classes, flips = run.data.get("classes"), run.data.get("flip_map")
    known = {"classes": len(classes)} if isinstance(classes, list) else {}
    return known | ({"flip map": "yes" if flips else "no"} if run.data else {}) | flat(data)


def _text(value: Any) -> str:
    """An option's value as it is typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.8g}"
    return "not set" if value is None else str(value)
