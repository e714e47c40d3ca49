"""What encoding took: a record that a worker sends and the driver reads, so it needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from corpusmill.pipeline.lengths import Counts


@dataclass(frozen=True, slots=True)
class EncodeStats:
    """What it took to encode rows of a unit with one model.

    `refused` are the rows (counted from the first) that the model could not take, and why; their results are
    null. `flops` are the encoder's floating-point operations, of which padding would have no part. `lengths`
    counts the sequences. `seconds` is for the engine to fill in: a worker overlaps units.
    """

    tokens: int
    batches: int
    refused: Mapping[int, str] = field(default_factory=dict)
    flops: float = 0.0
    lengths: Counts = ()
    seconds: float = 0.0
