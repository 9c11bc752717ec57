"""Train, evaluate and use action-recognition models on your own videos.

    net = actrec.net("s3d", num_classes=8)
    videos = actrec.read_list("train.txt")
    loader = actrec.train_loader(videos, actrec.Clip(frames=8), net.input, batch_size=16)

The names below load their modules when they are first used: `import actrec` imports neither torch nor DALI.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "Augment": "actrec.config",
    "Clip": "actrec.config",
    "Input": "actrec.config",
    "Views": "actrec.config",
    "Video": "actrec.data.lists",
    "read_list": "actrec.data.lists",
    "samplers": "actrec.data.sampling",
    "net": "actrec.nets",
    "load_weights": "actrec.nets.weights",
    "profile": "actrec.nets.profile",
    "train_loader": "actrec.pipelines.loader",
    "eval_loader": "actrec.pipelines.loader",
    "evaluate": "actrec.engine.evaluate",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'actrec' has no attribute {name!r}")
    home = _PUBLIC[name]
    if home == "actrec.data.sampling":
        return importlib.import_module(f"{home}.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
