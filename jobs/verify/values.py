"""Checks of the values in result columns: finite numbers, and offsets that lie in their text."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc


def value_problems(table: pa.Table, kept: Sequence[str], text: str) -> Iterator[str]:
    """Yield the faults of result columns; kept columns are the input's and are not checked.

    Offsets count code points; they are compared with the text's length if the text was kept.
    """
    results = table.drop_columns(list(kept))
    lengths = pc.utf8_length(table[text].cast(pa.large_string())) if text in kept else None
    for name, column in zip(results.column_names, results.columns, strict=True):
        for chunk in column.chunks:
            if not all(_finite(leaf) for leaf in _leaves(chunk)):
                yield f"column {name!r}: expected finite numbers, got NaN or an infinity"
                break
        else:
            yield from _offset_problems(name, column.combine_chunks(), lengths)


def _leaves(values: pa.Array) -> Iterator[pa.Array]:
    """Yield the arrays inside nested ones, without null rows."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(values.dictionary)
    elif pa.types.is_struct(kind):
        for leaf in values.flatten():
            yield from _leaves(leaf)
    elif pa.types.is_nested(kind):
        yield from _leaves(values.flatten())
    else:
        yield values


def _finite(values: pa.Array) -> bool:
    if not pa.types.is_floating(values.type):
        return True
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    return pc.all(pc.is_finite(values)).as_py() is not False


def _offset_problems(name: str, column: pa.Array, lengths: pa.ChunkedArray | None) -> Iterator[str]:
    """Yield the first struct of `start` and `end`, in lists of any depth, that lies outside its text."""
    rows = pa.array(range(len(column)), pa.int64())
    while pa.types.is_nested(column.type) and not pa.types.is_struct(column.type):
        rows = rows.take(_parents(column))
        column = column.flatten()
    if not pa.types.is_struct(column.type) or not {"start", "end"} <= set(column.type.names):
        return
    start, end = (pc.struct_field(column, part) for part in ("start", "end"))
    wrong = pc.or_kleene(pc.less(start, 0), pc.less(end, start))
    if lengths is not None and len(rows):
        wrong = pc.or_kleene(wrong, pc.greater(end, lengths.take(rows).combine_chunks()))
    found = pc.indices_nonzero(pc.fill_null(wrong, False))
    if len(found):
        i = found[0].as_py()
        yield (
            f"column {name!r}, row {rows[i].as_py()}: expected a span of the text, got offsets "
            f"{start[i].as_py()} to {end[i].as_py()}"
        )


def _parents(column: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        valid = pc.indices_nonzero(column.is_valid())
        return pa.array([i for i in valid.to_pylist() for _ in range(width)], pa.int64())
    return pc.list_parent_indices(column)
