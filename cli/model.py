"""The options of commands that use a trained net: which one, and how it is fed."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from actrec import config
from actrec.cli.completion import run_names
from actrec.cli.ending import note
from actrec.cli.options import (
    FILE,
    FOLDER,
    Option,
    changed_flags,
    config_changes,
    config_options,
    data_option,
    limit_options,
    storage_options,
)
from actrec.cli.runs import run_folder
from actrec.opening import weights_in
from actrec.words import printable

if TYPE_CHECKING:
    from actrec.inference.model import Model

_OTHER_RUN = ", or pass a run with --run, or the folder of the dataset with --data"
NO_PROTOCOL = "none"
_TRAINED = "Trained net"
_NET = "Net (only with --weights)"  # the heading of its flags in --help


@dataclass(frozen=True)
class ModelChoice:
    """The trained net that the user chose, and how it is fed.

    Args:
        data: The dataset folder in which runs are searched.
        run_dir, checkpoint, weights: Where the net comes from. All are None for the newest run in `data`.
        labels: The names of its classes.
        others: Further arguments of `actrec.load`, by name.
    """

    data: Path
    run_dir: Path | None
    checkpoint: Path | None
    weights: Path | None
    labels: Path | None
    net: config.Net
    others: dict[str, Any]

    @property
    def device(self) -> str:
        """cpu or cuda."""
        from actrec.engine.devices import choose_device

        return choose_device(self.others["device"])

    @property
    def views(self) -> config.Views:
        """The views, with the default crop ratio unless the user gave one."""
        return config.Views(**self.others["views"])

    @functools.cached_property
    def path(self) -> Path:
        """The checkpoint or weights file.

        Raises:
            FileNotFoundError: The user named none, and there is no run with a checkpoint.
        """
        from actrec.engine import datafolder

        if self.weights is not None or self.checkpoint is not None:
            return self.weights or self.checkpoint  # type: ignore[return-value]
        run_dir = run_folder(self.run_dir, self.data) if self.run_dir is not None else None
        return datafolder.best_checkpoint(self.data, run_dir, advice=_OTHER_RUN)

    @property
    def home(self) -> Path:
        """The folder for files about the net: its run, or the dataset folder for weights without a run."""
        if self.weights is not None:
            return self.data
        return self.run_dir if self.run_dir is not None and self.checkpoint is not None else self.path.parent

    @property
    def arguments(self) -> tuple[Path, dict[str, Any]]:
        """The arguments of `actrec.load`."""
        return self.path, {"net": self.net if self.weights is not None else None, "classes": self.labels, **self.others}

    def without_protocol(self, flag: str) -> ModelChoice:
        """The same net, which follows no protocol. Raises UsageError if the user named one.

        Args:
            flag: Why.
        """
        scoring = self.others["scoring"]
        for name in ("protocol", "fps"):
            if getattr(scoring, name) not in (None, NO_PROTOCOL):
                raise click.UsageError(f"--{name} with {flag}, which follows no protocol: leave one of the two out")
        return replace(self, others=self.others | {"scoring": replace(scoring, protocol=NO_PROTOCOL)})

    def load(self) -> Model:
        """Loads it. Raises OSError and ValueError as `actrec.load`."""
        from actrec.inference.model import load

        path, options = self.arguments
        model = replace(load(path, **options), seen=[])
        self._tell(model)
        return model

    def _tell(self, model: Model) -> None:
        """Prints which net is used, in the first process: `net: runs/X/best.pt (s3d, epoch 2 of 30, run finished)`."""
        from actrec.engine import dist
        from actrec.report import runs

        known = [model.net.name]
        if self.weights is not None:
            known.append("weights")
        elif model.epochs is not None:
            known.append("epoch {} of {}".format(*model.epochs))
            run = runs.read(self.path.parent)
            if not run.broken and run.planned == model.epochs[1]:
                finished = {"finished": "run finished", "stopped early": "run stopped early"}
                known.append(finished.get(run.state, "run not finished"))
        if not dist.rank():
            note(printable(f"net: {self.path} ({', '.join(known)})"))
            for line in filter(None, (model.weights_note, model.protocol_note)):
                note(line)


def model_options(
    function: Callable | None = None, *, scores: bool = True, batches: bool = True, protocols: bool = False
) -> Callable:
    """Gives a command the flags that choose a trained net and its input. It receives `choice`, a `ModelChoice`.

    Args:
        scores: The command scores videos. Otherwise it gets no flags for views, averaging, loader and device.
        batches: It scores many videos. Otherwise it gets no flags for batches and for decoding ahead.
        protocols: It follows protocols, also by default. Otherwise it never does.
    """
    if function is None:
        return functools.partial(model_options, scores=scores, batches=batches, protocols=protocols)

    averaging = ("average", "precision") if scores else ()
    averaging = ("protocol", "fps", *averaging) if protocols else averaging

    @click.option(
        "--run",
        "run_dir",
        cls=Option,
        heading=_TRAINED,
        type=FOLDER,
        shell_complete=run_names,
        help="Run folder, or a name in DATA/runs.  [default: newest]",
    )
    @click.option(
        "--checkpoint", cls=Option, heading=_TRAINED, type=FILE, help="Checkpoint.  [default: best.pt of the run]"
    )
    @click.option(
        "--weights", cls=Option, heading=_TRAINED, type=FILE, help="Weights instead of a run; they need --backbone."
    )
    @click.option(
        "--labels",
        "classes",
        cls=Option,
        heading=_TRAINED,
        type=FILE,
        help="File of class names.  [default: in the checkpoint]",
    )
    @data_option
    @config_options(config.Views, only=("clips", "crops", "rule") if scores else ())
    @config_changes(
        config.Views, {"crop_ratio": f"as in validation; {config.Views.crop_ratio} for weights of other tools"}
    )
    @config_options(config.Scoring, only=(*averaging, "batch_size") if scores and batches else averaging)
    @config_changes(
        config.Clip,
        dict.fromkeys(("frames", "stride", "sampling", "rule", "modality", "image_range", "template"), "as trained"),
    )
    @config_changes(config.Frame, dict.fromkeys(("size", "mean", "std"), "as trained"))
    @config_options(config.Loader, only=("workers", "prefetch") if scores and batches else (), heading="Run")
    @config_changes(config.Loss, {"multi_label": "as trained"})
    @config_options(config.Run, only=("device",) if scores else ())
    @(limit_options if scores else lambda function: function)
    @(storage_options if scores else lambda function: function)
    @config_changes(config.Net, {"backbone": "that of the checkpoint"}, heading=_NET, common=True)
    @config_options(config.Net, without=("backbone",), heading=_NET)
    @functools.wraps(function)
    def call(
        *args: Any,
        data: Path,
        run_dir: Path | None,
        checkpoint: Path | None,
        weights: Path | None,
        classes: Path | None,
        views: config.Views,
        views_changes: dict[str, Any],
        scoring: config.Scoring,
        clip_changes: dict[str, Any],
        frame_changes: dict[str, Any],
        loader: config.Loader,
        loss_changes: dict[str, Any],
        run: config.Run,
        net_changes: dict[str, Any],
        net: config.Net,
        **flags: Any,
    ) -> Any:
        _check_origin(run_dir, checkpoint, weights, net_changes)
        if weights is None:
            _refuse_known(net, net_changes | clip_changes | loss_changes)
        scoring = scoring if protocols else replace(scoring, protocol=NO_PROTOCOL)
        given = {name: getattr(views, name) for name in ("clips", "crops", "rule") if _is_given(f"views_{name}")}
        chosen = ModelChoice(
            data,
            run_dir,
            checkpoint,
            weights,
            classes,
            replace(net, **net_changes),
            {
                "clip": clip_changes,
                "frame": config.Frame(**frame_changes),
                "views": given | views_changes,
                "scoring": scoring,
                "loader": loader,
                "multi_label": loss_changes.get("multi_label"),
                "device": run.device,
            },
        )
        return function(*args, choice=chosen, **flags)

    return call


def _is_given(parameter: str) -> bool:
    """Whether the user gave an option, if only its default."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source not in (None, ParameterSource.DEFAULT)


