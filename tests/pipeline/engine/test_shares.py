"""Shares of GPUs are counted as Ray places them: each worker's on one GPU, or several GPUs whole."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.engine.placement import fit, gpu_cost, holds, workers_a_gpu


def test_what_is_left_of_a_gpu_beside_a_worker_may_be_of_no_use() -> None:
    """Two GPUs hold two workers of 0.6, not three; six of a third; one of two."""
    assert [workers_a_gpu(share) for share in (1.0, 0.6, 0.5, 0.3333, 0.25, 0.1)] == [1, 1, 2, 3, 4, 10]
    assert [holds(2, share) for share in (0.6, 0.3333, 0.5, 1.0, 2.0, 3.0)] == [2, 6, 4, 2, 1, 0]
    assert [gpu_cost(share) for share in (0.6, 0.5, 2.0, 0.0)] == [1.0, 0.5, 2.0, 0.0]


def test_what_fits_together() -> None:
    """A quarter, a half and a quarter on one GPU; two of 0.6 need two; a whole one none that is shared."""
    assert fit([0.25, 0.5, 0.25], 1)
    assert not fit([0.5, 0.5, 0.25], 1)
    assert not fit([0.6, 0.6], 1)
    assert fit([0.6, 0.6, 0.4, 0.4], 2)
    assert not fit([1.0, 0.5], 1)
    assert fit([2.0, 0.5], 3)
    assert not fit([2.0, 0.5, 1.0], 3)
    assert fit([], 0)


@given(share=st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.3333, 0.4, 0.5, 0.6, 1.0, 2.0]), gpus=st.integers(0, 8))
def test_as_many_fit_as_are_said_to(share: float, gpus: int) -> None:
    """And not one more."""
    count = holds(gpus, share)
    assert fit([share] * count, gpus)
    assert not fit([share] * (count + 1), gpus)
    assert count * gpu_cost(share) <= gpus + 1e-6


@given(shares=st.lists(st.sampled_from([0.25, 0.5, 0.75, 1.0]), max_size=5), gpus=st.integers(0, 3))
def test_a_placement_is_found_where_there_is_one(shares: list[float], gpus: int) -> None:
    """Against every order of placing them one after the other."""

    def placed(order: tuple[float, ...]) -> bool:
        free = [1.0] * gpus
        for share in order:
            at = next((i for i, room in enumerate(free) if room >= share), None)
            if at is None:
                return False
            free[at] -= share
        return True

    assert fit(shares, gpus) == any(placed(order) for order in permutations(shares))
