"""Rows of a unit: bounded in rows, bytes and work, and a matter of the file alone."""

from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.input.unit_size import (
    CORE_BATCH,
    MAX_BYTES,
    MAX_FLOPS,
    MAX_ROWS,
    MIN_ROWS,
    UnitSizing,
)

SIZES = st.floats(0, 1e9)


@given(SIZES, SIZES, st.floats(0, 1e12), st.integers(1, 8192))
def test_automatic_sizes_stay_within_bounds(text: float, extra: float, flops: float, longest: int) -> None:
    """At least one row, at most MAX_ROWS, and never more than MAX_BYTES of them."""
    rows = UnitSizing(None, flops, longest).rows(text_bytes=text, row_bytes=text + extra)
    assert 1 <= rows <= MAX_ROWS
    assert rows == 1 or rows * (text + extra) <= MAX_BYTES


@given(st.floats(1e6, 1e12), st.floats(1, 1e5))
def test_work_is_bounded_down_to_a_least_number_of_rows(flops: float, text: float) -> None:
    """A heavy model gets small units, but not so small that overhead rules."""
    rows = UnitSizing(None, flops, 512).rows(text_bytes=text, row_bytes=text)
    work = rows * flops * min(512, text / 4 + 2)
    assert work <= MAX_FLOPS or rows <= MIN_ROWS


def test_short_rows_of_a_small_model_make_large_units() -> None:
    """The upper bound is reached, or overhead would rule for everybody."""
    assert UnitSizing(None, 1e6, 128).rows(text_bytes=50, row_bytes=60) == MAX_ROWS


@given(st.floats(1e6, 1e12), st.floats(100, 2000), st.integers(CORE_BATCH + 1, 1 << 16))
def test_a_device_that_takes_many_tokens_finds_full_batches(flops: float, text: float, batch: int) -> None:
    """Several of them in each unit, whatever the model costs; what a core takes at once changes nothing."""
    sized = UnitSizing(None, flops, 512, tokens_per_batch=batch)
    rows = sized.rows(text_bytes=text, row_bytes=text)
    assert rows == MAX_ROWS or (rows + 1) * min(512, text / 4 + 2) >= 8 * batch
    small = UnitSizing(None, flops, 512, tokens_per_batch=CORE_BATCH)
    plain = UnitSizing(None, flops, 512).rows(text_bytes=text, row_bytes=text)
    assert small.rows(text_bytes=text, row_bytes=text) == plain <= rows


@given(st.integers(1, 10**6), SIZES)
def test_a_size_asked_for_is_taken(rows: int, size: float) -> None:
    """The user knows better."""
    assert UnitSizing(rows, 1e9, 512).rows(text_bytes=size, row_bytes=size) == rows
