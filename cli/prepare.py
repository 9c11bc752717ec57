"""actrec prepare: videos re-encoded for training, labels.txt and lists."""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.options import worker_options
from actrec.cli.progress import Bar
from actrec.tools.lists.from_folders import SplitOptions
from actrec.tools.make.prepare import PreparedSet, prepare
from actrec.tools.make.prepared_video import CRF, PRESETS, PrepareOptions

VIDEO, SPLIT = PrepareOptions(), SplitOptions()


@click.command(context_settings={"show_default": True})
@click.argument("src", type=click.Path(path_type=Path), required=False)
@click.argument("dst", type=click.Path(path_type=Path), required=False)
@click.option("--list", "lists", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Prepare the videos of this list, in place of SRC. May be repeated.")  # fmt: skip
@click.option("--short-side", default=VIDEO.short_side, help="Short side, rounded to a multiple of 16; smaller videos "
              "get the next multiple below their own.")  # fmt: skip
@click.option("--upscale", is_flag=True, help="Enlarge smaller videos to the short side, too.")
@click.option("--gop", default=VIDEO.gop, help="Frames from one keyframe to the next, at most.")
@click.option("--codec", type=click.Choice(list(CRF)), default=VIDEO.codec)
@click.option("--crf", type=int, help="Quality, 1 (best) to 51.  "
              f"[default: {', '.join(f'{crf} for {codec}' for codec, crf in CRF.items())}]")  # fmt: skip
@click.option("--preset", type=click.Choice(PRESETS), default=VIDEO.preset, help="How long the encoder thinks.")
@click.option("--encoder", type=click.Choice(["auto", "cpu", "nvenc"]), default=VIDEO.encoder,
              help="auto: NVENC where it works.")  # fmt: skip
@click.option("--fps", type=float, help="Frames a second, by timestamps.  [default: every frame, at its time]")
@click.option("--sample", default=3, type=click.IntRange(0), help="Videos in the table beforehand.")
@click.option("--dry-run", is_flag=True, help="Only show it.")
@click.option("--val-fraction", default=SPLIT.val_fraction, help="Part for validation, where nothing else says it.")
@click.option("--group-regex", help="Files whose path has the same match (its first group) stay on one side.")
@click.option("--seed", default=SPLIT.seed, help="Decides the split that --val-fraction asks for.")
@worker_options
def command(src, dst, lists, short_side, upscale, gop, codec, crf, preset, encoder, fps, sample, dry_run, workers,
            val_fraction, group_regex, seed):  # fmt: skip
    """Videos in SRC to small ones that decode fast, DST/prepared/<class>/<video>.mp4, with labels.txt, train.txt and
    val.txt in DST.

    \b
    SRC (default: videos) and the split are as for extract-frames.
    DST (default: .) is the dataset's folder.
    With --list the only argument is DST; a list of the same name is written
    there, with the ranges and labels of the given one.

    Short GOPs, no B-frames, no sound, rotation applied, BT.601; frame for frame the same video, which is proven by
    decoding each file that was written. Beforehand a table shows on some videos what happens to size, decode time and
    quality.

    Interrupted? The same command goes on where it stopped. Videos that cannot be decoded are in failed.csv; so are
    those whose proof failed, which lie in DST/quarantine. The exit code is then 1.
    """
    try:
        options = PrepareOptions(short_side, gop, crf, codec, preset, fps, upscale, encoder)
        split = SplitOptions(val_fraction, seed, group_regex)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if lists and (dst or not src):
        raise click.UsageError("with --list, expected one argument: DST, the folder for videos and their lists")
    source, dst = (lists, src) if lists else (src or Path("videos"), dst or Path("."))
    try:
        with Bar("videos") as bar:
            made = prepare(source, dst, options, split=split, sample=sample, dry_run=dry_run, workers=workers,
                           progress=bar.to, log=click.echo)  # fmt: skip
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on from here")
        raise SystemExit(130) from None
    if made is None:
        return
    click.echo(_summary(made, dst))
    if made.failed:
        raise SystemExit(1)


def _summary(made: PreparedSet, dst: Path) -> str:
    lists = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    why = f"; why: {dst / 'failed.csv'}" if made.failed else ""
    frames = f"{made.frames:,} frames, " if made.frames else ""
    what = f"{frames}{made.before / 1e6:,.1f} MB -> {made.after / 1e6:,.1f} MB, {len(made.failed)} failed{why}"
    return f"{made.done + made.skipped:,} videos -> {dst / 'prepared'}/ ({what}); {lists}"
