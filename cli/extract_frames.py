"""actrec extract-frames: videos to frame folders, labels.txt and lists."""

from __future__ import annotations

from pathlib import Path

import click

from actrec.cli.options import worker_options
from actrec.cli.progress import Bar
from actrec.tools.make.extract_frames import Extracted, ExtractOptions, SplitOptions, extract_frames

FRAMES, SPLIT = ExtractOptions(), SplitOptions()


class Size(click.ParamType):
    name = "WxH"

    def convert(self, value, param, ctx) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, _, height = value.lower().partition("x")
        if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
            self.fail(f"{value!r}: expected width and height in pixels, such as 340x256", param, ctx)
        return int(width), int(height)


@click.command(name="extract-frames", context_settings={"show_default": True})
@click.argument("src", type=click.Path(path_type=Path), default="videos")
@click.argument("dst", type=click.Path(path_type=Path), default=".")
@click.option(
    "--short-side", default=FRAMES.short_side, help="Short side of the frames; smaller videos stay as they are."
)
@click.option("--upscale", is_flag=True, help="Enlarge smaller videos to the short side, too.")
@click.option("--resize", type=Size(), help="Exact size, instead of --short-side.")
@click.option("--fps", type=float, help="Frames a second, by timestamps.  [default: every frame]")
@click.option("--quality", default=FRAMES.quality, help="Of the JPEGs, 1 to 100.")
@click.option("--template", default=FRAMES.template, help="File names of the frames, numbered from 1.")
@click.option("--val-fraction", default=SPLIT.val_fraction, help="Part for validation, where nothing else says it.")
@click.option("--group-regex", help="Files whose path has the same match (its first group) stay on one side.")
@click.option("--seed", default=SPLIT.seed, help="Decides the split that --val-fraction asks for.")
@worker_options
def command(src, dst, short_side, upscale, resize, fps, quality, template, workers, val_fraction, group_regex, seed):
    """Videos in SRC to frames in DST/frames/<class>/<video>/, with labels.txt, train.txt and val.txt in DST.

    \b
    SRC (default: videos) holds <class>/<video>, or train/<class>/<video> and
    val/<class>/<video>, or any files that split lists name.
    DST (default: .) is the dataset's folder.

    The split comes from videos_train.txt and videos_val.txt or train.txt and val.txt in DST, SRC or SRC's parent
    (`path label`, `path start end label`); else from folders train and val; else it is drawn, class by class.

    Interrupted? The same command goes on where it stopped. Videos that cannot be decoded are in failed.csv, and the
    exit code is 1.
    """
    try:
        options = ExtractOptions(short_side, resize, upscale, quality, fps, template)
        split = SplitOptions(val_fraction, seed, group_regex)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        with Bar("videos") as bar:
            made = extract_frames(src, dst, options, split=split, workers=workers, progress=bar.to, log=click.echo)
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on from here")
        raise SystemExit(130) from None
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        raise click.ClickException(where) from None
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    click.echo(_summary(made, dst))
    if made.failed:
        raise SystemExit(1)


def _summary(made: Extracted, dst: Path) -> str:
    lists = ", ".join(f"{name} {rows:,}" for name, rows in made.lists.items())
    why = f"; why: {dst / 'failed.csv'}" if made.failed else ""
    frames = f"{made.frames:,} frames, {len(made.failed)} failed{why}"
    return f"{made.done + made.skipped:,} videos -> {dst / 'frames'}/ ({frames}); {lists}"
