"""What `auto` means on this machine."""

import time
from collections.abc import Callable
from itertools import accumulate, cycle
from pathlib import Path

import pytest
import torch

from corpusmill.models import choose_dtype, read_checkpoint
from corpusmill.models.precision import WORTH, pick, product_seconds

Checkpoints = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("speed_up", "dtype"), [(0.1, "float32"), (WORTH - 0.01, "float32"), (WORTH, "bfloat16"), (2, "bfloat16")]
)
def test_bfloat16_must_be_worth_its_rounding(speed_up: float, dtype: str) -> None:
    """The measured ratio decides and is recorded."""
    choice = pick(speed_up)
    assert choice.dtype == dtype
    assert choice.reason.startswith(f"{dtype}: ")
    assert f"{speed_up:.2f} times" in choice.reason


def test_the_choice_is_measured(checkpoints: Checkpoints) -> None:
    """float32 or bfloat16, with the ratio of the two on this machine."""
    choice = choose_dtype(read_checkpoint(checkpoints("bert", "base")))
    assert choice.dtype in ("float32", "bfloat16")
    assert "times as fast as float32" in choice.reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_takes_the_best_of_several_times(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """By a clock that gives 5, 2 and 9 seconds: what disturbs a round does not count."""
    readings = accumulate(cycle([1.0, 5.0, 1.0, 2.0, 1.0, 9.0]))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(readings))
        assert product_seconds(64, dtype) == 2.0


def test_unnormalized_activations_stay_in_float32(checkpoints: Checkpoints) -> None:
    """bfloat16 is for who asks for it there."""
    choice = choose_dtype(read_checkpoint(checkpoints("mobilebert", "base")))
    assert choice.dtype == "float32"
    assert "its activations reach 1e7" in choice.reason
