"""The pages tell the truth: their flags exist, their examples run, and their links lead somewhere.

Every flag of actrec that a page names must belong to its command and take the value that the page gives it.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import cv2
import numpy as np
import pytest

import actrec as library
from actrec import nets
from actrec.cli.main import COMMANDS, actrec, main
from actrec.data.video.encode import VideoWriter

ROOT = Path(__file__).resolve().parents[1]
# page -> the number of command lines that it has at least, so that the patterns below cannot silently match nothing
PAGES = {
    "README.md": 5,
    "docs/cli.md": 5,
    "docs/data.md": 5,
    "docs/training.md": 5,
    "docs/storage.md": 5,
    "docs/after_training.md": 12,
    "docs/from_ibm.md": 60,
    "docs/from_hara.md": 80,
    "docs/from_mmaction2.md": 40,
    "docs/from_pyslowfast.md": 35,
    "docs/quickstart.md": 10,
    "docs/small_data.md": 14,
    "docs/troubleshooting.md": 12,
    "docs/multi_gpu.md": 2,
    "docs/performance.md": 5,
    "docs/reproduce.md": 40,
    "docs/cluster.md": 1,
    "docs/examples.md": 12,
}


ALL_PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
WIDTH = 100  # columns of the text


def blocks(page: str) -> list[str]:
    """The commands in the code blocks of a page, without their comments; continued lines are joined."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(" #")[0].strip() for line in text.splitlines() if line.startswith("    ")]
    return [line for line in map(_without_launcher, lines) if line.startswith("actrec ")]


def command_lines(page: str) -> list[str]:
    """The commands in the code blocks and code spans of a page, without the word `actrec`."""
    spans = re.findall(r"`([^`\n]+)`", (ROOT / page).read_text(encoding="utf-8"))
    lines = [_without_launcher(line).removeprefix("actrec ") for line in (*blocks(page), *spans)]
    return [line for line in lines if line.split()[0] in COMMANDS]


def _without_launcher(line: str) -> str:
    return re.sub(r"^torchrun .* -m -- actrec ", "actrec ", line)


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that a line calls, and its arguments."""
    found, words = actrec, list(words)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(found)
        if words[0] not in found.list_commands(context):
            break
        found = found.get_command(context, words.pop(0))
    return found, words


def fault(line: str) -> str | None:
    """The first flag of a line that its command does not have, or whose value it does not take."""
    command, words = find_command(shlex.split(line))
    known = {flag: p for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {
        "--help": None,
        "--help-all": None,
    }
    for word, value in zip(words, [*words[1:], ""]):
        if not word.startswith("--"):
            continue
        if word not in known:
            return word
        param = known[word]
        if param is None or param.is_flag or not value or value.startswith("--") or value.isupper() or "…" in value:
            continue
        try:
            param.type.convert(value, param, None)
        except click.BadParameter:
            return f"{word} {value}"
    return None


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_belongs_to_its_command_and_takes_its_value(page):
    lines = command_lines(page)
    assert len(lines) >= PAGES[page]
    assert [(line, found) for line in lines if (found := fault(line))] == []


@pytest.mark.parametrize(
    "page", ["docs/from_ibm.md", "docs/from_hara.md", "docs/from_mmaction2.md", "docs/from_pyslowfast.md"]
)
def test_recipes_are_complete_commands(page):
    lines = blocks(page)
    assert len(lines) >= 2
    for line in lines:
        command, words = find_command(shlex.split(line)[1:])
        assert command.make_context(command.name, words, **actrec.context_settings).args == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("train --lrs 1", "--lrs"),
        ("train --schedule linear", "--schedule linear"),
        ("train --lr-steps 5,x", "--lr-steps 5,x"),
        ("evaluate --epochs 3", "--epochs"),
        ("lists convert --to-rot A", "--to-rot"),
        ("lists convert --to-root A --lr", "--lr"),
        ("train --list --lr RATE --no-flip", None),
    ],
)
def test_mistakes_are_found(line, found):
    assert fault(line) == found


def prose(page: Path) -> list[str]:
    """The lines of a page without its code blocks and tables."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [line for line in text.splitlines() if not line.startswith("    ") and not line.lstrip().startswith("|")]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page; a repeated heading gets a number."""
    names: list[str] = []
    for line in prose(page):
        if heading := re.match(r"#+ (.*)", line):
            name = re.sub(r"[^\w -]", "", heading[1].lower()).replace(" ", "-")
            count = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in names)
            names.append(f"{name}-{count}" if count else name)
    return set(names)


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of a page."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            file = page.parent / name if name else page
            if file.name == "python.md" and anchor.startswith("actrec."):
                continue  # mkdocstrings makes these anchors, and `make docs` checks them
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(target)
    return broken


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_lead_somewhere(page):
    assert broken_links(ROOT / page) == []


