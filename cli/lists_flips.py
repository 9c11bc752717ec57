"""`actrec lists flips`"""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.ending import finish, json_option
from actrec.cli.options import FOLDER, Command
from actrec.words import counted


@click.command(
    name="flips",
    cls=Command,
    short_help="Propose flips.txt: which classes are mirror images.",
    examples=[
        "actrec lists flips --dry-run",
        "actrec lists flips data/",
    ],
)
@click.argument("data", type=FOLDER, default=".")
@click.option("--dry-run", is_flag=True, help="Only print the proposal.")
@click.option("--force", is_flag=True, help="Replace an existing flips.txt.")
@json_option
def command(data: Path, dry_run: bool, force: bool, json_path: Path | None) -> int:
    """Write DATA/flips.txt for the classes in DATA/labels.txt whose names are mirror images of each other.

    Names with left and right, clockwise and counterclockwise, l2r and r2l and similar words are found. Training mirrors
    half of the clips, and flips.txt says which class a mirrored clip belongs to. Check the proposal: it is made from
    the names alone.
    """
    from actrec.data.lists import find_labels, read_labels
    from actrec.data.lists.mirror import ALONE, FILE, propose_flips, write_flips

    labels, path = find_labels(data), data / FILE
    if labels is None:
        raise ValueError(f"{data}: contains no labels.txt with the names of the classes: expected a dataset folder")
    if path.exists() and not (force or dry_run):
        raise ValueError(f"{path} exists already: pass --force to replace it, or --dry-run to only print the proposal")
    names = read_labels(labels)
    lines = propose_flips(names)
    shown = [f"{one}: never mirrored" if other == ALONE else f"{one} <-> {other}" for one, other in lines]
    if lines and not dry_run:
        write_flips(path, lines)
    written = lines and not dry_run
    pairs = sum(other != ALONE for _, other in lines)
    if lines:
        summary = f"{counted(pairs, 'pair')} of mirror images, {len(lines) - pairs} never mirrored"
        summary += f", of {counted(len(names), 'class')}" + (f" -> {path}" if written else "")
    else:
        summary = f"no name of the {counted(len(names), 'class')} looks like a mirror image: no {FILE} is needed"
    result = {"file": str(path) if written else None, "flips": [list(line) for line in lines]}
    return finish(*shown, summary, json_path=json_path, result=result)
