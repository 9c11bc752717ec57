"""The docstrings on the page of the Python interface have examples, and these run."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typed_user

import actrec
from actrec.data.video.encode import VideoWriter

PAGE = Path(__file__).resolve().parents[1] / "docs/python.md"
# They are only compiled: they need a camera or another folder, register something for good, or take long.
NOT_RUN = {
    "actrec.Model.stream", "actrec.inference.stream.LivePrediction", "actrec.config.Stream", "actrec.configure_storage",
    "actrec.Model.export", "actrec.inference.export.Exported", "actrec.nets.register", "actrec.augment",
    "actrec.augment.register", "actrec.augment.opt", "actrec.augment.Augmentation",
}  # fmt: skip


def names() -> list[str]:
    """The functions, classes and modules on the page, and the functions of their classes and modules."""
    found = []
    for name, options in re.findall(r"^::: ([\w.]+)\n    options:(.*\n(?:      .*\n)*)", PAGE.read_text("utf-8"), re.M):
        members = re.findall(r"\w+", "".join(re.findall(r"members: \[(.*?)\]", options)))
        found += [name] + [f"{name}.{member}" for member in members]
    return [name for name in found if not is_property(name)]


def resolve(name: str) -> Any:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        break
    for part in parts[end:]:
        found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
    return found


def is_property(name: str) -> bool:
    return not (inspect.ismodule(found := resolve(name)) or inspect.isclass(found) or callable(unwrapped(found)))


def unwrapped(found: Any) -> Any:
    return found.__func__ if isinstance(found, classmethod) else found


def example(text: str) -> str:
    """The indented blocks of a docstring before its sections."""
    before = re.split(r"(?m)^(?:Args|Attributes|Returns|Raises):$", inspect.cleandoc(text), maxsplit=1)[0]
    return "\n".join(textwrap.dedent(block) for block in re.findall(r"^\n((?: {4}.*\n?|\n)+)", before, re.MULTILINE))


def test_the_page_has_the_public_names():
    assert len(names()) >= 60
    assert set(names()) >= NOT_RUN
    assert {f"actrec.{name}" for name in actrec.__all__} - {"actrec.__version__", "actrec.nets"} <= set(names())


@pytest.fixture(scope="module")
def folder(dataset, trained, tmp_path_factory) -> Path:
    """A dataset with the files that the examples name."""
    root = tmp_path_factory.mktemp("examples") / "data"
    shutil.copytree(dataset, root)
    shutil.copytree(trained, root / "runs/2026-11-28_s3d")
    rng = np.random.default_rng(0)
    for name in ("a.mp4", "b.mp4", "match.mp4"):
        with VideoWriter(root / name, width=48, height=32, rate=10) as writer:
            for _ in range(30):
                writer.write(rng.integers(0, 255, (32, 48, 3), np.uint8))
    torch.save(actrec.net("tiny3d", num_classes=3).state_dict(), root / "tiny3d_k400.pt")
    (root / "k400.txt").write_text("x\ny\nz\n")
    return root


@pytest.fixture(scope="module")
def given(folder) -> dict[str, Any]:
    """What the examples take for granted."""
    net = actrec.net("tiny3d", num_classes=8)
    model = actrec.load(folder / "runs/2026-11-28_s3d", device="cpu")
    loader = actrec.train_loader(folder / "train.txt", actrec.Clip(frames=4), net.input, batch_size=4)
    return {
        "actrec": actrec, "np": np, "torch": torch, "net": net, "model": model, "loader": loader,
        "index": loader.index, "timeline": model.timeline(folder / "match.mp4"),
    }  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_examples(name, folder, given, monkeypatch, capsys):
    code = example(inspect.getdoc(unwrapped(resolve(name))) or "")
    assert code, f"the docstring of {name} has no example"
    compiled = compile(code, name, "exec")
    if name in NOT_RUN:
        return
    monkeypatch.chdir(folder)
    loader = given["loader"]
    loader.load_state_dict({"epoch": 0, "step": 0})
    if name.endswith(".load_state_dict"):
        torch.save(loader.state_dict(), "loader.pt")
    exec(compiled, dict(given))
    for printed, comment in re.findall(r"^ *(actrec\.samplers\..*\))  # (\[\[.*\]\])$", code, re.MULTILINE):
        assert eval(printed, dict(given)).tolist() == eval(comment)


def test_a_users_program(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    typed_user.train()
    typed_user.use()


def test_missing_examples_are_noticed():
    assert example("Text.\n\n    x = 1\n\nMore.\n\nArgs:\n    a: b.\n") == "x = 1\n\n"
    assert example("Text.\n\nArgs:\n    a: b.\n\n    c\n") == ""
    assert is_property("actrec.pipelines.loader.Loader.skipped")
    assert not is_property("actrec.Video.of")
