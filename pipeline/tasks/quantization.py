"""Quantized vectors, with one calibration for the whole job, so that equal texts have equal codes.

int8 and uint8 divide the range from `low` to `high` into 255 steps; values outside are clipped. binary and
ubinary keep each value's sign, eight to a byte, the first in the highest bit (int8 shifted by 128, uint8),
as sentence-transformers packs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from corpusmill.pipeline.errors import OptionError
from corpusmill.pipeline.ragged import Array

SPREAD = 6.0
"""Half the default range, in standard deviations of the values of unit vectors (1 / sqrt(dimension))."""


@dataclass(frozen=True)
class Calibration:
    """The range of 8-bit codes; `low` and `high` are one number each, or one per dimension."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, given: Any, *, dimension: int, normalized: bool) -> Self:
        """Return the calibration of the job's option; vectors of length 1 have a default one."""
        if given is None:
            if not normalized:
                raise OptionError(
                    "is required for 8 bits unless vectors are normalized: give [low, high], each a number "
                    "or one for each dimension, or normalize: true"
                ).at("calibration")
            limit = min(1.0, SPREAD / dimension**0.5)
            given = [-limit, limit]
        low, high = (tuple(map(float, x)) if isinstance(x, list) else (float(x),) for x in given)
        if not all(len(bound) in (1, dimension) for bound in (low, high)):
            raise OptionError(f"expected one number or {dimension}, got {len(low)} and {len(high)}").at(
                "calibration"
            )
        if not (np.array(low) < np.array(high)).all():
            raise OptionError("expected each low below its high").at("calibration")
        return cls(low, high)

    @property
    def record(self) -> Mapping[str, Any]:
        """The calibration in the output: value = low + (code - lowest code) * (high - low) / 255."""
        low, high = list(self.low), list(self.high)
        return {"low": low[0] if len(low) == 1 else low, "high": high[0] if len(high) == 1 else high}


def quantized(vectors: Array, dtype: str, calibration: Calibration | None) -> Array:
    """Return (n, D) float32 vectors in another dtype; the binary ones have a byte per eight dimensions."""
    if dtype in ("binary", "ubinary"):
        bits: Array = np.packbits(vectors > 0, axis=-1)
        return bits if dtype == "ubinary" else _shifted(bits)
    if calibration is None:
        with np.errstate(over="ignore"):  # float16: infinity, which is a reject
            return np.asarray(vectors, dtype)
    low, high = np.array(calibration.low), np.array(calibration.high)
    codes: Array = np.clip(np.rint((vectors - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    return codes if dtype == "uint8" else _shifted(codes)


def _shifted(codes: Array) -> Array:
    """Move 0 to 255 to -128 to 127."""
    shifted: Array = (codes.astype(np.int16) - 128).astype(np.int8)
    return shifted
