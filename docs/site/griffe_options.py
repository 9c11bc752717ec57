"""Documents the options of actrec's dataclasses, such as `frames: int = opt(16, "Frames of a clip.")`.

mkdocstrings reads the code without running it, so it would show this call. This extension shows the default and the
help text of the option instead. It also highlights the examples of docstrings. `mkdocs.yml` names it.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import textwrap
from typing import Any

from griffe import Attribute, Class, Docstring, ExprCall, Extension, Object

# Indented lines after an empty line, unless they belong to a section such as `Args:`
EXAMPLE = re.compile(r"(?<=\n\n)(?: {4}.*(?:\n|$)|\n)+")
SECTION = re.compile(r"^(?:Args|Attributes|Returns|Raises):$", re.MULTILINE)


def highlighted(text: str) -> str:
    """A docstring with its examples as fenced blocks of Python."""
    end = found.start() if (found := SECTION.search(text)) else len(text)
    fence = "```python\n{}\n```\n\n"
    examples = EXAMPLE.sub(lambda match: fence.format(textwrap.dedent(match[0]).strip()), text[:end])
    return examples + text[end:]


class Options(Extension):
    """Takes the default and the docstring of an attribute from the metadata of its dataclass field."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = highlighted(obj.docstring.value)

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        owner = attr.parent
        if not (isinstance(attr.value, ExprCall) and isinstance(owner, Class) and "Settings" in map(str, owner.bases)):
            return
        kind = getattr(importlib.import_module(owner.module.path), owner.name)
        field = {f.name: f for f in dataclasses.fields(kind)}.get(attr.name)
        if field is not None and (text := field.metadata.get("help")):
            attr.value = repr(field.default)
            attr.docstring = Docstring(" ".join(text.split()), parent=attr)
