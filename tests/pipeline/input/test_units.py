"""Names of units: the same for the same bytes, whoever asks; different as soon as the input differs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.input.units import Split, split_key
from corpusmill.pipeline.storage import StoredFile

FILE = StoredFile("/data/a.parquet", 1000, "1700000000.5")
SPLIT = Split(FILE, "parquet", 3, 100, 200, 100, 100, 100, 8)


def test_a_name_never_changes_between_releases() -> None:
    """Resuming a run that another version began depends on this very name."""
    assert SPLIT.unit(16).name == "52c5e6be47555db0-00003-000000016-8"


def test_a_name_depends_on_the_identity_of_the_file_only() -> None:
    """Equal files have equal names, however the objects came about."""
    again = Split(
        StoredFile("/data/a.parquet", 1000, "1700000000.5"), "parquet", 3, 100, 200, 100, 99, 100, 8
    )
    assert again.unit(16).name == SPLIT.unit(16).name


@pytest.mark.parametrize(
    "other",
    [
        replace(SPLIT, file=replace(FILE, url="/data/b.parquet")),
        replace(SPLIT, file=replace(FILE, size=1001)),
        replace(SPLIT, file=replace(FILE, mark="1700000001.5")),
        replace(SPLIT, index=4),
        replace(SPLIT, rows_per_unit=9),
    ],
    ids=["path", "size", "mark", "split", "rows"],
)
def test_a_name_differs_with(other: Split) -> None:
    """Whatever changes the rows of a unit changes its name."""
    assert other.unit(16).name != SPLIT.unit(16).name


def test_neighbouring_fields_do_not_run_together() -> None:
    """Path, size and mark are kept apart: moving a digit from one to the next is another file."""
    one, other = StoredFile("/a", 12, "3"), StoredFile("/a", 1, "23")
    assert replace(SPLIT, file=one).key != replace(SPLIT, file=other).key


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_name_says_its_split_and_offset(offset: int, index: int, rows: int) -> None:
    """Resume reads names only, never data files."""
    split = replace(SPLIT, index=index, rows_per_unit=rows)
    name = split.unit(offset).name
    assert split_key(name) == split.key
    assert split.offset_of(name) == offset


def test_names_of_a_split_sort_in_row_order() -> None:
    """Listing `data/` gives the rows of a split in input order."""
    names = [SPLIT.unit(offset).name for offset in range(0, 5000, 8)]
    assert sorted(names) == names


def test_a_unit_knows_its_first_row_in_the_file() -> None:
    """Where the split knows its own; else nobody guesses."""
    assert SPLIT.unit(16).first_row == 116
    assert replace(SPLIT, first_row=None).unit(16).first_row is None
