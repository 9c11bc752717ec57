"""`actrec bench`"""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.option("--net", "names", multiple=True, required=True, help="Net to measure; may be given several times.")
@click.option("--frames", type=click.IntRange(min=1), help="Frames of a clip.  [default: each net's own]")
@click.option("--size", type=click.IntRange(min=1), help="Height and width of the clips.  [default: each net's own]")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Clips of a step.")
@click.option("--steps", type=click.IntRange(min=1), default=2, show_default=True, help="Steps that a turn counts.")
@click.option("--turns", type=click.IntRange(min=1), default=5, show_default=True, help="Turns; the table has medians.")
@click.option("--temporal-stride/--no-temporal-stride", default=None, help="For nets that have this option.")
@click.option("--only-default", is_flag=True, help="Only the form that training uses by default on this device.")
@click.option("--compile", "compiled", is_flag=True, help="Also the default form through torch.compile.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write what was printed as JSON.")
def command(
    names: tuple[str, ...],
    frames: int | None,
    size: int | None,
    batch_size: int,
    steps: int,
    turns: int,
    temporal_stride: bool | None,
    only_default: bool,
    compiled: bool,
    device: str,
    json_path: Path | None,
) -> int:
    """Measure how fast nets train on random clips, in clips per second.

    Every net runs in every form (float32 or bfloat16, contiguous or channels-last) in turn, so that a busy machine
    slows all alike; ratios are medians over the turns.
    """
    from dataclasses import replace

    from actrec.cli.progress import Bar
    from actrec.engine import bench
    from actrec.engine.train import choose_device

    device = choose_device(device)
    default = bench.default_form(device)
    forms = [default] if only_default else list(bench.FORMS)
    if compiled:
        forms.append(replace(default, compiled=True))
    options = {} if temporal_stride is None else {"temporal_stride": temporal_stride}
    with Bar("turns", total=turns * len(names) * len(forms)) as bar:
        speeds = bench.training_speeds(
            [(name, form) for name in names for form in forms],
            options=options,
            frames=frames,
            size=size,
            batch_size=batch_size,
            steps=steps,
            turns=turns,
            device=device,
            progress=bar.add,
        )
    rows = []
    for speed in speeds:
        first = next(other for other in speeds if other.net == speed.net)
        same = next(other for other in speeds if other.form == speed.form)
        rows.append(
            {
                "net": speed.net,
                "form": f"{speed.form}{' (default)' if speed.form == default else ''}",
                "clips_per_second": round(speed.median, 3),
                "by_first_form": round(speed.ratio(first), 3),
                "by_first_net": round(speed.ratio(same), 3),
            }
        )
    click.echo(f"{'net':<24} {'form':<34} {'clips/s':>8} {'x ' + str(forms[0]):>22} {'x ' + names[0]:>18}")
    for row in rows:
        click.echo(
            f"{row['net']:<24} {row['form']:<34} {row['clips_per_second']:>8.2f} {row['by_first_form']:>22.2f} "
            f"{row['by_first_net']:>18.2f}"
        )
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0
