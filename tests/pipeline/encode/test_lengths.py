"""Lengths are counted by class; counts add up."""

import numpy as np
import pytest

from corpusmill.pipeline.encode.batches import LENGTH_CLASSES, count_lengths, sum_counts


@pytest.mark.parametrize("seed", range(3))
def test_every_length_is_in_its_class(seed: int) -> None:
    """The edges themselves too; what is longer than any belongs to the last."""
    drawn = np.random.default_rng(seed).integers(1, 2_000, 500)
    lengths = np.concatenate([drawn, LENGTH_CLASSES, [LENGTH_CLASSES[-1] * 100]])
    ends = [*LENGTH_CLASSES[1:], 1 << 40]
    expected = tuple(
        sum(least <= length < end for length in lengths)
        for least, end in zip(LENGTH_CLASSES, ends, strict=True)
    )
    assert count_lengths(lengths) == expected
    assert sum(expected) == len(lengths)


def test_counts_add_up() -> None:
    """Those of nothing are left out; of nothing at all there are none."""
    assert sum_counts([(1, 2), (), (3, 0)]) == (4, 2)
    assert sum_counts([()]) == sum_counts([]) == ()
    assert sum(count_lengths(np.zeros(0, int))) == 0
