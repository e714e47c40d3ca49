"""Finished outputs made of tables, for predictions of any task, by the functions that write real ones."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from corpusmill.jobs.driver.fingerprint import write_fingerprint
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.commit import data_file
from corpusmill.pipeline.output.folder import OutputFolder
from corpusmill.pipeline.output.manifest import write_manifest
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord, checksum_of
from corpusmill.pipeline.spec import OutputSpec
from corpusmill.pipeline.storage import StoredFile

SPLIT = Split(StoredFile("/in/a.jsonl", 1, "1"), "jsonl", 0, 0, 1, None, 1, 0, 1000)

LABELS = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
SPANS = pa.list_(
    pa.struct(
        [
            ("start", pa.int32()),
            ("end", pa.int32()),
            ("label", pa.string()),
            ("score", pa.float32()),
            ("text", pa.string()),
        ]
    )
)
GOLD_SPANS = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("label", pa.string())]))
ANSWER = pa.struct(
    [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("score", pa.float32())]
)
MASKS = pa.list_(
    pa.list_(pa.struct([("token", pa.string()), ("token_id", pa.int32()), ("score", pa.float32())]))
)


def model(task: str, name: str = "", **options: Any) -> dict[str, Any]:
    """A model of a job as its fingerprint has it."""
    return {"task": task, "name": f"{name}_" if name else "", "options": options}


def write_finished(
    url: object,
    tables: Sequence[pa.Table],
    *models: dict[str, Any],
    keep: Sequence[str] = ("gold",),
    output_format: str = "arrow",
) -> str:
    """Writes an output of a data file a table, and returns its address."""
    output = OutputSpec(str(url), output_format, "zstd")
    folder = OutputFolder.of(output.url, output.format)
    fields = {f"models[{i}].{key}": value for i, found in enumerate(models) for key, value in found.items()}
    job = {
        "output.format": output_format,
        "input.keep": list(keep),
        "input.text": "text",
        "models": len(models),
    }
    write_fingerprint(folder, job | fields)
    receipts = {}
    for i, table in enumerate(tables):
        unit = SPLIT.unit(i * SPLIT.rows_per_unit)
        record = UnitRecord(unit.name, unit.source, unit.offset, None, len(table), 0, len(table), 0, False)
        content = data_file(table, record, output)
        folder.put(folder.data(unit.name), content)
        receipts[unit.name] = Receipt(record, len(content), checksum_of(content))
    write_manifest(folder, [SPLIT], receipts)
    return folder.url


def single_labels(
    labels: Sequence[str | None], names: Sequence[str], *scores: float, prefix: str = ""
) -> dict[str, pa.Array]:
    """`label` and `score` as the classification task writes them; 0.75 without scores.

    The dictionary has all names in the checkpoint's order.
    """
    codes = [None if label is None else names.index(label) for label in labels]
    known = scores or [None if label is None else 0.75 for label in labels]
    return {
        f"{prefix}label": pa.DictionaryArray.from_arrays(
            pa.array(codes, pa.int32()), pa.array(names, pa.string())
        ),
        f"{prefix}score": pa.array(known, pa.float32()),
    }


def choice_scores(*rows: Sequence[float]) -> pa.Array:
    """Probabilities of each row's choices."""
    return pa.array(rows, pa.list_(pa.float32()))


def ranked(*rows: dict[str, float] | None) -> pa.Array:
    """Several labels a row, best first."""
    return pa.array(
        [
            None
            if row is None
            else [{"label": label, "score": row[label]} for label in sorted(row, key=lambda name: -row[name])]
            for row in rows
        ],
        LABELS,
    )


def spans(*rows: Sequence[tuple[int, int, str]] | None, kind: pa.DataType = SPANS) -> pa.Array:
    """Spans of (start, end, label)."""
    return pa.array(
        [
            None if row is None else [{"start": s, "end": e, "label": label} for s, e, label in row]
            for row in rows
        ],
        kind,
    )


def answers(*texts: str | None) -> pa.Array:
    """Answers of these texts; None is a row without a prediction."""
    return pa.array([None if text is None else {"text": text, "score": 0.5} for text in texts], ANSWER)


def masks(*rows: Sequence[Sequence[str]] | None) -> pa.Array:
    """Tokens for each mask of a row, best first."""
    return pa.array(
        [None if row is None else [[{"token": token} for token in mask] for mask in row] for row in rows],
        MASKS,
    )


def vectors(rows: Sequence[Sequence[float] | None], kind: pa.DataType) -> pa.Array:
    """Embeddings of a type."""
    width = next(len(row) for row in rows if row is not None)
    return pa.array(rows, pa.list_(kind, width))
