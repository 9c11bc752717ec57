"""`actrec predict --timeline`"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli.ending import count_missing, finish, name_missing, note
from actrec.cli.options import changed_flags
from actrec.words import column_width, counted, padded, printable

if TYPE_CHECKING:
    from actrec.data.lists import Video
    from actrec.inference.model import Model
    from actrec.inference.segments import Segment
    from actrec.inference.timeline import Timeline

VIDEOS = (".mp4", ".mkv", ".mov")  # what --render writes


@dataclass(frozen=True)
class Outputs:
    """The files of `actrec predict --timeline`; None for files that are not written."""

    csv: Path | None
    json: Path | None
    truth: Path | None
    render: Path | None
    plot: Path | None


def refuse_without_timeline(segments: config.Segments, windows: config.Windows, others: Mapping[str, Any]) -> None:
    """Raises UsageError if a flag of --timeline is given without it.

    Args:
        others: The values of other flags, by name.
    """
    for options, owners in ((windows, "--timeline or --stream"), (segments, "--timeline")):
        if changed := changed_flags(options):
            raise click.UsageError(f"{changed[0]} without {owners}: it belongs to {owners}")
    for name, value in others.items():
        if value:
            raise click.UsageError(f"{name} without --timeline: it belongs to --timeline")


def predict_timeline(
    model: Model,
    videos: Sequence[Video],
    windows: config.Windows,
    options: config.Segments,
    outputs: Outputs,
    *,
    topk: int,
    source: Path,
    inputs: Sequence[Path | str],
) -> int:
    """Scores windows over long videos, prints segments and writes files. Returns the exit code.

    Args:
        topk: Number of classes that are drawn into the video.
        source: The checkpoint, for the result file.
        inputs: What the user named.

    Raises:
        ValueError, OSError: The truth is malformed, or a file cannot be written.
    """
    from actrec.inference.segments import read_truth, truth_of

    ids = [video.id for video in videos]
    for flag, path in (("--render", outputs.render), ("--plot", outputs.plot)):
        if path is not None and len(videos) > 1:
            raise click.UsageError(f"{flag} with {len(videos)} videos: expected one")
    truth: dict[str, list[Segment]] | None = None
    if outputs.truth is not None:
        segments = read_truth(outputs.truth, model.class_names)
        try:
            truth = truth_of(segments, ids)
        except ValueError as error:
            raise ValueError(f"{outputs.truth}: {error}") from None
    timelines: dict[str, Timeline] = {}
    found: dict[str, list[Segment]] = {}
    missing: dict[str, str] = {}
    for video in videos:
        timeline = _score(model, video, windows, missing)
        if timeline is not None:
            timelines[video.id], found[video.id] = timeline, timeline.segments(options)
            _print_segments(timeline, found[video.id], options)
    if outputs.csv is not None:
        _write_csv(outputs.csv, list(timelines.values()))
    lines = [
        line
        for id_ in timelines
        for line in _draw(timelines[id_], found[id_], (truth or {}).get(id_, []), outputs, topk, options.threshold)
    ]
    precision = None if truth is None else _precision(found, truth)
    if precision is not None:
        lines += _precision_table(precision)
    windows_missing = sum(len(timeline.missing) for timeline in timelines.values())
    if windows_missing:
        lines.append(f"{counted(windows_missing, 'window')} cannot be used")
    for line in model.notices():
        note(line)
    lines += count_missing(missing, len(videos), inputs)
    result = {
        "model": str(source),
        "classes": list(model.class_names),
        "videos": [_as_dict(timelines[id_], found[id_]) for id_ in timelines],
        "missing": missing,
    }
    if precision is not None:
        result["map"] = precision
    return finish(*lines, json_path=outputs.json, result=result, failed=bool(missing or windows_missing))


def _score(model: Model, video: Video, windows: config.Windows, missing: dict[str, str]) -> Timeline | None:
    """The timeline of a video. Prints what cannot be used. A video that cannot be used is also added to `missing`."""
    from actrec.cli.progress import watched
    from actrec.data.times import UNSTAMPED
    from actrec.engine.failures import with_name

    try:
        with watched("windows") as progress:
            timeline = model.timeline(video, every=windows.every, window=windows.window, progress=progress)
    except config.OptionError:
        raise
    except (ValueError, OSError) as error:
        missing[video.id] = str(error)
        name_missing("not predicted", {video.id: str(error)}, 1)
        return None
    times = timeline.frame_times
    seconds = times.end - times.begins
    if windows.window is not None and windows.window > seconds + 0.5 / times.rate:
        shown = f"--window {windows.window:g} is longer than the video ({seconds:.2f} s)"
        note(f"{printable(video.id)}: {shown}; all of it is one window")
    if timeline.media.template is None and not timeline.media.stamped:
        note(f"{printable(video.id)}: {UNSTAMPED} ({times.rate:g} per second)")
    for reason, count in Counter(timeline.missing.values()).items():
        note(f"not predicted: {counted(count, 'window')}: {with_name(video.id, reason)}")
    return timeline


def _print_segments(timeline: Timeline, segments: Sequence[Segment], options: config.Segments) -> None:
    click.echo(printable(timeline.video.id))
    if not segments:
        click.echo(
            f"  no segment: no class has a probability of at least {options.threshold:g} (--threshold) for at least "
            f"{options.min_length:g} s (--min-length)"
        )
    width = column_width(["class", *timeline.classes])
    if segments:
        click.echo(f"  {'start s':>9}  {'end s':>9}  {'class':<{width}}  score")
    for segment in segments:
        name = padded(timeline.classes[segment.label], width)
        click.echo(f"  {segment.start:9.2f}  {segment.end:9.2f}  {name}  {segment.score:.3f}")


def _write_csv(path: Path, timelines: Sequence[Timeline]) -> None:
    from actrec.files import write_csv

    def rows() -> Iterator[list[str]]:
        for timeline in timelines:
            for (start, end), values in zip(timeline.times.tolist(), timeline.probabilities):
                first = [timeline.video.id, f"{start:.3f}", f"{end:.3f}", timeline.classes[values.argmax()]]
                yield [*first, *(f"{value:.6g}" for value in (values.max(), *values.tolist()))]

    classes = timelines[0].classes if timelines else ()
    write_csv(path, ("video", "start", "end", "class", "probability", *classes), rows())


def _draw(
    timeline: Timeline,
    segments: Sequence[Segment],
    truth: Sequence[Segment],
    outputs: Outputs,
    topk: int,
    threshold: float,
) -> Iterator[str]:
    from actrec.cli.progress import Bar
    from actrec.inference import plot
    from actrec.inference.render import render

    if outputs.plot is not None:
        plot.save(timeline, segments, outputs.plot, truth, threshold=threshold)
        yield f"wrote {outputs.plot}"
    if outputs.render is not None:
        with Bar("frames", total=timeline.media.frames) as bar:
            sound = render(timeline, segments, outputs.render, topk=topk, progress=bar.add)
        yield f"wrote {outputs.render} ({'no sound' if sound == 'none' else f'sound {sound}'})"


def _precision(found: Mapping[str, Sequence[Segment]], truth: Mapping[str, Sequence[Segment]]) -> dict[str, float]:
    """mAP in percent by tIoU threshold, and the averages that THUMOS14 and ActivityNet report."""
    from actrec.inference.segments import ACTIVITYNET, THUMOS, mean_average_precision

    thresholds = sorted({*THUMOS, *ACTIVITYNET})
    values = dict(zip(thresholds, mean_average_precision(found, truth, thresholds).tolist()))
    means = {
        f"mean_{name}": sum(values[t] for t in chosen) / len(chosen)
        for name, chosen in (("0.3_0.7", THUMOS), ("0.5_0.95", ACTIVITYNET))
    }
    return {f"{threshold:g}": value for threshold, value in values.items()} | means


def _precision_table(precision: Mapping[str, float]) -> list[str]:
    columns = {name: name for name in ("0.3", "0.4", "0.5", "0.6", "0.7")}
    columns |= {"mean 0.3-0.7": "mean_0.3_0.7", "mean 0.5-0.95": "mean_0.5_0.95"}
    return [
        "  ".join(["tIoU ", *(f"{name:>5}" for name in columns)]),
        "  ".join(["mAP %", *(f"{precision[key]:>{max(5, len(name))}.1f}" for name, key in columns.items())]),
    ]


def _as_dict(timeline: Timeline, segments: Sequence[Segment]) -> dict[str, Any]:
    return {
        "video": timeline.video.id,
        "frames": timeline.media.frames,
        "rate": timeline.media.rate,
        "timestamps": timeline.media.stamped,
        "decoded": timeline.decoded,
        "clamped": timeline.clamped,
        "windows": [
            {"start": start, "end": end, "probabilities": values}
            for (start, end), values in zip(timeline.times.tolist(), timeline.probabilities.tolist())
        ],
        "segments": [
            {"start": s.start, "end": s.end, "class": timeline.classes[s.label], "score": s.score} for s in segments
        ],
        "missing": timeline.missing,
    }
