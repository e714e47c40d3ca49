"""Arrow columns that several tasks write."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpusmill.pipeline.ragged import Array, Int

RANKED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
"""Labels with their scores, best first."""


def ranked_labels(scores: Array, labels: tuple[str, ...], *, top_k: int | None, threshold: float) -> pa.Array:
    """Return, for each row of (P, L) scores, the `top_k` best labels (None: all) of at least `threshold`."""
    order = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
    best = np.take_along_axis(scores, order, axis=-1)
    listed = best >= threshold
    names = pa.array(labels, pa.string()).take(pa.array(order[listed]))
    values = pa.StructArray.from_arrays(
        [names, pa.array(best[listed].astype(np.float32))], fields=list(RANKED.value_type)
    )
    return list_array(values, listed.sum(axis=-1), RANKED)


def list_array(values: pa.Array, lengths: Int, kind: pa.DataType) -> pa.Array:
    """Cut a flat array into lists of these lengths."""
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=kind)


def finite_rows(columns: Sequence[pa.Array]) -> Array:
    """Return for each row whether all its numbers, at any depth, are finite (N,)."""
    finite: Array = np.logical_and.reduce([_finite(column) for column in columns])
    return finite


def _finite(column: pa.Array) -> Array:
    kind = column.type
    if pa.types.is_floating(kind):
        numbers: Array = np.asarray(column.fill_null(0) if column.null_count else column)
        return np.asarray(np.isfinite(numbers))
    if pa.types.is_struct(kind):
        return finite_rows(column.flatten())
    finite = np.ones(len(column), bool)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _finite(pc.list_flatten(column))
        if not inner.all():
            finite[np.asarray(pc.list_parent_indices(column))[~inner]] = False
    return finite
