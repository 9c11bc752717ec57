"""Which stream of random numbers each purpose uses.

A stream is the spawn key of a `np.random.SeedSequence`. The plan of a sample (frames, box, flip) uses no spawn key.
Streams are needed because numpy pads short keys with zeros: if two purposes shared a stream, the key
(seed, epoch, step) would give the same numbers as the key (seed, epoch, step, 0).
"""

from __future__ import annotations

import zlib

ORDER = (1,)  # the order of the videos in an epoch
NET = (3,)  # what is random inside the net during a step, such as dropout
BALANCE = (4,)  # the turns of a class
MIX = (5,)  # mixup and cutmix of a batch
_AUGMENTATION = 6


def of_augmentation(name: str) -> tuple[int, int]:
    """The stream of an augmentation. It depends on its name only: adding one does not change the draws of another."""
    return _AUGMENTATION, zlib.crc32(name.encode())
