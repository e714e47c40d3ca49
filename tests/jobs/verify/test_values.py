"""Values that no result may have, at any depth of a column; kept columns may have any value."""

from typing import Any

import pyarrow as pa
import pytest

from corpusmill.jobs.verify.values import value_problems

NAN, INF = float("nan"), float("inf")
SPAN = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("score", pa.float32())])
TEXTS = ["héllo 😀", "ab", None]


def problems(kind: pa.DataType, values: list[Any], *, keep_text: bool = True) -> list[str]:
    table = pa.table({"body": TEXTS[: len(values)], "odd": [NAN] * len(values), "r": pa.array(values, kind)})
    kept = ["body", "odd"] if keep_text else ["odd"]
    return list(value_problems(table if keep_text else table.drop_columns(["body"]), kept, "body"))


def span(start: int | None, end: int | None, score: float = 0.5) -> dict[str, Any]:
    return {"start": start, "end": end, "score": score}


NUMBERS = {
    "float": pa.float32(),
    "double": pa.float64(),
    "half": pa.float16(),
    "vector": pa.list_(pa.float32(), 2),
    "vectors": pa.list_(pa.list_(pa.float16(), 2)),
    "labels": pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())])),
}


def shaped(kind: pa.DataType, number: float) -> Any:
    """A value of the type that holds the number."""
    if pa.types.is_struct(kind):
        return {"label": "x", "score": number}
    if pa.types.is_nested(kind):
        return [shaped(kind.value_type, value) for value in (0.0, number)]
    return number


@pytest.mark.parametrize("kind", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize(("number", "good"), [(1.5, True), (NAN, False), (INF, False), (-INF, False)])
def test_numbers_are_numbers(kind: pa.DataType, number: float, good: bool) -> None:
    """NaN and infinities are found at any depth; null rows are no problem."""
    found = problems(kind, [shaped(kind, 0.0), shaped(kind, number), None])
    assert found == ([] if good else ["column 'r': expected finite numbers, got NaN or an infinity"])


LISTS = {"answer": lambda kind: kind, "spans": pa.list_, "twice": lambda kind: pa.list_(pa.list_(kind))}


@pytest.mark.parametrize("depth", LISTS)
@pytest.mark.parametrize(
    ("row", "start", "end", "good"),
    [
        (0, 0, 7, True),
        (0, 7, 7, True),
        (0, 0, 8, False),
        (1, 0, 3, False),
        (1, 2, 1, False),
        (1, -1, 1, False),
        (1, None, None, True),
    ],
)
def test_offsets_lie_in_the_text(depth: str, row: int, start: int, end: int, good: bool) -> None:
    """They count code points; the row is named."""

    def value(entry: dict[str, Any]) -> Any:
        return {"answer": entry, "spans": [entry], "twice": [[], [entry]]}[depth]

    values = [value(span(0, 1)), value(span(0, 1)), None]
    values[row] = value(span(start, end))
    found = problems(LISTS[depth](SPAN), values)
    expected = f"column 'r', row {row}: expected a span of the text, got offsets {start} to {end}"
    assert found == ([] if good else [expected])


def test_without_the_text_offsets_still_run_forwards() -> None:
    """Their end cannot be checked without the text."""
    assert problems(pa.list_(SPAN), [[span(0, 99)]], keep_text=False) == []
    assert len(problems(pa.list_(SPAN), [[span(5, 4)]], keep_text=False)) == 1


def test_rows_without_results_are_fine() -> None:
    """An empty table, and one of nulls only."""
    for kind in (*NUMBERS.values(), SPAN, pa.list_(SPAN)):
        assert problems(kind, []) == []
        assert problems(kind, [None, None]) == []
