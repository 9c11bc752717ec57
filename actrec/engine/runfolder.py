"""The folder of a run: its configuration, what data it uses, and its checkpoints, one of which is always intact."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from actrec import config
from actrec.config import Input, OptionError, Recipe
from actrec.data.index import Index
from actrec.data.lists import Video
from actrec.engine import checkpoint, runlog
from actrec.engine.environment import environment
from actrec.files import atomic_link, read_json, sha256, write_csv, write_json, writing
from actrec.system import lock_folder

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
CHECKPOINTS = (LAST, PREVIOUS, BEST)
DATA, NAN, ENVIRONMENT = "data.json", "nan.json", "environment.json"
SKIPPED = "skipped.csv"
DESCRIPTION = (runlog.CONFIG, ENVIRONMENT, DATA, SKIPPED, runlog.NAME, runlog.STEPS, runlog.WARNINGS)
FILES = (BEST, LAST, *DESCRIPTION)

MAY_CHANGE = {  # options that do not affect the weights of an epoch: they may differ when it is continued
    ("loader", "workers"), ("loader", "prefetch"), ("run", "device"), ("run", "checkpoint_every"),
    ("run", "keep_every"), ("run", "log_every"), ("run", "tensorboard"), ("run", "cudnn_benchmark"),
    ("run", "early_stopping"), ("net", "checkpointing"),
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """The lists of a run.

    Args:
        val: None trains without validation; then the last epoch is the best.
        classes: The name of each label.
        flip_map: For each label the label of its mirror image, -1 if it has none.
        flips_from_names: There is no `flips.txt`: `flip_map` was made from the names of the classes.
        sources: The dataset folder, the training list and the validation list, if they are files. The configuration of
            a run stores them, so that `--resume` finds them.
    """

    train: Sequence[Video]
    train_index: Index
    val: Sequence[Video] | None
    val_index: Index | None
    classes: Sequence[str]
    flip_map: Sequence[int] | None = None
    sources: tuple[Path, Path, Path | None] | None = None
    flips_from_names: bool = False


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Creates the folder if it is missing, and locks it for this process.

    At the end, removes it if it is empty, and with it the folders around it that were created and are empty.

    Raises:
        ValueError: Another process has locked it.
        OSError: It cannot be created.
    """
    created = [folder for folder in run_dir.parents if not folder.exists()]
    try:
        with contextlib.ExitStack() as lock:
            try:
                lock.enter_context(lock_folder(run_dir))
            except BlockingIOError:
                raise ValueError(f"{run_dir} is in use: another process is training in it") from None
            yield
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for folder in created:
                folder.rmdir()


@contextlib.contextmanager
def removed_if_set_up_fails(run_dir: Path) -> Iterator[None]:
    """If an error ends the block before the run has logged a step, removes what `begin` wrote.

    Files are removed only if there was no run in the folder before.
    """
    existed = (run_dir / runlog.CONFIG).exists()
    try:
        yield
    except BaseException:
        if not existed and not has_checkpoint(run_dir) and not (run_dir / NAN).exists():
            _remove_description(run_dir)
        raise


def _remove_description(run_dir: Path) -> None:
    """Removes the description and the logs of a run, unless a step was logged."""
    if runlog.read(run_dir, runlog.STEPS):
        return
    for name in DESCRIPTION:
        (run_dir / name).unlink(missing_ok=True)
    shutil.rmtree(run_dir / "tensorboard", ignore_errors=True)


def has_checkpoint(run_dir: Path) -> bool:
    return any((run_dir / name).exists() for name in CHECKPOINTS)


def refuse_existing(run_dir: Path) -> None:
    """Raises ValueError if the folder contains a run, or files of the user that a run would replace."""
    is_described = _is_config(run_dir / runlog.CONFIG)
    if is_described and has_checkpoint(run_dir):
        raise ValueError(
            f"{run_dir} contains a run already: pass --resume to continue it, or another --run to begin a new one"
        )
    if not is_described:  # else a run that ended before its first checkpoint
        for name in (*CHECKPOINTS, *DESCRIPTION, "tensorboard"):
            if name != runlog.WARNINGS and (run_dir / name).exists():
                raise ValueError(
                    f"{run_dir / name} exists, and a run would replace it: pass another --run, or --resume if the "
                    "folder contains a run"
                )


