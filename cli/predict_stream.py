"""`actrec predict --stream`"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli.ending import finish, note
from actrec.cli.options import changed_flags
from actrec.words import counted

if TYPE_CHECKING:
    from actrec.inference.model import Model
    from actrec.inference.stream import StreamSummary


def check_stream(source: str | None, options: config.Stream, others: Mapping[str, Any]) -> None:
    """Raises UsageError if --stream is missing, or if it is given together with an argument that it excludes.

    Args:
        others: The values of arguments that --stream excludes, by the names that messages show.
    """
    given = [name for name, value in others.items() if value]
    if source is not None and given:
        raise click.UsageError(f"--stream together with {given[0]}: expected one of them")
    if source is not None and os.path.isfile(source):
        raise click.UsageError(f"--stream {source}: for a file, leave out --stream")
    if source is None and (changed := changed_flags(options)):
        raise click.UsageError(f"{changed[0]} without --stream: it belongs to --stream")
    if source is None and not others["INPUT"]:
        raise click.UsageError("Missing argument 'INPUT...': expected videos, folders or lists, or --stream")


def predict_stream(
    model: Model, source: str, windows: config.Windows, options: config.Stream, *, topk: int, json_path: Path | None
) -> int:
    """Prints a line of JSON for each prediction, and a summary at the end.

    Raises:
        ValueError, OSError: As `Model.stream`.
    """
    from actrec.data.video.live import shown
    from actrec.inference.stream import StreamSummary, stream

    summary, interrupted, error = StreamSummary(), False, None
    found = stream(model, source, windows=windows, options=options, topk=topk, tell=note, summary=summary)
    try:
        for prediction in found:
            click.echo(json.dumps(prediction.as_dict()))  # click.echo also flushes
    except KeyboardInterrupt:
        interrupted = True
    except BrokenPipeError:  # the reader of the lines has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as stopped:
        error = stopped
    finally:
        found.close()
    note(_line(summary))
    result = {"source": shown(source), **summary.as_dict(), "error": None if error is None else str(error)}
    finish(json_path=json_path, result=result)
    if error is not None:
        raise error
    return 130 if interrupted else 0


def _line(summary: StreamSummary) -> str:
    p50, p99 = summary.latency(50), summary.latency(99)
    latency = f"latency {p50:.3f} s (p50), {p99:.3f} s (p99)" if p50 is not None else "no latency"
    return (
        f"{counted(summary.predictions, 'prediction')}, {latency}; {counted(summary.received, 'frame')} received, "
        f"{summary.dropped:,} dropped; {counted(summary.skipped, 'prediction')} skipped; "
        f"{counted(summary.reconnects, 'reconnect')}"
    )
