"""`actrec fuse`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actrec import config
from actrec.cli.ending import OutputFile, finish, json_option, note
from actrec.cli.options import FILE, Command, config_options
from actrec.words import counted, text_of

if TYPE_CHECKING:
    from actrec.data.score_file import ScoreFile
    from actrec.inference.fuse import Fused

_SHOWN = 10  # videos without scores in every file that are listed


@click.command(
    cls=Command,
    examples=[
        "actrec fuse rgb/val_1x1.npz flow/val_1x1.npz --out fused.npz",
        "actrec fuse a_val.npz b_val.npz --fit a_val2.npz --fit b_val2.npz",
    ],
)
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="SCORES...")
@click.option("--fit", "fit_files", multiple=True, type=FILE,
              help="Fit the weights on these scores of other videos. Pass one for each SCORES, in order.")  # fmt: skip
@click.option("--common", is_flag=True, help="Leave out videos that are not in every file.")
@click.option("--out", type=OutputFile((".npz",)), help="Also write the fused scores to this file.")
@click.option("--force", is_flag=True, help="Replace a file that contains other scores.")
@json_option
@config_options(config.Fusion)
def command(
    files: tuple[Path, ...],
    fit_files: tuple[Path, ...],
    common: bool,
    out: Path | None,
    force: bool,
    json_path: Path | None,
    fusion: config.Fusion,
) -> int:
    """Average the scores of several nets, or of several evaluations of one net.

    SCORES are files that `actrec evaluate` wrote for the same videos. All files have the same weight, unless you pass
    weights (--fusion-weights) or fit them (--fit, --cross-validate).
    """
    from actrec.data import score_file
    from actrec.engine.result import Result
    from actrec.inference import fuse

    _check_usage(files, fit_files, fusion)
    read = _read((*files, *fit_files))
    fuse.check_classes(read)
    origin = _made_from(files, fit_files, fusion, common=common)
    if out is not None and not force:
        score_file.refuse_other(out, origin)
    inputs, left_out = fuse.align({str(path): read[str(path)] for path in files}, common=common)
    fit_on = None
    if fit_files:
        fit_on, fit_left_out = fuse.align({str(path): read[str(path)] for path in fit_files}, common=common)
        _refuse_shared(fit_on[str(fit_files[0])].ids, inputs[str(files[0])].ids)
        _show_left_out(fit_left_out, "of --fit ")
    _show_left_out(left_out)
    fused = fuse.fuse(inputs, fusion, fit_on=fit_on)
    singles = [Result.of(content) for content in inputs.values()]
    if out is not None:
        named = next((content for content in inputs.values() if content.has_names), inputs[str(files[0])])
        score_file.write(
            out,
            score_file.ScoreFile(fused.result.ids, fused.result.scores, fused.result.labels, named.classes, origin),
            force=force,
        )
    width = max(len(str(path)) for path in files)
    return finish(
        *(
            f"{path!s:<{width}}  weight {weight}  {single}"
            for path, weight, single in zip(files, _shown_weights(fused), singles)
        ),
        *_origin_of_weights(fusion, fit_on[str(fit_files[0])].ids if fit_on is not None else None),
        *([f"scores -> {out}"] if out is not None else []),
        f"fusion: {fused.result}",
        json_path=json_path,
        result={
            "inputs": [
                {"scores": str(path), "weight": float(weight), **single.summary()}
                for path, weight, single in zip(files, fused.weights, singles)
            ],
            "fit": [str(path) for path in fit_files],
            "weights_of_parts": fused.of_folds.tolist() if fused.of_folds is not None else None,
            "fusion": fused.result.summary(),
            "left_out": left_out,
            "scores": str(out) if out is not None else None,
        },
    )


def _read(paths: tuple[Path, ...]) -> dict[str, ScoreFile]:
    """The score files by their names. Raises ValueError with a line for each that cannot be read."""
    from actrec.data import score_file

    found, faults = {}, []
    for path in paths:
        try:
            found[str(path)] = score_file.read(path)
        except (OSError, ValueError) as error:
            faults.append(text_of(error))
    if faults:
        raise ValueError("\n".join(faults))
    return found


def _check_usage(files: tuple[Path, ...], fit_files: tuple[Path, ...], fusion: config.Fusion) -> None:
    if len(files) < 2:
        raise click.UsageError("one SCORES file: expected at least two")
    given = [str(path) for path in (*files, *fit_files)]
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise click.UsageError(f"{twice} is given twice: expected every file once")
    ways = {"--fit": fit_files, "--fusion-weights": fusion.weights, "--cross-validate": fusion.folds}
    chosen = [flag for flag, value in ways.items() if value]
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} together with {chosen[1]}: expected one of them")
    if fit_files and len(fit_files) != len(files):
        raise click.UsageError(
            f"{counted(len(fit_files), '--fit file')} for {len(files)} SCORES files: expected one for each, in the "
            "same order"
        )


def _refuse_shared(fitted: Any, reported: Any) -> None:
    shared = set(fitted) & set(reported)
    if shared:
        raise ValueError(
            f"{counted(len(shared), 'video')}, such as {min(shared)}, are in SCORES and in --fit: expected other "
            "videos in --fit, because accuracies on the videos of a fit are too high; or use --cross-validate"
        )


def _made_from(
    files: tuple[Path, ...], fit_files: tuple[Path, ...], fusion: config.Fusion, *, common: bool
) -> dict[str, Any]:
    from actrec.files import sha256

    return {
        "command": "fuse",
        "average": fusion.average,
        "fusion_weights": "equal" if fusion.weights is None else list(fusion.weights),
        "cross_validate": fusion.folds or 0,
        "seed": fusion.seed,
        "common": common,
        "inputs": [str(path) for path in files],
        "inputs_sha256": [sha256(path) for path in files],
        "fit": [str(path) for path in fit_files],
        "fit_sha256": [sha256(path) for path in fit_files],
    }


def _show_left_out(left_out: list[str], where: str = "") -> None:
    for id_ in left_out[:_SHOWN]:
        note(f"left out: {id_} is not in every file")
    if len(left_out) > _SHOWN:
        note(f"left out: … and {len(left_out) - _SHOWN} more")
    if left_out:
        note(f"{counted(len(left_out), 'video')} {where}left out")


def _shown_weights(fused: Fused) -> list[str]:
    if fused.of_folds is None:
        return [f"{weight:.3f}" for weight in fused.weights]
    low, high = fused.of_folds.min(axis=0), fused.of_folds.max(axis=0)
    return [f"{w:.3f} ({a:.3f} to {b:.3f})" for w, a, b in zip(fused.weights, low, high)]


def _origin_of_weights(fusion: config.Fusion, fitted: Any) -> list[str]:
    if fitted is not None:
        return [f"weights fitted on the {counted(len(fitted), 'video')} of --fit, none of which is scored here"]
    if fusion.folds is not None:
        return [f"weights fitted {fusion.folds} times; each video is scored with weights fitted on other videos"]
    return []
