"""Splits, and what of them is left to do after some units were committed."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from corpusmill.pipeline.errors import OutputError
from corpusmill.pipeline.input.planning import override_types, plan_splits, remaining
from corpusmill.pipeline.input.unit_size import UnitSizing
from corpusmill.pipeline.input.units import Split
from corpusmill.pipeline.output.receipts import Receipt, UnitRecord
from corpusmill.pipeline.spec import InputSpec
from corpusmill.pipeline.storage import StoredFile

FILE = StoredFile("/data/a", 1000, "1")
KNOWN = Split(FILE, "parquet", 0, 0, 20, 20, 20, 0, 8)
UNKNOWN = Split(FILE, "jsonl", 1, 0, 900, None, 20, None, 8)


def receipt(split: Split, offset: int, *, last: bool = False, rows: int = 8) -> Receipt:
    unit = split.unit(offset)
    return Receipt(
        UnitRecord(unit.name, unit.source, offset, unit.first_row, rows, 0, rows, 10, last), 100, "sha256:0"
    )


def names(*receipts: Receipt) -> dict[str, Receipt]:
    return {receipt.record.unit: receipt for receipt in receipts}


def test_nothing_committed_leaves_everything() -> None:
    """A first run has to do every split, and skips nothing."""
    left = remaining([KNOWN, UNKNOWN], [], {})
    assert [(pending.split, pending.skip) for pending in left.pending] == [
        (KNOWN, frozenset()),
        (UNKNOWN, frozenset()),
    ]


def test_committed_units_are_skipped() -> None:
    """Their offsets travel with the split."""
    found = names(receipt(KNOWN, 8))
    assert [pending.skip for pending in remaining([KNOWN], found, found).pending] == [{8}]


def test_a_split_of_known_length_is_finished_by_its_offsets() -> None:
    """20 rows in units of 8 begin at 0, 8 and 16."""
    found = names(*(receipt(KNOWN, offset) for offset in (0, 8, 16)))
    left = remaining([KNOWN], found, found)
    assert left.pending == ()
    assert left.committed == set(found)


@pytest.mark.parametrize(
    ("offsets", "last", "finished"),
    [
        ((0, 8, 16), 16, True),
        ((0, 8, 16), None, False),
        ((0, 16), 16, False),
        ((8, 16), 16, False),
        ((0,), 0, True),
    ],
)
def test_a_split_of_unknown_length_is_finished_by_its_last_unit(
    offsets: tuple[int, ...], last: int | None, finished: bool
) -> None:
    """The last unit says that it is the last, and none before it is missing."""
    found = names(*(receipt(UNKNOWN, offset, last=offset == last) for offset in offsets))
    assert (remaining([UNKNOWN], found, found).pending == ()) is finished


@pytest.mark.parametrize("change", [{"size": 1001}, {"mark": "2"}, {"url": "/data/b"}])
def test_units_of_a_changed_input_are_refused(change: dict[str, str]) -> None:
    """Mixing them with new ones would count rows twice; the message names one and says what to do."""
    found = names(receipt(replace(KNOWN, file=replace(FILE, **change)), 0))  # type: ignore[arg-type]
    with pytest.raises(
        OutputError, match=r"1 units of inputs that changed or are gone.*choose another output\.path"
    ) as raised:
        remaining([KNOWN], found, found)
    assert raised.value.field == "output.path"


@pytest.mark.parametrize("split", [KNOWN, UNKNOWN], ids=["known", "unknown"])
def test_units_cut_at_another_size_are_refused(split: Split) -> None:
    """They hold other rows than the plan's units at the same offset."""
    found = names(receipt(replace(split, rows_per_unit=9), 0), receipt(split, 8))
    with pytest.raises(OutputError, match="1 units"):
        remaining([split], found, found)


@pytest.mark.parametrize("name", ["mine", "a-b", "a-b-c", "0123-00000-x-8", f"{KNOWN.key}-abc-8"])
def test_a_file_of_another_name_among_the_units_is_refused(name: str) -> None:
    """Somebody else's file in `data/` is named, not a crash."""
    with pytest.raises(OutputError, match=f"first {name}"):
        remaining([KNOWN], [name], {})


def test_splits_come_in_the_order_of_the_files(jsonl: Callable[..., StoredFile]) -> None:
    """The manifest numbers rows by it."""
    files = [jsonl([{"text": "x"}], f"{name}.jsonl") for name in "cab"]
    spec = InputSpec("text", None, (), pa.schema([("text", pa.string())]))
    assert [split.file for split in plan_splits(files, "auto", spec, UnitSizing(4, 1.0, 8))] == files


def test_given_types_replace_inferred_ones() -> None:
    """And add columns that no sample showed."""
    inferred = pa.schema([("a", pa.int64()), ("b", pa.string())])
    given = pa.schema([("a", pa.int8()), ("c", pa.bool_())])
    assert override_types(inferred, given) == pa.schema(
        [("a", pa.int8()), ("b", pa.string()), ("c", pa.bool_())]
    )
