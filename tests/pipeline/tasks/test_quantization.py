"""Vectors in fewer bits: a fixed range, so that equal vectors get equal codes in any company."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.tasks.quantization import Calibration, quantized

VECTORS = np.random.default_rng(0).normal(size=(50, 24)).astype(np.float32)
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=-1, keepdims=True)


def restored(codes: np.ndarray, calibration: Calibration) -> np.ndarray:
    """The values that codes stand for, as the column's metadata says."""
    record = calibration.record
    low, high = np.array(record["low"]), np.array(record["high"])
    return low + (codes.astype(np.float64) - np.iinfo(codes.dtype).min) * (high - low) / 255


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_codes_stand_for_the_nearest_of_256_values(dtype: str) -> None:
    """Within half a step, for the default range and for one a dimension; the range is stated as JSON."""
    lows, highs = UNIT.min(0) - 0.01, UNIT.max(0) + 0.02
    for given_range in (None, [-1, 1.0], [lows.tolist(), highs.tolist()]):
        calibration = Calibration.of(given_range, dimension=24, normalized=True)
        codes = quantized(UNIT, dtype, calibration)
        assert codes.dtype == dtype
        step = (np.array(calibration.high) - np.array(calibration.low)) / 255
        inside = np.clip(UNIT, calibration.low, calibration.high)
        assert (np.abs(restored(codes, calibration) - inside) <= step / 2 + 1e-7).all()
        json.dumps(calibration.record)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_values_outside_the_range_are_clipped(dtype: str) -> None:
    """They never wrap around to the other end."""
    calibration = Calibration.of([-0.1, 0.1], dimension=2, normalized=False)
    codes = quantized(np.array([[9.0, -9.0]], np.float32), dtype, calibration)
    limits = np.iinfo(codes.dtype)
    assert codes.tolist() == [[limits.max, limits.min]]


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 49), min_size=1, max_size=20), st.sampled_from(["int8", "uint8", "binary"]))
def test_a_vectors_code_does_not_depend_on_the_others(rows: list[int], dtype: str) -> None:
    """The calibration is the job's, not the batch's."""
    calibration = Calibration.of(None, dimension=24, normalized=True)
    together = quantized(UNIT[rows], dtype, calibration)
    alone = [quantized(UNIT[row : row + 1], dtype, calibration)[0] for row in rows]
    assert np.array_equal(together, np.stack(alone))


def test_signs_are_packed_eight_to_a_byte() -> None:
    """As sentence-transformers packs them: the first dimension in the highest bit; int8 is shifted."""
    vectors = np.array([[1, -1, 0, 2, -3, 0.5, 7, -1, 1, 1]], np.float32)
    assert quantized(vectors, "ubinary", None).tolist() == [[0b10010110, 0b11000000]]
    assert quantized(vectors, "binary", None).tolist() == [[0b10010110 - 128, 0b11000000 - 128]]


def test_half_precision_is_a_plain_cast() -> None:
    """No calibration."""
    assert np.array_equal(quantized(UNIT, "float16", None), UNIT.astype(np.float16))
    assert quantized(UNIT, "float32", None) is not None


@pytest.mark.parametrize(
    ("given_range", "normalized", "words"),
    [
        (None, False, "is required for 8 bits"),
        ([1, -1], True, "each low below its high"),
        ([0, 0], True, "each low below its high"),
        ([[0] * 3, 1], True, "expected one number or 24, got 3 and 1"),
    ],
)
def test_ranges_that_cannot_be_are_refused(given_range: object, normalized: bool, words: str) -> None:
    """With the field's name."""
    with pytest.raises(OptionError, match=words) as caught:
        Calibration.of(given_range, dimension=24, normalized=normalized)
    assert caught.value.field == "calibration"
