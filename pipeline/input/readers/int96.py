"""Timestamps that Parquet stores as INT96, read as microseconds, and the rows that microseconds cannot hold.

An INT96 is a day and the nanoseconds within it; Spark writes the years 1 to 9999 in this form. By default
Arrow converts it to nanoseconds in 64 bits, which hold the years 1677 to 2262 and wrap beyond. Microseconds
hold all years of Spark, but no fraction of a microsecond, and no day more than 292,000 years away. Arrow
truncates and wraps such values silently. So the columns are read twice more: as seconds, which hold every
day, and as nanoseconds, whose lowest bits are correct even after a wrap.

One value cannot be detected: Arrow converts day 0 (4713 BC, the value of a file of zeros) to 1970-01-01.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

UNIT = "us"
CHECK_UNITS = ("s", "ns")
_MAX_SECONDS = 2**63 // 10**6 - 1
"""Largest number of seconds since 1970 that microseconds in 64 bits can hold with any fraction."""


def lost_timestamps(read: pa.Table, checks: Sequence[pa.Table]) -> dict[int, str]:
    """Return the rows with an INT96 that microseconds cannot hold: row → reason.

    `read` has the columns as microseconds, `checks` the same columns in CHECK_UNITS.
    """
    seconds, nanos = checks
    lost: dict[int, str] = {}
    for name in seconds.column_names:
        columns = [table[name].combine_chunks() for table in (read, seconds, nanos)]
        if _first_lost(columns) is None:
            continue
        for row in range(read.num_rows):
            reason = _first_lost([column.take(pa.array([row])) for column in columns])
            if reason is not None:
                lost.setdefault(row, f"column {name!r}: {reason}")
    return lost


def _first_lost(columns: Sequence[pa.Array]) -> str | None:
    """Return the reason for the first value that microseconds cannot hold, None if they hold all."""
    for leaves in zip(*(_leaves(column) for column in columns), strict=True):
        if not _is_int96(leaves):
            continue  # another member of a struct that holds an INT96
        micros, seconds, nanos = (leaf.drop_null().view(pa.int64()).to_numpy() for leaf in leaves)
        # 64-bit arithmetic wraps here and in Arrow, so differences are correct even if their terms have
        # wrapped.
        fraction = nanos - seconds * 10**9
        far = np.abs(seconds) > _MAX_SECONDS
        (bad,) = np.nonzero(far | (micros * 1000 != nanos))
        if len(bad):
            first = bad[0]
            return _reason(int(seconds[first]), int(fraction[first]), far=bool(far[first]))
    return None


def _is_int96(leaves: Sequence[pa.Array]) -> bool:
    """Return whether a leaf is an INT96: only then it has the requested units."""
    if not pa.types.is_timestamp(leaves[0].type):
        return False
    return [leaf.type.unit for leaf in leaves] == [UNIT, *CHECK_UNITS]


def _reason(seconds: int, nanos: int, *, far: bool) -> str:
    shown = f"{np.datetime64(seconds, 's')}.{nanos:09d}"
    what = "year is beyond those" if far else "fraction is finer than those"
    return f"expected timestamp[{UNIT}], got the INT96 {shown}, whose {what} that microseconds can hold"


def _leaves(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the innermost values of a nested column, without those of null lists and structs."""
    kind = column.type
    if pa.types.is_map(kind):
        column = column.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        kind = column.type
    if pa.types.is_struct(kind):
        for member in column.flatten():
            yield from _leaves(member)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(column.flatten())
    else:
        yield column
