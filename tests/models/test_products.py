"""What a model's rate is a share of: products as fast as this machine makes them."""

import time
from itertools import accumulate, cycle

import pytest

from corpusmill.models.cpu.int8 import has_int8_products
from corpusmill.models.products import product_rate

ONE = 8 * 1024 * 64 * 64


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_the_rate_is_that_of_the_quickest_product(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """By a clock on which they take 5, 2 and 9 seconds."""
    if dtype == "int8" and not has_int8_products():
        pytest.skip("this CPU has no int8 products")
    readings = accumulate(cycle([1.0, 5.0, 1.0, 2.0, 1.0, 9.0]))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(readings))
        assert product_rate(64, dtype=dtype, device="cpu") == ONE / 2.0


@pytest.mark.parametrize("width", [32, 63])
def test_widths_that_are_not_computed_in_int8_have_no_rate(width: int) -> None:
    """So no share of it is told."""
    assert product_rate(width, dtype="int8", device="cpu") == 0.0