def _is_config(path: Path) -> bool:
    """Whether a file is the configuration of a run, as far as it can be read."""
    try:
        stored = read_json(path, dict)
    except (OSError, ValueError):
        return False
    return all(isinstance(stored.get(section), dict) for section in ("net", "optim"))


def begin(
    run_dir: Path,
    recipe: Recipe,
    data: Data,
    net_input: Input,
    device: torch.device,
    precision: str,
    origin: dict[str, Any] | None,
) -> None:
    """Writes the description of a new run, and starts its logs.

    Args:
        origin: The result of `describe_weights`, None for a net with random weights.

    Raises:
        ValueError: The folder contains a run.
    """
    refuse_existing(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in (NAN, SKIPPED, runlog.WARNINGS):
        (run_dir / name).unlink(missing_ok=True)
    shutil.rmtree(run_dir / "tensorboard", ignore_errors=True)
    runlog.clear(run_dir)
    write_config(run_dir, recipe, net_input, data)
    write_json(run_dir / ENVIRONMENT, environment(device, precision) | {"weights": origin}, indent=2)
    write_json(run_dir / DATA, _describe_data(data), indent=2)


def write_config(run_dir: Path, recipe: Recipe, net_input: Input, data: Data) -> None:
    """Writes `config.json`: all options, and where the lists are."""
    sources = {"data": _describe_sources(run_dir, *data.sources)} if data.sources is not None else {}
    write_json(run_dir / runlog.CONFIG, {**plain_config(recipe, net_input), **sources}, indent=2)


def renew_config(run_dir: Path, recipe: Recipe, net_input: Input, data: Data, *, changed: bool) -> None:
    """Writes `config.json` again if it was lost or is damaged, or if options have changed."""
    if changed or stored_config(run_dir)[1].name != runlog.CONFIG:
        write_config(run_dir, recipe, net_input, data)


def _describe_sources(run_dir: Path, folder: Path, train: Path, val: Path | None) -> dict[str, str | None]:
    """Paths that survive if the dataset folder is moved with its lists and runs."""

    def is_inside(path: Path) -> bool:
        return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))

    def below(path: Path) -> str:
        return os.path.relpath(path, folder) if is_inside(path) else os.path.abspath(path)

    return {
        "folder": os.path.relpath(folder, run_dir) if is_inside(run_dir) else os.path.abspath(folder),
        "list": below(train),
        "val_list": below(val) if val is not None else None,
    }


def stored_config(run_dir: Path) -> tuple[dict[str, Any], Path]:
    """The options of a run by section, and the file that they are from: `config.json`, else a checkpoint.

    Raises:
        ValueError, OSError: None of these files can be read.
    """
    try:
        found = runlog.read_config(run_dir)
        if all(isinstance(found.get(section), dict) for section in ("net", "optim", "input")):
            return found, run_dir / runlog.CONFIG
    except (ValueError, OSError):
        pass
    problems: list[Exception] = []
    for name in CHECKPOINTS:
        try:
            saved = checkpoint.load(run_dir / name).get("config")
        except (ValueError, OSError) as error:
            problems.append(error)
            continue
        if isinstance(saved, dict):
            return saved, run_dir / name
    raise ValueError(f"{run_dir / runlog.CONFIG} cannot be read, and no checkpoint has the options of the run") from (
        problems[0] if problems else None
    )


def change_epochs(run_dir: Path, saved: dict[str, Any], optim: config.Optim) -> str | None:
    """What to say if a run is continued with another number of epochs; None if it is the same number.

    Args:
        saved: The checkpoint.

    Raises:
        OptionError: The learning rates of the epochs that are done depend on the number, or they are more.
    """
    planned, asked = saved["config"]["optim"].get("epochs", config.Optim().epochs), optim.epochs
    if asked == planned:
        return None
    finished, position = saved["progress"]["epoch"], saved["loader"]
    if optim.schedule == "cosine" and asked < planned:
        raise OptionError(
            f"`epochs` {asked}, but {run_dir} was started with {planned}, of which {finished} are done: with "
            f"`schedule` cosine, a run cannot be shortened; omit `epochs` to continue to epoch {planned}"
        )
    if optim.schedule == "cosine":
        raise OptionError(
            f"`epochs` {asked}, but {run_dir} was started with {planned}: with `schedule` cosine, the learning rate of "
            f"every epoch depends on the number of epochs. To train longer, begin a new run with `weights` "
            f"{run_dir / LAST}"
        )
    begun = finished + ((position["epoch"], position["step"]) != (finished, 0))
    if asked < begun:
        raise OptionError(f"`epochs` {asked}, but {run_dir} has begun epoch {begun}: expected at least {begun}")
    return (
        f"{run_dir} continues to epoch {asked} instead of {planned}: the learning rate of each epoch "
        f"follows --schedule {optim.schedule} as before"
    )