def _check_origin(
    run_dir: Path | None, checkpoint: Path | None, weights: Path | None, net_changes: dict[str, Any]
) -> None:
    """Raises UsageError if --weights is given with another source of the net or without a net, or if a file is a
    folder."""
    if weights is not None and (run_dir or checkpoint) is not None:
        raise click.UsageError("--weights together with --run or --checkpoint: expected one of them")
    for flag, path in (("--checkpoint", checkpoint), ("--weights", weights)):
        if path is not None and os.path.isdir(path):
            raise click.UsageError(
                f"{flag} {path} is a folder: expected a file{weights_in(path)}; pass a run folder with --run"
            )
    if weights is not None and not net_changes:
        raise click.UsageError(
            f"--weights {weights} without --backbone: expected the name of its net, which `actrec weights inspect` "
            "finds; pass a checkpoint of a run with --checkpoint, which needs no --backbone"
        )


def _refuse_known(net: config.Net, changes: dict[str, Any]) -> None:
    """Raises UsageError for flags whose values are stored in a checkpoint."""
    given = [name for name in ("backbone", "modality", "multi_label") if name in changes]
    known = [*(f"--{name.replace('_', '-')}" for name in given), *changed_flags(net)]
    if known:
        raise click.UsageError(f"{known[0]} without --weights: the checkpoint contains this option")
