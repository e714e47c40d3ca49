"""The commit of a unit: one file, atomically, with kept columns and then each model's; rejects come first."""

import json
from collections.abc import Sequence

import pyarrow as pa

from corpusmill.pipeline.blocks import UnitBlock
from corpusmill.pipeline.errors import OutputError, first_line
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import read_receipt
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord, checksum_of
from corpusmill.pipeline.output.sinks import SINKS
from corpusmill.pipeline.spec import OutputSpec


def commit(block: UnitBlock, results: Sequence[pa.Table], output: OutputSpec, *, tokens: int) -> Receipt:
    """Write a unit's rejects and its data file.

    A data file that exists already is kept, and its receipt is returned. Another attempt or another driver
    wrote it, perhaps on a machine that rounds differently.
    """
    folder = OutputFolder.of(output.url, output.format)
    record = UnitRecord(
        block.unit.name,
        block.unit.source,
        block.unit.offset,
        block.unit.first_row,
        block.rows,
        len(block.rejects),
        block.rows_read,
        tokens,
        block.last,
    )
    if record.rows + record.rejected != record.rows_read:
        raise OutputError(
            f"{block.unit.source}: unit {block.unit.name} read {record.rows_read} rows, but holds "
            f"{record.rows} and {record.rejected} rejects; nothing was written: please report this"
        )
    content = data_file(_join(block, results), record, output)
    if folder.exists(folder.data(record.unit)):
        return read_receipt(folder, record.unit)
    if block.rejects:
        folder.put(folder.rejects(record.unit), _rejects_file(block))
    else:  # an earlier attempt may have refused rows that this one accepts
        folder.remove(folder.rejects(record.unit))
    if not folder.create(folder.data(record.unit), content):
        return read_receipt(folder, record.unit)
    return Receipt(record, len(content), checksum_of(content))


def data_file(table: pa.Table, record: UnitRecord, output: OutputSpec) -> memoryview:
    """Return the bytes of a data file."""
    sink = pa.BufferOutputStream()
    described = table.replace_schema_metadata(record.to_metadata())
    try:
        SINKS[output.format].write(described, sink, output.compression)
    except pa.ArrowException as error:
        raise OutputError(
            f"{record.source}: unit {record.unit} cannot be written as {output.format} "
            f"({first_line(error)}); "
            "leave the column out of input.keep, or choose another output.format"
        ).at("output.format") from None
    return memoryview(sink.getvalue())


def _join(block: UnitBlock, results: Sequence[pa.Table]) -> pa.Table:
    columns, fields = list(block.kept.columns), list(block.kept.schema)
    for result in results:
        if result.num_rows != block.rows:
            raise OutputError(
                f"{block.unit.source}: unit {block.unit.name} has {block.rows} rows, a model gave "
                f"{result.num_rows}; nothing was written: please report this"
            )
        columns += result.columns
        fields += list(result.schema)
    return pa.table(columns, schema=pa.schema(fields))


def _rejects_file(block: UnitBlock) -> bytes:
    rows = (
        {"file": block.unit.source, "row": reject.row, "reason": reject.reason, "raw": reject.raw}
        for reject in block.rejects
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(
        "utf-8", "backslashreplace"
    )
