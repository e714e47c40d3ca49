"""Which types of label columns mean what."""

import pyarrow as pa
import pyarrow.compute as pc


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column holds strings, plain or as a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Say whether a column holds a list a row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_text_list(kind: pa.DataType) -> bool:
    """Say whether a column holds a list of strings a row."""
    return is_list(kind) and is_text(kind.value_type)


def is_number(kind: pa.DataType) -> bool:
    """Say whether a column holds numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def as_text(column: pa.Array) -> pa.Array:
    """Return a column of text as plain strings."""
    return column.cast(pa.string())


def as_numbers(column: pa.Array) -> pa.Array:
    """Return a column of numbers as float64, null where one is not finite: some writers' missing value."""
    numbers = column.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