@pytest.mark.parametrize("page", [page for page in ALL_PAGES if page != "docs/architecture.md"])
def test_lines_of_text_are_short(page):
    assert [line for line in prose(ROOT / page) if len(line) > WIDTH] == []


def test_every_page_is_in_the_navigation_of_the_site():
    named = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    made = {"index.md", "changes.md", "options.md"}  # by docs/site/hooks.py
    assert named - made == {path.name for path in (ROOT / "docs").glob("*.md")}, "add the page to `nav` in mkdocs.yml"


def test_every_measurement_is_named():
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs/numbers").glob("*.md") if path.name not in page] == []


def test_every_public_name_is_on_the_page_of_the_python_interface():
    shown = re.findall(r"^::: actrec\.(\w+)", (ROOT / "docs/python.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {*library.__all__} - {"__version__"} <= {*shown}


def misread_lists(page: Path) -> list[str]:
    """Lines that mkdocs reads differently from GitHub: where a list begins, and what belongs to its items.

    A list begins after an empty line. What belongs to an item has four spaces.
    """
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = []
    for block in re.split(r"\n\s*\n", text):
        first, *others = block.strip("\n").split("\n")
        starts = r"" if re.match(r"([-*]|\d+\.) ", first) else r"([-*]|\d+\.) |"
        found += [first] if re.match(r" {1,3}[^ ]", first) else []
        found += [line for line in others if re.match(starts + r" {1,3}[-*] ", line)]
    return found


@pytest.mark.parametrize("page", ALL_PAGES)
def test_lists_are_read_as_on_github(page):
    assert misread_lists(ROOT / page) == []


def test_misread_lists_are_found(tmp_path):
    (tmp_path / "a.md").write_text("- a\n  b\n\n  c\n  d\n\n    e\n- f\n- g\n  - h\n\ni\n- j\n")
    assert misread_lists(tmp_path / "a.md") == ["  c", "- f", "- g", "  - h", "- j"]


def test_broken_links_are_found(tmp_path):
    (tmp_path / "b.md").write_text("# Some `code`, here\n## Twice\n## Twice\n")
    good = "[1](b.md) [2](b.md#some-code-here) [3](b.md#twice-1)\n[4](#a) [5](https://x.org/#y) `[6](no.md)`\n"
    (tmp_path / "a.md").write_text(f"# A\n{good}[7](c.md) [8](b.md#code) [9](#b) [10](b.md#twice-2)\n")
    assert broken_links(tmp_path / "a.md") == ["c.md", "b.md#code", "#b", "b.md#twice-2"]


def test_the_python_example_of_the_readme_runs(dataset, tmp_path, monkeypatch):
    for split, names in (("train", [f"train{i % 12}" for i in range(16)]), ("val", ["val0", "val1"])):
        rows = [f"{dataset}/frames/{name} 1 9 {i % 8}\n" for i, name in enumerate(names)]
        (tmp_path / f"{split}.txt").write_text("".join(rows))
    monkeypatch.chdir(tmp_path)

    def small_net(name: str, **options: object) -> nets.Backbone:
        """The net, told to take pictures of 32x32, so that the test is fast."""
        made = nets.net(name, **options)
        made.input = replace(made.input, size=32)
        return made

    monkeypatch.setattr(library, "net", small_net, raising=False)
    found: dict[str, Any] = {}
    exec(compile(python_examples("README.md")[0], "README.md", "exec"), found)
    assert found["logits"].shape == (16, 8)
    assert found["result"].scores.shape == (2, 8)
    assert found["result"].missing == {}


def python_examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_similar_videos_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    features = np.array([[1, 0], [0, 1], [8, 1], [2, 1]], np.float32)
    np.savez("train.npz", ids=np.array(["a", "b", "c", "d"]), features=features)
    exec(compile(python_examples("docs/after_training.md")[0], "after_training.md", "exec"), {})
    assert capsys.readouterr().out == "['c' 'd' 'b']\n"


@pytest.mark.parametrize(("page", "example"), [("README.md", 1), ("docs/after_training.md", 1)])
def test_the_examples_with_a_trained_net_run(page, example, trained, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "runs/2026-11-28_s3d")
    (tmp_path / "val.txt").write_text("".join(f"{dataset}/frames/val{i} 1 9 {i % 2}\n" for i in range(4)))
    for name, length in (("a.mp4", 12), ("b.mp4", 3), ("match.mp4", 80)):
        with VideoWriter(Path(name), width=48, height=40, rate=25) as video:
            for i in range(length):
                video.write(np.full((40, 48, 3), i * 3, np.uint8))
    found: dict[str, Any] = {"actrec": library}
    exec(compile(python_examples(page)[example], page, "exec"), found)
    assert found["model"].predict("a.mp4")[0][0] in ("dark", "bright")
    assert (tmp_path / "exported/model.onnx").exists()
    if "timeline" in found:
        assert found["timeline"].scores.shape == (4, 2)
        assert found["features"].features.shape == (2, 64)
        assert found["evidence"].maps.shape == (1, 5, 32, 32)


def test_the_demo_runs(tmp_path, monkeypatch, capsys):
    """Its commands run in this process, which saves the seconds that each process needs to import torch."""
    demo = load_example("demo.py")

    def call(arguments: str, folder: Path) -> list[str]:
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            with pytest.raises(SystemExit) as stop:
                main(arguments.split())
        assert not stop.value.code
        return capsys.readouterr().out.splitlines()

    monkeypatch.setattr(demo, "actrec", call)
    monkeypatch.chdir(tmp_path)
    assert demo.main(Path("demo"), quick=True) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in table if line.startswith(("frames", "videos"))] == [
        ["frames", "1"],
        ["videos", "1"],
    ]
    assert re.fullmatch(r"top-1 .*\(8 videos, 0 missing\)", table[-1])


def test_a_failing_command_ends_the_demo(tmp_path):
    with pytest.raises(SystemExit, match="actrec evaluate ended with exit code 1"):
        load_example("demo.py").actrec("evaluate --run missing", tmp_path)


def test_the_drawings_are_what_the_samplers_do_today(tmp_path, capsys):
    load_example("draw_concepts.py").main(tmp_path)
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    stored = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs/drawings").iterdir()}
    assert made == stored, "python docs/examples/draw_concepts.py"
    page = (ROOT / "docs/concepts.md").read_text(encoding="utf-8")
    assert {f"drawings/{name}" for name in made} == set(re.findall(r"\((drawings/\S+)\)", page))


def test_the_picture_of_the_readme_can_be_drawn_again(tmp_path, monkeypatch):
    example = load_example("draw_readme.py")

    def call(arguments: str) -> None:
        with pytest.raises(SystemExit) as stop:
            main(arguments.split())
        assert not stop.value.code

    monkeypatch.setattr(example, "actrec", call)
    example.main(tmp_path / "view.png")
    drawn, stored = (cv2.imread(str(path)) for path in (tmp_path / "view.png", ROOT / "docs/view.png"))
    assert drawn.shape == stored.shape
    assert np.abs(drawn.astype(int) - stored).mean() < 2  # the build of the encoder may differ
    assert (ROOT / "docs/view.png").stat().st_size < 200_000


def load_example(name: str) -> ModuleType:
    """A file of docs/examples as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / "docs/examples" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
