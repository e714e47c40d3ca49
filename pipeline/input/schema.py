"""The columns that a job reads, checked in every input file before the run."""

from collections.abc import Sequence

import pyarrow as pa

from corpusmill.pipeline.errors import InputError
from corpusmill.pipeline.input.arrow_types import is_list_of_text, is_text
from corpusmill.pipeline.input.readers.infer import CONFLICT, UNSEEN, null_as_string

FileSchema = tuple[str, pa.Schema]
"""(URL of the file, its columns)"""


def kept_columns(keep: Sequence[str], schemas: Sequence[FileSchema]) -> tuple[str, ...]:
    """Return the kept columns; `*` means all columns of all files, in order of first appearance."""
    if list(keep) != ["*"]:
        return tuple(keep)
    return tuple(dict.fromkeys(name for _, schema in schemas for name in schema.names))


def column_type(name: str, schemas: Sequence[FileSchema], *, field: str) -> pa.DataType:
    """Return the type of a column over all files, widened if no value changes (int32 and int64).

    If no sample of a JSONL file has a value, the type is text. A file without the column, or types that do
    not agree, are an InputError that names the files.
    """
    found: pa.Schema | None = None
    origin, unseen = "", False
    for url, schema in schemas:
        present = _field_of(name, url, schema, field=field)
        unseen |= UNSEEN in (schema.field(name).metadata or {})
        if found is None:
            found, origin = pa.schema([present]), url
            continue
        try:
            found = _common(found, pa.schema([present]))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise InputError(
                f"{url}: column {name!r} is {present.type}, but {found.field(0).type} in {origin}; expected "
                "one type in all files: rewrite one of them, or give input.schema for JSONL"
            ).at(field) from None
    if found is None:
        raise InputError("no input file to take columns from").at("input.path")
    return null_as_string(found.field(0).type) if unseen else found.field(0).type


def check_text(name: str, kind: pa.DataType, *, field: str) -> None:
    """Refuse a text column that is not text."""
    if not is_text(kind):
        raise InputError(
            f"column {name!r}: expected text (string, large_string, string_view or a dictionary of one), "
            f"got {kind}; name another column or convert it first"
        ).at(field)


def check_texts(name: str, kind: pa.DataType, *, field: str) -> None:
    """Refuse a column that does not hold lists of text."""
    if not is_list_of_text(kind):
        raise InputError(
            f"column {name!r}: expected lists of text (list<string>), one list of choices per row, got "
            f"{kind}; name another column or convert it first"
        ).at(field)


def _common(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return the column's type for the values of both; ArrowTypeError if some would change."""
    common = pa.unify_schemas([one, other], promote_options="permissive")
    if any(_changes_values(schema.field(0).type, common.field(0).type) for schema in (one, other)):
        raise pa.ArrowTypeError("no common type")
    return common


def _changes_values(kind: pa.DataType, common: pa.DataType) -> bool:
    """Return whether a conversion that Arrow permits would change values, or text into bytes."""
    if pa.types.is_struct(kind):
        return any(_changes_values(field.type, common.field(field.name).type) for field in kind)
    if kind.num_fields:
        return any(_changes_values(kind.field(i).type, common.field(i).type) for i in range(kind.num_fields))
    return bool(
        (pa.types.is_decimal(kind) and pa.types.is_floating(common))
        or (pa.types.is_string(kind) and not (pa.types.is_string(common) or pa.types.is_large_string(common)))
        or (pa.types.is_uint64(kind) and pa.types.is_signed_integer(common))
    )


def _field_of(name: str, url: str, schema: pa.Schema, *, field: str) -> pa.Field:
    if name not in schema.names:
        known = ", ".join(repr(known) for known in schema.names) or "none"
        raise InputError(f"{url}: expected a column {name!r}, got columns {known}; name one of these").at(
            field
        )
    if schema.names.count(name) > 1:
        raise InputError(f"{url}: column {name!r} appears more than once; rename one").at(field)
    found = schema.field(name)
    if found.metadata and CONFLICT in found.metadata:
        raise InputError(
            f"{url}: column {name!r} holds {found.metadata[CONFLICT].decode()}; expected one type: give "
            "input.schema, or correct the file"
        ).at(field)
    return pa.field(name, found.type)
