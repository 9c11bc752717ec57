"""Train, evaluate and use action-recognition models on your own videos.

    net = actrec.net("s3d", num_classes=8)
    loader = actrec.train_loader("train.txt", actrec.Clip(frames=8), net.input, batch_size=16)

    model = actrec.load("runs/2026-11-28_s3d")
    model.predict("a.mp4")

A public name loads its module when it is first used: `import actrec` imports neither torch nor DALI.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# In a clone, the folders cli and tools are beside this one; setup.py installs them as actrec.cli and actrec.tools. This
# finds them if Python is started in the clone's root, where the clone's folder actrec hides an installed package.
_FOLDER = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_FOLDER, "cli")):
    __path__.append(os.path.dirname(_FOLDER))

if TYPE_CHECKING:  # For type checkers, which do not see names that __getattr__ finds.
    from actrec import augment as augment
    from actrec import nets as nets
    from actrec.config import Clip as Clip
    from actrec.config import Input as Input
    from actrec.config import Views as Views
    from actrec.data.index import build_index as build_index
    from actrec.data.lists import Video as Video
    from actrec.data.lists import Videos as Videos
    from actrec.data.lists import read_list as read_list
    from actrec.data.sampling import samplers as samplers
    from actrec.data.sampling.protocols import Protocol as Protocol
    from actrec.data.sampling.protocols import protocol as protocol
    from actrec.data.storage import configure_storage as configure_storage
    from actrec.engine.evaluate import evaluate as evaluate
    from actrec.inference.model import Model as Model
    from actrec.inference.model import load as load
    from actrec.nets import net as net
    from actrec.nets.profile import profile as profile
    from actrec.nets.weights import load_weights as load_weights
    from actrec.pipelines.augment import Augment as Augment
    from actrec.pipelines.loader import eval_loader as eval_loader
    from actrec.pipelines.loader import train_loader as train_loader

# public name -> the module that defines it; tests/test_imports.py compares this table with the imports above
_PUBLIC = {
    "Augment": "actrec.pipelines.augment",
    "Clip": "actrec.config",
    "Input": "actrec.config",
    "Views": "actrec.config",
    "build_index": "actrec.data.index",
    "Video": "actrec.data.lists",
    "Videos": "actrec.data.lists",
    "read_list": "actrec.data.lists",
    "configure_storage": "actrec.data.storage",
    "augment": "actrec",
    "samplers": "actrec.data.sampling",
    "Protocol": "actrec.data.sampling.protocols",
    "protocol": "actrec.data.sampling.protocols",
    "net": "actrec.nets",
    "nets": "actrec",
    "load_weights": "actrec.nets.weights",
    "profile": "actrec.nets.profile",
    "train_loader": "actrec.pipelines.loader",
    "eval_loader": "actrec.pipelines.loader",
    "evaluate": "actrec.engine.evaluate",
    "load": "actrec.inference.model",
    "Model": "actrec.inference.model",
}
__all__ = ["__version__", *_PUBLIC]

if not TYPE_CHECKING:  # A type checker that saw this function would accept every name.

    def __getattr__(name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'actrec' has no attribute {name!r}")
        home = _PUBLIC[name]
        if name in ("augment", "nets", "samplers"):  # modules
            return importlib.import_module(f"{home}.{name}")
        return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
