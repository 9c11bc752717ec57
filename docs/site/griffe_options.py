"""Documents the options of actrec's dataclasses, such as `frames: int = opt(16, "Frames of a clip.")`.

mkdocstrings reads the code without running it, so it would show this call. This extension shows the default and the
help text of the option instead. It also highlights the examples of docstrings. `mkdocs.yml` names it.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import textwrap
from typing import Any

from griffe import Attribute, Class, Docstring, ExprCall, Extension, Object

from actrec.settings import field_types

# Indented lines after an empty line, unless they belong to a section such as `Args:`
EXAMPLE = re.compile(r"(?<=\n\n)(?: {4}.*(?:\n|$)|\n)+")
SECTION = re.compile(r"^(?:Args|Attributes|Returns|Raises):$", re.MULTILINE)


def help_of(field: dataclasses.Field[Any], kind: type) -> str:
    """The help text of an option, with the fields of its dataclass in place of their flags."""
    flags = {"--" + f.name.replace("_", "-"): f"`{f.name}`" for f in dataclasses.fields(kind)}
    text = " ".join(field.metadata["help"].split())
    return re.sub(r"--[a-z][a-z-]+", lambda match: flags.get(match[0], match[0]), text)


def highlighted(text: str) -> str:
    """A docstring with its examples as fenced blocks of Python."""
    end = found.start() if (found := SECTION.search(text)) else len(text)
    fence = "```python\n{}\n```\n\n"
    examples = EXAMPLE.sub(lambda match: fence.format(textwrap.dedent(match[0]).strip()), text[:end])
    return examples + text[end:]


class Options(Extension):
    """Takes the default and the docstring of an attribute from the metadata of its dataclass field."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Gives `actrec.Augment` its fields, which exist only while the program runs."""
        if cls.path != "actrec.pipelines.augment.Augment":
            return
        kind = importlib.import_module("actrec").Augment
        cls.docstring = Docstring(inspect.getdoc(kind) or "", parent=cls)
        for field in dataclasses.fields(kind):
            help_text = Docstring(help_of(field, kind))
            annotation = inspect.formatannotation(field_types(kind)[field.name])
            shown = Attribute(field.name, value=repr(field.default), annotation=annotation, docstring=help_text)
            cls.set_member(field.name, shown)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = highlighted(obj.docstring.value)

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        owner = attr.parent
        if not (isinstance(attr.value, ExprCall) and isinstance(owner, Class) and "Settings" in map(str, owner.bases)):
            return
        kind = getattr(importlib.import_module(owner.module.path), owner.name)
        field = {f.name: f for f in dataclasses.fields(kind)}.get(attr.name)
        if field is not None and field.metadata.get("help"):
            attr.value = repr(field.default)
            attr.docstring = Docstring(help_of(field, kind), parent=attr)