def write_skipped(run_dir: Path, skipped: Sequence[tuple[str, str]]) -> None:
    """Writes `skipped.csv`: the name of each training video that is not drawn, and the reason."""
    with writing(run_dir / SKIPPED):
        write_csv(run_dir / SKIPPED, ("video", "reason"), skipped)


def read_skipped(run_dir: Path) -> dict[str, str]:
    """The reasons in `skipped.csv` by the names of the videos, as far as they can be read."""
    try:
        with open(run_dir / SKIPPED, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    except (OSError, ValueError, csv.Error):
        return {}


def save(run_dir: Path, name: str, snapshot: dict[str, Any]) -> None:
    """Writes a checkpoint. The old `last.pt` becomes `previous.pt`: one of the two is intact at any time.

    Raises:
        OSError: It cannot be written. The existing checkpoints are intact.
    """
    path = run_dir / name
    try:
        if name == LAST and path.exists():
            atomic_link(path, run_dir / PREVIOUS)
        checkpoint.save(path, snapshot)
    except OSError as error:
        before = "; the previous checkpoint is intact: free some space, then pass --resume to continue from it"
        before = before if any((run_dir / other).exists() for other in (LAST, PREVIOUS)) else ""
        raise OSError(f"{path}: {error.strerror or error}{before}") from None


def keep(run_dir: Path, name: str) -> None:
    """Keeps `last.pt` under another name too, unless a file of that name exists."""
    if not (run_dir / name).exists():
        atomic_link(run_dir / LAST, run_dir / name)


def newest(run_dir: Path, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The newest intact checkpoint of a run; None if it has no checkpoint.

    If `last.pt` is damaged or missing, this is `previous.pt`, or else `best.pt` (a run without validation writes it
    before the first `last.pt`). A damaged `last.pt` is renamed to `last.pt.torn`.

    Args:
        say: Called with a warning if `last.pt` is not used.

    Raises:
        ValueError: All checkpoints are damaged, or the newest intact one is in a format of another version.
        OSError: A file cannot be read.
    """
    problems: dict[str, ValueError] = {}
    for name in CHECKPOINTS:
        try:
            found = checkpoint.load(run_dir / name)
        except FileNotFoundError:
            continue
        except checkpoint.OtherVersion:  # an older checkpoint would undo the work of that version
            raise
        except ValueError as error:
            problems[name] = error
            continue
        if name != LAST:
            say(f"WARNING: {problems.get(LAST, f'{run_dir / LAST}: the file is missing')}; continuing from {name}")
        if LAST in problems:  # else the next checkpoint would rename it to previous.pt
            os.replace(run_dir / LAST, run_dir / f"{LAST}.torn")
        return found
    if problems:
        raise next(iter(problems.values()))
    return None


def stored_flips(run_dir: Path, data: Data) -> Sequence[int] | None:
    """The flip map to continue a run with: without a `flips.txt`, it is the one that the run began with.

    What is concluded from the names of the classes may differ between versions. Earlier ones mirrored all classes.
    """
    if not data.flips_from_names:
        return data.flip_map
    try:
        stored = read_json(run_dir / DATA, dict)["flip_map"]
    except (OSError, ValueError, KeyError):
        return data.flip_map
    is_map = isinstance(stored, list) and len(stored) == len(data.classes) and all(type(one) is int for one in stored)
    return tuple(stored) if is_map else None if stored is None else data.flip_map


def refuse_other_data(run_dir: Path, data: Data) -> str | None:
    """What to say if `data.json` is missing or damaged; it is written again. Otherwise None.

    Raises:
        ValueError: The run was started with other lists, classes or mirror images. The message names what differs.
        OSError: The file cannot be read or written.
    """
    path, now = run_dir / DATA, _describe_data(data)
    try:
        started = read_json(path, dict)
        problem = None if _is_description(started) else f"{path}: the file is damaged"
    except FileNotFoundError:
        started, problem = {}, f"{path}: the file is missing"
    except ValueError as error:
        started, problem = {}, str(error)
    if problem is not None:
        write_json(path, now, indent=2)
        return f"WARNING: {problem}; it is written again, without a comparison with the data that the run began with"
    different = [name for name, value in now.items() if not _same(started.get(name), value)]
    if different:
        raise ValueError(
            f"{run_dir} was started with other data ({', '.join(different)}): expected the same lists and labels to "
            "continue it"
        )
    return None


def refuse_other_config(run_dir: Path, started: dict[str, Any], recipe: Recipe, net_input: Input) -> None:
    """Raises ValueError if the run was started with other options, and names them.

    Args:
        started: The configuration in the checkpoint. An option that it does not have had its default value.
    """
    defaults = {f.name: _defaults(getattr(recipe, f.name)) for f in fields(recipe)}
    before = _with_clip_length({part: values | started.get(part, {}) for part, values in defaults.items()}
                               | {"input": started.get("input", {})})  # fmt: skip
    now = _with_clip_length(plain_config(recipe, net_input))
    ignored = MAY_CHANGE | {("optim", "epochs")}
    if before["clip"]["modality"] != now["clip"]["modality"]:  # the normalization follows from it
        ignored |= {("input", "mean"), ("input", "std")}
    different = [
        f"{name} {_shown(before[part].get(name))} (now {_shown(value)})"
        for part, values in now.items()
        for name, value in values.items()
        if (part, name) not in ignored and before[part].get(name) != value
    ]
    if different:
        raise ValueError(f"{run_dir} was started with {', '.join(different)}: expected the same options to continue it")


def describe_weights(path: str, new_head: bool) -> dict[str, Any]:
    """The file that a run starts from, for `environment.json`.

    Raises:
        OSError: The file cannot be read.
    """
    return {"file": path, "sha256": sha256(path), "new_head": new_head}


def plain_config(recipe: Recipe, net_input: Input) -> dict[str, Any]:
    """The configuration with lists for tuples, as in `config.json`."""
    return json.loads(json.dumps({**asdict(recipe), "input": asdict(net_input)}))


def _with_clip_length(stored: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the number of frames of a clip in `clip` only; `input` has the net's own number."""
    net_input = dict(stored["input"])
    own = net_input.pop("frames", None)
    return {**stored, "clip": {**stored["clip"], "frames": stored["clip"]["frames"] or own}, "input": net_input}


def _shown(value: Any) -> str:
    """An option's value without Python's syntax."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    return "not set" if value is None else str(value)


def _defaults(settings: Any) -> dict[str, Any]:
    return json.loads(json.dumps({f.name: f.default for f in fields(settings)}))


def _describe_data(data: Data) -> dict[str, Any]:
    return {
        "classes": list(data.classes),
        "flip_map": list(data.flip_map) if data.flip_map is not None else None,
        "train": _describe_list(data.train_index),
        "val": _describe_list(data.val_index) if data.val_index is not None else None,
    }


def _is_description(found: dict[str, Any]) -> bool:
    """Whether a value has the form of `_describe_data`."""
    lists = [found.get("train"), *([found["val"]] if found.get("val") is not None else [])]
    return (
        isinstance(found.get("classes"), list)
        and "flip_map" in found
        and "val" in found
        and all(isinstance(one, dict) and isinstance(one.get("list"), str) for one in lists)
    )


def _describe_list(index: Index) -> dict[str, Any]:
    rows = ",".join(map(str, sorted(index.broken)))
    return index.fingerprint() | ({"unusable": hashlib.sha256(rows.encode()).hexdigest()} if rows else {})


def _same(started: Any, now: Any) -> bool:
    """Whether two descriptions of a list are the same.

    Contents that are unknown, then or now, count as the same. They are unknown if a file cannot be read any more, or
    can be read again.
    """
    if not isinstance(started, dict) or not isinstance(now, dict):
        return started == now
    if None in (started.get("contents"), now["contents"]) or started.get("unusable") != now.get("unusable"):
        started, now = ({**values, "contents": None, "unusable": None} for values in (started, now))
    return started == now
