"""The result columns of rows of a unit, and the statistics of their computation."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from corpusmill.pipeline.encode.batches import Counts


@dataclass(frozen=True, slots=True)
class EncodeStats:
    """The statistics of encoding some rows of a unit.

    `refused` maps the rows that the model could not take (counted from the first) to the reasons; their
    results are null. `flops` are the floating-point operations of the encoder without padding. `lengths`
    counts the sequences by length. `seconds` are those of a worker, 0 if they were not measured. `rows`
    counts the rows with a result, and `truncated_rows` those of them that were truncated.
    """

    tokens: int
    batches: int
    refused: Mapping[int, str] = field(default_factory=dict)
    flops: float = 0.0
    lengths: Counts = ()
    seconds: float = 0.0
    rows: int = 0
    truncated_rows: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """One model's result columns of a unit, in input order, and their statistics."""

    columns: pa.Table
    stats: EncodeStats
