"""`actrec linear-probe`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec import config
from actrec.cli.ending import finish, json_option, note
from actrec.cli.options import FILE, Command, config_options
from actrec.words import counted


@click.command(
    cls=Command,
    examples=[
        "actrec linear-probe train.npz val.npz",
        "actrec linear-probe train.npz val.npz --shots 1,5 --seeds 20",
    ],
)
@click.argument("train", type=FILE)
@click.argument("val", type=FILE)
@config_options(config.Probe)
@json_option
def command(train: Path, val: Path, probe: config.Probe, json_path: Path | None) -> int:
    """Train simple classifiers on the features in TRAIN, and score them on those in VAL.

    TRAIN and VAL are files that `actrec embed` wrote for lists with labels. The classifiers are a linear probe,
    k-nearest neighbors, and linear probes that are trained on a few videos per class. Accuracies are in percent.
    """
    from actrec.inference.linear_probe import probe_files

    result = probe_files(train, val, probe)
    for text in result.notes:
        note(f"note: {text}")
    width = max(len(row.name) for row in result.rows)
    lines = []
    for row in result.rows:
        accuracy = f"{row.accuracy:6.2f}" if row.accuracy is not None else "     -"
        deviation = f" ± {row.deviation:5.2f}" if row.deviation is not None else " " * 8
        lines.append(f"{row.name:<{width}}  {accuracy}{deviation}  {row.note}".rstrip())
    return finish(
        f"top-1 accuracy on {counted(result.val, 'video')}, trained on {counted(result.train, 'video')} of "
        f"{counted(result.classes, 'class')}",
        *lines,
        json_path=json_path,
        result={"train_file": str(train), "val_file": str(val), **result.summary()},
    )
