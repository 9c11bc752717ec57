"""Which stream of random numbers each purpose has.

A stream is the spawn key of a `np.random.SeedSequence`; the plan of a sample has none. numpy pads short keys with
zeros: if two purposes had one stream, (seed, epoch, step) would draw what (seed, epoch, step, 0) draws.
"""

ORDER = (1,)  # of the videos of an epoch
LOOK = (2,)  # of a sample
NET = (3,)  # what is random in the net in a step
BALANCE = (4,)  # turns of a class
MIX = (5,)  # of a batch
