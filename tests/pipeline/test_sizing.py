"""Rows of a unit: bounded in rows, bytes and work, and a matter of the file alone."""

from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.sizing import MAX_BYTES, MAX_FLOPS, MAX_ROWS, MIN_ROWS, UnitSizing

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


@given(st.integers(1, 10**6), SIZES)
def test_a_size_asked_for_is_taken(rows: int, size: float) -> None:
    """The user knows better."""
    assert UnitSizing(rows, 1e9, 512).rows(text_bytes=size, row_bytes=size) == rows
