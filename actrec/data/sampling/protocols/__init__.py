"""How published accuracies were measured: `actrec.protocol(name)`."""

from __future__ import annotations

from actrec.arguments import checked
from actrec.data.sampling.protocols.row import Geometry as Geometry
from actrec.data.sampling.protocols.row import Protocol as Protocol
from actrec.data.sampling.protocols.table import PROTOCOLS as PROTOCOLS
from actrec.registry import did_you_mean


@checked
def protocol(name: str) -> Protocol:
    """The protocol of a published accuracy.

        actrec.protocol("ibm_k400").frames(300).shape  # (10, 32): ten clips of 32 frames

    Args:
        name: as `actrec protocols` lists it.

    Raises:
        ValueError: there is no such protocol.
    """
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS) or ": `actrec protocols` lists all protocols"
        raise ValueError(f"protocol {name} is not known{hint}")
    return PROTOCOLS[name]
