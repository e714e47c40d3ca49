"""What a model made of rows of a unit: their columns, and what that took."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from corpusmill.pipeline.encode.batches import Counts


@dataclass(frozen=True, slots=True)
class EncodeStats:
    """What encoding some rows of a unit took.

    `refused` are the rows (counted from the first) that the model could not take, and why; their results are
    null. `flops` are the encoder's floating-point operations, of which padding would have no part. `lengths`
    counts the sequences. `seconds` are a worker's, 0 where nobody measured.
    """

    tokens: int
    batches: int
    refused: Mapping[int, str] = field(default_factory=dict)
    flops: float = 0.0
    lengths: Counts = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """A unit's result columns of one model, in input order, and what they took."""

    columns: pa.Table
    stats: EncodeStats
