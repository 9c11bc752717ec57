"""Published accuracies of weights files that belong to several families of nets."""

from __future__ import annotations

from functools import partial

from actrec.known_nets import OptionValue, Published

K400, SSV1, SSV2 = "Kinetics-400", "Something-Something V1", "Something-Something V2"
ALL_STEPS: dict[str, OptionValue] = {"temporal_stride": False}  # the nets keep the time axis


def ibm(model: str, k400: float, ssv2: float) -> tuple[Published, Published]:
    """The checkpoints of IBM's action-recognition-pytorch, release weights-v0.1.

    Args:
        model: the part of the file's name that names the net: `I3D-ResNet-50`.
        k400, ssv2: top-1 accuracies.
    """
    row = partial(Published, top5=None, frames=32, size=256, source="arXiv:2010.11757", layout="ibm", options=ALL_STEPS)
    return (
        row(K400, k400, views="10x3", file=f"K400-{model}-f32.pth.tar", protocol="ibm_k400"),
        row(SSV2, ssv2, views="2x3", file=f"SSV2-{model}-f32.pth.tar", protocol="ibm_ssv2"),
    )


_mmaction2 = partial(Published, source="mmaction2's model zoo", layout="mmaction2")


def mmaction2_tsn(file: str, dataset: str, top1: float, top5: float) -> Published:
    """A TSN of mmaction2; `file` is the end of the file's name."""
    name = f"tsn_imagenet-pretrained-{file}.pth"
    row = partial(_mmaction2, dataset, top1, top5, frames=25, size=224, file=name, options=ALL_STEPS)
    if "dense" in file:
        return row(views="10x1", protocol="mmaction2_tsn_k400_dense")
    return row(views="1x10", protocol="mmaction2_tsn_k400" if dataset == K400 else "mmaction2_tsn_ssv2")


def mmaction2_tsm(file: str, protocol: str, top1: float, top5: float, *, frames: int = 8) -> Published:
    """A TSM of mmaction2; `file` is the end of the file's name."""
    name = f"tsm_imagenet-pretrained-{file}.pth"
    row = partial(_mmaction2, top1=top1, top5=top5, frames=frames, file=name, protocol=f"mmaction2_{protocol}")
    if "ssv2" in protocol:
        return row(SSV2, views="2x3", size=256)
    return row(K400, views="10x10" if "dense" in protocol else "1x10", size=224)


def mmaction2_3d(file: str, protocol: str, top1: float, top5: float, *, frames: int = 32) -> Published:
    """A 3D net of mmaction2; `file` is the file's name without its suffix."""
    return _mmaction2(
        K400, top1, top5, frames=frames, views="10x3", size=256, file=f"{file}.pth", protocol=f"mmaction2_{protocol}"
    )


def tsm_authors(file: str, top1: float, protocol: str, *, frames: int = 8) -> Published:
    """A net of the authors of TSM; `file` is the part of the file's name after `TSM_`."""
    row = partial(Published, top1=top1, top5=None, frames=frames, source="temporal-shift-module", layout="tsm")
    row = partial(row, file=f"TSM_{file}.pth", protocol=protocol)
    if "shift" not in file:  # TSN, which halves the time axis by default
        row = partial(row, options=ALL_STEPS)
    row = partial(row, {"k400": K400, "ssv1": SSV1, "ssv2": SSV2}[protocol.split("_")[1]])
    if "uniform" in protocol:
        return row(views="1x10" if protocol.endswith("10crop") else "1 clip", size=224)
    return row(views="10x3" if "dense" in protocol else "2x3", size=256)


def torchvision(file: str, protocol: str, top1: float, top5: float, *, frames: int, views: str, size: int) -> Published:
    """A video net of torchvision; `file` is the file's name without its suffix."""
    return Published(
        K400,
        top1,
        top5,
        frames,
        views,
        size,
        source="torchvision",
        layout="torchvision",
        file=f"{file}.pth",
        protocol=f"torchvision_{protocol}",
    )
