"""Workers are placed as Ray places them, and what does not fit the cluster is reported before the start."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.engine.placement import (
    check_fits,
    crowding_notes,
    fit_on_gpus,
    gpu_cost,
    workers_held,
    workers_per_gpu,
)
from corpusmill.pipeline.errors import JobFailed
from corpusmill.pipeline.spec import ModelSpec, PoolSpec, TokenizerSpec

TOKENIZER = TokenizerSpec("c", "d", "c")
MODEL = ModelSpec(
    "m", "", "c", "c", "d", "embedding", "float32", "cpu", 64, None, 2048, TOKENIZER, PoolSpec(8, 2)
)


def model(title: str, pool: PoolSpec) -> ModelSpec:
    return replace(MODEL, title=title, pool=pool)


def test_the_rest_of_a_gpu_beside_a_worker_may_be_too_small() -> None:
    """Two GPUs hold two workers of 0.6, not three; six of a third; one of two."""
    assert [workers_per_gpu(share) for share in (1.0, 0.6, 0.5, 0.3333, 0.25, 0.1)] == [1, 1, 2, 3, 4, 10]
    assert [workers_held(2, share) for share in (0.6, 0.3333, 0.5, 1.0, 2.0, 3.0)] == [2, 6, 4, 2, 1, 0]
    assert [gpu_cost(share) for share in (0.6, 0.5, 2.0, 0.0)] == [1.0, 0.5, 2.0, 0.0]


def test_what_fits_together() -> None:
    """A quarter, a half and a quarter on one GPU; two of 0.6 need two; a whole one none that is shared."""
    assert fit_on_gpus([0.25, 0.5, 0.25], 1)
    assert not fit_on_gpus([0.5, 0.5, 0.25], 1)
    assert not fit_on_gpus([0.6, 0.6], 1)
    assert fit_on_gpus([0.6, 0.6, 0.4, 0.4], 2)
    assert not fit_on_gpus([1.0, 0.5], 1)
    assert fit_on_gpus([2.0, 0.5], 3)
    assert not fit_on_gpus([2.0, 0.5, 1.0], 3)
    assert fit_on_gpus([], 0)


@given(share=st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.3333, 0.4, 0.5, 0.6, 1.0, 2.0]), gpus=st.integers(0, 8))
def test_as_many_workers_fit_as_are_counted(share: float, gpus: int) -> None:
    """And not one more."""
    count = workers_held(gpus, share)
    assert fit_on_gpus([share] * count, gpus)
    assert not fit_on_gpus([share] * (count + 1), gpus)
    assert count * gpu_cost(share) <= gpus + 1e-6


@given(shares=st.lists(st.sampled_from([0.25, 0.5, 0.75, 1.0]), max_size=5), gpus=st.integers(0, 3))
def test_a_placement_is_found_where_there_is_one(shares: list[float], gpus: int) -> None:
    """Compared with every order of placing the workers."""

    def placed(order: tuple[float, ...]) -> bool:
        free = [1.0] * gpus
        for share in order:
            at = next((i for i, room in enumerate(free) if room >= share), None)
            if at is None:
                return False
            free[at] -= share
        return True

    assert fit_on_gpus(shares, gpus) == any(placed(order) for order in permutations(shares))


def test_pools_that_fit_pass() -> None:
    """Minima count, not maxima; workers that claim nothing fit anywhere."""
    check_fits([MODEL], cpus=1, gpus=0)
    check_fits([model("a", PoolSpec(8, 2, claimed_cpus=2, min_workers=1))], cpus=3, gpus=0)
    check_fits([model("a", PoolSpec(8, 1, gpus=0.5)), model("b", PoolSpec(8, 1, gpus=0.5))], cpus=1, gpus=1)


def test_too_few_gpus_are_refused() -> None:
    """The error has the needs of each model, even of a pool that may start at zero."""
    models = [
        model("a", PoolSpec(2, 1, gpus=1.0, min_workers=2)),
        model("b", PoolSpec(2, 1, 0.5, min_workers=0)),
    ]
    with pytest.raises(
        JobFailed, match=r"need at least 2\.5 GPUs \(a: 2 x 1, b: 1 x 0\.5\), the cluster has 2;"
    ):
        check_fits(models, cpus=8, gpus=2)


def test_too_few_cpus_are_refused_with_one_for_reading() -> None:
    """If workers took all CPUs, no unit could be read."""
    with pytest.raises(
        JobFailed, match=r"need at least 4 CPUs \(a: 2 x 2\) and reading needs one, the cluster has 4;"
    ):
        check_fits([model("a", PoolSpec(8, 2, claimed_cpus=2, min_workers=2))], cpus=4, gpus=0)


@pytest.mark.parametrize(
    ("pool", "note"),
    [
        (
            PoolSpec(8, 2),
            "2 CPU threads each, and the cluster has room for 3 now; further workers share the CPUs",
        ),
        (
            PoolSpec(8, 2, claimed_cpus=2),
            "2 CPUs each, and the cluster has room for 2 now; further workers wait for nodes",
        ),
        (
            PoolSpec(8, 1, gpus=0.5),
            "0.5 GPUs each, and the cluster has room for 4 now; further workers wait for nodes",
        ),
    ],
)
def test_more_workers_than_fit_are_noted_before_the_start(pool: PoolSpec, note: str) -> None:
    """On 6 CPUs and 2 GPUs; a pool that fits has no note."""
    assert list(crowding_notes([model("m", pool)], cpus=6, gpus=2)) == [
        f"m: the pool may grow to 8 workers with {note}"
    ]
    assert not list(crowding_notes([model("m", replace(pool, workers=2))], cpus=6, gpus=2))


def test_a_share_lies_on_one_gpu() -> None:
    """Three of 0.6 are less than two GPUs together, and do not fit."""
    with pytest.raises(
        JobFailed, match=r"at least 1\.8 GPUs .*has 2, and the share of one worker has to fit on one GPU"
    ):
        check_fits([model("a", PoolSpec(3, 1, gpus=0.6, min_workers=3))], cpus=8, gpus=2)
    check_fits([model("a", PoolSpec(2, 1, gpus=0.6, min_workers=2))], cpus=8, gpus=2)
