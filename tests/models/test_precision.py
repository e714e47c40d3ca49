"""What `auto` means on this machine."""

import time
from collections.abc import Callable
from itertools import accumulate, cycle
from pathlib import Path

import pytest

from corpusmill.models import choose_dtype, precision, read_checkpoint
from corpusmill.models.precision import WORTH, pick, product_seconds

Checkpoints = Callable[[str, str], Path]


SLOW = 1e-2


@pytest.mark.parametrize(
    ("speed_up", "dtype"), [(0.1, "float32"), (WORTH - 0.01, "float32"), (WORTH, "bfloat16"), (2, "bfloat16")]
)
def test_bfloat16_must_be_worth_its_rounding(speed_up: float, dtype: str) -> None:
    """The measured ratio decides and is recorded."""
    choice = pick({"float32": SLOW * 1.0001, "bfloat16": SLOW / speed_up})
    assert choice.dtype == dtype
    assert choice.reason.startswith(f"{dtype}: ")
    assert f"bfloat16 {speed_up:.2f} times" in choice.reason


@pytest.mark.parametrize(
    ("bfloat16", "int8", "dtype"),
    [(2.0, 2.1, "bfloat16"), (2.0, 3.0, "int8"), (0.5, 1.1, "float32"), (0.5, 2.0, "int8")],
)
def test_int8_must_be_worth_more_than_what_it_replaces(bfloat16: float, int8: float, dtype: str) -> None:
    """Where it is among the candidates."""
    assert pick({"float32": SLOW, "bfloat16": SLOW / bfloat16, "int8": SLOW / int8}).dtype == dtype


def test_a_narrow_model_stays_exact(checkpoints: Checkpoints) -> None:
    """The ratio of two very short times is noise, and would differ from run to run."""
    choice = choose_dtype(read_checkpoint(checkpoints("bert", "base")), allow_int8=True)
    assert choice.dtype == "float32"
    assert "a model 32 wide is hardly faster" in choice.reason


@pytest.mark.parametrize("allow_int8", [False, True])
def test_the_choice_is_measured(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, allow_int8: bool
) -> None:
    """With the ratios on this machine; int8 is chosen only where it is allowed."""
    monkeypatch.setattr(precision, "NARROWEST", 0)
    choice = choose_dtype(read_checkpoint(checkpoints("bert", "base")), allow_int8=allow_int8)
    assert choice.dtype in ("float32", "bfloat16", *(("int8",) if allow_int8 else ()))
    assert "times as fast as float32" in choice.reason


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_product_takes_the_best_of_several_times(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """By a clock that gives 5, 2 and 9 seconds: what disturbs a round does not count."""
    readings = accumulate(cycle([1.0, 5.0, 1.0, 2.0, 1.0, 9.0]))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: next(readings))
        assert product_seconds(64, [dtype])[dtype] == 2.0


def test_unnormalized_activations_stay_in_float32(checkpoints: Checkpoints) -> None:
    """bfloat16 is for who asks for it there."""
    choice = choose_dtype(read_checkpoint(checkpoints("mobilebert", "base")))
    assert choice.dtype == "float32"
    assert "its activations reach 1e7" in choice.reason
